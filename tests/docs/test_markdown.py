"""Pages are well formed: links lead somewhere, tables are whole, blocks parse."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipeline.embedding.methods import CONFIG
from tests.docs.pages import ROOT, Fence, anchors, fences, links, markdown_pages, name_of, prose, table_faults, tables

PAGES = markdown_pages()
BLOCKS = [fence for page in PAGES for fence in fences(page)]
LANGUAGES = {"bash", "python", "sql", "toml", "json", "text", "mermaid"}
DIAGRAMS = {"flowchart", "sequenceDiagram"}

of_each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks_of(language: str) -> list[Fence]:
    return [block for block in BLOCKS if block.language == language]


@of_each_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for number, target in links(page):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(f"line {number}: {target}")
    assert broken == []


@of_each_page
def test_every_table_is_whole(page: Path) -> None:
    assert [fault for run in tables(page) for fault in table_faults(run)] == []


def test_a_table_that_a_blank_line_cuts_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("| a | b |\n|---|---|\n| 1 | 2 |\n\n| 3 | 4 |\n| 5 | 6 | 7 |\n")
    faults = [fault for run in tables(page) for fault in table_faults(run)]
    assert faults == ["line 5: rows without a header and a separator; does a blank line cut the table?"]


@of_each_page
def test_every_file_it_names_is_there(page: Path) -> None:
    folders = "pipeline|schemas|jobs|airflow|examples|tests|tools|constraints|docs|graphquilt"
    text = "\n".join(line for _, line in prose(page))
    names = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", text))
    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = (target.partition("#")[0] for _, target in links(page) if not target.startswith("http"))
        queue.extend((page.parent / target).resolve() for target in targets if target)
    assert [name_of(page) for page in PAGES if page not in reached] == []


def test_blocks_have_a_language_that_is_checked() -> None:
    assert [f"{block}: '{block.language}'" for block in BLOCKS if block.language not in LANGUAGES] == []
    assert [str(block) for block in blocks_of("mermaid") if block.text.split()[0] not in DIAGRAMS] == []


@pytest.mark.parametrize("block", blocks_of("python"), ids=str)
def test_python_compiles(block: Fence) -> None:
    compile(block.text, str(block), "exec")


def test_json_parses() -> None:
    for block in blocks_of("json"):
        json.loads(block.text)


@pytest.mark.parametrize("block", blocks_of("toml"), ids=str)
def test_toml_is_a_config(block: Fence) -> None:
    raw: dict[str, Any] = tomllib.loads(block.text)
    raw.setdefault("input", {}).setdefault("path", "interactions.parquet")
    CONFIG.model_validate(raw)
