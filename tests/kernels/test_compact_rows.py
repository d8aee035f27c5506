"""Codes of one byte with a scale a row: how far they are off at most."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.narrow_rows import compact_rows

LEAST = 2.0**-119
ENTRIES = st.one_of(
    st.just(0.0),
    st.floats(-(2.0**100), -LEAST, width=32),
    st.floats(LEAST, 2.0**100, width=32),
    st.integers(-1_000, 1_000).map(float),
)
MATRICES = st.tuples(st.integers(0, 8), st.integers(1, 20)).flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=ENTRIES)
)


@given(MATRICES)
def test_an_entry_is_off_by_at_most_half_of_its_row_s_scale(rows: np.ndarray) -> None:
    codes, scale = compact_rows(rows)
    assert (codes.dtype, scale.dtype, codes.shape) == (np.int8, np.float32, rows.shape)
    assert (np.abs(codes.astype(int)) <= 127).all()
    largest = np.abs(rows.astype(np.float64)).max(axis=1)
    np.testing.assert_allclose(scale, largest / 127, rtol=2.0**-24)
    error = np.abs(codes * scale.astype(np.float64)[:, None] - rows)
    # The scale is rounded to float32, so that the largest entry's quotient may be 127 (1 + 2^-24): it gets 127.
    assert (error <= scale[:, None] * (0.5 + 127 * 2.0**-24)).all()


def test_codes_are_rounded_half_to_even_and_zero_rows_stay() -> None:
    codes, scale = compact_rows(np.array([[127.0, 0.5, 1.5, -2.5], [0, 0, 0, 0]], np.float32))
    assert codes.tolist() == [[127, 0, 2, -2], [0, 0, 0, 0]]
    assert scale.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("rows", [np.zeros((0, 5), np.float32)])
def test_no_rows_are_no_codes(rows: np.ndarray) -> None:
    codes, scale = compact_rows(rows)
    assert (codes.shape, scale.shape) == ((0, 5), (0,))
