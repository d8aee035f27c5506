"""Tasks on a real cluster: a master, two workers and two executors, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession
from pipeline.engines.spark import SparkEngine
from tests.engines import tasks_for_tests as tasks

session = (
    SparkSession.builder.master("local-cluster[2,1,1024]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "1g")
    # Both executors, before the first task: else one may have done them all.
    .config("spark.scheduler.minRegisteredResourcesRatio", "1.0")
    .config("spark.scheduler.maxRegisteredResourcesWaitingTime", "120s")
    .getOrCreate()
)
engine = SparkEngine(session)
folder = Path(sys.argv[1])
records = engine.map_tasks(tasks.executor, tasks.make_tasks(folder / "a", 6))
dying = tasks.make_tasks(folder / "b", 4, dies=True)
again = engine.map_tasks(tasks.die_at_first, dying)
print(json.dumps({
    "slots": engine.slots,
    "executors": [record.result["executor"] for record in records],
    "records": [record.task for record in again],
    "executions": tasks.executions(folder / "b"),
}))
session.stop()
"""


GROWING = """
import json, sys, time
from pathlib import Path
from pyspark.sql import SparkSession
from pipeline.engines.spark import SparkEngine
from tests.engines import tasks_for_tests as tasks

def start(**settings):
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", "1g").config("spark.dynamicAllocation.enabled", "true")
    builder = builder.config("spark.dynamicAllocation.shuffleTracking.enabled", "true")
    for key, value in settings.items():
        builder = builder.config(f"spark.dynamicAllocation.{key}", value)
    return builder.config("spark.default.parallelism", "50").getOrCreate()

session = start(initialExecutors="1", minExecutors="1", executorIdleTimeout="4s")
engine = SparkEngine(session)
slots = [engine.slots]
engine.map_tasks(tasks.executor, tasks.make_tasks(Path(sys.argv[1]), 4))  # waits for a second executor
slots.append(engine.slots)
deadline = time.monotonic() + 200
while engine.slots > 1 and time.monotonic() < deadline:
    time.sleep(0.2)
slots.append(engine.slots)
session.stop()
session = start(maxExecutors="7")
slots.append(SparkEngine(session).slots)
session.stop()
print(json.dumps(slots))
"""


@pytest.mark.spark
@pytest.mark.slow
def test_both_executors_carry_tasks_and_a_lost_worker_is_replaced(tmp_path: Path) -> None:
    told = json.loads(run_script(SCRIPT, tmp_path))
    assert told["slots"] == 2
    # The parent of a Python worker is its executor's daemon.
    assert len(set(told["executors"])) == 2
    assert told["records"] == ["t0", "t1", "t2", "t3"]
    assert all(2 <= count <= 3 for count in told["executions"].values()), told["executions"]


@pytest.mark.spark
@pytest.mark.slow
def test_slots_follow_executors_and_the_most_that_there_may_be(tmp_path: Path) -> None:
    assert json.loads(run_script(GROWING, tmp_path)) == [1, 2, 1, 7]


def run_script(text: str, folder: Path) -> str:
    """Run a script in a process of its own; return the last line that it prints."""
    script = folder / "script.py"
    script.write_text(text)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),  # executors inherit it
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment,
        capture_output=True,
        cwd=folder,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
