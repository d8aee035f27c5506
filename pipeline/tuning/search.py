"""Choosing parameters on hidden pairs within a budget of seconds: which candidates are tried, and which one wins.

Nothing here knows a method: candidates are names with changes to a configuration, and whoever calls hands in
how a candidate is embedded and how its table is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.tuning.validation import Score, standard_error

#: Users that every candidate is ranked for; those that are not clearly worse are then ranked for all.
FIRST_UNITS = 1_000
#: Standard errors of the paired difference by which a candidate must fall behind to be given up after these.
_CLEARLY_WORSE = 2.0
#: Share of the figure that no narrower or cheaper table makes up for, however large the noise.
_WORTH_HAVING = 0.01
#: A candidate is tried in its turn if so many of its kind would fit what is left of the budget.
_PATIENCE = 4.0
#: A candidate of equal width takes the place of a better one within noise if it costs at most this share.
_MUCH_CHEAPER = 0.5


class Candidate(Protocol):
    """Parameters worth a try."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def why(self) -> str:
        """Why it is worth a try."""
        ...

    @property
    def changes(self) -> Mapping[str, Any]:
        """Keys of ``[embedding]`` and their values, "dim" among them."""
        ...

    @property
    def cost(self) -> float:
        """About what embedding takes, in any unit that candidates share."""
        ...


@dataclass(frozen=True, eq=False)
class Vectors:
    """A candidate's rows as they are measured, the similarity that ranks; CPU seconds and bytes of one table."""

    rows: NDArray[np.float32]
    similarity: str
    cpu_seconds: float
    table_bytes: int


Embed = Callable[[Mapping[str, Any]], Vectors]


