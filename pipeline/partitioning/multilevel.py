"""Multilevel cut: label propagation coarsens, METIS cuts the coarsest graph, two refinements follow.

Nodes are clustered under a bound on volume, clusters become the vertices of a graph of their strongest edges, and
METIS cuts that. Back on the graph itself, nodes first follow the edges, then the rows that a border costs
(:mod:`pipeline.kernels.copy_refinement`). One level of clusters: refining on more of them took time and cut no
better, since the last refinement undoes the differences.

Sources: Meyerhenke, Sanders & Schulz, "Partitioning complex networks via size-constrained clustering", SEA 2014
(arXiv 1402.3281); METIS as in :mod:`pipeline.partitioning.metis`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.copy_refinement import refined_for_copies
from pipeline.kernels.hashing import hash_nodes
from pipeline.kernels.label_propagation import clusters, contract, refined
from pipeline.kernels.strongest_edges import strongest_edges
from pipeline.partitioning import metis
from pipeline.partitioning.pieces import CutGraph

#: Clusters have at most this share of a part's volume: few of them leave METIS no choice, many take it long.
_CLUSTERS_PER_PART = 64
_CLUSTER_PASSES = 2
#: Clusters of a social graph nearly all touch each other; METIS cuts as well, and three times faster, without most.
_STRONGEST_EDGES = 16
#: Largest over mean volume, as far as nodes can be moved.
IMBALANCE = 1.06
#: The same on the way: nodes that have room to follow their neighbours gain more than evening out then costs.
_LOOSE_IMBALANCE = 1.15


def cut(graph: CutGraph, parts: int, seed: int) -> NDArray[np.int32]:
    """Cut into parts of near-equal volume whose borders cost few edges and few rows.

    The labels depend on the graph and its numbering, not on the order of its edges or on threads. At least two
    parts get nodes if ``parts`` and the nodes with volume are two or more; other parts may stay empty.

    Returns
    -------
    (rows,) int32 in 0 <= label < parts.

    Cost
    ----
    Some ten passes over the edges in both directions, and METIS on some 64 clusters a part. 32 B an edge with
    the edges themselves, 80 B a row.
    """
    if np.count_nonzero(graph.volume) < 2 * parts:
        return metis.heaviest_first(graph.volume, parts)
    labels = np.zeros(graph.volume.size, np.int32)
    vertices, indptr, neighbor = metis.adjacency(graph)
    volume = graph.volume[vertices]
    order, largest, found = _projected(indptr, neighbor, None, volume, graph.node_key[vertices], parts, seed)
    loose = largest + int((_LOOSE_IMBALANCE - IMBALANCE) * float(volume.sum()) / parts)
    found = refined(indptr, neighbor, None, volume, order, found, parts, loose, passes=1)
    labels[vertices] = refined_for_copies(indptr, neighbor, volume, order, found, parts, largest, passes=1)
    return labels


def cut_weighted(
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    edge_weight: NDArray[np.int32] | None,
    volume: NDArray[np.int64],
    node_key: NDArray[np.uint64],
    parts: int,
    seed: int,
) -> NDArray[np.int32]:
    """Cut a weighted graph, given as adjacency, into parts of near-equal volume with little weight between them.

    Parameters
    ----------
    indptr, neighbor : (n + 1,) int64, (entries,) int32: adjacency, each edge in both rows, neighbours ascending.
    edge_weight : (entries,) int32 above 0, below 2**31 in sum, or None where every weight is 1.
    volume : (n,) int64, 0 or more.
    node_key : (n,) uint64: nodes are visited in the order of their hashes.

    Returns
    -------
    (n,) int32 in 0 <= label < parts.
    """
    if np.count_nonzero(volume) < 2 * parts:
        return metis.heaviest_first(volume, parts)
    graph = indptr, neighbor, edge_weight, volume
    order, largest, found = _projected(*graph, node_key, parts, seed)
    return refined(*graph, order, found, parts, largest, passes=4)


def _projected(
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    edge_weight: NDArray[np.int32] | None,
    volume: NDArray[np.int64],
    node_key: NDArray[np.uint64],
    parts: int,
    seed: int,
) -> tuple[NDArray[np.int64], int, NDArray[np.int32]]:
    """Order of visits, bound on the volume of a part, and the labels of the coarsest graph given to its nodes."""
    order = np.argsort(hash_nodes(node_key, seed), kind="stable")
    largest = int(IMBALANCE * float(volume.sum()) / parts)
    graph = indptr, neighbor, edge_weight
    cluster = clusters(*graph, volume, order, largest // _CLUSTERS_PER_PART, _CLUSTER_PASSES)
    coarse = strongest_edges(*contract(*graph, cluster), _STRONGEST_EDGES)
    coarse_volume = np.zeros(coarse[0].size - 1, np.int64)
    np.add.at(coarse_volume, cluster, volume)
    return order, largest, metis.partition(*coarse, coarse_volume, parts, seed)[cluster]
