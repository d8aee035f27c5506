"""Validation of a table on hidden pairs or labels: how far up are the pairs ranked, by the first users or by all?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.classification import SHUFFLES, classify_nodes
from pipeline.evaluation.link_prediction import Nodes, degree_matched_negatives, distinct, measure_auc, pair_codes
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import GroundTruth, RankingMetrics, measure_places, rank_items
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.scoring import Queries
from pipeline.evaluation.top_k import unit_rows
from pipeline.kernels.hashing import hash_nodes
from pipeline.kernels.ranking import NO_ROW

K = 20  # the length of list that decides
_LABEL_SHARE = 0.5  # of the labelled nodes, to train on
#: Share of the figure that no narrower or cheaper table makes up for, however large the noise.
_WORTH_HAVING = 0.01


@dataclass(frozen=True, eq=False)
class Score:
    """What a table is worth on the validation data.

    deciding : (units,) float64, the figure that decides, for each user, source node or shuffle of labels;
        tables are compared unit by unit.
    figures : means, by name.
    """

    deciding: NDArray[np.float64]
    figures: Mapping[str, float]

    @property
    def value(self) -> float:
        """Mean of the deciding figure: a sum that does not know the order of the units."""
        return math.fsum(self.deciding.tolist()) / max(self.deciding.size, 1)

    @property
    def error(self) -> float:
        """Standard error of ``value`` over the units."""
        return standard_error(self.deciding)


def standard_error(values: NDArray[np.float64]) -> float:
    """Standard deviation of the mean of independent values; 0.0 for fewer than two."""
    if values.size < 2:
        return 0.0
    return float(values.std(ddof=1)) / math.sqrt(values.size)


def is_within_noise(best: Score, rival: Score, errors: float = 1.0) -> bool:
    """Whether two scores of the same units differ by no more than so many standard errors of their difference.

    And by no more than a hundredth: where units are few, noise hides differences that are worth having.
    """
    behind = best.deciding - rival.deciding
    return (
        bool(behind.mean() <= min(errors * standard_error(behind), _WORTH_HAVING * abs(best.value)))
        if behind.size
        else True
    )


class TableValidation(Protocol):
    """What tables are scored by; ``units`` are the users, source nodes or shuffles there are."""

    units: int

    def __call__(self, rows: NDArray[np.float32], similarity: str, units: int) -> Score:
        """Score a table by its first ``units`` units."""
        ...


@dataclass(frozen=True, eq=False)
class TrainPart:
    """The graph that is left once pairs are hidden, and the pairs hidden: positions of nodes.

    node_key : (n,) uint64. src, dst : (pairs,) int64, what is left. hidden_src, hidden_dst : the others.
    target : range of positions of what is ranked. is_plain : both ends are of one type.
    """

    node_key: NDArray[np.uint64]
    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    hidden_src: NDArray[np.int64]
    hidden_dst: NDArray[np.int64]
    target: tuple[int, int]
    is_plain: bool

    @property
    def degree(self) -> NDArray[np.int64]:
        """(n,) neighbours that each node has left; a loop counts once."""
        n = self.node_key.size
        is_loop = self.src == self.dst
        return np.bincount(self.src, minlength=n) + np.bincount(self.dst[~is_loop], minlength=n)


class RankingValidation:
    """Ranks hidden targets among all targets that have edges left, for sampled sources that have edges left.

    A source without any pair left has a zero row in every table, and a hidden pair whose target has none left can't
    be ranked: the former are counted and left out, the latter count as missed. On plain graphs a hidden edge is a
    question from both of its ends. Sources stand in an order drawn from their keys, so that the first hundred are a
    sample of the first thousand.

    sources : (units,) int64 positions in the order in which they are ranked, of ``population`` that could be.
    targets : nodes that are ranked for each. hidden_pairs : of these sources, the ``unknown_pairs`` among them, whose
    other end has no pair left. unknown_sources : those without any pair left.
    """

    def __init__(self, train: TrainPart, max_sources: int, seed: int, cold: NDArray[np.bool_] | None = None) -> None:
        """``cold`` : (n,) bool, targets that are ranked too though they have no edge left."""
        n = train.node_key.size
        self._train, self._seed = train, seed
        self._degree = train.degree
        hidden_pairs = _directions(train.hidden_src, train.hidden_dst, is_plain=train.is_plain)
        sources = distinct(hidden_pairs[0])
        is_linked = self._degree[sources] > 0
        self.unknown_sources = int((~is_linked).sum())
        sources = sources[is_linked]
        self.population = sources.size
        if sources.size > max_sources:
            sources = sources[sample_by_key(train.node_key[sources], max_sources, seed)]
        first, stop = train.target
        is_ranked = self._degree > 0 if cold is None else (self._degree > 0) | cold
        self._targets = first + np.flatnonzero(is_ranked[first:stop])
        # Ordered with another seed than that of the sample, whose hashes are all small by then.
        self.sources = sources[np.argsort(hash_nodes(train.node_key[sources], seed ^ 1), kind="stable")]
        self.units, self.targets = self.sources.size, self._targets.size
        self._query = np.full(n, -1, np.int64)
        self._query[self.sources] = np.arange(sources.size)
        self._column = np.full(n, -1, np.int64)
        self._column[self._targets] = np.arange(self._targets.size)
        self._hidden_lists, self._without_row = self._lists(*hidden_pairs)
        self.unknown_pairs = int(self._without_row.sum())
        self.hidden_pairs = self._hidden_lists.positions.size + self.unknown_pairs
        src, dst = _directions(train.src, train.dst, is_plain=train.is_plain)
        if train.is_plain:  # no node is its own answer
            src, dst = np.concatenate((src, self.sources)), np.concatenate((dst, self.sources))
        self._neighbor_lists = self._lists(src, dst)[0]
        self._all_codes = self._codes_of_all() if train.is_plain else None

    def __call__(self, rows: NDArray[np.float32], similarity: str, units: int) -> Score:
        """Rank for the first ``units`` sources.

        Parameters
        ----------
        rows : (n, dim) float32: the table made from what is left.
        similarity : "dot" or "cosine".

        Returns
        -------
        Score with NDCG@20 deciding and recall@20 beside it; on plain graphs also the AUC against degree-matched
        negatives of these sources' hidden edges, where any could be drawn.
        """
        ranked_rows = unit_rows(rows) if similarity == "cosine" else rows
        sources = self.sources[:units]
        score = _score_of(self.measure(ranked_rows, units))
        auc = None if self._all_codes is None else self._auc(ranked_rows, sources, self._all_codes)
        return score if auc is None else Score(score.deciding, {**score.figures, "auc": auc})

    def measure(self, rows: NDArray[np.float32], units: int) -> RankingMetrics:
        """Rank by dot products for the first sources; figures by item are in the order of ``target_nodes``."""
        sources = self.sources[:units]
        neighbors, truth = self._neighbor_lists.of(0, sources.size), self._truth(sources.size)
        return rank_items(rows[sources], rows[self._targets], neighbors, truth, (K,))

    @property
    def degree(self) -> NDArray[np.int64]:
        """(n,) neighbours that each node has left."""
        return self._degree

    @property
    def target_nodes(self) -> NDArray[np.int64]:
        """What is ranked: (targets,) int64 positions, ascending."""
        return self._targets

    def queries(self, units: int) -> Queries:
        """Return the first sources, in their order, with what is left out of their lists and what these should hold."""
        return Queries(self.sources[:units], self._neighbor_lists.of(0, units), self._truth(units))

    def of_lists(self, lists: NDArray[np.int64]) -> Score:
        """Score lists of the first sources, made from what is left and without what is left.

        lists : (units, K) int64 nodes, best first, ``NO_ROW`` behind the end of a list.
        """
        units = lists.shape[0]
        columns = np.where(lists == NO_ROW, NO_ROW, self._column[lists])
        return _score_of(measure_places([(0, units, columns)], self._targets.size, self._truth(units), (K,)))

    def _truth(self, units: int) -> GroundTruth:
        return GroundTruth(self._hidden_lists.of(0, units), self._without_row[:units])

    def _auc(self, rows: NDArray[np.float32], sources: NDArray[np.int64], codes: NDArray[np.int64]) -> float | None:
        train, n = self._train, self._train.node_key.size
        is_source = np.zeros(n, np.bool_)
        is_source[sources] = True
        is_scored = is_source[train.hidden_src] & (self._degree[train.hidden_dst] > 0)
        src, dst = train.hidden_src[is_scored], train.hidden_dst[is_scored]
        nodes = Nodes(train.node_key, np.zeros(n, np.int8), self._degree)
        negative = degree_matched_negatives(src, dst, nodes, codes, self._seed)
        return measure_auc(np.ascontiguousarray(rows), nodes, src, dst, negative).auc

    def _codes_of_all(self) -> NDArray[np.int64]:
        train = self._train
        src, dst = np.concatenate((train.src, train.hidden_src)), np.concatenate((train.dst, train.hidden_dst))
        return pair_codes(src, dst, train.node_key.size, is_undirected=True)

    def _lists(self, src: NDArray[np.int64], dst: NDArray[np.int64]) -> tuple[PositionLists, NDArray[np.int64]]:
        """Lists of targets by source, and how many of each source's pairs have no target among those ranked."""
        query, position = self._query[src], self._column[dst]
        is_ranked = query >= 0
        query, position = query[is_ranked], position[is_ranked]
        is_row = position >= 0
        lists = PositionLists.from_pairs(query[is_row], position[is_row], self.sources.size)
        return lists, np.bincount(query[~is_row], minlength=self.sources.size)


