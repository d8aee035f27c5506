"""Thin a weighted graph: keep the edges that are among the strongest of one of their ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.array_types import Out, kernel, read_only
from pipeline.kernels.neighbor_lists import WeightedGraph

_LAST_ROW = np.int64(2**31 - 1)  # no row is above


def keep_strongest_edges(graph: WeightedGraph, most: int) -> WeightedGraph:
    """Keep an edge if it is among the ``most`` of largest weight of either end, ties by the lower neighbour.

    Parameters
    ----------
    graph : both entries of an edge have one weight, and no neighbour stands twice in a row.

    Returns
    -------
    What is left, in the same form; neighbours ascend.

    Cost
    ----
    Three reads of all entries; in the first, a list of ``most`` words takes in what is stronger. 24 B a node.
    """
    rows = graph.volume.size
    weakest = _Weakest(np.zeros(rows, np.int32), np.empty(rows, np.int32))
    graph = read_only(graph)
    _find_weakest(graph, most, weakest)
    indptr = np.zeros(rows + 1, np.int64)
    nothing = np.empty(0, np.int32)
    _keep(graph, weakest, indptr[1:], nothing, nothing)
    np.cumsum(indptr, out=indptr)
    neighbor, weight = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int32)
    _keep(graph, weakest, indptr[:-1].copy(), neighbor, weight)
    return WeightedGraph(indptr, neighbor, weight, graph.volume)


class _Weakest(NamedTuple):
    """The weakest edge that each row keeps; (rows,) each."""

    weight: Out[np.int32]  # 0 where the row keeps all
    neighbor: Out[np.int32]


@kernel
def _find_weakest(graph: WeightedGraph, most: int, weakest: _Weakest) -> None:
    indptr, neighbor, weight, _ = graph
    keys = np.empty(most, np.int64)  # of the strongest so far, ascending: weight, then the lower neighbour
    for row in range(indptr.size - 1):
        if indptr[row + 1] - indptr[row] <= most:
            continue
        keys[:] = 0
        for e in range(indptr[row], indptr[row + 1]):
            key = (np.int64(weight[e]) << 32) | (_LAST_ROW - neighbor[e])
            if key <= keys[0]:
                continue
            at = 0
            while at + 1 < most and keys[at + 1] < key:
                keys[at] = keys[at + 1]
                at += 1
            keys[at] = key
        weakest.weight[row] = keys[0] >> 32
        weakest.neighbor[row] = _LAST_ROW - (keys[0] & _LAST_ROW)


@kernel
def _keep(
    graph: WeightedGraph, weakest: _Weakest, put: Out[np.int64], out_neighbor: Out[np.int32], out_weight: Out[np.int32]
) -> None:
    """Put what a row keeps into the rows of its neighbours: the same graph, and their lists ascend.

    ``put`` (rows,) is where each row's list ends so far; without outputs, its lengths are counted alone.
    """
    indptr, neighbor, weight, _ = graph
    lightest, farthest = weakest
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            other = neighbor[e]
            is_strong_here = weight[e] > lightest[row] or (weight[e] == lightest[row] and other <= farthest[row])
            is_strong_there = weight[e] > lightest[other] or (weight[e] == lightest[other] and row <= farthest[other])
            if is_strong_here or is_strong_there:
                if out_neighbor.size:
                    out_neighbor[put[other]] = row
                    out_weight[put[other]] = weight[e]
                put[other] += 1
