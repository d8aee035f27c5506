"""What the layout of a mode starts from, and its result: one or several sets of blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.blocks.arrays import Block, NodeArrays, NodeParts, write_routes
from pipeline.blocks.edge_files import EdgeFiles
from pipeline.blocks.sent_rows import SentRows
from pipeline.locations import Location
from pipeline.partitioning.figures import BlockSetFigures, ModeFigures
from pipeline.tasks import Attempt, TaskRecord

#: What is lost of what one block gives, by mode, for plans and logs; ``exchange`` loses nothing.
_LOST = {
    "halo": "vectors are exact only if embedding.halo_hops is the number of products",
    "border": "what nodes in two parts know of each other comes from the border graph alone",
    "quotient": "of the edges between two parts only their weight is left",
    "drop": "edges between two parts are left out",
}


def loss_note(boundary: str) -> str | None:
    """Return what a mode loses and where that is measured, or None if it loses nothing."""
    if boundary not in _LOST:
        return None
    page = "docs/explanation/partitioning.md#what-a-mode-costs"
    return f"embedding.boundary is '{boundary}': {_LOST[boundary]}; {page} has it measured"


@dataclass(frozen=True)
class NodeTables:
    """What a task reads of the nodes: files of node_arrays, and the file of node_parts."""

    arrays: tuple[Location, ...]
    parts: Location

    def map_arrays(self) -> NodeArrays:
        """Map the arrays."""
        return NodeArrays(self.arrays)

    def map_parts(self) -> NodeParts:
        """Map the homes."""
        return NodeParts.map(self.parts)


@dataclass(frozen=True)
class PartTables:
    """The tables that blocks are made of."""

    nodes: NodeTables
    edges: tuple[Location, ...]  # files of indexed_edges
    paths: Mapping[int, str]  # part_path of every leaf by part_id, ascending

    @property
    def parts(self) -> list[int]:
        """part_id of every leaf, ascending."""
        return list(self.paths)


@dataclass(frozen=True)
class ScatterPayload:
    edges: EdgeFiles
    nodes: NodeTables

    @classmethod
    def of_tables(cls, tables: PartTables) -> list[ScatterPayload]:
        """Return one payload for each file of edges."""
        return [cls(EdgeFiles((file,)), tables.nodes) for file in tables.edges]


@dataclass(frozen=True)
class BuildPayload:
    part: int
    edges: EdgeFiles
    nodes: NodeTables


@dataclass(frozen=True)
class BlockResult(SentRows):
    """Nodes of a block that are at home in its part, and how many of them are split; it sent which rows it needs."""

    at_home: int
    splits: int


def write_independent_block(attempt: Attempt, block: Block) -> BlockResult:
    """Write a block that needs no row of another one."""
    block.write(attempt.path("nodes", "arrow"), attempt.path("edges", "arrow"))
    write_routes(attempt.path("routes", "arrow"), {})
    return BlockResult({}, int((block.home == block.part_id).sum()), 0)


@dataclass(frozen=True)
class BlockSet:
    """Blocks that are embedded together."""

    name: str
    parts: Sequence[int]  # of the blocks, ascending; parts without edges have none
    block_records: Sequence[TaskRecord[BlockResult]]  # with the files "nodes" and "edges", by part
    route_records: Sequence[TaskRecord[Any]]  # with the files "routes", by part

    @property
    def nodes(self) -> int:
        """Nodes at home in these blocks."""
        return sum(record.result.at_home for record in self.block_records)

    @property
    def figures(self) -> BlockSetFigures:
        """Counts by part."""
        records = dict(zip(self.parts, self.block_records, strict=True))
        return BlockSetFigures(
            name=self.name,
            parts=tuple(self.parts),
            nodes=self.nodes,
            rows={part: record.rows("nodes") for part, record in records.items()},
            entries={part: record.rows("edges") for part, record in records.items()},
            splits=tuple(part for part, record in records.items() if record.result.splits),
            kept_files=sum(len(record.paths("kept")) for record in self.block_records),
        )


@dataclass(frozen=True)
class BlockLayout:
    """All sets of blocks of a mode: those of the graph's parts first, then those that the mode adds."""

    sets: Sequence[BlockSet]
    figures: ModeFigures = field(default_factory=ModeFigures)
    warnings: Sequence[str] = ()
