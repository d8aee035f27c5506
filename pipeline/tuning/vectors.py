"""Training pairs -> parameters of [embedding]: hide some pairs, embed the others with candidates, choose the best.

What is embedded here is what a run embeds: the same kernels, on one block. Nothing of [evaluate] is read: pairs
held out by index are not among the training pairs, and a file of test pairs is never opened.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.blocks.arrays import Features
from pipeline.config.model import PipelineConfig
from pipeline.embedding.attribute_rows import rows_of_attributes
from pipeline.errors import ConfigError
from pipeline.tuning.candidates import GraphFacts, advice, at_width, candidate_of, candidates, refinements
from pipeline.tuning.cold_start import choose_cold_start, hide_targets
from pipeline.tuning.embedder import RUN_KEYS, Embedder, Vectors
from pipeline.tuning.interests import tune_interests
from pipeline.tuning.options import ColdStartChoice, InterestChoice, TuneOptions, TuningResult, Use
from pipeline.tuning.pair_weights import split_changes
from pipeline.tuning.search import Budget, Candidate, CandidateTable, Search, Trial, widths_of
from pipeline.tuning.training_graph import TrainingGraph, read_training_graph, sample_remarks
from pipeline.tuning.validation import Score, TableValidation, is_within_noise
from pipeline.tuning.validation_tasks import ValidationTask, hide_labels, hide_pairs, users_ranked
from pipeline.workspace import Workspace
from schemas.tables import WEIGHT_UNIT

#: Users that every candidate is ranked for; those that are not clearly worse are then ranked for all.
FIRST_UNITS = 1_000
#: Of one core, for a multiply-add with the graph, rather too many: what the first candidate is priced by.
_SECONDS_A_PRODUCT = 1e-9
#: Shares of the budget: tuning at the width asked for, before other widths are looked at.
_BEFORE_CURVE, _BEFORE_INTERESTS, _BEFORE_REMARK = 0.6, 0.7, 0.85
#: Weights of attributes in start rows that are tried.
_ATTRIBUTE_SHARES = (0.0, 0.2, 0.5)
#: A candidate of equal width takes the place of a better one within noise if it costs at most this share.
_MUCH_CHEAPER = 0.5


def tune_vectors(
    config: PipelineConfig,
    workspace: Workspace,
    options: TuneOptions,
    budget: Budget,
    on_trial: Callable[[Trial], object] | None = None,
) -> TuningResult:
    """Choose the parameters of ``[embedding]``. The caller holds the date's lock; ingest and index have run.

    Raises
    ------
    ConfigError : no candidate can be run on this graph. InputError : too few pairs to hide any.
    """
    dims = options.dims or (config.embedding.dim,)
    graph = read_training_graph(config, workspace, options.max_pairs, options.seed)
    remarks = sample_remarks(graph)
    task = (hide_labels if options.labels else hide_pairs)(config, graph, workspace, options, max(dims))
    weights = [split.weights for split in task.splits]
    facts = _graph_facts(config, graph, weights[0].stays, options.use)
    embedder = Embedder(config, graph, weights, options.use)
    search = Search(VectorSubject(embedder, task.validation), budget, on_trial, _SECONDS_A_PRODUCT)
    share = _BEFORE_CURVE if options.with_curve else _BEFORE_REMARK if len(dims) == 1 else 1.0
    tries_interests = options.use == "retrieval"
    share = min(share, _BEFORE_INTERESTS if tries_interests else 1.0)
    with threadpool_limits(1):  # as tasks have it; and seconds mean one core
        search.try_all(first_candidates(config, facts, dims), share)
        search.refine(
            lambda best: [
                *weights[0].variants(best),
                *_shares_of_attributes(config, best),
                *_queryable(config, refinements(best, facts)),
            ],
            share,
        )
        winner = search.best
        if winner is None:
            reasons = "; ".join(f"{candidate.name}: {reason}" for candidate, reason in search.refusals)
            raise ConfigError(f"no candidate can be run on this graph: {reasons}")
        trials = tuple(search.trials)
        interests: InterestChoice | None = None
        if tries_interests:
            outcome = tune_interests(config, graph, task, options, search, embedder, winner)
            if isinstance(outcome, str):
                remarks.append(f"lists by several interests of a source are not tried: {outcome}")
            else:
                winner, interests = outcome
        curve = _width_curve(search, winner, facts, dims, with_curve=options.with_curve)
        cold_start = _cold_start(config, graph, task, options, budget, winner)
    if len(trials) == 1:
        remarks.append(
            f"the budget of {budget.seconds:g} s had room for one candidate only, which nothing was compared with"
        )
    if config.input.target_type in config.attributes and not cold_start and not options.labels:
        remarks.append(
            "attributes find no item whose pairs are all hidden, whatever its norm; [cold_start] is left as it is"
        )
    best = {dim: choose_table([trial for trial in trials if trial.candidate.width == dim]) for dim in widths_of(trials)}
    of_embedding, of_others = split_changes(winner.candidate.changes)
    config_keys = config.embedding.model_dump(mode="json", exclude_unset=True)
    return TuningResult(
        split={**task.facts, "pairs": graph.src.size, "all_pairs": graph.all_pairs},
        decides=task.decides,
        trials=trials,
        winner=winner,
        changes={
            "embedding": of_embedding,
            **of_others,
            **_keys_of(cold_start),
            **_changed_interests(config, interests),
        },
        remarks=[*remarks, *task.remarks],
        advice=advice(facts, trials),
        skipped_candidates=search.skipped_candidates,
        refusals=search.refusals,
        best={dim: trial for dim, trial in best.items() if trial is not None},
        reason=_reason(winner, trials),
        curve=curve,
        dropped_keys=frozenset(config_keys) - RUN_KEYS - set(of_embedding),
        cold_start=cold_start,
        interests=interests,
    )


def _cold_start(
    config: PipelineConfig,
    graph: TrainingGraph,
    task: ValidationTask,
    options: TuneOptions,
    budget: Budget,
    winner: Trial,
) -> ColdStartChoice | None:
    """Choose the keys of [cold_start] for the chosen parameters; None where nothing tells, or products don't rank."""
    if options.labels or graph.is_plain:
        return None
    split = hide_targets(
        graph, task.splits[0].weights, users_ranked(options, graph, winner.candidate.width), options.seed
    )
    if split is None:
        return None
    spent_before, embedder = budget.spent_seconds, Embedder(config, graph, [split.weights], options.use)
    vectors = embedder(winner.candidate.changes)
    if vectors.similarity != "dot":
        return None
    cold, features = np.flatnonzero(split.is_cold), graph.features
    if features is None:
        features = Features.of_counts(np.zeros(graph.nodes, np.int64), np.empty(0, np.uint64), np.empty(0, np.float32))
    own, settings = vectors.rows[cold], embedder.settings(winner.candidate.changes)
    keys = settings.embedding
    if not own.any() and not keys.standardize_columns and keys.compatibility is None:
        own = rows_of_attributes(features.rows(cold), settings)

    def allows(trial_count: int) -> bool:
        return budget.allows((budget.spent_seconds - spent_before) / trial_count)

    return choose_cold_start(split, features, vectors.rows, own, options.cold_loss, allows)


