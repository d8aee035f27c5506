"""What happens to Dask workers when something dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline.engines.local import LocalEngine
from pipeline.errors import ConfigError, TaskError
from tests.engines import tasks_for_tests as tasks
from tests.processes import is_alive

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys
from pathlib import Path
from pipeline.engines.local import LocalEngine
from tests.engines import tasks_for_tests as tasks

if __name__ == "__main__":
    with LocalEngine(workers=2) as engine:
        engine.map_tasks(tasks.busy, tasks.make_tasks(Path(sys.argv[1]), 2, seconds=7200))
"""


@pytest.mark.slow
def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        _wait_for(lambda: len(tasks.executions(tmp_path)) == 2, "both workers to be at work")
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 2
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        _wait_for(lambda: not any(map(is_alive, family)), "the workers to end")
    finally:
        if parent.poll() is None:
            parent.kill()
            parent.wait()


@pytest.mark.slow
def test_the_task_of_a_killed_worker_is_run_again(tmp_path: Path) -> None:
    todo = tasks.make_tasks(tmp_path / "a", 1, dies=True)
    todo += tasks.make_tasks(tmp_path / "a", 4, dies=False)[1:]
    with LocalEngine(workers=2) as engine:
        records = engine.map_tasks(tasks.die_at_first, todo)
        assert [record.task for record in records] == ["t0", "t1", "t2", "t3"]
        assert tasks.executions(tmp_path / "a") == {"t0": 2}


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    # The other is long done when this one has killed its last worker: Dask blames what was there.
    todo = tasks.make_tasks(tmp_path, 1, dies=False) + tasks.make_tasks(tmp_path, 2, dies=True)[1:]
    with LocalEngine(workers=2) as engine:
        with pytest.raises(TaskError, match=re.escape("task t1 lost 4 workers in a row")) as caught:
            engine.map_tasks(tasks.die_always, todo)
        assert "memory" in str(caught.value)
        assert len(engine.map_tasks(tasks.double, tasks.make_tasks(tmp_path / "after", 4))) == 4


def test_workers_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="workers is 0"):
        LocalEngine(workers=0)


def test_a_dask_cluster_elsewhere_carries_tasks(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=3, threads_per_worker=1, processes=False, dashboard_address=None, memory_limit=0
        ) as there,
        LocalEngine(dask_address=there.scheduler_address) as engine,
    ):
        assert engine.slots == 3
        records = engine.map_tasks(tasks.double, tasks.make_tasks(tmp_path, 5))
        assert [record.result["double"] for record in records] == [0, 2, 4, 6, 8]


def _wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 600.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.1)


def test_a_tls_address_without_certificates_is_refused_at_once() -> None:
    with LocalEngine(dask_address="tls://127.0.0.1:1") as engine, pytest.raises(ConfigError, match="no certificates"):
        _ = engine.slots
