"""One attempt at a task, in the process of a worker: its files, and what it took."""

import contextlib
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, get_type_hints
from uuid import uuid4

import psutil

from pipeline import codec, storage
from pipeline.tasks.task import RECORDS, P, R, Task, TaskFile, TaskRecord

#: A task checks the tables that it is handed, up to this many bytes in all.
_CHECKED_TABLES = 256 * 2**20


class Attempt:
    """One try at a task: hands out where to write its files, on this machine until they are sealed."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self._fence = f".fence-{task.fence}" if task.fence else ""
        self.name = f"{uuid4().hex[:12]}{self._fence}"
        self._folder = storage.staging_folder(task.folder)
        self._paths: list[tuple[str, Path]] = []
        self._scratch: list[Path] = []

    def path(self, role: str, suffix: str) -> Path:
        """Return where to write a file with a role ("rows", "outbox"); several files may share a role."""
        number = sum(1 for earlier, _ in self._paths if earlier == role)
        ordinal = f"-{number}" if number else ""
        path = self._folder / f"{self.task.name}-{role}{ordinal}.{self.name}.{suffix}"
        self._paths.append((role, path))
        return path

    def scratch(self, role: str) -> Path:
        """Return where to write a file that nobody reads once the task is done."""
        self._scratch.append(self._folder / f"{self.task.name}-{role}.{self.name}.scratch")
        return self._scratch[-1]

    def seal(self) -> tuple[TaskFile, ...]:
        """Make the files durable, under names that say what their bytes are; nothing is written to them any more."""
        for path in self._scratch:
            path.unlink()
        files = []
        for role, path in self._paths:
            rows = storage.rows_in([path]) if path.suffix in storage.TABLE_SUFFIXES else None
            size = path.stat().st_size
            target = storage.seal(path, self.task.folder, path.name.partition(".")[0] + self._fence)
            checksum = storage.sealed_checksum(target)
            assert checksum is not None
            files.append(TaskFile(target.name, role, size, checksum, rows))
        if files:
            storage.fsync_folder(self.task.folder)
        return tuple(files)


#: Reads its inputs and writes its files through the attempt. Payload and result are declared, since they are sent as
#: JSON: see :func:`payload_type` and :func:`result_type`.
TaskFunction = Callable[[P, Attempt], R]


class TaskRunner(Protocol):
    """The verb of an engine that carries tasks to workers."""

    def map_tasks(self, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
        """Run ``function`` once for each task, anywhere, in any order; return their records in task order."""
        ...


def payload_type(function: TaskFunction[P, R]) -> type[P]:
    """Return the type that a task's function declares for its first argument; Any where it declares none."""
    hints = _hints(function)
    return next((kind for name, kind in hints.items() if name != "return"), Any)  # type: ignore[return-value]


def result_type(function: TaskFunction[P, R]) -> type[R]:
    """Return the type that a task's function declares for its result; Any where it declares none."""
    return _hints(function).get("return", Any)


@lru_cache(maxsize=256)
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function)


def run_task(function: TaskFunction[P, R], task: Task[P]) -> TaskRecord[R]:
    """Run one attempt of a task in this process and commit its record. Errors pass through unchanged.

    Raises
    ------
    DamagedFileError : a file that the task is handed is not what was written.
    """
    storage.make_folder(task.folder / RECORDS)
    attempt = Attempt(task)
    _reset_peak()
    resident = psutil.Process().memory_info().rss
    start, clock, cpu = time.time(), time.monotonic(), _cpu_seconds()
    _check_inputs(task)
    result = function(task.payload, attempt)
    files = attempt.seal()
    peak = _peak_bytes()
    record = TaskRecord(
        task=task.name,
        digest=task.digest,
        attempt=attempt.name,
        folder=task.folder,
        files=files,
        result=result,
        started=start,
        seconds=time.monotonic() - clock,
        cpu_seconds=_cpu_seconds() - cpu,
        peak_bytes=peak,
        growth_bytes=max(0, peak - resident),
        process=f"{socket.gethostname()}:{os.getpid()}",
    )
    storage.write_checked_json(task.folder / RECORDS / f"{task.name}.{attempt.name}.json", record.to_values())
    return record


def input_paths(task: Task[Any]) -> set[str]:
    """Return all absolute paths of this machine in a task's payload; objects are checked as they enter the cache."""
    return {text for text in _texts(codec.to_values(task.payload)) if text.startswith("/")}


def _check_inputs(task: Task[Any]) -> None:
    """Check the files that a task is handed: those of other tasks, and tables up to a size.

    Large tables were checked by their stage. Many tasks each read a little of them, and none hashes all of that again.
    """
    paths = input_paths(task)
    tables = {path for path in paths if storage.is_of_table(path)}
    for path in sorted(paths - tables):
        storage.check_sealed(Path(path))
    if sum(storage.size(Path(path)) or 0 for path in tables) <= _CHECKED_TABLES:
        for path in sorted(tables):
            storage.check_sealed(Path(path))


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts of JSON values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # not Linux, or a container that forbids it: the peak is then the process's own
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
