"""Filters of the graph as what is tuned: a polynomial makes scores, to which eigenvectors are added in many ways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.config.lists import ListsConfig
from pipeline.embedding.filtered_lists import leading_eigenvectors, settings_of_basis
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.kernels.graph_filter import FilterRule, GraphFilter, plateau_coefficients
from pipeline.kernels.ppr_chebyshev_bounds import BLOCK
from pipeline.kernels.ppr_top_k import Candidates
from pipeline.kernels.ranking import NO_ROW, Exclusions
from pipeline.tuning.list_search import (
    BEFORE_FINALISTS,
    MOST_FINALISTS,
    WEIGHT_ROUNDS,
    excluded_rows_of,
    first_units_of,
    halfway,
    score_lists,
)
from pipeline.tuning.pair_weights import BlockCache, PairWeights, split_changes
from pipeline.tuning.search import Candidate, CandidateTable, Search, Trial, is_clearly_worse
from pipeline.tuning.training_graph import TrainingGraph
from pipeline.tuning.validation import K, RankingValidation, Score, is_within_noise

#: What is tried on every graph, in this order: powers of degrees with the first plateau, that of the paper; the linear
#: filter and a flatter one with the best power; other weights of pairs, where the input has weights or times; what lies
#: halfway.
PHIS = (1.5, 1.0, 3.0)
BETAS = (0.4, 0.2, 0.6)
#: Of each user's pairs, those hidden: a quarter of what is hidden elsewhere. Which filter is best depends on how many
#: pairs stay, and the fewer are hidden, the nearer is the graph to that of a run [a fifth of the training pairs set
#: aside, and .05, .1 or .2 of the others hidden, choices are behind the best by so much of NDCG on those set aside:
#: LastFM 1.8, 2.4, 3.4 %; MovieLens 1.1, 1.1, 1.2 %].
SHARE_OF_USER = 0.05
#: Standard errors of the paired difference, user by user, that a filter with more of the config's keys may be behind.
NOISE_ERRORS = 2.0
#: Each of these with every polynomial: they are added to the same scores. Ranks up to half of the nodes listed.
RANKS, ALPHAS = (64, 128, 256, 512), (0.1, 0.2, 0.4, 0.8, 1.6)


def filter_of(phi: float, beta: float, **of_input: Any) -> Candidate:
    """Return a candidate of filters: what sets the polynomial's scores; phi 1 is the linear filter."""
    return Candidate(f"phi {phi:g}, beta {beta:g}", "", {"phi": phi, "beta": beta, **of_input})


def phi_of(lists: ListsConfig) -> float:
    """Return phi, which is 1 of the linear filter."""
    return 1.0 if lists.filter == "linear" else lists.phi


def search_filters(search: Search, own: Candidate, reweigh: Callable[[Candidate], Sequence[Candidate]]) -> None:
    """Try filters, that of the config among them; parameters as of the walks of PageRank."""
    search.try_all([*(filter_of(PHIS[0], beta) for beta in BETAS), own])
    search.refine(lambda best: [filter_of(**{**best.changes, "phi": phi}) for phi in PHIS[1:]], rounds=1)
    search.refine(reweigh, BEFORE_FINALISTS, WEIGHT_ROUNDS)
    for key in ("beta", "phi"):
        search.refine(partial(halfway, search, key, filter_of), BEFORE_FINALISTS, rounds=1)
    search.score_finalists(MOST_FINALISTS)
    search.score_whole(with_other_betas(search))
    search.score_whole(with_keys_of(own, search))


def with_other_betas(search: Search) -> list[Candidate]:
    """Return the best with each beta that the first users don't rank clearly below it: they alone left these behind."""
    first = [trial for trial in search.trials if not trial.is_whole]
    most = max((trial.score for trial in first), key=lambda score: score.value, default=None)
    betas = {trial.candidate.changes["beta"] for trial in first if most and not is_clearly_worse(trial.score, most)}
    return _beside_best(search, [{"beta": beta} for beta in sorted(betas)])


