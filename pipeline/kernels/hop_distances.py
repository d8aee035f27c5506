"""How many hops nodes are from one node."""

import numpy as np

from pipeline.kernels.array_types import In, Out, kernel

FAR = 127  # a distance beyond the last hop asked for


@kernel
def hop_distances(
    indptr: In[np.int64], neighbor: In[np.int64], source: int, hops: int, distance: Out[np.int8], queue: Out[np.int64]
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
