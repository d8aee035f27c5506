"""A task: a small description that travels, a function that reads and writes its own files, and a record.

A task commits by its record: files first, durable and named after their bytes, then one JSON beside them. Retries,
speculative copies and zombies are harmless, since whatever has no record does not count, and a driver that
starts again sends only the tasks without one. Nothing counts unchecked: a task looks at the files it is handed before
it uses them, and a record of an earlier run holds only if its files are still what was written.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from pipeline import storage
from pipeline.errors import DamagedFileError, NotComputedError, TaskError

log = logging.getLogger(__name__)

RECORDS = "_records"
#: The driver itself looks at files up to this many bytes in all, and shares more out to tasks. A task looks again at
#: the tables that it is handed, up to this many.
_CHECKED_HERE = 256 * 2**20
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
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> TaskRecord:
        """Return a record of its JSON values."""
        return cls(**{**raw, "files": tuple(TaskFile(**file) for file in raw["files"])})


class Attempt:
    """One try at a task: hands out the paths of its files."""

    def __init__(self, task: Task) -> None:
        self.name = uuid4().hex[:12]
        self._task = task
        self._paths: list[tuple[str, Path]] = []
        self._scratch: list[Path] = []

    def path(self, role: str, suffix: str) -> Path:
        """Return where to write a file with a role ("rows", "outbox"); several files may share a role."""
        number = sum(1 for known, _ in self._paths if known == role)
        numbered = f"-{number}" if number else ""
        path = Path(self._task.place) / f"{self._task.name}-{role}{numbered}.{self.name}.{suffix}"
        self._paths.append((role, path))
        return path

    def scratch(self, role: str) -> Path:
        """Return where to write a file that nobody reads once the task is done."""
        self._scratch.append(Path(self._task.place) / f"{self._task.name}-{role}.{self.name}.scratch")
        return self._scratch[-1]

    def seal(self) -> tuple[TaskFile, ...]:
        """Make the files durable, under names that say what their bytes are; nothing is written to them any more."""
        for path in self._scratch:
            path.unlink()
        files = []
        for role, path in self._paths:
            sealed = storage.seal(path, path.name.partition(".")[0])
            checksum = storage.sealed_checksum(sealed)
            assert checksum is not None
            files.append(TaskFile(sealed.name, role, sealed.stat().st_size, checksum))
        if files:
            storage.fsync_folder(Path(self._task.place))
        return tuple(files)


#: Reads its inputs and writes its files through the attempt; returns a small JSON mapping.
TaskFunction = Callable[[Task, Attempt], Mapping[str, Any]]


class TaskRunner(Protocol):
    """The verb of an engine that carries tasks to workers."""

    def map_tasks(self, function: TaskFunction, tasks: Sequence[Task]) -> list[TaskRecord]:
        """Run ``function`` once for each task, anywhere, in any order; return their records in task order."""
        ...


class CachedRunner:
    """A runner that answers from the records of earlier runs and computes nothing."""

    name = "cached"

    def map_tasks(self, function: TaskFunction, tasks: Sequence[Task]) -> list[TaskRecord]:
        """Refuse: these tasks have no record."""
        raise NotComputedError(f"{[task.name for task in tasks]} have not been run at this place")


def run_task(function: TaskFunction, task: Task) -> TaskRecord:
    """Run one attempt of a task in this process and commit its record.

    Errors of :mod:`pipeline.errors` pass through unchanged; others are the task's own and stay as they are.

    Raises
    ------
    DamagedFileError : a file that the task is handed is not what was written.
    """
    place = Path(task.place)
    (place / RECORDS).mkdir(parents=True, exist_ok=True)
    attempt = Attempt(task)
    _reset_peak()
    resident, started, clock, cpu = _resident_bytes(), time.time(), time.monotonic(), _cpu_seconds()
    _check_handed(task)
    result = function(task, attempt)
    files = attempt.seal()
    peak = _peak_bytes()
    record = TaskRecord(
        task=task.name,
        digest=task.digest,
        attempt=attempt.name,
        place=task.place,
        files=files,
        result=result,
        started=started,
        seconds=time.monotonic() - clock,
        cpu_seconds=_cpu_seconds() - cpu,
        peak_bytes=peak,
        growth_bytes=max(0, peak - resident),
        process=f"{socket.gethostname()}:{os.getpid()}",
    )
    storage.write_signed_json(place / RECORDS / f"{task.name}.{attempt.name}.json", asdict(record))
    return record


def _check_handed(task: Task) -> None:
    """Look at the files that a task is handed: those of other tasks, and tables, which their stage has looked at.

    Large tables are shared by many tasks, each of which reads a little of them: no process reads all of that again.
    """
    paths = {text for text in texts_in(task.payload) if text.startswith("/")}
    tables = {path for path in paths if storage.is_of_table(path)}
    for path in sorted(paths - tables):
        storage.check_sealed(path)
    if sum(Path(path).stat().st_size for path in tables if os.path.exists(path)) <= _CHECKED_HERE:
        for path in sorted(tables):
            storage.check_sealed(path)


def texts_in(value: Any) -> Iterator[str]:
    """Yield all texts of JSON values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for some in value.values():
            yield from texts_in(some)
    elif isinstance(value, list | tuple):
        for some in value:
            yield from texts_in(some)


