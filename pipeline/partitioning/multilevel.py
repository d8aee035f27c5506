"""Multilevel cut: label propagation coarsens, METIS cuts the coarsest graph, refinements follow.

Nodes are clustered under a bound on volume, clusters become the vertices of a graph of their strongest edges, these
are clustered once more, and METIS cuts what is left. Back on the graph itself, nodes first follow the edges, then the
rows that a border costs (:mod:`pipeline.kernels.copy_refinement`). Labels are refined on the graph alone: doing so
between the levels took time and cut no better, since the last refinement undoes the differences.

Nodes are numbered by their hashes, those to be cut first, and visited in this order: memory is then read as it is
laid out, and a pass takes a third of the time.

Sources: Meyerhenke, Sanders & Schulz, "Partitioning complex networks via size-constrained clustering", SEA 2014
(arXiv 1402.3281); METIS as in :mod:`pipeline.partitioning.metis`.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.copy_refinement import refine_copies
from pipeline.kernels.hashing import order_of_hashes
from pipeline.kernels.label_propagation import cluster_nodes, contract, refine_labels
from pipeline.kernels.neighbor_lists import NO_WEIGHTS, WeightedGraph, neighbor_lists
from pipeline.kernels.strongest_edges import keep_strongest_edges
from pipeline.partitioning import metis
from pipeline.partitioning.pieces import CutGraph

#: Clusters have at most this share of a part's volume: few of them leave METIS no choice, many take it long.
_CLUSTERS_PER_PART = 128
#: Visits to every node, and then to every cluster.
_CLUSTER_PASSES = 2, 3
#: Clusters of a social graph nearly all touch each other; METIS cuts as well, and three times faster, without most.
_STRONGEST_EDGES = 16
#: Largest over mean volume, as far as nodes can be moved.
IMBALANCE = 1.05
#: The same on the way: nodes that have room to follow their neighbours gain more than evening out then costs.
_LOOSE_IMBALANCE = 1.15
#: Where so many of all edge ends are those of whole nodes, most edges join two of them. A cut edge is then a ghost on
#: either side, and following the edges once more costs hardly a row.
_MOSTLY_WHOLE = 0.75


def cut(graph: CutGraph, parts: int, seed: int) -> NDArray[np.int32]:
    """Cut into parts of near-equal volume whose borders cost few edges and few rows.

    The labels depend on the graph and its numbering, not on the order of its edges or on threads. At least two
    parts get nodes if ``parts`` and the nodes with volume are two or more; other parts may stay empty.

    Returns
    -------
    (rows,) int32 in 0 <= label < parts.

    Cost
    ----
    Some ten passes over the edges in both directions, and METIS on a few hundred clusters a part. On
    50 M edges of users and items, with a tenth as many rows, 23 B an edge beside the edges, rows included.
    """
    if np.count_nonzero(graph.volume) < 2 * parts:
        return metis.place_heaviest_first(graph.volume, parts)
    rows = _order_rows(graph, seed)
    place = np.empty(graph.volume.size, np.int32)
    place[rows] = np.arange(rows.size, dtype=np.int32)
    indptr, neighbor = neighbor_lists(place[graph.left], place[graph.right], rows.size, ascending=False)
    lists = WeightedGraph(indptr, neighbor, NO_WEIGHTS, graph.volume[rows])
    order = np.arange(rows.size)
    largest, row_labels = _cut_coarsest(lists, order, parts, seed)
    loose = largest + int((_LOOSE_IMBALANCE - IMBALANCE) * float(lists.volume.sum()) / parts)
    row_labels = refine_labels(lists, order, row_labels, parts, loose, passes=2)
    row_labels = refine_copies(lists, order, row_labels, parts, largest)
    # Entries are those of whole nodes, then of shared ones, whose edges all lead to whole nodes.
    of_whole = int(indptr[np.count_nonzero(lists.volume)])
    if of_whole > _MOSTLY_WHOLE * neighbor.size:
        row_labels = refine_labels(lists, order, row_labels, parts, largest, passes=1)
    labels = np.zeros(graph.volume.size, np.int32)
    labels[rows] = row_labels
    return labels


def _order_rows(graph: CutGraph, seed: int) -> NDArray[np.int64]:
    """Rows with a volume or an edge, those with a volume first, both by the hashes of their keys."""
    rows = metis.vertices(graph)
    rows = rows[order_of_hashes(graph.node_key[rows], seed)]
    is_cut = graph.volume[rows] > 0
    return np.concatenate([rows[is_cut], rows[~is_cut]])


def cut_weighted(graph: WeightedGraph, node_key: NDArray[np.uint64], parts: int, seed: int) -> NDArray[np.int32]:
    """Cut a weighted graph into parts of near-equal volume with little weight between them.

    Parameters
    ----------
    graph : neighbours ascending.
    node_key : (n,) uint64: nodes are visited in the order of their hashes.

    Returns
    -------
    (n,) int32 in 0 <= label < parts.
    """
    if np.count_nonzero(graph.volume) < 2 * parts:
        return metis.place_heaviest_first(graph.volume, parts)
    order = order_of_hashes(node_key, seed)
    largest, labels = _cut_coarsest(graph, order, parts, seed)
    return refine_labels(graph, order, labels, parts, largest, passes=4)


def _cut_coarsest(
    graph: WeightedGraph, order: NDArray[np.int64], parts: int, seed: int
) -> tuple[int, NDArray[np.int32]]:
    """Bound on the volume of a part, and the labels of the coarsest graph given to its nodes."""
    largest = int(IMBALANCE * float(graph.volume.sum()) / parts)
    cluster_of = np.arange(graph.volume.size, dtype=np.int32)
    for passes in _CLUSTER_PASSES:
        cluster = cluster_nodes(graph, order, largest // _CLUSTERS_PER_PART, passes)
        graph = keep_strongest_edges(contract(graph, cluster), _STRONGEST_EDGES)
        order = np.arange(graph.volume.size)
        cluster_of = cluster[cluster_of]
    return largest, metis.partition(graph, parts, seed)[cluster_of]
