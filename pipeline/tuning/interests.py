"""The keys of [interests]: lists shared out over a source's queries next to lists by its row, on hidden pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, offsets_of
from pipeline.codes.interest_queries import NodeRows, make_queries, neighbors_between
from pipeline.codes.interest_tasks import InterestClusters, find_interest_clusters
from pipeline.config.interests import InterestsConfig
from pipeline.config.model import PipelineConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.interest_lists import LENGTHS, SourceQueries, shared_lists, with_own
from pipeline.evaluation.ranking import measure_places
from pipeline.evaluation.scoring import Queries
from pipeline.evaluation.top_k import unit_rows
from pipeline.planning.code_costs import check_interests_fit, interest_seconds
from pipeline.tuning.embedder import Embedder
from pipeline.tuning.options import InterestChoice, TuneOptions
from pipeline.tuning.search import Search, Trial, is_clearly_worse
from pipeline.tuning.training_graph import TrainingGraph
from pipeline.tuning.validation import RankingValidation, Score, is_within_noise, join_scores
from pipeline.tuning.validation_tasks import ValidationTask, users_ranked

#: Tried in this order: clusters, then shares of a source's own row in its queries, with the best number of clusters.
CLUSTERS, OWN_SHARES = (100, 30, 300), (0.5, 0.75, 0.25)
#: Products of one look, in those of one ranking: a few queries of each source, for lists of two lengths, alone as well.
_RANKINGS = 24
#: Of one core, for a multiply-add of scores and what follows it in lists of hundreds.
_SECONDS_A_SCORE = 6e-11
#: Share of the budget before which others than the first are tried.
_BEFORE_OTHERS = 0.85


@dataclass(frozen=True, eq=False)
class InterestSplit:
    """The ranking of hidden pairs, the graph of those that stay, and (n, dim) float32 rows embedded from it."""

    ranking: RankingValidation
    block: Block
    rows: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class InterestTrial:
    """Keys, and for each of ``LENGTHS`` the recall of each source."""

    keys: InterestsConfig
    scores: Sequence[Score]

    @property
    def mean(self) -> Score:
        """The mean recall of all lengths, source by source."""
        return Score(np.mean([score.deciding for score in self.scores], axis=0), {})


class InterestSubject:
    """Lists by interests as what is tuned: of each split's first ``sources``, by dot products with ``similarity``."""

    def __init__(self, graph: TrainingGraph, splits: Sequence[InterestSplit], similarity: str, sources: int) -> None:
        self._graph, self._splits, self._similarity = graph, splits, similarity
        self._queries = [split.ranking.queries(min(sources, split.ranking.units)) for split in splits]
        self._clusters: tuple[int, list[InterestClusters]] | None = None

    def score(self, keys: InterestsConfig | None) -> list[Score]:
        """Return for each of ``LENGTHS`` the recall of each source; None: by the rows of the sources alone."""
        by_split = []
        for number, (split, queries) in enumerate(zip(self._splits, self._queries, strict=True)):
            rows = unit_rows(split.rows) if self._similarity == "cosine" else split.rows
            vectors = SourceQueries.of_rows(rows[queries.user])
            if keys is not None:
                vectors = with_own(self._interests(number, keys), vectors)
            items = rows[split.ranking.target_nodes]
            by_split.append([_recall(vectors, items, queries, k) for k in LENGTHS])
        counts = [queries.user.size for queries in self._queries]
        return [join_scores(of_length, counts) for of_length in zip(*by_split, strict=True)]

    def _interests(self, number: int, keys: InterestsConfig) -> SourceQueries:
        graph, split, sources = self._graph, self._splits[number], self._queries[number].user
        if self._clusters is None or self._clusters[0] != keys.clusters:
            sides = tuple(sorted({graph.rows, graph.columns}))
            of_splits = [
                find_interest_clusters(validation.block, sides, graph.source, graph.target, keys.clusters)
                for validation in self._splits
            ]
            self._clusters = keys.clusters, of_splits
        clusters = self._clusters[1][number]
        place = np.full(graph.nodes, -1, np.int64)
        place[sources] = np.arange(sources.size)
        place[~split.rows.any(axis=1)] = -1
        edges = neighbors_between(split.block, graph.source, graph.target)
        of_sources = make_queries(
            edges.where(place[edges.source] >= 0),
            clusters.cluster,
            clusters.like,
            NodeRows(np.sort(sources), split.rows[np.sort(sources)]),
            NodeRows(np.arange(*graph.target), split.rows[slice(*graph.target)]),
            keys,
        )
        order = np.argsort(place[of_sources.source], kind="stable")
        indptr = offsets_of(np.bincount(place[of_sources.source], minlength=sources.size))
        return SourceQueries(indptr, of_sources.weight[order], of_sources.query[order])


