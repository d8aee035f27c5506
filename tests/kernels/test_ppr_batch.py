import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.alias_tables import alias_tables
from pipeline.kernels.ppr_batch import ABSENT, batch_radius, batch_top_k, nodes_after
from pipeline.kernels.ppr_batch_passes import BatchRule, BatchSpread, Fingerprints
from pipeline.kernels.ppr_top_k import Candidates, degree_factor
from pipeline.kernels.ppr_walks import WalkRule, walk_scores, walk_visits
from pipeline.kernels.ranking import NO_ROW, Exclusions
from pipeline.kernels.transition import RestartSets, Transition, restart_sets, single_seeds, transition
from tests.kernels.test_ppr_push import dense
from tests.oracles.pagerank import (
    dense_pagerank,
    looped_graphs,
    networkx_pagerank,
    sets_of,
    transition_of,
    uneven_sets,
)

RESTARTS = [0.15, 0.5]


def exact_fingerprints(graph: Transition, restart: float) -> Fingerprints:
    """Those of all nodes, by linear algebra, rounded to float32."""
    rows = dense_pagerank(graph, single_seeds(np.arange(graph.n)), restart)
    indptr = np.arange(graph.n + 1, dtype=np.int64) * graph.n
    nodes = np.tile(np.arange(graph.n, dtype=np.int32), graph.n)
    return Fingerprints(np.arange(graph.n), indptr, nodes, rows.ravel().astype(np.float32), 1.0, 0)


def sampled(graph: Transition, restart: float, walks: int, seed: int) -> Fingerprints:
    alias = None if graph.weights is None else alias_tables(graph.indptr, graph.indices, graph.weights)
    keys = np.arange(graph.n, dtype=np.uint64)
    found = walk_visits(graph, alias, single_seeds(np.arange(graph.n)), keys, WalkRule(restart, walks, seed))
    visits = found.visits.astype(np.float32)
    return Fingerprints(np.arange(graph.n), found.indptr, found.nodes, visits, restart / walks, walks)


