"""Clusters and codes of a night from those of an earlier one: a node keeps them unless its cluster falls apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.codes.clusters import visiting_order
from pipeline.codes.code_files import NO_CLUSTER
from pipeline.kernels.modularity import TwoSidedGraph, move_nodes

#: A cluster falls apart where less than this share of its nodes would stay together if all nodes moved as they like.
_LEAST_TOGETHER = 0.5
#: Visits of each node while that is found out.
_VISITS = 2


@dataclass(frozen=True)
class KeptFigures:
    """What became of an earlier night's codes, or of its clusters alone.

    night : its date. same_code, other_code : nodes that had one. new_nodes : that had none.
    fallen_apart : clusters whose nodes are free to move. new_clusters : of these and of new nodes.
    """

    night: str
    same_code: int
    other_code: int
    new_nodes: int
    fallen_apart: int
    new_clusters: int

    @classmethod
    def of(
        cls, night: str, earlier: NDArray[np.int32], label: NDArray[np.int32], clusters: int, apart: int
    ) -> KeptFigures:
        """Count; arguments and results are those of :func:`keep_clusters`."""
        had_one = earlier != NO_CLUSTER
        same, before = int((label == earlier)[had_one].sum()), int(had_one.sum())
        new_clusters = count_numbers(label, clusters) - clusters
        return cls(night, same, before - same, label.size - before, apart, new_clusters)


def count_numbers(label: NDArray[np.int32], clusters: int = 0) -> int:
    """Return how many numbers of clusters were given out, ``clusters`` of them before."""
    return max(clusters, int(label.max(initial=-1)) + 1)


def keep_clusters(
    graph: TwoSidedGraph,
    earlier: NDArray[np.int32],
    clusters: int,
    resolution: float,
    max_size: float,
) -> tuple[NDArray[np.int32], int]:
    """Return the cluster of each node, and how many clusters have fallen apart.

    Nodes that are new, and those of a cluster that falls apart, move to where modularity gains, into clusters that stay
    or into new ones; all others stay where they are.

    Parameters
    ----------
    earlier : (nodes,) int32, NO_CLUSTER of those that are new. clusters : that there were: numbers of new ones follow.

    Returns
    -------
    (nodes,) int32; numbers of clusters that have fallen apart are not given again.
    """
    penalty = resolution / max(float(graph.row_degree.sum()), np.finfo(float).tiny)
    order = visiting_order(graph)
    label, _ = _local_labels(earlier)
    move_nodes(graph, label, order, penalty, max_size, _VISITS * label.size)
    is_apart = fall_apart(earlier, label, clusters)
    is_free = earlier == NO_CLUSTER
    is_free[~is_free] = is_apart[earlier[~is_free]]
    label, numbers = _local_labels(np.where(is_free, np.int32(NO_CLUSTER), earlier))
    move_nodes(graph, label, order[is_free[order]], penalty, max_size)
    in_new = label >= numbers.size
    first, new = np.unique(label[in_new], return_index=True, return_inverse=True)[1:]
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)  # numbered by their first node
    result = np.empty(label.size, np.int32)
    result[~in_new] = numbers[label[~in_new]]
    result[in_new] = clusters + rank[new]
    return result, int(is_apart.sum())


def _local_labels(cluster: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return labels below the number of nodes, of nodes without a cluster one each; and clusters by label."""
    is_alone = cluster == NO_CLUSTER
    numbers, place = np.unique(cluster[~is_alone], return_inverse=True)
    label = np.empty(cluster.size, np.int32)
    label[~is_alone] = place
    label[is_alone] = numbers.size + np.arange(int(is_alone.sum()))
    return label, numbers


def fall_apart(earlier: NDArray[np.int32], label: NDArray[np.int32], clusters: int) -> NDArray[np.bool_]:
    """Return which clusters have too few nodes that stay together; (clusters,)."""
    had_one = earlier != NO_CLUSTER
    places = earlier[had_one].astype(np.int64) * label.size + label[had_one]
    pieces, sizes = np.unique(places, return_counts=True)
    largest, all_nodes = np.zeros(clusters, np.int64), np.bincount(earlier[had_one], minlength=clusters)
    np.maximum.at(largest, pieces // label.size, sizes)
    return largest < _LEAST_TOGETHER * all_nodes


def keep_tokens(
    cluster: NDArray[np.int32],
    side: NDArray[np.int8],
    earlier: NDArray[np.int32],
    earlier_token: NDArray[np.int32],
    tokens: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the leaf token of each node, and how many each cluster has given out to either side.

    Who stays in a cluster keeps its token; others get the next ones, in the order of nodes.

    Parameters
    ----------
    cluster, earlier, earlier_token : (nodes,) int32. side : (nodes,) int8. tokens : (clusters, sides) int32, given out.
    """
    place = cluster.astype(np.int64) * tokens.shape[1] + side
    joins = np.flatnonzero(cluster != earlier)
    order = joins[np.argsort(place[joins], kind="stable")]
    token = earlier_token.copy()
    rank = np.arange(order.size) - np.searchsorted(place[order], place[order])
    token[order] = tokens.reshape(-1)[place[order]] + rank
    more = np.bincount(place[joins], minlength=tokens.size).astype(np.int32)
    return token, tokens + more.reshape(tokens.shape)


def densest_clusters(graph: TwoSidedGraph, before: int) -> dict[int, int]:
    """Return of the clusters from number ``before`` on the earlier one to which they have the densest link, if any."""
    indptr, neighbor, weight = graph.adjacency
    new = np.repeat(np.arange(graph.size.size), np.diff(indptr))
    is_way = (new >= before) & (neighbor < before)
    new, old = new[is_way], neighbor[is_way]
    density = (np.ones(new.size) if weight is None else weight[is_way]) / graph.size[old]
    best = np.lexsort((old, -density, new))
    best = best[np.diff(new[best], prepend=-1) > 0]
    return dict(zip(new[best].tolist(), old[best].tolist(), strict=True))


def extend_codes(code: NDArray[np.int32], beside: Mapping[int, int], clusters: int) -> NDArray[np.int32]:
    """Return the codes of so many clusters, those of the first ones given.

    A new cluster stands beside the earlier one that ``beside`` names, under a number that no cluster has had there; one
    that is beside none begins a group of its own.
    """
    before, levels = code.shape
    last: dict[tuple[int, ...], int] = {}
    for path in code.tolist():
        for level in range(levels):
            prefix = tuple(path[:level])
            last[prefix] = max(last.get(prefix, -1), path[level])
    paths = code.tolist()
    for cluster in range(before, clusters):
        group = tuple(paths[beside[cluster]][:-1]) if cluster in beside else (last.get((), -1) + 1, *[0] * (levels - 2))
        group = group[: levels - 1]
        for level in range(levels - 1):
            last[group[:level]] = max(last.get(group[:level], -1), group[level])
        last[group] = last.get(group, -1) + 1
        paths.append([*group, last[group]])
    return np.array(paths, np.int32).reshape(clusters, levels)
