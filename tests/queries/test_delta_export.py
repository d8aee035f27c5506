"""A release as a Delta table: each export is one commit, which says of which release it is."""

from __future__ import annotations

import datetime as dt
import io
import json
import subprocess
import sys
from pathlib import Path

import deltalake
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from graphquilt import EmbeddingTable, files
from graphquilt.locations import parse_location
from tests.graphquilt.published_tables import publish_nodes, random_nodes
from tests.jobs.conftest import call
from tests.object_store import bucket, moto_endpoint, object_store  # noqa: F401


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


def test_it_is_committed_to_an_object_store(tmp_path: Path, bucket: str) -> None:  # noqa: F811
    work, place = tmp_path / "work", f"{bucket}/latest"
    publish_nodes(work, random_nodes(np.random.default_rng(5), {"item": 30}), release="2024-06-01-aaaaaaaaaaaa")
    # A process of its own: deltalake holds Python's lock while it waits for the store, whose proxy is in this one.
    command = [sys.executable, "-m", "graphquilt", "export", "--workspace", str(work), "--format", "delta", "--out"]
    for _ in range(2):
        process = subprocess.run([*command, place], capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
    log = parse_location(f"{place}/_delta_log")
    assert [name for name in files.names_in(log) if name.endswith(".json")] == ["00000000000000000000.json"]
    actions = [json.loads(line) for line in files.read(log / "00000000000000000000.json").splitlines()]
    (commit,) = (action["commitInfo"] for action in actions if "commitInfo" in action)
    assert commit["release"] == "2024-06-01-aaaaaaaaaaaa"
    (added,) = (action["add"]["path"] for action in actions if "add" in action)
    rows = pq.read_table(io.BytesIO(files.read(log.parent / added)))
    with EmbeddingTable.open(work) as table:
        assert sorted(rows["node_id"].to_pylist()) == sorted(table.to_numpy("item")[0].tolist())
    process = subprocess.run([*command, "s3://no-such-bucket/latest"], capture_output=True, text=True)
    assert process.returncode == 1
    assert "s3://no-such-bucket does not exist" in process.stderr
