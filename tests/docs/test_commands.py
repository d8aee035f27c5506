"""Every command that a page shows runs, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphquilt import EmbeddingTable
from tests.docs.pages import ROOT, Fence, fences, markdown_pages, name_of
from tests.docs.sandbox import (
    CONFIG,
    NOT_RUN,
    STORE,
    Sandbox,
    copy_folder,
    fill_store,
    make_folder,
    read_only,
    shell_lines,
    split_line,
)
from tests.jobs.conftest import call
from tests.object_store import moto_endpoint, object_store  # noqa: F401

RUN = {"bash", "python", "sql"}
PAGES = [page for page in markdown_pages() if RUN & {fence.language for fence in fences(page)}]

#: What is another on every machine or in every run.
VARYING = (
    re.compile(r"(?<=run_id=)\w+"),
    re.compile(r"(?<=seconds=)[\d.]+"),
    re.compile(r"(?<=\d{4}-\d\d-\d\d-)[0-9a-f]{12}\b"),  # of a release
    re.compile(r"\b[0-9a-f]{16}\b"),  # a fingerprint
    re.compile(r"\d{4}-\d\d-\d\dT[\d:+]+"),
    re.compile(r"[\d.,]+(?= (?:CPU )?s\b)"),
    re.compile(r"[\d.,]+ (?:B|KiB|MiB|GiB)\b"),
    re.compile(r"[\d.]+(?= hours)"),
)
_NUMBER = re.compile(r"-?[\d,]*\.\d+")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "template"
    folder.mkdir()
    make_folder(folder)
    return folder


@pytest.fixture(scope="session")
def demo(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The workspace that the README's first commands make, and what they print."""
    folder = tmp_path_factory.mktemp("demo")
    sandbox = copy_folder(template, folder / "sandbox")
    block = next(fence for fence in fences(ROOT / "README.md") if "build/demo" in fence.text)
    with contextlib.chdir(sandbox.folder):
        printed = [text for line in shell_lines(block.text) for text in sandbox.run_line(line).splitlines()]
    return sandbox.folder / "build", printed


@pytest.fixture
def sandbox(template: Path, tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = copy_folder(template, tmp_path / "sandbox")
    with contextlib.chdir(sandbox.folder):
        yield sandbox


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_run_and_print_what_the_page_shows(
    page: Path, sandbox: Sandbox, request: pytest.FixtureRequest
) -> None:
    blocks = fences(page)
    if any(STORE in block.text for block in blocks):
        fill_store(sandbox, request.getfixturevalue("object_store"))
    if any("build/demo" in block.text for block in blocks):
        build, _ = request.getfixturevalue("demo")
        (sandbox.folder / "build").symlink_to(build)
    if page.name == "README.md":
        blocks = [block for block in blocks if "build/demo" not in block.text]  # the fixture ran it
    printed: list[str] = []
    for before, block in zip([None, *blocks], blocks, strict=False):
        if block.language == "bash":
            printed = [text for line in shell_lines(block.text) for text in sandbox.run_line(line).splitlines()]
        elif block.language == "python":
            sandbox.run_python(block.text)
        elif block.language == "sql":
            sandbox.run_sql(block.text)
        elif block.language == "text" and shows_output(before, block):
            assert_alike(block.text.splitlines(), printed, str(block))


def shows_output(before: Fence | None, block: Fence) -> bool:
    """Whether a block of text is what the commands right before it print."""
    return before is not None and before.language == "bash" and before.heading == block.heading


def test_the_readme_shows_what_its_first_commands_print(demo: tuple[Path, list[str]]) -> None:
    output = next(fence for fence in fences(ROOT / "README.md") if fence.language == "text")
    assert_alike(output.text.splitlines(), demo[1], str(output))


def test_make_demo_is_the_commands_of_the_readme() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ndemo:")[1].split("\n\n")[0]
    for word in ("examples/sample/config.toml", "examples/consumers/neighbors.py", "published/debian"):
        assert word.replace("examples/sample/config.toml", "$(SAMPLE)") in recipe
        assert word in (ROOT / "README.md").read_text(encoding="utf-8")


def test_each_reason_not_to_run_a_command_is_used() -> None:
    blocks = [block for page in PAGES for block in fences(page) if block.language == "bash"]
    lines = [line for block in blocks for line in shell_lines(block.text)]
    used = {entry.reason for line in lines if (entry := read_only(split_line(line)))}
    assert {entry.reason for entry in NOT_RUN.values()} == used


def test_the_first_new_node_of_a_page_is_one_that_a_default_release_can_fold_in(sandbox: Sandbox) -> None:
    Path("default.toml").write_text(CONFIG.partition("[attributes.item]")[0])
    assert call("run", "--config", "default.toml", "--workspace", "plain").code == 0
    names = {"table": EmbeddingTable.open("plain")}
    lines = [
        [line for page in PAGES if page.name == name for block in fences(page) for line in block.text.splitlines()]
        for name in ("README.md", "read-tables.md")
    ]
    in_python = [next(line for line in of_page if line.startswith("table.fold_in(")) for of_page in lines]
    in_shell = next(line for line in lines[1] if line.startswith("graphquilt query embed") and "--neighbors" in line)
    for line in in_python:
        assert eval(line, names).any()
    assert sandbox.run_line(in_shell.replace("--workspace work", "--workspace plain"))


def assert_alike(shown: list[str], printed: list[str], place: str) -> None:
    """Compare lines but for what varies. A line of three dots stands for any lines."""
    rest = list(printed)
    is_open = False
    for line in shown:
        if line.strip() == "...":
            is_open = True
            continue
        while rest and is_open and not is_alike(line, rest[0]):
            rest.pop(0)
        assert rest, f"{place}: not printed: {line}"
        assert is_alike(line, rest[0]), f"{place}: shown and printed differ:\n{line}\n{rest[0]}"
        rest.pop(0)
        is_open = False
    assert is_open or not rest, f"{place}: printed and not shown: {rest[:3]}"


def is_alike(shown: str, printed: str) -> bool:
    """Whether two lines are equal but for what varies, blanks, and the last digits of fractions."""
    for pattern in VARYING:
        shown, printed = pattern.sub("~", shown), pattern.sub("~", printed)
    if _NUMBER.sub("#", shown).split() != _NUMBER.sub("#", printed).split():
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    return all(abs(number(a) - number(b)) <= 0.002 * abs(number(b)) + 0.011 for a, b in pairs)


def number(text: str) -> float:
    return float(text.replace(",", ""))


def test_other_output_is_seen() -> None:
    assert is_alike("seconds=7.5 recall@20 0.2416", "seconds=9.1 recall@20 0.2417")
    assert not is_alike("recall@20 0.2416", "recall@20 0.3416")
    assert not is_alike("gates 1 passed", "gates 2 passed")
    with pytest.raises(AssertionError, match="not shown"):
        assert_alike(["a"], ["a", "b"], "page")
    assert_alike(["a", "...", "d"], ["a", "b", "c", "d"], "page")
