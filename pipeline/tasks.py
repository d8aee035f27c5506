"""A task: a small description that travels, a function that reads and writes its own files, and a record.

A task commits by its record: files first, under the name of this attempt, then one JSON beside them. Retries,
speculative copies and zombies are harmless, since whatever has no record does not count, and a driver that
starts again sends only the tasks without one.
"""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from pipeline import storage
from pipeline.errors import TaskError

RECORDS = "_records"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Task:
    """What to do: a name unique at its place, the folder its files go to, and small JSON values."""

    name: str
    place: str
    payload: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"task name {self.name!r} must be letters, digits, '-' and '_'")

    @property
    def digest(self) -> str:
        """Hash of what the task is to do: a record answers for this and nothing else."""
        return storage.fingerprint_of([self.name, self.payload])

    def to_json(self) -> str:
        """Return the description as one line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class TaskFile:
    """A file that a task wrote; ``name`` is relative to the task's place."""

    name: str
    role: str
    bytes: int
    checksum: str  # see storage.checksum_of


@dataclass(frozen=True)
class TaskRecord:
    """What a task did. ``result`` holds small JSON values; all that grows with the graph is in files."""

    task: str
    digest: str  # of the task, see Task.digest
    attempt: str
    place: str
    files: tuple[TaskFile, ...]
    result: Mapping[str, Any]
    started: float  # unix seconds
    seconds: float
    cpu_seconds: float
    peak_bytes: int  # largest resident size during the task
    growth_bytes: int  # the same, less what was resident at its start
    process: str  # host:pid

    def file(self, role: str) -> Path:
        """Return the path of the one file with a role."""
        (found,) = (file for file in self.files if file.role == role)
        return Path(self.place) / found.name

    def paths(self, role: str) -> list[Path]:
        """Return the paths of all files with a role, in the order they were written."""
        return [Path(self.place) / file.name for file in self.files if file.role == role]

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> TaskRecord:
        """Read what :meth:`to_json` wrote."""
        raw = json.loads(text)
        files = tuple(TaskFile(**file) for file in raw.pop("files"))
        return cls(files=files, **raw)


class Attempt:
    """One try at a task: hands out the paths of its files."""

    def __init__(self, task: Task) -> None:
        self.name = uuid4().hex[:12]
        self._task = task
        self._paths: list[tuple[str, Path]] = []

    def path(self, role: str, suffix: str) -> Path:
        """Return where to write a file with a role ("rows", "outbox"); several files may share a role."""
        number = sum(1 for known, _ in self._paths if known == role)
        numbered = f"-{number}" if number else ""
        path = Path(self._task.place) / f"{self._task.name}-{role}{numbered}.{self.name}.{suffix}"
        self._paths.append((role, path))
        return path

    def files(self) -> tuple[TaskFile, ...]:
        """Return the files written so far, with size and digest."""
        return tuple(
            TaskFile(path.name, role, path.stat().st_size, storage.checksum_of(path)) for role, path in self._paths
        )


#: Reads its inputs and writes its files through the attempt; returns a small JSON mapping.
TaskFunction = Callable[[Task, Attempt], Mapping[str, Any]]


class TaskRunner(Protocol):
    """The verb of an engine that carries tasks to workers."""

    def map_tasks(self, function: TaskFunction, tasks: Sequence[Task]) -> list[TaskRecord]:
        """Run ``function`` once for each task, anywhere, in any order; return their records in task order."""
        ...


def run_task(function: TaskFunction, task: Task) -> TaskRecord:
    """Run one attempt of a task in this process and commit its record.

    Errors of :mod:`pipeline.errors` pass through unchanged; others are the task's own and stay as they are.
    """
    place = Path(task.place)
    (place / RECORDS).mkdir(parents=True, exist_ok=True)
    attempt = Attempt(task)
    _reset_peak()
    resident, started, clock, cpu = _resident_bytes(), time.time(), time.monotonic(), _cpu_seconds()
    result = function(task, attempt)
    peak = _peak_bytes()
    record = TaskRecord(
        task=task.name,
        digest=task.digest,
        attempt=attempt.name,
        place=task.place,
        files=attempt.files(),
        result=result,
        started=started,
        seconds=time.monotonic() - clock,
        cpu_seconds=_cpu_seconds() - cpu,
        peak_bytes=peak,
        growth_bytes=max(0, peak - resident),
        process=f"{socket.gethostname()}:{os.getpid()}",
    )
    storage.write_bytes(place / RECORDS / f"{task.name}.{attempt.name}.json", record.to_json().encode())
    return record


def committed(place: Path, names: Collection[str] | None = None) -> dict[str, TaskRecord]:
    """Return the valid records at a place, by the digest of their task: those whose files are there in full.

    With ``names``, of these tasks only: others' records aren't opened.

    Raises
    ------
    TaskError : if two attempts of one task wrote different bytes.
    """
    found: dict[str, TaskRecord] = {}
    for path in sorted((place / RECORDS).glob("*.json")) if (place / RECORDS).is_dir() else ():
        if names is not None and path.name.partition(".")[0] not in names:
            continue
        record = replace(TaskRecord.from_json(path.read_bytes()), place=str(place))  # a workspace may move
        if not all(_is_whole(place / file.name, file.bytes) for file in record.files):
            continue
        other = found.setdefault(record.digest, record)
        refuse_disagreement(other, record)
    return found


def forget(place: Path, names: Collection[str]) -> None:
    """Remove the records of some tasks, so that these are done again."""
    for path in (place / RECORDS).glob("*.json"):
        if path.name.partition(".")[0] in names:
            path.unlink(missing_ok=True)


def refuse_disagreement(one: TaskRecord, other: TaskRecord) -> None:
    """Raise TaskError if two attempts of one task wrote different bytes."""
    if [(f.role, f.checksum) for f in one.files] != [(f.role, f.checksum) for f in other.files]:
        raise TaskError(
            f"task {one.task} at {one.place} was done twice with different results: attempt {one.attempt} on "
            f"{one.process} and attempt {other.attempt} on {other.process}. A worker has other package versions "
            "or faulty memory; compare 'graphquilt doctor' on both, then remove that folder and run again."
        )


def run_missing(engine: TaskRunner, function: TaskFunction, tasks: Sequence[Task]) -> list[TaskRecord]:
    """Send the tasks that have no valid record yet; return the records of all, in task order.

    All tasks must share one place.
    """
    if not tasks:
        return []
    done = committed(Path(tasks[0].place), {task.name for task in tasks})
    missing = [task for task in tasks if task.digest not in done]
    for record in engine.map_tasks(function, missing) if missing else ():
        done[record.digest] = record
    return [done[task.digest] for task in tasks]


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or a container that forbids it: the peak is then the process's own
        return


def _status_bytes(field_name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field_name):
            return int(line.split()[1]) * 1024
    return 0


def _peak_bytes() -> int:
    try:
        return _status_bytes("VmHWM:")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident_bytes() -> int:
    try:
        return _status_bytes("VmRSS:")
    except OSError:
        return 0
