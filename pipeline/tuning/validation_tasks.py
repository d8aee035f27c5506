"""The validation task of tuning: some pairs are hidden, by time, by user or by edge, or some labels."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config.model import PipelineConfig
from pipeline.errors import ConfigError, InputError
from pipeline.ingest.id_files import read_id_file
from pipeline.metrics.scored_tables import label_matrix
from pipeline.tuning.options import TuneOptions
from pipeline.tuning.pair_weights import PairWeights
from pipeline.tuning.splits import MIN_PAIRS, CoarseTimesError, hide_edges, hide_latest, hide_per_user
from pipeline.tuning.training_graph import History, TrainingGraph, history_of, positions_of
from pipeline.tuning.validation import (
    K,
    LabelValidation,
    RankingValidation,
    SeveralValidations,
    TableValidation,
    TrainPart,
)
from pipeline.workspace import Workspace

_FEWEST = 20  # labelled nodes: half of them train a model


@dataclass(frozen=True, eq=False)
class ClassLabels:
    """Labels of some nodes.

    position : (m,) int64 ascending. labels : (m, labels) bool, a node may have several. names : of the labels.
    unknown_nodes : labelled nodes that the graph does not have.
    """

    position: NDArray[np.int64]
    labels: NDArray[np.bool_]
    names: tuple[str, ...]
    unknown_nodes: int


def read_labels(file: str, node_type: str, graph: TrainingGraph, workspace: Workspace) -> ClassLabels:
    """Read a Parquet or CSV file with the columns ``node`` and ``label``, one row for each label of a node.

    Raises
    ------
    InputError : it can't be read, lacks a column, or labels fewer than 20 nodes of the graph or one label only.
    """
    texts = {"node": pa.string(), "label": pa.string()}
    table = read_id_file(Path(file), texts, texts, "--labels").drop_null().combine_chunks()
    node, label = table["node"].combine_chunks(), table["label"].combine_chunks()
    at = positions_of(node, node_type, graph, workspace)
    position, labels, names = label_matrix(at, label)
    if position.size < _FEWEST or len(names) < 2:
        raise InputError(
            f"--labels {file} gives {len(names)} labels to {position.size} nodes of the graph ({node_type}); at least "
            f"2 labels and {_FEWEST} nodes are needed to learn and to test"
        )
    unknown = len(node.filter(pa.array(at < 0)).unique())
    return ClassLabels(position, labels, names, unknown)


#: Of a user's pairs, or of all pairs by time: as large as the common test sets are.
PAIR_SHARE = 0.2
#: Of a plain graph's edges.
EDGE_SHARE = 0.15
#: Fewer sources after a cut by time are too few to tell candidates apart: up to two earlier cuts are added.
_FEW_SOURCES, _MOST_SPLITS = 300, 3
#: Products of one ranking: a few seconds on one core for all users.
_MAX_PRODUCTS = 1e11
_FEWEST_USERS = 200


@dataclass(frozen=True, eq=False)
class Split:
    """Pairs that stay, with what they could weigh, and the ranking of the pairs that are hidden, if any are."""

    weights: PairWeights
    ranking: RankingValidation | None = None


@dataclass(frozen=True, eq=False)
class ValidationTask:
    """What candidates may learn from, and how their tables are scored.

    decides : the figure that decides. facts : JSON values about what is hidden. remarks : sentences.
    """

    splits: Sequence[Split]
    validation: TableValidation
    decides: str
    facts: Mapping[str, Any]
    remarks: Sequence[str]


@dataclass(frozen=True, eq=False)
class HiddenPairs:
    """Pairs to hide, (pairs,) bool.

    by : "time", "user" or "edge". sentence : what is hidden. moment : of a cut by time, in microseconds UTC.
    """

    is_hidden: NDArray[np.bool_]
    by: str
    sentence: str
    remarks: Sequence[str] = ()
    moment: int | None = None


def hide_labels(
    config: PipelineConfig, graph: TrainingGraph, workspace: Workspace, options: TuneOptions, _: int
) -> ValidationTask:
    """Keep all pairs, and hide labels of some nodes from a linear model."""
    nodes = read_labels(str(options.labels), config.input.source_type, graph, workspace)
    validation = LabelValidation(graph.node_key, nodes.position, nodes.labels, options.seed)
    facts = {
        "by": "label",
        "sentence": f"half of the labels of {nodes.position.size:,} nodes, {len(nodes.names)} different ones",
        "unit": "shuffles",
        "units": validation.units,
        "unknown_nodes": nodes.unknown_nodes,
    }
    remarks = [f"{nodes.unknown_nodes:,} labelled nodes have no pair and are left out"] if nodes.unknown_nodes else []
    history = history_of(graph, workspace) if config.input.weight else None
    weights = PairWeights(config, graph, np.ones(graph.src.size, np.bool_), history, None)
    return ValidationTask([Split(weights)], validation, "micro-F1", facts, remarks)


def hide_pairs(
    config: PipelineConfig, graph: TrainingGraph, workspace: Workspace, options: TuneOptions, dim: int
) -> ValidationTask:
    """Hide some pairs, which tables of width ``dim`` rank among all."""
    needs_history = config.input.timestamp is not None or config.input.weight is not None
    history = history_of(graph, workspace) if needs_history else None
    selection = choose_hidden(graph, None if history is None else history.last_us, options)
    users = users_ranked(options, graph, dim)
    ranking = _ranking(graph, ~selection.is_hidden, selection.is_hidden, users, options.seed)
    if not ranking.units:
        raise InputError(
            "no pair can be hidden while its user keeps others: tuning needs users or nodes with 5 pairs or more; "
            "keep the defaults of [embedding]"
        )
    facts = {
        "by": selection.by,
        "sentence": selection.sentence,
        "unit": "nodes" if graph.is_plain else "users",
        "units": ranking.units,
        "population": ranking.population,
        "hidden_pairs": ranking.hidden_pairs,
        "unknown_pairs": ranking.unknown_pairs,
        "unknown_sources": ranking.unknown_sources,
        "targets": ranking.targets,
    }
    remarks = [*selection.remarks, *_unknown_remarks(ranking)]
    split = Split(PairWeights(config, graph, ~selection.is_hidden, history, selection.moment), ranking)
    earlier: list[Split] = []
    if history is not None and selection.moment is not None and ranking.units < _FEW_SOURCES:
        earlier = _earlier_splits(config, graph, history, selection.moment, min(users, _FEW_SOURCES), options.seed)
    if not earlier:
        return ValidationTask([split], ranking, f"ndcg@{K}", facts, remarks)
    remarks.append(
        f"{ranking.units:,} can be ranked after that moment; so {len(earlier)} earlier moments are tried as well, "
        "each with the pairs before it"
    )
    splits = [split, *earlier]
    several = SeveralValidations([split.ranking for split in splits if split.ranking is not None])
    facts |= {"units": several.units, "splits": len(splits)}
    return ValidationTask(splits, several, f"ndcg@{K}", facts, remarks)


def _earlier_splits(
    config: PipelineConfig, graph: TrainingGraph, history: History, moment: int, max_sources: int, seed: int
) -> list[Split]:
    """Return splits at moments before that of the first, as many as there may be and as times allow."""
    last_us = history.last_us
    splits: list[Split] = []
    while last_us is not None and len(splits) + 1 < _MOST_SPLITS:
        try:
            cut = hide_latest(last_us[last_us < moment], PAIR_SHARE)
        except CoarseTimesError:
            break
        stays, is_hidden = last_us < cut.moment, (last_us >= cut.moment) & (last_us < moment)
        if graph.is_plain:
            is_hidden &= graph.src != graph.dst
        ranking = _ranking(graph, stays, is_hidden, max_sources, seed)
        if not ranking.units:
            break
        moment = cut.moment
        splits.append(Split(PairWeights(config, graph, stays, history, moment), ranking))
    return splits


def _ranking(
    graph: TrainingGraph, stays: NDArray[np.bool_], is_hidden: NDArray[np.bool_], max_sources: int, seed: int
) -> RankingValidation:
    train = TrainPart(
        node_key=graph.node_key,
        src=graph.src[stays],
        dst=graph.dst[stays],
        hidden_src=graph.src[is_hidden],
        hidden_dst=graph.dst[is_hidden],
        target=graph.target,
        is_plain=graph.is_plain,
    )
    return RankingValidation(train, max_sources, seed)


def _unknown_remarks(ranking: RankingValidation) -> list[str]:
    remarks = []
    if ranking.unknown_sources:
        remarks.append(f"{ranking.unknown_sources:,} of those with hidden pairs have no other pair and are not ranked")
    if ranking.unknown_pairs:
        remarks.append(
            f"{ranking.unknown_pairs:,} of {ranking.hidden_pairs:,} hidden pairs end in a node without any other "
            "pair, which no table can find; they count as missed"
        )
    return remarks


def choose_hidden(graph: TrainingGraph, last_us: NDArray[np.int64] | None, options: TuneOptions) -> HiddenPairs:
    """Choose pairs to hide: the latest ones where there are times, else some of each user's, or of all edges.

    Raises
    ------
    ConfigError : --by-time without times. InputError : --by-time, and they are too coarse.
    """
    remarks: list[str] = []
    if last_us is None and options.by_time:
        raise ConfigError("--by-time needs times: name the column in input.timestamp, or leave the option out")
    if last_us is not None and options.by_time is not False:
        try:
            cut = hide_latest(last_us, PAIR_SHARE)
        except CoarseTimesError as error:
            if options.by_time:
                raise InputError(f"--by-time: {error}; leave the option out to split pair by pair") from error
            remarks.append(f"not split by time: {error}")
        else:
            is_hidden = cut.is_hidden & (graph.src != graph.dst) if graph.is_plain else cut.is_hidden
            moment = dt.datetime.fromtimestamp(cut.moment / 1e6, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
            sentence = f"the {is_hidden.mean():.1%} of the pairs that were last seen from {moment} on"
            return HiddenPairs(is_hidden, "time", sentence, moment=cut.moment)
    if graph.is_plain:
        is_hidden = hide_edges(graph.src, graph.dst, graph.node_key, EDGE_SHARE, options.seed)
        return HiddenPairs(is_hidden, "edge", f"{is_hidden.mean():.1%} of the edges, drawn by hash", remarks)
    share = options.share_of_user or PAIR_SHARE
    is_hidden = hide_per_user(graph.src, graph.dst, graph.node_key, share, options.seed)
    sentence = f"{share:.0%} of the pairs of each user with {MIN_PAIRS} or more, drawn by hash"
    return HiddenPairs(is_hidden, "user", sentence, remarks)


def users_ranked(options: TuneOptions, graph: TrainingGraph, dim: int) -> int:
    """Return how many users to rank for: as many as asked, as long as one ranking takes a few seconds."""
    targets = graph.target[1] - graph.target[0]
    return min(options.max_users, max(_FEWEST_USERS, int(_MAX_PRODUCTS / (targets * dim))))
