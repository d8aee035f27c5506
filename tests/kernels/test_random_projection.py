import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from pipeline.kernels.hashing import hash_cells, hash_nodes
from pipeline.kernels.random_projection import (
    normal_projection,
    quantiles,
    very_sparse_projection,
    very_sparse_signs,
)
from pipeline.kernels.rows import scale_rows

KEYS = hash_nodes(np.arange(1000, dtype=np.uint64), 0)


def sparse_by_definition(keys: np.ndarray, dim: int, sparsity: float, seed: int) -> np.ndarray:
    """The definition, by a floating-point uniform instead of integer thresholds."""
    u = (hash_cells(keys, dim, seed) >> np.uint64(11)) * 2.0**-53
    tail = 0.5 / sparsity
    signs = (u < tail).astype(np.float32) - (u >= 1.0 - tail).astype(np.float32)
    return signs * np.float32(math.sqrt(sparsity))


@given(st.floats(1.0, 1e6), st.integers(0, 2**64 - 1), st.integers(1, 70))
def test_sparse_entries_follow_the_definition(sparsity: float, seed: int, dim: int) -> None:
    got = very_sparse_projection(KEYS[:40], dim, sparsity, seed)
    np.testing.assert_array_equal(got, sparse_by_definition(KEYS[:40], dim, sparsity, seed))


@pytest.mark.parametrize("sparsity", [1.0, 3.0, 31.6])
@pytest.mark.parametrize(("dim", "first_col"), [(64, 0), (192, 16)])
def test_signs_stand_for_the_rows(sparsity: float, dim: int, first_col: int) -> None:
    scale = np.random.default_rng(0).uniform(0.1, 7, len(KEYS))
    want = very_sparse_projection(KEYS, dim, sparsity, 5, scale=scale, first_col=first_col)
    got = very_sparse_signs(KEYS, dim, sparsity, 5, scale=scale, first_col=first_col)
    bits = np.unpackbits(got.signs.astype("<u8").view(np.uint8), axis=1, bitorder="little").astype(np.float32)
    np.testing.assert_array_equal((bits[:, :dim] - bits[:, dim:]) * got.value[:, None], want)
    np.testing.assert_array_equal(
        (bits[:, :dim] - bits[:, dim:]) * got.scale_by(scale).value[:, None], scale_rows(want, scale)
    )


def test_signs_come_in_whole_words() -> None:
    with pytest.raises(ValueError, match="multiple of 64"):
        very_sparse_signs(KEYS, 100, 3.0, 5)


@pytest.mark.parametrize("sparsity", [1.0, 2.0, 3.0, 31.6, 1e18])
def test_sparse_entries_have_mean_0_variance_1_and_the_stated_density(sparsity: float) -> None:
    entries = very_sparse_projection(KEYS, 256, sparsity, seed=9).astype(np.float64)
    n = entries.size
    density = np.count_nonzero(entries) / n
    # Five standard deviations of a mean of n draws; an entry's square has variance sparsity - 1.
    assert abs(density - 1 / sparsity) <= 5 * math.sqrt(1 / sparsity / n)
    if sparsity < n:
        assert abs(entries.mean()) <= 5 / math.sqrt(n)
        assert abs((entries**2).mean() - 1) <= 5 * math.sqrt(sparsity / n)


@pytest.mark.parametrize(
    "project",
    [
        lambda keys, dim, scale=None, **columns: very_sparse_projection(keys, dim, 3.0, 1, scale=scale, **columns),
        lambda keys, dim, scale=None, **columns: normal_projection(keys, dim, 1, scale=scale, **columns),
    ],
    ids=["sparse", "normal"],
)
class TestBothProjections:
    def test_a_row_depends_only_on_its_own_node(self, project) -> None:  # type: ignore[no-untyped-def]
        some = np.array([3, 999, 17])
        np.testing.assert_array_equal(project(KEYS[some], 16), project(KEYS, 16)[some])

    def test_a_column_does_not_depend_on_dim(self, project) -> None:  # type: ignore[no-untyped-def]
        np.testing.assert_array_equal(project(KEYS, 37), project(KEYS, 128)[:, :37])

    @pytest.mark.parametrize(("first", "width"), [(0, 16), (16, 16), (32, 21), (48, 5)])
    def test_columns_can_be_drawn_apart(self, project, first, width) -> None:  # type: ignore[no-untyped-def]
        scale = np.random.default_rng(0).uniform(0.0, 1e3, len(KEYS))
        got = project(KEYS, width, scale, first_col=first)
        np.testing.assert_array_equal(got, project(KEYS, 53, scale)[:, first : first + width])

    def test_scale_is_one_rounding_of_the_product(self, project) -> None:  # type: ignore[no-untyped-def]
        scale = np.random.default_rng(0).uniform(0.0, 1e3, len(KEYS))
        scale[5] = 0.0
        want = (project(KEYS, 20).astype(np.float64) * scale[:, None]).astype(np.float32)
        np.testing.assert_array_equal(project(KEYS, 20, scale), want)

    def test_rows_are_nearly_orthogonal(self, project) -> None:  # type: ignore[no-untyped-def]
        # A product of two independent rows over dim has variance 1 / dim.
        rows = project(KEYS[:200], 512).astype(np.float64)
        products = (rows @ rows.T / 512)[np.triu_indices(200, 1)]
        assert np.abs(products).max() < 6 / math.sqrt(512)
        assert abs(products.std() * math.sqrt(512) - 1) < 0.05

    def test_bad_arguments_are_refused(self, project) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match="dim is 0"):
            project(KEYS, 0)
        with pytest.raises(ValueError, match=r"scale is .*\(1000,\)"):
            project(KEYS, 2, np.ones(3))
        with pytest.raises(TypeError, match="uint64"):
            project(KEYS.view(np.int64), 2)

    def test_no_nodes_give_no_rows(self, project) -> None:  # type: ignore[no-untyped-def]
        assert project(KEYS[:0], 4).shape == (0, 4)

    def test_buffers_are_aligned(self, project) -> None:  # type: ignore[no-untyped-def]
        assert project(KEYS[:3], 5).ctypes.data % 64 == 0


