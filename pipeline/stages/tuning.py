"""Training pairs -> parameters: hide some pairs, embed what is left in memory with candidates, keep the best.

What is embedded here is what a run embeds: the same kernels, on one block. Nothing of [evaluate] is read: pairs
held out by index are not among the training pairs, and a file of test pairs is never opened.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from pipeline.blocks import Block
from pipeline.config import PipelineConfig
from pipeline.embedding.in_memory import block_from_edges, embed_in_memory
from pipeline.embedding.rows import Settings
from pipeline.errors import ConfigError, InputError
from pipeline.evaluation.candidates import GraphFacts, Use, advice, at_width, candidate_of, candidates, refinements
from pipeline.evaluation.splits import MIN_PAIRS, CoarseTimesError, hide_edges, hide_latest, hide_per_user
from pipeline.evaluation.tuning import Budget, Candidate, Measure, Search, Trial, Vectors, choose, widths_of
from pipeline.evaluation.validation import K, LabelValidation, RankingValidation, SeveralValidations, TrainPart
from pipeline.stages.node_labels import read_labels
from pipeline.stages.pair_weights import INPUT, PairWeights, parted
from pipeline.stages.published_metadata import similarity_of
from pipeline.stages.training_graph import TrainingGraph, history_of, read_training_graph
from pipeline.workspace import Workspace
from schemas.tables import WEIGHT_UNIT

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
#: Keys of [embedding] that say how a run is done and are no parameters of a method: candidates leave them alone.
_KEPT = frozenset(
    {
        "seed",
        "boundary",
        "boundary_dtype",
        "halo_hops",
        "border_join",
        "quotient_weight",
        "shards",
        "align",
        "attribute_share",
    }
)
#: Of one core, for a multiply-add with the graph, rather too many: what the first candidate is priced by.
_SECONDS_A_PRODUCT = 1e-9
#: Shares of the budget: tuning at the width asked for, before other widths are looked at.
_BEFORE_CURVE, _BEFORE_REMARK = 0.6, 0.85


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
    """

    folds: Sequence[Fold]
    measure: Measure
    decides: str
    facts: Mapping[str, Any]
    remarks: Sequence[str]


@dataclass(frozen=True, eq=False)
class Tuned:
    """What came of it.

    split : JSON values about the hidden pairs. decides : the figure that decides. best : by width.
    chosen : the one for the config; why : the reason. curve : trials of its parameters at other widths.
    changes : keys to set by section, None for one to leave out. dropped : keys of [embedding] to leave out.
    remarks : sentences about the data and the budget. advice : sentences about the choice.
    """

    split: Mapping[str, Any]
    decides: str
    trials: Sequence[Trial]
    best: Mapping[int, Trial]
    chosen: Trial
    why: str
    curve: Sequence[Trial]
    changes: Mapping[str, Mapping[str, Any]]
    dropped: frozenset[str]
    skipped: Sequence[Candidate]
    refused: Sequence[tuple[Candidate, str]]
    remarks: Sequence[str]
    advice: Sequence[str]


def tune(
    config: PipelineConfig,
    workspace: Workspace,
    wishes: Wishes,
    budget: Budget,
    on_trial: Callable[[Trial], object] | None = None,
) -> Tuned:
    """Choose the parameters of ``[embedding]``. The caller holds the date's lock; ingest and index have run.

    Raises
    ------
    ConfigError : no candidate can be run on this graph. InputError : too few pairs to hide any.
    """
    dims = wishes.dims or (config.embedding.dim,)
    graph = read_training_graph(config, workspace, wishes.max_pairs, wishes.seed)
    remarks = [_said_of_sample(graph)] if graph.is_sampled else []
    if config.attributes:
        remarks.append("node attributes are left out while tuning: candidates are compared by the pairs alone")
    question = ask_for_labels if wishes.labels else ask_for_pairs
    asked = question(config, graph, workspace, wishes, max(dims))
    embed = Embedder(config, graph, asked.folds, wishes.use)
    facts, weights = _facts(graph, asked.folds[0].stays, wishes.use), asked.folds[0].weights
    search = Search(embed, asked.measure, budget, on_trial, _SECONDS_A_PRODUCT)
    share = _BEFORE_CURVE if wishes.with_curve else _BEFORE_REMARK if len(dims) == 1 else 1.0
    with threadpool_limits(1):  # as tasks have it; and seconds mean one core
        search.try_all(first_candidates(config, facts, dims), share)
        search.refine(lambda best: [*weights.variants(best, facts), *refinements(best, facts)], share)
        chosen = choose(search.trials)
        if chosen is None:
            reasons = "; ".join(f"{candidate.name}: {reason}" for candidate, reason in search.refused)
            raise ConfigError(f"no candidate can be run on this graph: {reasons}")
        tried = tuple(search.trials)
        curve = _curve(search, chosen, facts, wishes, dims)
    if len(tried) == 1:
        remarks.append(
            f"the budget of {budget.seconds:g} s had room for one candidate only, which nothing was compared with"
        )
    best = {dim: choose([trial for trial in tried if trial.dim == dim]) for dim in widths_of(tried)}
    given = config.embedding.model_dump(mode="json", exclude_unset=True)
    of_embedding, of_input = parted(chosen.candidate.changes)
    return Tuned(
        split={**asked.facts, "pairs": graph.src.size, "all_pairs": graph.all_pairs},
        decides=asked.decides,
        trials=tried,
        best={dim: trial for dim, trial in best.items() if trial is not None},
        chosen=chosen,
        why=_why(chosen, tried),
        curve=curve,
        changes={"embedding": of_embedding, "input": of_input},
        dropped=frozenset(given) - _KEPT - set(of_embedding),
        skipped=search.skipped,
        refused=search.refused,
        remarks=[*remarks, *asked.remarks],
        advice=advice(facts, tried),
    )


