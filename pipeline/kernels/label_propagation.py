"""Size-constrained label propagation: clusters to coarsen a graph by, and better borders between parts.

Nodes move one after the other, in the order given, each to the label with which it shares the most edge
weight and where it still fits. One thread, integers only, ties by hash: the labels are a function of the
arguments.

Source: Meyerhenke, Sanders & Schulz, "Partitioning complex networks via size-constrained clustering",
SEA 2014 (arXiv 1402.3281).
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from pipeline.kernels.array_types import reads, writes
from pipeline.kernels.hashing import mix

_INT32, _INT64 = reads(types.int32), reads(types.int64)
_TO_INT32, _TO_INT64 = writes(types.int32), writes(types.int64)

#: In the first pass nearly all labels differ, and whom a node joins is chance: a few neighbours will do.
_SAMPLE = 4
_ALL = 2**62


def clusters(
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    edge_weight: NDArray[np.int32] | None,
    volume: NDArray[np.int64],
    order: NDArray[np.int64],
    max_volume: int,
    passes: int,
) -> NDArray[np.int32]:
    """Cluster a graph so that no cluster of two nodes or more has a volume above ``max_volume``.

    Parameters
    ----------
    indptr, neighbor : (n + 1,) int64, (entries,) int32: adjacency, each edge in both rows. Entries of a row
        with itself are ignored.
    edge_weight : (entries,) int32 above 0, below 2**31 in sum over any row, or None where every weight is 1.
    volume : (n,) int64, 0 or more. A node above ``max_volume`` stays with nodes of volume 0.
    order : (n,) int64, a permutation: the order of visits. Hash order keeps clusters from growing along ids.
    passes : most visits to every node; fewer if a pass moves no node.

    Returns
    -------
    (n,) int32 labels 0, 1, ... numbered by their lowest row.

    Cost
    ----
    ``passes`` reads of all entries, 20 B a node.
    """
    labels = np.arange(volume.size, dtype=np.int32)
    load = volume.copy()
    weight = _weights(edge_weight)
    for number in range(passes):
        sample = _ALL if number else _SAMPLE
        moved = _propagate(indptr, neighbor, weight, volume, order, max_volume, sample, False, labels, load)
        # Fewer labels after each pass: what the next one keeps for each of them then fits the cache.
        load = _renumbered(labels, load)
        if moved == 0:
            break
    return labels


def refined(
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    edge_weight: NDArray[np.int32] | None,
    volume: NDArray[np.int64],
    order: NDArray[np.int64],
    labels: NDArray[np.int32],
    parts: int,
    max_volume: int,
    passes: int,
) -> NDArray[np.int32]:
    """Move nodes to the parts where their neighbours are; parts above ``max_volume`` give nodes away.

    Arguments as for :func:`clusters`. ``labels`` (n,) int32 are the parts to start from, left unchanged.
    No part grows beyond ``max_volume``; one that starts above it shrinks as far as its nodes fit elsewhere,
    which nodes larger than the room left may not.

    Returns
    -------
    (n,) int32 in 0 <= label < parts.
    """
    moved = labels.copy()
    load = np.zeros(parts, np.int64)
    np.add.at(load, labels, volume)
    weight = _weights(edge_weight)
    for _ in range(passes):
        if _propagate(indptr, neighbor, weight, volume, order, max_volume, _ALL, True, moved, load) == 0:
            break
    return moved


def contract(
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    edge_weight: NDArray[np.int32] | None,
    labels: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Merge the nodes of each label into one; parallel edges into one with the sum of their weights.

    Parameters
    ----------
    labels : (n,) int32, every value in 0 <= label < clusters taken. The rest as for :func:`clusters`.

    Returns
    -------
    indptr (clusters + 1,) int64, neighbor int32 ascending in each row, weight int32. Edges inside a cluster
    are gone. The sum of all weights is below 2**31, as METIS wants it too.
    """
    n = int(labels.max()) + 1 if labels.size else 0
    members = np.argsort(labels, kind="stable").astype(np.int64)
    starts = np.searchsorted(labels, np.arange(n + 1), sorter=members)
    # A row of the result has at most as many entries as its cluster had, so one buffer takes all rows.
    merged_neighbor = np.empty(neighbor.size, np.int32)
    merged_weight = np.empty(neighbor.size, np.int32)
    merged_indptr = np.zeros(n + 1, np.int64)
    merged = merged_indptr, merged_neighbor, merged_weight
    _contract(indptr, neighbor, _weights(edge_weight), labels, members, starts, *merged)
    entries = int(merged_indptr[-1])
    return merged_indptr, merged_neighbor[:entries].copy(), merged_weight[:entries].copy()


