"""Thin a weighted graph: keep the edges that are among the strongest of one of their ends."""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from pipeline.kernels.array_types import reads, writes

_INT32, _INT64 = reads(types.int32), reads(types.int64)
_TO_INT32, _TO_INT64 = writes(types.int32), writes(types.int64)


def strongest_edges(
    indptr: NDArray[np.int64], neighbor: NDArray[np.int32], weight: NDArray[np.int32], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Keep an edge if it is among the ``most`` of largest weight of either end, ties by the lower neighbour.

    Parameters
    ----------
    indptr, neighbor, weight : (n + 1,) int64, (entries,) int32 each: adjacency, each edge in both rows with one
        weight above 0, neighbours ascending.

    Returns
    -------
    indptr, neighbor, weight of what is left, in the same form.

    Cost
    ----
    Three reads of all entries, a partial sort of each row, 8 B a node.
    """
    lightest = np.zeros(indptr.size - 1, np.int32)
    farthest = np.empty(indptr.size - 1, np.int32)
    _last_kept(indptr, neighbor, weight, most, lightest, farthest)
    kept_indptr = np.zeros_like(indptr)
    none = np.empty(0, np.int32)
    _keep(indptr, neighbor, weight, lightest, farthest, kept_indptr, none, none)
    kept_neighbor, kept_weight = (np.empty(kept_indptr[-1], np.int32) for _ in range(2))
    _keep(indptr, neighbor, weight, lightest, farthest, kept_indptr, kept_neighbor, kept_weight)
    return kept_indptr, kept_neighbor, kept_weight


@njit(types.void(_INT64, _INT32, _INT32, types.int64, _TO_INT32, _TO_INT32), nogil=True, cache=True)
def _last_kept(indptr, neighbor, weight, most, lightest, farthest):  # type: ignore
    """Weight and neighbour of the weakest edge that each row keeps; weight 0 where it keeps all."""
    for row in range(indptr.size - 1):
        first, stop = indptr[row], indptr[row + 1]
        if stop - first <= most:
            continue
        bound = -np.partition(-weight[first:stop], most - 1)[most - 1]
        room = most - np.count_nonzero(weight[first:stop] > bound)
        lightest[row] = bound
        for e in range(first, stop):
            if weight[e] == bound:
                farthest[row] = neighbor[e]
                room -= 1
                if room == 0:
                    break


@njit(types.boolean(types.int32, types.int32, types.int32, types.int32), nogil=True, cache=True)
def _is_kept(weight, neighbor, lightest, farthest):  # type: ignore
    return weight > lightest or (weight == lightest and neighbor <= farthest)


@njit(
    types.void(_INT64, _INT32, _INT32, _INT32, _INT32, _TO_INT64, _TO_INT32, _TO_INT32),
    nogil=True,
    cache=True,
)
def _keep(indptr, neighbor, weight, lightest, farthest, out_indptr, out_neighbor, out_weight):  # type: ignore
    """Fill ``out_indptr``, and the other two unless they are empty."""
    put = 0
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            other = neighbor[e]
            if _is_kept(weight[e], other, lightest[row], farthest[row]) or _is_kept(
                weight[e], row, lightest[other], farthest[other]
            ):
                if out_neighbor.size:
                    out_neighbor[put] = other
                    out_weight[put] = weight[e]
                put += 1
        out_indptr[row + 1] = put
