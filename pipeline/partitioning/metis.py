"""METIS on the graph itself: the peer that other cuts are measured against, and what cuts the coarsest graph.

Source: Karypis & Kumar, "A fast and high quality multilevel scheme for partitioning irregular graphs",
SIAM J. Sci. Comput. 20(1), 1998.
"""

from __future__ import annotations

import heapq

import numpy as np
import pymetis
from numpy.typing import NDArray

from pipeline.kernels.hashing import hash_nodes
from pipeline.kernels.label_propagation import refined
from pipeline.kernels.neighbor_lists import neighbor_lists
from pipeline.partitioning.pieces import CutGraph

#: METIS's own bound for k-way cuts; what it leaves above is pushed out.
_IMBALANCE = 1.03
#: Bisection balances better (1.002 against 1.03 on Gowalla, 16 parts), but its time grows with log(parts).
_MOST_PARTS_BY_BISECTION = 64
#: pymetis is built with 32-bit integers, which must hold the sum of all volumes.
_MOST_VOLUME = 2**30


def cut(graph: CutGraph, parts: int, seed: int) -> NDArray[np.int32]:
    """Cut into parts of near-equal volume with few edges between them.

    The labels depend on the graph and its numbering, not on the order of its edges. At least two parts get
    nodes if ``parts`` and the nodes with volume are two or more; other parts may stay empty.

    Returns
    -------
    (rows,) int32 in 0 <= label < parts.
    """
    if np.count_nonzero(graph.volume) < 2 * parts:
        return heaviest_first(graph.volume, parts)
    labels = np.zeros(graph.volume.size, np.int32)
    vertices, indptr, neighbor = adjacency(graph)
    volume = graph.volume[vertices]
    found = partition(indptr, neighbor, None, volume, parts, seed)
    load = np.zeros(parts, np.int64)
    np.add.at(load, found, volume)
    largest = int(_IMBALANCE * float(volume.sum()) / parts)
    if load.max() > largest:
        order = np.argsort(hash_nodes(graph.node_key[vertices], seed), kind="stable")
        found = refined(indptr, neighbor, None, volume, order, found, parts, largest, passes=1)
    labels[vertices] = found
    return labels


def adjacency(graph: CutGraph) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Rows that are worth a vertex, and their adjacency as vertices: neighbours ascending, no loops."""
    is_vertex = graph.volume > 0
    is_vertex[graph.left] = True
    is_vertex[graph.right] = True
    vertices = np.flatnonzero(is_vertex)
    left, right = graph.left, graph.right
    if vertices.size < is_vertex.size:
        vertex_of = np.cumsum(is_vertex, dtype=np.int32) - np.int32(1)
        left, right = vertex_of[left], vertex_of[right]
    return vertices, *neighbor_lists(left, right, vertices.size)


def partition(
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    edge_weight: NDArray[np.int32] | None,
    volume: NDArray[np.int64],
    parts: int,
    seed: int,
) -> NDArray[np.int32]:
    """Call METIS: (n,) int32 labels of a graph given as for :func:`pipeline.kernels.label_propagation.clusters`.

    It complains on stdout about graphs of nearly as many parts as nodes: use :func:`heaviest_first` for them.
    """
    unit = 1 + int(volume.sum()) // _MOST_VOLUME
    _, found = pymetis.part_graph(
        parts,
        pymetis.CSRAdjacency(indptr.astype(np.int32), neighbor),
        vweights=-(-volume // unit).astype(np.int32),  # rounded up: no volume becomes 0
        eweights=edge_weight,
        recursive=parts <= _MOST_PARTS_BY_BISECTION,
        options=pymetis.Options(seed=1 + seed % (2**31 - 1)),  # to METIS, 0 is the same seed as 1
    )
    return np.array(found, np.int32)


def heaviest_first(volume: NDArray[np.int64], parts: int) -> NDArray[np.int32]:
    """Give each node, the heaviest first, to the part with the least volume; ties to the lowest number.

    Nodes of volume 0 get label 0.
    """
    labels = np.zeros(volume.size, np.int32)
    load = [(0, part) for part in range(parts)]
    for node in np.argsort(-volume, kind="stable")[: np.count_nonzero(volume)].tolist():
        lightest, part = load[0]
        labels[node] = part
        heapq.heapreplace(load, (lightest + int(volume[node]), part))
    return labels
