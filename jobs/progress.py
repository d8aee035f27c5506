"""Progress bars on a terminal, fed by the records that finished tasks leave on storage."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import StorageError
from pipeline.locations import Location
from pipeline.tasks import RECORDS, P, R, Task, TaskFunction, TaskRecord

_POLL_S = 0.25
_POLL_STORE_S = 3.0  # a store bills each request


def with_progress(engine: Any) -> Any:
    """Return an engine that shows its tasks where stderr is a terminal, and is the same elsewhere."""
    return _EngineWithProgress(engine) if sys.stderr.isatty() else engine


class _EngineWithProgress:
    """An engine whose ``map_tasks`` draws a bar; every other verb is the engine's own."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def map_tasks(self, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
        """Run the tasks, with a bar."""
        if len(tasks) < 2:
            return self._engine.map_tasks(function, tasks)
        from rich.console import Console
        from rich.progress import Progress

        records = tasks[0].folder / RECORDS
        earlier = _count(records)
        has_finished = threading.Event()
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(function.__name__.replace("_", " "), total=len(tasks))

            def watch() -> None:
                while not has_finished.wait(_POLL_S if isinstance(records, Path) else _POLL_STORE_S):
                    with contextlib.suppress(StorageError):  # the tasks say more of it
                        progress.update(bar, completed=_count(records) - earlier)

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            try:
                return self._engine.map_tasks(function, tasks)
            finally:
                has_finished.set()
                watcher.join()


def _count(folder: Location) -> int:
    return sum(name.endswith(".json") for name in storage.names_in(folder))