def committed(
    place: Path, tasks: Sequence[Task] | None = None, runner: TaskRunner | None = None
) -> dict[str, TaskRecord]:
    """Return the valid records at a place, by the digest of their task: those whose files are what was written.

    With ``tasks``, of these only: others' records aren't opened. A damaged record, or one of a damaged file, is removed
    with a warning, so that its task counts as not done.

    Raises
    ------
    TaskError : if two attempts of one task wrote different bytes.
    """
    found, problems = _sifted(place, tasks, runner)
    for problem in problems:
        log.warning("warning: %s; its task is done again", problem)
    return found


def forget_damaged(work: Path, runner: TaskRunner) -> list[str]:
    """Remove the records below a folder that are damaged or whose files are; return what is wrong with each."""
    return [problem for records in sorted(work.rglob(RECORDS)) for problem in _sifted(records.parent, None, runner)[1]]


def _sifted(
    place: Path, tasks: Sequence[Task] | None, runner: TaskRunner | None
) -> tuple[dict[str, TaskRecord], list[str]]:
    """Return the valid records, and what is wrong with those that were not, and are no more."""
    records: dict[Path, TaskRecord] = {}
    problems: list[str] = []
    names = None if tasks is None else {task.name for task in tasks}
    digests = None if tasks is None else {task.digest for task in tasks}
    for path in sorted((place / RECORDS).glob("*.json")) if (place / RECORDS).is_dir() else ():
        if names is not None and path.name.partition(".")[0] not in names:
            continue
        try:
            record = _read_record(path)
        except DamagedFileError as error:
            problems.append(str(error))
            path.unlink(missing_ok=True)
            continue
        if record is not None and (digests is None or record.digest in digests):
            records[path] = record
    files = {place / file.name: file for record in records.values() for file in record.files}
    damaged = damaged_files({path: (file.bytes, file.checksum) for path, file in files.items()}, place, runner)
    found: dict[str, TaskRecord] = {}
    for path, record in records.items():
        lost = [file for file in (place / file.name for file in record.files) if file in damaged]
        if lost:
            problems.append(f"{lost[0]} {damaged[lost[0]]}")
            path.unlink(missing_ok=True)
        else:
            refuse_disagreement(found.setdefault(record.digest, record), record)
    return found, problems


def _read_record(path: Path) -> TaskRecord | None:
    raw = storage.read_signed_json(path)
    if raw is None:  # another process has just removed it
        return None
    try:
        record = TaskRecord.of(raw)
    except (TypeError, KeyError) as error:
        raise DamagedFileError(f"{path} was written by another version ({error})") from error
    if strays := [file.name for file in record.files if Path(file.name).name != file.name]:
        raise DamagedFileError(f"{path} names {strays[0]}, which is not in its folder")
    return replace(record, place=str(path.parent.parent))  # a workspace may move


def damaged_files(
    files: Mapping[Path, tuple[int, str]], place: Path, runner: TaskRunner | None = None
) -> dict[Path, str]:
    """Return how files are not what they were, by path; those that are whole are left out.

    Parameters
    ----------
    files : size and checksum of each.
    place : folder for the records of the tasks that look, should it take some; they are removed.

    Raises
    ------
    StorageError : this user may not read a file.
    """
    if runner is None or len(files) < 2 or sum(size for size, _ in files.values()) <= _CHECKED_HERE:
        return {path: why for path, told in files.items() if (why := storage.problem_of(path, *told))}
    told = [[str(path), size, checksum] for path, (size, checksum) in files.items()]
    scratch = place / "_checks"
    tasks = [
        Task(f"check-{number:05d}", str(scratch), {"files": json.dumps(pack)})
        for number, pack in enumerate(_packed(told, _CHECKED_HERE))
    ]
    try:
        records = runner.map_tasks(check_files, tasks)
    finally:
        storage.remove_tree(scratch)
    return {Path(path): why for record in records for path, why in record.result["damaged"]}


def check_files(task: Task, attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: look at some files."""
    files = json.loads(task.payload["files"])  # as a text: a damaged one is an answer here, not an error
    return {"damaged": [[path, why] for path, *told in files if (why := storage.problem_of(Path(path), *told))]}


def _packed(files: Sequence[list[Any]], most: int) -> list[list[list[Any]]]:
    packs: list[list[list[Any]]] = []
    size = most
    for file in files:
        if size >= most:
            packs.append([])
            size = 0
        packs[-1].append(file)
        size += file[1]
    return packs


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

    All tasks must share one place. Records of an earlier run count where their files are still what was written.
    """
    if not tasks:
        return []
    done = committed(Path(tasks[0].place), tasks, engine)
    missing = [task for task in tasks if task.digest not in done]
    for record in engine.map_tasks(function, missing) if missing else ():
        done[record.digest] = record
    return [done[task.digest] for task in tasks]


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