class SeveralValidations:
    """Rankings on several splits of one graph, one table each, taken as one: where a split has few sources."""

    def __init__(self, splits: Sequence[RankingValidation]) -> None:
        self._splits = splits
        self.units = sum(split.units for split in splits)

    def __call__(self, rows: NDArray[np.float32], similarity: str, units: int) -> Score:
        """Rank on every split; the first ``units`` sources decide, figures are those of all.

        ``rows`` : (splits * n, dim) float32, the tables one below the other.
        """
        tables = np.split(rows, len(self._splits))
        scores = [split(table, similarity, split.units) for split, table in zip(self._splits, tables, strict=True)]
        whole = join_scores(scores, [split.units for split in self._splits])
        return Score(whole.deciding[:units], whole.figures)


class LabelValidation:
    """Reads held-out labels off the rows with a linear model, in DeepWalk's protocol at half of the labels.

    A unit is a shuffle of the labelled nodes: five of them, so the standard error is a rough one.
    """

    def __init__(
        self,
        node_key: NDArray[np.uint64],
        nodes: NDArray[np.int64],
        labels: NDArray[np.bool_],
        seed: int,
    ) -> None:
        """``nodes`` : (m,) int64 positions of nodes; ``labels`` : (m, labels) bool, each row with one at least."""
        self._node_key, self._nodes, self._labels = node_key[nodes], nodes, labels
        self._seeds = tuple(range(seed, seed + SHUFFLES))
        self.units = SHUFFLES

    def __call__(self, rows: NDArray[np.float32], similarity: str, units: int) -> Score:
        """Score a table by the first shuffles: micro-F1 decides, macro-F1 stands beside it.

        ``rows`` : (n, dim) float32; "cosine" says that a model is to see unit rows.
        """
        features = rows[self._nodes]
        features = unit_rows(features) if similarity == "cosine" else features
        (quality,) = classify_nodes(features, self._node_key, self._labels, (_LABEL_SHARE,), self._seeds[:units])
        micro = np.array([shuffle.micro_f1 for shuffle in quality.shuffles])
        return Score(micro, {"micro-F1": quality.micro_f1, "macro-F1": quality.macro_f1})


def join_scores(scores: Sequence[Score], units: Sequence[int]) -> Score:
    """Return scores of several splits as one: all their units, and figures weighted by them."""
    total = max(sum(units), 1)
    figures = {
        name: math.fsum(score.figures[name] * count for score, count in zip(scores, units, strict=True)) / total
        for name in scores[0].figures
        if all(name in score.figures for score in scores)
    }
    return Score(np.concatenate([score.deciding for score in scores]), figures)


def _score_of(metrics: RankingMetrics) -> Score:
    return Score(metrics.per_user.ndcg[:, 0].copy(), {f"recall@{K}": metrics.recall[0], f"ndcg@{K}": metrics.ndcg[0]})


def _directions(
    src: NDArray[np.int64], dst: NDArray[np.int64], *, is_plain: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs as they are ranked: from ``src`` to ``dst``, and on plain graphs back as well."""
    if not is_plain:
        return src, dst
    return np.concatenate((src, dst)), np.concatenate((dst, src))
