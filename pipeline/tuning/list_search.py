"""What the searches for lists share, whatever their scores are: rounds, scores over splits, and what is not listed."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import neighbors_of
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.evaluation.position_lists import PositionLists
from pipeline.tuning.search import Candidate, Search
from pipeline.tuning.validation import RankingValidation, Score, join_scores

WEIGHT_ROUNDS = 3
BEFORE_FINALISTS = 0.6  # of the budget; what is left is for those that are ranked for all users
MOST_FINALISTS = 4
_FEWEST_FIRST = 500  # users that every candidate is ranked for


def first_units_of(units: int) -> int:
    """Return how many users every candidate is ranked for."""
    return min(units, max(_FEWEST_FIRST, units // 5))


def score_lists(
    rankings: Sequence[RankingValidation], units: int, make: Callable[[int, NDArray[np.int64]], NDArray[np.int64]]
) -> list[Score]:
    """Return a score for each variant of lists by the first ``units`` sources, the same share of each split.

    Parameters
    ----------
    make : returns (variants, sources, K) positions of nodes for a split's number and some of its sources.
    """
    of_all = sum(ranking.units for ranking in rankings)
    ends = np.cumsum([ranking.units for ranking in rankings]) * units // max(of_all, 1)
    counts = np.diff(ends, prepend=0).tolist()
    by_split = [
        [ranking.of_lists(lists) for lists in make(split, ranking.sources[:count])]
        for split, (ranking, count) in enumerate(zip(rankings, counts, strict=True))
    ]
    return [join_scores(of_variant, counts) for of_variant in zip(*by_split, strict=True)]


def halfway(search: Search, key: str, make: Callable[..., Candidate], best: Candidate) -> list[Candidate]:
    """Return candidates whose key is halfway from the best to the next tried ones; none beyond the outermost."""
    value: float = best.changes[key]
    trial_values = [trial.candidate.changes[key] for trial in search.trials]
    nearest = (
        max((trial_value for trial_value in trial_values if trial_value < value), default=value),
        min((trial_value for trial_value in trial_values if trial_value > value), default=value),
    )
    between = [round((value + neighbor) / 2, 2) for neighbor in nearest]
    return [make(**{**best.changes, key: midpoint}) for midpoint in between if midpoint != value]


def excluded_rows_of(walks: WalkGraph, rows: NDArray[np.int64]) -> PositionLists:
    """Return what lists must not hold: what a source is joined to, and itself."""
    sources = np.arange(rows.size)
    source, near = neighbors_of(walks.graph.indptr, walks.graph.indices, sources, rows)
    return PositionLists.from_pairs(np.concatenate([source, sources]), np.concatenate([near, rows]), rows.size)
