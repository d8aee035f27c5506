"""One bar for a run on a terminal: "5/8 embed · round 2/3 · 40 % · 1 min left".

The engine is told which stage is at work; tasks that have ended leave records on storage; what is still to come is
what ``graphquilt plan`` says of it, at the pace so far.
"""

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import StorageError
from pipeline.locations import Location
from pipeline.tasks import RECORDS, P, R, Task, TaskFunction, TaskRecord, describe_wave

_POLL_S = 0.25
_POLL_STORE_S = 3.0  # a store bills each request
_ROUND = re.compile(r"round (\d+), (\w+)")
#: As many seconds at the pace of the plan count as seen: the first ones of a run say little of those to come.
_TRUSTED_SECONDS = 10.0


@dataclass(frozen=True)
class RunEstimate:
    """What ``plan`` says of a run: wall seconds by stage, and the rounds of embed."""

    seconds: Mapping[str, float]
    rounds: int


@contextlib.contextmanager
def with_progress(engine: Any, stages: Sequence[str], estimate: Callable[[], RunEstimate]) -> Iterator[Any]:
    """Yield an engine that shows its tasks where stderr is a terminal, and is the same elsewhere.

    Parameters
    ----------
    stages : those of the run; none: the engine works for another command.
    estimate : called in a thread of its own, and again once the size of the graph is known.
    """
    if not sys.stderr.isatty():
        yield engine
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20))
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        state = RunState(stages)
        bar = progress.add_task(state.describe(), total=1.0 if stages else None)
        has_ended = threading.Event()

        def watch() -> None:
            while not has_ended.wait(_POLL_S):
                state.look(estimate)
                progress.update(bar, description=state.describe(), completed=state.share)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield _EngineWithProgress(engine, state)
        finally:
            has_ended.set()
            watcher.join(timeout=1.0)  # it may be at a plan of many files, which nobody waits for any more


@dataclass
class RunState:
    """Where a run is. One thread tells it, another one asks."""

    stages: Sequence[str]
    stage: str | None = None
    wave: str = ""
    records: Location | None = None
    earlier: int = 0  # records that were there before the wave
    tasks: int = 0
    tasks_done: int = 0
    share: float = 0.0
    estimate: RunEstimate | None = None
    start: float = field(default_factory=time.monotonic)
    stage_start: float = 0.0
    last_look: float = 0.0
    is_estimated: bool = False

    def begin_stage(self, name: str) -> None:
        """Note that a stage starts."""
        self.stage, self.stage_start, self.wave, self.tasks = name, time.monotonic(), "", 0
        if name == "partition":  # nodes and edges are counted now
            self.is_estimated = False

    @contextlib.contextmanager
    def during(self, tasks: Sequence[Task[Any]]) -> Iterator[None]:
        """Follow tasks that run together."""
        self.wave = describe_wave(tasks[0].folder, [task.name for task in tasks]).partition(": ")[2]
        records = tasks[0].folder / RECORDS
        self.earlier = _count(records) if len(tasks) > 1 else 0
        self.tasks, self.tasks_done, self.records = len(tasks), 0, records
        try:
            yield
        finally:
            self.records = None

    def look(self, estimate: Callable[[], RunEstimate]) -> None:
        """Count the tasks that have ended, and how far the run is; ask for the estimate where it is due."""
        if self.stages and not self.is_estimated:
            self.is_estimated = True
            with contextlib.suppress(Exception):  # a bar without a time; whatever is wrong, the run says it
                self.estimate = estimate()
        records, now = self.records, time.monotonic()
        poll_s = _POLL_S if isinstance(records, Path) else _POLL_STORE_S
        if records is not None and self.tasks > 1 and now - self.last_look >= poll_s:
            self.last_look = now
            with contextlib.suppress(StorageError):  # the tasks say more of it
                self.tasks_done = max(0, min(self.tasks, _count(records) - self.earlier))
        if self.stage in self.stages:
            self.share = max(self.share, min(0.99, self._seconds_done(now) / sum(self._seconds())))

    def describe(self) -> str:
        """Return the line in front of the bar."""
        if self.stage is None or self.stage not in self.stages:
            return " · ".join(["starting" if self.stages else "working", *self._details()])
        place = f"{self.stages.index(self.stage) + 1}/{len(self.stages)} {self.stage}"
        return " · ".join([place, *self._details(), f"{100 * self.share:.0f} %", *self._time_left()])

    def _details(self) -> list[str]:
        match = _ROUND.match(self.wave)
        rounds = f"/{self.estimate.rounds}" if self.estimate and self.estimate.rounds else ""
        details = [f"round {int(match[1]) + 1}{rounds}"] if match else [self.wave] if self.wave else []
        return [*details, f"{self.tasks_done} of {self.tasks} tasks"] if self.tasks > 1 else details

    def _time_left(self) -> list[str]:
        if self.estimate is None:
            return []
        total = sum(self._seconds())
        elapsed_s, progress = time.monotonic() - self.start, self.share * total
        pace = (elapsed_s + _TRUSTED_SECONDS) / (progress + _TRUSTED_SECONDS)
        return [f"{describe_seconds(pace * (total - progress))} left"]

    def _seconds(self) -> list[float]:
        """Return the seconds of each stage, all alike where no plan is known."""
        seconds = self.estimate.seconds if self.estimate else {}
        return [max(0.05, seconds.get(name, 1.0)) for name in self.stages]

    def _seconds_done(self, now: float) -> float:
        """Return how many of the estimated seconds lie behind."""
        at, seconds = self.stages.index(str(self.stage)), self._seconds()
        match = _ROUND.match(self.wave)
        if match and self.estimate and self.estimate.rounds:
            of_wave = self.tasks_done / self.tasks if self.tasks > 1 else 0.0
            step = 0.5 * (of_wave + (match[2] != "products"))  # a round has two: products, then homes
            within = min(1.0, (int(match[1]) + step) / self.estimate.rounds)
        else:
            within = min(0.95, (now - self.stage_start) / seconds[at])
        return sum(seconds[:at]) + within * seconds[at]


class _EngineWithProgress:
    """An engine that tells what it is at; every verb is the engine's own."""

    def __init__(self, engine: Any, state: RunState) -> None:
        self._engine, self._state = engine, state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def describe_jobs(self, description: str) -> Any:
        """Tell that a stage starts."""
        self._state.begin_stage(description)
        return self._engine.describe_jobs(description)

    def map_tasks(self, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
        """Run the tasks, followed by their records."""
        if not tasks:
            return self._engine.map_tasks(function, tasks)
        with self._state.during(tasks):
            return self._engine.map_tasks(function, tasks)


def describe_seconds(seconds: float) -> str:
    """Return a time as people read it, to one or two figures: "40 s", "5 min", "2 h 10 min"."""
    if seconds < 55:
        return f"{max(1, round(seconds))} s" if seconds < 10 else f"{5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _count(folder: Location) -> int:
    return sum(name.endswith(".json") for name in storage.names_in(folder))
