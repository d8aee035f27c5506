"""Rows that meet through Spark's shuffle, on a cluster of processes: skew, a lost executor, and what Spark reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
PAIRS = pa.schema([("key", pa.int64()), ("other", pa.int64()), ("weight", pa.int64())])
NODES = pa.schema([("id", pa.int64()), ("ix", pa.int64())])
#: Half of all rows have one key.
ROWS = [(7 if n % 2 else n % 1999, n, 1) for n in range(60_000)]

SCRIPT = """
import json, os, signal, sys
from functools import partial
from pathlib import Path
from pyspark.sql import SparkSession
from pipeline.engines.spark import SparkEngine
from pipeline.engines.spark_tables import Sizes
from tests.engines.lost_executor import kill_executor_once
from tests.engines.test_spark_shuffle import NODES, PAIRS

folder = Path(sys.argv[1])
session = (
    SparkSession.builder.master("local-cluster[2,1,1024]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "1g")
    .config("spark.eventLog.enabled", "true")
    .config("spark.eventLog.compress", "false")
    .config("spark.eventLog.rolling.enabled", "false")
    .config("spark.eventLog.dir", (folder / "log").as_uri())
    .config("spark.scheduler.minRegisteredResourcesRatio", "1.0")
    .config("spark.scheduler.maxRegisteredResourcesWaitingTime", "120s")
    .getOrCreate()
)
engine = SparkEngine(session, sizes=Sizes(bytes=200_000, table_bytes=1000, rows_per_sorted_file=10_000))
rows = engine.read(sorted((folder / "pairs").iterdir()), PAIRS.names, PAIRS)
table = engine.read(sorted((folder / "nodes").iterdir()), NODES.names, NODES)

def dies(frame, name):
    return frame.then(partial(kill_executor_once, marker=folder / name))

sums = engine.sum_by(rows, ["key"], ["weight"], keys_repeat=False)
engine.write(dies(sums, "sums-died"), folder / "sums", PAIRS.remove(1))
matched = engine.look_up(rows, table, {"key": "id"}, {"ix": "ix"})
engine.write(dies(matched, "matched-died"), folder / "matched", PAIRS.remove(0).append(NODES.field("ix")))
engine.write_sorted(dies(rows, "sorted-died"), folder / "sorted", PAIRS, ["key"])
session.stop()
"""


@pytest.mark.spark
@pytest.mark.slow
def test_skewed_rows_meet_though_executors_are_lost(tmp_path: Path) -> None:
    write_parts(tmp_path / "pairs", ROWS, PAIRS)
    write_parts(tmp_path / "nodes", [(n, -n) for n in range(2000)], NODES)
    (tmp_path / "log").mkdir()
    script = tmp_path / "shuffle.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=environment,
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stderr

    weights = Counter(key for key, _, _ in ROWS)
    assert read_parts(tmp_path / "sums") == sorted(weights.items())
    assert read_parts(tmp_path / "matched") == sorted((other, weight, -key) for key, other, weight in ROWS)
    assert read_parts(tmp_path / "sorted") == sorted(ROWS)
    in_order = [row[0] for file in sorted((tmp_path / "sorted").iterdir()) for row in rows_of(file)]
    assert in_order == sorted(in_order)

    (log,) = (tmp_path / "log").iterdir()
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert all((tmp_path / f"{name}-died").exists() for name in ("sums", "matched", "sorted"))
    assert sum(event["Event"] == "SparkListenerExecutorRemoved" for event in events) >= 3
    written, largest = shuffled_bytes(events)
    # Each row is sent once for the look-up and once to be sorted, 24 bytes at least before Spark compresses them.
    assert written > 60_000 * 2
    # The key of half of all rows takes no task more than a few times its share.
    assert largest["matched"] < 2 * len(ROWS) * 24 / 8
    described = {
        event["Properties"].get("spark.job.description")
        for event in events
        if "Job ID" in event and "Properties" in event
    }
    assert {"sums: write", "sample of key", "matched: write", "sorted: sample", "sorted: write"} <= described


def shuffled_bytes(events: Sequence[Mapping[str, Any]]) -> tuple[int, dict[str, int]]:
    """Bytes written to shuffles, and the most that one task read, by the table that was written."""
    described: dict[int, str] = {}
    for event in events:
        if event["Event"] == "SparkListenerStageSubmitted":
            text = event["Properties"].get("spark.job.description", "")
            described[event["Stage Info"]["Stage ID"]] = text.partition(":")[0]
    written, largest = 0, Counter[str]()
    for event in events:
        if event["Event"] == "SparkListenerTaskEnd" and (metrics := event.get("Task Metrics")):
            written += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
            read = metrics["Shuffle Read Metrics"]
            name = described[event["Stage ID"]]
            largest[name] = max(largest[name], read["Remote Bytes Read"] + read["Local Bytes Read"])
    return written, largest


def write_parts(folder: Path, rows: Sequence[tuple[int, ...]], schema: pa.Schema) -> None:
    folder.mkdir()
    for part in range(3):
        columns = zip(*rows[part::3], strict=True)
        arrays = [pa.array(column, pa.int64()) for column in columns]
        pq.write_table(pa.table(arrays, schema=schema), folder / f"{part}.parquet", row_group_size=5000)


def rows_of(file: Path) -> list[tuple[int, ...]]:
    return list(zip(*(column.to_pylist() for column in pq.read_table(file).columns), strict=True))


def read_parts(folder: Path) -> list[tuple[int, ...]]:
    return sorted(row for file in folder.iterdir() for row in rows_of(file))
