"""Mode ``drop``: every part keeps the edges between its own nodes, and no row is exchanged.

Also the ground that ``border`` and ``quotient`` stand on: they differ in what becomes of the cut edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import NodeParts, RowKind
from pipeline.blocks.edge_files import EdgeFiles, Edges
from pipeline.blocks.local_block import make_block
from pipeline.blocks.sent_rows import SentRows, batches_for
from pipeline.partitioning.figures import ModeFigures
from pipeline.partitioning.layouts.block_sets import (
    BlockLayout,
    BlockResult,
    BlockSet,
    BuildPayload,
    NodeTables,
    PartTables,
    ScatterPayload,
    write_independent_block,
)
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder, TaskFunction, TaskRecord
from schemas.tables import KEPT_WEIGHTS

CUT = -1  #: stands for a part where cut edges are addressed


@dataclass(frozen=True)
class ScatterResult(SentRows):
    """Edges that a task has read, those of them that are cut, and the nodes that are at home anywhere."""

    edges: int
    cut_edges: int
    nodes: int


@dataclass(frozen=True)
class InducedParts:
    """The blocks of induced parts, and the records of the tasks that read the edges: they tell what was cut."""

    blocks: BlockSet
    records: Sequence[TaskRecord[ScatterResult]]

    @property
    def edges(self) -> int:
        """Edges that were read."""
        return sum(record.result.edges for record in self.records)

    @property
    def cut_edges(self) -> int:
        """Edges between nodes of different homes."""
        return sum(record.result.cut_edges for record in self.records)

    @property
    def figures(self) -> ModeFigures:
        """What is left out of the whole graph, if these are its parts."""
        return ModeFigures(
            edges_left_out=self.cut_edges,
            edges_left_out_percent=percent(self.cut_edges, self.edges),
            nodes_without_edges_left=self.records[0].result.nodes - self.blocks.nodes if self.records else 0,
        )


def percent(part: int, whole: int) -> float:
    """Return a share of edges as it is reported."""
    return round(100 * part / max(whole, 1), 3)


def lay_out(tasks: TaskFolder, tables: PartTables) -> BlockLayout:
    """Lay out the induced parts alone."""
    parts = induce(tasks, tables.nodes, "parts", ScatterPayload.of_tables(tables), scatter_inner)
    return BlockLayout([parts.blocks], parts.figures)


def induce(
    tasks: TaskFolder,
    nodes: NodeTables,
    name: str,
    payloads: Sequence[ScatterPayload],
    scatter: TaskFunction[ScatterPayload, ScatterResult],
) -> InducedParts:
    """Build the blocks of the parts that ``nodes`` name; ``scatter`` sorts the edges by part."""
    edge_records = tasks.run_each(scatter, f"{name}-scatter", payloads)
    parts = sorted({int(part) for record in edge_records for part in record.result.slices["edges"]} - {CUT})
    edges = [EdgeFiles(batches=batches_for(part, edge_records, "edges")) for part in parts]
    builds = [BuildPayload(part, inner, nodes) for part, inner in zip(parts, edges, strict=True)]
    blocks = tasks.run_each(build_induced, f"{name}-build", builds, parts)
    return InducedParts(BlockSet(name, parts, blocks, blocks), edge_records)


@dataclass(frozen=True)
class EdgesByPart:
    """Edges, and the part that both ends of each are at home in, or CUT."""

    edges: Edges
    part: NDArray[np.int32]
    parts: NodeParts

    @classmethod
    def read(cls, payload: ScatterPayload) -> EdgesByPart:
        """Read the edges of a task."""
        edges, parts = payload.edges.read(), payload.nodes.map_parts()
        home = parts.part_id[edges.src]
        return cls(edges, np.where(home == parts.part_id[edges.dst], home, np.int32(CUT)), parts)

    @property
    def is_cut(self) -> NDArray[np.bool_]:
        """(edges,) which are cut."""
        return self.part == CUT

    def send(self, attempt: Attempt, *, with_cut: bool) -> ScatterResult:
        """Write the edges by part, the cut ones in a slice of their own or not at all."""
        rows = np.flatnonzero(~self.is_cut | with_cut)
        slices = self.edges.send(attempt.path("edges", BATCHES), self.part[rows], rows)
        node_count = int((self.parts.part_id >= 0).sum())
        return ScatterResult({"edges": slices}, self.part.size, int(self.is_cut.sum()), node_count)


def scatter_inner(payload: ScatterPayload, attempt: Attempt) -> ScatterResult:
    """Task: sort edges by the part that both ends are at home in; cut edges are counted."""
    return EdgesByPart.read(payload).send(attempt, with_cut=False)


def scatter_all(payload: ScatterPayload, attempt: Attempt) -> ScatterResult:
    """Task: the same, with the cut edges in a slice of their own."""
    return EdgesByPart.read(payload).send(attempt, with_cut=True)


def build_induced(payload: BuildPayload, attempt: Attempt) -> BlockResult:
    """Task: turn the edges inside a part into its block, and write how much weight every node keeps.

    Degrees and weights of the block are those over the whole graph, as in every mode.
    """
    edges, home = payload.edges.read(), payload.nodes.map_parts().part_id
    block = make_block(payload.part, edges.for_block(), payload.nodes.map_arrays(), home, all_whole)
    left, right = (np.searchsorted(block.node_ix, ends) for ends in (edges.src, edges.dst))
    weight = np.zeros(block.node_ix.size, np.int64)
    np.add.at(weight, left, edges.weight)
    is_loop = left == right
    np.add.at(weight, right[~is_loop], edges.weight[~is_loop])
    table = pa.Table.from_arrays([pa.array(block.node_ix), pa.array(weight)], schema=KEPT_WEIGHTS.schema)
    storage.write_arrow(attempt.path("kept", "arrow"), table)
    return write_independent_block(attempt, block)


def all_whole(node_ix: NDArray[np.int64], home: NDArray[np.int32]) -> NDArray[np.int8]:  # noqa: ARG001
    """Return the kinds of a block that stores all edges that anyone knows of its nodes."""
    return np.full(node_ix.size, RowKind.WHOLE, np.int8)
