"""Label propagation at a barrier: all nodes look at the labels of the last round, and moves are accepted in order.

Unlike :mod:`pipeline.kernels.label_propagation`, where nodes move one after the other, the answer does not
depend on how nodes are spread over calls: proposals are a function of the labels and loads at the barrier, and
of the moves to one label those with the most gain are accepted, ties by hash, as long as they fit.

Source: Meyerhenke, Sanders & Schulz, "Parallel graph partitioning for complex networks", IPDPS 2015
(arXiv 1404.4797).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel
from pipeline.kernels.hashing import mix, mixed_seed

#: Role of nodes whose edges with each other don't count; see :class:`pipeline.partitioning.pieces.Role`.
_SHARED = 1


@dataclass(frozen=True)
class Proposals:
    """Moves that nodes ask for, in ascending order of the label asked for, then by gain, hash and node."""

    node: NDArray[np.int32]
    label: NDArray[np.int32]
    gain: NDArray[np.int64]
    word: NDArray[np.uint64]  # hash of the node for this round
    volume: NDArray[np.int64]

    @classmethod
    def in_order(cls, *columns: NDArray[Any]) -> Proposals:
        """Sort columns of proposals, as the fields name them."""
        node, label, gain, word, _ = columns
        order = np.lexsort((node, word, -gain, label))
        sorted_columns: list[NDArray[Any]] = [column[order] for column in columns]
        return cls(*sorted_columns)

    def take(self, chosen: NDArray[np.bool_]) -> Proposals:
        """Return some of the proposals, in their order."""
        return Proposals(*(column[chosen] for column in vars(self).values()))


def proposed_moves(
    first: int,
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    edge_weight: NDArray[np.int64],
    volume: NDArray[np.int64],
    node_key: NDArray[np.uint64],
    role: NDArray[np.int8],
    labels: NDArray[np.int32],
    load: NDArray[np.int64],
    max_volume: int,
    seed: int,
    *,
    balance: bool,
) -> Proposals:
    """Return the moves that nodes of a range propose; about half of the nodes are asked in each round.

    A node asks for the label with which it shares the most edge weight, if that is more than with its own
    label and if it fits at the moment; ties by hash. That only half are asked keeps neighbours from changing
    places for ever.

    Parameters
    ----------
    first : number of the node in row 0.
    indptr, neighbor : (rows + 1,) int64, (entries,) int32 node numbers. Entries of a node with itself are ignored.
    edge_weight : (entries,) int64 above 0, or empty where every weight is 1.
    volume, node_key : (rows,) int64, uint64.
    role : (nodes,) int8 roles, or empty; entries between two nodes of role 1 are ignored.
    labels : (nodes,) int32 of all nodes; a node with a negative one stays.
    load : (labels,) int64 volume that each label has.
    max_volume : no label is to grow beyond.
    seed : another one in each round.
    balance : nodes also leave labels above ``max_volume``, by the share that is too much, wherever they fit.

    Cost
    ----
    One read of the entries of half of the rows, a hash table of the largest row.
    """
    rows = volume.size
    found: tuple[NDArray[Any], ...] = (
        np.empty(rows, np.int32),
        np.empty(rows, np.int32),
        np.empty(rows, np.int64),
        np.empty(rows, np.uint64),
        np.empty(rows, np.int64),
    )
    table = _table_for(indptr)
    count = _propose(
        first,
        indptr,
        neighbor,
        edge_weight,
        volume,
        node_key,
        role,
        labels,
        load,
        max_volume,
        mixed_seed(seed),
        balance,
        *table,
        *found,
    )
    return Proposals.in_order(*(column[:count] for column in found))


def favorites_of_lonely(
    first: int,
    indptr: NDArray[np.int64],
    neighbor: NDArray[np.int32],
    edge_weight: NDArray[np.int64],
    volume: NDArray[np.int64],
    node_key: NDArray[np.uint64],
    role: NDArray[np.int8],
    labels: NDArray[np.int32],
    load: NDArray[np.int64],
    seed: int,
) -> Proposals:
    """Return, of nodes that are alone in their label, the label they share the most with, whether or not they fit.

    Leaves of a star find no room at its hub; those with one favourite are put together by :func:`grouped`.
    Parameters as for :func:`proposed_moves`.
    """
    rows = volume.size
    found: tuple[NDArray[Any], ...] = (
        np.empty(rows, np.int32),
        np.empty(rows, np.int32),
        np.empty(rows, np.int64),
        np.empty(rows, np.uint64),
        np.empty(rows, np.int64),
    )
    table = _table_for(indptr)
    count = _favorites(
        first, indptr, neighbor, edge_weight, volume, node_key, role, labels, load, mixed_seed(seed), *table, *found
    )
    return Proposals.in_order(*(column[:count] for column in found))


def accepted(moves: Proposals, first_label: int, load: NDArray[np.int64], max_volume: int) -> NDArray[np.bool_]:
    """Return which moves are made: for each label the first in order, until one does not fit; volume 0 always fits.

    ``load`` is that of the labels from ``first_label`` on. Leaving does not make room before the next round, so
    that no label ever has more than ``max_volume`` because of a move.
    """
    chosen = np.zeros(moves.node.size, np.bool_)
    _accept(moves.label, moves.volume, first_label, load, max_volume, False, chosen)
    return chosen


def worth_sending(moves: Proposals, first_label: int, load: NDArray[np.int64], max_volume: int) -> NDArray[np.bool_]:
    """Return which of some moves matter where all moves to their labels are accepted; parameters as there.

    Those that would be accepted if there were no others, and for each label the first that does not fit: where
    all are together, it still shuts out what comes after it, whoever sends that.
    """
    chosen = np.zeros(moves.node.size, np.bool_)
    _accept(moves.label, moves.volume, first_label, load, max_volume, True, chosen)
    return chosen


def grouped(moves: Proposals, own_label: NDArray[np.int32], max_volume: int) -> NDArray[np.int32]:
    """Return new labels of nodes that were alone: those with one favourite share the label of one of them.

    Groups are filled in order up to ``max_volume``; ``own_label`` (moves,) int32 are the labels they have now.
    """
    label = np.empty(moves.node.size, np.int32)
    _group(moves.label, moves.volume, own_label, max_volume, label)
    return label


def _table_for(indptr: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Labels (-1: free) and weights of a hash table for the largest row, and the places in use."""
    largest = int(np.diff(indptr).max(initial=0))
    places = 1 << max(3, (2 * largest - 1).bit_length() if largest else 0)
    return np.full(places, -1, np.int32), np.zeros(places, np.int64), np.empty(max(largest, 1), np.int64)


