"""Neighbour lists for cutting: both directions of every edge, loops left out."""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from pipeline.kernels.array_types import reads, writes

_INT32, _INT64 = reads(types.int32), reads(types.int64)
_TO_INT32, _TO_INT64 = writes(types.int32), writes(types.int64)


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
    unordered = np.empty(indptr[-1], np.int32)
    _fill(left, right, indptr[:-1].copy(), unordered)
    if not ascending:
        return indptr, unordered
    neighbor = np.empty_like(unordered)
    _transpose(indptr, unordered, indptr[:-1].copy(), neighbor)
    return indptr, neighbor


@njit(types.void(_INT32, _INT32, _TO_INT64), nogil=True, cache=True)
def _count(left, right, indptr):  # type: ignore
    for e in range(left.size):
        if left[e] != right[e]:
            indptr[left[e] + 1] += 1
            indptr[right[e] + 1] += 1


@njit(types.void(_INT32, _INT32, _TO_INT64, _TO_INT32), nogil=True, cache=True)
def _fill(left, right, put, neighbor):  # type: ignore
    for e in range(left.size):
        a, b = left[e], right[e]
        if a != b:
            neighbor[put[a]] = b
            put[a] += 1
            neighbor[put[b]] = a
            put[b] += 1


@njit(types.void(_INT64, _INT32, _TO_INT64, _TO_INT32), nogil=True, cache=True)
def _transpose(indptr, neighbor, put, transposed):  # type: ignore
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            other = neighbor[e]
            transposed[put[other]] = row
            put[other] += 1
