"""The README tells the truth where a program can tell."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.config.model import key_reference
from pipeline.stages.chain import STAGE_NAMES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_key_reference_is_the_configs() -> None:
    block = README.split("<!-- keys: begin -->")[1].split("<!-- keys: end -->")[0]
    shown = [line for line in block.splitlines() if line.startswith("| `")]
    want = []
    for section, key, default, about in key_reference():
        meaning = about.replace("|", "\\|")
        want.append(f"| `{section}.{key}` | `{default}` | {meaning} |")
    assert shown == want


def test_every_file_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:pipeline|schemas|jobs|airflow|examples|tests|tools|constraints)/[\w./-]*)`", README))
    named |= set(re.findall(r"\]\(([\w./-]+)\)", README))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_stages_are_named_in_order() -> None:
    flow = README.split("interactions ─")[1].split("→ rankers")[0]
    places = [flow.find(name) for name in STAGE_NAMES]
    assert -1 not in places
    assert places == sorted(places)


def test_no_placeholder_is_left() -> None:
    assert re.findall(r"@[A-Z_]+@", README) == []
