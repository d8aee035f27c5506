"""A table of a release as one object: what it is, which runs have it, which tasks write it, what is checked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pipeline import storage
from pipeline.codes.code_tasks import EarlierCodes
from pipeline.config.model import PipelineConfig
from pipeline.errors import ContractError
from pipeline.ingest.figures import IndexFigures
from pipeline.locations import Location
from pipeline.tasks import P, R, TaskFolder, TaskFunction, TaskRecord, TaskRunner
from pipeline.workspace import Workspace
from schemas.contracts import TableContract

F = TypeVar("F")


@dataclass(frozen=True)
class TableRun:
    """The run whose tables are written: its engine, its configuration and its working tables.

    tables : those written before, in the order of the list: a table may be made of another's files.
    earlier_codes : of vectors, that the night goes on with; None: they are made anew.
    """

    engine: TaskRunner
    config: PipelineConfig
    workspace: Workspace
    tables: Mapping[str, WrittenTable[Any]] = field(default_factory=dict)
    earlier_codes: EarlierCodes | None = None

    @property
    def folder(self) -> Location:
        """Folder of the tasks."""
        return self.workspace.work("aggregate")

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Ranges of node numbers, one for each file of a table that has a row for every node."""
        nodes, size = self.workspace.figures("node_index", IndexFigures).nodes, self.config.publish.rows_per_file
        return [(first, min(first + size, nodes)) for first in range(0, nodes, size)]

    def files_of(self, table: str) -> list[Location]:
        """Return the files of a table that was written before."""
        records = self.tables[table].files
        return [record.folder / file.name for record in records for file in record.files if file.role == table]

    def run_tasks(self, function: TaskFunction[P, R], name: str, payloads: Sequence[P]) -> list[TaskRecord[R]]:
        """Run a task for each payload; tasks that have a record are not run again."""
        return TaskFolder(self.engine, self.folder).run_each(function, name, payloads)


@dataclass(frozen=True)
class NoFigures:
    """Of a table that says no more than how many rows its files have."""


@dataclass(frozen=True)
class WorkingTable:
    """The files of a working table, those with a role of one task, and what its manifest says."""

    record: TaskRecord[Any]
    role: str
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class WrittenTable(Generic[F]):
    """The records of the tasks that wrote a table, and its figures.

    files : each has one file, whose role is the table's name.
    records : of all tasks, those of ``files`` among them.
    working : working tables that were made on the way.
    """

    files: Sequence[TaskRecord[Any]]
    figures: F
    records: Sequence[TaskRecord[Any]]
    working: Mapping[str, WorkingTable] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedTable(Generic[F]):
    """A table of a release.

    contract : the table's contract, for the width of the run's vectors.
    is_wanted : whether a run with this configuration has the table.
    write : runs the tasks that write its files.
    figures : what its manifest says; made without arguments, what it says in a run that doesn't have the table.
    expected_rows : how many rows it must have to be published; None: any number.
    metadata : the figure that says what its columns mean, which stands at the top of the release's manifest.
    counts : other figures that stand there.
    """

    name: str
    contract: Callable[[int], TableContract]
    is_wanted: Callable[[PipelineConfig], bool]
    write: Callable[[TableRun], WrittenTable[F]]
    figures: type[F]
    expected_rows: Callable[[Workspace], int] | None = None
    metadata: str | None = None
    counts: tuple[str, ...] = ()

    def check(self, config: PipelineConfig, workspace: Workspace) -> None:
        """Compare the table's files with its contract, and their rows with those it must have.

        Raises
        ------
        ContractViolationError : a column is missing or has another type. ContractError : other rows.
        """
        files, contract = workspace.files(self.name), self.contract(config.embedding.dim)
        for file in files:
            contract.check_schema(storage.read_schema(file), str(file))
        if self.expected_rows is None:
            return
        rows, expected_rows = storage.rows_in(files), self.expected_rows(workspace)
        if rows != expected_rows:
            raise ContractError(
                f"{self.name} has {rows} rows instead of {expected_rows}; nothing was published. Remove "
                f"{workspace.folder(self.name)} and run aggregate again."
            )

    def released_figures(self, workspace: Workspace) -> dict[str, Any]:
        """Return the figures that stand at the top of the release's manifest."""
        figures = workspace.manifest(self.name).figures
        names = self.counts if self.metadata is None else (*self.counts, self.metadata)
        return {name: figures[name] for name in names}
