"""Better borders between parts, by what a border costs a run: exchanged rows.

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

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, inner_kernel, kernel, read_only
from pipeline.kernels.hashing import mix
from pipeline.kernels.neighbor_lists import WeightedGraph
from pipeline.kernels.prefetch import prefetch_element

#: Between rows and edges: of cut and copies on real graphs, neither is then much worse than its own optimum.
KEEP = 0.7

#: A row, in the unit that rows saved are counted in: what is read of a neighbour then is a byte for each part.
_ONE = 255
#: Counts from here on are a whole row; below, each is worth more than the one before.
_MOST_COUNT = 13
_COUNT = 2**32 - 1
#: Flags in the word of a node: it is whole; its table is dense, with a slot for each part; it has few neighbours.
WHOLE, DENSE, FEW = 1, 2, 4
#: A neighbour with more labels around it says little about any, and reading it would cost that many steps.
_MOST_LABELS = 64
#: A node with this many times fewer whole neighbours than parts has few: its own part's count is taken exactly.
_FEW_FROM = 4
#: A dense table is read ten times faster than a list of pairs that is read to its end, so it may be this many times
#: longer.
_DENSE_FROM = 8
#: The slots of a neighbour are prefetched so many neighbours before its turn, its word at twice this distance.
_AHEAD = 12


class _State(NamedTuple):
    """Where nodes are, and which labels are around each of them.

    The labels around node i stand from ``slot(word[i])`` on: ``counts`` and ``saves`` of every part if its table is
    dense, else ``used[i]`` ``pairs``. One word holds the slot and the flags: a pass is bound by what it fetches of
    each neighbour.
    """

    labels: Out[np.int32]  # (n,)
    load: Out[np.int64]  # (parts,) volume
    worth: Out[np.int32]  # by count of neighbours, the last for all counts from there on
    worth_minus_one: Out[np.int32]  # by the worth of a count, that of one neighbour fewer; of many, the same
    word: Out[np.int64]  # (n,) slot << 3 | flags
    pair_count: Out[np.int32]  # (n,) labels in the list of pairs
    pairs: Out[np.int64]  # label << 32 | count
    counts: Out[np.int32]
    saves: Out[np.uint8]  # worth of each of the counts


def refine_copies(
    graph: WeightedGraph, order: NDArray[np.int64], labels: NDArray[np.int32], parts: int, max_volume: int
) -> NDArray[np.int32]:
    """Move whole nodes, in one pass, to the parts where they save rows; parts above ``max_volume`` give nodes away.

    Parameters
    ----------
    graph : without loops; volume 0 marks shared nodes, which have no label of their own. Weights of edges don't count.
    order : (n,) int64, a permutation: the order of visits.
    labels : (n,) int32 in 0 <= label < parts to start from, left unchanged.
    max_volume : no part grows beyond it. A part that starts above it gives away, first of all, the nodes that
        lose least for their volume, as far as they fit elsewhere.

    Returns
    -------
    (n,) int32; labels of shared nodes as they were.

    Cost
    ----
    It reads all entries of whole nodes and, for each, the labels around the neighbour. At most
    40 B an entry; 28 B a node. Sums hold up to 2**23 neighbours.
    """
    graph = read_only(graph)
    n = graph.volume.size
    load = np.zeros(parts, np.int64)
    np.add.at(load, labels, graph.volume)
    word, pair_count, room = np.zeros(n, np.int64), np.zeros(n, np.int32), np.zeros(2, np.int64)
    _make_room(graph, parts, word, pair_count, room)
    whole = 1 - KEEP**_MOST_COUNT
    worth = np.array([round(_ONE * (1 - KEEP**count) / whole) for count in range(_MOST_COUNT + 1)], np.int32)
    worth_minus_one = np.arange(_ONE + 1, dtype=np.int32)
    worth_minus_one[worth[1:-1]] = worth[:-2]
    tables = np.zeros(room[0], np.int64), np.zeros(room[1], np.int32), np.zeros(room[1], np.uint8)
    state = _State(labels.copy(), load, worth, worth_minus_one, word, pair_count, *tables)
    _count_labels(graph, state)
    if load.max() > max_volume:
        _relieve_parts(graph, order, max_volume, state)
    _move_nodes(graph, order, max_volume, state)
    return state.labels


@inner_kernel
def slot(word: int) -> int:
    """Place in the tables where the labels around a node begin."""
    return word >> 3


@kernel
def _make_room(
    graph: WeightedGraph, parts: int, word: Out[np.int64], pair_count: Out[np.int32], room: Out[np.int64]
) -> None:
    """Fill ``word``, ``pair_count`` with the count of whole neighbours, ``room`` with the length of pairs and slots."""
    indptr, neighbor, _, volume = graph
    for v in range(volume.size):
        if volume[v] > 0:
            for e in range(indptr[v], indptr[v + 1]):
                pair_count[neighbor[e]] += 1
    pairs = slots = np.int64(0)
    for i in range(word.size):
        around = np.int64(pair_count[i])
        is_few = around * _FEW_FROM < parts
        if not is_few or (around * _DENSE_FROM >= parts and around <= _MOST_LABELS):
            word[i] = (slots << 3) | DENSE | (FEW if is_few else 0)
            slots += parts
        else:
            word[i] = pairs << 3
            pairs += around
        if volume[i] > 0:
            word[i] |= WHOLE
    room[0], room[1] = pairs, slots


@inner_kernel
def _add(i: int, label: int, step: int, state: _State) -> None:
    """Add ``step``, 1 or -1, to the count of a label around node i."""
    worth, pair_count, pairs, counts = state.worth, state.pair_count, state.pairs, state.counts
    s = slot(state.word[i])
    if state.word[i] & DENSE:
        counts[s + label] += step
        state.saves[s + label] = worth[min(counts[s + label], worth.size - 1)]
        return
    end = s + pair_count[i]
    while s < end and pairs[s] >> 32 != label:
        s += 1
    if s == end:
        pairs[s] = np.int64(label) << 32
        pair_count[i] += 1
    pairs[s] += step
    if pairs[s] & _COUNT == 0:
        pair_count[i] -= 1
        pairs[s] = pairs[slot(state.word[i]) + pair_count[i]]


@kernel
def _count_labels(graph: WeightedGraph, state: _State) -> None:
    """Fill the tables of all nodes."""
    indptr, neighbor, _, volume = graph
    worth, pair_count = state.worth, state.pair_count
    parts = state.load.size
    around = np.zeros(parts + 1, np.int32)
    labels_around = np.empty(parts + 1, np.int32)
    label_of = np.empty(volume.size, np.int32)  # and one more for all shared nodes
    for i in range(volume.size):
        label_of[i] = state.labels[i] if volume[i] > 0 else parts
    around[parts] = 1
    for i in range(volume.size):
        first, count = slot(state.word[i]), 0
        if pair_count[i] == 0:
            continue
        for e in range(indptr[i], indptr[i + 1]):
            label = label_of[neighbor[e]]
            labels_around[count] = label
            count += around[label] == 0
            around[label] += 1
        around[parts] = 1
        for m in range(count):
            label = labels_around[m]
            if state.word[i] & DENSE:
                state.counts[first + label] = around[label]
                state.saves[first + label] = worth[min(around[label], worth.size - 1)]
            else:
                state.pairs[first + m] = (np.int64(label) << 32) | around[label]
            around[label] = 0
        pair_count[i] = count


@inner_kernel
def _sum_saves(v: int, graph: WeightedGraph, state: _State, gains: Out[np.int32], beside: Out[np.int32]) -> None:
    """Fill ``gains`` with the rows that ``v`` saves in each part, as if it had none yet; ``beside`` is 0 again."""
    indptr, neighbor = graph.indptr, graph.neighbor
    labels, word, pair_count, pairs = state.labels, state.word, state.pair_count, state.pairs
    worth, worth_minus_one, saves = state.worth, state.worth_minus_one, state.saves
    own, most, parts = labels[v], worth.size - 1, gains.size
    gains[:] = 0
    first = slot(word[v])
    if word[v] & DENSE:  # a node is no ghost where it is at home
        row = saves[first : first + parts]
        for label in range(parts):
            gains[label] += row[label]
    else:
        for pair in pairs[first : first + pair_count[v]]:
            gains[pair >> 32] += worth[min(pair & _COUNT, most)]
    last = neighbor.size - 1
    # What concerns single parts goes beside the sums: the processor would have to wait for a part's new sum before
    # it could read it with its neighbours.
    for e in range(indptr[v], indptr[v + 1]):
        prefetch_element(word, neighbor[min(e + 2 * _AHEAD, last)])
        prefetch_element(saves, slot(word[neighbor[min(e + _AHEAD, last)]]))
        i = neighbor[e]
        first = slot(word[i])
        home = np.int64(labels[i]) if word[i] & WHOLE else np.int64(-1)
        if word[i] & DENSE:
            row = saves[first : first + parts]  # the loop over a slice becomes vector instructions
            for label in range(parts):
                gains[label] += row[label]
            if home != own:
                beside[own] -= row[own] - worth_minus_one[row[own]]
                if word[i] & FEW and row[own] == _ONE and state.counts[first + own] == most:  # one fewer is worth less
                    beside[own] -= worth[most] - worth[most - 1]
            if home >= 0:  # there, its neighbour is no ghost either, however many neighbours that one has
                beside[home] += _ONE - row[home]
        elif pair_count[i] <= _MOST_LABELS:
            for pair in pairs[first : first + pair_count[i]]:
                label = pair >> 32
                if label != home:
                    beside[label] += worth[min((pair & _COUNT) - (label == own), most)]
            if home >= 0:
                beside[home] += _ONE
        elif home >= 0:
            beside[home] += _ONE
    for label in range(parts):
        gains[label] += beside[label]
        beside[label] = 0


@inner_kernel
def _relabel(v: int, label: int, graph: WeightedGraph, state: _State) -> None:
    indptr, neighbor, _, volume = graph
    labels, load = state.labels, state.load
    load[labels[v]] -= volume[v]
    load[label] += volume[v]
    last = indptr[v + 1] - 1
    for e in range(indptr[v], last + 1):
        ahead = slot(state.word[neighbor[min(e + _AHEAD, last)]])
        prefetch_element(state.counts, ahead + labels[v])
        prefetch_element(state.counts, ahead + label)
        _add(neighbor[e], labels[v], -1, state)
        _add(neighbor[e], label, 1, state)
    labels[v] = label


@kernel
def _move_nodes(graph: WeightedGraph, order: In[np.int64], max_volume: int, state: _State) -> None:
    """Visit all nodes in order."""
    volume, labels, load = graph.volume, state.labels, state.load
    gains, beside = np.zeros(load.size, np.int32), np.zeros(load.size, np.int32)
    for v in order:
        if volume[v] == 0:
            continue
        _sum_saves(v, graph, state, gains, beside)
        own = labels[v]
        if gains.max() == gains[own]:
            continue
        best, best_hash = own, np.uint64(0)
        for label in range(load.size):
            if gains[label] <= gains[own] or gains[label] < gains[best] or load[label] + volume[v] > max_volume:
                continue
            label_hash = mix(np.uint64(v) ^ (np.uint64(label) << np.uint64(32)))
            if gains[label] > gains[best] or label_hash < best_hash:
                best, best_hash = label, label_hash
        if best != own:
            _relabel(v, int(best), graph, state)


@kernel
def _relieve_parts(graph: WeightedGraph, order: In[np.int64], max_volume: int, state: _State) -> None:
    """Move nodes out of parts above ``max_volume``, those first that lose least for their volume."""
    volume, labels, load = graph.volume, state.labels, state.load
    gains, beside = np.zeros(load.size, np.int32), np.zeros(load.size, np.int32)
    candidates = 0
    for v in order:
        candidates += volume[v] > 0 and load[labels[v]] > max_volume
    nodes = np.empty(candidates, np.int64)
    loss = np.empty(candidates, np.float64)
    put = 0
    for v in order:
        if volume[v] == 0 or load[labels[v]] <= max_volume:
            continue
        _sum_saves(v, graph, state, gains, beside)
        elsewhere = np.int32(0)
        for label in range(load.size):
            if label != labels[v] and load[label] + volume[v] <= max_volume:
                elsewhere = max(elsewhere, gains[label])
        nodes[put] = v
        loss[put] = (gains[labels[v]] - elsewhere) / volume[v]
        put += 1
    for at in np.argsort(loss, kind="mergesort"):
        v = nodes[at]
        own = labels[v]
        if load[own] <= max_volume:
            continue
        _sum_saves(v, graph, state, gains, beside)
        best = np.argmin(load)  # where none of its neighbours may be
        for label in range(load.size):
            if label == own or load[label] + volume[v] > max_volume or gains[label] < gains[best]:
                continue
            if gains[label] > gains[best] or load[label] < load[best] or (load[label] == load[best] and label < best):
                best = np.int64(label)
        if best != own and load[best] + volume[v] <= max_volume:
            _relabel(v, int(best), graph, state)