def _why(chosen: Trial, tried: Sequence[Trial]) -> str:
    """Say how the winner was found."""
    whole = [trial for trial in tried if trial.is_whole]
    best = max(whole, key=lambda trial: trial.score.value)
    if best is chosen:
        return f"the best of {len(tried)} candidates"
    reason = "narrower" if chosen.dim < best.dim else "cheaper"
    return (
        f"{reason} than {best.candidate.name} (dim {best.dim}, {best.score.value:.4f}), the best of {len(tried)} "
        "candidates, and no worse than by one standard error"
    )


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
        return Question(folds, measure, f"ndcg@{K}", facts, remarks)
    remarks.append(
        f"{measure.units:,} can be ranked after that moment; so {len(splits) - 1} earlier moments are tried as well, "
        "each with the pairs before it"
    )
    several = SeveralValidations(splits)
    return Question(folds, several, f"ndcg@{K}", {**facts, "units": several.units, "splits": len(splits)}, remarks)


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


class Embedder:
    """Embeds the pairs that stay with the changes of a candidate, as a run would; several splits one below another."""

    def __init__(self, config: PipelineConfig, graph: TrainingGraph, folds: Sequence[Fold], use: Use) -> None:
        self._config, self._graph, self._folds, self._use = config, graph, folds, use
        self._of_input: Mapping[str, Any] | None = None
        self._blocks: list[Block] = []

    def __call__(self, changes: Mapping[str, Any]) -> Vectors:
        """Raise ConfigError for changes that the config's checks refuse."""
        graph = self._graph
        config = self._config_of(changes)
        settings = Settings(
            embedding=config.embedding,
            form=config.form,
            nodes=graph.nodes,
            source=graph.source,
            target=graph.target,
        )
        blocks = self._blocks_for(parted(changes)[1])
        started = time.process_time()
        tables = [embed_in_memory(block, settings) for block in blocks]
        seconds = (time.process_time() - started) / len(tables)
        rows = tables[0] if len(tables) == 1 else np.concatenate(tables)
        return Vectors(rows, similarity_of(settings)[self._use], seconds, tables[0].nbytes)

    def _blocks_for(self, of_input: Mapping[str, Any]) -> list[Block]:
        """Return the blocks with a candidate's weights. The last ones are kept: neighbours have the same."""
        if of_input != self._of_input:
            self._blocks = [self._block(fold, of_input) for fold in self._folds]
            self._of_input = of_input
        return self._blocks

    def _block(self, fold: Fold, of_input: Mapping[str, Any]) -> Block:
        graph = self._graph
        weight = fold.weights.weights({f"{INPUT}{name}": value for name, value in of_input.items()})
        alive = weight > 0
        src, dst = (ends[fold.stays][alive] for ends in (graph.src, graph.dst))
        return block_from_edges(graph.node_key, src, dst, weight[alive])

    def _config_of(self, changes: Mapping[str, Any]) -> PipelineConfig:
        changes, of_input = parted(changes)
        given = self._config.model_dump(mode="json", exclude_unset=True)
        given["input"] = {key: value for key, value in (given["input"] | of_input).items() if value is not None}
        kept = {key: value for key, value in given.get("embedding", {}).items() if key in _KEPT}
        try:
            return PipelineConfig.model_validate({**given, "embedding": {**kept, **changes}})
        except ValidationError as error:
            raise ConfigError("; ".join(str(finding["msg"]) for finding in error.errors())) from error


def first_candidates(config: PipelineConfig, facts: GraphFacts, dims: Sequence[int]) -> list[Candidate]:
    """Return what to try first, best bets first; the config's own parameters, which have to be beaten, come second."""
    found: list[Candidate] = list(candidates(facts, dims))
    given = config.embedding.model_dump(mode="json", exclude_unset=True)
    own = {key: value for key, value in given.items() if key not in _KEPT}
    as_given = [candidate_of("as given", "the config's own parameters", {**own, "dim": dim}, facts) for dim in dims]
    return [*found[: len(dims)], *as_given, *found[len(dims) :]]


def _curve(search: Search, chosen: Trial, facts: GraphFacts, wishes: Wishes, dims: Sequence[int]) -> list[Trial]:
    """Try the chosen parameters at other widths: half and double; with ``with_curve`` two octaves each way."""
    octaves = (0.5, 2.0, 0.25, 4.0) if wishes.with_curve else (0.5, 2.0) if len(dims) == 1 else ()
    widths = [int(chosen.dim * octave) for octave in octaves] + (list(dims) if wishes.with_curve else [])
    known = {chosen.dim: chosen}
    for width in widths:
        if width >= 1 and width not in known:
            before = len(search.trials)
            search.try_all([at_width(chosen.candidate, width, facts)])
            if len(search.trials) > before:
                known[width] = search.trials[-1]
    return [known[width] for width in sorted(known)] if len(known) > 1 else []


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


def _said_of_sample(graph: TrainingGraph) -> str:
    kept = "nodes" if graph.is_plain else "users"
    return (
        f"tuned on {graph.src.size:,} of {graph.all_pairs:,} pairs, those of {kept} chosen by hash, so that pairs and "
        "rows fit memory (or --max-pairs); figures are of that smaller graph"
    )


def _facts(graph: TrainingGraph, stays: NDArray[np.bool_], use: Use) -> GraphFacts:
    return GraphFacts(
        is_plain=graph.is_plain,
        sources=graph.source[1] - graph.source[0],
        targets=graph.target[1] - graph.target[0],
        edges=int(stays.sum()),
        is_weighted=bool((graph.weight * WEIGHT_UNIT != 1.0).any()),
        use=use,
    )