def _weights(edge_weight: NDArray[np.int32] | None) -> NDArray[np.int32]:
    return np.empty(0, np.int32) if edge_weight is None else edge_weight


@njit(
    types.int64(_INT64, _INT32, _INT32, _INT64, _INT64, types.int64, types.int64, types.boolean, _TO_INT32, _TO_INT64),
    nogil=True,
    cache=True,
)
def _propagate(  # type: ignore
    indptr, neighbor, edge_weight, volume, order, max_volume, sample, must_fit, labels, load
):
    """One pass over all nodes; the number of nodes that moved.

    ``sample``: a node asks about this many neighbours at most, evenly spread over its row.
    ``must_fit``: nodes leave labels above ``max_volume`` even where it costs edges.
    """
    shared = np.zeros(load.size, np.int32)  # edge weight that the node in hand shares with each label
    met = np.empty(load.size, np.int32)
    moved = 0
    for v in order:
        own = labels[v]
        count = 0
        step = 1 + max(0, indptr[v + 1] - indptr[v] - 1) // sample
        for e in range(indptr[v], indptr[v + 1], step):
            if neighbor[e] == v:
                continue
            label = labels[neighbor[e]]
            if shared[label] == 0:
                met[count] = label
                count += 1
            shared[label] += edge_weight[e] if edge_weight.size else 1
        is_pushed = must_fit and load[own] > max_volume and volume[v] > 0
        if is_pushed:
            lightest = np.argmin(load)
            if shared[lightest] == 0:
                met[count] = lightest
                count += 1
        best, most, best_hash = own, np.int32(-1) if is_pushed else shared[own], np.uint64(0)
        for i in range(count):
            label = met[i]
            if label == own or shared[label] < most or load[label] + volume[v] > max_volume:
                continue
            if shared[label] == most and best == own:
                continue  # no move without gain: passes end
            hashed = mix(np.uint64(v) ^ (np.uint64(label) << np.uint64(32)))
            if shared[label] > most or hashed < best_hash:
                best, most, best_hash = label, shared[label], hashed
        for i in range(count):
            shared[met[i]] = 0
        if best != own:
            load[own] -= volume[v]
            load[best] += volume[v]
            labels[v] = best
            moved += 1
    return moved


@njit(_TO_INT64(_TO_INT32, _TO_INT64), nogil=True, cache=True)
def _renumbered(labels, load):  # type: ignore
    """Replace the labels in use by 0, 1, ... in the order of their first row; return their loads."""
    number = np.full(load.size, -1, np.int32)
    renumbered = np.empty(load.size, np.int64)
    used = 0
    for row in range(labels.size):
        label = labels[row]
        if number[label] < 0:
            number[label] = used
            renumbered[used] = load[label]
            used += 1
        labels[row] = number[label]
    return renumbered[:used].copy()


@njit(
    types.void(
        _INT64,
        _INT32,
        _INT32,
        _INT32,
        _INT64,
        _INT64,
        _TO_INT64,
        _TO_INT32,
        _TO_INT32,
    ),
    nogil=True,
    cache=True,
)
def _contract(  # type: ignore
    indptr, neighbor, edge_weight, labels, members, starts, out_indptr, out_neighbor, out_weight
):
    clusters = starts.size - 1
    shared = np.zeros(clusters, np.int32)
    met = np.empty(clusters, np.int32)
    put = 0
    for cluster in range(clusters):
        count = 0
        for m in range(starts[cluster], starts[cluster + 1]):
            v = members[m]
            for e in range(indptr[v], indptr[v + 1]):
                label = labels[neighbor[e]]
                if label == cluster:
                    continue
                if shared[label] == 0:
                    met[count] = label
                    count += 1
                shared[label] += edge_weight[e] if edge_weight.size else 1
        for label in np.sort(met[:count]):
            out_neighbor[put] = label
            out_weight[put] = shared[label]
            shared[label] = 0
            put += 1
        out_indptr[cluster + 1] = put
