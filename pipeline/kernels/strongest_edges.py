"""Thin a weighted graph: keep the edges that are among the strongest of one of their ends."""

from typing import NamedTuple

import numpy as np

from pipeline.kernels.array_types import In, Out, kernel, read_only
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
    Two reads of all entries; in the first, a list of ``most`` words takes in what is stronger. 24 B a node.
    """
    rows = graph.volume.size
    weakest = _Weakest(np.zeros(rows, np.int32), np.empty(rows, np.int32))
    graph = read_only(graph)
    _find_weakest(graph, most, weakest)
    indptr = np.zeros(rows + 1, np.int64)
    # The system gives no memory for what is not written.
    entries = graph.neighbor.size + 1
    edge_columns = _keep(graph, weakest, indptr, np.empty(entries, np.int32), np.empty(entries, np.int32))
    neighbor, weight = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int32)
    _transpose(indptr, *edge_columns, indptr[:-1].copy(), neighbor, weight)
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
    graph: WeightedGraph, weakest: _Weakest, ends: Out[np.int64], out_neighbor: Out[np.int32], out_weight: Out[np.int32]
) -> tuple[Out[np.int32], Out[np.int32]]:
    """Fill in what each row keeps, in the order of its list, and where it ends; the outputs have an entry to spare."""
    indptr, neighbor, weight, _ = graph
    lightest, farthest = weakest
    put = 0
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            other, strength = neighbor[e], weight[e]
            is_strong_here = (strength > lightest[row]) | ((strength == lightest[row]) & (other <= farthest[row]))
            is_strong_there = (strength > lightest[other]) | ((strength == lightest[other]) & (row <= farthest[other]))
            # No branches: the processor would mispredict one for each entry.
            out_neighbor[put] = other
            out_weight[put] = strength
            put += is_strong_here | is_strong_there
        ends[row + 1] = put
    return out_neighbor[:put], out_weight[:put]


@kernel
def _transpose(
    indptr: In[np.int64],
    neighbor: In[np.int32],
    weight: In[np.int32],
    put: Out[np.int64],
    out_neighbor: Out[np.int32],
    out_weight: Out[np.int32],
) -> None:
    """Put entries into the rows of their neighbours: the same graph, since an edge stays at both ends; lists ascend."""
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            at = put[neighbor[e]]
            out_neighbor[at] = row
            out_weight[at] = weight[e]
            put[neighbor[e]] = at + 1
