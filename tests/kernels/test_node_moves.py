from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.kernels.node_moves import Proposals, choose_moves, choose_moves_to_send, group_nodes

MOVES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=30
)


def proposals(moves: list[tuple[int, int, int, int]]) -> Proposals:
    label, gain, word, volume = np.array(moves).T
    node = np.arange(label.size, dtype=np.int32)
    return Proposals.in_order(
        node, label.astype(np.int32), gain.astype(np.int64), word.astype(np.uint64), volume.astype(np.int64)
    )


@given(MOVES, st.integers(0, 12), st.integers(0, 4))
def test_the_best_moves_are_accepted_until_one_does_not_fit(
    moves: list[tuple[int, int, int, int]], cap: int, load: int
) -> None:
    given_moves = proposals(moves)
    chosen = choose_moves(given_moves, 0, np.full(4, load), cap)
    expected = set()
    for label in range(4):
        asked = [(-gain, word, node, volume) for node, (to, gain, word, volume) in enumerate(moves) if to == label]
        total, is_full = load, False
        for _, _, node, volume in sorted(asked):
            is_full |= volume > 0 and total + volume > cap
            if volume == 0 or not is_full:
                expected.add(node)
                total += volume
    assert set(given_moves.node[chosen].tolist()) == expected


@given(MOVES, st.integers(0, 12), st.integers(1, 29))
# The move of node 6 does not fit label 1; that of node 7 would, and comes after it.
@example([*[(0, 1, 0, 0)] * 6, (1, 1, 0, 2), (1, 1, 0, 1)], 1, 7)
def test_moves_that_matter_nowhere_need_not_be_sent(moves: list[tuple[int, int, int, int]], cap: int, at: int) -> None:
    everything, load = proposals(moves), np.zeros(4, np.int64)
    whole = everything.node[choose_moves(everything, 0, load, cap)]
    halves = [everything.take(side) for side in (everything.node < at, everything.node >= at)]
    sent = [half.take(choose_moves_to_send(half, load, cap)) for half in halves]
    joined = Proposals.in_order(*(np.concatenate(columns) for columns in zip(*sent, strict=True)))
    np.testing.assert_array_equal(joined.node[choose_moves(joined, 0, load, cap)], whole)


@given(MOVES, st.integers(1, 12))
def test_groups_of_one_favourite_fit_the_cap(moves: list[tuple[int, int, int, int]], cap: int) -> None:
    given_moves = proposals(moves)
    own = given_moves.node + np.int32(100)
    label = group_nodes(given_moves, own, cap)
    assert set(label.tolist()) <= set(own.tolist())
    for name in np.unique(label):
        members = label == name
        assert np.unique(given_moves.label[members]).size == 1
        assert given_moves.volume[members].sum() <= cap or members.sum() == 1
