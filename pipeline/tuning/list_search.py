"""Choosing the parameters of lists on hidden pairs: which are tried, in what order, and which win.

Pure: whoever calls hands in how lists with some parameters are made and scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pipeline.tuning.search import Budget
from pipeline.tuning.validation import Score, standard_error

#: What is tried on every graph, best bets first: restarts as edges weigh; powers of degrees that edges are weighed
#: anew with, at the best restart; other weights of pairs, where the input has weights or times; then what lies halfway
#: between the best and its neighbours.
RESTARTS = (0.5, 0.7, 0.85, 0.3, 0.15)
EDGE_POWERS = (0.2, 0.4)
#: Each of these with every walk: they rank the same scores anew.
CORRECTIONS = tuple(n / 20 for n in range(17))
_HALVINGS = 2
_REWEIGHINGS = 3  # rounds of other weights of pairs
_BEFORE_WHOLE = 0.6  # of the budget; what is left is for those that all users are asked about
#: Standard errors of the paired difference by which a walk must fall behind on the first users to be given up.
_CLEARLY_WORSE = 2.0
_MOST_WHOLE = 4  # walks measured by all users
_FEWEST_FIRST = 500


@dataclass(frozen=True)
class Walk:
    """What sets the scores: keys of [ppr], and of [input] those that weigh pairs, with their values."""

    restart: float
    edge_degree_power: float = 0.0
    of_input: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class ListTrial:
    """Parameters that were tried. is_whole : by all users, else by the first of them."""

    walk: Walk
    degree_correction: float
    score: Score
    is_whole: bool


@dataclass(frozen=True, eq=False)
class Look:
    """One walk with all corrections, by some users; ``best`` of its trials; seconds of the clock."""

    trials: Sequence[ListTrial]
    best: ListTrial
    seconds: float


class Solve(Protocol):
    """Lists of one walk, scored."""

    def __call__(self, walk: Walk, corrections: Sequence[float], units: int) -> Sequence[Score]:
        """Return a score for each correction, by the first ``units`` users."""
        ...


@dataclass
class ListSearch:
    """Looks at walks within a budget.

    weighed_otherwise : a walk over pairs that weigh otherwise, as other keys of [input] would have it.
    skipped : walks that there was no time for.
    """

    solve: Solve
    units: int
    budget: Budget
    on_look: Callable[[Look], object] | None = None
    weighed_otherwise: Callable[[Walk], Sequence[Walk]] = lambda _: ()
    looks: list[Look] = field(default_factory=list)
    skipped: list[Walk] = field(default_factory=list)
    _rate: float = 0.0  # seconds a user

    def run(self, walk: Walk, degree_correction: float) -> ListTrial:
        """Try the table of candidates and the parameters given, and return the best.

        All are looked at by the first fifth of the users, at least 500. Those that are then not clearly worse than
        the best are looked at by all users, who decide. The first look takes what it takes, the others only what is
        left of the budget, and what lies between the table's walks is left out beyond `_BEFORE_WHOLE` of it.
        """
        corrections = tuple(sorted({*CORRECTIONS, degree_correction}))
        first = min(self.units, max(_FEWEST_FIRST, self.units // 5))

        def look(*walks: Walk, share: float = 1.0) -> None:
            for one in walks:
                self._look(one, corrections, first, share)

        look(*(Walk(restart) for restart in RESTARTS), walk)
        look(*(Walk(self._best.walk.restart, power) for power in EDGE_POWERS))
        for _ in range(_REWEIGHINGS):
            look(*self.weighed_otherwise(self._best.walk), share=_BEFORE_WHOLE)
        for _ in range(_HALVINGS):
            best = self._best.walk
            restarts = _beside(best.restart, [one.restart for one in self._walks])
            look(*(replace(best, restart=restart) for restart in restarts), share=_BEFORE_WHOLE)
            best = self._best.walk
            powers = _beside(best.edge_degree_power, [one.edge_degree_power for one in self._walks])
            look(*(replace(best, edge_degree_power=power) for power in powers), share=_BEFORE_WHOLE)
        for one in self._promising():
            self._look(one, corrections, self.units)
        return self._best

    @property
    def _walks(self) -> list[Walk]:
        return [look.best.walk for look in self.looks]

    @property
    def _best(self) -> ListTrial:
        whole = [look.best for look in self.looks if look.best.is_whole]
        return best_of(whole or [look.best for look in self.looks])

    def _look(self, walk: Walk, corrections: Sequence[float], units: int, share: float = 1.0) -> None:
        is_whole = units == self.units
        if any(look.best.walk == walk and look.best.is_whole >= is_whole for look in self.looks):
            return
        if self.looks and not self.budget.allows(self._rate * units, share):
            self.skipped.append(walk)
            return
        started = self.budget.clock()
        scores = self.solve(walk, corrections, units)
        seconds = self.budget.clock() - started
        self._rate = seconds / max(units, 1)
        trials = [ListTrial(walk, one, score, is_whole) for one, score in zip(corrections, scores, strict=True)]
        look = Look(trials, best_of(trials), seconds)
        self.looks.append(look)
        if self.on_look is not None:
            self.on_look(look)

    def _promising(self) -> list[Walk]:
        """Walks that the first users leave open, best first."""
        best = self._best
        others = sorted((look.best for look in self.looks), key=_merit, reverse=True)
        return [trial.walk for trial in others if not _is_clearly_worse(trial.score, best.score)][:_MOST_WHOLE]


def best_of(trials: Sequence[ListTrial]) -> ListTrial:
    """Return the trial with the best deciding figure; of equal ones the least correction, then the highest restart."""
    return max(trials, key=_merit)


def _merit(trial: ListTrial) -> tuple[float, ...]:
    return (trial.score.value, -trial.degree_correction, -abs(trial.walk.edge_degree_power), trial.walk.restart)


def _beside(best: float, known: Sequence[float]) -> list[float]:
    """Values halfway from the best to the next known ones, in hundredths; none beyond the outermost."""
    nearest = [
        max((value for value in known if value < best), default=best),
        min((value for value in known if value > best), default=best),
    ]
    return [value for value in (round((best + other) / 2, 2) for other in nearest) if value != best]


def _is_clearly_worse(score: Score, best: Score) -> bool:
    behind = best.deciding - score.deciding
    return bool(behind.mean() > _CLEARLY_WORSE * standard_error(behind))
