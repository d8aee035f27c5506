"""Training pairs -> parameters of [ppr] or [lists]: hide some pairs, list what is left, choose what finds them best.

Nothing of [evaluate] is read: pairs held out by index are not among the training pairs, and a file of test pairs is
never opened.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.errors import ConfigError
from pipeline.kernels.array_types import read_only
from pipeline.kernels.ppr_chebyshev import chebyshev_scores
from pipeline.kernels.ppr_chebyshev_bounds import smallest_tolerance
from pipeline.kernels.ppr_top_k import CandidateNodes, degree_factor, top_k_of_columns
from pipeline.kernels.ranking import NO_ROW, Exclusions
from pipeline.kernels.transition import single_seeds
from pipeline.tuning.filters import (
    SHARE_OF_USER,
    FilterSubject,
    choose_filter,
    filter_advice,
    filter_changes,
    filter_of,
    phi_of,
    search_filters,
)
from pipeline.tuning.list_search import (
    BEFORE_FINALISTS,
    MOST_FINALISTS,
    WEIGHT_ROUNDS,
    excluded_rows_of,
    first_units_of,
    halfway,
    score_lists,
)
from pipeline.tuning.options import TuneOptions, TuningResult
from pipeline.tuning.pair_weights import BlockCache, PairWeights, split_changes
from pipeline.tuning.search import Budget, Candidate, CandidateTable, Search, Trial
from pipeline.tuning.training_graph import TrainingGraph, read_training_graph, sample_remarks
from pipeline.tuning.validation import K, RankingValidation, Score
from pipeline.tuning.validation_tasks import PAIR_SHARE, hide_pairs
from pipeline.workspace import Workspace

#: What is tried on every graph, in this order: restarts as edges weigh; powers of degrees that edges are weighed anew
#: with, at the best restart; other weights of pairs, where the input has weights or times; then what lies halfway
#: between the best and its neighbours.
RESTARTS = (0.5, 0.7, 0.85, 0.3, 0.15)
EDGE_POWERS = (0.2, 0.4)
#: Each of these with every walk: they rank the same scores anew.
CORRECTIONS = tuple(n / 20 for n in range(17))
_HALVINGS = 2

#: Sum of a list's errors while tuning, at most; and as a share of the chance that a walk is three steps long, to where
#: the nodes worth listing begin. What is cut off by more looks like a parameter of its own: it moves figures.
_TOLERANCE, _OF_THREE_STEPS = 0.01, 0.3
#: Users times entries of the graph: a minute or two of one core for one restart's lists of all of them.
_MAX_WORK, _FEWEST_USERS = 1e10, 400
#: The same of filters, for each second of the budget: what ranks some finalists for all of these users. They are to
#: have as many hidden pairs as others have, of which they hide more.
_FILTER_WORK = 3e7
SOURCES_AT_ONCE = 128


def tune_lists(
    config: PipelineConfig,
    workspace: Workspace,
    options: TuneOptions,
    budget: Budget,
    on_trial: Callable[[Trial], object] | None = None,
) -> TuningResult:
    """Choose the walk and the correction, or the filter. The caller holds the date's lock; ingest and index have run.

    Raises
    ------
    ConfigError : lists hold nodes of another type than pairs lead to. InputError : too few pairs to hide any.
    """
    listed_type = config.listed_type
    if listed_type != config.input.target_type:
        raise ConfigError(
            f"{config.list_section}.target_type is '{listed_type}' and pairs lead to '{config.input.target_type}': "
            "hidden pairs say nothing of such lists; leave target_type out to tune"
        )
    graph = read_training_graph(config, workspace, options.max_pairs, options.seed)
    work, most = _MAX_WORK, options.max_users
    if config.lists.filter is not None:
        options = replace(options, share_of_user=SHARE_OF_USER)
        work, most = _FILTER_WORK * budget.seconds, round(PAIR_SHARE / SHARE_OF_USER) * most
    options = replace(options, max_users=int(min(most, max(_FEWEST_USERS, work / (2 * graph.src.size)))))
    task = hide_pairs(config, graph, workspace, options, 1)
    weights = [split.weights for split in task.splits]
    rankings = [split.ranking for split in task.splits if split.ranking is not None]
    subject: ListSubject | FilterSubject
    if config.lists.filter is None:
        subject = ListSubject(graph, weights, rankings, config.ppr.degree_correction)
        own = walk_of(config.ppr.restart, config.ppr.edge_degree_power)
    else:
        subject = FilterSubject(graph, weights, rankings, config.lists, config.embedding.seed)
        own = filter_of(phi_of(config.lists), config.lists.beta)
    search = Search(subject, budget, on_trial, defers_whole=True)
    (search_walks if config.lists.filter is None else search_filters)(search, own, weights[0].variants)
    winner = search.best if config.lists.filter is None else choose_filter(search.trials, config.lists)
    assert winner is not None  # the first walk is tried whatever the budget
    remarks = sample_remarks(graph)
    if search.skipped_candidates:
        remarks.append(f"no time for {len(search.skipped_candidates)} more looks: raise --budget to have them")
    return TuningResult(
        split={**task.facts, "pairs": graph.src.size, "all_pairs": graph.all_pairs},
        decides=task.decides,
        trials=tuple(search.trials),
        winner=winner,
        changes=_config_changes(config, winner) if config.lists.filter is None else filter_changes(winner),
        remarks=[*remarks, *task.remarks],
        advice=_advice(config, winner, graph),
        skipped_candidates=search.skipped_candidates,
    )


def walk_of(restart: float, edge_degree_power: float = 0.0, **of_input: Any) -> Candidate:
    """Return a candidate of lists: what sets their scores."""
    name = f"restart {restart:g}, edge_degree_power {edge_degree_power:g}"
    return Candidate(name, "", {"restart": restart, "edge_degree_power": edge_degree_power, **of_input})


def search_walks(search: Search, own: Candidate, reweigh: Callable[[Candidate], Sequence[Candidate]]) -> None:
    """Try walks, those of the config among them.

    All are ranked for the first users. Those that are then not clearly worse than the best are ranked for all users,
    who decide. What lies between the fixed walks is left out beyond `BEFORE_FINALISTS` of the budget.

    Parameters
    ----------
    reweigh : returns a walk over pairs that weigh otherwise, as other keys of [input] would have it.
    """
    search.try_all([*(walk_of(restart) for restart in RESTARTS), own])
    search.refine(lambda best: [walk_of(best.changes["restart"], power) for power in EDGE_POWERS], rounds=1)
    search.refine(reweigh, BEFORE_FINALISTS, WEIGHT_ROUNDS)
    for _ in range(_HALVINGS):
        for key in ("restart", "edge_degree_power"):
            search.refine(partial(halfway, search, key, walk_of), BEFORE_FINALISTS, rounds=1)
    search.score_finalists(MOST_FINALISTS)


class ListSubject:
    """Lists as what is tuned: the walk of a candidate makes scores, which every correction ranks anew.

    Lists are made from the pairs that stay, of the sources that pairs were hidden from, in one split after the other.
    """

    def __init__(
        self,
        graph: TrainingGraph,
        weights: Sequence[PairWeights],
        rankings: Sequence[RankingValidation],
        degree_correction: float,
    ) -> None:
        self._graph, self._rankings = graph, rankings
        self._cache = BlockCache(weights)
        self._border = None if graph.is_plain else max(graph.rows[0], graph.columns[0])
        self._walks: tuple[list[Block], float, list[WalkGraph]] | None = None
        self._corrections = sorted({*CORRECTIONS, degree_correction})
        self.variants: Sequence[Mapping[str, Any]] = [
            {"degree_correction": correction} for correction in self._corrections
        ]
        self.units = sum(ranking.units for ranking in rankings)
        self.first_units = first_units_of(self.units)

    def build(self, candidate: Candidate) -> CandidateTable:
        """Return the lists of a walk, which are made when they are scored."""
        return CandidateTable(partial(self._scores, self._walk_graphs(candidate), candidate.changes["restart"]))

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        """Return the winner."""
        return choose_lists(trials)

    def _walk_graphs(self, candidate: Candidate) -> list[WalkGraph]:
        """Return the graphs of a walk. The last ones are cached: most walks differ in their restart alone."""
        blocks, power = self._cache.blocks_for(candidate.changes), candidate.changes["edge_degree_power"]
        if self._walks is None or self._walks[0] is not blocks or self._walks[1] != power:
            self._walks = blocks, power, [WalkGraph.of(block, self._border, power) for block in blocks]
        return self._walks[2]

    def _scores(self, graphs: Sequence[WalkGraph], restart: float, units: int) -> list[Score]:
        """Return a score for each correction by the first sources, the same share of each split."""

        def make(split: int, sources: NDArray[np.int64]) -> NDArray[np.int64]:
            return make_lists(graphs[split], self._graph.target, sources, restart, self._corrections)

        return score_lists(self._rankings, units, make)


def choose_lists(trials: Sequence[Trial]) -> Trial | None:
    """Return the best of those ranked for all users, if there are any, else of all.

    Ties go to the least correction, then to the power nearest to 0 and the highest restart.
    """
    return max([trial for trial in trials if trial.is_whole] or trials, key=_merit, default=None)


def _merit(trial: Trial) -> tuple[float, ...]:
    changes = trial.candidate.changes
    correction = trial.best.changes["degree_correction"]
    return (trial.score.value, -correction, -abs(changes["edge_degree_power"]), changes["restart"])


def make_lists(
    walks: WalkGraph, target: tuple[int, int], sources: NDArray[np.int64], restart: float, corrections: Sequence[float]
) -> NDArray[np.int64]:
    """Return (corrections, sources, K) int64 positions of nodes, ``NO_ROW`` behind the end of a list.

    Parameters
    ----------
    target : range of positions that may be listed. sources : (m,) int64 positions.
    """
    rows = walks.rows_of(sources)
    lists = np.full((len(corrections), sources.size, K), NO_ROW, np.int64)
    has_edges = np.flatnonzero(rows >= 0)  # all pairs of a source may have decayed to nothing
    degree = walks.degree.astype(np.float64)
    factors = [degree_factor(degree, -correction) for correction in corrections]
    span = walks.rows_between(*target)
    for first in range(0, has_edges.size, SOURCES_AT_ONCE):
        batch = has_edges[first : first + SOURCES_AT_ONCE]
        scores, _ = chebyshev_scores(walks.graph, single_seeds(rows[batch]), restart, tolerance_at(restart))
        columns = np.zeros((scores.shape[1], -(-batch.size // 16) * 16), np.float32)
        columns[:, : batch.size] = scores.T
        excluded_rows = excluded_rows_of(walks, rows[batch])
        exclusions = Exclusions(excluded_rows.indptr, excluded_rows.positions)
        for factor, into in zip(factors, lists, strict=True):
            best, nodes = np.zeros((batch.size, K), np.float32), np.full((batch.size, K), NO_ROW, np.int64)
            top_k_of_columns(columns, read_only(CandidateNodes(*span, factor, exclusions)), best, nodes)
            into[batch] = np.where(nodes == NO_ROW, NO_ROW, walks.node_ix[nodes])
    return lists


def tolerance_at(restart: float) -> float:
    """Return the error of lists while tuning, in the unit of ``ppr.tolerance``."""
    return max(min(_TOLERANCE, _OF_THREE_STEPS * (1 - restart) ** 3), 2 * smallest_tolerance(restart))


def _config_changes(config: PipelineConfig, winner: Trial) -> dict[str, Mapping[str, Any]]:
    """Return keys by section; what a run makes is at least as exact as what was measured here."""
    walk, of_others = split_changes(winner.candidate.changes)
    of_ppr = {"restart": walk["restart"], **winner.best.changes, "edge_degree_power": walk["edge_degree_power"]}
    tolerance = float(f"{tolerance_at(walk['restart']):.1e}")
    return {"ppr": of_ppr | ({"tolerance": tolerance} if tolerance < config.ppr.tolerance else {}), **of_others}


def _advice(config: PipelineConfig, winner: Trial, graph: TrainingGraph) -> list[str]:
    sentences = []
    if not config.list_keys.exclude_known:
        longest = int(np.bincount(graph.src, minlength=1).max(initial=0))
        sentences.append(
            f"lists of {config.list_keys.top_k} hold what a source is joined to, up to {longest:,} nodes: where they "
            f"are to recommend, set {config.list_section}.exclude_known = true"
        )
    if config.lists.filter is not None:
        return sentences + filter_advice(winner)
    # Not the restart: above those tried lists hardly change any more, and below them they get worse.
    outermost = {"degree_correction": max(CORRECTIONS), "edge_degree_power": max(EDGE_POWERS)}
    changes = {**winner.candidate.changes, **winner.best.changes}
    sentences += [
        f"the best {key}, {changes[key]:g}, is the outermost that is tried: others beyond it may be better"
        for key, value in outermost.items()
        if changes[key] == value
    ]
    return sentences
