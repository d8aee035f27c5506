"""A release as a Delta table: each export is one commit, which says of which release it is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import deltalake
import numpy as np
import polars as pl
import pyarrow as pa

from graphquilt import EmbeddingTable
from tests.graphquilt.published_tables import publish_nodes, random_nodes
from tests.jobs.conftest import call


def export(work: Path, place: Path) -> dict[str, str]:
    done = call("export", "--workspace", str(work), "--format", "delta", "--out", str(place))
    assert done.code == 0, done.err
    return deltalake.DeltaTable(str(place)).history(1)[0]


def test_a_query_reads_the_newest_release_that_was_exported(tmp_path: Path) -> None:
    rng, work, place = np.random.default_rng(5), tmp_path / "work", tmp_path / "latest"
    for day, count in ((1, 30), (2, 20)):
        nodes = random_nodes(rng, {"item": count, "user": 12})
        publish_nodes(work, nodes, release=f"2024-06-0{day}-aaaaaaaaaaaa", date=dt.date(2024, 6, day))
        if day == 2:  # published, and not yet exported: the log says of which release the rows are
            assert deltalake.DeltaTable(str(place)).history(1)[0]["release"] == "2024-06-01-aaaaaaaaaaaa"
        assert export(work, place)["release"] == f"2024-06-0{day}-aaaaaaaaaaaa"
        rows = pl.read_delta(str(place)).sort("node_type", "node_id")
        with EmbeddingTable.open(work) as table:
            assert rows.height == len(table)
            ids, vectors = table.to_numpy("item")
            items = rows.filter(pl.col("node_type") == "item")
            assert items["node_id"].to_list() == ids.tolist()
            np.testing.assert_array_equal(np.array(items["embedding"].to_list(), np.float32), vectors)
    version = deltalake.DeltaTable(str(place)).version()
    export(work, place)
    assert deltalake.DeltaTable(str(place)).version() == version  # the same release is not committed twice


def test_a_delta_table_of_others_is_left_alone(tmp_path: Path) -> None:
    work, place = tmp_path / "work", tmp_path / "latest"
    publish_nodes(work, random_nodes(np.random.default_rng(5), {"item": 5}))
    deltalake.write_deltalake(str(place), pa.table({"salary": [1, 2]}))
    done = call("export", "--workspace", str(work), "--format", "delta", "--out", str(place))
    assert done.code == 2
    assert "not one of ours" in done.err
    assert pl.read_delta(str(place)).columns == ["salary"]
