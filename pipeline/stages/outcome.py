"""What a stage hands back: the files of its tables, and the figures that people act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.tasks import TaskRecord


@dataclass(frozen=True)
class MadeFile:
    """A file that belongs to a table from the moment its stage commits; until then it lies in the work folder."""

    path: Path
    rows: int
    checksum: str


@dataclass(frozen=True)
class Outcome:
    """The tables a stage made, by name, in the order of their files."""

    tables: Mapping[str, Sequence[MadeFile]]
    figures: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[TaskRecord[Any]] = ()  # of the stage's tasks: their memory and CPU time are reported


def written_by_tasks(records: Sequence[TaskRecord[Any]], role: str, rows: str | None = None) -> list[MadeFile]:
    """Describe the files with a role that tasks wrote, in task order.

    The field ``rows`` of a record's result is the number of rows of its file; by default, ``f"{role}_rows"``.
    """
    return [
        MadeFile(record.folder / file.name, _rows_of(record.result, rows or f"{role}_rows"), file.checksum)
        for record in records
        for file in record.files
        if file.role == role
    ]


def _rows_of(result: Any, name: str) -> int:
    return int(result[name] if isinstance(result, Mapping) else getattr(result, name))


def written_by_engine(files: Sequence[Path]) -> list[MadeFile]:
    """Describe Parquet files that an engine wrote; their names say their checksums."""
    return [MadeFile(file, storage.rows_in([file]), str(storage.sealed_checksum(file))) for file in files]
