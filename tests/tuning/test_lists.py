from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from pipeline.tuning.lists import CORRECTIONS, RESTARTS, choose_lists, search_walks, walk_of
from pipeline.tuning.search import Budget, Candidate, CandidateTable, Search, Trial
from pipeline.tuning.validation import Score


class Planted:
    """A figure with one peak, the same noise for every walk; a look takes a second for each 100 users."""

    def __init__(self, restart: float, power: float, correction: float, curvature: float = 0.05) -> None:
        self._peak, self._curvature = (restart, power, correction), curvature
        self._noise = np.random.default_rng(0).normal(0, 0.2, 2_000)
        self.seconds = 0.0
        self.calls: list[tuple[Candidate, int]] = []
        self.units, self.first_units = 2_000, 500
        self.variants: Sequence[Mapping[str, Any]] = [{"degree_correction": one} for one in CORRECTIONS]

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        return choose_lists(trials)

    def build(self, walk: Candidate) -> CandidateTable:
        return CandidateTable(partial(self._scores, walk))

    def _scores(self, walk: Candidate, units: int) -> list[Score]:
        self.seconds += units / 100
        self.calls.append((walk, units))
        scores = []
        for variant in self.variants:
            at = np.array([*walk.changes.values(), variant["degree_correction"]])
            figure = 0.5 - self._curvature * float(((at - self._peak) ** 2).sum())
            scores.append(Score(figure + self._noise[:units], {"ndcg@20": figure}))
        return scores


def searched(
    planted: Planted, units: int, seconds: float = 1e6, walk: Candidate | None = None
) -> tuple[Search, Candidate, float]:
    planted.units, planted.first_units = units, min(units, 500)
    looks: list[Trial] = []
    search = Search(planted, Budget(seconds, lambda: planted.seconds, 0.0), looks.append, defers_whole=True)
    search_walks(search, walk or walk_of(0.15), lambda _: ())
    assert looks == search.trials
    best = search.best
    assert best is not None
    return search, best.candidate, best.best.changes["degree_correction"]


@pytest.mark.parametrize("units", [150, 2_000])
@pytest.mark.parametrize(
    ("restart", "power", "correction"), [(0.5, 0.0, 0.3), (0.85, 0.2, 0.0), (0.15, 0.4, 0.8), (0.6, 0.1, 0.15)]
)
def test_the_planted_best_is_found(restart: float, power: float, correction: float, units: int) -> None:
    _, walk, found = searched(Planted(restart, power, correction), units)
    # Restarts next to each other differ by .2 and are halved twice; powers by .2; corrections by .05.
    assert abs(walk.changes["restart"] - restart) <= 0.05
    assert abs(walk.changes["edge_degree_power"] - power) <= 0.05
    assert found == pytest.approx(correction)


def test_all_users_decide_among_walks_that_the_first_ones_leave_open() -> None:
    planted = Planted(0.5, 0.0, 0.3)
    search, _, _ = searched(planted, 2_000)
    first = [walk.key for walk, units in planted.calls if units == 500]
    whole = [walk.key for walk, units in planted.calls if units == 2_000]
    assert set(first) | set(whole) == {walk.key for walk, _ in planted.calls}
    assert set(first[: len(RESTARTS)]) == {walk_of(restart).key for restart in RESTARTS}
    assert 0 < len(whole) <= 4
    assert len(first) == len(set(first))
    assert all(len(look.variants) == len(CORRECTIONS) for look in search.trials)


def test_walks_that_are_clearly_worse_are_given_up() -> None:
    planted = Planted(0.5, 0.0, 0.3, curvature=50.0)
    searched(planted, 2_000)
    # The noise is the same for every walk, so that any difference is clear.
    assert [walk for walk, units in planted.calls if units == 2_000] == [walk_of(0.5)]


def test_the_budget_is_kept_but_for_the_first_look() -> None:
    planted = Planted(0.85, 0.0, 0.3)
    search, walk, _ = searched(planted, 2_000, seconds=1.0)  # a look takes 5 s
    assert [units for _, units in planted.calls] == [500]
    assert walk == walk_of(RESTARTS[0])
    assert search.skipped_candidates
    few = Planted(0.85, 0.0, 0.3)
    searched(few, 2_000, seconds=30.0)
    assert few.seconds <= 30.0


def test_the_parameters_given_have_to_be_beaten() -> None:
    planted = Planted(0.42, -0.7, 0.33)
    planted.variants = [*planted.variants, {"degree_correction": 0.33}]
    _, walk, correction = searched(planted, 150, walk=walk_of(0.42, -0.7))
    assert (walk, correction) == (walk_of(0.42, -0.7), 0.33)
