"""How many hops nodes are from one node."""

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from pipeline.kernels.array_types import reads, writes

FAR = 127  # a distance beyond the last hop asked for


@njit(
    types.void(
        reads(types.int64), reads(types.int64), types.int64, types.int64, writes(types.int8), writes(types.int64)
    ),
    nogil=True,
    cache=True,
)
def hop_distances(
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int64],
    source: int,
    hops: int,
    distance: NDArray[np.int8],
    queue: NDArray[np.int64],
) -> None:
    """Breadth first, up to ``hops`` hops.

    Parameters
    ----------
    indptr, neighbor : (n + 1,) and (nnz,) int64: neighbours of each node.
    source : where to start. hops : at least 0, below ``FAR``.
    distance : (n,) int8, written: 0 for the source, ``FAR`` for what is farther than ``hops`` or not connected.
    queue : (n,) int64, scratch.
    """
    distance[:] = FAR
    distance[source] = 0
    queue[0] = source
    head, tail = 0, 1
    while head < tail:
        node = queue[head]
        head += 1
        if distance[node] == hops:
            break  # all that follow are as far
        for at in range(indptr[node], indptr[node + 1]):
            other = neighbor[at]
            if distance[other] == FAR:
                distance[other] = distance[node] + 1
                queue[tail] = other
                tail += 1
