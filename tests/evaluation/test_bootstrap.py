"""Bootstrap intervals: of the right width, and of nobody's order."""

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation import bootstrap
from pipeline.evaluation.bootstrap import bootstrap_intervals
from pipeline.kernels.hashing import splitmix64


def keys(n: int) -> np.ndarray:
    return splitmix64(np.arange(n, dtype=np.uint64))


def test_the_interval_is_the_normal_one_where_that_holds() -> None:
    n = 5000
    figures = np.random.default_rng(0).exponential(size=(n, 2)) * [1.0, 10.0]
    for (low, high), column in zip(bootstrap_intervals(figures, keys(n), 3), figures.T, strict=True):
        width = 2 * 1.96 * column.std() / np.sqrt(n)
        # A 2.5 % quantile of 1,000 draws has a standard error of .085 deviations, 4.3 % of the half width.
        assert high - low == pytest.approx(width, rel=4 * 0.043)
        assert (low + high) / 2 == pytest.approx(column.mean(), abs=4 * 0.06 * column.std() / np.sqrt(n))


def test_order_and_blocks_of_users_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = np.random.default_rng(1).random((300, 3))
    want = bootstrap_intervals(figures, keys(300), 0)
    shuffled = np.random.default_rng(2).permutation(300)
    monkeypatch.setattr(bootstrap, "_USERS_PER_BLOCK", 7)
    np.testing.assert_allclose(bootstrap_intervals(figures[shuffled], keys(300)[shuffled], 0), want, rtol=1e-12)
    assert bootstrap_intervals(figures, keys(300), 1) != want


def test_draws_are_poisson() -> None:
    counts = np.bincount(bootstrap._poisson_table())
    np.testing.assert_allclose(counts / 2**16, stats.poisson(1).pmf(np.arange(counts.size)), atol=2.0**-16)


def test_what_does_not_vary_has_no_interval() -> None:
    ((low, high),) = bootstrap_intervals(np.full((50, 1), 0.25), keys(50), 0)
    assert (low, high) == pytest.approx((0.25, 0.25), abs=1e-15)
    assert bootstrap_intervals(np.zeros((0, 2)), keys(0), 0) == [(0.0, 0.0)] * 2
    with pytest.raises(ValueError, match="1 keys for 2 users"):
        bootstrap_intervals(np.zeros((2, 1)), keys(1), 0)