def _queryable(config: PipelineConfig, several: Sequence[Candidate]) -> Sequence[Candidate]:
    """Leave out what queries can't be made of, where the config asks for some."""
    return [
        candidate
        for candidate in several
        if not config.interests.clusters or candidate.changes.get("compatibility") is None
    ]


def _changed_interests(config: PipelineConfig, choice: InterestChoice | None) -> dict[str, dict[str, Any]]:
    if choice is None:
        return {}
    before, now = (keys.model_dump(mode="json") for keys in (config.interests, choice.keys))
    return {"interests": {name: value for name, value in now.items() if value != before[name]}}


def _keys_of(choice: ColdStartChoice | None) -> dict[str, dict[str, Any]]:
    if choice is None:
        return {}
    keys = {"rows": choice.rows, "list_share": float(f"{choice.list_share:.3g}"), "ridge": choice.ridge, "norm": None}
    return {"cold_start": keys}


def _shares_of_attributes(config: PipelineConfig, best: Candidate) -> list[Candidate]:
    """Return the best candidate with other weights of attributes in its start rows, where it has any."""
    if not config.attributes or best.changes.get("method", "fastrp") != "fastrp":
        return []
    own = best.changes.get("attribute_share", config.embedding.attribute_share)
    name = best.name.partition(", attributes ")[0]
    return [
        replace(
            best,
            name=f"{name}, attributes {share:g}",
            why=f"the best so far, with attribute_share = {share:g}",
            changes={**best.changes, "attribute_share": share},
        )
        for share in _ATTRIBUTE_SHARES
        if share != own
    ]


