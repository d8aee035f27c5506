"""Thin a weighted graph: keep the edges that are among the strongest of one of their ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel

#: Rows are at most this.
_LAST_ROW = np.int64(2**31 - 1)


def strongest_edges(
    indptr: NDArray[np.int64], neighbor: NDArray[np.int32], weight: NDArray[np.int32], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Keep an edge if it is among the ``most`` of largest weight of either end, ties by the lower neighbour.

    Parameters
    ----------
    indptr, neighbor, weight : (n + 1,) int64, (entries,) int32 each: adjacency, each edge in both rows with one
        weight above 0, no neighbour twice.

    Returns
    -------
    indptr, neighbor, weight of what is left, in the same form, and neighbours ascend.

    Cost
    ----
    Three reads of all entries; in the first, a list of ``most`` words takes in what is stronger. 24 B a node.
    """
    lightest = np.zeros(indptr.size - 1, np.int32)
    farthest = np.empty(indptr.size - 1, np.int32)
    _last_kept(indptr, neighbor, weight, most, lightest, farthest)
    kept_indptr = np.zeros_like(indptr)
    _count_kept(indptr, neighbor, weight, lightest, farthest, kept_indptr)
    np.cumsum(kept_indptr, out=kept_indptr)
    kept_neighbor, kept_weight = (np.empty(kept_indptr[-1], np.int32) for _ in range(2))
    _keep(indptr, neighbor, weight, lightest, farthest, kept_indptr[:-1].copy(), kept_neighbor, kept_weight)
    return kept_indptr, kept_neighbor, kept_weight


@kernel
def _last_kept(
    indptr: In[np.int64],
    neighbor: In[np.int32],
    weight: In[np.int32],
    most: int,
    lightest: Out[np.int32],
    farthest: Out[np.int32],
) -> None:
    """Weight and neighbour of the weakest edge that each row keeps; weight 0 where it keeps all."""
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
        lightest[row] = keys[0] >> 32
        farthest[row] = _LAST_ROW - (keys[0] & _LAST_ROW)


@kernel
def _is_kept(weight: np.int32, neighbor: int, lightest: np.int32, farthest: np.int32) -> bool:
    return bool(weight > lightest or (weight == lightest and neighbor <= farthest))


@kernel
def _count_kept(
    indptr: In[np.int64],
    neighbor: In[np.int32],
    weight: In[np.int32],
    lightest: In[np.int32],
    farthest: In[np.int32],
    kept: Out[np.int64],
) -> None:
    """Fill ``kept[row + 1]`` with the number of entries that the row keeps."""
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            other = neighbor[e]
            if _is_kept(weight[e], other, lightest[row], farthest[row]) or _is_kept(
                weight[e], row, lightest[other], farthest[other]
            ):
                kept[row + 1] += 1


@kernel
def _keep(
    indptr: In[np.int64],
    neighbor: In[np.int32],
    weight: In[np.int32],
    lightest: In[np.int32],
    farthest: In[np.int32],
    put: Out[np.int64],
    out_neighbor: Out[np.int32],
    out_weight: Out[np.int32],
) -> None:
    """Put what a row keeps into the rows of its neighbours: the same graph, and their lists ascend."""
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            other = neighbor[e]
            if _is_kept(weight[e], other, lightest[row], farthest[row]) or _is_kept(
                weight[e], row, lightest[other], farthest[other]
            ):
                out_neighbor[put[other]] = row
                out_weight[put[other]] = weight[e]
                put[other] += 1
