"""Size-constrained label propagation: clusters to coarsen a graph by, and better borders between parts.

Nodes move one after the other, in the order given, each to the label with which it shares the most edge
weight and where it still fits. One thread, integers only, ties by hash: the labels are a function of the
arguments.

Source: Meyerhenke, Sanders & Schulz, "Partitioning complex networks via size-constrained clustering",
SEA 2014 (arXiv 1402.3281).
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel, read_only
from pipeline.kernels.hashing import mix
from pipeline.kernels.neighbor_lists import WeightedGraph
from pipeline.kernels.prefetch import prefetch_element

#: In the first pass nearly all labels differ, and whom a node joins is chance: a few neighbours are enough.
_SAMPLE = 4
_ALL = 0
#: Multiplied by it, 32-bit numbers come in another order, none twice.
_ODD = np.uint32(2654435769)
#: A node's neighbours are prefetched so many nodes before its turn.
_AHEAD = 6
#: int32 values in a cache line.
_LINE = 16


def cluster_nodes(graph: WeightedGraph, order: NDArray[np.int64], max_volume: int, passes: int) -> NDArray[np.int32]:
    """Cluster a graph so that no cluster of two nodes or more has a volume above ``max_volume``.

    Parameters
    ----------
    graph : lists in any order; entries of a row with itself are ignored. A node whose volume is above ``max_volume``
        stays with nodes of volume 0.
    order : (n,) int64, a permutation: the order of visits. Hash order keeps clusters from growing along ids;
        a pass is three times as fast if rows are numbered by it.
    passes : most visits to every node; fewer if a pass moves no node.

    Returns
    -------
    (n,) int32 labels 0, 1, ... numbered by their lowest row.

    Cost
    ----
    ``passes`` reads of all entries, 20 B a node.
    """
    labels = np.arange(graph.volume.size, dtype=np.int32)
    load = graph.volume.copy()
    graph = read_only(graph)
    for number in range(passes):
        moves = _propagate(graph, order, max_volume, _ALL if number else _SAMPLE, False, labels, load)
        # Fewer labels after each pass: what the next one holds for each of them then fits the cache.
        load = _renumber_labels(labels, load)
        if moves == 0:
            break
    return labels


def refine_labels(
    graph: WeightedGraph, order: NDArray[np.int64], labels: NDArray[np.int32], parts: int, max_volume: int, passes: int
) -> NDArray[np.int32]:
    """Move nodes to the parts where their neighbours are; parts above ``max_volume`` give nodes away.

    Arguments as for :func:`cluster_nodes`. ``labels`` (n,) int32 are the parts to start from, left unchanged.
    No part grows beyond ``max_volume``; one that starts above it shrinks as far as its nodes fit elsewhere,
    which nodes larger than the room left may not.

    Returns
    -------
    (n,) int32 in 0 <= label < parts.
    """
    new = labels.copy()
    load = np.zeros(parts, np.int64)
    np.add.at(load, labels, graph.volume)
    graph = read_only(graph)
    for _ in range(passes):
        if _propagate(graph, order, max_volume, _ALL, True, new, load) == 0:
            break
    return new


def contract(graph: WeightedGraph, labels: NDArray[np.int32]) -> WeightedGraph:
    """Merge the nodes of each label into one; parallel edges into one with the sum of their weights.

    Parameters
    ----------
    labels : (n,) int32, every value in 0 <= label < clusters taken.

    Returns
    -------
    The graph of the clusters, lists in no order that counts. Edges inside a cluster are gone.
    """
    n = int(labels.max()) + 1 if labels.size else 0
    starts = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(labels, minlength=n), out=starts[1:])
    members = np.empty(labels.size, np.int64)
    _sort_by_label(labels, starts[:-1].copy(), members)
    # A row of the result has at most as many entries as its cluster had, so one buffer takes all rows. The system
    # gives no memory for what is not written.
    entries = graph.neighbor.size
    indptr, neighbor, weight = np.zeros(n + 1, np.int64), np.empty(entries, np.int32), np.empty(entries, np.int32)
    _contract(read_only(graph), labels, members, starts, indptr, neighbor, weight)
    volume = np.zeros(n, np.int64)
    np.add.at(volume, labels, graph.volume)
    return WeightedGraph(indptr, neighbor[: indptr[-1]], weight[: indptr[-1]], volume)


@kernel
def _choose(neighbor: In[np.int32], first: int, stop: int, hashes: Out[np.uint32], entries: Out[np.int64]) -> None:
    """Fill ``entries`` with the entries whose neighbours have the lowest hashes, whatever the order of the row."""
    count = 0
    for e in range(first, stop):
        entry_hash = np.uint32(np.uint32(neighbor[e]) * _ODD)  # the product is 64 bits wide
        if count == entries.size:
            if entry_hash >= hashes[count - 1]:
                continue
            count -= 1
        at = count
        while at > 0 and hashes[at - 1] > entry_hash:
            hashes[at], entries[at] = hashes[at - 1], entries[at - 1]
            at -= 1
        hashes[at], entries[at] = entry_hash, e
        count += 1


@kernel
def _propagate(
    graph: WeightedGraph,
    order: In[np.int64],
    max_volume: int,
    sample: int,
    must_fit: bool,
    labels: Out[np.int32],
    load: Out[np.int64],
) -> int:
    """One pass over all nodes; the number of nodes that moved.

    ``sample``: a node looks at this many neighbours at most, chosen by hash; 0: at all.
    ``must_fit``: nodes leave labels above ``max_volume`` even where it costs edges.
    """
    indptr, neighbor, edge_weight, volume = graph
    edge_sum = np.zeros(load.size, np.int32)  # edge weight that the node in hand shares with each label
    labels_around = np.empty(load.size + 1, np.int32)
    hashes, sampled_entries = np.empty(sample, np.uint32), np.empty(sample, np.int64)
    moves = 0
    for k in range(order.size):
        prefetch_element(indptr, order[min(k + 2 * _AHEAD, order.size - 1)])
        ahead = order[min(k + _AHEAD, order.size - 1)]
        prefetch_element(neighbor, indptr[ahead])
        v = order[k]
        own = labels[v]
        count = 0
        first, stop = indptr[v], indptr[v + 1]
        is_sampled = 0 < sample < stop - first
        if is_sampled:
            _choose(neighbor, first, stop, hashes, sampled_entries)
            first, stop = 0, sample
        for at in range(first, stop):
            e = sampled_entries[at] if is_sampled else at
            label = labels[neighbor[e]]
            is_loop = neighbor[e] == v
            # No branches: the processor would mispredict them, and then not load labels ahead.
            labels_around[count] = label
            count += (edge_sum[label] == 0) & (not is_loop)
            edge_sum[label] += 0 if is_loop else (edge_weight[e] if edge_weight.size else 1)
        is_pushed = must_fit and load[own] > max_volume and volume[v] > 0
        if is_pushed:
            lightest = np.argmin(load)
            if edge_sum[lightest] == 0:
                labels_around[count] = lightest
                count += 1
        best, most, best_hash = own, np.int32(-1) if is_pushed else edge_sum[own], np.uint64(0)
        for i in range(count):
            label = labels_around[i]
            weight = edge_sum[label]
            edge_sum[label] = 0
            if weight < most or label == own or load[label] + volume[v] > max_volume:
                continue
            if weight == most and best == own:
                continue  # no move without gain: passes end
            label_hash = mix(np.uint64(v) ^ (np.uint64(label) << np.uint64(32)))
            if weight > most or label_hash < best_hash:
                best, most, best_hash = label, weight, label_hash
        if best != own:
            load[own] -= volume[v]
            load[best] += volume[v]
            labels[v] = best
            moves += 1
    return moves


@kernel
def _renumber_labels(labels: Out[np.int32], load: Out[np.int64]) -> Out[np.int64]:
    """Replace the labels in use by 0, 1, ... in the order of their first row; return their loads."""
    number = np.full(load.size, -1, np.int32)
    new_load = np.empty(load.size, np.int64)
    count = 0
    for row in range(labels.size):
        label = labels[row]
        if number[label] < 0:
            number[label] = count
            new_load[count] = load[label]
            count += 1
        labels[row] = number[label]
    return new_load[:count].copy()


@kernel
def _sort_by_label(labels: In[np.int32], put: Out[np.int64], members: Out[np.int64]) -> None:
    for row in range(labels.size):
        members[put[labels[row]]] = row
        put[labels[row]] += 1


@kernel
def _contract(
    graph: WeightedGraph,
    labels: In[np.int32],
    members: In[np.int64],
    starts: In[np.int64],
    out_indptr: Out[np.int64],
    out_neighbor: Out[np.int32],
    out_weight: Out[np.int32],
) -> None:
    indptr, neighbor, edge_weight, _ = graph
    clusters = starts.size - 1
    edge_sum = np.zeros(clusters, np.int32)
    labels_around = np.empty(clusters + 1, np.int32)
    put = 0
    for cluster in range(clusters):
        count = 0
        for m in range(starts[cluster], starts[cluster + 1]):
            prefetch_element(indptr, members[min(m + 2 * _AHEAD, members.size - 1)])
            ahead = indptr[members[min(m + _AHEAD, members.size - 1)]]
            prefetch_element(neighbor, ahead)
            prefetch_element(neighbor, ahead + _LINE)
            v = members[m]
            for e in range(indptr[v], indptr[v + 1]):
                label = labels[neighbor[e]]
                is_inside = label == cluster
                labels_around[count] = label
                count += (edge_sum[label] == 0) & (not is_inside)
                edge_sum[label] += 0 if is_inside else (edge_weight[e] if edge_weight.size else 1)
        for label in labels_around[:count]:
            out_neighbor[put] = label
            out_weight[put] = edge_sum[label]
            edge_sum[label] = 0
            put += 1
        out_indptr[cluster + 1] = put
