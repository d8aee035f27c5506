"""The search for a filter on planted figures, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from pipeline.tuning.filters import (
    ALPHAS,
    BETAS,
    PHIS,
    choose_filter,
    filter_advice,
    filter_changes,
    filter_of,
    search_filters,
)
from pipeline.tuning.search import Budget, Candidate, CandidateTable, Search, Trial
from pipeline.tuning.validation import Score

RANKS = (64, 128)


class Planted:
    """A figure with one peak, the same noise for every filter."""

    def __init__(self, phi: float, beta: float, rank: int, alpha: float) -> None:
        self._peak = np.array([phi, beta, np.log2(rank), alpha])
        self._noise = np.random.default_rng(0).normal(0, 0.2, 2_000)
        self.units, self.first_units = 2_000, 500
        variants = [(0, 0.0), *((rank, alpha) for rank in RANKS for alpha in ALPHAS)]
        self.variants: Sequence[Mapping[str, Any]] = [{"rank": one, "alpha": alpha} for one, alpha in variants]

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        return choose_filter(trials)

    def build(self, candidate: Candidate) -> CandidateTable:
        return CandidateTable(partial(self._scores, candidate))

    def _scores(self, candidate: Candidate, units: int) -> list[Score]:
        scores = []
        for variant in self.variants:
            at = np.array([*candidate.changes.values(), np.log2(max(variant["rank"], 1)), variant["alpha"]])
            figure = 0.5 - 0.05 * float(((at - self._peak) ** 2).sum())
            scores.append(Score(figure + self._noise[:units], {"ndcg@20": figure}))
        return scores


def searched(planted: Planted) -> Trial:
    search = Search(planted, Budget(1e6, lambda: 0.0, 0.0), defers_whole=True)
    search_filters(search, filter_of(1.5, 0.4), lambda _: ())
    assert search.best is not None
    assert search.best.is_whole
    return search.best


@pytest.mark.parametrize(
    ("phi", "beta", "rank", "alpha"), [(1.5, 0.4, 128, 0.2), (1.0, 0.3, 64, 0.8), (2.25, 0.5, 128, 0.1)]
)
def test_the_planted_best_is_found(phi: float, beta: float, rank: int, alpha: float) -> None:
    best = searched(Planted(phi, beta, rank, alpha))
    assert {**best.candidate.changes, **best.best.changes} == {"phi": phi, "beta": beta, "rank": rank, "alpha": alpha}


class NearlyFlat(Planted):
    """Figures rise with phi, by less than noise from 1.5 on; each phi has noise of its own.

    The first users rank beta .2 above the others, all users .4.
    """

    def _scores(self, candidate: Candidate, units: int) -> list[Score]:
        phi, beta = float(candidate.changes["phi"]), float(candidate.changes["beta"])
        own = np.random.default_rng(int(100 * phi)).normal(0, 0.1, 2_000)
        own -= own.mean()
        own += min(phi - 1.5, 0) * 0.1 + 0.0003 * phi
        of_beta = np.random.default_rng(1).normal(0, 1, (4, 500))
        own += (of_beta - of_beta.mean(axis=1)[:, None]).ravel() * (beta - 0.4) - abs(beta - 0.4) * 0.05
        own[:500] -= (beta - 0.2) * 0.1
        return [Score(score.deciding + own[:units], score.figures) for score in super()._scores(PEAK, units)]


PEAK = filter_of(1.5, 0.4)


def test_noise_leaves_phi_as_in_the_paper_and_all_users_settle_beta() -> None:
    """The slope between phi 1.5 and 3 is .00045, a fifth of its standard error; phi 1 is behind by twenty of these."""
    search = Search(NearlyFlat(1.5, 0.4, 128, 0.2), Budget(1e6, lambda: 0.0, 0.0), defers_whole=True)
    search_filters(search, filter_of(1.5, 0.4), lambda _: ())
    assert search.best is not None
    assert search.best.candidate.changes == {"phi": 1.5, "beta": 0.4}
    assert search.best.best.changes == {"rank": 128, "alpha": 0.2}
    whole = {trial.candidate.key: trial for trial in search.trials if trial.is_whole}
    flat, of_paper = (whole[filter_of(phi, 0.3).key] for phi in (3.0, 1.5))
    assert flat.score.value > of_paper.score.value
    assert choose_filter([flat, of_paper]) is of_paper


def test_a_power_of_1_is_written_as_the_linear_filter() -> None:
    changes = filter_changes(searched(Planted(1.0, 0.4, 64, 0.2)))
    assert changes == {
        "lists": {"filter": "linear", "phi": None, "beta": 0.4, "rank": 64, "alpha": 0.2},
    }


def test_keys_of_other_sections_are_written_into_these() -> None:
    chosen = searched(Planted(1.5, 0.4, 64, 0.2))
    candidate = filter_of(1.5, 0.4, **{"input.half_life_days": 8.0})
    changes = filter_changes(replace(chosen, candidate=candidate))
    assert changes["input"] == {"half_life_days": 8.0}
    assert set(changes) == {"lists", "input"}


def test_what_may_lie_beyond_is_said() -> None:
    advice = filter_advice(searched(Planted(max(PHIS), max(BETAS), 128, 0.2)))
    assert [sentence.split(",")[0] for sentence in advice] == ["the best beta", "the best phi"]
