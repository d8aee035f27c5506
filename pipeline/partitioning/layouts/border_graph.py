"""Mode ``border``: induced parts, and beside them the border graph, cut again where it is too large for one block.

The border graph holds the cut edges and their ends. Lin, "Large-scale network embedding in Apache Spark" (DistNE),
KDD 2021, arXiv 2106.10620, takes the subgraph induced on these ends instead, which on graphs with hubs is nearly
the whole graph again [Gowalla, 16 parts: 81 % of the nodes are ends of cut edges, which are 32 % of the edges]:
it would not get smaller from level to level, and edges inside parts would count twice.
"""

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeArrays, NodeParts
from pipeline.blocks.edge_files import EdgeFiles
from pipeline.blocks.sent_rows import batches_for
from pipeline.locations import Location
from pipeline.partitioning.cutting import Bounds
from pipeline.partitioning.figures import BorderLevel
from pipeline.partitioning.layouts.block_sets import BlockLayout, NodeTables, PartTables, ScatterPayload
from pipeline.partitioning.layouts.induced import CUT, InducedParts, induce, percent, scatter_all
from pipeline.partitioning.partitioners import PARTITIONERS
from pipeline.partitioning.pieces import CutGraph
from pipeline.tasks import Attempt, TaskFolder

#: Border graphs of border graphs, after which what is still cut is left out: each takes columns from the others.
MOST_LEVELS = 4


@dataclass(frozen=True)
class BorderCut:
    """How a border graph is cut: by a partitioner, into blocks under bounds."""

    method: str
    seed: int
    bounds: Bounds


def lay_out(tasks: TaskFolder, tables: PartTables, cut: BorderCut) -> BlockLayout:
    """Lay out the induced parts, then their border graph, then that one's, until one fits a block."""
    first = level = induce(tasks, tables.nodes, "parts", ScatterPayload.of_tables(tables), scatter_all)
    sets, border_levels = [first.blocks], []
    for number in range(1, MOST_LEVELS + 1):
        if not level.cut_edges:
            break
        cut_edges = [batches_for(CUT, [record], "edges") for record in level.records]
        all_cut = EdgeFiles(batches=tuple(chain.from_iterable(cut_edges)))
        border_cut = replace(cut, seed=(cut.seed + number) % 2**31)
        border = tasks.run(cut_border, f"border-{number}-cut", BorderPayload(all_cut, tables.nodes.arrays, border_cut))
        nodes = NodeTables(tables.nodes.arrays, border.file("parts"))
        payloads = [ScatterPayload(EdgeFiles(batches=batches), nodes) for batches in cut_edges if batches]
        level = induce(tasks, nodes, f"border-{number}", payloads, scatter_all)
        sets.append(level.blocks)
        border_levels.append(BorderLevel(border.result.nodes, level.edges, border.result.parts))
    figures = replace(
        first.figures,
        edges_left_out=level.cut_edges,
        edges_left_out_percent=percent(level.cut_edges, first.edges),
        border_levels=tuple(border_levels),
    )
    return BlockLayout(sets, figures, _warnings(level))


def _warnings(last: InducedParts) -> list[str]:
    if not last.cut_edges:
        return []
    return [
        f"after {MOST_LEVELS} border graphs {last.cut_edges:,} edges are still cut, and left out: raise "
        "partition.max_edges or max_bytes, or use a partition.method that cuts fewer edges"
    ]


@dataclass(frozen=True)
class BorderPayload:
    edges: EdgeFiles
    arrays: tuple[Location, ...]  # files of node_arrays
    cut: BorderCut


@dataclass(frozen=True)
class BorderResult:
    """Size of a border graph, and its parts."""

    nodes: int
    parts: int


def cut_border(payload: BorderPayload, attempt: Attempt) -> BorderResult:
    """Task: place the nodes of a border graph: all in part 0 if they fit a block, else as a partitioner says.

    Cost
    ----
    One task holds the border graph's edges, 24 B each, and room to sort them.
    """
    edges, arrays, cut = payload.edges.read().sorted_once(), NodeArrays(payload.arrays), payload.cut
    is_here = np.zeros(arrays.nodes, np.bool_)
    is_here[edges.src] = True
    is_here[edges.dst] = True
    node_ix = np.flatnonzero(is_here)
    label = np.zeros(node_ix.size, np.int32)
    if cut.bounds.excess(node_ix.size, edges.src.size) > 1:
        left, right = (np.searchsorted(node_ix, ends).astype(np.int32) for ends in (edges.src, edges.dst))
        graph = CutGraph(left, right, _degrees(left, right), arrays.take("node_key", node_ix).view(np.uint64))
        parts = cut.bounds.children(node_ix.size, edges.src.size)
        label = PARTITIONERS[cut.method](graph, parts, cut.seed)
    part_id = np.full(arrays.nodes, -1, np.int32)
    part_id[node_ix] = label
    NodeParts(part_id, np.zeros(arrays.nodes, np.bool_)).write(attempt.path("parts", "arrow"))
    return BorderResult(node_ix.size, np.unique(label).size)


def _degrees(left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int64]:
    nodes = int(max(left.max(), right.max())) + 1
    return np.bincount(left, minlength=nodes) + np.bincount(right, minlength=nodes)