@kernel
def _gather(
    v: int,
    row: int,
    indptr: In[np.int64],
    neighbor: In[np.int32],
    edge_weight: In[np.int64],
    role: In[np.int8],
    labels: In[np.int32],
    met: Out[np.int32],
    shared: Out[np.int64],
    used: Out[np.int64],
) -> int:
    """Sum the weights that a node shares with each label; the number of places in use."""
    # A mask for this row alone: small rows stay in the first cache lines of a table made for the largest.
    places = np.int64(8)
    while places < 2 * (indptr[row + 1] - indptr[row]):
        places *= 2
    mask = np.uint64(places - 1)
    count = 0
    for e in range(indptr[row], indptr[row + 1]):
        u = neighbor[e]
        if u == v or labels[u] < 0 or (role.size and role[u] == _SHARED and role[v] == _SHARED):
            continue
        label = labels[u]
        place = np.int64(mix(np.uint64(label)) & mask)
        while met[place] >= 0 and met[place] != label:
            place = np.int64(np.uint64(place + 1) & mask)
        if met[place] < 0:
            met[place] = label
            shared[place] = 0
            used[count] = place
            count += 1
        shared[place] += edge_weight[e] if edge_weight.size else 1
    return count


@kernel
def _propose(
    first: int,
    indptr: In[np.int64],
    neighbor: In[np.int32],
    edge_weight: In[np.int64],
    volume: In[np.int64],
    node_key: In[np.uint64],
    role: In[np.int8],
    labels: In[np.int32],
    load: In[np.int64],
    max_volume: int,
    seed: np.uint64,
    balance: bool,
    met: Out[np.int32],
    shared: Out[np.int64],
    used: Out[np.int64],
    out_node: Out[np.int32],
    out_label: Out[np.int32],
    out_gain: Out[np.int64],
    out_word: Out[np.uint64],
    out_volume: Out[np.int64],
) -> int:
    lightest = np.int32(np.argmin(load)) if balance else np.int32(-1)
    put = 0
    for row in range(volume.size):
        v = first + row
        own = labels[v]
        word = mix(node_key[row] ^ seed)
        if own < 0 or (word & np.uint64(1)) == np.uint64(0):
            continue
        excess = load[own] - max_volume
        # Twice the excess, since half of the nodes are asked; as a share of 2**20, kept in integers.
        is_pushed = (
            balance
            and excess > 0
            and volume[row] > 0
            and np.int64((word >> np.uint64(1)) & np.uint64(0xFFFFF)) < (2 * excess << 20) // load[own]
        )
        count = _gather(v, row, indptr, neighbor, edge_weight, role, labels, met, shared, used)
        with_own = np.int64(0)
        for i in range(count):
            if met[used[i]] == own:
                with_own = shared[used[i]]
        best, most, best_word = np.int32(-1), np.int64(-1) if is_pushed else with_own, np.uint64(0)
        for i in range(count):
            label, weight = met[used[i]], shared[used[i]]
            met[used[i]] = -1
            fits = volume[row] == 0 or load[label] + volume[row] <= max_volume
            if label == own or weight < most or not fits:
                continue
            if weight == most and best < 0:
                continue  # no move without gain: rounds end
            hashed = mix(word ^ mix(np.uint64(label)))
            if weight > most or hashed < best_word:
                best, most, best_word = label, weight, hashed
        if best < 0 and is_pushed and lightest != own and load[lightest] + volume[row] <= max_volume:
            best, most = lightest, np.int64(0)
        if best >= 0:
            out_node[put] = v
            out_label[put] = best
            out_gain[put] = most - with_own
            out_word[put] = word
            out_volume[put] = volume[row]
            put += 1
    return put


