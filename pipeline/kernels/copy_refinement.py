"""Better borders between parts, by what a border costs a run: the rows that travel.

A node whose neighbours are in several parts costs a row for each part beyond its home: as a copy if the node is
shared, as a ghost if it is whole. Moving a node saves such a row only where it is the last of its neighbour's
neighbours in the old part, so most moves would gain nothing until several nodes have followed. What is minimised
is therefore smooth: a part with c of a node's neighbours counts as ``1 - KEEP**c`` of a row. With ``KEEP`` near 0
these are the rows; near 1, the edges between parts.

Nodes move one after the other, in the order given: one thread, integers only, so that the labels are a function
of the arguments.

Source: Kabiljo et al., "Social Hash Partitioner: a scalable distributed hypergraph partitioner", PVLDB 10(11),
2017 (arXiv 1707.06665), section 3.1, for shared nodes; whole ones count in the same way here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel
from pipeline.kernels.hashing import mix
from pipeline.kernels.prefetch import prefetch_element

#: Between rows and edges: of cut and copies on real graphs, neither is then much worse than its own optimum.
KEEP = 0.7


#: A row, in the unit that rows saved are counted in: what is read of a neighbour then is a byte for each part.
_ONE = 255
#: Counts from here on are a whole row; below, each is worth more than the one before.
_MOST_COUNT = 13
_COUNT = 2**32 - 1
#: Flags in the word of a node: whole; with a slot for each part.
_WHOLE, _EACH = 1, 2
#: A neighbour with more labels around it says little about any, and reading it would cost that many steps.
_MOST_LABELS = 64
#: A slot for each part is read ten times faster than a list, so it may be this many times longer.
_EACH_FROM = 4
#: So many neighbours before its turn, the place of a row is asked for at twice this distance, then the row.
_AHEAD = 12


def refined_for_copies(
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    volume: NDArray[np.int64],
    order: NDArray[np.int64],
    labels: NDArray[np.int32],
    parts: int,
    max_volume: int,
    passes: int,
) -> NDArray[np.int32]:
    """Move whole nodes to the parts where they save rows; parts above ``max_volume`` give nodes away.

    Parameters
    ----------
    indptr, neighbor : (n + 1,) int64, (entries,) int32: adjacency, each edge in both rows. No loops.
    volume : (n,) int64; 0 marks shared nodes, which have no label of their own.
    order : (n,) int64, a permutation: the order of visits.
    labels : (n,) int32 in 0 <= label < parts to start from, left unchanged.
    max_volume : no part grows beyond it. A part that starts above it gives away, first of all, the nodes that
        lose least for their volume, as far as they fit elsewhere.
    passes : most visits to every node; fewer if a pass moves no node.

    Returns
    -------
    (n,) int32; labels of shared nodes as they were.

    Cost
    ----
    A pass reads all entries of whole nodes and, for each, the labels around the neighbour. At most
    20 B an entry; 28 B a node. Sums hold up to 2**23 neighbours.
    """
    found = labels.copy()
    load = np.zeros(parts, np.int64)
    np.add.at(load, labels, volume)
    # What is around node i: counts and saves of each part from where[i] >> 2, if it has many neighbours (_EACH);
    # else used[i] pairs from there, label << 32 | count. One word says where, and whether i is whole: a pass is bound
    # by what it has to fetch of each neighbour.
    where = np.zeros(volume.size, np.int64)
    used = np.zeros(volume.size, np.int32)
    room = np.zeros(2, np.int64)
    _make_room(indptr, neighbor, volume, parts, where, used, room)
    whole = 1 - KEEP**_MOST_COUNT
    worth = np.array([round(_ONE * (1 - KEEP**count) / whole) for count in range(_MOST_COUNT + 1)], np.int32)
    less = np.arange(_ONE + 1, dtype=np.int32)  # the worth of a neighbour fewer; of many, the same
    less[worth[1:-1]] = worth[:-2]
    labels_around = np.zeros(room[0], np.int64), np.zeros(room[1], np.int32), np.zeros(room[1], np.uint8)
    table = worth, where, used, *labels_around
    state = found, load, less, *table
    _count_labels(indptr, neighbor, volume, found, parts, *table)
    for _ in range(passes):
        if load.max() > max_volume:
            _relieve(indptr, neighbor, volume, order, max_volume, *state)
        if _move(indptr, neighbor, volume, order, max_volume, *state) == 0:
            break
    return found


@kernel
def _make_room(
    indptr: In[np.int64],
    neighbor: In[np.int32],
    volume: In[np.int64],
    parts: int,
    where: Out[np.int64],
    used: Out[np.int32],
    room: Out[np.int64],
) -> None:
    """Fill ``where``, ``used`` with the number of whole neighbours, and ``room`` with what pairs, and slots, take."""
    for v in range(volume.size):
        if volume[v] > 0:
            for e in range(indptr[v], indptr[v + 1]):
                used[neighbor[e]] += 1
    pairs = each = np.int64(0)
    for i in range(where.size):
        around = np.int64(used[i])
        if around * _EACH_FROM >= parts:
            where[i] = (each << 2) | _EACH
            each += parts
        else:
            where[i] = pairs << 2
            pairs += around
        if volume[i] > 0:
            where[i] |= _WHOLE
    room[0], room[1] = pairs, each


@kernel
def _add(
    i: int,
    label: np.int32,
    step: int,
    worth: In[np.int32],
    where: In[np.int64],
    used: Out[np.int32],
    pairs: Out[np.int64],
    counts: Out[np.int32],
    saves: Out[np.uint8],
) -> None:
    """Add ``step``, 1 or -1, to the count of a label around node i."""
    s = where[i] >> 2
    if where[i] & _EACH:
        counts[s + label] += step
        saves[s + label] = worth[min(counts[s + label], worth.size - 1)]
        return
    end = s + used[i]
    while s < end and pairs[s] >> 32 != label:
        s += 1
    if s == end:
        pairs[s] = np.int64(label) << 32
        used[i] += 1
    pairs[s] += step
    if pairs[s] & _COUNT == 0:
        used[i] -= 1
        pairs[s] = pairs[(where[i] >> 2) + used[i]]


@kernel
def _count_labels(
    indptr: In[np.int64],
    neighbor: In[np.int32],
    volume: In[np.int64],
    labels: In[np.int32],
    parts: int,
    worth: In[np.int32],
    where: In[np.int64],
    used: Out[np.int32],
    pairs: Out[np.int64],
    counts: Out[np.int32],
    saves: Out[np.uint8],
) -> None:
    around = np.zeros(parts + 1, np.int32)
    met = np.empty(parts + 1, np.int32)
    whole = np.empty(volume.size, np.int32)  # labels, and one more for all shared nodes
    for i in range(volume.size):
        whole[i] = labels[i] if volume[i] > 0 else parts
    around[parts] = 1
    for i in range(volume.size):
        first, count = where[i] >> 2, 0
        if used[i] == 0:
            continue
        for e in range(indptr[i], indptr[i + 1]):
            label = whole[neighbor[e]]
            met[count] = label
            count += around[label] == 0
            around[label] += 1
        around[parts] = 1
        for m in range(count):
            label = met[m]
            if where[i] & _EACH:
                counts[first + label] = around[label]
                saves[first + label] = worth[min(around[label], worth.size - 1)]
            else:
                pairs[first + m] = (np.int64(label) << 32) | around[label]
            around[label] = 0
        used[i] = count


@kernel
def _gather(
    v: int,
    indptr: In[np.int64],
    neighbor: In[np.int32],
    labels: In[np.int32],
    less: In[np.int32],
    worth: In[np.int32],
    where: In[np.int64],
    used: Out[np.int32],
    pairs: Out[np.int64],
    counts: Out[np.int32],
    saves: Out[np.uint8],
    saved: Out[np.int32],
    beside: Out[np.int32],
) -> None:
    """Fill ``saved`` with the rows that ``v`` saves in each part, as if it had none yet; ``beside`` is 0 again."""
    own, most, parts = labels[v], worth.size - 1, saved.size
    saved[:] = 0
    first = where[v] >> 2
    if where[v] & _EACH:  # a node is no ghost where it is at home
        row = saves[first : first + parts]
        for label in range(parts):
            saved[label] += row[label]
    else:
        for pair in pairs[first : first + used[v]]:
            saved[pair >> 32] += worth[min(pair & _COUNT, most)]
    last = neighbor.size - 1
    # What concerns single parts goes beside the sums: the processor would have to wait for a part's new sum before
    # it could read it with its neighbours.
    for e in range(indptr[v], indptr[v + 1]):
        prefetch_element(where, neighbor[min(e + 2 * _AHEAD, last)])
        prefetch_element(saves, where[neighbor[min(e + _AHEAD, last)]] >> 2)
        i = neighbor[e]
        first = where[i] >> 2
        home = np.int64(labels[i]) if where[i] & _WHOLE else np.int64(-1)
        if where[i] & _EACH:
            row = saves[first : first + parts]  # the loop over a slice becomes vector instructions
            for label in range(parts):
                saved[label] += row[label]
            if home != own:
                beside[own] -= row[own] - less[row[own]]
            if home >= 0:  # there, its neighbour is no ghost either, however many neighbours that one has
                beside[home] += _ONE - row[home]
        elif used[i] <= _MOST_LABELS:
            for pair in pairs[first : first + used[i]]:
                label = pair >> 32
                if label != home:
                    beside[label] += worth[min((pair & _COUNT) - (label == own), most)]
            if home >= 0:
                beside[home] += _ONE
        elif home >= 0:
            beside[home] += _ONE
    for label in range(parts):
        saved[label] += beside[label]
        beside[label] = 0


@kernel
def _relabel(
    v: int,
    label: np.int32,
    indptr: In[np.int64],
    neighbor: In[np.int32],
    volume: In[np.int64],
    labels: Out[np.int32],
    load: Out[np.int64],
    less: In[np.int32],
    worth: In[np.int32],
    where: In[np.int64],
    used: Out[np.int32],
    pairs: Out[np.int64],
    counts: Out[np.int32],
    saves: Out[np.uint8],
) -> None:
    load[labels[v]] -= volume[v]
    load[label] += volume[v]
    last = indptr[v + 1] - 1
    for e in range(indptr[v], last + 1):
        ahead = where[neighbor[min(e + _AHEAD, last)]] >> 2
        prefetch_element(counts, ahead + labels[v])
        prefetch_element(counts, ahead + label)
        _add(neighbor[e], labels[v], -1, worth, where, used, pairs, counts, saves)
        _add(neighbor[e], label, 1, worth, where, used, pairs, counts, saves)
    labels[v] = label


@kernel
def _move(
    indptr: In[np.int64],
    neighbor: In[np.int32],
    volume: In[np.int64],
    order: In[np.int64],
    max_volume: int,
    labels: Out[np.int32],
    load: Out[np.int64],
    less: In[np.int32],
    worth: In[np.int32],
    where: In[np.int64],
    used: Out[np.int32],
    pairs: Out[np.int64],
    counts: Out[np.int32],
    saves: Out[np.uint8],
) -> int:
    """One pass over all nodes; the number of nodes that moved."""
    saved, beside = np.zeros(load.size, np.int32), np.zeros(load.size, np.int32)
    moved = 0
    for v in order:
        if volume[v] == 0:
            continue
        _gather(v, indptr, neighbor, labels, less, worth, where, used, pairs, counts, saves, saved, beside)
        own = labels[v]
        if saved.max() == saved[own]:
            continue
        best, best_hash = own, np.uint64(0)
        for label in range(load.size):
            # No move without gain: passes end.
            if saved[label] <= saved[own] or saved[label] < saved[best] or load[label] + volume[v] > max_volume:
                continue
            hashed = mix(np.uint64(v) ^ (np.uint64(label) << np.uint64(32)))
            if saved[label] > saved[best] or hashed < best_hash:
                best, best_hash = label, hashed
        if best != own:
            _relabel(v, best, indptr, neighbor, volume, labels, load, less, worth, where, used, pairs, counts, saves)
            moved += 1
    return moved


@kernel
def _relieve(
    indptr: In[np.int64],
    neighbor: In[np.int32],
    volume: In[np.int64],
    order: In[np.int64],
    max_volume: int,
    labels: Out[np.int32],
    load: Out[np.int64],
    less: In[np.int32],
    worth: In[np.int32],
    where: In[np.int64],
    used: Out[np.int32],
    pairs: Out[np.int64],
    counts: Out[np.int32],
    saves: Out[np.uint8],
) -> None:
    """Move nodes out of parts above ``max_volume``, those first that lose least for their volume."""
    saved, beside = np.zeros(load.size, np.int32), np.zeros(load.size, np.int32)
    candidates = 0
    for v in order:
        candidates += volume[v] > 0 and load[labels[v]] > max_volume
    nodes = np.empty(candidates, np.int64)
    loss = np.empty(candidates, np.float64)
    put = 0
    for v in order:
        if volume[v] == 0 or load[labels[v]] <= max_volume:
            continue
        _gather(v, indptr, neighbor, labels, less, worth, where, used, pairs, counts, saves, saved, beside)
        elsewhere = np.int32(0)
        for label in range(load.size):
            if label != labels[v] and load[label] + volume[v] <= max_volume:
                elsewhere = max(elsewhere, saved[label])
        nodes[put] = v
        loss[put] = (saved[labels[v]] - elsewhere) / volume[v]
        put += 1
    for at in np.argsort(loss, kind="mergesort"):
        v = nodes[at]
        own = labels[v]
        if load[own] <= max_volume:
            continue
        _gather(v, indptr, neighbor, labels, less, worth, where, used, pairs, counts, saves, saved, beside)
        best = np.argmin(load)  # where none of its neighbours may be
        for label in range(load.size):
            if label == own or load[label] + volume[v] > max_volume or saved[label] < saved[best]:
                continue
            if saved[label] > saved[best] or load[label] < load[best] or (load[label] == load[best] and label < best):
                best = np.int64(label)
        if best != own and load[best] + volume[v] <= max_volume:
            _relabel(
                v,
                np.int32(best),
                indptr,
                neighbor,
                volume,
                labels,
                load,
                less,
                worth,
                where,
                used,
                pairs,
                counts,
                saves,
            )
