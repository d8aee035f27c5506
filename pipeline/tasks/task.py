"""What goes between the driver and a worker: a task with its payload there, a record with its result back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline import codec, storage
from pipeline.locations import Location

#: Folder of the records, below that of the tasks' files.
RECORDS = "_records"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Task(Generic[P]):
    """What to do: a name that is unique in the folder its files go to, and a payload, a small dataclass."""

    name: str
    folder: Location
    payload: P
    fence: int = 0  # of the driver's lease on the folder; it stands in the names of what the task writes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"task name {self.name!r} must be letters, digits, '-' and '_'")

    @property
    def digest(self) -> str:
        """Hash of what the task is to do: a record answers for this and nothing else."""
        return storage.fingerprint_of([self.name, codec.to_values(self.payload)])

    def to_json(self) -> str:
        """Return the task as one line of JSON."""
        return codec.to_text(self, _kind_of(Task, type(self.payload)))

    @classmethod
    def from_json(cls, text: str, payload: type[P] = Any) -> Task[P]:  # type: ignore[assignment]
        """Read what :meth:`to_json` wrote."""
        return codec.from_text(_kind_of(cls, payload), text)


@dataclass(frozen=True)
class TaskFile:
    """A file that a task wrote; ``name`` is relative to the task's folder."""

    name: str
    role: str
    bytes: int
    checksum: str  # see storage.checksum_of
    rows: int | None  # of a table in Parquet or Arrow; None of other files


@dataclass(frozen=True)
class TaskRecord(Generic[R]):
    """What a task did. ``result`` is a small dataclass; all that grows with the graph is in files."""

    task: str
    digest: str  # of the task, see Task.digest
    attempt: str
    folder: Location
    files: tuple[TaskFile, ...]
    result: R
    started: float  # unix seconds
    seconds: float
    cpu_seconds: float
    peak_bytes: int  # largest resident size during the task
    growth_bytes: int  # the same, less what was resident at its start
    process: str  # host:pid

    def file(self, role: str) -> Location:
        """Return the location of the one file with a role."""
        (path,) = self.paths(role)
        return path

    def paths(self, role: str) -> list[Location]:
        """Return the locations of all files with a role, in the order they were written."""
        return [self.folder / file.name for file in self.files if file.role == role]

    def rows(self, role: str) -> int:
        """Return how many rows the tables with a role have."""
        return sum(file.rows or 0 for file in self.files if file.role == role)

    def to_values(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        values: dict[str, Any] = codec.to_values(self, _kind_of(TaskRecord, type(self.result)))
        return values

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return codec.to_text(self, _kind_of(TaskRecord, type(self.result)))

    @classmethod
    def from_json(cls, text: str, result: type[R] = Any) -> TaskRecord[R]:  # type: ignore[assignment]
        """Read what :meth:`to_json` wrote."""
        return codec.from_text(_kind_of(cls, result), text)

    @classmethod
    def from_values(cls, values: Mapping[str, Any], result: type[R]) -> TaskRecord[R]:
        """Read what :meth:`to_values` made; CodecError: other fields, or of other types."""
        return codec.from_values(_kind_of(cls, result), values)


def _kind_of(generic: Any, parameter: Any) -> Any:
    """Return a generic class with its parameter, which only the run knows."""
    return generic[parameter]
