import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.ppr_top_k import (
    Candidates,
    SparseScores,
    check_candidates,
    degree_factor,
    top_k_of_columns,
    top_k_of_rows,
)
from pipeline.kernels.ranking import Exclusions


def ranked_by_sorting(scores, start, stop, known, k):  # type: ignore[no-untyped-def]
    """Nodes and scores of one source, by the definition of the order."""
    allowed = [node for node in range(start, stop) if scores[node] > 0 and node not in known]
    best = sorted(allowed, key=lambda node: (-scores[node], node))[:k]
    rest = k - len(best)
    return best + [-1] * rest, [float(scores[node]) for node in best] + [0.0] * rest


@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 12), st.integers(1, 16), st.data())
def test_both_forms_rank_like_a_sort(seed: int, n: int, k: int, sources: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    # Few different scores, so that most of them tie; some below 0, as an approximation may have.
    values = rng.integers(-1, 4, (n, 16)).astype(np.float32)
    factor = rng.choice([0.5, 1.0, 2.0], n).astype(np.float32)
    known = [np.flatnonzero(rng.random(n) < 0.3) for _ in range(sources)]
    indptr = np.concatenate([[0], np.cumsum([some.size for some in known])]).astype(np.int64)
    candidates = Candidates(start, stop, factor, Exclusions(indptr, np.concatenate(known))).of_sources(0, sources)
    want = [
        ranked_by_sorting(values[:, col] * factor, start, stop, set(known[col].tolist()), k) for col in range(sources)
    ]

    nodes, scores = np.empty((sources, k), np.int64), np.empty((sources, k), np.float32)
    top_k_of_columns(values, candidates, scores, nodes)
    assert nodes.tolist() == [list(of) for of, _ in want]
    assert scores.tolist() == [of for _, of in want]

    orders = [rng.permutation(n) for _ in range(sources)]
    sparse = SparseScores(
        np.arange(sources + 1) * n,
        np.concatenate(orders).astype(np.int32),
        np.concatenate([values[order, col] for col, order in enumerate(orders)]).astype(np.float64),
        np.zeros(sources),
    )
    nodes, scores = top_k_of_rows(sparse, candidates, k)
    assert nodes.tolist() == [list(of) for of, _ in want]
    assert scores.tolist() == [of for _, of in want]


def test_more_places_than_candidates_end_in_no_row() -> None:
    sparse = SparseScores(np.array([0, 2]), np.array([1, 0], np.int32), np.array([0.25, 0.5]), np.zeros(1))
    nodes, scores = top_k_of_rows(sparse, Candidates(0, 2).of_sources(0, 1), 4)
    assert nodes.tolist() == [[0, 1, -1, -1]]
    assert scores.tolist() == [[0.5, 0.25, 0, 0]]


def test_a_factor_of_degree_leaves_nodes_without_edges_alone() -> None:
    np.testing.assert_allclose(degree_factor(np.array([0.0, 4.0, 9.0]), -0.5), [1, 0.5, 1 / 3], rtol=1e-7)


@pytest.mark.parametrize(
    ("candidates", "k", "message"),
    [
        (Candidates(0, 5), 0, "k is 0"),
        (Candidates(0, 6), 1, "candidates are 0 to 6"),
        (Candidates(3, 2), 1, "candidates are 3 to 2"),
        (Candidates(0, 5, np.ones(4, np.float32)), 1, "factor is float32"),
        (Candidates(0, 5, np.ones(5)), 1, "factor is float64"),
        (Candidates(0, 5, None, Exclusions(np.zeros(4, np.int64), np.empty(0, np.int64))), 1, "3 lists for 2 sources"),
    ],
)
def test_candidates_that_do_not_fit(candidates: Candidates, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_candidates(candidates, 5, 2, k)
