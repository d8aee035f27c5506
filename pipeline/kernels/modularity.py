"""Moves of nodes between clusters that raise the modularity of a graph of two sides, and the graph of its clusters.

    Q = Σ_ui (B_ui - γ d_u d_i / m) [c_u = c_i] / m

over row-side nodes u and column-side nodes i, with B the weights, d their sums and m that of all. A cluster of nodes
has a degree on either side, and so has a node of the graph of clusters; a plain graph's nodes have half of theirs on
each, which makes Q the ordinary modularity.

Source: Barber, "Modularity and community detection in bipartite networks", Physical Review E 2007; Blondel et al.,
"Fast unfolding of communities in large networks", 2008; the queue of nodes from Traag, Waltman & van Eck, "From
Louvain to Leiden", 2019.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, OutMatrix, inner_kernel, kernel, read_only
from pipeline.kernels.csr import Csr, weight_of

#: Share of a node's degree that a move has to gain: sums that are rounded must not move nodes to and fro.
LEAST_GAIN = 1e-9
_NO_BOUND = 2**62
NOBODY = -1
"""The neighbour of a cluster that has none."""


class TwoSidedGraph(NamedTuple):
    """An undirected graph, each edge stored at both of its ends; loops may be left out, and count in the degrees."""

    adjacency: Csr
    row_degree: In[np.float64]  # (nodes,) what a node has as one of the row side
    column_degree: In[np.float64]  # (nodes,)
    size: In[np.float64]  # (nodes,) nodes of the first graph


def move_nodes(
    graph: TwoSidedGraph,
    label: NDArray[np.int32],
    order: NDArray[np.int32],
    penalty: float,
    max_size: float = np.inf,
    most_visits: int | None = None,
) -> int:
    """Move nodes to the cluster of a neighbour where Q gains most; nodes that ``order`` leaves out stay.

    Nodes come in ``order``, and again when a neighbour has moved. Of equal gains the neighbour that stands first
    decides. A cluster takes nodes up to ``max_size``; a larger one keeps what it has.

    Parameters
    ----------
    label : (nodes,) int32 below nodes, changed in place.
    order : (m,) int32, distinct nodes.
    penalty : γ / m, m being the sum of the degrees of one side.
    most_visits : after so many visits of nodes it is enough; None: all come again until no single move gains.

    Returns
    -------
    How many moves were made.

    Cost
    ----
    Each time that a node comes, one read of its entries. Buffers: 41 B a node.
    """
    nodes = label.size
    # One line of the cache for each cluster: reading it is what a visit costs.
    clusters = np.zeros((nodes, 4))
    for column, values in enumerate((graph.row_degree, graph.column_degree, graph.size), start=1):
        clusters[:, column] = _sum_up(label, values, nodes)
    clusters_around, ring = np.empty(nodes, np.int32), np.empty(nodes, np.int32)
    moves = 0
    while True:
        is_in = np.ones(nodes, np.bool_)  # what stays is never put in
        ring[: order.size] = order
        queue = _Queue(ring, is_in, order.size, _NO_BOUND if most_visits is None else most_visits)
        moves_of_pass = _move(read_only(graph), label, penalty, max_size, clusters, clusters_around, queue)
        moves += moves_of_pass
        if not moves_of_pass or most_visits is not None:
            return moves


def contract(graph: TwoSidedGraph, label: NDArray[np.int32], clusters: int) -> TwoSidedGraph:
    """Return the graph of clusters: one node each, edges between two added up.

    label : (nodes,) int32 below ``clusters``. Neighbours of a cluster stand in the order in which they are met.
    """
    short = label.astype(np.uint16) if clusters <= 2**16 else label  # sorted by bytes, in a tenth of the time
    members = np.argsort(short, kind="stable").astype(np.int32)
    first = np.zeros(clusters + 1, np.int64)
    np.cumsum(np.bincount(label, minlength=clusters), out=first[1:])
    indptr, entries = np.zeros(clusters + 1, np.int64), graph.adjacency.indices.size
    neighbor, weight = np.empty(entries, np.int32), np.empty(entries, np.float32)
    _contract(read_only(graph.adjacency), label, members, first, np.zeros(clusters), indptr, neighbor, weight)
    end = int(indptr[-1])
    sums = (_sum_up(label, values, clusters) for values in (graph.row_degree, graph.column_degree, graph.size))
    return TwoSidedGraph(Csr(indptr, neighbor[:end].copy(), weight[:end].copy()), *sums)


def number_labels(label: NDArray[np.int32]) -> int:
    """Number labels, which are below their number, by their first node, in place; return how many there are."""
    return _number(label, np.full(label.size, -1, np.int32))


def _sum_up(label: NDArray[np.int32], values: NDArray[np.float64], clusters: int) -> NDArray[np.float64]:
    return np.bincount(label, values, clusters).astype(np.float64, copy=False)


class _Queue(NamedTuple):
    """A ring of nodes; each stands in it at most once."""

    ring: Out[np.int32]
    is_in: Out[np.bool_]
    waiting: int
    most_visits: int


@inner_kernel
def _move(
    graph: TwoSidedGraph,
    label: Out[np.int32],
    penalty: float,
    max_size: float,
    clusters: OutMatrix[np.float64],
    clusters_around: Out[np.int32],
    queue: _Queue,
) -> int:
    # Columns of clusters: weight of the node's edges to it (0 between visits), degrees of its rows and columns, size.
    indptr, neighbor, weight = graph.adjacency
    ring, is_in, waiting, most_visits = queue
    nodes = label.size
    head, moves, visits = 0, 0, 0
    while waiting and visits < most_visits:
        node = ring[head]
        head = head + 1 if head + 1 < nodes else 0
        waiting -= 1
        visits += 1
        is_in[node] = False
        own, of_rows, of_columns = label[node], graph.row_degree[node], graph.column_degree[node]
        size = graph.size[node]
        clusters[own, 1] -= of_rows
        clusters[own, 2] -= of_columns
        clusters[own, 3] -= size
        count = 0
        for entry in range(indptr[node], indptr[node + 1]):
            if neighbor[entry] == node:
                continue
            cluster = label[neighbor[entry]]
            link = clusters[cluster, 0]
            if link == 0.0:
                clusters_around[count] = cluster
                count += 1
            clusters[cluster, 0] = link + weight_of(weight, entry)
        row_penalty, column_penalty = penalty * of_rows, penalty * of_columns
        best = own
        best_gain = clusters[own, 0] - row_penalty * clusters[own, 2] - column_penalty * clusters[own, 1]
        best_gain += LEAST_GAIN * (of_rows + of_columns)
        for at in range(count):
            cluster = clusters_around[at]
            gain = clusters[cluster, 0] - row_penalty * clusters[cluster, 2] - column_penalty * clusters[cluster, 1]
            clusters[cluster, 0] = 0.0
            if gain > best_gain and clusters[cluster, 3] + size <= max_size and cluster != own:
                best, best_gain = cluster, gain
        clusters[best, 1] += of_rows
        clusters[best, 2] += of_columns
        clusters[best, 3] += size
        if best == own:
            continue
        label[node] = best
        moves += 1
        for entry in range(indptr[node], indptr[node + 1]):
            other = neighbor[entry]
            if not is_in[other] and label[other] != best:
                is_in[other] = True
                end = head + waiting
                ring[end if end < nodes else end - nodes] = other
                waiting += 1
    return moves


@inner_kernel
def _contract(
    adjacency: Csr,
    label: In[np.int32],
    members: In[np.int32],
    first: In[np.int64],
    link: Out[np.float64],
    indptr: Out[np.int64],
    neighbor: Out[np.int32],
    weight: Out[np.float32],
) -> None:
    start = 0
    for cluster in range(indptr.size - 1):
        end = start
        for at in range(first[cluster], first[cluster + 1]):
            member = members[at]
            for entry in range(adjacency.indptr[member], adjacency.indptr[member + 1]):
                other = label[adjacency.indices[entry]]
                if other == cluster:
                    continue
                if link[other] == 0.0:
                    neighbor[end] = other
                    end += 1
                link[other] += weight_of(adjacency.weights, entry)
        for at in range(start, end):
            weight[at] = link[neighbor[at]]
            link[neighbor[at]] = 0.0
        indptr[cluster + 1] = end
        start = end


@kernel
def _number(label: Out[np.int32], number: Out[np.int32]) -> int:
    labels = 0
    for node in range(label.size):
        old = label[node]
        if number[old] < 0:
            number[old] = labels
            labels += 1
        label[node] = number[old]
    return labels


def densest_neighbors(graph: TwoSidedGraph) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the neighbour to which each cluster has the densest link, and the density.

    The density of a link is its weight over the product of the clusters' sizes. Of equal densities the first cluster
    is taken, so where there are links, at least two clusters choose each other.

    Returns
    -------
    nearest (nodes,) int32, NOBODY without neighbours; density (nodes,) float64.
    """
    nodes = graph.size.size
    nearest, density = np.full(nodes, NOBODY, np.int32), np.zeros(nodes)
    _find_densest(read_only(graph), nearest, density)
    return nearest, density


@kernel
def _find_densest(graph: TwoSidedGraph, nearest: Out[np.int32], density: Out[np.float64]) -> None:
    indptr, neighbor, weight = graph.adjacency
    for node in range(nearest.size):
        for entry in range(indptr[node], indptr[node + 1]):
            other = neighbor[entry]
            if other <= node:  # each link once: its weight may be rounded another way at its other end
                continue
            link = weight_of(weight, entry) / (graph.size[node] * graph.size[other])
            if link > density[node] or (link == density[node] and other < nearest[node]):
                nearest[node], density[node] = other, link
            if link > density[other] or (link == density[other] and node < nearest[other]):
                nearest[other], density[other] = node, link
