"""Rows that meet through Spark's shuffle in less memory than they take, half of them by one key.

    python -m tests.benchmarks.spark_shuffle --work build/shuffle --rows 215000000 --heap 512

Each row is looked up in a table of 1000 keys that is dealt out to buckets like the rows. The heap is that of the one
JVM of a local master, which is executor and driver. With --one-bucket no key counts as heavy: half of all rows meet in
a bucket of one task.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.spark_session import spark_session
from pipeline.engines.spark import SparkEngine
from pipeline.engines.spark_tables import Sizes, SparkFrame

ROWS = pa.schema([("key", pa.int64()), ("other", pa.int64()), ("weight", pa.int64())])
KEYS = pa.schema([("id", pa.int64()), ("ix", pa.int64())])
LOOKED_UP = pa.schema([("other", pa.int64()), ("weight", pa.int64()), ("ix", pa.int64())])
#: That of half of all rows.
HEAVY = 7


class OneBucketEngine(SparkEngine):
    """Deals all rows of a key to one bucket."""

    def _heavy_keys(self, frame: SparkFrame, keys: Sequence[str], buckets: int) -> NDArray[np.uint64]:
        return np.empty(0, np.uint64)


def main() -> None:
    """Print how the rows met, and stop where one is missing or wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder for rows, spills and results")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--heap", type=int, default=512, help="MiB")
    parser.add_argument("--one-bucket", action="store_true", help="spread no key over buckets")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    log = options.work / "log"
    log.mkdir(parents=True)
    files = write_rows(options.work, options.rows)
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(Path.cwd())}
    settings = {
        "spark.master": "local[2]",
        "spark.driver.memory": f"{options.heap}m",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(options.work / "spark"),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.dir": log.as_uri(),
    }
    peaks: Counter[str] = Counter()
    with spark_session("shuffle", settings, None) as session, watch_memory(peaks):
        kind = OneBucketEngine if options.one_bucket else SparkEngine
        engine = kind(session, sizes=Sizes(table_bytes=1))
        start, cpu = time.perf_counter(), engine.cpu_seconds()
        rows, table = engine.read(files, ROWS.names, ROWS), engine.read([options.work / "keys"], KEYS.names, KEYS)
        looked_up = engine.look_up(rows, table, {"key": "id"}, {"ix": "ix"})
        engine.write(looked_up, options.work / "out", LOOKED_UP)
        seconds, cpu = time.perf_counter() - start, engine.cpu_seconds() - cpu
    check(options.work)
    largest, spilled = read_log(log)
    print(f"{options.rows:,} rows of 24 bytes: {seconds:.0f} s, {cpu:.0f} CPU s, heap {options.heap} MiB")
    print(f"largest processes: Python {peaks['python'] >> 20} MiB, JVM {peaks['java'] >> 20} MiB")
    print(f"largest shuffle read of a task {largest >> 20} MiB, spilled to disk {spilled >> 20} MiB")
    shutil.rmtree(options.work)


def write_rows(folder: Path, rows: int, batch: int = 1_000_000) -> list[Path]:
    """Write rows to files, and the keys that they are looked up in; values are as random as can be."""
    draw = np.random.default_rng(0)
    files = [folder / f"{number}.parquet" for number in range(8)]
    for number, file in enumerate(files):
        with pq.ParquetWriter(file, ROWS, compression="lz4", use_dictionary=False) as writer:
            for first in range(rows * number // 8, rows * (number + 1) // 8, batch):
                count = min(batch, rows * (number + 1) // 8 - first)
                key = draw.integers(0, 1000, count)
                key[::2] = HEAVY
                other, weight = draw.integers(0, 2**62, count), draw.integers(0, 2**62, count)
                writer.write_table(pa.table([key, other, weight], schema=ROWS), row_group_size=batch)
    ids = np.arange(1000)
    pq.write_table(pa.table([ids, -ids], schema=KEYS), folder / "keys")
    return files


def check(folder: Path) -> None:
    """Compare what was written with the rows: how many of each key, and what all their values add up to."""

    def totals(files: Path, key: pl.Expr) -> pl.DataFrame:
        sums = (pl.len(), (pl.col("other") // 2**32).sum(), (pl.col("weight") // 2**32).sum())
        return pl.scan_parquet(files).group_by(key=key).agg(*sums).sort("key").collect(engine="streaming")

    if not totals(folder / "out" / "*.parquet", -pl.col("ix")).equals(totals(folder / "*.parquet", pl.col("key"))):
        raise SystemExit("rows were lost, or looked up under another key")


@contextmanager
def watch_memory(peaks: Counter[str]) -> Iterator[None]:
    """Note the resident bytes of the largest Python worker and JVM below this process."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    name = process.name()
                    peaks[name] = max(peaks[name], process.memory_info().rss)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def read_log(folder: Path) -> tuple[int, int]:
    """Return the most bytes that a task read from a shuffle, and the bytes that all tasks spilled to disk."""
    (log,) = folder.iterdir()
    largest = spilled = 0
    for line in log.read_text().splitlines():
        event: dict[str, Any] = json.loads(line)
        if event["Event"] == "SparkListenerTaskEnd" and (metrics := event.get("Task Metrics")):
            read = metrics["Shuffle Read Metrics"]
            largest = max(largest, read["Local Bytes Read"] + read["Remote Bytes Read"])
            spilled += metrics["Disk Bytes Spilled"]
    return largest, spilled


if __name__ == "__main__":
    main()
