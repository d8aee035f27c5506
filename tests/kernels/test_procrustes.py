"""The rotation into other coordinates, against planted ones and against a search for better ones."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.stats import ortho_group

from pipeline.kernels.procrustes import CrossSums, Rotation, cross_sums, rotate_rows, rotation_to

EPS = 2.0**-24


def planted(seed: int, dim: int) -> np.ndarray:
    return ortho_group.rvs(dim, random_state=seed) if dim > 1 else np.array([[-1.0]])


def rows(seed: int, n: int, dim: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def turned(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return (x.astype(np.float64) @ matrix).astype(np.float32)


def assert_orthogonal(rotation: Rotation) -> None:
    dim = len(rotation.matrix)
    np.testing.assert_allclose(rotation.matrix.T @ rotation.matrix, np.eye(dim), atol=1e-12 * dim)


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 9_000))
@settings(max_examples=30)
def test_a_planted_rotation_is_found(seed: int, dim: int, n: int) -> None:
    x = rows(seed, n, dim)
    there = turned(x, planted(seed, dim))

    found = rotation_to({"node": cross_sums(x, there)}, dim)

    assert_orthogonal(found)
    # What float32 took from `there` is all that is left: half a unit in the last place of each entry; and its square
    # is the difference of sums of n dim squares, whose rounding is that of float64.
    assert found.residual <= EPS + math.sqrt(8 * n * dim * 2.0**-53)
    if n >= 4 * dim:  # else X^T X may be near singular
        np.testing.assert_allclose(found.matrix, planted(seed, dim), atol=1e-5)


@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_of_noisy_rows_the_residual_is_the_noise(noise: float) -> None:
    n, dim = 20_000, 16
    x, error = rows(1, n, dim), rows(2, n, dim)
    there = turned(x, planted(3, dim)) + np.float32(noise) * error

    found = rotation_to({"node": cross_sums(x, there)}, dim)

    exact = np.linalg.norm(turned(x, found.matrix) - there) / np.linalg.norm(there)
    # float32 rounding of both operands of the oracle, and nothing else.
    assert found.residual == pytest.approx(exact, abs=4 * EPS)
    # The planted rotation leaves ‖noise‖ / ‖there‖; the best one fits dim (dim - 1) / 2 of its n dim directions too.
    planted_residual = noise * np.linalg.norm(error) / np.linalg.norm(there)
    assert planted_residual * math.sqrt(1 - dim / n) <= found.residual * 1.0001
    assert found.residual <= planted_residual * 1.0001


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_no_small_turn_is_better(seed: int) -> None:
    rng, dim = np.random.default_rng(seed), 5
    groups = {name: (rows(seed + k, n, dim) * s, rows(seed + k + 7, n, dim)) for k, (name, n, s) in enumerate(
        (("item", 40, np.float32(30.0)), ("user", 300, np.float32(1.0)))
    )}  # fmt: skip
    found = rotation_to({name: cross_sums(*pair) for name, pair in groups.items()}, dim)

    def cost(matrix: np.ndarray) -> float:
        return sum(
            float(((x.astype(float) @ matrix - y) ** 2).sum() / (y.astype(float) ** 2).sum())
            for x, y in groups.values()
        )

    best = cost(found.matrix)
    assert found.residual == pytest.approx(math.sqrt(best / 2), rel=1e-9)
    for _ in range(10):
        skew = rng.standard_normal((dim, dim)) * 1e-2
        assert cost(found.matrix @ expm(skew - skew.T)) >= best * (1 - 1e-12)


def test_each_group_counts_the_same_however_large() -> None:
    """Another group may be as many times larger and longer as it likes: it decides no more."""
    dim = 8
    one, other = rows(1, 100, dim), rows(2, 100, dim)
    there = turned(one, planted(1, dim)), turned(other, planted(2, dim))
    even = rotation_to({"a": cross_sums(one, there[0]), "b": cross_sums(other, there[1])}, dim)
    many, many_there = (np.tile(x, (200, 1)) * np.float32(1_024) for x in (other, there[1]))
    uneven = rotation_to({"a": cross_sums(one, there[0]), "b": cross_sums(many, many_there)}, dim)
    np.testing.assert_allclose(uneven.matrix, even.matrix, atol=1e-9)
    assert uneven.residual == pytest.approx(even.residual)
    assert uneven.residual == pytest.approx(math.sqrt((uneven.residuals["a"] ** 2 + uneven.residuals["b"] ** 2) / 2))


@pytest.mark.parametrize("dim", [8, 32, 128])
def test_chance_fits_as_many_rows_as_columns_to_seven_tenths(dim: int) -> None:
    """What a bound on residuals must stay below, where as many common rows as columns are asked for."""
    found = [rotation_to({"node": cross_sums(rows(n, dim, dim), rows(n + 50, dim, dim))}, dim) for n in range(20)]
    assert min(one.residual for one in found) > 0.5
    assert np.mean([one.residual for one in found]) == pytest.approx(0.7, abs=0.06)


def test_columns_without_rows_stay_where_they_are() -> None:
    """Of rank-deficient rows nothing is known about the rest: it is not turned for nothing."""
    dim, rank = 12, 7
    x = np.zeros((500, dim), np.float32)
    x[:, :rank] = rows(5, 500, rank)
    block = np.eye(dim)
    block[:rank, :rank] = planted(5, rank)

    found = rotation_to({"node": cross_sums(x, turned(x, block))}, dim)

    assert_orthogonal(found)
    np.testing.assert_allclose(found.matrix, block, atol=1e-6)


def test_without_common_rows_nothing_turns() -> None:
    for groups in ({}, {"user": CrossSums.zero(4)}, {"user": cross_sums(rows(1, 5, 4), np.zeros((5, 4), np.float32))}):
        found = rotation_to(groups, 4)
        np.testing.assert_array_equal(found.matrix, np.eye(4))
        assert found.residual == math.inf
        assert found.residuals == {}


def test_sums_of_ranges_are_the_sum() -> None:
    x, y = rows(1, 10_000, 6), rows(2, 10_000, 6)
    whole = cross_sums(x, y)
    parts = cross_sums(x[:3_000], y[:3_000]) + cross_sums(x[3_000:], y[3_000:])
    np.testing.assert_allclose(parts.products, x.astype(float).T @ y.astype(float), atol=1e-9)
    np.testing.assert_allclose(whole.products, parts.products, atol=1e-9)
    assert (whole.rows, parts.rows) == (10_000, 10_000)
    assert whole.own_squares == pytest.approx(float((x.astype(float) ** 2).sum()), rel=1e-12)
    assert whole.other_squares == pytest.approx(float((y.astype(float) ** 2).sum()), rel=1e-12)


@given(st.integers(0, 2**31), st.integers(1, 40))
@settings(max_examples=20)
def test_turning_rows_changes_no_dot_product(seed: int, dim: int) -> None:
    x = rows(seed, 60, dim)
    x[7] = 0
    before = x.astype(np.float64) @ x.T.astype(np.float64)
    length = np.sqrt(np.diagonal(before))
    rotate_rows(x, planted(seed, dim))
    after = x.astype(np.float64) @ x.T.astype(np.float64)
    # Each turned entry is rounded once: at most EPS of the row's length, on both sides of the product.
    bound = (2 * EPS + EPS**2) * np.outer(length, length) * math.sqrt(dim) + 1e-14
    assert (np.abs(after - before) <= bound).all()
    assert not x[7].any()
