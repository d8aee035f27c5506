"""Waves of tasks: what the tasks of a round are handed, and what they leave for the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from pipeline.blocks.arrays import Block
from pipeline.embedding.rows import ColumnSums
from pipeline.embedding.settings import Settings
from pipeline.locations import Location
from pipeline.tasks import Task, TaskFunction, TaskRecord, TaskRunner, run_missing


@dataclass(frozen=True)
class BlockFiles:
    """Where a block lies."""

    part_id: int
    nodes: Location
    edges: Location
    routes: Location
    has_splits: bool  # it is the home of split nodes
    features: Location | None = None  # of its rows, where nodes have attributes

    def read(self) -> Block:
        """Map the block."""
        return Block.read(self.part_id, self.nodes, self.edges, self.routes, self.features)


@dataclass(frozen=True)
class PartPayload:
    """Input of a task about one part, or about some columns of it."""

    block: BlockFiles
    settings: Settings

    def read(self) -> tuple[Block, Settings]:
        """Map the block, and read the facts of earlier rounds."""
        return self.block.read(), self.settings.read()


@dataclass(frozen=True)
class RowSlice:
    """The batches of a file that are addressed to one part."""

    file: Location
    first_batch: int
    batches: int


@dataclass(frozen=True)
class Traffic:
    """Rows that a task wrote for other parts."""

    rows: int = 0  # of a row whose columns several tasks write, the first columns count it
    bytes: int = 0


#: Of each of a task's files with one role: receiver -> (first batch, batches).
FileSlices = tuple[Mapping[int, tuple[int, int]], ...]


@dataclass(frozen=True)
class PartResult:
    """What a task about one part did; its rows are in files."""

    part_id: int
    slices: Mapping[str, FileSlices] = field(default_factory=dict)  # by role
    partials: Traffic = Traffic()  # partial rows of split nodes, to their homes
    totals: Traffic = Traffic()  # complete rows, to the parts that read them next
    sums: ColumnSums | None = None  # of complete rows, if the last step standardises columns
    report: Mapping[str, Any] = field(default_factory=dict)  # figures of the facts, for people


P = TypeVar("P", bound=PartPayload)
#: Records of one wave: by shard, then by block.
Wave = list[list[TaskRecord[PartResult]]]


@dataclass(frozen=True)
class RoundRecords:
    """The records of a round or, where one task does all rounds in memory, of all."""

    products: Wave
    homes: Wave  # by block with split nodes

    @property
    def all(self) -> list[TaskRecord[PartResult]]:
        """All records, shard after shard, products first."""
        return [record for wave in (self.products, self.homes) for shard in wave for record in shard]

    def by_block(self) -> list[list[TaskRecord[PartResult]]]:
        """Return the records of each block's shards, products first: the order in which sums are added."""
        return [list(shards) for wave in (self.products, self.homes) for shards in zip(*wave, strict=True)]


def homes_of(blocks: Sequence[BlockFiles]) -> list[BlockFiles]:
    """Return the blocks that are the home of split nodes; a tree with one part has nothing to bring together."""
    return [block for block in blocks if block.has_splits and len(blocks) > 1]


def run_wave(
    runner: TaskRunner,
    function: TaskFunction[P, PartResult],
    name: str,
    folder: Location,
    shards: Sequence[Sequence[P]],
) -> Wave:
    """Run a task for each payload, as far as no earlier run did; tasks of some columns say so in their name."""
    tasks = [_part_task(name, folder, payload) for payloads in shards for payload in payloads]
    records = iter(run_missing(runner, function, tasks))
    return [list(islice(records, len(payloads))) for payloads in shards]


def _part_task(name: str, folder: Location, payload: P) -> Task[P]:
    settings = payload.settings
    columns = f"-columns-{settings.first_column:05d}" if settings.is_shard else ""
    return Task(f"{name}-{payload.block.part_id:05d}{columns}", folder, payload)


def partials_for(part: int, records: Sequence[TaskRecord[PartResult]], position: int = 0) -> tuple[RowSlice, ...]:
    """Return the partial rows for a home, in the order of the records: they are added in part order.

    ``position`` counts the rounds of tasks that do several.
    """
    roles = ("partials", "home_partials")
    return tuple(
        row_slice
        for record in records
        for role in roles
        for row_slice in slices_for(part, [record], role, position=position)
    )


def slices_for(
    part: int, records: Sequence[TaskRecord[PartResult]], role: str, position: int = 0
) -> tuple[RowSlice, ...]:
    """Return the slices of files with a role that are addressed to a part."""
    return tuple(
        RowSlice(record.paths(role)[position], *files[position][part])
        for record in records
        if (files := record.result.slices.get(role)) and part in files[position]
    )
