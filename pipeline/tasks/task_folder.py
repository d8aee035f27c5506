"""A folder that tasks write to, and the records of all tasks that have run there or below."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.locations import Location
from pipeline.tasks.attempt import TaskFunction, TaskRunner
from pipeline.tasks.records import run_missing
from pipeline.tasks.task import P, R, Task, TaskRecord


@dataclass(frozen=True)
class TaskFolder:
    """Runs tasks that share a folder; ``records`` grows with each of them."""

    runner: TaskRunner
    folder: Location
    records: list[TaskRecord[Any]] = field(default_factory=list)

    def below(self, name: str) -> TaskFolder:
        """Return a folder in this one; its tasks add to the same records."""
        return replace(self, folder=self.folder / name)

    def run(self, function: TaskFunction[P, R], name: str, payload: P) -> TaskRecord[R]:
        """Run one task."""
        (record,) = self.run_named(function, {name: payload})
        return record

    def run_each(
        self, function: TaskFunction[P, R], name: str, payloads: Iterable[P], numbers: Iterable[int] | None = None
    ) -> list[TaskRecord[R]]:
        """Run a task for each payload. Their names end in ``numbers``, which count from 0 by default."""
        pairs = zip(itertools.count() if numbers is None else numbers, payloads, strict=False)
        return self.run_named(function, {f"{name}-{number:05d}": payload for number, payload in pairs})

    def run_named(self, function: TaskFunction[P, R], payloads: Mapping[str, P]) -> list[TaskRecord[R]]:
        """Run a task for each payload, by name."""
        tasks = [Task(name, self.folder, payload) for name, payload in payloads.items()]
        records = run_missing(self.runner, function, tasks)
        self.records.extend(records)
        return records
