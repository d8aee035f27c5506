from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.kernels.array_types import read_only
from pipeline.kernels.ranking import (
    NO_ROW,
    STRIDE,
    Exclusions,
    RoughScores,
    best_first,
    keep_best,
    mark_hits,
    pair_scores,
)


def best_of(
    rough: NDArray[np.float32],
    queries: NDArray[np.float32],
    rows: NDArray[np.float32],
    slack: float,
    k: int,
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Feed a whole matrix of rough scores through the kernel, tile by tile."""
    q, n = rough.shape
    scores = np.full((q, k), -np.inf, np.float32)
    positions = np.full((q, k), NO_ROW, np.int64)
    nothing = read_only(Exclusions(np.zeros(q + 1, np.int64), np.zeros(0, np.int64)))
    for first in range(0, n, width):
        here = min(width, n - first)
        tile = np.full((q, -(-here // STRIDE) * STRIDE), np.inf, np.float32)  # padding that would win
        tile[:, :here] = rough[:, first : first + here]
        bound = np.full(q, slack, np.float32)
        keep_best(RoughScores(tile, first, here), queries, rows, bound, nothing, scores, positions)
    best_first(scores, positions)
    return positions, scores


def sorted_best(exact: NDArray[np.float32], k: int) -> list[list[int]]:
    """What a reader would write: sort everything by (score descending, position)."""
    return [sorted(range(row.size), key=lambda at: (-row[at], at))[:k] for row in exact]


@given(
    # So few values that most scores tie.
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(2)), elements=st.sampled_from([-1, 0, 1, 2])),
    hnp.arrays(np.float32, st.tuples(st.integers(1, 200), st.just(2)), elements=st.sampled_from([-1, 0, 1])),
    st.integers(1, 30),
    st.sampled_from([1, 7, 64, 100, 1000]),
    st.integers(0, 2**32 - 1),
)
def test_lists_do_not_depend_on_rough_scores_within_their_slack_nor_on_tiles(
    queries: NDArray[np.float32], rows: NDArray[np.float32], k: int, width: int, noise_seed: int
) -> None:
    exact = queries @ rows.T  # small integers: no rounding
    noise = np.random.default_rng(noise_seed).uniform(-2.0, 2.0, exact.shape).astype(np.float32)

    positions, scores = best_of(exact + noise, queries, rows, 2.01, k, width)

    for query, want in enumerate(sorted_best(exact, k)):
        found = len(want)
        assert positions[query, :found].tolist() == want
        assert scores[query, :found].tolist() == exact[query, want].tolist()
        assert (positions[query, found:] == NO_ROW).all()
        assert (scores[query, found:] == -np.inf).all()


finite = st.floats(-1e6, 1e6, width=32)


@given(st.data(), st.integers(1, 40))
def test_a_score_is_the_exact_dot_product_rounded_to_float32(data: st.DataObject, dim: int) -> None:
    left, right = (data.draw(hnp.arrays(np.float32, (1, dim), elements=finite)) for _ in range(2))
    at = np.zeros(1, np.int64)

    got = float(pair_scores(left, at, right, at)[0])

    products = [Fraction(float(a)) * Fraction(float(b)) for a, b in zip(left[0], right[0], strict=True)]
    # Each of fewer than dim float64 additions rounds a partial sum no larger than the sum of sizes.
    summing = dim * Fraction(2) ** -52 * sum(abs(product) for product in products)
    rounding = abs(sum(products)) * Fraction(2) ** -24 + Fraction(2) ** -149
    assert abs(Fraction(got) - sum(products)) <= summing + rounding


def test_equal_rows_score_equally_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    for dim in (1, 3, 4, 130):
        query, row = (rng.standard_normal((1, dim)).astype(np.float32) for _ in range(2))
        rows = np.repeat(row, 1000, axis=0)
        scores = pair_scores(query, np.zeros(1000, np.int64), rows, np.arange(1000))
        assert np.unique(scores).size == 1


@given(st.data())
def test_hits_are_the_places_whose_row_is_an_answer(data: st.DataObject) -> None:
    ranked = data.draw(
        hnp.arrays(np.int64, st.tuples(st.integers(0, 4), st.integers(1, 6)), elements=st.integers(-1, 9))
    )
    answers = [sorted(data.draw(st.sets(st.integers(0, 9)))) for _ in range(ranked.shape[0])]
    indptr = np.concatenate(([0], np.cumsum([len(a) for a in answers]))).astype(np.int64)
    hits = np.empty(ranked.shape, np.bool_)

    mark_hits(ranked, indptr, np.array([a for some in answers for a in some], np.int64), hits)

    assert hits.tolist() == [[at in some for at in row] for row, some in zip(ranked.tolist(), answers, strict=True)]


def test_read_only_arrays_are_accepted() -> None:
    rows = np.ones((3, 2), np.float32)
    at = np.arange(3)
    rows.flags.writeable = at.flags.writeable = False
    assert pair_scores(rows, at, rows, at).tolist() == [2.0, 2.0, 2.0]
