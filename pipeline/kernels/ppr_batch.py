"""Personalised PageRank of many restart sets from fingerprints of nodes, by vertex-centric decomposition.

From restart chances ``f``, a round settles ``restart * f(v)`` at every node v and moves the rest to its neighbours.
What is still moving after the last round is settled as the fingerprint of the node where it stands:
``pi(f) = restart * sum over t < T of g_t + sum over v of g_T(v) * pi(v)``, ``g_t = (1 - restart)^t f P^t``: exact with
exact fingerprints, whatever the number of rounds T; with sampled ones each round takes some of the sampling away.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import read_only
from pipeline.kernels.ppr_batch_passes import (
    BatchGraph,
    BatchRule,
    BatchSpread,
    Fingerprints,
    rank_all,
    spread_marks,
)
from pipeline.kernels.ppr_top_k import Candidates, TopK, check_candidates
from pipeline.kernels.ranking import NO_ROW, best_first
from pipeline.kernels.transition import RestartSets, Transition, check_restart, check_sources

ABSENT = -1
"""Row of a node whose fingerprint is not among those given."""


def batch_top_k(
    graph: Transition,
    fingerprints: Fingerprints,
    sets: RestartSets,
    rule: BatchRule,
    k: int,
    candidates: Candidates,
    confidence: float = 0.95,
) -> TopK:
    """The k best nodes of each restart set.

    Parameters
    ----------
    graph : what walks went over. A node without neighbours here, whether it has any or not, is left to its fingerprint.
    fingerprints : of every node that a set reaches in exactly ``rule.rounds`` steps.
    sets : shares may add up to less than 1: scores are then those of the part that is given.
    rule : restart of the walks, too; at least 0 rounds. Chances smaller than ``drop_below`` are left out after the last
        round, and the bound grows by them.
    confidence : of the bound, for any one score alone.

    Returns
    -------
    Lists whose bits depend on the set alone, not on the other sets nor on their order; ``bound`` is `batch_radius`.

    Raises
    ------
    ValueError : a rule, k, confidence or candidates out of range; a missing fingerprint.
    IndexError : a seed that the graph does not have.

    Cost
    ----
    Of a query: the entries that its rounds touch, and those of the fingerprints that they end at, an addition each.
    16 bytes a node of the graph and a row of a fingerprint are held in cache. Queries come one after the other: sums of
    several at once, so that they share a fingerprint that is in cache, don't fit the cache, and were slower.

    Source
    ------
    Liu, Li, Lui & Cheng, "PowerWalk", CIKM 2016, arXiv 1608.06054.
    """
    check_restart(rule.restart)
    check_sources(graph, sets)
    if rule.rounds < 0:
        raise ValueError(f"rounds is {rule.rounds}; it must be at least 0, which adds up fingerprints of the seeds")
    if not 0 <= rule.drop_below < 1:
        raise ValueError(f"drop_below is {rule.drop_below}; it must be at least 0 and below 1, a chance")
    if fingerprints.row_of.shape != (graph.n,):
        raise ValueError(f"fingerprints are of {fingerprints.row_of.size} nodes, the graph has {graph.n}")
    check_candidates(candidates, graph.n, len(sets), k)
    spread = BatchSpread.of(len(sets))
    nodes, scores = np.full((len(sets), k), NO_ROW, np.int64), np.zeros((len(sets), k), np.float32)
    weights = np.empty(0, np.float32) if graph.weights is None else graph.weights
    arrays = read_only(BatchGraph(graph.indptr, graph.indices, weights, graph.degree))
    all_candidates = candidates.of_sources(0, len(sets))
    absent = rank_all(arrays, sets.arrays, read_only(fingerprints), rule, spread, all_candidates, scores, nodes)
    if absent >= 0:
        raise ValueError(f"node {absent} has no fingerprint; give those of nodes_after(graph, seeds, rounds)")
    best_first(scores, nodes)
    return TopK(nodes, scores, batch_radius(spread, fingerprints.walks, confidence))


def batch_radius(spread: BatchSpread, walks: int, confidence: float) -> NDArray[np.float64]:
    """How far any one score of a query may be from the exact one, with the given confidence; (queries,) float64.

    With g(v) left at v, the sum of fingerprints at u is one of independent terms ``g(v) Y / walks``, Y being a walk's
    share: E[Y^m] <= m! pi_v(u) (`walk_radius`). So Bernstein's condition holds with variance factor
    ``2 / walks * sum g(v)^2 pi_v(u) <= 2 max(g) / walks * S(u)``, S(u) the expected sum, and scale ``max(g) / walks``.
    That is `walk_radius` at S(u) with ``walks / max(g)`` walks: chances spread over m nodes make m times the walks.
    It rises with the sum, so that of the largest holds for all. What was dropped would have added itself at most.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must be above 0 and below 1")
    if walks == 0:
        return spread.dropped.copy()
    h = math.log(2 / (1 - confidence)) * spread.heaviest / walks
    return 3 * h + 2 * np.sqrt(h * (spread.largest + 2 * h)) + spread.dropped


def nodes_after(graph: Transition, seeds: NDArray[np.int64], rounds: int) -> NDArray[np.int64]:
    """The nodes whose fingerprints these seeds need: those that some walk is at after ``rounds`` steps; ascending."""
    at = np.zeros(graph.n, np.bool_)
    at[seeds] = True
    for _ in range(rounds):
        following = np.zeros(graph.n, np.bool_)
        spread_marks(graph.indptr, graph.indices, at, following)
        at = following
    return np.flatnonzero(at)
