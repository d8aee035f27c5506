"""Records of tasks on storage: which are valid, and which tasks have none yet."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from graphquilt.locations import parse_location
from pipeline import storage
from pipeline.codec import CodecError
from pipeline.errors import DamagedFileError, NotComputedError, TaskError
from pipeline.locations import Location
from pipeline.tasks.attempt import Attempt, TaskFunction, TaskRunner, result_type
from pipeline.tasks.task import RECORDS, P, R, Task, TaskRecord

log = logging.getLogger(__name__)

#: The driver itself checks files up to this many bytes in all; beyond that, tasks share the work.
_CHECKED_BY_DRIVER = 256 * 2**20


@dataclass(frozen=True)
class ChecksPayload:
    """Files to check: address, size and checksum of each.

    An address is "file:" and the path: a path alone would be an input, whose damage is an error and no answer.
    """

    files: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True)
class ChecksResult:
    """What is wrong with files, by path; whole files are left out."""

    problems: Mapping[str, str]


class CachedRunner:
    """A runner that answers from the records of earlier runs and computes nothing."""

    name = "cached"

    def map_tasks(self, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
        """Refuse: these tasks have no record."""
        raise NotComputedError(f"{[task.name for task in tasks]} have not been run in their folder")


def read_records(
    folder: Location, tasks: Sequence[Task[Any]] | None = None, runner: TaskRunner | None = None, result: Any = Any
) -> dict[str, TaskRecord[Any]]:
    """Return the valid records in a folder, by the digest of their task: those whose files are what was written.

    With ``tasks``, of these only: others' records aren't opened. A damaged record, or one of a damaged file, is removed
    with a warning, so that its task counts as not done. ``result`` is the type of the results.

    Raises
    ------
    TaskError : if two attempts of one task wrote different bytes.
    """
    records, problems = _valid_records(folder, tasks, runner, result)
    for problem in problems:
        log.warning("warning: %s; its task is done again", problem)
    return records


def forget_damaged(work: Location, runner: TaskRunner) -> list[str]:
    """Remove the records below a folder that are damaged or whose files are; return what is wrong with each."""
    names = {PurePosixPath(file.name).parent for file in storage.files_below(work)}
    folders = [work / name.parent for name in sorted(names) if name.name == RECORDS]
    return [problem for folder in folders for problem in _valid_records(folder, None, runner, Any)[1]]


def _valid_records(
    folder: Location, tasks: Sequence[Task[Any]] | None, runner: TaskRunner | None, result: Any
) -> tuple[dict[str, TaskRecord[Any]], list[str]]:
    """Return the valid records by digest, and what is wrong with the others, which are removed."""
    records: dict[Location, TaskRecord[Any]] = {}
    problems: list[str] = []
    names = None if tasks is None else {task.name for task in tasks}
    digests = None if tasks is None else {task.digest for task in tasks}
    for path in _record_files(folder, names):
        try:
            record = _read_record(path, digests, result)
        except DamagedFileError as error:
            problems.append(str(error))
            storage.remove(path)
            continue
        if record is not None:
            records[path] = record
    files = {folder / file.name: (file.bytes, file.checksum) for record in records.values() for file in record.files}
    damage = damaged_files(files, folder, runner)
    valid: dict[str, TaskRecord[Any]] = {}
    for path, record in records.items():
        bad_files = [file for file in (folder / file.name for file in record.files) if file in damage]
        if bad_files:
            problems.append(f"{bad_files[0]} {damage[bad_files[0]]}")
            storage.remove(path)
        else:
            refuse_disagreement(valid.setdefault(record.digest, record), record)
    return valid, problems


def _record_files(folder: Location, names: Collection[str] | None) -> list[Location]:
    """Return the records in a folder; with ``names``, those of these tasks."""
    files = [name for name in storage.names_in(folder / RECORDS) if name.endswith(".json") and name[0] != "."]
    return [folder / RECORDS / name for name in files if names is None or name.partition(".")[0] in names]


def _read_record(path: Location, digests: Collection[str] | None, result: Any) -> TaskRecord[Any] | None:
    """Return a record; None if another process has just removed it, or it is of none of the tasks."""
    raw = storage.read_checked_json(path)
    if raw is None or (digests is not None and raw.get("digest") not in digests):
        return None
    try:
        record = TaskRecord.from_values(raw, result)
    except CodecError as error:
        raise DamagedFileError(f"{path} was written by another version ({error})") from error
    if strays := [file.name for file in record.files if Path(file.name).name != file.name]:
        raise DamagedFileError(f"{path} names {strays[0]}, which is not in its folder")
    return replace(record, folder=path.parent.parent)  # a workspace may move


def damaged_files(
    files: Mapping[Location, tuple[int, str]], folder: Location, runner: TaskRunner | None = None
) -> dict[Location, str]:
    """Return what is wrong with files, by path; whole files are left out.

    Parameters
    ----------
    files : size and checksum of each.
    folder : for the records of the tasks that check, should there be any; they are removed.

    Raises
    ------
    StorageError : this user may not read a file.
    """
    checks = [(path, size, checksum) for path, (size, checksum) in files.items()]
    if runner is None or len(files) < 2 or sum(size for _, size, _ in checks) <= _CHECKED_BY_DRIVER:
        return _problems(checks)
    scratch = folder / "_checks"
    tasks = []
    for number, batch in enumerate(_batches(checks, _CHECKED_BY_DRIVER)):
        addresses = tuple((f"file:{path}", size, checksum) for path, size, checksum in batch)
        tasks.append(Task(f"check-{number:05d}", scratch, ChecksPayload(addresses)))
    try:
        records = runner.map_tasks(check_files, tasks)
    finally:
        storage.remove_tree(scratch)
    return {parse_location(path): problem for record in records for path, problem in record.result.problems.items()}


def check_files(payload: ChecksPayload, attempt: Attempt) -> ChecksResult:  # noqa: ARG001
    """Task: check some files."""
    checks = [(parse_location(text.removeprefix("file:")), size, checksum) for text, size, checksum in payload.files]
    return ChecksResult({str(path): problem for path, problem in _problems(checks).items()})


def _problems(files: Sequence[tuple[Location, int, str]]) -> dict[Location, str]:
    results = ((path, storage.problem_of(path, size, checksum)) for path, size, checksum in files)
    return {path: problem for path, problem in results if problem}


def _batches(files: Sequence[tuple[Location, int, str]], most: int) -> list[list[tuple[Location, int, str]]]:
    batches: list[list[tuple[Location, int, str]]] = []
    size = most
    for file in files:
        if size >= most:
            batches.append([])
            size = 0
        batches[-1].append(file)
        size += file[1]
    return batches


def forget(folder: Location, names: Collection[str]) -> None:
    """Remove the records of some tasks, so that these are done again."""
    for path in _record_files(folder, names):
        storage.remove(path)


def refuse_disagreement(first: TaskRecord[Any], second: TaskRecord[Any]) -> None:
    """Raise TaskError if two attempts of one task wrote different bytes."""
    if [(f.role, f.checksum) for f in first.files] != [(f.role, f.checksum) for f in second.files]:
        raise TaskError(
            f"task {first.task} at {first.folder} was done twice with different results: attempt {first.attempt} on "
            f"{first.process} and attempt {second.attempt} on {second.process}. A worker has other package versions "
            "or faulty memory; compare 'graphquilt doctor' on both, then remove that folder and run again."
        )


def run_missing(engine: TaskRunner, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
    """Send the tasks that have no valid record yet; return the records of all, in task order.

    All tasks must share one folder. Records of an earlier run count where their files are still what was written.
    """
    if not tasks:
        return []
    records = read_records(tasks[0].folder, tasks, engine, result_type(function))
    fence = storage.fence_of(tasks[0].folder)
    missing = [replace(task, fence=fence) for task in tasks if task.digest not in records]
    for record in engine.map_tasks(function, missing) if missing else ():
        records[record.digest] = record
    return [records[task.digest] for task in tasks]
