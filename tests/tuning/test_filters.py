"""The search for a filter on planted figures, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.lists import ListsConfig
from pipeline.tuning.filters import (
    ALPHAS,
    BETAS,
    PHIS,
    best_of,
    choose_filter,
    filter_advice,
    filter_changes,
    filter_of,
    search_filters,
)
from pipeline.tuning.search import Budget, Candidate, CandidateTable, Search, Trial, VariantScore
from pipeline.tuning.validation import Score

RANKS = (64, 128)
OWN = ListsConfig(filter="plateau")  # phi 1.5, beta .4, alpha .2


class Planted:
    """A figure with one peak, the same noise for every filter."""

    def __init__(self, phi: float, beta: float, rank: int, alpha: float) -> None:
        self._peak = np.array([phi, beta, np.log2(rank), alpha])
        self._noise = np.random.default_rng(0).normal(0, 0.2, 2_000)
        self.units, self.first_units = 2_000, 500
        variants = [(0, 0.0), *((rank, alpha) for rank in RANKS for alpha in ALPHAS)]
        self.variants: Sequence[Mapping[str, Any]] = [{"rank": one, "alpha": alpha} for one, alpha in variants]

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        return best_of(trials)

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
    chosen = choose_filter(search.trials, OWN)
    assert chosen is not None
    assert chosen.is_whole
    return chosen


@pytest.mark.parametrize(
    ("phi", "beta", "rank", "alpha"), [(1.5, 0.4, 128, 0.2), (1.0, 0.3, 64, 0.8), (2.25, 0.5, 128, 0.1)]
)
def test_the_planted_best_is_found(phi: float, beta: float, rank: int, alpha: float) -> None:
    best = searched(Planted(phi, beta, rank, alpha))
    assert {**best.candidate.changes, **best.best.changes} == {"phi": phi, "beta": beta, "rank": rank, "alpha": alpha}


class TwoPeaks(Planted):
    """The filter of the config and one with beta .3 and alpha .1, far above the others; each has noise of its own.

    Parameters
    ----------
    lead : of the other one over the config's, by all users, in standard errors of their difference.
    """

    def __init__(self, lead: float) -> None:
        super().__init__(1.5, 0.4, 128, 0.2)
        self._lead = lead

    def _scores(self, candidate: Candidate, units: int) -> list[Score]:
        draw = np.random.default_rng(int(100 * candidate.changes["phi"] + 1e4 * candidate.changes["beta"]))
        scores = []
        for variant in self.variants:
            apart = draw.normal(0, 0.05, self.units)
            if {**candidate.changes, **variant} == {"phi": 1.5, "beta": 0.4, "rank": 128, "alpha": 0.2}:
                apart *= 0
            elif {**candidate.changes, **variant} == {"phi": 1.5, "beta": 0.3, "rank": 128, "alpha": 0.1}:
                apart += self._lead * apart.std(ddof=1) / math.sqrt(self.units) - apart.mean()
            else:
                apart -= 0.05
            scores.append(Score(0.5 + (self._noise + apart)[:units], {}))
        return scores


@pytest.mark.parametrize(("lead", "beta", "alpha"), [(1.5, 0.4, 0.2), (2.5, 0.3, 0.1)])
def test_the_config_stays_unless_another_is_ahead_by_two_standard_errors(
    lead: float, beta: float, alpha: float
) -> None:
    best = searched(TwoPeaks(lead))
    assert best.candidate.changes == {"phi": 1.5, "beta": beta}
    assert best.best.changes == {"rank": 128, "alpha": alpha}


@given(st.data())
def test_the_choice_has_as_many_keys_of_the_config_as_noise_allows(data: st.DataObject) -> None:
    """Against a plain reading of the rule over all filters that were ranked for all users."""
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    users = data.draw(st.integers(5, 40))
    own = ListsConfig(
        filter=data.draw(st.sampled_from(["plateau", "linear"])),
        phi=data.draw(st.sampled_from([1.0, 1.5, 2.0])),
        beta=data.draw(st.sampled_from([0.0, 0.3, 0.4])),
        alpha=data.draw(st.sampled_from([0.0, 0.1, 0.2])),
    )
    base, spread = draw.normal(0.5, 0.2, users), data.draw(st.sampled_from([0.001, 0.01, 0.05]))
    trials = []
    for phi, beta in data.draw(
        st.lists(st.tuples(st.sampled_from(PHIS), st.sampled_from(BETAS)), min_size=1, unique=True)
    ):
        variants = [
            VariantScore({"rank": rank, "alpha": alpha}, Score(base + draw.normal(0, spread, users), {}))
            for rank, alpha in [(0, 0.0), *((rank, alpha) for rank in RANKS for alpha in ALPHAS[:2])]
        ]
        best = max(variants, key=lambda variant: variant.score.value)
        is_whole = data.draw(st.booleans())
        trials.append(Trial(filter_of(phi, beta), variants, best, is_whole, 0, 0, 0, 0))

    chosen = choose_filter(trials, own)

    whole = [trial for trial in trials if trial.is_whole] or trials
    filters = [(trial.candidate.changes, one) for trial in whole for one in trial.variants]
    assert chosen is not None
    best_changes, best = max(filters, key=lambda one: one[1].score.value)
    of_config = (1.0 if own.filter == "linear" else own.phi, own.beta, own.alpha)
    pairs = list(zip(of_config, (*best_changes.values(), best.changes["alpha"]), strict=True))
    rivals = {}
    for changes, one in filters:
        values = (*changes.values(), one.changes["alpha"])
        behind = best.score.deciding - one.score.deciding
        is_near = behind.mean() <= min(2 * behind.std(ddof=1) / users**0.5, 0.01 * best.score.value)
        if is_near and all(value in pair for value, pair in zip(values, pairs, strict=True)):
            back = sum(value == wanted for value, wanted in zip(values, of_config, strict=True))
            rivals[one.score.value] = back, one.score.value
    assert rivals[chosen.score.value] == max(rivals.values())


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
