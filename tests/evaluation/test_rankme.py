import numpy as np
import pytest

from pipeline.evaluation.rankme import rankme


def keys(n: int) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 2**64, n, np.uint64)


def from_definition(rows: np.ndarray) -> float:
    singular = np.linalg.svd(rows.astype(np.float64), compute_uv=False)
    p = singular / singular.sum() + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))


@pytest.mark.parametrize("shape", [(1, 1), (5, 8), (300, 16), (4096, 4), (4097, 4), (9000, 33)])
def test_it_equals_the_definition_by_a_full_svd(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    # Columns of sizes from 1 down to 1e-10: a Gram matrix would lose the small ones.
    rows = (rng.standard_normal(shape) * np.logspace(0, -10, shape[1])).astype(np.float32)
    got = rankme(rows, keys(shape[0]), seed=0)
    # Both SVDs move a singular value by at most a modest multiple of 2^-53 of the largest.
    assert got.rankme == pytest.approx(from_definition(rows), rel=1e-10)
    assert got.rows == got.population


def test_known_spectra() -> None:
    assert rankme(np.eye(8, dtype=np.float32), keys(8), 0).rankme == pytest.approx(8, rel=1e-5)
    assert rankme(np.ones((50, 8), np.float32), keys(50), 0).rankme == pytest.approx(1, rel=2e-5)
    assert rankme(np.zeros((50, 8), np.float32), keys(50), 0).rankme == 0.0
    assert rankme(np.zeros((0, 8), np.float32), keys(0), 0).rankme == 0.0


def test_a_sample_is_of_nodes_not_of_positions() -> None:
    rng = np.random.default_rng(0)
    rows, node_key = rng.standard_normal((500, 6)).astype(np.float32), keys(500)
    order = rng.permutation(500)
    got = rankme(rows, node_key, seed=3, sample_rows=40)
    again = rankme(rows[order], node_key[order], seed=3, sample_rows=40)
    assert got.rankme == pytest.approx(again.rankme, rel=1e-12)
    assert (got.rows, got.population) == (40, 500)


def test_what_has_no_spectrum_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        rankme(np.array([[np.inf]], np.float32), keys(1), 0)
    with pytest.raises(ValueError, match="2 keys for 1 rows"):
        rankme(np.ones((1, 1), np.float32), keys(2), 0)
