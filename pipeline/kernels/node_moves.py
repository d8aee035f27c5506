"""Label propagation at a barrier: all nodes look at the labels of the last round, and moves are chosen in order.

Unlike :mod:`pipeline.kernels.label_propagation`, where nodes move one after the other, the answer does not
depend on how nodes are spread over calls: proposals are a function of the labels and loads at the barrier, and
of the moves to one label those with the most gain are made, ties by hash, as long as they fit.

Source: Meyerhenke, Sanders & Schulz, "Parallel graph partitioning for complex networks", IPDPS 2015
(arXiv 1404.4797).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, inner_kernel, kernel
from pipeline.kernels.hashing import mix, mixed_seed

#: Role of nodes whose edges with each other don't count; see :class:`pipeline.partitioning.pieces.Role`.
_SHARED = 1


class NodeBlock(NamedTuple):
    """A range of nodes with their adjacency."""

    first: int  # number of the node in row 0
    indptr: In[np.int64]  # (rows + 1,)
    neighbor: In[np.int32]  # (entries,) node numbers, ascending in each row
    edge_weight: In[np.int64]  # (entries,) above 0, or empty where every weight is 1
    volume: In[np.int64]  # (rows,)
    node_key: In[np.uint64]  # (rows,)
    role: In[np.int8]  # (nodes,) of all nodes, or empty

    @property
    def rows(self) -> int:
        """Nodes of the range."""
        return self.volume.size

    def node_of_entries(self) -> NDArray[np.int32]:
        """Return the node of each entry; (entries,) int32."""
        return np.repeat(np.arange(self.first, self.first + self.rows, dtype=np.int32), np.diff(self.indptr))


class Proposals(NamedTuple):
    """Moves that nodes propose, in ascending order of the label they would take, then by gain, hash and node."""

    node: Out[np.int32]
    label: Out[np.int32]
    gain: Out[np.int64]
    word: Out[np.uint64]  # hash of the node for this round
    volume: Out[np.int64]

    @classmethod
    def in_order(cls, *columns: NDArray[Any]) -> Proposals:
        """Sort columns of proposals, as the fields name them."""
        node, label, gain, word, _ = columns
        order = np.lexsort((node, word, -gain, label))
        sorted_columns: list[NDArray[Any]] = [column[order] for column in columns]
        return cls(*sorted_columns)

    def take(self, is_chosen: NDArray[np.bool_]) -> Proposals:
        """Return some of the proposals, in their order."""
        columns: list[NDArray[Any]] = [column[is_chosen] for column in self]
        return Proposals(*columns)


def propose_moves(
    block: NodeBlock,
    labels: NDArray[np.int32],
    load: NDArray[np.int64],
    max_volume: int,
    seed: int,
    *,
    is_refining: bool,
) -> Proposals:
    """Return the moves that nodes of a block propose; about half of the nodes take part in each round.

    A node proposes the label with which it shares the most edge weight, if that is more than with its own
    label and if it fits at the moment; ties by hash. That only half take part keeps neighbours from changing
    places for ever.

    Parameters
    ----------
    block : read-only. Entries of a node with itself are ignored, and those between two nodes of role 1.
    labels : (nodes,) int32 of all nodes; a node with a negative one stays.
    load : (labels,) int64 volume that each label has.
    max_volume : no label is to grow beyond.
    seed : another one in each round.
    is_refining : nodes also leave labels above ``max_volume``, by the share that is too much, wherever they fit.

    Cost
    ----
    One read of the entries of half of the rows, a hash table of the largest row.
    """
    moves = _empty_proposals(block.rows)
    count = _propose(block, labels, load, max_volume, mixed_seed(seed), is_refining, _table_for(block), moves)
    return Proposals.in_order(*(column[:count] for column in moves))


def propose_favorites(block: NodeBlock, labels: NDArray[np.int32], load: NDArray[np.int64], seed: int) -> Proposals:
    """Return, of nodes that are alone in their label, the label they share the most with, whether or not they fit.

    Leaves of a star find no room at its hub; those with one favourite are put together by :func:`group_nodes`.
    Parameters as for :func:`propose_moves`.
    """
    moves = _empty_proposals(block.rows)
    count = _propose_favorites(block, labels, load, mixed_seed(seed), _table_for(block), moves)
    return Proposals.in_order(*(column[:count] for column in moves))


def choose_moves(moves: Proposals, first_label: int, load: NDArray[np.int64], max_volume: int) -> NDArray[np.bool_]:
    """Return which moves are made: for each label the first in order, until one does not fit; volume 0 always fits.

    ``load`` is that of the labels from ``first_label`` on. Leaving does not make room before the next round, so
    that no label ever has more than ``max_volume`` because of a move.
    """
    is_chosen = np.zeros(moves.node.size, np.bool_)
    _choose(moves.label, moves.volume, first_label, load, max_volume, False, is_chosen)
    return is_chosen


def choose_moves_to_send(moves: Proposals, load: NDArray[np.int64], max_volume: int) -> NDArray[np.bool_]:
    """Return which of some moves matter where all moves to their labels come together; ``load`` is that of all labels.

    Those that would be chosen if there were no others, and for each label the first that does not fit: where
    all are together, it still shuts out what comes after it, whoever sends that.
    """
    is_chosen = np.zeros(moves.node.size, np.bool_)
    _choose(moves.label, moves.volume, 0, load, max_volume, True, is_chosen)
    return is_chosen


def group_nodes(moves: Proposals, own_label: NDArray[np.int32], max_volume: int) -> NDArray[np.int32]:
    """Return new labels of nodes that were alone: those with one favourite share the label of one of them.

    Groups are filled in order up to ``max_volume``; ``own_label`` (moves,) int32 are the labels they have now.
    """
    label = np.empty(moves.node.size, np.int32)
    _group(moves.label, moves.volume, own_label, max_volume, label)
    return label


def _empty_proposals(rows: int) -> Proposals:
    nodes, labels, gains = np.empty(rows, np.int32), np.empty(rows, np.int32), np.empty(rows, np.int64)
    return Proposals(nodes, labels, gains, np.empty(rows, np.uint64), np.empty(rows, np.int64))


class _LabelTable(NamedTuple):
    """Hash table of the weight that the node in hand shares with each label around it."""

    label: Out[np.int32]  # -1: free
    weight: Out[np.int64]
    places: Out[np.int64]  # those in use


def _table_for(block: NodeBlock) -> _LabelTable:
    """Return a table for the largest row."""
    largest = int(np.diff(block.indptr).max(initial=0))
    places = 1 << max(3, (2 * largest - 1).bit_length() if largest else 0)
    return _LabelTable(np.full(places, -1, np.int32), np.zeros(places, np.int64), np.empty(max(largest, 1), np.int64))


@inner_kernel
def _sum_by_label(block: NodeBlock, row: int, labels: In[np.int32], table: _LabelTable) -> int:
    """Sum the weights that a node shares with each label; the number of places in use."""
    indptr, neighbor, role = block.indptr, block.neighbor, block.role
    v = block.first + row
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
        while table.label[place] >= 0 and table.label[place] != label:
            place = np.int64(np.uint64(place + 1) & mask)
        if table.label[place] < 0:
            table.label[place] = label
            table.weight[place] = 0
            table.places[count] = place
            count += 1
        table.weight[place] += block.edge_weight[e] if block.edge_weight.size else 1
    return count


@inner_kernel
def _heaviest_label(
    table: _LabelTable, count: int, own: int, least: int, word: np.uint64, load: In[np.int64], volume: int, limit: int
) -> tuple[int, int]:
    """Empty the table; return the label with the most weight above ``least`` and that weight, or -1 and ``least``.

    It is not the own one, and ``volume`` fits it under the limit of loads; ties by hash.
    """
    best, most, best_word = -1, least, np.uint64(0)
    for i in range(count):
        place = table.places[i]
        label, weight = int(table.label[place]), int(table.weight[place])
        table.label[place] = -1
        fits = volume == 0 or load[label] + volume <= limit
        if label == own or weight < most or not fits:
            continue
        if weight == most and best < 0:
            continue  # no move without gain: rounds end
        label_hash = mix(word ^ mix(np.uint64(label)))
        if weight > most or label_hash < best_word:
            best, most, best_word = label, weight, label_hash
    return best, most


@inner_kernel
def _put(moves: Proposals, at: int, node: int, label: int, gain: int, word: np.uint64, volume: int) -> None:
    moves.node[at] = node
    moves.label[at] = label
    moves.gain[at] = gain
    moves.word[at] = word
    moves.volume[at] = volume


@kernel
def _propose(
    block: NodeBlock,
    labels: In[np.int32],
    load: In[np.int64],
    max_volume: int,
    seed: np.uint64,
    is_refining: bool,
    table: _LabelTable,
    moves: Proposals,
) -> int:
    lightest = int(np.argmin(load)) if is_refining else -1
    put = 0
    for row in range(block.volume.size):
        volume, own = block.volume[row], int(labels[block.first + row])
        word = mix(block.node_key[row] ^ seed)
        if own < 0 or (word & np.uint64(1)) == np.uint64(0):
            continue
        excess = load[own] - max_volume
        # Twice the excess, since half of the nodes take part; as a share of 2**20, in integers.
        is_pushed = (
            is_refining
            and excess > 0
            and volume > 0
            and np.int64((word >> np.uint64(1)) & np.uint64(0xFFFFF)) < (2 * excess << 20) // load[own]
        )
        count = _sum_by_label(block, row, labels, table)
        with_own = 0
        for i in range(count):
            if table.label[table.places[i]] == own:
                with_own = int(table.weight[table.places[i]])
        least = -1 if is_pushed else with_own
        best, most = _heaviest_label(table, count, own, least, word, load, volume, max_volume)
        if best < 0 and is_pushed and lightest != own and load[lightest] + volume <= max_volume:
            best, most = lightest, 0
        if best >= 0:
            _put(moves, put, block.first + row, best, most - with_own, word, volume)
            put += 1
    return put


@kernel
def _propose_favorites(
    block: NodeBlock, labels: In[np.int32], load: In[np.int64], seed: np.uint64, table: _LabelTable, moves: Proposals
) -> int:
    put = 0
    for row in range(block.volume.size):
        volume, own = block.volume[row], int(labels[block.first + row])
        if own < 0 or volume == 0 or load[own] != volume:
            continue
        word = mix(block.node_key[row] ^ seed)
        count = _sum_by_label(block, row, labels, table)
        best, _ = _heaviest_label(table, count, own, 0, word, load, 0, 0)
        if best >= 0:
            _put(moves, put, block.first + row, best, 0, word, volume)
            put += 1
    return put


@kernel
def _choose(
    label: In[np.int32],
    volume: In[np.int64],
    first_label: int,
    load: In[np.int64],
    max_volume: int,
    with_first_over: bool,
    is_chosen: Out[np.bool_],
) -> None:
    room, is_full = np.int64(0), False
    for i in range(label.size):
        if i == 0 or label[i] != label[i - 1]:
            room, is_full = max_volume - load[label[i] - first_label], False
        if volume[i] == 0:
            is_chosen[i] = True
        elif not is_full:
            if volume[i] > room:
                is_full = True
                is_chosen[i] = with_first_over
            else:
                room -= volume[i]
                is_chosen[i] = True


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
