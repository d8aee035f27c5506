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


def _trace(task: Task[Any]) -> int:
    """Leave a file for this execution; return how many came before."""
    folder = Path(task.payload["traces"]) / task.name
    folder.mkdir(parents=True, exist_ok=True)
    before = len(list(folder.iterdir()))
    (folder / uuid4().hex).touch()
    return before


def double(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    _trace(attempt.task)
    attempt.path("rows", "txt").write_text(str(2 * payload["number"]))
    return {"double": 2 * payload["number"]}


def meet(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Wait until as many tasks as ``payload["others"]`` says are at work at once."""
    _trace(attempt.task)
    while len(executions(Path(payload["traces"]).parent)) < payload["others"]:
        time.sleep(0.01)
    return {}


def busy(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Hold a core: a worker has to end in the middle of its work, too."""
    _trace(attempt.task)
    deadline = time.monotonic() + payload["seconds"]
    while time.monotonic() < deadline:
        sum(range(10_000))
    return {}


def executor(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Wait until another executor has a task as well."""
    seen = Path(payload["traces"])
    seen.mkdir(parents=True, exist_ok=True)
    (seen / str(os.getppid())).touch()
    while len(list(seen.iterdir())) < 2:
        time.sleep(0.01)
    return {"executor": os.getppid()}


def threads(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    import numpy as np
    from threadpoolctl import threadpool_info

    from pipeline.kernels.threads import threads_in_use

    np.ones((2, 2)) @ np.ones((2, 2))
    return {
        "threads": [pool["num_threads"] for pool in threadpool_info()],
        "omp": os.environ["OMP_NUM_THREADS"],
        "polars": pl.thread_pool_size(),
        "of_rows": threads_in_use(),
    }


def command(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Return the words that this process was started with, which a fork keeps."""
    return {"words": Path("/proc/self/cmdline").read_text().split("\0")}


def bad_data(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    _trace(attempt.task)
    raise InputError(f"bad row in {attempt.task.name}: 'ä\n2nd line'")


def bug(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    _trace(attempt.task)
    return {"never": {}[f"no such key in {attempt.task.name}"]}


class UnpicklableError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def raise_unpicklable(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    raise UnpicklableError("left ", "right")


def die_at_first(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    if payload["dies"] and _trace(attempt.task) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def die_always(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    if payload["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def make_tasks(folder: Path, count: int, **payload: Any) -> list[Task[Any]]:
    """Numbered tasks at one place, traces beside it."""
    common = {"traces": str(folder / "traces"), **payload}
    return [Task(f"t{ix}", folder / "place", {**common, "number": ix}) for ix in range(count)]


def executions(folder: Path) -> dict[str, int]:
    """How often each task that leaves traces was begun."""
    return {path.name: len(list(path.iterdir())) for path in (folder / "traces").glob("*")}
