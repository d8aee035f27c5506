"""What else [input] could make of pairs' weights: a decay by age, or no weight column. Tried as parameters are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.model import PipelineConfig
from pipeline.ingest.decay import decayed, half_life_us
from pipeline.tuning.candidates import GraphFacts, candidate_of
from pipeline.tuning.search import Candidate
from pipeline.tuning.training_graph import TrainingGraph
from schemas.tables import WEIGHT_UNIT

#: Keys of [input] among a candidate's changes begin so; None as a value leaves the key out.
INPUT = "input."
_HALF_LIFE, _WEIGHT = f"{INPUT}half_life_days", f"{INPUT}weight"

_DAY_US = 86_400_000_000
#: The first half-life tried is this share of the time that the pairs span; then halves and doubles of the best.
_FIRST_SHARE = 1 / 8
_SHORTEST_SHARE = 1 / 256


class PairWeights:
    """Weights of the pairs that stay, as they are and as other keys of ``[input]`` would make them.

    A pair decays from its last event: pairs with several events would decay a little faster in a run. Without
    ``input.weight`` a pair counts its events. Decay is only offered where later pairs are asked for.

    Parameters
    ----------
    last_us, events : (pairs,) int64 of all pairs of the graph; None where they are not known.
    until_us : the moment from which on pairs are asked for; None: they are not split by time.
    """

    def __init__(
        self,
        config: PipelineConfig,
        graph: TrainingGraph,
        stays: NDArray[np.bool_],
        last_us: NDArray[np.int64] | None,
        events: NDArray[np.int64] | None,
        until_us: int | None,
    ) -> None:
        self._weight = graph.weight[stays]
        self._last_us = None if last_us is None else last_us[stays]
        self._events = None if events is None else events[stays]
        self._until_us = until_us
        given = config.input
        self._may_decay = given.half_life_days is None
        self._may_drop_weight = given.weight is not None and given.event is None and given.half_life_days is None

    def weights(self, changes: Mapping[str, Any]) -> NDArray[np.int64]:
        """Return (pairs that stay,) int64 fixed point with a candidate's keys of ``[input]``; 0: no pair any more."""
        weight = self._weight
        if _WEIGHT in changes and self._events is not None:
            weight = self._events * round(1 / WEIGHT_UNIT)
        if _HALF_LIFE in changes and self._last_us is not None and self._until_us is not None:
            weight = decayed(weight, self._last_us, self._until_us, half_life_us(changes[_HALF_LIFE]))
        return weight

    def variants(self, best: Candidate, facts: GraphFacts) -> list[Candidate]:
        """Return a candidate with other weights: without the column, with a decay, with half and double of it."""
        found: list[Candidate] = []
        for changes in self.beside(best.changes):
            days = changes.get(_HALF_LIFE)
            if days == best.changes.get(_HALF_LIFE):
                name, why = f"{best.name}, no weights", "the best so far, without input.weight"
            else:
                name = f"{best.name.partition(', half-life')[0]}, half-life {days:g} d"
                why = f"the best so far, with input.half_life_days = {days:g}"
            found.append(candidate_of(name, why, changes, facts))
        return found

    def beside(self, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return changes with one key of ``[input]`` more, or with half and double of its half-life."""
        found: list[dict[str, Any]] = []
        if self._may_drop_weight and self._events is not None and _WEIGHT not in changes:
            found.append({**changes, _WEIGHT: None})
        return [*found, *({**changes, _HALF_LIFE: days} for days in self._half_lives(changes))]

    def _half_lives(self, changes: Mapping[str, Any]) -> list[float]:
        if not self._may_decay or self._last_us is None or self._until_us is None or not self._last_us.size:
            return []
        span = (self._until_us - int(self._last_us.min())) / _DAY_US
        given = changes.get(_HALF_LIFE)
        asked = [given / 2, given * 2] if given else [_FIRST_SHARE * span]
        # Three digits: a half-life is a number that people read.
        return [float(f"{days:.3g}") for days in asked if _SHORTEST_SHARE * span <= days <= span]


def parted(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a candidate's changes of [embedding], and those of [input] by their names there."""
    of_input = {key.removeprefix(INPUT): value for key, value in changes.items() if key.startswith(INPUT)}
    return {key: value for key, value in changes.items() if not key.startswith(INPUT)}, of_input
