"""The Markdown pages of the project, and what they consist of."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(\w*)$")
_HEADING = re.compile(r"^#{1,6} (.+)$")
_SEPARATOR = re.compile(r"^\|(:?-+:?\|)+$")


@dataclass(frozen=True)
class Fence:
    """A fenced block: where it starts, its language and its text."""

    page: Path
    line: int
    language: str
    text: str
    heading: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def markdown_pages() -> list[Path]:
    """Return every page that people read."""
    top = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    others = [ROOT / name for name in ("schemas/CHANGELOG.md", "examples/sample/README.md", "graphquilt/README.md")]
    return [page for page in [*top, *sorted((ROOT / "docs").rglob("*.md")), *others] if page.exists()]


def name_of(page: Path) -> str:
    """Return a page's path from the root, for the names of tests."""
    return str(page.relative_to(ROOT))


def fences(page: Path) -> list[Fence]:
    """Return the fenced blocks of a page, in order.

    Raises
    ------
    ValueError : a block that is not closed.
    """
    blocks: list[Fence] = []
    heading, opened, language = "", 0, ""
    body: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        match = _FENCE.match(line)
        if opened and line == "```":
            blocks.append(Fence(page, opened, language, "\n".join(body) + "\n", heading))
            opened = 0
        elif opened:
            body.append(line)
        elif match:
            opened, language, body = number, match[1], []
        elif title := _HEADING.match(line):
            heading = title[1]
    if opened:
        raise ValueError(f"{name_of(page)}:{opened}: the block is not closed")
    return blocks


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines outside fenced blocks."""
    is_inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            is_inside = not is_inside
        elif not is_inside:
            yield number, line


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    seen: Counter[str] = Counter()
    names = set()
    for _, line in prose(page):
        if title := _HEADING.match(line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title[1])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            names.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return names


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Yield line number and target of every link and picture."""
    for number, line in prose(page):
        for target in re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`]*`", "code", line)):
            yield number, target


def tables(page: Path) -> Iterator[list[tuple[int, str]]]:
    """Yield the runs of lines that begin with a pipe."""
    run: list[tuple[int, str]] = []
    last = 0
    for number, line in [*prose(page), (-1, "")]:
        if run and (not line.startswith("|") or number != last + 1):
            yield run
            run = []
        if line.startswith("|"):
            run.append((number, line))
        last = number


def table_faults(run: list[tuple[int, str]]) -> list[str]:
    """Return what is wrong with a table: no header, no separator, rows of other widths."""
    start = run[0][0]
    if len(run) < 3 or not _SEPARATOR.match(run[1][1]):
        return [f"line {start}: rows without a header and a separator; does a blank line cut the table?"]
    width = len(cells(run[1][1]))
    return [
        f"line {number}: {len(cells(line))} cells, and the separator has {width}"
        for number, line in run
        if len(cells(line)) != width or not line.endswith("|")
    ]


def cells(row: str) -> list[str]:
    """Return the cells of a table's row. A pipe counts even inside a code span, unless it is escaped."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def load_script(path: Path) -> ModuleType:
    """Return a script of the documents as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
