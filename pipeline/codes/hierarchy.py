"""A hierarchy of clusters from the bottom up: the two with the densest link are merged, until one is left.

Source: Dreveton, Kuroda, Grossglauser & Thiran, "When does bottom-up beat top-down in hierarchical community
detection?", arXiv 2306.00833; pairs that choose each other may be merged at once, as Murtagh, "A survey of recent
advances in hierarchical clustering algorithms", 1983, shows of every linkage that is a mean.
"""

import heapq
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.modularity import NOBODY, TwoSidedGraph, contract, densest_neighbors, number_labels

#: Reads of all links that merging takes at most. A hub with thousands of equal neighbours would take one for each:
#: from then on every cluster is merged with its densest neighbour at once, which may be an inversion [Gowalla: 60].
_MOST_READS = 100


@dataclass(frozen=True)
class Merges:
    """Merges of clusters, in an order in which a part is merged before the whole.

    first, second : (clusters - 1,) int64: any cluster of either side.
    density : (clusters - 1,) float64: of the link, 0 where there is none.
    inversions : merges denser than one that they hold.
    """

    clusters: int
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    density: NDArray[np.float64]
    inversions: int

    def cut(self, groups: int) -> NDArray[np.int32]:
        """Return the group of each cluster once so many groups are left, numbered by their first cluster."""
        merges = slice(0, max(self.clusters - groups, 0))
        label = _components(self.first[merges], self.second[merges], self.clusters)
        number_labels(label)
        return label


def _components(first: NDArray[Any], second: NDArray[Any], n: int) -> NDArray[np.int32]:
    """Return the component of each of n nodes, which pairs join."""
    from scipy.sparse import coo_array  # a fifth of a second, which most runs have no use for
    from scipy.sparse.csgraph import connected_components

    pairs = coo_array((np.ones(first.size, np.int8), (first, second)), shape=(n, n))
    return connected_components(pairs, directed=False)[1].astype(np.int32)


def merge_clusters(graph: TwoSidedGraph) -> Merges:
    """Merge the clusters of a graph, one node each, by the density of links; what has no links comes last.

    Cost
    ----
    A read of the links for each round, in which every pair that chooses each other is merged.
    """
    clusters = graph.size.size
    member = np.arange(clusters)  # a cluster of each node of the graph
    lowest = np.full(clusters, np.inf)  # density of all merges so far, at most
    pairs: list[NDArray[np.int64]] = []
    heights: list[NDArray[np.float64]] = []
    inversions, reads, links = 0, 0, graph.adjacency.indices.size
    while graph.adjacency.indices.size:
        nearest, density = densest_neighbors(graph)
        node = np.arange(nearest.size)
        is_merged = nearest != NOBODY
        is_mutual = is_merged & (nearest[nearest] == node)
        reads += graph.adjacency.indices.size
        if reads <= _MOST_READS * links:
            is_merged = is_mutual
        is_merged &= ~is_mutual | (node < nearest)  # each pair once
        best_first = np.flatnonzero(is_merged)
        best_first = best_first[np.argsort(-density[best_first], kind="stable")]
        label = _components(best_first, nearest[best_first], node.size)
        count = number_labels(label)
        below = np.minimum(lowest[best_first], lowest[nearest[best_first]])
        inversions += int((density[best_first] > below * (1 + 1e-6)).sum())
        pairs.append(np.stack([member[best_first], member[nearest[best_first]]]))
        heights.append(np.minimum(density[best_first], below))
        merged_lowest = np.full(count, np.inf)
        np.minimum.at(merged_lowest, label, lowest)
        np.minimum.at(merged_lowest, label[best_first], heights[-1])
        first = np.unique(label, return_index=True)[1]
        graph, member, lowest = contract(graph, label, count), member[first], merged_lowest
    rest = _join_smallest(graph.size, member)
    first, second = np.concatenate([*pairs, rest], axis=1)
    height = np.concatenate([*heights, np.zeros(rest.shape[1])])
    order = np.argsort(-height, kind="stable")
    return Merges(clusters, first[order], second[order], height[order], inversions)


def _join_smallest(size: NDArray[np.float64], member: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs that join what no link joins: always the two smallest, so that the tree stays flat."""
    heap = [(cluster_size, number) for number, cluster_size in enumerate(size.tolist())]
    heapq.heapify(heap)
    pairs = np.zeros((2, max(len(heap) - 1, 0)), np.int64)
    for at in range(pairs.shape[1]):
        smaller, larger = heapq.heappop(heap), heapq.heappop(heap)
        pairs[:, at] = member[smaller[1]], member[larger[1]]
        heapq.heappush(heap, (smaller[0] + larger[0], larger[1]))
    return pairs


def paths_of(merges: Merges, levels: int) -> NDArray[np.int32]:
    """Return the path of each cluster from coarse to fine: of each level, which child of the one above it is.

    Level l of L has clusters^(l / L) groups, rounded up; the last one has the clusters themselves. Children are
    numbered by their first cluster.

    Returns
    -------
    (clusters, levels) int32.
    """
    paths = np.zeros((merges.clusters, levels), np.int32)
    above = np.zeros(merges.clusters, np.int32)
    for level in range(levels):
        groups = math.ceil(merges.clusters ** ((level + 1) / levels) - 1e-6)
        group = merges.cut(groups)  # of the last level, the clusters themselves
        first = np.unique(group, return_index=True)[1]
        order = np.argsort(above[first], kind="stable")  # groups under their parents
        parents = above[first][order]
        child = np.arange(order.size) - np.searchsorted(parents, parents)
        number = np.empty(order.size, np.int32)
        number[order] = child
        paths[:, level] = number[group]
        above = group
    return paths
