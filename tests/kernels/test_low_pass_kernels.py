"""Damped steps in the Chebyshev basis, against quadrature and numpy.polynomial, and what is counted with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import chebyshev

from pipeline.kernels.low_pass import cut_above, eigenvalues_above, next_term, paired_sum, step_coefficients

CUTS = st.floats(-0.98, 0.98)


def jackson(degree: int) -> np.ndarray:
    """The kernel's coefficients from its definition: correlations of the optimal window, Weisse et al. eq. 69."""
    n = degree + 1
    window = np.sin(np.pi * np.arange(1, n + 1) / (n + 1))
    correlations = np.array([(window[: n - k] * window[k:]).sum() for k in range(n)])
    return correlations / correlations[0]


@given(st.integers(1, 40), CUTS)
def test_coefficients_are_the_damped_series_of_the_step(degree: int, cut: float) -> None:
    # c_k = 2 / pi times the integral of cos(k t) where cos(t) > cut: by midpoints of an interval that ends there,
    # whose error is h^2 / 24 of the largest second derivative, k^2, over the interval.
    points, end = 4_096, math.acos(cut)
    t = (np.arange(points) + 0.5) * end / points
    got = np.array(step_coefficients(degree, cut))
    for k, damping in enumerate(jackson(degree)):
        want = damping * np.cos(k * t).mean() * end * (2.0 if k else 1.0) / math.pi
        error = 2.0 / math.pi * end * (k * end / points) ** 2 / 24
        assert abs(got[k] - want) <= error + 2.0**-40


@given(st.integers(1, 40), CUTS)
def test_the_damped_step_stays_between_0_and_1_and_rises(degree: int, cut: float) -> None:
    # Jackson's kernel is positive: a step between 0 and 1 stays so, up to the coefficients' own steps of 2**-40.
    slack = (degree + 1) * 2.0**-40
    y = np.cos(np.linspace(0, np.pi, 999))
    values = chebyshev.chebval(y, step_coefficients(degree, cut))
    assert values.min() >= -slack
    assert values.max() <= 1 + slack
    # Far from the cut, in angles of several widths pi / degree, the step is done.
    away = np.arccos(y) - math.acos(cut)
    assert (values[away < -3 * math.pi / degree] >= 0.75).all()
    assert (values[away > 3 * math.pi / degree] <= 0.25).all()


@pytest.mark.parametrize(("degree", "cut"), [(0, 0.5), (3, 1.0), (3, -1.0), (3, 2.0)])
def test_a_step_that_cant_be_is_refused(degree: int, cut: float) -> None:
    with pytest.raises(ValueError, match="degree"):
        step_coefficients(degree, cut)


def traces(values: np.ndarray, degree: int) -> list[float]:
    return [float(np.cos(k * np.arccos(values)).sum()) for k in range(degree + 1)]


@given(st.integers(2, 32), CUTS, st.integers(0, 9))
def test_the_count_is_the_sum_of_the_polynomial_over_the_spectrum(degree: int, cut: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-1, 1, 50)
    want = chebyshev.chebval(values, step_coefficients(degree, cut)).sum()
    assert eigenvalues_above(traces(values, degree), cut) == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("count", [1, 10, 40])
def test_the_cut_of_a_known_spectrum_lies_where_so_many_are_above(count: int) -> None:
    degree = 200
    values = np.sort(np.random.default_rng(count).uniform(-0.9, 0.9, 60))[::-1]
    cut = cut_above(traces(values, degree), count)
    assert (
        eigenvalues_above(traces(values, degree), cut)
        >= count
        > eigenvalues_above(traces(values, degree), cut + 2.0 / 2_048)
    )
    blur = 3 * math.pi / degree
    assert (values > cut + blur).sum() <= count + 1
    assert (values > cut - blur).sum() >= count - 1


def test_a_gap_in_the_spectrum_takes_the_cut() -> None:
    values = np.concatenate([np.full(7, 0.9), np.full(50, -0.6)])
    assert -0.6 < cut_above(traces(values, 40), 6.5) < 0.9
    # More than there are: the lowest cut, since all may pass.
    assert cut_above(traces(values, 40), 1_000) == pytest.approx(-1 + 2 / 2_048)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=60), st.integers(1, 25), st.floats(0.01, 2.0))
def test_the_cut_is_the_first_from_above_that_lets_enough_through(
    values: list[float], degree: int, share: float
) -> None:
    moments, count = traces(np.array(values), degree), share * len(values)
    cuts = [2.0 * number / 2_048 - 1.0 for number in range(2_047, 1, -1)]
    enough = (cut for cut in cuts if eigenvalues_above(moments, cut) >= count)
    assert cut_above(moments, count) == next(enough, 2.0 / 2_048 - 1.0)


def test_terms_follow_the_recurrence_and_their_sum_grows() -> None:
    rng = np.random.default_rng(2)
    product, total, current, before = (rng.standard_normal((11, 5)).astype(np.float32) for _ in range(4))
    kept, multiplied = np.concatenate([total, current, before], axis=1), product.copy()
    factors, weights = (1.7, -0.4, -1.0), (0.3, 0.6)
    next_term(product, kept, factors, weights)
    wide = [x.astype(np.float64) for x in (multiplied, current, before)]
    term = sum(f * x for f, x in zip(factors, wide, strict=True)).astype(np.float32)
    np.testing.assert_array_equal(product, term)
    grown = (total.astype(np.float64) + weights[0] * wide[1] + weights[1] * term.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_max_ulp(kept[:, :5], grown, 1)
    np.testing.assert_array_equal(kept[:, 5:10], term)
    np.testing.assert_array_equal(kept[:, 10:], current)
    with pytest.raises(ValueError, match="state has shape"):
        next_term(product, kept[:, :10].copy(), factors, weights)


def test_recurrence_makes_chebyshev_polynomials() -> None:
    # Of a diagonal matrix, entry by entry: 2 y T_k - T_k-1, and the sum is the filtered row.
    y = np.linspace(-1, 1, 33, dtype=np.float64)[:, None]
    weights = step_coefficients(9, 0.25)
    one = np.ones((33, 1), np.float32)
    kept = np.concatenate([np.zeros_like(one), one, np.zeros_like(one)], axis=1)
    for number in range(9):
        product = (y * kept[:, 1:2]).astype(np.float32)
        factors = (1.0, 0.0, 0.0) if number == 0 else (2.0, 0.0, -1.0)
        next_term(product, kept, factors, (weights[0] if number == 0 else 0.0, weights[number + 1]))
    # Each term's rounding, 2**-24 of at most 2, grows by at most k + 1; there are 9 of them.
    np.testing.assert_allclose(kept[:, 0], chebyshev.chebval(y[:, 0], weights), atol=9 * 10 * 2.0**-23)


def test_paired_sums_are_those_of_float64() -> None:
    x, y = np.random.default_rng(4).standard_normal((2, 50, 3)).astype(np.float32)
    want = math.fsum((x.astype(np.float64) * y.astype(np.float64)).ravel().tolist())
    assert paired_sum(x, y) == pytest.approx(want, abs=150 * 2.0**-53 * float(np.abs(x * y).sum()))
    with pytest.raises(ValueError, match="they must agree"):
        paired_sum(x, y[:-1].copy())