@kernel
def _favorites(
    first: int,
    indptr: In[np.int64],
    neighbor: In[np.int32],
    edge_weight: In[np.int64],
    volume: In[np.int64],
    node_key: In[np.uint64],
    role: In[np.int8],
    labels: In[np.int32],
    load: In[np.int64],
    seed: np.uint64,
    met: Out[np.int32],
    shared: Out[np.int64],
    used: Out[np.int64],
    out_node: Out[np.int32],
    out_label: Out[np.int32],
    out_gain: Out[np.int64],
    out_word: Out[np.uint64],
    out_volume: Out[np.int64],
) -> int:
    put = 0
    for row in range(volume.size):
        v = first + row
        own = labels[v]
        if own < 0 or volume[row] == 0 or load[own] != volume[row]:
            continue
        word = mix(node_key[row] ^ seed)
        count = _gather(v, row, indptr, neighbor, edge_weight, role, labels, met, shared, used)
        best, most, best_word = np.int32(-1), np.int64(0), np.uint64(0)
        for i in range(count):
            label, weight = met[used[i]], shared[used[i]]
            met[used[i]] = -1
            if label == own or weight < most:
                continue
            hashed = mix(word ^ mix(np.uint64(label)))
            if weight > most or hashed < best_word:
                best, most, best_word = label, weight, hashed
        if best >= 0:
            out_node[put] = v
            out_label[put] = best
            out_gain[put] = 0
            out_word[put] = word
            out_volume[put] = volume[row]
            put += 1
    return put


@kernel
def _accept(
    label: In[np.int32],
    volume: In[np.int64],
    first_label: int,
    load: In[np.int64],
    max_volume: int,
    with_first_over: bool,
    chosen: Out[np.bool_],
) -> None:
    room, is_full = np.int64(0), False
    for i in range(label.size):
        if i == 0 or label[i] != label[i - 1]:
            room, is_full = max_volume - load[label[i] - first_label], False
        if volume[i] == 0:
            chosen[i] = True
        elif not is_full:
            if volume[i] > room:
                is_full = True
                chosen[i] = with_first_over
            else:
                room -= volume[i]
                chosen[i] = True


@kernel
def _group(
    favorite: In[np.int32], volume: In[np.int64], own_label: In[np.int32], max_volume: int, label: Out[np.int32]
) -> None:
    current, total = np.int32(-1), np.int64(0)
    for i in range(favorite.size):
        if i == 0 or favorite[i] != favorite[i - 1] or total + volume[i] > max_volume:
            current, total = own_label[i], np.int64(0)
        label[i] = current
        total += volume[i]
