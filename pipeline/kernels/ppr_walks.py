"""Personalised PageRank by random walks that take turns, so that their cache misses overlap."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.alias_tables import AliasTables
from pipeline.kernels.array_types import read_only
from pipeline.kernels.hashing import hash_nodes
from pipeline.kernels.ppr_top_k import Candidates, SparseScores, TopK, check_candidates, top_k_of_rows
from pipeline.kernels.ppr_walk_passes import WalkSources, count_visits, find_starts, running_shares, write_paths
from pipeline.kernels.transition import RestartSets, Transition, check_restart, check_sources

_PATH_NODES = 1 << 20  # steps held at once, give or take one source's: 4 MiB


class WalkRule(NamedTuple):
    """Chance of jumping back at each step, in (0, 1); walks of each source, at least 1; seed of their words."""

    restart: float  # networkx' alpha is 1 - restart
    walks: int
    seed: int  # at least 0, below 2**64


@dataclass(frozen=True)
class VisitCounts:
    """How often the walks of each source were at each node; all walks together, their seeds counted.

    indptr (sources + 1,) int64, nodes (entries,) int32 each at most once a source, visits (entries,) int32 above 0.
    """

    indptr: NDArray[np.int64]
    nodes: NDArray[np.int32]
    visits: NDArray[np.int32]


def walk_visits(
    graph: Transition,
    alias: AliasTables | None,
    sources: RestartSets,
    source_key: NDArray[np.uint64],
    rule: WalkRule,
) -> VisitCounts:
    """The counts that `walk_scores` are ``restart / walks`` times; the rest as there."""
    _check(graph, alias, sources, source_key, rule)
    return _walk_all(graph, alias, sources, hash_nodes(source_key, rule.seed), rule)


def walk_scores(
    graph: Transition,
    alias: AliasTables | None,
    sources: RestartSets,
    source_key: NDArray[np.uint64],
    rule: WalkRule,
) -> SparseScores:
    """An unbiased estimate of personalised PageRank: every node on a walk's path counts ``restart / walks``.

    A walk begins at a seed and goes on with chance ``1 - restart`` at each node, to a neighbour by weight; at a node
    without edges it stays. Its words are hashes of (seed, source key, walk, step), so a source's scores depend on
    nothing else: not on the other sources, nor on how walks take turns.

    Parameters
    ----------
    graph : directed graphs are accepted.
    alias : ``alias_tables`` of the graph; None if and only if its weights are None.
    sources, source_key : where walks restart, and a (sources,) uint64 key each.

    Returns
    -------
    Nodes in the order of the paths; ``missing`` is 0, since an estimate is not a lower bound: see `walk_radius`.

    Raises
    ------
    ValueError : restart, walks, seed or keys out of range, or an alias that does not go with the graph.
    IndexError : a seed that the graph does not have.

    Cost
    ----
    ``walks / restart`` nodes a source, two or three waits for memory each, of which those of `IN_FLIGHT` walks overlap.
    4 bytes a node of one source's paths, 8 bytes a node of the graph.
    """
    return _scores(walk_visits(graph, alias, sources, source_key, rule), rule)


def walk_top_k(
    graph: Transition,
    alias: AliasTables | None,
    sources: RestartSets,
    source_key: NDArray[np.uint64],
    rule: WalkRule,
    k: int,
    candidates: Candidates,
    confidence: float = 0.95,
) -> TopK:
    """The k best nodes of each source; the rest as in `walk_scores`.

    ``bound`` is `walk_radius` of a source's largest score: any one of its scores is that close with this confidence.
    """
    _check(graph, alias, sources, source_key, rule)
    check_candidates(candidates, graph.n, len(sources), k)
    nodes = np.empty((len(sources), k), np.int64)
    scores = np.empty((len(sources), k), np.float32)
    largest = np.zeros(len(sources))
    keys = hash_nodes(source_key, rule.seed)
    at_once = _sources_at_once(rule)
    for first in range(0, len(sources), at_once):
        stop = min(first + at_once, len(sources))
        batch_scores = _scores(_walk_all(graph, alias, sources.part(first, stop), keys[first:stop], rule), rule)
        nodes[first:stop], scores[first:stop] = top_k_of_rows(batch_scores, candidates.of_sources(first, stop), k)
        largest[first:stop] = np.maximum.reduceat(batch_scores.scores, batch_scores.indptr[:-1])
    return TopK(nodes, scores, walk_radius(largest, rule.walks, confidence))


def walk_radius(scores: NDArray[np.float64], walks: int, confidence: float) -> NDArray[np.float64]:
    """How far an estimated score may be from the exact one, with the given confidence for each one alone.

    A walk that visits v at all visits it a geometric number of times, G on average, G at most ``1 / restart``. So
    its share Y of v's score has moments ``E[Y^m] <= m! score (restart G)^(m-1) <= m! score``, which is Bernstein's
    condition with variance factor ``2 score`` and scale 1: with chance ``1 - 2 exp(-t)`` the mean of n walks is within
    ``sqrt(4 score t / n) + t / n``. Solved for the exact score, which is not known, that is
    ``3 h + 2 sqrt(h (estimate + 2 h))``, ``h = t / n``. For all n scores at once, pass ``1 - (1 - confidence) / n``.

    Source: Boucheron, Lugosi & Massart, "Concentration inequalities", theorem 2.10.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must be above 0 and below 1")
    h = math.log(2 / (1 - confidence)) / walks
    return 3 * h + 2 * np.sqrt(h * (np.asarray(scores) + 2 * h))


