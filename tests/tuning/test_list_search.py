from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.tuning.list_search import CORRECTIONS, RESTARTS, ListSearch, Look, Walk
from pipeline.tuning.search import Budget
from pipeline.tuning.validation import Score


class Planted:
    """A figure with one peak, the same noise for every walk; a look takes a second for each 100 users."""

    def __init__(self, restart: float, power: float, correction: float, curvature: float = 0.05) -> None:
        self._peak, self._curvature = (restart, power, correction), curvature
        self._noise = np.random.default_rng(0).normal(0, 0.2, 2_000)
        self.seconds, self.calls = 0.0, []  # type: ignore[var-annotated]

    def __call__(self, walk: Walk, corrections: Sequence[float], units: int) -> list[Score]:
        self.seconds += units / 100
        self.calls.append((walk, units))
        scores = []
        for correction in corrections:
            at = np.array([walk.restart, walk.edge_degree_power, correction])
            figure = 0.5 - self._curvature * float(((at - self._peak) ** 2).sum())
            scores.append(Score(figure + self._noise[:units], {"ndcg@20": figure}))
        return scores


def searched(
    planted: Planted, units: int, seconds: float = 1e6, walk: Walk | None = None, correction: float = 0.0
) -> tuple[ListSearch, Walk, float]:
    looks: list[Look] = []
    search = ListSearch(planted, units, Budget(seconds, lambda: planted.seconds, 0.0), looks.append)
    best = search.run(walk or Walk(0.15), correction)
    assert looks == search.looks
    return search, best.walk, best.degree_correction


@pytest.mark.parametrize("units", [150, 2_000])
@pytest.mark.parametrize(
    ("restart", "power", "correction"), [(0.5, 0.0, 0.3), (0.85, 0.2, 0.0), (0.15, 0.4, 0.8), (0.6, 0.1, 0.15)]
)
def test_the_planted_best_is_found(restart: float, power: float, correction: float, units: int) -> None:
    _, walk, found = searched(Planted(restart, power, correction), units)
    # Restarts next to each other differ by .2 and are halved twice; powers by .2; corrections by .05.
    assert abs(walk.restart - restart) <= 0.05
    assert abs(walk.edge_degree_power - power) <= 0.05
    assert found == pytest.approx(correction)


def test_all_users_decide_among_walks_that_the_first_ones_leave_open() -> None:
    planted = Planted(0.5, 0.0, 0.3)
    search, _, _ = searched(planted, 2_000)
    first = [walk for walk, units in planted.calls if units == 500]
    whole = [walk for walk, units in planted.calls if units == 2_000]
    assert set(first) | set(whole) == {walk for walk, _ in planted.calls}
    assert set(first[: len(RESTARTS)]) == {Walk(restart) for restart in RESTARTS}
    assert 0 < len(whole) <= 4
    assert len(first) == len(set(first))
    assert all(len(look.trials) == len(CORRECTIONS) for look in search.looks)


def test_walks_that_are_clearly_worse_are_given_up() -> None:
    planted = Planted(0.5, 0.0, 0.3, curvature=50.0)
    searched(planted, 2_000)
    # The noise is the same for every walk, so that any difference is clear.
    assert [walk for walk, units in planted.calls if units == 2_000] == [Walk(0.5)]


def test_the_budget_is_kept_but_for_the_first_look() -> None:
    planted = Planted(0.85, 0.0, 0.3)
    search, walk, _ = searched(planted, 2_000, seconds=1.0)  # a look takes 5 s
    assert [units for _, units in planted.calls] == [500]
    assert walk == Walk(RESTARTS[0])
    assert search.skipped
    few = Planted(0.85, 0.0, 0.3)
    searched(few, 2_000, seconds=30.0)
    assert few.seconds <= 30.0


def test_the_parameters_given_have_to_be_beaten() -> None:
    planted = Planted(0.42, -0.7, 0.33)
    search, walk, correction = searched(planted, 150, walk=Walk(0.42, -0.7), correction=0.33)
    assert (walk, correction) == (Walk(0.42, -0.7), 0.33)
    assert all(0.33 in {trial.degree_correction for trial in look.trials} for look in search.looks)
