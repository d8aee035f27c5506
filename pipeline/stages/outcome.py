"""What a stage hands back: the files of its tables, and the figures that people act on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline import storage
from pipeline.locations import Location
from pipeline.tasks import TaskRecord
from pipeline.tasks.wave_names import describe_wave

#: A step that is repeated in rounds is one entry of what tasks took.
_ROUND = re.compile(r"^round \d+, ")


@dataclass(frozen=True)
class OutputFile:
    """A file that belongs to a table from the moment its stage commits; until then it lies in the folder of work."""

    path: Location
    rows: int
    checksum: str


@dataclass(frozen=True)
class Outcome:
    """The files of each table that a stage wrote, in their order, and its figures.

    figures : stand in the manifest of every table. table_figures : by table, stand in its own alone.
    """

    tables: Mapping[str, Sequence[OutputFile]]
    figures: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[TaskRecord[Any]] = ()  # of the stage's tasks: their memory and CPU time are reported
    table_figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def figures_of(self, table: str) -> dict[str, Any]:
        """Return what the manifest of a table says."""
        return {**self.figures, **self.table_figures.get(table, {})}


def describe_costs(records: Sequence[TaskRecord[Any]]) -> list[dict[str, Any]]:
    """Return what tasks took, by step: how many, seconds of all and of the longest, CPU seconds, peak and bytes."""
    waves: dict[str, list[TaskRecord[Any]]] = {}
    for record in records:
        step = describe_wave(record.folder, [record.task]).partition(": ")[2]
        waves.setdefault(_ROUND.sub("rounds, ", step), []).append(record)
    return [
        {
            "name": name,
            "tasks": len(of_wave),
            "seconds": round(sum(record.seconds for record in of_wave), 3),
            "longest": round(max(record.seconds for record in of_wave), 3),
            "cpu_seconds": round(sum(record.cpu_seconds for record in of_wave), 3),
            "peak_bytes": max(record.peak_bytes for record in of_wave),
            "bytes": sum(file.bytes for record in of_wave for file in record.files),
        }
        for name, of_wave in waves.items()
    ]


def describe_task_files(records: Sequence[TaskRecord[Any]], role: str) -> list[OutputFile]:
    """Describe the tables with a role that tasks wrote, in task order."""
    return [
        OutputFile(record.folder / file.name, file.rows or 0, file.checksum)
        for record in records
        for file in record.files
        if file.role == role
    ]


def describe_engine_files(files: Sequence[Location]) -> list[OutputFile]:
    """Describe Parquet files that an engine wrote; their names say their checksums."""
    return [OutputFile(file, storage.rows_in([file]), str(storage.sealed_checksum(file))) for file in files]