def _check(
    graph: Transition,
    alias: AliasTables | None,
    sources: RestartSets,
    source_key: NDArray[np.uint64],
    rule: WalkRule,
) -> None:
    check_restart(rule.restart)
    check_sources(graph, sources)
    if rule.walks < 1:
        raise ValueError(f"walks is {rule.walks}; a source needs at least 1")
    if len(source_key) != len(sources):
        raise ValueError(f"there are {len(source_key)} keys for {len(sources)} sources; give one each")
    if (alias is None) != (graph.weights is None):
        raise ValueError("alias must be alias_tables(...) of a graph with weights, and None for one without")
    if alias is not None and not alias.accept.size == alias.other.size == graph.indices.size:
        raise ValueError(f"alias tables of {alias.accept.size} entries do not belong to {graph.indices.size} indices")


def _walk_all(
    graph: Transition,
    alias: AliasTables | None,
    sources: RestartSets,
    keys: NDArray[np.uint64],
    rule: WalkRule,
) -> VisitCounts:
    alias = None if alias is None else read_only(alias)
    survive = _survival(rule.restart)
    counts, nodes_reached = np.zeros(graph.n, np.int32), np.empty(graph.n, np.int32)
    indptr = np.zeros(len(sources) + 1, np.int64)
    nodes, visits = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    at_once = _sources_at_once(rule)
    path = np.empty(0, np.int32)
    for first in range(0, len(sources), at_once):
        batch = sources.part(first, min(first + at_once, len(sources)))
        reach = np.empty(batch.nodes.size)
        running_shares(batch.indptr, batch.shares, reach)
        some_keys = keys[first : first + len(batch)]
        starts = np.empty(len(batch) + 1, np.int64)
        find_starts(some_keys, rule.walks, survive, starts)
        if path.size < starts[-1]:
            path = np.empty(starts[-1] * 5 // 4, np.int32)
        walkers = read_only(WalkSources(batch.indptr, batch.nodes, reach, some_keys))
        write_paths(graph.indptr, graph.indices, alias, walkers, rule.walks, survive, path)
        some_nodes, some_visits = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
        sizes = np.empty(len(batch), np.int64)
        entries = count_visits(path, starts, counts, nodes_reached, some_nodes, some_visits, sizes)
        nodes.append(some_nodes[:entries].copy())
        visits.append(some_visits[:entries].copy())
        indptr[first + 1 : first + 1 + len(batch)] = indptr[first] + np.cumsum(sizes)
    return VisitCounts(indptr, np.concatenate(nodes), np.concatenate(visits))


def _scores(visit_counts: VisitCounts, rule: WalkRule) -> SparseScores:
    scores = visit_counts.visits.astype(np.float64) * (rule.restart / rule.walks)
    return SparseScores(visit_counts.indptr, visit_counts.nodes, scores, np.zeros(visit_counts.indptr.size - 1))


def _sources_at_once(rule: WalkRule) -> int:
    return max(1, int(_PATH_NODES * rule.restart / rule.walks))


def _survival(restart: float) -> NDArray[np.float64]:
    """Chance of a walk of more than t steps, down to what 53 random bits can tell from 0."""
    return np.cumprod(np.full(math.ceil(53 * math.log(2) / -math.log1p(-restart)), 1 - restart))
