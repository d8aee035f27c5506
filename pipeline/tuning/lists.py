"""Training pairs -> parameters of [ppr]: hide some pairs, list what is left with candidates, keep the best.

Nothing of [evaluate] is read: pairs held out by index are not among the training pairs, and a file of test pairs is
never opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import neighbors_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.in_memory import block_from_edges
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.errors import ConfigError
from pipeline.evaluation.position_lists import PositionLists
from pipeline.kernels.ppr_chebyshev import chebyshev_scores, smallest_tolerance
from pipeline.kernels.ppr_top_k import degree_factor, top_k_of_columns
from pipeline.kernels.ranking import NO_ROW
from pipeline.kernels.transition import single_seeds
from pipeline.tuning.list_search import CORRECTIONS, EDGE_POWERS, ListSearch, ListTrial, Look, Walk
from pipeline.tuning.pair_weights import parted
from pipeline.tuning.search import Budget
from pipeline.tuning.training_graph import TrainingGraph, read_training_graph
from pipeline.tuning.validation import K, RankingValidation, Score, joined
from pipeline.tuning.validation_tasks import Fold, Wishes, ask_for_pairs
from pipeline.tuning.vectors import said_of_sample
from pipeline.workspace import Workspace

#: Sum of a list's errors while tuning, at most; and as a share of the chance that a walk is three steps long, to where
#: the nodes worth listing begin. What is cut off by more looks like a parameter of its own: it moves figures.
_TOLERANCE, _OF_THREE_STEPS = 0.01, 0.3
#: Users times entries of the graph: a minute or two of one core for one restart's lists of all of them.
_MAX_WORK, _FEWEST_USERS = 1e10, 400
_SOURCES_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class TunedLists:
    """What came of it.

    split : JSON values about the hidden pairs. decides : the figure that decides. looks : by restart, in order.
    changes : keys to set by section, None for one to leave out. remarks, advice : sentences.
    """

    split: Mapping[str, Any]
    decides: str
    looks: Sequence[Look]
    chosen: ListTrial
    changes: Mapping[str, Mapping[str, Any]]
    remarks: Sequence[str]
    advice: Sequence[str]


def tune_lists(
    config: PipelineConfig,
    workspace: Workspace,
    wishes: Wishes,
    budget: Budget,
    on_look: Callable[[Look], object] | None = None,
) -> TunedLists:
    """Choose the walk and the correction. The caller holds the date's lock; ingest and index have run.

    Raises
    ------
    ConfigError : lists hold nodes of another type than pairs lead to. InputError : too few pairs to hide any.
    """
    listed = config.listed_type
    if listed != config.input.target_type:
        raise ConfigError(
            f"ppr.target_type is '{listed}' and pairs lead to '{config.input.target_type}': hidden pairs say nothing "
            "of such lists; leave target_type out to tune"
        )
    graph = read_training_graph(config, workspace, wishes.max_pairs, wishes.seed)
    remarks = [said_of_sample(graph)] if graph.is_sampled else []
    users = int(max(_FEWEST_USERS, _MAX_WORK / (2 * graph.src.size)))
    asked = ask_for_pairs(config, graph, workspace, replace(wishes, max_users=min(wishes.max_users, users)), 1)
    lists = Lists(graph, asked.folds, asked.splits)
    weights = asked.folds[0].weights

    def weighed_otherwise(walk: Walk) -> list[Walk]:
        return [replace(walk, of_input=tuple(changes.items())) for changes in weights.beside(dict(walk.of_input))]

    search = ListSearch(lists, lists.units, budget, on_look, weighed_otherwise)
    chosen = search.run(Walk(config.ppr.restart, config.ppr.edge_degree_power), config.ppr.degree_correction)
    if search.skipped:
        remarks.append(f"no time for {len(search.skipped)} more looks: raise --budget to have them")
    return TunedLists(
        split={**asked.facts, "units": lists.units, "pairs": graph.src.size, "all_pairs": graph.all_pairs},
        decides=asked.decides,
        looks=tuple(search.looks),
        chosen=chosen,
        changes=_changes(config, chosen),
        remarks=[*remarks, *asked.remarks],
        advice=_advice(config, chosen, graph),
    )


class Lists:
    """Lists of the sources that are asked for, made from the pairs that stay; several splits one after the other."""

    def __init__(self, graph: TrainingGraph, folds: Sequence[Fold], splits: Sequence[RankingValidation]) -> None:
        self._splits = splits
        self._grids = [_Grid(graph, fold, split.sources) for fold, split in zip(folds, splits, strict=True)]

    @property
    def units(self) -> int:
        """Number of sources, over all splits."""
        return sum(split.units for split in self._splits)

    def __call__(self, walk: Walk, corrections: Sequence[float], units: int) -> list[Score]:
        """Return a score for each correction; the first ``units`` sources decide, the same share of each split."""
        ends = np.cumsum([split.units for split in self._splits]) * units // max(self.units, 1)
        counts = np.diff(ends, prepend=0).tolist()
        listed = [grid.lists(walk, corrections, count) for grid, count in zip(self._grids, counts, strict=True)]
        return [
            joined([split.of_lists(one[n]) for split, one in zip(self._splits, listed, strict=True)], counts)
            for n in range(len(corrections))
        ]


class _Grid:
    """The lists of one split for any restart and correction."""

    def __init__(self, graph: TrainingGraph, fold: Fold, sources: NDArray[np.int64]) -> None:
        self._graph, self._fold, self._sources = graph, fold, sources
        self._border = None if graph.is_plain else max(graph.source[0], graph.target[0])
        self._weigh(())
        self._walks = WalkGraph.of(self._block, self._border)
        self._power = 0.0

    def _weigh(self, of_input: tuple[tuple[str, Any], ...]) -> None:
        """Build the graph with the weights that keys of [input] make; a pair that decays to nothing is none."""
        graph, stays = self._graph, self._fold.stays
        weight = self._fold.weights.weights(dict(of_input))
        is_alive = weight > 0
        src, dst = (ends[stays][is_alive] for ends in (graph.src, graph.dst))
        self._block = block_from_edges(graph.node_key, src, dst, weight[is_alive])
        self._of_input = of_input

    def lists(self, walk: Walk, corrections: Sequence[float], units: int) -> NDArray[np.int64]:
        """(corrections, units, K) int64 positions of nodes, ``NO_ROW`` behind the end of a list."""
        self._turn_to(walk)
        walks, span = self._walks, self._walks.rows_between(*self._graph.target)
        rows = walks.rows_of(self._sources[:units])
        found = np.full((len(corrections), units, K), NO_ROW, np.int64)
        tolerance = tolerance_at(walk.restart)
        has_edges = np.flatnonzero(rows >= 0)  # all pairs of a source may have decayed to nothing
        degree = walks.degree.astype(np.float64)
        factors = [degree_factor(degree, -correction) for correction in corrections]
        for first in range(0, has_edges.size, _SOURCES_AT_ONCE):
            some = has_edges[first : first + _SOURCES_AT_ONCE]
            scores, _ = chebyshev_scores(walks.graph, single_seeds(rows[some]), walk.restart, tolerance)
            columns = np.zeros((scores.shape[1], -(-some.size // 16) * 16), np.float32)
            columns[:, : some.size] = scores.T
            known = _left_out(walks, rows[some])
            for factor, into in zip(factors, found, strict=True):
                best, nodes = np.zeros((some.size, K), np.float32), np.full((some.size, K), NO_ROW, np.int64)
                top_k_of_columns(columns, factor, *span, known.indptr, known.positions, best, nodes)
                into[some] = np.where(nodes == NO_ROW, NO_ROW, walks.node_ix[nodes])
        return found

    def _turn_to(self, walk: Walk) -> None:
        """Have the graph of a walk; the last one is kept, since most walks differ in their restart alone."""
        if (walk.of_input, walk.edge_degree_power) == (self._of_input, self._power):
            return
        if walk.of_input != self._of_input:
            self._weigh(walk.of_input)
        self._walks = WalkGraph.of(self._block, self._border, walk.edge_degree_power)
        self._power = walk.edge_degree_power


def tolerance_at(restart: float) -> float:
    """Return the error of lists while tuning, in the unit of ``ppr.tolerance``."""
    return max(min(_TOLERANCE, _OF_THREE_STEPS * (1 - restart) ** 3), 2 * smallest_tolerance(restart))


def _changes(config: PipelineConfig, chosen: ListTrial) -> dict[str, dict[str, Any]]:
    """Keys by section; what a run makes is at least as exact as what was measured here."""
    found = {
        "restart": chosen.walk.restart,
        "degree_correction": chosen.degree_correction,
        "edge_degree_power": chosen.walk.edge_degree_power,
    }
    tolerance = float(f"{tolerance_at(chosen.walk.restart):.1e}")
    of_ppr = {**found, "tolerance": tolerance} if tolerance < config.ppr.tolerance else found
    return {"ppr": of_ppr, "input": parted(dict(chosen.walk.of_input))[1]}


def _left_out(walks: WalkGraph, rows: NDArray[np.int64]) -> PositionLists:
    """Return what lists must not hold: what a source is joined to, and itself."""
    places = np.arange(rows.size)
    source, near = neighbors_of(walks.graph.indptr, walks.graph.indices, places, rows)
    return PositionLists.from_pairs(np.concatenate([source, places]), np.concatenate([near, rows]), rows.size)


def _advice(config: PipelineConfig, chosen: ListTrial, graph: TrainingGraph) -> list[str]:
    found = []
    if not config.ppr.exclude_known:
        degree = np.bincount(graph.src, minlength=1)
        longest = int(degree.max(initial=0))
        found.append(
            f"lists of {config.ppr.top_k} hold what a source is joined to, up to {longest:,} nodes: where they are to "
            "recommend, set ppr.exclude_known = true"
        )
    # Not the restart: above those tried lists hardly change any more, and below them they get worse.
    ends = {
        "degree_correction": (chosen.degree_correction, max(CORRECTIONS)),
        "edge_degree_power": (chosen.walk.edge_degree_power, max(EDGE_POWERS)),
    }
    found += [
        f"the best {key}, {value:g}, is the outermost that is tried: others beyond it may be better"
        for key, (value, outermost) in ends.items()
        if value == outermost
    ]
    return found