def all_scores(
    graph: Transition, prints: Fingerprints, sets: RestartSets, rule: BatchRule, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all nodes, as float32 has them, and the bound of each set."""
    lists = batch_top_k(graph, prints, sets, rule, graph.n, Candidates(0, graph.n), confidence)
    scores = np.zeros((len(sets), graph.n + 1))  # NO_ROW is the last column
    np.put_along_axis(scores, lists.nodes, lists.scores.astype(np.float64), axis=1)
    return scores[:, :-1], lists.bound


def scores_by_loops(graph: Transition, prints: Fingerprints, sets: RestartSets, rule: BatchRule) -> np.ndarray:
    """The same in float64, added in the order that the kernel promises."""
    assert graph.weights is not None
    scores = np.zeros((len(sets), graph.n))
    for query in range(len(sets)):
        here, settled = np.zeros(graph.n), np.zeros(graph.n)
        for e in range(sets.indptr[query], sets.indptr[query + 1]):
            here[sets.nodes[e]] += sets.shares[e]
        for _ in range(rule.rounds):
            there = np.zeros(graph.n)
            for v in np.flatnonzero(here):
                settled[v] += rule.restart * here[v]
                share = (1.0 - rule.restart) * here[v] / graph.degree[v]
                for e in range(graph.indptr[v], graph.indptr[v + 1]):
                    there[graph.indices[e]] += share * float(graph.weights[e])
            here = there
        for v in np.flatnonzero(here):
            row = slice(prints.indptr[prints.row_of[v]], prints.indptr[prints.row_of[v] + 1])
            scores[query, prints.nodes[row]] += here[v] * prints.scale * prints.visits[row].astype(np.float64)
        scores[query] += settled
    return scores


def web(n: int, seed: int, *, directed: bool = False) -> Transition:
    graph = nx.gnm_random_graph(n, 3 * n, seed=seed, directed=directed)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + sum(edge) % 5} for edge in graph.edges})
    return transition_of(graph)


def spread_by_hand(graph: Transition, prints: Fingerprints, sets: RestartSets, rule: BatchRule) -> BatchSpread:
    """What bounds follow from, by matrices."""
    step, rows, moving = np.zeros((graph.n, graph.n)), np.zeros((graph.n, graph.n)), np.zeros((len(sets), graph.n))
    for v in range(graph.n):
        near = slice(graph.indptr[v], graph.indptr[v + 1])
        weight = np.ones(near.stop - near.start) if graph.weights is None else graph.weights[near].astype(np.float64)
        np.add.at(step[v], graph.indices[near], weight / graph.degree[v])
        step[v, v] += near.start == near.stop
        entries = slice(prints.indptr[prints.row_of[v]], prints.indptr[prints.row_of[v] + 1])
        rows[v, prints.nodes[entries]] = prints.scale * prints.visits[entries].astype(np.float64)
    for query in range(len(sets)):
        members = slice(sets.indptr[query], sets.indptr[query + 1])
        np.add.at(moving[query], sets.nodes[members], sets.shares[members])
    moving = moving @ np.linalg.matrix_power((1 - rule.restart) * step, rule.rounds)
    dropped = np.where(moving < rule.drop_below, moving, 0.0)
    sums = (moving - dropped) @ rows
    return BatchSpread((moving - dropped).max(axis=1), sums.max(axis=1), dropped.sum(axis=1))


@settings(max_examples=60)
@given(looped_graphs(), st.sampled_from(RESTARTS), st.integers(0, 4), st.data())
def test_with_exact_fingerprints_the_decomposition_is_exact(
    graph: nx.Graph, restart: float, rounds: int, data: st.DataObject
) -> None:
    matrix = transition_of(graph)
    sources = data.draw(sets_of(len(graph)))
    scores, bound = all_scores(matrix, exact_fingerprints(matrix, restart), sources, BatchRule(restart, rounds))
    want = dense_pagerank(matrix, sources, restart)
    # Fingerprints and scores are rounded to 24 bits, everything else to 53; degrees are exact sums of a few float32.
    np.testing.assert_allclose(scores, want, rtol=2.0**-22, atol=1e-12)
    assert not bound.any()


@pytest.mark.parametrize("restart", RESTARTS)
def test_the_answer_for_a_weighted_set_is_that_of_networkx(restart: float) -> None:
    graph = nx.gnm_random_graph(40, 90, seed=5)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + sum(edge) % 7} for edge in graph.edges})
    matrix = transition_of(graph)
    sets = restart_sets(np.array([0, 3]), np.array([1, 2, 7]), np.array([1.0, 4.0, 0.5]))
    scores, _ = all_scores(matrix, exact_fingerprints(matrix, restart), sets, BatchRule(restart, 2))
    want = networkx_pagerank(graph, {1: 1.0, 2: 4.0, 7: 0.5}, restart)
    np.testing.assert_allclose(scores[0], want, atol=2e-7)


def test_directed_graphs_and_graphs_without_weights_are_answered() -> None:
    directed = web(50, 8, directed=True)
    sources = uneven_sets(50, 6)
    for matrix in (directed, transition(directed.indptr, directed.indices)):
        scores, _ = all_scores(matrix, exact_fingerprints(matrix, 0.2), sources, BatchRule(0.2, 2))
        np.testing.assert_allclose(scores, dense_pagerank(matrix, sources, 0.2), rtol=2.0**-22)


def test_without_rounds_a_seed_has_its_own_fingerprint() -> None:
    matrix = web(60, 1)
    keys, alias = np.arange(60, dtype=np.uint64), alias_tables(matrix.indptr, matrix.indices, matrix.weights)
    sources = single_seeds(np.arange(60))
    scores, _ = all_scores(matrix, sampled(matrix, 0.15, 40, 3), sources, BatchRule(0.15, 0))
    want = walk_scores(matrix, alias, sources, keys, WalkRule(0.15, 40, 3))
    np.testing.assert_allclose(scores, dense(want, 60), rtol=2.0**-23)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_answers_are_unbiased(rounds: int) -> None:
    matrix = web(30, 2)
    sources = uneven_sets(30, 4)
    exact = dense_pagerank(matrix, sources, 0.3)
    tries, walks, total = 200, 25, np.zeros_like(exact)
    for seed in range(tries):
        total += all_scores(matrix, sampled(matrix, 0.3, walks, seed), sources, BatchRule(0.3, rounds))[0]
    # The mean of 200 answers is the answer of fingerprints of 200 x 25 walks; one in a billion for each score.
    prints = exact_fingerprints(matrix, 0.3)._replace(walks=walks * tries)
    _, radius = all_scores(matrix, prints, sources, BatchRule(0.3, rounds), 1 - 1e-9)
    assert (np.abs(total / tries - exact) <= radius[:, None]).all()
    assert radius.max() < 0.5 * exact.max()  # so that it says something


@settings(max_examples=40)
@given(looped_graphs(), st.sampled_from(RESTARTS), st.integers(0, 3), st.integers(0, 2**32), st.data())
def test_scores_are_within_the_radius(
    graph: nx.Graph, restart: float, rounds: int, seed: int, data: st.DataObject
) -> None:
    matrix = transition_of(graph)
    sources = data.draw(sets_of(len(graph)))
    prints, rule = sampled(matrix, restart, 500, seed), BatchRule(restart, rounds, 1e-3)
    scores, radius = all_scores(matrix, prints, sources, rule, 1 - 1e-9)
    error = np.abs(scores - dense_pagerank(matrix, sources, restart))
    assert (error <= radius[:, None]).all()


def test_rounds_make_answers_more_accurate_than_the_fingerprints_that_are_stored() -> None:
    matrix = web(400, 4)
    sources = single_seeds(np.arange(100))
    exact = dense_pagerank(matrix, sources, 0.15)
    errors = []
    for rounds in (0, 1, 2):
        scores, _ = all_scores(matrix, sampled(matrix, 0.15, 50, 9), sources, BatchRule(0.15, rounds))
        errors.append(((scores - exact) ** 2).sum(axis=1))
    # A sign test over a hundred seeds: by chance alone 80 of them improve less than once in a billion times.
    assert sum(math.comb(100, wins) for wins in range(80, 101)) / 2**100 < 1e-9
    assert (errors[1] < errors[0]).sum() >= 80
    assert (errors[2] < errors[1]).sum() >= 80


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_lists_are_the_scores_in_order(rounds: int) -> None:
    matrix = web(300, 6)
    sources = uneven_sets(300, 20)
    prints = sampled(matrix, 0.15, 200, 1)
    rule = BatchRule(0.15, rounds)
    known = [np.unique(sources.nodes[sources.indptr[i] : sources.indptr[i + 1]]) for i in range(20)]
    excluded = Exclusions(np.concatenate([[0], np.cumsum([one.size for one in known])]), np.concatenate(known))
    scores = scores_by_loops(matrix, prints, sources, rule)
    for factor in (None, degree_factor(matrix.degree, -0.7)):
        got = batch_top_k(matrix, prints, sources, rule, 50, Candidates(37, 290, factor, excluded))
        for i in range(20):
            # As rounded as in the kernel.
            value = scores[i] * (1.0 if factor is None else factor.astype(np.float64))
            value = value.astype(np.float32)
            allowed = np.setdiff1d(np.arange(37, 290), known[i])
            order = allowed[np.lexsort((allowed, -value[allowed]))][:50]
            order = order[value[order] > 0]
            np.testing.assert_array_equal(got.nodes[i, : order.size], order)
            np.testing.assert_array_equal(got.scores[i, : order.size], value[order])
            assert (got.nodes[i, order.size :] == NO_ROW).all()
            assert (got.scores[i, order.size :] == 0).all()


@pytest.mark.parametrize("rounds", [0, 1])
def test_of_equal_scores_the_smaller_nodes_are_listed(rounds: int) -> None:
    # Few walks, short lists, many nodes: scores are a few multiples of one number, in far apart places.
    n = 3000
    ring = nx.random_regular_graph(4, n, seed=8)
    nx.set_edge_attributes(ring, 1.0, "weight")
    matrix = transition_of(ring)
    prints, sources = sampled(matrix, 0.15, 8, 5), single_seeds(np.arange(0, n, 100))
    scores = scores_by_loops(matrix, prints, sources, BatchRule(0.15, rounds)).astype(np.float32)
    got = batch_top_k(matrix, prints, sources, BatchRule(0.15, rounds), 9, Candidates(0, n))
    ties = 0
    for i in range(len(sources)):
        order = np.lexsort((np.arange(n), -scores[i]))
        np.testing.assert_array_equal(got.nodes[i], order[:9])
        ties += scores[i, order[8]] == scores[i, order[9]]
    assert ties > 10


def test_what_is_dropped_bounds_what_is_missing() -> None:
    matrix = web(300, 6)
    sources = uneven_sets(300, 20)
    scores, bound = all_scores(matrix, exact_fingerprints(matrix, 0.15), sources, BatchRule(0.15, 2, 0.02))
    missing = dense_pagerank(matrix, sources, 0.15) - scores
    # Exact fingerprints add up to 1, so what was dropped is missing altogether, and a node misses no more.
    np.testing.assert_allclose(missing.sum(axis=1), bound, atol=1e-6)
    assert (missing <= bound[:, None] + 1e-7).all()
    assert bound.min() > 0.01


def test_bounds_of_lists_follow_from_all_fingerprints() -> None:
    matrix = web(300, 6)
    sources, prints = uneven_sets(300, 20), sampled(matrix, 0.15, 200, 1)
    for rounds in (0, 1, 2):
        rule = BatchRule(0.15, rounds, 1e-3)
        listed = Candidates(100, 130, None, Exclusions(np.arange(21), np.arange(20)))
        got = batch_top_k(matrix, prints, sources, rule, 5, listed, 0.99)
        want = batch_radius(spread_by_hand(matrix, prints, sources, rule), 200, 0.99)
        np.testing.assert_allclose(got.bound, want, rtol=1e-12)


def test_an_answer_depends_on_its_own_query_alone() -> None:
    matrix = web(500, 7)
    sources, prints = uneven_sets(500, 40), sampled(matrix, 0.15, 60, 2)
    everyone, rule = Candidates(0, 500), BatchRule(0.15, 2, 1e-4)
    whole = batch_top_k(matrix, prints, sources, rule, 30, everyone)
    for first, stop in ((0, 1), (7, 8), (13, 40)):
        some = batch_top_k(matrix, prints, sources.part(first, stop), rule, 30, everyone)
        np.testing.assert_array_equal(some.nodes, whole.nodes[first:stop])
        np.testing.assert_array_equal(some.scores, whole.scores[first:stop])
        np.testing.assert_array_equal(some.bound, whole.bound[first:stop])


def test_fingerprints_of_the_nodes_reached_are_enough() -> None:
    matrix = web(500, 3)
    sources = RestartSets(np.array([0, 2]), np.array([4, 9]), np.array([0.5, 0.5]))
    prints = sampled(matrix, 0.15, 30, 0)
    for rounds in (0, 1, 2):
        rule, everyone = BatchRule(0.15, rounds), Candidates(0, 500)
        needed = nodes_after(matrix, sources.nodes, rounds)
        row_of = np.full(500, ABSENT, np.int64)
        row_of[needed] = needed
        fewer = prints._replace(row_of=row_of)
        got = batch_top_k(matrix, fewer, sources, rule, 9, everyone)
        want = batch_top_k(matrix, prints, sources, rule, 9, everyone)
        np.testing.assert_array_equal(got.scores, want.scores)
        row_of[needed[-1]] = ABSENT
        with pytest.raises(ValueError, match=f"node {needed[-1]} has no fingerprint"):
            batch_top_k(matrix, fewer, sources, rule, 9, everyone)


def test_walks_of_dangling_nodes_stay_and_need_their_own_fingerprint() -> None:
    matrix = transition(np.array([0, 1, 1]), np.array([1], np.int32))
    np.testing.assert_array_equal(nodes_after(matrix, np.array([0]), 3), [1])
    scores, _ = all_scores(matrix, exact_fingerprints(matrix, 0.25), single_seeds(np.array([0])), BatchRule(0.25, 3))
    np.testing.assert_allclose(scores, [[0.25, 0.75]], rtol=1e-7)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rule": BatchRule(0.0, 1)}, "restart is 0.0"),
        ({"rule": BatchRule(1.0, 1)}, "restart is 1.0"),
        ({"rule": BatchRule(0.15, -1)}, "rounds is -1"),
        ({"rule": BatchRule(0.15, 1, -0.1)}, "drop_below is -0.1"),
        ({"rule": BatchRule(0.15, 1, 1.0)}, "drop_below is 1.0"),
        ({"k": 0}, "k is 0"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"candidates": Candidates(0, 99)}, "candidates are 0 to 99"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, object], message: str) -> None:
    matrix = web(20, 0)
    arguments = {"rule": BatchRule(0.15, 1), "k": 3, "candidates": Candidates(0, 20)} | changed
    with pytest.raises(ValueError, match=message):
        batch_top_k(matrix, sampled(matrix, 0.15, 3, 0), single_seeds(np.array([1])), **arguments)  # type: ignore[arg-type]


def test_fingerprints_of_another_graph_and_unknown_seeds_are_refused() -> None:
    matrix, prints = web(20, 0), sampled(web(10, 0), 0.15, 3, 0)
    with pytest.raises(ValueError, match="fingerprints are of 10 nodes, the graph has 20"):
        all_scores(matrix, prints, single_seeds(np.array([1])), BatchRule(0.15, 0))
    with pytest.raises(IndexError, match="restarts at node 20"):
        all_scores(matrix, sampled(matrix, 0.15, 3, 0), single_seeds(np.array([20])), BatchRule(0.15, 0))


def test_an_empty_batch_has_no_answers() -> None:
    matrix = web(20, 0)
    none = single_seeds(np.empty(0, np.int64))
    assert all_scores(matrix, sampled(matrix, 0.15, 3, 0), none, BatchRule(0.15, 1))[0].shape == (0, 20)
