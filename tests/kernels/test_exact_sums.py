from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.exact_sums import UNIT_BITS, exact_sum, mean_of, scale_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.one_of(FINITE, st.sampled_from([5e-324, -5e-324, 1.7e308, -1.7e308, 0.0, -0.0, 1.0])), max_size=40))
def test_it_is_the_sum_of_fractions(values: list[float]) -> None:
    exact = sum(map(Fraction, values), Fraction(0))
    total = exact_sum(np.array(values, np.float64))
    assert Fraction(total, 1 << UNIT_BITS) == exact
    if values:
        assert mean_of(total, len(values)) == float(exact / len(values))


@given(st.lists(FINITE, min_size=1, max_size=40), st.integers(0, 40))
def test_neither_order_nor_pieces_matter(values: list[float], cut: int) -> None:
    array = np.array(values)
    assert exact_sum(array) == exact_sum(array[::-1]) == exact_sum(array[:cut]) + exact_sum(array[cut:])


def test_many_numbers_of_one_size() -> None:
    # Halves of mantissas are summed as int64: 2**20 of the largest mantissas stay exact.
    values = np.full(2**20, np.nextafter(2.0, 0.0))
    assert Fraction(exact_sum(values), 1 << UNIT_BITS) == Fraction(values[0]) * 2**20
    assert Fraction(exact_sum(-values), 1 << UNIT_BITS) == -Fraction(values[0]) * 2**20


def test_no_numbers() -> None:
    assert exact_sum(np.zeros(0)) == 0
    assert mean_of(0, 0) == 0.0


@given(st.lists(FINITE, max_size=20))
def test_scaled_numbers_are_below_1(values: list[float]) -> None:
    scale = scale_of(np.array(values, np.float64))
    assert scale >= 0
    assert all(abs(math.ldexp(value, -scale)) < 1 for value in values)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        exact_sum(np.array([1.0, value]))
