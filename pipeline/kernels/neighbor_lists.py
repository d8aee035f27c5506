"""Neighbour lists for cutting: both directions of every edge, loops left out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel


class WeightedGraph(NamedTuple):
    """An undirected graph to cut, as adjacency lists: each edge stands in both rows.

    indptr (n + 1,) int64, neighbor (entries,) int32. edge_weight (entries,) int32 above 0, below 2**31 in sum, or empty
    where every weight is 1. volume (n,) int64, what a node brings to its part: 0 or more.
    """

    indptr: In[np.int64]
    neighbor: In[np.int32]
    edge_weight: In[np.int32]
    volume: In[np.int64]


#: Edge weights of a graph in which every one is 1.
NO_WEIGHTS = np.empty(0, np.int32)


def neighbor_lists(
    left: NDArray[np.int32], right: NDArray[np.int32], rows: int, *, ascending: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the neighbours of each row, ascending or in the order of the edges.

    Parameters
    ----------
    left, right : (edges,) int32 rows, each edge once. An edge of a row with itself is left out.
    rows : number of rows.
    ascending : lists do not depend on the order of the edges. Without it, they take half the time and space.

    Returns
    -------
    indptr (rows + 1,) int64, neighbor (2 x edges without loops,) int32.

    Cost
    ----
    Lists are filled as the edges come: a pass of scattered writes, 4 B an entry. To ascend, they are then
    transposed, since the graph is its own transpose, and a transposed list is ascending: the same again. A sort
    of words took four times as long.
    """
    indptr = np.zeros(rows + 1, np.int64)
    _count(left, right, indptr)
    np.cumsum(indptr, out=indptr)
    neighbor_by_edge = np.empty(indptr[-1], np.int32)
    _fill(left, right, indptr[:-1].copy(), neighbor_by_edge)
    if not ascending:
        return indptr, neighbor_by_edge
    neighbor = np.empty_like(neighbor_by_edge)
    _transpose(indptr, neighbor_by_edge, indptr[:-1].copy(), neighbor)
    return indptr, neighbor


@kernel
def mark_ends(left: In[np.int32], right: In[np.int32], is_end: Out[np.bool_]) -> None:
    """Mark the rows that have an edge."""
    for e in range(left.size):
        is_end[left[e]] = True
        is_end[right[e]] = True


@kernel
def _count(left: In[np.int32], right: In[np.int32], indptr: Out[np.int64]) -> None:
    for e in range(left.size):
        if left[e] != right[e]:
            indptr[left[e] + 1] += 1
            indptr[right[e] + 1] += 1


@kernel
def _fill(left: In[np.int32], right: In[np.int32], put: Out[np.int64], neighbor: Out[np.int32]) -> None:
    for e in range(left.size):
        a, b = left[e], right[e]
        if a != b:
            neighbor[put[a]] = b
            put[a] += 1
            neighbor[put[b]] = a
            put[b] += 1


@kernel
def _transpose(indptr: In[np.int64], neighbor: In[np.int32], put: Out[np.int64], neighbor_out: Out[np.int32]) -> None:
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            other = neighbor[e]
            neighbor_out[put[other]] = row
            put[other] += 1
