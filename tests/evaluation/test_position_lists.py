import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.position_lists import PositionLists


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=40),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_lists_hold_each_pair_once_in_order(pairs: list[tuple[int, int]], start: int, stop: int) -> None:
    query, position = np.array(pairs, np.int64).reshape(-1, 2).T
    lists = PositionLists.from_pairs(query, position, 6)

    want = [sorted({p for q, p in pairs if q == number}) for number in range(6)]
    assert [lists.of(q, q + 1).positions.tolist() for q in range(6)] == want
    assert lists.lengths.tolist() == [len(one) for one in want]
    if start <= stop:
        assert lists.of(start, stop).positions.tolist() == [p for one in want[start:stop] for p in one]


def test_a_query_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 2\)"):
        PositionLists.from_pairs(np.array([2]), np.array([0]), 2)


def test_a_position_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="position -1 is below 0"):
        PositionLists.from_pairs(np.array([0]), np.array([-1]), 1)
