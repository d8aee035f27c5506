"""What a stage hands back: the files of its tables, and the figures that people act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.tasks import TaskRecord


@dataclass(frozen=True)
class OutputFile:
    """A file that belongs to a table from the moment its stage commits; until then it lies in the folder of work."""

    path: Path
    rows: int
    checksum: str


@dataclass(frozen=True)
class Outcome:
    """The files of each table that a stage wrote, in their order, and its figures."""

    tables: Mapping[str, Sequence[OutputFile]]
    figures: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[TaskRecord[Any]] = ()  # of the stage's tasks: their memory and CPU time are reported


def describe_task_files(records: Sequence[TaskRecord[Any]], role: str, rows: str | None = None) -> list[OutputFile]:
    """Describe the files with a role that tasks wrote, in task order.

    The field ``rows`` of a record's result is the number of rows of its file; by default, ``f"{role}_rows"``.
    """
    return [
        OutputFile(record.folder / file.name, _rows_of(record.result, rows or f"{role}_rows"), file.checksum)
        for record in records
        for file in record.files
        if file.role == role
    ]


def _rows_of(result: Any, name: str) -> int:
    return int(result[name] if isinstance(result, Mapping) else getattr(result, name))


def describe_engine_files(files: Sequence[Path]) -> list[OutputFile]:
    """Describe Parquet files that an engine wrote; their names say their checksums."""
    return [OutputFile(file, storage.rows_in([file]), str(storage.sealed_checksum(file))) for file in files]
