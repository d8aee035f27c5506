"""What candidates are asked while tuning: some pairs are hidden, by time, by user or by edge, or some labels."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.model import PipelineConfig
from pipeline.errors import ConfigError, InputError
from pipeline.tuning.candidates import Use
from pipeline.tuning.node_labels import read_labels
from pipeline.tuning.pair_weights import PairWeights
from pipeline.tuning.search import Measure
from pipeline.tuning.splits import MIN_PAIRS, CoarseTimesError, hide_edges, hide_latest, hide_per_user
from pipeline.tuning.training_graph import TrainingGraph, history_of
from pipeline.tuning.validation import K, LabelValidation, RankingValidation, SeveralValidations, TrainPart
from pipeline.workspace import Workspace

#: Of a user's pairs, or of all pairs by time: as large as the common test sets are.
PAIR_SHARE = 0.2
#: Of a plain graph's edges.
EDGE_SHARE = 0.15
#: Fewer sources after a cut by time are too few to tell candidates apart: up to two earlier cuts are added.
_FEW_SOURCES, _MOST_FOLDS = 300, 3
#: Validation users, and products of one ranking: a few seconds on one core for all of them.
MAX_USERS = 5_000
_MAX_PRODUCTS = 1e11
_FEWEST_USERS = 200


@dataclass(frozen=True)
class Wishes:
    """What was asked for.

    dims : widths; none: that of the config. by_time : None where the input's times decide.
    """

    dims: tuple[int, ...] = ()
    use: Use = "retrieval"
    by_time: bool | None = None
    with_curve: bool = False
    seed: int = 0
    max_users: int = MAX_USERS
    max_pairs: int = 2**62
    labels: str | None = None


@dataclass(frozen=True, eq=False)
class Fold:
    """A split: which pairs stay, (pairs,) bool, and what those could weigh."""

    stays: NDArray[np.bool_]
    weights: PairWeights


@dataclass(frozen=True, eq=False)
class Question:
    """What candidates are asked: which pairs they may learn from, and how their tables are measured.

    decides : the figure that decides. facts : JSON values about what is hidden. remarks : sentences.
    splits : what ``measure`` asks of each fold; none where labels decide.
    """

    folds: Sequence[Fold]
    measure: Measure
    decides: str
    facts: Mapping[str, Any]
    remarks: Sequence[str]
    splits: Sequence[RankingValidation] = ()


def ask_for_labels(
    config: PipelineConfig, graph: TrainingGraph, workspace: Workspace, wishes: Wishes, _: int
) -> Question:
    """All pairs stay; labels of some nodes are hidden from a linear model."""
    node_type = config.input.source_type
    found = read_labels(str(wishes.labels), node_type, graph, workspace)
    measure = LabelValidation(graph.node_key, found.position, found.labels, wishes.seed)
    facts = {
        "by": "label",
        "sentence": f"half of the labels of {found.position.size:,} nodes, {len(found.names)} different ones",
        "unit": "shuffles",
        "units": measure.units,
        "unknown_nodes": found.unknown_nodes,
    }
    remarks = [f"{found.unknown_nodes:,} labelled nodes have no pair and are left out"] if found.unknown_nodes else []
    stays = np.ones(graph.src.size, np.bool_)
    events = history_of(graph, workspace).events if config.input.weight else None
    weights = PairWeights(config, graph, stays, None, events, None)
    return Question([Fold(stays, weights)], measure, "micro-F1", facts, remarks)


def ask_for_pairs(
    config: PipelineConfig, graph: TrainingGraph, workspace: Workspace, wishes: Wishes, dim: int
) -> Question:
    """Some pairs are hidden, and ranked among all."""
    needs_history = config.input.timestamp is not None or config.input.weight is not None
    history = history_of(graph, workspace) if needs_history else None
    last_us, events = (history.last_us, history.events) if history else (None, None)
    is_hidden, by, sentence, remarks, moment = hidden_pairs(graph, last_us, wishes)
    users = _users(wishes, graph, dim)
    measure = RankingValidation(_train_part(graph, ~is_hidden, is_hidden), users, wishes.seed)
    if not measure.units:
        raise InputError(
            "no pair can be hidden while its user keeps others: tuning needs users or nodes with 5 pairs or more; "
            "keep the defaults of [embedding]"
        )
    facts = {
        "by": by,
        "sentence": sentence,
        "unit": "nodes" if graph.is_plain else "users",
        "units": measure.units,
        "population": measure.population,
        "hidden_pairs": measure.hidden_pairs,
        "unknown_pairs": measure.unknown_pairs,
        "unknown_sources": measure.unknown_sources,
        "targets": measure.targets,
    }
    folds = [Fold(~is_hidden, PairWeights(config, graph, ~is_hidden, last_us, events, moment))]
    splits = [measure]
    remarks = [*remarks, *_said_of_unknown(measure)]
    while last_us is not None and moment is not None and measure.units < _FEW_SOURCES and len(splits) < _MOST_FOLDS:
        try:
            cut = hide_latest(last_us[last_us < moment], PAIR_SHARE)
        except CoarseTimesError:
            break
        stays, is_asked = last_us < cut.moment, (last_us >= cut.moment) & (last_us < moment)
        if graph.is_plain:
            is_asked &= graph.src != graph.dst
        earlier = RankingValidation(_train_part(graph, stays, is_asked), min(users, _FEW_SOURCES), wishes.seed)
        if not earlier.units:
            break
        moment = cut.moment
        splits.append(earlier)
        folds.append(Fold(stays, PairWeights(config, graph, stays, last_us, events, moment)))
    if len(splits) == 1:
        return Question(folds, measure, f"ndcg@{K}", facts, remarks, splits)
    remarks.append(
        f"{measure.units:,} can be ranked after that moment; so {len(splits) - 1} earlier moments are tried as well, "
        "each with the pairs before it"
    )
    several = SeveralValidations(splits)
    told = {**facts, "units": several.units, "splits": len(splits)}
    return Question(folds, several, f"ndcg@{K}", told, remarks, splits)


def _train_part(graph: TrainingGraph, stays: NDArray[np.bool_], is_hidden: NDArray[np.bool_]) -> TrainPart:
    return TrainPart(
        node_key=graph.node_key,
        src=graph.src[stays],
        dst=graph.dst[stays],
        hidden_src=graph.src[is_hidden],
        hidden_dst=graph.dst[is_hidden],
        target=graph.target,
        is_plain=graph.is_plain,
    )


def _said_of_unknown(measure: RankingValidation) -> list[str]:
    found = []
    if measure.unknown_sources:
        found.append(f"{measure.unknown_sources:,} of those with hidden pairs have no other pair and are not ranked")
    if measure.unknown_pairs:
        found.append(
            f"{measure.unknown_pairs:,} of {measure.hidden_pairs:,} hidden pairs end in a node without any other "
            "pair, which no table can find; they count as missed"
        )
    return found


def hidden_pairs(
    graph: TrainingGraph, last_us: NDArray[np.int64] | None, wishes: Wishes
) -> tuple[NDArray[np.bool_], str, str, list[str], int | None]:
    """Hide pairs: the latest ones where there are times, else some of each user's, or of all edges.

    Returns
    -------
    (pairs,) bool; "time", "user" or "edge"; a sentence about what is hidden; remarks; the moment of a cut by time.

    Raises
    ------
    ConfigError : --by-time without times. InputError : --by-time, and they are too coarse.
    """
    remarks: list[str] = []
    is_hidden: NDArray[np.bool_] | None = None
    moment: int | None = None
    moments = last_us if wishes.by_time is not False else None
    if moments is None and wishes.by_time:
        raise ConfigError("--by-time needs times: name the column in input.timestamp, or leave the option out")
    if moments is not None:
        try:
            cut = hide_latest(moments, PAIR_SHARE)
        except CoarseTimesError as error:
            if wishes.by_time:
                raise InputError(f"--by-time: {error}; leave the option out to split pair by pair") from error
            remarks.append(f"not split by time: {error}")
        else:
            is_hidden, by = cut.is_hidden & (graph.src != graph.dst) if graph.is_plain else cut.is_hidden, "time"
            moment = cut.moment
            shown = dt.datetime.fromtimestamp(moment / 1e6, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
            sentence = f"the {is_hidden.mean():.1%} of the pairs that were last seen from {shown} on"
    if is_hidden is None and graph.is_plain:
        is_hidden, by = hide_edges(graph.src, graph.dst, graph.node_key, EDGE_SHARE, wishes.seed), "edge"
        sentence = f"{is_hidden.mean():.1%} of the edges, drawn by hash"
    elif is_hidden is None:
        is_hidden = hide_per_user(graph.src, graph.dst, graph.node_key, PAIR_SHARE, wishes.seed)
        by, sentence = "user", f"{PAIR_SHARE:.0%} of the pairs of each user with {MIN_PAIRS} or more, drawn by hash"
    return is_hidden, by, sentence, remarks, moment


def _users(wishes: Wishes, graph: TrainingGraph, dim: int) -> int:
    """Return how many users to rank for: as many as asked, as long as one ranking takes a few seconds."""
    targets = graph.target[1] - graph.target[0]
    return min(wishes.max_users, max(_FEWEST_USERS, int(_MAX_PRODUCTS / (targets * dim))))
