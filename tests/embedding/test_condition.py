"""When columns are made orthonormal: the same eigenpairs with fewer dense products, whatever the spectrum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.condition import LARGEST, Condition
from pipeline.kernels.subspace import gram, orthonormal_columns

ROWS, COLUMNS = 400, 20
NOISE = 32 * 2.0**-23


def iterate(values: np.ndarray, products: int, *, rests: bool) -> tuple[np.ndarray, list[float], int, int]:
    """Ritz values in float32 of a diagonal operator; the conditions that products were made of, grams, transforms."""
    x = np.random.default_rng(5).standard_normal((values.size, COLUMNS)).astype(np.float32)
    condition, conditions, grams, transforms = Condition(), [], 0, 0
    for number in range(products):
        y = (x * values[:, None]).astype(np.float32)
        if rests and condition.rests and number < products - 1:
            condition, x = condition.after_rest(), y
        else:
            basis = orthonormal_columns(gram(y), NOISE)
            condition, is_needed = condition.after(basis, values.size)
            is_needed |= not rests or number == products - 1
            x = (y @ basis.transform).astype(np.float32) if is_needed else y
            grams, transforms = grams + 1, transforms + is_needed
        conditions.append(np.linalg.cond(x[:, np.abs(x).max(axis=0) > 0].astype(np.float64)))
    ritz = np.linalg.eigvalsh(x.T.astype(np.float64) @ (values[:, None] * x))[::-1]
    return ritz, conditions, grams, transforms


@given(st.floats(0.0, 3.0), st.integers(2, 12), st.integers(-6, 6))
def test_any_spectrum_keeps_its_eigenvalues(power: float, products: int, unit: int) -> None:
    values = 4.0**unit * np.arange(1, ROWS + 1) ** -power
    want, _, _, _ = iterate(values, products, rests=False)
    got, conditions, _, _ = iterate(values, products, rests=True)
    np.testing.assert_allclose(got, want, atol=2e-5 * values[0])
    assert max(conditions) <= LARGEST


def test_a_flat_spectrum_needs_few_of_them_and_a_steep_one_all() -> None:
    _, _, grams, transforms = iterate(np.linspace(1.0, 0.2, ROWS), 12, rests=True)
    assert grams <= 7
    assert transforms <= 3
    assert iterate(np.arange(1, ROWS + 1) ** -4.0, 12, rests=True)[2:] == (12, 12)


@pytest.mark.parametrize("size", [2.0**-26, 2.0**20])
def test_columns_that_could_leave_the_range_of_float32_are_made_orthonormal(size: float) -> None:
    assert iterate(size * np.linspace(1.0, 0.2, ROWS), 12, rests=True)[2:] == (12, 12)


def test_columns_that_are_not_all_there_are_made_orthonormal() -> None:
    values = np.where(np.arange(ROWS) < COLUMNS // 2, 1.0, 0.0)
    ritz, _, grams, transforms = iterate(values, 6, rests=True)
    assert (grams, transforms) == (6, 6)
    np.testing.assert_allclose(ritz[: COLUMNS // 2], 1.0, atol=1e-5)
