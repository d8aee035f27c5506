"""The largest dot product, the nearest row and the most similar one are the same row once norms are equal."""

import hypothesis.extra.numpy as arrays
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graphquilt.inner_products import unit_rows, with_equal_norms, with_zero

EPS = float(np.finfo(np.float32).eps)
SIZES = st.tuples(st.integers(1, 30), st.integers(1, 12))
ENTRIES = st.floats(-100, 100, width=32, allow_subnormal=False)
MATRICES = SIZES.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=ENTRIES))


def norms(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows.astype(np.float64), axis=1)


@given(MATRICES, st.data())
def test_the_nearest_of_the_widened_rows_has_the_largest_dot_product(rows: np.ndarray, data: st.DataObject) -> None:
    query = data.draw(arrays.arrays(np.float32, (1, rows.shape[1]), elements=ENTRIES))
    largest = float(norms(rows).max())
    wide, asked = with_equal_norms(rows, largest).astype(np.float64), with_zero(query).astype(np.float64)

    exact = rows.astype(np.float64) @ query[0].astype(np.float64)
    nearest = int(np.argmin(((wide - asked) ** 2).sum(axis=1)))
    # The new column is rounded to float32 once: it moves a squared norm, and half of that a dot product, by no more
    # than largest² eps; float64 does the rest.
    bound = largest**2 * EPS + 1e-8 * (1 + abs(exact).max())
    assert exact[nearest] >= exact.max() - bound
    np.testing.assert_allclose(wide @ asked[0], exact, rtol=1e-12, atol=1e-9)


@given(MATRICES)
def test_all_widened_rows_have_the_largest_norm(rows: np.ndarray) -> None:
    largest = float(norms(rows).max())
    np.testing.assert_allclose(norms(with_equal_norms(rows, largest)), largest, rtol=2 * EPS, atol=1e-30)


@given(MATRICES)
def test_products_of_unit_rows_are_cosines(rows: np.ndarray) -> None:
    size = norms(rows)
    unit = unit_rows(rows)
    np.testing.assert_allclose(norms(unit), size > 0, rtol=2 * EPS)
    np.testing.assert_allclose(unit * size[:, None], rows, rtol=4 * EPS, atol=1e-30)
