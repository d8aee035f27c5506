"""The whole graph in the files of one block, as walks see it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.kernels.transition import Transition, degree_weights, transition
from pipeline.locations import Location

NO_EDGES = -1
"""Row of a node that has no edges: walks from it never leave it."""


@dataclass(frozen=True)
class GraphFiles:
    """The block of the whole graph, and where the second type of nodes begins; None on graphs of one type.

    nodes, edges : files of ``block_nodes`` and ``block_edges``. border : node number.
    """

    nodes: Location
    edges: Location
    border: int | None


@dataclass(frozen=True)
class WalkGraph:
    """All nodes with edges, row r being node ``node_ix[r]``, and the walk over them.

    node_ix (rows,) int64 ascending, node_key (rows,) uint64, degree (rows,) int64: neighbours.
    """

    graph: Transition
    node_ix: NDArray[np.int64]
    node_key: NDArray[np.uint64]
    degree: NDArray[np.int64]

    @classmethod
    def read(cls, files: GraphFiles, edge_degree_power: float = 0.0) -> WalkGraph:
        """Map a graph: entries are read from disk as they are touched, by all tasks of a machine the same pages.

        Cost
        ----
        One pass over the entries to check them. Memory beside the map: 40 bytes a node, and 4 an entry where edges are
        weighed anew.
        """
        return cls.of(Block.read(0, files.nodes, files.edges, None), files.border, edge_degree_power)

    @classmethod
    def of(cls, block: Block, border: int | None = None, edge_degree_power: float = 0.0) -> WalkGraph:
        """Return the graph of a block that holds all edges; ``border`` as in `GraphFiles`."""
        left = None if border is None else int(np.searchsorted(block.node_ix, border))
        block = reweigh_edges(block, edge_degree_power)
        graph = transition(block.indptr, block.neighbor, block.edge_weight, left)
        return cls(graph, block.node_ix, block.node_key, block.degree)

    def rows_of(self, node_ix: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of nodes, `NO_EDGES` where there is none; (n,) int64 -> (n,)."""
        rows = np.searchsorted(self.node_ix, node_ix)
        has_row: NDArray[np.bool_] = self.node_ix[np.minimum(rows, self.node_ix.size - 1)] == node_ix
        return np.where(has_row, rows, NO_EDGES)

    def rows_between(self, first_ix: int, stop_ix: int) -> tuple[int, int]:
        """Return the range of rows of a range of node numbers, such as all nodes of a type."""
        first, stop = np.searchsorted(self.node_ix, [first_ix, stop_ix])
        return int(first), int(stop)


def reweigh_edges(block: Block, edge_degree_power: float) -> Block:
    """Return a block, whole graph or part, whose edges weigh as `degree_weights` says; 0 changes nothing."""
    if edge_degree_power == 0:
        return block
    weights = degree_weights(block.indptr, block.neighbor, block.edge_weight, block.degree, edge_degree_power)
    return replace(block, edge_weight=weights)
