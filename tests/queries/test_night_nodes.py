"""Nodes that came and went are counted, whatever a night measured on a sample."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.queries import night_nodes
from pipeline.queries.night_nodes import count_nodes
from pipeline.queries.night_run import NightRun
from pipeline.report.night import NodeCounts
from pipeline.stages.chain import MAKER
from pipeline.workspace import Workspace

TONIGHT, BEFORE = {"item": range(20, 130), "user": range(50)}, {"item": range(100), "user": range(40)}


def figures(nodes: dict[str, range]) -> dict[str, Any]:
    ends, start = {}, 0
    for node_type, some in nodes.items():
        ends[node_type] = (start, start := start + len(some))
    return {"index": {"figures": {"types": ends}}}


@pytest.fixture
def night(tmp_path: Path) -> NightRun:
    published = tmp_path / "published" / "shop"
    for release, nodes in (("tonight", TONIGHT), ("before", BEFORE)):
        rows = [(node_type, node) for node_type, some in nodes.items() for node in some]
        folder = published / "releases" / release / "node_embeddings"
        folder.mkdir(parents=True)
        columns = dict(zip(("node_type", "node_id"), map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns), folder / "part-00000.parquet")
    workspace = Workspace(tmp_path, dt.date(2024, 1, 2), dict.fromkeys(MAKER.values(), "f"), MAKER, "r")
    night = NightRun(workspace, published, {}, {}, published / "releases" / "tonight")
    night.__dict__.update(
        stages=figures(TONIGHT),
        other_release="before",
        other_manifest={"stages": figures(BEFORE)},
        metrics={"drift": {"kept": {"nodes": {"item": {"kept": 8, "of": 10}, "user": {"kept": 10, "of": 10}}}}},
    )
    return night


def test_all_are_counted_where_a_sample_was_measured(night: NightRun) -> None:
    assert count_nodes(night) == [NodeCounts("item", 110, 30, 20), NodeCounts("user", 50, 10, 0)]


def test_of_a_large_graph_the_sample_speaks_and_says_so(night: NightRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(night_nodes, "_MOST_COUNTED", 1)
    assert count_nodes(night) == [
        NodeCounts("item", 110, 30, 20, "a sample of 10 of 100 nodes"),
        NodeCounts("user", 50, 10, 0, "a sample of 10 of 40 nodes"),
    ]
