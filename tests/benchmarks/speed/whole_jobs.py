"""Contenders: whole jobs, from a Parquet file of pairs to a table. Ours include start-up, checks and evaluation."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.speed.contender import Pairs, Prepared, contender
from tests.benchmarks.speed.vectors import DIM, POWERS, cleora_graph

CONFIG = """
[input]
path = "{path}"
source = "user_id"
target = "item_id"
[embedding]
dim = {dim}
[partition]
max_bytes = 8_589_934_592
"""


def _run(pairs: Pairs, *options: str) -> Prepared:
    def call() -> Any:
        with tempfile.TemporaryDirectory(dir=pairs.path.parent) as folder:
            config = Path(folder) / "config.toml"
            config.write_text(CONFIG.format(path=pairs.path, dim=DIM))
            words = ["run", "--config", str(config), "--workspace", str(Path(folder) / "workspace"), "--json", *options]
            ended = subprocess.run(
                [sys.executable, "-m", "graphquilt", *words], capture_output=True, text=True, check=False
            )
            if ended.returncode:
                raise RuntimeError(ended.stderr.strip().splitlines()[-1])
            return json.loads(ended.stdout)

    return Prepared(
        call, lambda answer: {"CPU s of the stages": _of_stages(answer)}, peak_bytes=_largest_task, warms=False
    )


def _of_stages(answer: Any) -> float:
    return sum(report["cpu_seconds"] for report in answer["stages"])


def _largest_task(answer: Any) -> int:
    return max(report["peak_bytes"] for report in answer["stages"])


@contender("job", "graphquilt")
def local_job(pairs: Pairs) -> Prepared:
    return _run(pairs)


@contender("job", "graphquilt on Spark, local[2]")
def spark_job(pairs: Pairs) -> Prepared:
    """Nobody waits for Spark's JVM: the stages say what it took, without the session's start."""
    job = _run(pairs, "--engine", "spark", "--conf", "spark.master=local[2]")
    return replace(job, cpu_seconds=_of_stages)


@contender("job", "pycleora")
def pycleora_job(pairs: Pairs) -> Prepared:
    """Reading, its graph, its embedding, and a table of ids and vectors: nothing is checked, numbered or evaluated."""
    import pycleora

    def call() -> None:
        graph = cleora_graph(Pairs(pairs.path))  # which reads it
        rows = pycleora.embed(graph, feature_dim=DIM, num_iterations=POWERS, whiten=False, num_workers=1)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).ravel()), DIM)
        with tempfile.TemporaryDirectory(dir=pairs.path.parent) as folder:
            table = pa.table({"id": graph.entity_ids, "vector": vectors})
            pq.write_table(table, Path(folder) / "table.parquet", use_dictionary=False)

    return Prepared(call, warms=False)
