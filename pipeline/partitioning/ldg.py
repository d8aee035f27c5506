"""Linear deterministic greedy: one pass over the nodes, each to the part where most of its neighbours are.

A node goes to the part with the most of ``neighbours there x (1 - volume of the part / its capacity)``. Between
shared nodes and whole ones there are no whole neighbours to count; there, each neighbour counts with the share of
its own neighbours that are in the part so far, as if it were spread over them.

Source: Stanton & Kliot, "Streaming graph partitioning for large distributed graphs", KDD 2012.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.greedy_stream import stream_labels
from pipeline.kernels.hashing import hash_nodes
from pipeline.partitioning import metis
from pipeline.partitioning.pieces import CutGraph

#: Largest over mean volume that a part may be filled to.
_IMBALANCE = 1.04


def cut(graph: CutGraph, parts: int, seed: int) -> NDArray[np.int32]:
    """Cut in one pass over the nodes in the order of their hashes.

    A node that fits no part goes to the one with the least volume.

    Returns
    -------
    (rows,) int32 in 0 <= label < parts.
    """
    if np.count_nonzero(graph.volume) < 2 * parts:
        return metis.place_heaviest_first(graph.volume, parts)
    labels = np.zeros(graph.volume.size, np.int32)
    rows, lists = metis.list_vertices(graph)
    order = np.argsort(hash_nodes(graph.node_key[rows], seed), kind="stable")
    capacity = int(_IMBALANCE * float(lists.volume.sum()) / parts)
    labels[rows] = stream_labels(lists, order, parts, capacity)
    return labels
