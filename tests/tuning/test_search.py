from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.tuning.search import Budget, Candidate, CandidateTable, Search, Trial
from pipeline.tuning.validation import Score, is_within_noise
from pipeline.tuning.vectors import FIRST_UNITS, choose_table


@dataclass
class Clock:
    """A clock that embedding and measuring move on."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """Embedding takes ``seconds_of`` a candidate; measuring ``second_a_unit``; the worth of a table is known."""

    worth_of: Callable[[Mapping[str, Any]], NDArray[np.float64]]
    seconds_of: Callable[[Mapping[str, Any]], float] = lambda changes: 1.0  # noqa: ARG005
    second_a_unit: float = 0.0
    clock: Clock = field(default_factory=Clock)
    embedded: list[Mapping[str, Any]] = field(default_factory=list)
    measured: list[int] = field(default_factory=list)
    units: int = 4 * FIRST_UNITS
    first_units: int = FIRST_UNITS
    variants: Sequence[Mapping[str, Any]] = ({},)

    def build(self, candidate: Candidate) -> CandidateTable:
        changes = candidate.changes
        self.embedded.append(changes)
        self.clock.now += self.seconds_of(changes)
        worth = self.worth_of(changes)

        def scores(units: int) -> list[Score]:
            self.measured.append(units)
            self.clock.now += units * self.second_a_unit
            return [Score(worth[:units], {"ndcg@20": float(worth[:units].mean())})]

        return CandidateTable(scores, self.seconds_of(changes))

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        return choose_table(trials)

    def search(self, seconds: float, seconds_a_cost: float = 0.0) -> Search:
        return Search(self, Budget(seconds, self.clock, self.clock.now), seconds_a_cost=seconds_a_cost)


def noisy(mean: float, spread: float, seed: int, size: int = 4 * FIRST_UNITS) -> NDArray[np.float64]:
    return mean + spread * np.random.default_rng(seed).standard_normal(size)


def candidate(name: str = "", cost: float = 1.0, **changes: Any) -> Candidate:
    return Candidate(name, "", changes, cost, changes["dim"], str(changes.get("method")))


def presets(*dims: int, powers: range = range(5)) -> list[Candidate]:
    return [candidate(f"p={p}", float(dim), dim=dim, p=p) for dim in dims for p in powers]


def test_a_planted_best_is_found_and_its_neighbours_are_tried() -> None:
    # Worth peaks at p = 7, which no first candidate has: only its neighbours' neighbours do.
    world = World(lambda changes: noisy(0.3 - 0.01 * (changes["p"] - 7) ** 2, 0.05, changes["p"]))
    search = world.search(1e9)
    search.try_all(presets(16))

    def neighbors(best: Candidate) -> list[Candidate]:
        return [candidate("", best.cost, dim=16, p=best.changes["p"] + step) for step in (-1, 1)]

    search.refine(neighbors)
    chosen = search.best
    assert chosen is not None
    assert chosen.candidate.changes == {"dim": 16, "p": 7}
    # Climbed up to 8, which is worse, and no further; nothing was tried twice.
    assert sorted(changes["p"] for changes in world.embedded) == list(range(9))


def test_those_clearly_behind_are_measured_by_the_first_users_only() -> None:
    world = World(lambda changes: noisy([0.30, 0.20, 0.302][changes["p"]], 0.01, changes["p"]))
    search = world.search(1e9)
    search.try_all(presets(16, powers=range(3)))
    assert [trial.is_whole for trial in search.trials] == [True, False, True]
    assert world.measured == [FIRST_UNITS, world.units, FIRST_UNITS, FIRST_UNITS, world.units]
    assert search.trials[1].score.deciding.size == FIRST_UNITS
    chosen = search.best
    assert chosen is not None
    assert chosen.candidate.changes["p"] == 2


def test_widths_are_compared_with_their_own_kind_first() -> None:
    """A narrow table far behind a wide one is still measured in full: it may be the best of its width."""
    world = World(lambda changes: noisy(0.3 if changes["dim"] == 64 else 0.1, 0.01, changes["dim"]))
    search = world.search(1e9)
    search.try_all(presets(64, 16, powers=range(1)))
    assert all(trial.is_whole for trial in search.trials)


@pytest.mark.parametrize("budget", [3.0, 10.0, 37.5, 120.0])
def test_the_budget_is_kept_where_time_goes_with_cost(budget: float) -> None:
    world = World(
        lambda changes: noisy(0.1, 0.05, changes["p"]),
        seconds_of=lambda changes: changes["dim"] / 32,
        second_a_unit=1e-4,
    )
    search = world.search(budget)
    search.try_all(presets(32, 64, 128, powers=range(10)))
    spent = world.clock.now - 100.0
    # Estimates are exact here but for candidates given up early, which take less: never over it.
    assert spent <= budget
    assert len(search.trials) + len(search.skipped_candidates) == 30
    if search.skipped_candidates:
        dearest = max(one.cost / 32 for one in search.skipped_candidates) + world.units * 1e-4 * 4
        assert spent > budget - dearest


def test_a_dear_candidate_is_passed_over_for_cheaper_ones_behind_it() -> None:
    world = World(lambda changes: noisy(0.1, 0.05, changes["p"]), seconds_of=lambda changes: changes["dim"] / 32)
    search = world.search(10.0)
    search.try_all([*presets(32, powers=range(1)), *presets(320, powers=range(1)), *presets(32, powers=range(1, 3))])
    assert [trial.candidate.width for trial in search.trials] == [32, 32, 32]
    assert [one.width for one in search.skipped_candidates] == [320]


def test_where_none_fits_the_cheapest_is_tried_whatever_the_budget() -> None:
    world = World(lambda changes: noisy(0.1, 0.05, changes["p"]))
    search = world.search(1.0, seconds_a_cost=1.0)
    search.try_all(presets(32, 16, 64, powers=range(2)))
    assert [trial.candidate.changes for trial in search.trials] == [{"dim": 16, "p": 0}]
    assert len(search.skipped_candidates) == 5
    assert search.best is search.trials[0]


def test_before_anything_was_timed_a_dear_candidate_waits_for_a_cheaper_one() -> None:
    world = World(lambda changes: noisy(0.1, 0.05, changes["p"]), seconds_of=lambda changes: changes["dim"])
    search = world.search(40.0, seconds_a_cost=2.0)
    search.try_all(presets(32, 16, powers=range(1)))
    assert [trial.candidate.width for trial in search.trials] == [16]
    search.try_all(presets(24, powers=range(1)))  # timed by now: a second a unit of cost
    assert [trial.candidate.width for trial in search.trials] == [16, 24]


def test_one_that_would_take_much_of_the_budget_waits_for_the_others() -> None:
    world = World(lambda _: noisy(0.3, 0.05, 1), seconds_of=lambda changes: changes["dim"] / 10)
    search = world.search(25.0)
    search.seconds_a_cost = 0.1
    # 10 of 25 seconds: more than a quarter, so the last; then it still fits.
    costs = {"dear": 100, "a": 20, "b": 30}
    search.try_all([candidate(name, float(cost), dim=cost) for name, cost in costs.items()])
    assert [trial.candidate.name for trial in search.trials] == ["a", "b", "dear"]


def test_a_kind_never_timed_is_expected_to_be_as_dear_as_the_dearest() -> None:
    worth = noisy(0.1, 0.05, 1)
    world = World(lambda _: worth, seconds_of=lambda changes: 9.0 if changes["method"] == "slow" else 1.0)
    search = world.search(15.0)
    kinds = ["fast", "slow", "other", "fast"]
    search.try_all([candidate(kind, dim=8, method=kind, n=n) for n, kind in enumerate(kinds)])
    # After 10 s, "other" may take 9 s more, "fast" takes 1.
    assert [trial.candidate.name for trial in search.trials] == ["fast", "slow", "fast"]


def test_what_the_config_refuses_is_told_and_no_trial() -> None:
    def worth(changes: Mapping[str, Any]) -> NDArray[np.float64]:
        if changes["p"] == 0:
            raise ConfigError("p is 0")
        return noisy(0.1, 0.05, 1)

    search = World(worth).search(1e9)
    search.try_all(presets(16, powers=range(2)))
    assert [(one.name, reason) for one, reason in search.refusals] == [("p=0", "p is 0")]
    assert len(search.trials) == 1


def test_within_noise_the_narrower_wins_and_beyond_it_the_better() -> None:
    base = noisy(0.3, 0.2, 0)

    def worth(changes: Mapping[str, Any]) -> NDArray[np.float64]:
        # Users differ far more than tables do: only their paired difference tells.
        shift = {64: -0.003, 128: 0.0, 256: 0.0001}[changes["dim"]]
        return base + shift + noisy(0.0, 0.02, changes["dim"])

    search = World(worth).search(1e9)
    search.try_all([candidate(dim=dim) for dim in (64, 128, 256)])  # at equal costs, so that width decides
    error = 0.02 * 2**0.5 / (4 * FIRST_UNITS) ** 0.5
    assert error < 0.001 < 0.003 - error
    chosen = search.best
    assert chosen is not None
    assert chosen.candidate.width == 128


@pytest.mark.parametrize(("costs", "wins"), [((0.9, 1.0), 1), ((0.5, 1.0), 0), ((1.0, 0.1), 1)])
def test_of_equal_widths_only_a_much_cheaper_one_takes_the_place_of_a_better_one(
    costs: tuple[float, float], wins: int
) -> None:
    base, apart = noisy(0.3, 0.2, 0), noisy(0.0, 0.02, 1)
    apart += 0.0001 - apart.mean()  # the second is better by a third of a standard error
    world = World(lambda changes: base + changes["p"] * apart)
    search = world.search(1e9)
    search.try_all([candidate("", cost, dim=16, p=p) for p, cost in enumerate(costs)])
    assert is_within_noise(search.trials[1].score, search.trials[0].score)
    chosen = search.best
    assert chosen is search.trials[wins]


def test_a_hundredth_is_worth_having_however_large_the_noise() -> None:
    rng = np.random.default_rng(0)
    narrow = rng.random(20)
    for behind, is_near in ((0.005, True), (0.02, False)):
        apart = rng.standard_normal(20) * 0.2
        wide = narrow + apart - apart.mean() + behind * narrow.mean() / (1 - behind)
        assert is_within_noise(Score(wide, {}), Score(narrow, {})) == is_near
