"""Training pairs -> parameters: hide some pairs, embed what is left in memory with candidates, keep the best.

What is embedded here is what a run embeds: the same kernels, on one block. Nothing of [evaluate] is read: pairs
held out by index are not among the training pairs, and a file of test pairs is never opened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from pipeline.blocks.arrays import Block
from pipeline.config.model import PipelineConfig
from pipeline.embedding.in_memory import block_from_edges, embed_in_memory
from pipeline.embedding.rows import Settings
from pipeline.errors import ConfigError
from pipeline.release_tables.metadata import similarity_of
from pipeline.stages.embed import walk_settings
from pipeline.tuning.candidates import GraphFacts, Use, advice, at_width, candidate_of, candidates, refinements
from pipeline.tuning.pair_weights import INPUT, parted
from pipeline.tuning.search import Budget, Candidate, Search, Trial, Vectors, choose, widths_of
from pipeline.tuning.training_graph import TrainingGraph, read_training_graph
from pipeline.tuning.validation_tasks import Fold, Wishes, ask_for_labels, ask_for_pairs
from pipeline.workspace import Workspace
from schemas.tables import WEIGHT_UNIT

#: Keys of [embedding] that say how a run is done and are no parameters of a method: candidates leave them alone.
KEPT = frozenset(
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
    remarks = [said_of_sample(graph)] if graph.is_sampled else []
    if config.attributes:
        remarks.append("node attributes are left out while tuning: candidates are compared by the pairs alone")
    question = ask_for_labels if wishes.labels else ask_for_pairs
    asked = question(config, graph, workspace, wishes, max(dims))
    embed = Embedder(config, graph, asked.folds, wishes.use)
    facts, weights = _facts(config, graph, asked.folds[0].stays, wishes.use), asked.folds[0].weights
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
        dropped=frozenset(given) - KEPT - set(of_embedding),
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
            **walk_settings(config),
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
        kept = {key: value for key, value in given.get("embedding", {}).items() if key in KEPT}
        try:
            return PipelineConfig.model_validate({**given, "embedding": {**kept, **changes}})
        except ValidationError as error:
            raise ConfigError("; ".join(str(finding["msg"]) for finding in error.errors())) from error


def first_candidates(config: PipelineConfig, facts: GraphFacts, dims: Sequence[int]) -> list[Candidate]:
    """Return what to try first, best bets first; the config's own parameters, which have to be beaten, come second."""
    found: list[Candidate] = list(candidates(facts, dims))
    given = config.embedding.model_dump(mode="json", exclude_unset=True)
    own = {key: value for key, value in given.items() if key not in KEPT}
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


def said_of_sample(graph: TrainingGraph) -> str:
    """Say which pairs tuning was done on."""
    kept = "nodes" if graph.is_plain else "users"
    return (
        f"tuned on {graph.src.size:,} of {graph.all_pairs:,} pairs, those of {kept} chosen by hash, so that they fit "
        "memory and some candidates fit the budget (--max-pairs sets another number); figures are of that smaller graph"
    )


def _facts(config: PipelineConfig, graph: TrainingGraph, stays: NDArray[np.bool_], use: Use) -> GraphFacts:
    return GraphFacts(
        is_plain=graph.is_plain,
        sources=graph.source[1] - graph.source[0],
        targets=graph.target[1] - graph.target[0],
        edges=int(stays.sum()),
        is_weighted=config.input.weight is not None and bool((graph.weight * WEIGHT_UNIT != 1.0).any()),
        use=use,
    )
