"""The search for parameters: candidates are tried on growing samples of hidden data within a budget of seconds.

Nothing here knows what is tuned. A ``Subject`` builds the table of a candidate in memory, scores it, and chooses.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.errors import ConfigError
from pipeline.tuning.validation import Score, standard_error

#: Standard errors of the paired difference by which a candidate must fall behind on the first units to be given up.
_CLEARLY_WORSE = 2.0
#: A candidate is tried in its turn if so many of its kind would fit what is left of the budget.
_PATIENCE = 4.0


@dataclass(frozen=True)
class Candidate:
    """Parameters worth a try.

    why : one sentence. changes : config keys with their values; those of ``[input]`` begin with "input.".
    cost : of building the table, in a unit that candidates share. width : columns of the table; candidates of one
    width compete with each other. kind : candidates of one kind take the same seconds for each unit of cost.
    """

    name: str
    why: str
    changes: Mapping[str, Any]
    cost: float = 1.0
    width: int = 1
    kind: str = ""

    @property
    def key(self) -> str:
        """Text that is equal for equal changes."""
        return json.dumps(dict(self.changes), sort_keys=True, default=str)


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """The table of a candidate in memory.

    scores : returns the scores by the first units, one for each of the subject's variants.
    """

    scores: Callable[[int], Sequence[Score]]
    cpu_seconds: float = 0.0
    nbytes: int = 0


@dataclass(frozen=True, eq=False)
class VariantScore:
    """Changes that a built table was scored with, and its score."""

    changes: Mapping[str, Any]
    score: Score


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate that was built and scored.

    variants : in the order of the subject's; ``best`` is one of them.
    is_whole : scored by all units, else by the first of them.
    seconds : from the start of the build to the last score, ``build_seconds`` of them for the build.
    """

    candidate: Candidate
    variants: Sequence[VariantScore]
    best: VariantScore
    is_whole: bool
    build_seconds: float
    seconds: float
    cpu_seconds: float
    table_bytes: int

    @property
    def score(self) -> Score:
        """The score of the best variant."""
        return self.best.score


class Subject(Protocol):
    """What is tuned.

    units : users, source nodes or shuffles of labels there are. first_units : those that every candidate is scored
    by. variants : changes that a built table is scored with, each on its own; of equal ones the first is the best.
    """

    units: int
    first_units: int
    variants: Sequence[Mapping[str, Any]]

    def build(self, candidate: Candidate) -> CandidateTable:
        """Build the table; raise ConfigError for a candidate that can't be run on this graph."""
        ...

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        """Return the best trial; None if there is none to choose."""
        ...


@dataclass
class Budget:
    """Seconds to spend by the clock of the caller; ``start`` is its value when they began."""

    seconds: float
    clock: Callable[[], float]
    start: float

    @property
    def spent_seconds(self) -> float:
        """Seconds gone."""
        return self.clock() - self.start

    def allows(self, seconds: float, share: float = 1.0) -> bool:
        """Whether so many seconds more stay within a share of the budget."""
        return self.spent_seconds + seconds <= share * self.seconds


