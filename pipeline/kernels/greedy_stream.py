"""One pass of linear deterministic greedy; see :mod:`pipeline.partitioning.ldg`."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel, read_only
from pipeline.kernels.neighbor_lists import WeightedGraph

#: What a neighbour counts, in the unit of scores. Times the largest degree and a capacity's share below 2**63.
ONE = 2**12
#: A share of a capacity, in the unit of scores.
ROOM = 2**20
#: A shared node remembers the labels of its last neighbours, at most this many.
REMEMBERED = 32


def stream_labels(graph: WeightedGraph, order: NDArray[np.int64], parts: int, capacity: int) -> NDArray[np.int32]:
    """Label nodes in one pass; each sees the labels of those before it.

    The score of a part is ``near * room``: ``near`` is the sum over the node's neighbours of ``ONE`` for a whole
    one in the part, and, for a shared one, of ``ONE`` times the share of the part in its last ``REMEMBERED``
    labels, rounded down; ``room`` is ``ROOM * (capacity - volume there) // capacity``. Ties go to the part with the
    least volume, then to the lowest number, as does a node without neighbours before it.

    Parameters
    ----------
    graph : without loops; volume 0 marks shared nodes. Weights of edges don't count.
    order : (n,) int64, a permutation.
    capacity : parts take a node only up to this volume; if none can, the one with the least takes it.

    Returns
    -------
    (n,) int32; 0 for shared nodes.

    Cost
    ----
    Entries of whole nodes x at most 32, parts a node; 4 B x 32 a shared node, whatever its degree.
    """
    labels = np.full(graph.volume.size, -1, np.int32)
    is_shared = graph.volume == 0
    shared_nodes = int(is_shared.sum())
    slot = np.cumsum(is_shared, dtype=np.int64) - 1
    memory = _Memory(slot, np.full(shared_nodes * REMEMBERED, -1, np.int32), np.zeros(shared_nodes, np.int32))
    _stream(read_only(graph), order, parts, capacity, memory, labels)
    return np.maximum(labels, 0)


class _Memory(NamedTuple):
    """Labels of the last neighbours of shared nodes: node i's are ``last[slot[i] * REMEMBERED:]``, a ring."""

    slot: Out[np.int64]  # (n,)
    last: Out[np.int32]  # (shared nodes * REMEMBERED,)
    visits: Out[np.int32]  # (shared nodes,) neighbours so far


@kernel
def _stream(
    graph: WeightedGraph, order: In[np.int64], parts: int, capacity: int, memory: _Memory, labels: Out[np.int32]
) -> None:
    indptr, neighbor, _, volume = graph
    slot, last, visits = memory
    load = np.zeros(parts, np.int64)
    near = np.zeros(parts, np.int64)
    for v in order:
        if volume[v] == 0:
            continue
        near[:] = 0
        for e in range(indptr[v], indptr[v + 1]):
            i = neighbor[e]
            if volume[i] > 0:
                if labels[i] >= 0:
                    near[labels[i]] += ONE
                continue
            size = min(visits[slot[i]], REMEMBERED)
            for s in range(slot[i] * REMEMBERED, slot[i] * REMEMBERED + size):
                near[last[s]] += ONE // size
        best, most = np.int64(-1), np.int64(-1)
        for part in range(parts):
            if load[part] + volume[v] > capacity:
                continue
            score = near[part] * (ROOM * (capacity - load[part]) // capacity)
            if score > most or (score == most and load[part] < load[best]):
                best, most = np.int64(part), score
        if best < 0:
            best = np.argmin(load)
        labels[v] = best
        load[best] += volume[v]
        for e in range(indptr[v], indptr[v + 1]):
            i = neighbor[e]
            if volume[i] == 0:
                last[slot[i] * REMEMBERED + visits[slot[i]] % REMEMBERED] = best
                visits[slot[i]] += 1