class VectorSubject:
    """Vectors as what is tuned: a candidate is embedded and its rows are ranked or classified."""

    variants: Sequence[Mapping[str, Any]] = ({},)

    def __init__(self, embed: Embedder, validation: TableValidation) -> None:
        self._embed, self._validation = embed, validation
        self.units, self.first_units = validation.units, FIRST_UNITS

    def build(self, candidate: Candidate) -> CandidateTable:
        """Embed."""
        vectors = self._embed(candidate.changes)
        return CandidateTable(partial(self._scores, vectors), vectors.cpu_seconds, vectors.table_bytes)

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        """Return the winner."""
        return choose_table(trials)

    def _scores(self, vectors: Vectors, units: int) -> list[Score]:
        return [self._validation(vectors.rows, vectors.similarity, units)]


def choose_table(trials: Sequence[Trial]) -> Trial | None:
    """Return the best by the deciding figure, unless a narrower or much cheaper table is within noise of it.

    The narrowest of the tables within noise of the best are taken, then the best of these, and in its place the
    cheapest of those that cost at most half as much. None if no trial was scored by all units.
    """
    whole = [trial for trial in trials if trial.is_whole]
    if not whole:
        return None
    best = max(whole, key=_value)
    near = [trial for trial in whole if is_within_noise(best.score, trial.score)]
    narrowest = min(trial.candidate.width for trial in near)
    near = [trial for trial in near if trial.candidate.width == narrowest]
    top = max(near, key=_value)
    cheap = [trial for trial in near if trial.candidate.cost <= _MUCH_CHEAPER * top.candidate.cost]
    return min(cheap, key=lambda trial: trial.candidate.cost, default=top)


def first_candidates(config: PipelineConfig, facts: GraphFacts, dims: Sequence[int]) -> list[Candidate]:
    """Return what to try first, best presets first; the config's own parameters, which must be beaten, come second."""
    presets = candidates(facts, dims)
    config_keys = config.embedding.model_dump(mode="json", exclude_unset=True)
    own = {key: value for key, value in config_keys.items() if key not in RUN_KEYS}
    as_given = [candidate_of("as given", "the config's own parameters", {**own, "dim": dim}, facts) for dim in dims]
    return [*presets[: len(dims)], *as_given, *presets[len(dims) :]]


def _width_curve(
    search: Search, winner: Trial, facts: GraphFacts, dims: Sequence[int], *, with_curve: bool
) -> list[Trial]:
    """Try the chosen parameters at other widths: half and double; ``with_curve`` two octaves each way."""
    width = winner.candidate.width
    octaves = (0.5, 2.0, 0.25, 4.0) if with_curve else (0.5, 2.0) if len(dims) == 1 else ()
    by_width = {width: winner}
    for other_width in [int(width * octave) for octave in octaves] + (list(dims) if with_curve else []):
        if other_width >= 1 and other_width not in by_width:
            before = len(search.trials)
            search.try_all([at_width(winner.candidate, other_width, facts)])
            if len(search.trials) > before:
                by_width[other_width] = search.trials[-1]
    return [by_width[key] for key in sorted(by_width)] if len(by_width) > 1 else []


def _reason(winner: Trial, trials: Sequence[Trial]) -> str:
    """Say why the winner was chosen."""
    best = max((trial for trial in trials if trial.is_whole), key=_value)
    if best is winner:
        return f"the best of {len(trials)} candidates"
    if best.candidate.changes.get("compatibility") and not winner.candidate.changes.get("compatibility"):
        return f"lists by its interests win against those by {best.candidate.name}, within noise of which it is"
    reason = "narrower" if winner.candidate.width < best.candidate.width else "cheaper"
    return (
        f"{reason} than {best.candidate.name} (dim {best.candidate.width}, {best.score.value:.4f}), the best of "
        f"{len(trials)} candidates, and no worse than by one standard error"
    )


def _value(trial: Trial) -> float:
    return trial.score.value


def _graph_facts(config: PipelineConfig, graph: TrainingGraph, stays: NDArray[np.bool_], use: Use) -> GraphFacts:
    return GraphFacts(
        is_plain=graph.is_plain,
        sources=graph.source[1] - graph.source[0],
        targets=graph.target[1] - graph.target[0],
        edges=int(stays.sum()),
        is_weighted=config.input.weight is not None and bool((graph.weight * WEIGHT_UNIT != 1.0).any()),
        use=use,
    )
