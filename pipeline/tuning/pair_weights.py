"""Other weights of pairs that keys of the config would make, as candidates: decay by age, no weights, strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.config.model import PipelineConfig
from pipeline.embedding.in_memory import block_from_edges
from pipeline.ingest.decay import decay_weights, half_life_us
from pipeline.ingest.weights import times_strength
from pipeline.tuning.search import Candidate
from pipeline.tuning.training_graph import History, TrainingGraph
from schemas.tables import WEIGHT_UNIT

#: Keys of other sections than its own among a candidate's changes begin so; None as a value leaves the key out.
INPUT, _RELATIONS = "input.", "relations."
_HALF_LIFE, _WEIGHT = f"{INPUT}half_life_days", f"{INPUT}weight"

_DAY_US = 86_400_000_000
#: The first half-life tried is this share of the time that the pairs span; then halves and doubles of the best.
_FIRST_SHARE = 1 / 8
_SHORTEST_SHARE = 1 / 256
#: Strengths of a relation that are tried.
STRENGTHS = (0.0, 0.1, 0.3, 1.0, 3.0)


#: Both ends of pairs, by position, and their weights.
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


class PairWeights:
    """Weights of the pairs that stay, as they are and as other keys of ``[input]`` would make them.

    A pair decays from its last event: pairs with several events would decay a little faster in a run. Without
    ``input.weight`` a pair counts its events. Decay is only offered where later pairs are hidden.

    Parameters
    ----------
    stays : (pairs,) bool. history : of all pairs of the graph; None where it is unknown.
    until_us : the moment from which on pairs are hidden; None: they are not split by time.
    """

    def __init__(
        self,
        config: PipelineConfig,
        graph: TrainingGraph,
        stays: NDArray[np.bool_],
        history: History | None,
        until_us: int | None,
    ) -> None:
        self.stays = stays
        self._graph, self._weight = graph, graph.weight[stays]
        self._last_us = None if history is None or history.last_us is None else history.last_us[stays]
        self._events = None if history is None else history.events[stays]
        self._until_us = until_us
        keys = config.input
        self._may_decay = keys.half_life_days is None
        self._may_drop_weight = keys.weight is not None and keys.event is None and keys.half_life_days is None

    def weights(self, changes: Mapping[str, Any]) -> NDArray[np.int64]:
        """Return (pairs that stay,) int64 fixed point with a candidate's keys of ``[input]``; 0: no pair any more."""
        weight = self._weight
        if _WEIGHT in changes and self._events is not None:
            weight = self._events * round(1 / WEIGHT_UNIT)
        if _HALF_LIFE in changes and self._last_us is not None and self._until_us is not None:
            weight = decay_weights(weight, self._last_us, self._until_us, half_life_us(changes[_HALF_LIFE]))
        return weight

    def block(self, changes: Mapping[str, Any]) -> Block:
        """Return the graph of the pairs that stay, and of all other relations, weighed by a candidate's keys."""
        weight = self.weights(changes)
        is_alive = weight > 0
        graph = self._graph
        src, dst = (ends[self.stays][is_alive] for ends in (graph.src, graph.dst))
        strengths = [changes.get(strength_key(side.relation), side.strength) for side in graph.side_pairs]
        edges = [(src, dst, weight[is_alive])] + [
            (side.src, side.dst, times_strength(side.weight, strength))
            for side, strength in zip(graph.side_pairs, strengths, strict=True)
            if strength
        ]
        block = block_from_edges(graph.node_key, *(edges[0] if len(edges) == 1 else _sum_relations(edges, graph)))
        return block if graph.features is None else replace(block, features=graph.features.rows(block.node_ix))

    def without(self, is_hidden: NDArray[np.bool_]) -> PairWeights:
        """Return the weights of the pairs that stay where more are hidden; (pairs,) bool."""
        stays, remainder = ~is_hidden[self.stays], copy(self)
        remainder.stays = self.stays & ~is_hidden
        remainder._weight = self._weight[stays]
        remainder._last_us = None if self._last_us is None else self._last_us[stays]
        remainder._events = None if self._events is None else self._events[stays]
        return remainder

    def variants(self, best: Candidate) -> list[Candidate]:
        """Return a candidate with other weights: without the column, with a decay, with half and double of it."""
        variants: list[tuple[str, str, dict[str, Any]]] = []
        if self._may_drop_weight and self._events is not None and _WEIGHT not in best.changes:
            variants.append((f"{best.name}, no weights", "without input.weight", {_WEIGHT: None}))
        base_name = best.name.partition(", half-life")[0]
        for days in self._half_lives(best.changes):
            name = f"{base_name}, half-life {days:g} d"
            variants.append((name, f"with input.half_life_days = {days:g}", {_HALF_LIFE: days}))
        for side in (pairs for pairs in self._graph.side_pairs if pairs.is_tuned):
            key = strength_key(side.relation)
            name = best.name.partition(f", {side.relation} ")[0]
            variants += [
                (f"{name}, {side.relation} {strength:g}", f"with {key} = {strength:g}", {key: strength})
                for strength in STRENGTHS
                if strength != best.changes.get(key, side.strength)
            ]
        return [
            replace(best, name=name, why=f"the best so far, {change}", changes={**best.changes, **changes})
            for name, change, changes in variants
        ]

    def _half_lives(self, changes: Mapping[str, Any]) -> list[float]:
        if not self._may_decay or self._last_us is None or self._until_us is None or not self._last_us.size:
            return []
        span = (self._until_us - int(self._last_us.min())) / _DAY_US
        best = changes.get(_HALF_LIFE)
        neighbors = [best / 2, best * 2] if best else [_FIRST_SHARE * span]
        # Three digits: a half-life is a number that people read.
        return [float(f"{days:.3g}") for days in neighbors if _SHORTEST_SHARE * span <= days <= span]


class BlockCache:
    """Graphs of the pairs that stay, one for each split. The last ones are cached: most candidates weigh alike."""

    def __init__(self, splits: Sequence[PairWeights]) -> None:
        self._splits = splits
        self._keys: Mapping[str, Any] | None = None
        self._blocks: list[Block] = []

    def blocks_for(self, changes: Mapping[str, Any]) -> list[Block]:
        """Return the blocks with the weights that a candidate's keys of other sections make."""
        keys = {key: value for key, value in changes.items() if key.startswith((INPUT, _RELATIONS))}
        if keys != self._keys:
            self._blocks = [split.block(keys) for split in self._splits]
            self._keys = keys
        return self._blocks


def strength_key(relation: str) -> str:
    """Return how the strength of a relation is called among a candidate's changes."""
    return f"{_RELATIONS}{relation}.strength"


def _sum_relations(edges: Sequence[Pairs], graph: TrainingGraph) -> Pairs:
    """Return the edges of several relations, each pair once, with the sum of its weights."""
    src, dst, weight = (np.concatenate(columns) for columns in zip(*edges, strict=True))
    if graph.is_plain:
        src, dst = np.minimum(src, dst), np.maximum(src, dst)
    codes, place = np.unique(src * graph.nodes + dst, return_inverse=True)
    total = np.zeros(codes.size, np.int64)
    np.add.at(total, place, weight)
    return codes // graph.nodes, codes % graph.nodes, total


def split_changes(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return a candidate's changes of its own section, and those of others by section, with their names there."""
    own: dict[str, Any] = {}
    of_others: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        if key.startswith((INPUT, _RELATIONS)):
            section, _, name = key.rpartition(".")
            of_others.setdefault(section, {})[name] = value
        else:
            own[key] = value
    return own, of_others
