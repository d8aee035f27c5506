import math
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.kernels.alias_tables import alias_tables
from pipeline.kernels.ppr_batch import (
    ABSENT,
    BatchSpread,
    Fingerprints,
    batch_radius,
    batch_top_k,
    nodes_after,
)
from pipeline.kernels.ppr_top_k import Candidates, degree_factor
from pipeline.kernels.ppr_walks import walk_scores, walk_visits
from pipeline.kernels.ranking import NO_ROW
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
TWO_ROUNDINGS = 2.0**-23 * (1 + 1e-6)  # to float32, one after the other


def exact_fingerprints(graph: Transition, restart: float) -> Fingerprints:
    """Those of all nodes, by linear algebra, rounded to float32."""
    rows = dense_pagerank(graph, single_seeds(np.arange(graph.n)), restart)
    indptr = np.arange(graph.n + 1, dtype=np.int64) * graph.n
    nodes = np.tile(np.arange(graph.n, dtype=np.int32), graph.n)
    return Fingerprints(np.arange(graph.n), indptr, nodes, rows.ravel().astype(np.float32), 1.0, 0)


def sampled(graph: Transition, restart: float, walks: int, seed: int) -> Fingerprints:
    alias = None if graph.weights is None else alias_tables(graph.indptr, graph.indices, graph.weights)
    keys = np.arange(graph.n, dtype=np.uint64)
    found = walk_visits(graph, alias, single_seeds(np.arange(graph.n)), keys, restart, walks, seed)
    visits = found.visits.astype(np.float32)
    return Fingerprints(np.arange(graph.n), found.indptr, found.nodes, visits, restart / walks, walks)


def web(n: int, seed: int, *, directed: bool = False) -> Transition:
    graph = nx.gnm_random_graph(n, 3 * n, seed=seed, directed=directed)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + sum(edge) % 5} for edge in graph.edges})
    return transition_of(graph)


