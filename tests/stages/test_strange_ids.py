"""Inputs whose ids match (almost) nothing: refused with an example of each side; a part that matches is a warning."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stages.chains import Chain, config_for, users_and_items, with_changes, write_rows

ITEMS = [str(100_000 + 13 * n) for n in range(40)]
USERS = [f"{17_000 + n}" for n in range(60)]


def rows(folder: Path, **changes: Any) -> Path:
    raw = users_and_items(0, 500)
    columns = {"source": [USERS[n] for n in raw["source"]], "target": [ITEMS[n] for n in raw["target"]], **changes}
    return write_rows(folder / "in.parquet", columns)


def with_attributes(folder: Path, ids: list[str]) -> dict[str, Any]:
    about = write_rows(folder / "items.csv", {"id": ids, "price": [float(n) for n in range(len(ids))]})
    keys = {"path": str(about), "id": "id", "numbers": ["price"]}
    return config_for(rows(folder), **{"attributes.item": keys})


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda text: f"0{text}", "leading zeros"),
        (lambda text: f"{text}.0", "fraction"),
        (lambda text: f" {text}", "blanks"),
        (lambda text: f"item{text}", "prefix"),
        (lambda text: f"x{text[::-1]}y", "of the same things"),
    ],
)
def test_attributes_of_other_ids_are_refused(write: Callable[[str], str], reason: str, tmp_path: Path) -> None:
    ended = Chain(tmp_path).run(with_attributes(tmp_path, [write(one) for one in ITEMS]))
    assert ended.code == 4
    assert reason in ended.error
    assert "0 of the 40 ids of attributes.item" in ended.error
    if reason != "of the same things":
        at = next(number for number, one in enumerate(ITEMS) if repr(write(one)) in ended.error)
        assert repr(ITEMS[at]) in ended.error


def test_attributes_that_few_nodes_have_are_a_warning(tmp_path: Path) -> None:
    ids = [*ITEMS[:4], *(f"new {n}" for n in range(36))]
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("pipeline.ingest.attributes.numbering")
    logger.addHandler(handler)
    ended = Chain(tmp_path).run(with_attributes(tmp_path, ids))
    logger.removeHandler(handler)
    assert ended.code == 0, ended.error
    assert ended.figures("index")["attribute_ids"]["item"]["matched"] == 4
    assert "4 of the 40 ids of attributes.item" in records[0].getMessage()


def test_a_small_file_for_a_large_graph_is_no_mismatch(tmp_path: Path) -> None:
    assert Chain(tmp_path).run(with_attributes(tmp_path, ITEMS[:2])).code == 0


def test_a_large_catalogue_for_a_small_graph_is_no_mismatch(tmp_path: Path) -> None:
    config = with_attributes(tmp_path, [*ITEMS, *(f"{n}" for n in range(5_000))])
    assert Chain(tmp_path).run(config).code == 0


def test_decayed_nodes_are_told_from_strangers(tmp_path: Path, engine: Any) -> None:
    """Nodes of decayed pairs have no edges either: only those that attributes alone tell of are counted."""
    stamps = ["2024-05-31" if n < 450 else "1999-01-01" for n in range(500)]
    path = rows(tmp_path, ts=stamps)
    config = with_changes(with_attributes(tmp_path, ITEMS[:20]), input={"timestamp": "ts", "half_life_days": 10})
    assert str(path) == config["input"]["path"]
    rows(tmp_path, ts=stamps)  # with_attributes wrote it without times
    assert Chain(tmp_path, engine).run(config, date="2024-06-01").code == 0
    strange = with_changes(with_attributes(tmp_path, [f"0{one}" for one in ITEMS]), input=config["input"])
    rows(tmp_path, ts=stamps)
    ended = Chain(tmp_path, engine).run(strange, date="2024-06-01")
    assert ended.code == 4
    assert "leading zeros" in ended.error


def with_pairs(folder: Path, sources: list[str], targets: list[str], **sections: Any) -> dict[str, Any]:
    path = write_rows(folder / "pairs.csv", {"source": sources, "target": targets})
    return config_for(rows(folder), evaluate={"source": "file", "path": str(path)}, **sections)


@pytest.mark.parametrize(
    "sections",
    [{}, {"ppr": {"neighbors": True, "top_k": 5}, "embedding": {"method": "none"}}],
    ids=["vectors", "lists"],
)
def test_pairs_of_other_ids_are_refused(sections: dict[str, Any], tmp_path: Path) -> None:
    strange = [f"{one}.0" for one in USERS[:40]]
    ended = Chain(tmp_path / "a").run(with_pairs(tmp_path, strange, ITEMS, **sections))
    assert ended.code == 4
    assert "fraction" in ended.error
    assert "'99999.0' there, '99999' in the interactions" in ended.error  # of persons: how they are written
    assert not any(one in ended.error for one in USERS)
    ended = Chain(tmp_path / "b").run(with_pairs(tmp_path, USERS[:40], [f"0{one}" for one in ITEMS], **sections))
    assert ended.code == 4
    assert "'0100000' there, '100000' in the interactions" in ended.error


def test_swapped_pairs_are_called_so(tmp_path: Path) -> None:
    ended = Chain(tmp_path).run(with_pairs(tmp_path, ITEMS, USERS[:40]))
    assert ended.code == 4
    assert "Source and target are swapped" in ended.error


def test_pairs_that_are_known_in_part_are_scored_with_a_warning(tmp_path: Path) -> None:
    sources = [*USERS[:4], *(f"new {n}" for n in range(36))]
    made = Chain(tmp_path).publish(with_pairs(tmp_path, sources, ITEMS))
    assert "4 of the 40 ids of evaluate.path, as user" in made.metrics["warning"]


def test_sources_of_other_ids_are_refused(tmp_path: Path) -> None:
    wanted = {"node_id": [f"0{one}" for one in USERS], "node_type": ["user"] * 60}
    path = write_rows(tmp_path / "sources.csv", wanted)
    config = config_for(rows(tmp_path), ppr={"neighbors": True, "top_k": 5, "sources": str(path)})
    ended = Chain(tmp_path).run(config)
    assert ended.code == 4
    assert "leading zeros" in ended.error
    assert "'099999'" in ended.error


@pytest.mark.parametrize("spelt", [f"0{ITEMS[3]}", f"{ITEMS[3]}.0", f" {ITEMS[3]}"])
def test_an_excluded_id_in_another_spelling_is_refused(spelt: str, tmp_path: Path) -> None:
    config = with_changes(config_for(rows(tmp_path)), **{"publish.exclude_ids": {"item": [spelt, "not there"]}})
    ended = Chain(tmp_path).run(config)
    assert ended.code == 2
    assert repr(spelt) in ended.error
    assert repr(ITEMS[3]) in ended.error


def test_an_excluded_id_that_is_not_there_tonight_is_fine(tmp_path: Path) -> None:
    config = with_changes(config_for(rows(tmp_path)), **{"publish.exclude_ids": {"item": [ITEMS[3], "not there"]}})
    published = Chain(tmp_path).publish(config)
    assert ("item", int(ITEMS[3])) not in published.ids
