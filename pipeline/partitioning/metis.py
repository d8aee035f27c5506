"""METIS, on the graph itself or on one coarsened by label propagation where it is large.

Source: Karypis & Kumar, "A fast and high quality multilevel scheme for partitioning irregular graphs",
SIAM J. Sci. Comput. 20(1), 1998; coarsening as in :mod:`pipeline.kernels.label_propagation`.
"""

from __future__ import annotations

import heapq

import numpy as np
import pymetis
from numpy.typing import NDArray

from pipeline.kernels.adjacency import ordered_adjacency
from pipeline.kernels.hashing import hash_nodes
from pipeline.kernels.label_propagation import clusters, contract, refined
from pipeline.partitioning.pieces import CutGraph

#: Above, METIS takes longer than coarsening for it, which cuts as well: 10 M edges, 8 parts 28 s against 8 s.
COARSEN_ABOVE_EDGES = 2_000_000
#: Clusters have at most this share of a part's volume: fewer than some 30 to a part leave METIS no choice.
_CLUSTERS_PER_PART = 32
_PASSES = 3
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
    labels = np.zeros(graph.volume.size, np.int32)
    with_volume = np.flatnonzero(graph.volume)
    if with_volume.size < 2 * parts:
        # METIS can't cut a graph into nearly as many parts as it has nodes: it complains on stdout.
        labels[with_volume] = _heaviest_first(graph.volume[with_volume], parts)
        return labels

    vertices, indptr, neighbor = _adjacency(graph)
    volume = graph.volume[vertices]
    order = np.argsort(hash_nodes(graph.node_key[vertices], seed), kind="stable")
    largest = int(_IMBALANCE * float(volume.sum()) / parts)
    is_large = graph.left.size > COARSEN_ABOVE_EDGES
    if is_large:
        cluster = clusters(indptr, neighbor, None, volume, order, largest // _CLUSTERS_PER_PART, _PASSES)
        coarse_indptr, coarse_neighbor, coarse_weight = contract(indptr, neighbor, None, cluster)
        coarse_volume = np.zeros(coarse_indptr.size - 1, np.int64)
        np.add.at(coarse_volume, cluster, volume)
        found = _metis(coarse_indptr, coarse_neighbor, coarse_weight, coarse_volume, parts, seed)[cluster]
    else:
        found = _metis(indptr, neighbor, None, volume, parts, seed)
    load = np.zeros(parts, np.int64)
    np.add.at(load, found, volume)
    if is_large or load.max() > largest:
        found = refined(indptr, neighbor, None, volume, order, found, parts, largest, passes=1)
    labels[vertices] = found
    return labels


def _adjacency(graph: CutGraph) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Rows that are worth a vertex, and their adjacency as vertices: neighbours ascending, no loops."""
    is_vertex = graph.volume > 0
    is_vertex[graph.left] = True
    is_vertex[graph.right] = True
    vertices = np.flatnonzero(is_vertex)
    vertex_of = np.cumsum(is_vertex, dtype=np.int32) - np.int32(1)
    is_loop = graph.left == graph.right
    left, right = graph.left, graph.right
    if is_loop.any():
        left, right = left[~is_loop], right[~is_loop]
    indptr, neighbor, _ = ordered_adjacency(
        vertex_of[left],
        vertex_of[right],
        None,
        np.ones(vertices.size, np.bool_),
        np.arange(vertices.size, dtype=np.uint64),
    )
    return vertices, indptr, neighbor


def _metis(
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    weight: NDArray[np.int32] | None,
    volume: NDArray[np.int64],
    parts: int,
    seed: int,
) -> NDArray[np.int32]:
    unit = 1 + int(volume.sum()) // _MOST_VOLUME
    _, found = pymetis.part_graph(
        parts,
        pymetis.CSRAdjacency(indptr.astype(np.int32), neighbor),
        vweights=-(-volume // unit).astype(np.int32),  # rounded up: no volume becomes 0
        eweights=weight,
        recursive=parts <= _MOST_PARTS_BY_BISECTION,
        options=pymetis.Options(seed=1 + seed % (2**31 - 1)),  # to METIS, 0 is the same seed as 1
    )
    return np.array(found, np.int32)


def _heaviest_first(volume: NDArray[np.int64], parts: int) -> NDArray[np.int32]:
    """Give each node, the heaviest first, to the part with the least volume; ties to the lowest number."""
    labels = np.empty(volume.size, np.int32)
    load = [(0, part) for part in range(parts)]
    for node in np.argsort(-volume, kind="stable").tolist():
        lightest, part = load[0]
        labels[node] = part
        heapq.heapreplace(load, (lightest + int(volume[node]), part))
    return labels