def batch_scores(
    graph: Transition,
    prints: Fingerprints,
    sets: RestartSets,
    restart: float,
    rounds: int,
    drop_below: float = 0.0,
    factor: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Scores of all nodes, (queries, n): those of lists as long as the graph."""
    every = Candidates(0, graph.n, factor)
    got = batch_top_k(graph, prints, sets, restart, rounds, graph.n, every, drop_below)
    scores = np.zeros((len(sets), graph.n), np.float32)
    query, place = np.nonzero(got.nodes != NO_ROW)
    scores[query, got.nodes[query, place]] = got.scores[query, place]
    return scores


def spread_by_hand(
    graph: Transition, prints: Fingerprints, sets: RestartSets, restart: float, rounds: int, drop_below: float = 0.0
) -> BatchSpread:
    """What bounds follow from, by matrices."""
    step, rows, moving = np.zeros((graph.n, graph.n)), np.zeros((graph.n, graph.n)), np.zeros((len(sets), graph.n))
    for v in range(graph.n):
        near = slice(graph.indptr[v], graph.indptr[v + 1])
        weight = np.ones(near.stop - near.start) if graph.weights is None else graph.weights[near].astype(np.float64)
        np.add.at(step[v], graph.indices[near], weight / graph.degree[v])
        step[v, v] += near.start == near.stop
        entries = slice(prints.indptr[prints.place[v]], prints.indptr[prints.place[v] + 1])
        rows[v, prints.nodes[entries]] = prints.scale * prints.visits[entries].astype(np.float64)
    for query in range(len(sets)):
        members = slice(sets.indptr[query], sets.indptr[query + 1])
        np.add.at(moving[query], sets.nodes[members], sets.shares[members])
    moving = moving @ np.linalg.matrix_power((1 - restart) * step, rounds)
    dropped = np.where(moving < drop_below, moving, 0.0)
    sums = (moving - dropped) @ rows
    return BatchSpread((moving - dropped).max(axis=1), sums.max(axis=1), dropped.sum(axis=1))


@settings(max_examples=60)
@given(looped_graphs(), st.sampled_from(RESTARTS), st.integers(0, 4), st.data())
def test_with_exact_fingerprints_the_decomposition_is_exact(
    graph: nx.Graph, restart: float, rounds: int, data: st.DataObject
) -> None:
    matrix = transition_of(graph)
    sources = data.draw(sets_of(len(graph)))
    scores = batch_scores(matrix, exact_fingerprints(matrix, restart), sources, restart, rounds)
    want = dense_pagerank(matrix, sources, restart)
    # Fingerprints and scores are rounded to 24 bits, all else to 53; degrees are exact sums of a few float32.
    np.testing.assert_allclose(scores, want, rtol=TWO_ROUNDINGS, atol=1e-12)


@pytest.mark.parametrize("restart", RESTARTS)
def test_the_answer_for_a_weighted_set_is_that_of_networkx(restart: float) -> None:
    graph = nx.gnm_random_graph(40, 90, seed=5)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + sum(edge) % 7} for edge in graph.edges})
    matrix = transition_of(graph)
    sets = restart_sets(np.array([0, 3]), np.array([1, 2, 7]), np.array([1.0, 4.0, 0.5]))
    scores = batch_scores(matrix, exact_fingerprints(matrix, restart), sets, restart, 2)
    want = networkx_pagerank(graph, {1: 1.0, 2: 4.0, 7: 0.5}, restart)
    np.testing.assert_allclose(scores[0], want, atol=2e-7)


def test_directed_graphs_and_graphs_without_weights_are_answered() -> None:
    directed = web(50, 8, directed=True)
    sources = uneven_sets(50, 6)
    for matrix in (directed, transition(directed.indptr, directed.indices)):
        scores = batch_scores(matrix, exact_fingerprints(matrix, 0.2), sources, 0.2, 2)
        np.testing.assert_allclose(scores, dense_pagerank(matrix, sources, 0.2), rtol=TWO_ROUNDINGS)


def test_without_rounds_a_seed_has_its_own_fingerprint() -> None:
    matrix = web(60, 1)
    keys, alias = np.arange(60, dtype=np.uint64), alias_tables(matrix.indptr, matrix.indices, matrix.weights)
    sources = single_seeds(np.arange(60))
    scores = batch_scores(matrix, sampled(matrix, 0.15, 40, 3), sources, 0.15, 0)
    want = walk_scores(matrix, alias, sources, keys, 0.15, 40, 3)
    np.testing.assert_allclose(scores, dense(want, 60), rtol=2.0**-24)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_answers_are_unbiased(rounds: int) -> None:
    matrix = web(30, 2)
    sources = uneven_sets(30, 4)
    exact = dense_pagerank(matrix, sources, 0.3)
    tries, walks, total = 200, 25, np.zeros_like(exact)
    for seed in range(tries):
        total += batch_scores(matrix, sampled(matrix, 0.3, walks, seed), sources, 0.3, rounds)
    # The mean of 200 answers is the answer of fingerprints of 200 x 25 walks; one in a billion for each score.
    spread = spread_by_hand(matrix, exact_fingerprints(matrix, 0.3), sources, 0.3, rounds)
    radius = batch_radius(spread, walks * tries, 1 - 1e-9)
    assert (np.abs(total / tries - exact) <= radius[:, None]).all()
    assert radius.max() < 0.5 * exact.max()  # so that it says something


@settings(max_examples=40)
@given(looped_graphs(), st.sampled_from(RESTARTS), st.integers(0, 3), st.integers(0, 2**32), st.data())
def test_scores_are_within_the_radius(
    graph: nx.Graph, restart: float, rounds: int, seed: int, data: st.DataObject
) -> None:
    matrix = transition_of(graph)
    sources = data.draw(sets_of(len(graph)))
    prints = sampled(matrix, restart, 500, seed)
    scores = batch_scores(matrix, prints, sources, restart, rounds, 1e-3)
    every = Candidates(0, matrix.n)
    bound = batch_top_k(matrix, prints, sources, restart, rounds, 1, every, 1e-3, 1 - 1e-9).bound
    error = np.abs(scores - dense_pagerank(matrix, sources, restart))
    assert (error <= bound[:, None] + 2.0**-24).all()


def test_rounds_make_answers_more_accurate_than_the_fingerprints_that_are_stored() -> None:
    matrix = web(400, 4)
    sources = single_seeds(np.arange(100))
    exact = dense_pagerank(matrix, sources, 0.15)
    errors = []
    for rounds in (0, 1, 2):
        scores = batch_scores(matrix, sampled(matrix, 0.15, 50, 9), sources, 0.15, rounds)
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
    known = [np.unique(sources.nodes[sources.indptr[i] : sources.indptr[i + 1]]) for i in range(20)]
    known_indptr = np.concatenate([[0], np.cumsum([one.size for one in known])])
    plain = batch_scores(matrix, prints, sources, 0.15, rounds)
    for factor in (None, degree_factor(matrix.degree, -0.7)):
        scores = batch_scores(matrix, prints, sources, 0.15, rounds, factor=factor)
        np.testing.assert_allclose(scores, plain * (1.0 if factor is None else factor), rtol=2 * TWO_ROUNDINGS)
        candidates = Candidates(37, 290, factor, known_indptr, np.concatenate(known))
        got = batch_top_k(matrix, prints, sources, 0.15, rounds, 50, candidates)
        for i in range(20):
            value = scores[i]
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
    scores = batch_scores(matrix, prints, sources, 0.15, rounds)
    got = batch_top_k(matrix, prints, sources, 0.15, rounds, 9, Candidates(0, n))
    ties = 0
    for i in range(len(sources)):
        order = np.lexsort((np.arange(n), -scores[i]))
        np.testing.assert_array_equal(got.nodes[i], order[:9])
        ties += scores[i, order[8]] == scores[i, order[9]]
    assert ties > 10


def test_what_is_dropped_bounds_what_is_missing() -> None:
    matrix = web(300, 6)
    sources = uneven_sets(300, 20)
    prints, every = exact_fingerprints(matrix, 0.15), Candidates(0, 300)
    missing = dense_pagerank(matrix, sources, 0.15) - batch_scores(matrix, prints, sources, 0.15, 2, 0.02)
    bound = batch_top_k(matrix, prints, sources, 0.15, 2, 1, every, 0.02).bound
    # Exact fingerprints add up to 1, so what was dropped is missing altogether, and a node misses no more.
    np.testing.assert_allclose(missing.sum(axis=1), bound, atol=1e-6)
    assert (missing <= bound[:, None] + 1e-7).all()
    assert bound.min() > 0.01


def test_bounds_of_lists_follow_from_all_fingerprints() -> None:
    matrix = web(300, 6)
    sources, prints = uneven_sets(300, 20), sampled(matrix, 0.15, 200, 1)
    for rounds in (0, 1, 2):
        spread = spread_by_hand(matrix, prints, sources, 0.15, rounds, 1e-3)
        assert (spread.heaviest <= 0.85**rounds).all()
        nodes = np.arange(20)
        listed = Candidates(100, 130, None, np.arange(21), nodes)
        got = batch_top_k(matrix, prints, sources, 0.15, rounds, 5, listed, 1e-3, 0.99)
        np.testing.assert_allclose(got.bound, batch_radius(spread, 200, 0.99), rtol=1e-12)


def test_an_answer_depends_on_its_own_query_alone() -> None:
    matrix = web(500, 7)
    sources, prints = uneven_sets(500, 40), sampled(matrix, 0.15, 60, 2)
    everyone = Candidates(0, 500)
    whole = batch_top_k(matrix, prints, sources, 0.15, 2, 30, everyone, 1e-4)
    for first, stop in ((0, 1), (7, 8), (13, 40)):
        some = batch_top_k(matrix, prints, sources.part(first, stop), 0.15, 2, 30, everyone, 1e-4)
        np.testing.assert_array_equal(some.nodes, whole.nodes[first:stop])
        np.testing.assert_array_equal(some.scores, whole.scores[first:stop])
        np.testing.assert_array_equal(some.bound, whole.bound[first:stop])


def test_fingerprints_of_the_nodes_reached_are_enough() -> None:
    matrix = web(500, 3)
    sources = RestartSets(np.array([0, 2]), np.array([4, 9]), np.array([0.5, 0.5]))
    prints = sampled(matrix, 0.15, 30, 0)
    for rounds in (0, 1, 2):
        needed = nodes_after(matrix, sources.nodes, rounds)
        place = np.full(500, ABSENT, np.int64)
        place[needed] = needed
        fewer = replace(prints, place=place)
        got = batch_top_k(matrix, fewer, sources, 0.15, rounds, 9, Candidates(0, 500))
        want = batch_top_k(matrix, prints, sources, 0.15, rounds, 9, Candidates(0, 500))
        np.testing.assert_array_equal(got.scores, want.scores)
        place[needed[-1]] = ABSENT
        with pytest.raises(ValueError, match=f"node {needed[-1]} has no fingerprint"):
            batch_top_k(matrix, fewer, sources, 0.15, rounds, 9, Candidates(0, 500))


def test_walks_of_dangling_nodes_stay_and_need_their_own_fingerprint() -> None:
    matrix = transition(np.array([0, 1, 1]), np.array([1], np.int32))
    np.testing.assert_array_equal(nodes_after(matrix, np.array([0]), 3), [1])
    scores = batch_scores(matrix, exact_fingerprints(matrix, 0.25), single_seeds(np.array([0])), 0.25, 3)
    np.testing.assert_allclose(scores, [[0.25, 0.75]], rtol=1e-7)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"restart": 0.0}, "restart is 0.0"),
        ({"restart": 1.0}, "restart is 1.0"),
        ({"rounds": -1}, "rounds is -1"),
        ({"drop_below": -0.1}, "drop_below is -0.1"),
        ({"drop_below": 1.0}, "drop_below is 1.0"),
        ({"k": 0}, "k is 0"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"candidates": Candidates(0, 99)}, "candidates are 0 to 99"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, object], message: str) -> None:
    matrix = web(20, 0)
    given = {"restart": 0.15, "rounds": 1, "k": 3, "candidates": Candidates(0, 20)} | changed
    with pytest.raises(ValueError, match=message):
        batch_top_k(matrix, sampled(matrix, 0.15, 3, 0), single_seeds(np.array([1])), **given)  # type: ignore[arg-type]


def test_fingerprints_of_another_graph_and_unknown_seeds_are_refused() -> None:
    matrix, prints = web(20, 0), sampled(web(10, 0), 0.15, 3, 0)
    with pytest.raises(ValueError, match="fingerprints are of 10 nodes, the graph has 20"):
        batch_scores(matrix, prints, single_seeds(np.array([1])), 0.15, 0)
    with pytest.raises(IndexError, match="restarts at node 20"):
        batch_scores(matrix, sampled(matrix, 0.15, 3, 0), single_seeds(np.array([20])), 0.15, 0)


def test_an_empty_batch_has_no_answers() -> None:
    matrix = web(20, 0)
    none = single_seeds(np.empty(0, np.int64))
    assert batch_top_k(matrix, sampled(matrix, 0.15, 3, 0), none, 0.15, 1, 3, Candidates(0, 20)).nodes.shape == (0, 3)
