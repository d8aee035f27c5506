"""Tasks that leave traces: workers import them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from pipeline.errors import InputError
from pipeline.tasks import Attempt, Task


def _trace(task: Task) -> int:
    """Leave a file for this execution; return how many came before."""
    folder = Path(task.payload["traces"]) / task.name
    folder.mkdir(parents=True, exist_ok=True)
    before = len(list(folder.iterdir()))
    (folder / uuid4().hex).touch()
    return before


def double(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    _trace(task)
    attempt.path("rows", "txt").write_text(str(2 * task.payload["number"]))
    return {"double": 2 * task.payload["number"]}


def meet(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Wait until as many tasks as ``payload["others"]`` says are at work at once."""
    _trace(task)
    while len(executions(Path(task.payload["traces"]).parent)) < task.payload["others"]:
        time.sleep(0.01)
    return {}


def busy(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Hold a core: a worker has to end in the middle of its work, too."""
    _trace(task)
    deadline = time.monotonic() + task.payload["seconds"]
    while time.monotonic() < deadline:
        sum(range(10_000))
    return {}


def executor(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Wait until another executor has a task as well."""
    seen = Path(task.payload["traces"])
    seen.mkdir(parents=True, exist_ok=True)
    (seen / str(os.getppid())).touch()
    while len(list(seen.iterdir())) < 2:
        time.sleep(0.01)
    return {"executor": os.getppid()}


def threads(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return {
        "threads": [pool["num_threads"] for pool in threadpool_info()],
        "omp": os.environ["OMP_NUM_THREADS"],
        "polars": pl.thread_pool_size(),
    }


def bad_data(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    _trace(task)
    raise InputError(f"bad row in {task.name}: 'ä\n2nd line'")


def bug(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    _trace(task)
    return {"never": {}[f"no such key in {task.name}"]}


class UnpicklableError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def raise_unpicklable(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    raise UnpicklableError("left ", "right")


def die_at_first(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    if task.payload["dies"] and _trace(task) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def die_always(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    if task.payload["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def make_tasks(folder: Path, count: int, **payload: Any) -> list[Task]:
    """Numbered tasks at one place, traces beside it."""
    common = {"traces": str(folder / "traces"), **payload}
    return [Task(f"t{ix}", str(folder / "place"), {**common, "number": ix}) for ix in range(count)]


def executions(folder: Path) -> dict[str, int]:
    """How often each task that leaves traces was begun."""
    return {path.name: len(list(path.iterdir())) for path in (folder / "traces").glob("*")}
