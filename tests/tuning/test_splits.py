from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from pipeline.kernels.hashing import hash_pairs, splitmix64
from pipeline.tuning.splits import MIN_PAIRS, CoarseTimesError, hide_edges, hide_latest, hide_per_user


def keys(n: int) -> NDArray[np.uint64]:
    return splitmix64(np.arange(n, dtype=np.uint64))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Distinct pairs of users 0..9 and items 10..39, in any order."""
    codes = draw(st.lists(st.integers(0, 10 * 30 - 1), min_size=1, max_size=200, unique=True))
    user, item = np.divmod(np.array(codes, np.int64), 30)
    return user, item + 10, 40


@given(pairs(), st.floats(0.01, 0.99), st.integers(0, 2**64 - 1))
def test_every_user_gives_its_share_and_keeps_a_pair(
    made: tuple[NDArray[np.int64], NDArray[np.int64], int], share: float, seed: int
) -> None:
    src, dst, n = made
    is_hidden = hide_per_user(src, dst, keys(n), share, seed)
    count = np.bincount(src, minlength=n)
    hidden = np.bincount(src[is_hidden], minlength=n)
    np.testing.assert_array_equal(hidden > 0, count >= MIN_PAIRS)
    for user in np.flatnonzero(hidden):
        # To the nearest whole pair, but at least one hidden and one kept: at most 1 away where that binds.
        assert abs(hidden[user] - share * count[user]) <= 1
        assert 1 <= hidden[user] < count[user]


@given(pairs(), st.integers(0, 2**64 - 1), st.randoms(use_true_random=False))
def test_splits_do_not_know_the_order_of_pairs(
    made: tuple[NDArray[np.int64], NDArray[np.int64], int], seed: int, random: object
) -> None:
    src, dst, n = made
    order = np.arange(src.size)
    random.shuffle(order)  # type: ignore[attr-defined]
    for hide in (
        lambda s, d: hide_per_user(s, d, keys(n), 0.3, seed),
        lambda s, d: hide_edges(s, d, keys(n), 0.3, seed),
    ):
        np.testing.assert_array_equal(hide(src[order], dst[order]), hide(src, dst)[order])


def test_another_seed_hides_other_pairs_and_the_same_seed_the_same() -> None:
    src, dst = np.repeat(np.arange(50), 20), np.tile(np.arange(50, 70), 50)
    one, again, other = (hide_per_user(src, dst, keys(70), 0.2, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert one.sum() == other.sum() == 50 * 4
    assert (one != other).any()


def test_users_with_few_pairs_give_none() -> None:
    src = np.repeat(np.arange(2), [MIN_PAIRS - 1, MIN_PAIRS])
    dst = 2 + np.arange(src.size)
    is_hidden = hide_per_user(src, dst, keys(2 + src.size), 0.4, 0)
    assert is_hidden[src == 0].sum() == 0
    assert is_hidden[src == 1].sum() == 2


def test_an_edge_has_no_direction_and_loops_stay() -> None:
    rng = np.random.default_rng(0)
    src, dst = rng.integers(0, 300, 40_000), rng.integers(0, 300, 40_000)
    there = hide_edges(src, dst, keys(300), 0.15, 7)
    np.testing.assert_array_equal(there, hide_edges(dst, src, keys(300), 0.15, 7))
    assert not there[src == dst].any()
    codes, at = np.unique(np.minimum(src, dst) * 300 + np.maximum(src, dst), return_index=True)
    drawn = there[at][codes // 300 != codes % 300]
    # Binomial: five standard deviations.
    assert abs(drawn.mean() - 0.15) < 5 * np.sqrt(0.15 * 0.85 / drawn.size)


def test_what_a_hold_out_of_the_same_seed_left_is_drawn_from_as_ever() -> None:
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 400 * 400, 40_000))
    src, dst = np.divmod(codes, 400)
    left, right = np.minimum(src, dst), np.maximum(src, dst)
    is_held_out = hash_pairs(keys(400)[left], keys(400)[right], 0) < np.uint64(2**63)
    src, dst = left[~is_held_out], right[~is_held_out]
    hidden = hide_edges(src, dst, keys(400), 0.15, 0)
    assert abs(hidden[src != dst].mean() - 0.15) < 5 * np.sqrt(0.15 * 0.85 / hidden.size)


@given(npst.arrays(np.int64, st.integers(1, 200), elements=st.integers(0, 50)), st.floats(0.05, 0.5))
def test_nothing_that_stays_was_seen_after_anything_hidden(times: NDArray[np.int64], share: float) -> None:
    try:
        cut = hide_latest(times, share)
    except CoarseTimesError:
        # Only where no moment would do: any cut hides none, all, or over twice the share.
        shares = [(times >= moment).mean() for moment in np.unique(times)[1:]]
        nearest = min(shares, key=lambda found: abs(found - share), default=math.inf)  # one moment: no cut at all
        assert nearest > 2 * share
        return
    assert 0 < cut.is_hidden.sum() < times.size
    assert times[~cut.is_hidden].max() < times[cut.is_hidden].min() == cut.moment
    assert cut.is_hidden.mean() <= 2 * share


def test_distinct_times_give_exactly_the_share() -> None:
    times = np.random.default_rng(0).permutation(1000)
    assert hide_latest(times, 0.2).is_hidden.sum() == 200


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_lies_between_0_and_1(share: float) -> None:
    times = np.arange(10)
    with pytest.raises(ValueError, match="between 0 and 1"):
        hide_latest(times, share)
