"""What Spark's daemon of Python workers holds when it forks one: modules, kernels, and no thread that a fork loses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engines import tasks_for_tests as tasks

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
from pathlib import Path
from jobs.worker_daemon import load
load()
threads = [(folder / "comm").read_text().strip() for folder in Path("/proc/self/task").iterdir()]
print(json.dumps({"threads": threads, "modules": sorted(sys.modules)}))
"""


def test_no_thread_runs_that_a_fork_would_lose() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    daemon = json.loads(answer.stdout)
    assert {"numba", "pipeline.ingest.clean_rows", "pipeline.kernels.key_groups"} <= set(daemon["modules"])
    assert "polars" not in daemon["modules"]
    # jemalloc starts its own again after a fork; what is left is the main thread.
    others = [name for name in daemon["threads"] if not name.startswith("jemalloc")]
    assert len(others) == 1


@pytest.mark.spark
def test_workers_of_a_local_master_are_forks_of_it(spark_session: Any, tmp_path: Path) -> None:
    from pipeline.engines.spark_tasks import run_tasks

    (record,) = run_tasks(spark_session, tasks.command, tasks.make_tasks(tmp_path, 1))
    assert "jobs.worker_daemon" in record.result["words"]
