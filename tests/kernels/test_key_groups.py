"""Groups of equal keys, and sums over them, against dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.kernels.key_groups import largest_of_groups, number_groups, sum_groups

KEYS = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)


@example([(2**63 - 1, 0, 1), (2**63 - 3, 0, 2), (2**63 - 1, 0, 5)], False)
@example([(-(2**63), 0, 1), (2**63 - 1, 0, 2), (-(2**63), 0, 5)], False)
@given(st.lists(st.tuples(KEYS, KEYS, st.integers(-(2**40), 2**40)), max_size=80), st.booleans())
def test_groups_are_in_the_order_of_their_first_rows(rows: list[tuple[int, int, int]], has_two_keys: bool) -> None:
    one, other, values = (np.array([row[place] for row in rows], np.int64) for place in range(3))
    keys = [one, other] if has_two_keys else [one]
    want: dict[tuple[int, ...], list[int]] = {}
    for row in range(len(rows)):
        want.setdefault(tuple(int(key[row]) for key in keys), []).append(row)

    group, first = number_groups(keys)

    assert first.tolist() == [members[0] for members in want.values()]
    assert [np.flatnonzero(group == number).tolist() for number in range(len(first))] == list(want.values())
    of_groups = [[rows[row][2] for row in members] for members in want.values()]
    assert sum_groups(group, len(first), values).tolist() == [sum(some) for some in of_groups]
    assert largest_of_groups(group, len(first), values).tolist() == [max(some) for some in of_groups]


def test_many_rows_of_keys_that_lie_close() -> None:
    keys = np.arange(50_000) * 7919 % 20_011
    group, first = number_groups([keys])
    np.testing.assert_array_equal(first, np.arange(20_011))
    np.testing.assert_array_equal(keys[first][group], keys)


@pytest.mark.parametrize("keys", [[], [np.zeros(2, np.int64)] * 3, [np.zeros(2, np.int64), np.zeros(3, np.int64)]])
def test_other_columns_are_refused(keys: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="one column or two"):
        number_groups(keys)