class Measure(Protocol):
    """What tables are measured by."""

    @property
    def units(self) -> int:
        """Users, source nodes or shuffles there are."""
        ...

    def __call__(self, rows: NDArray[np.float32], similarity: str, units: int) -> Score:
        """Score a table by its first ``units`` units."""
        ...


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate that was embedded and measured.

    is_whole : measured by all units; else it fell behind on the first of them, and ``score`` is of those.
    seconds : from the first product to the last figure, ``embed_seconds`` of them embedding.
    """

    candidate: Candidate
    score: Score
    is_whole: bool
    table_bytes: int
    cpu_seconds: float
    embed_seconds: float
    seconds: float

    @property
    def dim(self) -> int:
        """Width of its table."""
        return width_of(self.candidate)


@dataclass
class Budget:
    """Seconds to spend, by a clock that the caller hands in; ``started`` is its value when they began."""

    seconds: float
    clock: Callable[[], float]
    started: float

    @property
    def spent(self) -> float:
        """Seconds gone."""
        return self.clock() - self.started

    def allows(self, seconds: float, share: float = 1.0) -> bool:
        """Whether so many seconds more stay within a share of the budget."""
        return self.spent + seconds <= share * self.seconds


@dataclass
class Search:
    """Tries candidates, and remembers what came of each.

    seconds_a_cost : what a unit of cost may take, before anything was timed; 0 where nobody knows.
    skipped : candidates that the budget had no room for. refused : candidates that can't be run on this graph,
    with the reason.
    """

    embed: Embed
    measure: Measure
    budget: Budget
    on_trial: Callable[[Trial], object] | None = None
    seconds_a_cost: float = 0.0
    trials: list[Trial] = field(default_factory=list)
    refused: list[tuple[Candidate, str]] = field(default_factory=list)
    _skipped: dict[str, Candidate] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _score_rate: float = 0.0  # seconds a unit and column

    @property
    def skipped(self) -> list[Candidate]:
        """Candidates that there was no time for."""
        return list(self._skipped.values())

    def try_all(self, candidates: Sequence[Candidate], share: float = 1.0) -> None:
        """Try candidates in order, as long as what each is expected to take stays within a share of the budget.

        One that is expected to take more than a quarter of what is left waits until the others had their turn: it
        might have nothing left to be compared with. A candidate is tried once, however often it is named. Where
        none of them fits and nothing has been tried yet, the cheapest is tried, whatever it takes.
        """
        waiting: list[Candidate] = []
        for candidate in candidates:
            if self.budget.allows(_PATIENCE * self._expected_seconds(candidate), share):
                self._try_if_new(candidate, share)
            else:
                waiting.append(candidate)
        for candidate in waiting:
            self._try_if_new(candidate, share)
        while not self.trials and self._skipped:
            cheapest = min(self._skipped.values(), key=lambda candidate: candidate.cost)
            self._try(cheapest, _key(cheapest))

    def refine(self, neighbors: Callable[[Candidate], Sequence[Candidate]], share: float = 1.0) -> None:
        """Try the neighbours of the best of each width, until none is new or there is no time for any."""
        while True:
            before = len(self.trials)
            for dim in widths_of(self.trials):
                best = choose([trial for trial in self.trials if trial.dim == dim])
                if best is not None:
                    self.try_all(neighbors(best.candidate), share)
            if len(self.trials) == before:
                return

    def _try_if_new(self, candidate: Candidate, share: float) -> None:
        key = _key(candidate)
        if key in self._seen:
            return
        if self.budget.allows(self._expected_seconds(candidate), share):
            self._try(candidate, key)
        else:
            self._skipped[key] = candidate

    def _try(self, candidate: Candidate, key: str) -> None:
        self._skipped.pop(key, None)
        self._seen.add(key)
        try:
            self._embed_and_measure(candidate)
        except ConfigError as error:
            self.refused.append((candidate, str(error)))

    def _embed_and_measure(self, candidate: Candidate) -> None:
        clock, measure = self.budget.clock, self.measure
        started = clock()
        vectors = self.embed(candidate.changes)
        embedded = clock()
        units = min(FIRST_UNITS, measure.units)
        score = measure(vectors.rows, vectors.similarity, units)
        if units < measure.units and self._may_win(candidate, score):
            scored = clock()
            units = measure.units
            score = measure(vectors.rows, vectors.similarity, units)
        else:
            scored = embedded
        ended = clock()
        self._score_rate = (ended - scored) / max(units * width_of(candidate), 1)
        trial = Trial(
            candidate=candidate,
            score=score,
            is_whole=units == measure.units,
            table_bytes=vectors.table_bytes,
            cpu_seconds=vectors.cpu_seconds,
            embed_seconds=embedded - started,
            seconds=ended - started,
        )
        self.trials.append(trial)
        if self.on_trial is not None:
            self.on_trial(trial)

    def _may_win(self, candidate: Candidate, score: Score) -> bool:
        """Whether the first units leave it open that a candidate is the best of its width."""
        rival = choose([trial for trial in self.trials if trial.dim == width_of(candidate)])
        if rival is None:
            return True
        behind = rival.score.deciding[: score.deciding.size] - score.deciding
        return bool(behind.mean() <= _CLEARLY_WORSE * standard_error(behind))

    def _expected_seconds(self, candidate: Candidate) -> float:
        """What a candidate will take: by its cost, at the rate of the last of its kind, else at the worst rate."""
        if not self.trials:
            return self.seconds_a_cost * candidate.cost
        same = [trial for trial in self.trials if _kind(trial.candidate) == _kind(candidate)]
        rates = [trial.embed_seconds / max(trial.candidate.cost, 1e-9) for trial in same[-1:] or self.trials]
        return max(rates) * candidate.cost + self._score_rate * self.measure.units * width_of(candidate)


def choose(trials: Sequence[Trial]) -> Trial | None:
    """The winner: the best deciding figure, unless a narrower or much cheaper table is within noise of it.

    Within noise is a mean difference, unit by unit, of at most its standard error and a hundredth of the figure.
    Of the tables within noise of the best the narrowest are taken, of these the best, and in its place the cheapest
    of those that cost at most half as much. None if no trial was measured by all units.
    """
    whole = [trial for trial in trials if trial.is_whole]
    if not whole:
        return None
    best = max(whole, key=lambda trial: trial.score.value)
    near = [trial for trial in whole if is_within_noise(best.score, trial.score)]
    narrowest = min(trial.dim for trial in near)
    top = max((trial for trial in near if trial.dim == narrowest), key=lambda trial: trial.score.value)
    cheap = [
        trial for trial in near if trial.dim == narrowest and trial.candidate.cost <= _MUCH_CHEAPER * top.candidate.cost
    ]
    return min(cheap, key=lambda trial: trial.candidate.cost, default=top)


def is_within_noise(best: Score, other: Score) -> bool:
    """Whether two scores of the same units differ by no more than the standard error of their difference.

    And by no more than a hundredth: where units are few, noise hides differences that are worth having.
    """
    behind = best.deciding - other.deciding
    return bool(behind.mean() <= min(standard_error(behind), _WORTH_HAVING * abs(best.value))) if behind.size else True


def width_of(candidate: Candidate) -> int:
    """Columns of a candidate's table."""
    return int(candidate.changes["dim"])


def widths_of(trials: Sequence[Trial]) -> list[int]:
    """Widths that were tried, ascending."""
    return sorted({trial.dim for trial in trials})


def _key(candidate: Candidate) -> str:
    return json.dumps(dict(candidate.changes), sort_keys=True, default=str)


def _kind(candidate: Candidate) -> tuple[Any, Any]:
    return candidate.changes.get("method"), candidate.changes.get("form")