def tune_interests(
    config: PipelineConfig,
    graph: TrainingGraph,
    task: ValidationTask,
    options: TuneOptions,
    search: Search,
    embedder: Embedder,
    winner: Trial,
) -> tuple[Trial, InterestChoice] | str:
    """Choose the keys of [interests], and the rows that go with them; where that can't be done, return why.

    Queries can't be made of rows with a compatibility matrix. Those of the best rows without one are tried in their
    place, if these are within noise, and have to win against lists by the chosen rows.
    """
    with_clusters = config.model_copy(
        update={"interests": config.interests.model_copy(update={"clusters": CLUSTERS[0]})}
    )
    try:
        check_interests_fit(with_clusters, graph.nodes, graph.all_pairs)
    except ConfigError as error:
        return str(error)
    several = winner if graph.is_plain else without_matrix(winner, search.trials)
    if several is None:
        return (
            "the chosen rows have a compatibility matrix, and those without one are worse by more than noise; set "
            "interests.clusters, and only those are tuned"
        )
    budget, spent_before, width = search.budget, search.budget.spent_seconds, winner.candidate.width
    sources = users_ranked(options, graph, _RANKINGS * width)
    products = _RANKINGS * width * (graph.target[1] - graph.target[0]) * min(sources, task.validation.units)
    embedding_seconds = several.build_seconds + (winner.build_seconds if several is not winner else 0.0)
    first_seconds = embedding_seconds + interest_seconds(graph.src.size) + _SECONDS_A_SCORE * products
    if not budget.allows(first_seconds):
        return f"that takes {first_seconds:.0f} s or more; raise --budget"

    def subject_of(trial: Trial) -> InterestSubject:
        changes = trial.candidate.changes
        vectors, blocks = embedder(changes), embedder.blocks(changes)
        rankings = [split.ranking for split in task.splits if split.ranking is not None]
        tables = np.split(vectors.rows, len(rankings))
        splits = [InterestSplit(*parts) for parts in zip(rankings, blocks, tables, strict=True)]
        return InterestSubject(graph, splits, vectors.similarity, sources)

    def allows(trial_count: int) -> bool:
        return not trial_count or budget.allows((budget.spent_seconds - spent_before) / trial_count, _BEFORE_OTHERS)

    subject = subject_of(several)
    alone = (subject if several is winner else subject_of(winner)).score(None)
    choice = choose_interests(subject.score, alone, config.interests, allows)
    return (several if choice.keys.clusters else winner), choice


def without_matrix(winner: Trial, trials: Sequence[Trial]) -> Trial | None:
    """Return the best table as wide as the chosen one without a compatibility matrix, if it is within noise of it."""
    same_width = [trial for trial in trials if trial.is_whole and trial.candidate.width == winner.candidate.width]
    near = [trial for trial in same_width if is_within_noise(winner.score, trial.score)]
    without = [trial for trial in near if trial.candidate.changes.get("compatibility") is None]
    return winner if winner in without else max(without, key=lambda trial: trial.score.value, default=None)


def choose_interests(
    score: Callable[[InterestsConfig], Sequence[Score]],
    alone: Sequence[Score],
    keys: InterestsConfig,
    allows: Callable[[int], bool],
) -> InterestChoice:
    """Choose the keys whose lists find more than those by one row, by more than noise, and less at no length.

    The keys that were tried first are taken among those within noise of the best.

    Parameters
    ----------
    score : as of the subject. alone : of lists by one row. keys : of the config.
    allows : whether there is time for one more than were tried, at least for the first.
    """
    one_query, trials = InterestTrial(keys.model_copy(update={"clusters": 0}), alone), list[InterestTrial]()

    def try_all(several: Sequence[InterestsConfig]) -> None:
        for candidate_keys in several:
            if candidate_keys not in [trial.keys for trial in trials] and allows(len(trials)):
                trials.append(InterestTrial(candidate_keys, score(candidate_keys)))

    numbers = [number for number in dict.fromkeys((keys.clusters, *CLUSTERS)) if number]
    try_all([keys.model_copy(update={"clusters": number}) for number in numbers])
    best = max(trials, key=lambda trial: trial.mean.value)
    try_all([best.keys.model_copy(update={"own_share": own_share}) for own_share in OWN_SHARES])
    winners = [trial for trial in trials if _wins(trial, one_query)]
    best = max(winners or trials, key=lambda trial: trial.mean.value)
    winner = next(trial for trial in winners or [best] if is_within_noise(best.mean, trial.mean))
    return InterestChoice(
        keys=winner.keys if winners else one_query.keys,
        best=winner.keys,
        tried=len(trials),
        sources=winner.mean.deciding.size,
        recall={f"recall@{k}": score.value for k, score in zip(LENGTHS, winner.scores, strict=True)},
        recall_alone={f"recall@{k}": score.value for k, score in zip(LENGTHS, alone, strict=True)},
        error=Score(winner.mean.deciding - one_query.mean.deciding, {}).error,
    )


def _wins(trial: InterestTrial, alone: InterestTrial) -> bool:
    """Whether lists find more by more than noise, all lengths together, and clearly less at none."""
    loses = any(
        is_clearly_worse(score, score_alone) for score, score_alone in zip(trial.scores, alone.scores, strict=True)
    )
    return is_clearly_worse(alone.mean, trial.mean) and not loses


def _recall(vectors: SourceQueries, items: NDArray[np.float32], queries: Queries, k: int) -> Score:
    lists = shared_lists(vectors, items, queries.left_out, k)
    metrics = measure_places([(0, len(lists), lists)], len(items), queries.truth, (k,))
    return Score(metrics.per_user.recall[:, 0].copy(), {})
