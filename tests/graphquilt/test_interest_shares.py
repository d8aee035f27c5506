"""Sharing candidates out by largest remainders, against fractions."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graphquilt.interest_table import share_out

SIXTEENTHS = st.lists(st.integers(1, 16), max_size=6)


@given(st.lists(SIXTEENTHS, max_size=4), st.integers(0, 300))
def test_seats_are_the_quotas_rounded_down_and_one_more_for_the_largest_remainders(
    weights: list[list[int]], k: int
) -> None:
    indptr = np.cumsum([0, *map(len, weights)])
    flat = np.array([one / 16 for node in weights for one in node], np.float32)
    seats = share_out(indptr, flat, k)
    for node, first in zip(weights, indptr[:-1], strict=True):
        quotas = [Fraction(k * one, sum(node)) for one in node]
        expected = [int(one) for one in quotas]
        left = k - sum(expected) if node else 0
        for at in sorted(range(len(node)), key=lambda at: (expected[at] - quotas[at], at))[:left]:
            expected[at] += 1
        got = seats[first : first + len(node)].tolist()
        assert sum(got) == (k if node else 0)
        # Quotas are floats: where two remainders are equal as fractions, either may get the seat.
        remainders = [one - int(one) for one in quotas]
        if len(set(remainders)) == len(remainders):
            assert got == expected
        assert all(abs(one - quota) < 1 for one, quota in zip(got, quotas, strict=True))