def with_keys_of(own: Candidate, search: Search) -> list[Candidate]:
    """Return the best with phi or beta, or both, of the config: where they are within noise of it, they are chosen."""
    phi, beta = own.changes["phi"], own.changes["beta"]
    return _beside_best(search, [{"phi": phi, "beta": beta}, {"phi": phi}, {"beta": beta}])


def _beside_best(search: Search, changes: Sequence[Mapping[str, float]]) -> list[Candidate]:
    """Return the best of those ranked for all users with each of the changes, but not what was ranked for all."""
    best = search.best
    if best is None or not best.is_whole:
        return []
    whole = {trial.candidate.key for trial in search.trials if trial.is_whole}
    beside = {
        candidate.key: candidate
        for candidate in (filter_of(**{**best.candidate.changes, **change}) for change in changes)
    }
    return [candidate for key, candidate in beside.items() if key not in whole]


class FilterSubject:
    """Lists by a filter: the polynomial of a candidate, ranked with every rank and weight of the eigenvectors."""

    def __init__(
        self,
        graph: TrainingGraph,
        weights: Sequence[PairWeights],
        rankings: Sequence[RankingValidation],
        lists: ListsConfig,
        seed: int,
    ) -> None:
        self._graph, self._rankings, self._lists, self._seed = graph, rankings, lists, seed
        self._cache = BlockCache(weights)
        self._border = None if graph.is_plain else max(graph.source[0], graph.target[0])
        self._graphs: tuple[list[Block], list[tuple[WalkGraph, NDArray[np.float32]]]] | None = None
        targets = graph.target[1] - graph.target[0]
        ranks = sorted(
            {rank for rank in (*RANKS, lists.rank) if 0 < rank <= targets // 2} or {min(lists.rank, targets)}
        )
        alphas = sorted({*ALPHAS, lists.alpha} - {0.0})
        self._variants = [(0, 0.0), *((rank, alpha) for rank in ranks for alpha in alphas)]
        self.variants: Sequence[Mapping[str, Any]] = [{"rank": rank, "alpha": alpha} for rank, alpha in self._variants]
        self.units = sum(ranking.units for ranking in rankings)
        self.first_units = first_units_of(self.units)

    def build(self, candidate: Candidate) -> CandidateTable:
        """Return the lists of a filter, which are made when they are scored."""
        return CandidateTable(partial(self._scores, self._with_eigenvectors(candidate), candidate))

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        """Return the best."""
        return best_of(trials)

    def _with_eigenvectors(self, candidate: Candidate) -> list[tuple[WalkGraph, NDArray[np.float32]]]:
        """Return the graph of each split and its eigenvectors, as many as any variant has. The last ones are cached."""
        blocks = self._cache.blocks_for(candidate.changes)
        if self._graphs is None or self._graphs[0] is not blocks:
            lists = self._lists.model_copy(update={"rank": self._variants[-1][0]})
            settings = settings_of_basis(lists, self._graph.source, self._graph.target, self._seed)
            graphs = [(WalkGraph.of(block, self._border), leading_eigenvectors(block, settings)[1]) for block in blocks]
            self._graphs = blocks, graphs
        return self._graphs[1]

    def _scores(
        self, graphs: Sequence[tuple[WalkGraph, NDArray[np.float32]]], candidate: Candidate, units: int
    ) -> list[Score]:
        phi, beta = candidate.changes["phi"], candidate.changes["beta"]
        rule = FilterRule(plateau_coefficients(phi, 1 if phi == 1 else self._lists.filter_degree), 1.0, beta)
        solvers = []
        for walks, basis in graphs:
            rows, columns = (walks.rows_between(*span) for span in (self._graph.source, self._graph.target))
            solvers.append(GraphFilter(walks.graph, rows, columns, basis, rule))

        def make(split: int, sources: NDArray[np.int64]) -> NDArray[np.int64]:
            walks = graphs[split][0]
            columns = walks.rows_between(*self._graph.target)
            return make_filtered(walks, solvers[split], columns, sources, self._variants)

        return score_lists(self._rankings, units, make)


def make_filtered(
    walks: WalkGraph,
    solver: GraphFilter,
    columns: tuple[int, int],
    sources: NDArray[np.int64],
    variants: Sequence[tuple[int, float]],
) -> NDArray[np.int64]:
    """Return (variants, sources, K) int64 positions of nodes, ``NO_ROW`` behind the end of a list.

    Parameters
    ----------
    columns : rows that may be listed. sources : (m,) int64 positions. variants : ranks and weights of eigenvectors.
    """
    rows = walks.rows_of(sources)
    lists = np.full((len(variants), sources.size, K), NO_ROW, np.int64)
    has_edges = np.flatnonzero(rows >= 0)  # all pairs of a source may have decayed to nothing
    for first in range(0, has_edges.size, BLOCK):
        batch = has_edges[first : first + BLOCK]
        excluded_rows = excluded_rows_of(walks, rows[batch])
        candidates = Candidates(*columns, None, Exclusions(excluded_rows.indptr, excluded_rows.positions))
        nodes = solver.top_k_of_variants(rows[batch], K, candidates, variants)
        lists[:, batch] = np.where(nodes == NO_ROW, NO_ROW, walks.node_ix[nodes])
    return lists


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the best of those ranked for all users, if there are any, else of all.

    Ties go to the fewest eigenvectors, then to their least weight, the phi nearest to 1 and the least beta.
    """
    return max([trial for trial in trials if trial.is_whole] or trials, key=_merit, default=None)


def choose_filter(trials: Sequence[Trial], own: ListsConfig) -> Trial | None:
    """Return the best filter, or one within noise of it that has more of the config's values.

    As many of phi, beta and alpha as noise allows are put back to the config's values, at any rank: pairs to come are
    no sample of those hidden, and the best of hundreds of filters is the luckiest too. Where several ways put back as
    many, the best of them is taken.
    """
    best = best_of(trials)
    if best is None:
        return None
    of_config, of_best = {"phi": phi_of(own), "beta": own.beta, "alpha": own.alpha}, _keys_of(best)
    near = [
        rival
        for trial in trials
        if trial.is_whole == best.is_whole
        for rival in (replace(trial, best=variant) for variant in trial.variants)
        if all(_keys_of(rival)[key] in (value, of_best[key]) for key, value in of_config.items())
        and is_within_noise(best.score, rival.score, NOISE_ERRORS)
    ]
    return max(
        near, key=lambda rival: (sum(_keys_of(rival)[key] == of_config[key] for key in of_config), *_merit(rival))
    )


def _keys_of(trial: Trial) -> dict[str, Any]:
    return {**trial.candidate.changes, **trial.best.changes}


def _merit(trial: Trial) -> tuple[float, ...]:
    keys = _keys_of(trial)
    return (trial.score.value, -keys["rank"], -keys["alpha"], -abs(keys["phi"] - 1), -keys["beta"])


def filter_changes(winner: Trial) -> dict[str, Mapping[str, Any]]:
    """Return keys by section; None for one to leave out."""
    of_filter, of_others = split_changes(winner.candidate.changes)
    is_linear = of_filter["phi"] == 1
    of_lists = {
        "filter": "linear" if is_linear else "plateau",
        "phi": None if is_linear else of_filter["phi"],
        "beta": of_filter["beta"],
        **winner.best.changes,
    }
    return {"lists": of_lists, **of_others}


def filter_advice(winner: Trial) -> list[str]:
    """Return a sentence for each parameter that is the outermost of those tried."""
    changes = {**winner.candidate.changes, **winner.best.changes}
    outermost = {"rank": max(RANKS), "alpha": max(ALPHAS), "beta": max(BETAS), "phi": max(PHIS)}
    return [
        f"the best {key}, {changes[key]:g}, is the outermost that is tried: others beyond it may be better"
        for key, value in outermost.items()
        if changes[key] == value
    ]
