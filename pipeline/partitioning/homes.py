"""Which nodes may be split, and where they are at home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeParts
from pipeline.kernels.edge_cut import (
    even_out_ties,
    homes_by_most_edges,
    mark_neighbors_of_others,
    sum_over_neighbors,
)
from pipeline.partitioning.pieces import GraphPiece, Role

#: Rows that ghosts are counted in, as integers so that the order of edges doesn't matter.
_ROW = 2**20


def hubs_by_cost(
    left: NDArray[np.int32], right: NDArray[np.int32], degree: NDArray[np.int64], parts: int
) -> NDArray[np.bool_]:
    """Return which nodes of a plain graph cost fewer rows split than whole, as far as degrees tell.

    With neighbours spread evenly over k parts, a node of degree d touches ``c = k (1 - (1 - 1/k)^d)`` of them.
    Split, it takes ``2 (c - 1)`` rows: partial sums in, the sum out. Whole, it takes ``c - 1`` rows as a ghost, and
    at its home each neighbour that is a ghost there for its sake alone: ``(1 - 1/k)^d_j`` of a row for one of
    degree d_j. So the node is split if the sum of these over its neighbours is above ``c - 1``, and if it has more
    neighbours than an even share of all nodes: those of a smaller one fit its part, and a good cut keeps them.
    """
    largest = int(degree.max(initial=0))
    rows = np.zeros(degree.size, np.int64)
    sum_over_neighbors(left, right, ghost_rows(largest, parts)[degree], rows)
    return costs_less_split(rows, degree, largest, parts, int(np.count_nonzero(degree)))


def ghost_rows(largest: int, parts: int) -> NDArray[np.int64]:
    """Return what a neighbour costs a whole node as a ghost, in 2**-20 rows, by its degree up to ``largest``."""
    return np.round(_ROW * _powers(largest, parts)).astype(np.int64)


def costs_less_split(
    rows: NDArray[np.int64], degree: NDArray[np.int64], largest: int, parts: int, nodes: int
) -> NDArray[np.bool_]:
    """Return which nodes cost less split: ``rows`` sums :func:`ghost_rows` over neighbours, ``nodes`` have edges."""
    whole_cost = np.round(_ROW * (parts * (1 - _powers(largest, parts)) - 1)).astype(np.int64)[degree]
    return (rows > whole_cost) & (degree * parts > nodes)


def _powers(largest: int, parts: int) -> NDArray[np.float64]:
    powers = np.full(largest + 1, 1 - 1 / parts)
    powers[0] = 1.0
    return np.cumprod(powers, out=powers)  # products, not **: the same on every CPU


def splittable_hubs(left: NDArray[np.int32], right: NDArray[np.int32], is_hub: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which hubs of a plain graph are split where parts cut through their edges.

    They have a neighbour that is no hub: this one is whole, so its home stores their edge, and the hub has a part
    to be at home in. A hub with no other than hubs for neighbours stays whole.
    """
    has_other = np.zeros(is_hub.size, np.bool_)
    mark_neighbors_of_others(left, right, is_hub, has_other)
    return is_hub & has_other


@dataclass(frozen=True)
class StoredEdges:
    """How many edges of shared nodes each leaf stores: a row for each node and leaf, ascending by both."""

    node_ix: NDArray[np.int64]
    part_id: NDArray[np.int32]
    edges: NDArray[np.int64]

    @classmethod
    def of(cls, leaves: Sequence[tuple[int, GraphPiece]]) -> StoredEdges:
        """Count over leaves in ascending part_id; edges between two shared nodes are not theirs yet."""
        node_ix, part_id, edges = [], [], []
        for part, piece in leaves:
            ends = np.bincount(piece.left, minlength=piece.role.size)
            ends += np.bincount(piece.right, minlength=piece.role.size)
            split_rows = np.flatnonzero(piece.role == Role.SHARED)
            node_ix.append(piece.node_ix[split_rows])
            part_id.append(np.full(split_rows.size, part, np.int32))
            edges.append(ends[split_rows])
        nodes = np.concatenate(node_ix)
        order = np.argsort(nodes, kind="stable")
        return cls(nodes[order], np.concatenate(part_id)[order], np.concatenate(edges)[order])


def find_homes(nodes: int, leaves: Sequence[tuple[int, GraphPiece]]) -> NodeParts:
    """Give every node with edges a home.

    A whole node is at home in its leaf. A shared node is at home in the part that stores most of its edges
    with whole nodes, ties by the lowest part_id; ties then move to where fewer rows come in. It counts as
    split if several parts store its edges, else as whole. So each home stores an edge of its node, which the
    layout of blocks relies on.

    Parameters
    ----------
    nodes : number of nodes of the whole graph.
    leaves : part_id and piece of every leaf, ascending.
    """
    part_id = np.full(nodes, -1, np.int32)
    is_split = np.zeros(nodes, np.bool_)
    for part, piece in leaves:
        part_id[piece.node_ix[piece.role == Role.WHOLE]] = part
    counts = StoredEdges.of(leaves)
    incoming = np.zeros(1 + max(part for part, _ in leaves), np.int64)
    homes_by_most_edges(counts.node_ix, counts.part_id, counts.edges, part_id, is_split, incoming)
    even_out_ties(counts.node_ix, counts.part_id, counts.edges, part_id, incoming)
    return NodeParts(part_id, is_split)