@pytest.mark.parametrize(("dim", "sparsity"), [(1, 2.0), (16, 6.0), (53, 60.0), (128, 1e18)])
class TestNoRowIsZero:
    def rows(self, dim: int, sparsity: float, keys: np.ndarray = KEYS, **columns: int) -> np.ndarray:
        width = columns.pop("width", dim)
        return very_sparse_projection(keys, width, sparsity, 5, of=dim, **columns)

    def test_rows_that_chance_left_empty_have_one_entry_and_the_others_are_as_they_were(
        self, dim: int, sparsity: float
    ) -> None:
        chance = very_sparse_projection(KEYS, dim, sparsity, 5)
        got = self.rows(dim, sparsity)
        was_empty = ~chance.any(axis=1)
        assert was_empty.any()
        np.testing.assert_array_equal(got[~was_empty], chance[~was_empty])
        assert ((got[was_empty] != 0).sum(axis=1) == 1).all()
        assert set(np.abs(got[got != 0]).tolist()) == {float(np.float32(math.sqrt(sparsity)))}

    def test_a_row_depends_on_its_own_node_and_columns_can_be_drawn_apart(self, dim: int, sparsity: float) -> None:
        whole = self.rows(dim, sparsity)
        some = np.array([999, 3, 17])
        np.testing.assert_array_equal(self.rows(dim, sparsity, KEYS[some]), whole[some])
        pieces = [self.rows(dim, sparsity, width=min(16, dim - first), first_col=first) for first in range(0, dim, 16)]
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)

    def test_means_and_covariances_stay_0_and_the_variance_is_as_stated(self, dim: int, sparsity: float) -> None:
        keys = hash_nodes(np.arange(40_000, dtype=np.uint64), 1)
        entries = self.rows(dim, sparsity, keys).astype(np.float64) / math.sqrt(sparsity)
        chance_of_none = (1 - 1 / sparsity) ** dim
        density = 1 / sparsity + chance_of_none / dim  # also the variance, over sparsity
        assert abs((entries != 0).mean() - density) <= 5 * math.sqrt(density / entries.size)
        assert np.abs(entries.mean(axis=0)).max() <= 6 * math.sqrt(density / len(keys))
        both = entries.T @ entries / len(keys)
        np.fill_diagonal(both, 0)
        assert np.abs(both).max() <= 6 * density / math.sqrt(len(keys)) + 6 / len(keys)


@pytest.mark.parametrize("sparsity", [0.5, math.nan, math.inf])
def test_an_impossible_sparsity_is_refused(sparsity: float) -> None:
    with pytest.raises(ValueError, match="sparsity"):
        very_sparse_projection(KEYS, 2, sparsity, 1)


def test_normal_entries_are_quantiles_of_the_hash() -> None:
    u = ((hash_cells(KEYS, 64, 4) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    want = special.ndtri(u)
    got = normal_projection(KEYS, 64, 4)
    # Rounding to float32 is off by half an ulp at most; the quantiles agree to 1e-13.
    np.testing.assert_array_less(np.abs(got - want), 2.0**-24 * np.abs(want) * 1.001 + 1e-13)


def test_quantiles_agree_with_scipy_into_the_farthest_tail() -> None:
    tails = np.concatenate([2.0 ** -np.arange(2, 54), np.linspace(0.01, 0.5, 500)])
    centred = np.concatenate([tails - 0.5, 0.5 - tails])
    n = len(centred)
    got = np.empty(n)
    quantiles(centred, got, np.empty(n + 1, np.int64), np.empty(n), np.empty(n))
    want = np.concatenate([special.ndtri(tails), -special.ndtri(tails)])
    np.testing.assert_allclose(got, want, rtol=2e-15 * 4, atol=1e-15)


def test_bits_never_change() -> None:
    # Frozen, and the same on any CPU: releases share one coordinate system through them.
    rows = very_sparse_projection(KEYS, 33, 3.0, 7).tobytes() + normal_projection(KEYS, 33, 7).tobytes()
    assert hashlib.sha256(rows).hexdigest() == "cf7d5e1f6bb4d9b5f8ef70c81182c4794e97f652eea42fc383224d2a64934184"