@dataclass
class Search:
    """Tries candidates and keeps their trials.

    seconds_a_cost : what a unit of cost may take before anything was timed; 0 where nobody knows.
    defers_whole : only `score_finalists` scores by all units. Else a candidate that the first units leave open is
        scored by all units at once.
    refusals : candidates that can't be run on this graph, with the reason.
    """

    subject: Subject
    budget: Budget
    on_trial: Callable[[Trial], object] | None = None
    seconds_a_cost: float = 0.0
    defers_whole: bool = False
    trials: list[Trial] = field(default_factory=list)
    refusals: list[tuple[Candidate, str]] = field(default_factory=list)
    _skipped_by_key: dict[str, Candidate] = field(default_factory=dict)
    _keys: set[str] = field(default_factory=set)
    _score_rate: float = 0.0  # seconds a unit and column

    @property
    def skipped_candidates(self) -> list[Candidate]:
        """Candidates that there was no time for."""
        return list(self._skipped_by_key.values())

    @property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return self.subject.choose(self.trials)

    def try_all(self, candidates: Sequence[Candidate], share: float = 1.0) -> None:
        """Try candidates in order as long as their expected seconds stay within a share of the budget.

        A candidate that is expected to take more than a quarter of what is left waits until the others had their
        turn: it might have nothing left to be compared with. A candidate is tried once, however often it is named.
        The cheapest is tried whatever it takes where none of them fits and nothing has been tried yet.
        """
        waiting: list[Candidate] = []
        for candidate in candidates:
            if self.budget.allows(_PATIENCE * self._expected_seconds(candidate), share):
                self._try_if_new(candidate, share)
            else:
                waiting.append(candidate)
        for candidate in waiting:
            self._try_if_new(candidate, share)
        while not self.trials and self._skipped_by_key:
            self._try(min(self._skipped_by_key.values(), key=lambda candidate: candidate.cost))

    def refine(
        self, neighbors: Callable[[Candidate], Sequence[Candidate]], share: float = 1.0, rounds: int | None = None
    ) -> None:
        """Try the neighbours of the best of each width, until none is new or there is no time, or for some rounds."""
        while rounds is None or rounds > 0:
            before = len(self.trials)
            for width in widths_of(self.trials):
                best = self.subject.choose([trial for trial in self.trials if trial.candidate.width == width])
                if best is not None:
                    self.try_all(neighbors(best.candidate), share)
            if len(self.trials) == before:
                return
            rounds = None if rounds is None else rounds - 1

    def score_finalists(self, most: int) -> None:
        """Score by all units the best of those that the first units leave open."""
        best = self.best
        if best is None or best.is_whole:
            return
        rivals = [trial for trial in self.trials if not is_clearly_worse(trial.score, best.score)]
        finalists: list[Candidate] = []
        while rivals and len(finalists) < most:
            top = self.subject.choose(rivals)
            assert top is not None
            rivals.remove(top)
            finalists.append(top.candidate)
        self.score_whole(finalists)

    def score_whole(self, candidates: Sequence[Candidate]) -> None:
        """Score candidates by all units, as long as there is time."""
        for candidate in candidates:
            if self.budget.allows(self._expected_seconds(candidate, self.subject.units)):
                self._build_and_score(candidate, self.subject.units)
            else:
                self._skipped_by_key[candidate.key] = candidate

    def _try_if_new(self, candidate: Candidate, share: float) -> None:
        if candidate.key in self._keys:
            return
        if self.budget.allows(self._expected_seconds(candidate), share):
            self._try(candidate)
        else:
            self._skipped_by_key[candidate.key] = candidate

    def _try(self, candidate: Candidate) -> None:
        self._skipped_by_key.pop(candidate.key, None)
        self._keys.add(candidate.key)
        try:
            self._build_and_score(candidate, min(self.subject.first_units, self.subject.units))
        except ConfigError as error:
            self.refusals.append((candidate, str(error)))

    def _build_and_score(self, candidate: Candidate, units: int) -> None:
        clock, subject = self.budget.clock, self.subject
        start = clock()
        table = subject.build(candidate)
        build_end = score_start = clock()
        variants = self._score(table, units)
        if units < subject.units and not self.defers_whole and self._may_win(candidate, _best_of(variants).score):
            score_start, units = clock(), subject.units
            variants = self._score(table, units)
        end = clock()
        self._score_rate = (end - score_start) / max(units * candidate.width, 1)
        trial = Trial(
            candidate=candidate,
            variants=variants,
            best=_best_of(variants),
            is_whole=units == subject.units,
            build_seconds=build_end - start,
            seconds=end - start,
            cpu_seconds=table.cpu_seconds,
            table_bytes=table.nbytes,
        )
        self.trials.append(trial)
        if self.on_trial is not None:
            self.on_trial(trial)

    def _score(self, table: CandidateTable, units: int) -> list[VariantScore]:
        return [VariantScore(*pair) for pair in zip(self.subject.variants, table.scores(units), strict=True)]

    def _may_win(self, candidate: Candidate, score: Score) -> bool:
        """Whether the first units leave it open that a candidate is the best of its width."""
        rival = self.subject.choose([trial for trial in self.trials if trial.candidate.width == candidate.width])
        return rival is None or not is_clearly_worse(score, rival.score)

    def _expected_seconds(self, candidate: Candidate, units: int | None = None) -> float:
        """Seconds that a candidate will take: at the rate of the last of its kind, else at the worst rate."""
        if not self.trials:
            return self.seconds_a_cost * candidate.cost
        if units is None:
            units = self.subject.first_units if self.defers_whole else self.subject.units
        same = [trial for trial in self.trials if trial.candidate.kind == candidate.kind]
        rates = [trial.build_seconds / max(trial.candidate.cost, 1e-9) for trial in same[-1:] or self.trials]
        return max(rates) * candidate.cost + self._score_rate * units * candidate.width


def is_clearly_worse(score: Score, best: Score) -> bool:
    """Whether a score is behind by more than noise explains, on the units that it has."""
    behind = best.deciding[: score.deciding.size] - score.deciding
    return bool(behind.mean() > _CLEARLY_WORSE * standard_error(behind))


def widths_of(trials: Sequence[Trial]) -> list[int]:
    """Return the widths that were tried, ascending."""
    return sorted({trial.candidate.width for trial in trials})


def _best_of(variants: Sequence[VariantScore]) -> VariantScore:
    """Return the best variant, the first of equal ones."""
    return max(variants, key=lambda variant: variant.score.value)
