from __future__ import annotations

from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pipeline.evaluation.exact_scores as ppr_exact
from pipeline.evaluation.exact_scores import (
    REMAINDER,
    ListRules,
    SampledLists,
    affordable_sources,
    broken_bounds,
    compare_lists,
    compare_vectors,
    exact_scores,
)
from pipeline.evaluation.position_lists import PositionLists
from pipeline.kernels.ppr_chebyshev import chebyshev_scores, chebyshev_top_k
from pipeline.kernels.ppr_top_k import Candidates, degree_factor
from pipeline.kernels.ranking import NO_ROW, Exclusions
from pipeline.kernels.transition import Transition, single_seeds, transition
from tests.oracles.pagerank import dense_pagerank, looped_graphs, networkx_pagerank, sided_graphs, transition_of

RESTARTS = st.sampled_from([0.05, 0.15, 0.5, 0.9])


@given(st.one_of(looped_graphs().map(lambda graph: (graph, None)), sided_graphs()), RESTARTS)
def test_exact_scores_are_dense_algebra_s(case: tuple[nx.Graph, int | None], restart: float) -> None:
    graph = transition_of(*case)
    sources = np.arange(graph.n)
    got = exact_scores(graph, sources, restart)
    assert (got.remainder <= REMAINDER).all()
    error = np.abs(got.scores - dense_pagerank(graph, single_seeds(sources), restart)).sum(axis=1)
    # 1e-11: of the dense solution itself, whose condition is 1 / restart at most.
    assert (error <= got.remainder + 1e-11).all()


def test_exact_scores_are_networkx_s() -> None:
    graph = nx.barabasi_albert_graph(60, 3, seed=4)
    for one, other in graph.edges:
        graph[one][other]["weight"] = 1.0 + (one * other) % 5
    got = exact_scores(transition_of(graph), np.array([0, 41]), 0.15)
    for row, source in enumerate((0, 41)):
        np.testing.assert_allclose(got.scores[row], networkx_pagerank(graph, {source: 1.0}, 0.15), atol=1e-10)


def test_a_directed_graph_is_refused() -> None:
    graph = transition(np.array([0, 1, 1], np.int64), np.array([1], np.int32))
    with pytest.raises(ValueError, match="directed"):
        exact_scores(graph, np.array([0]), 0.5)


def test_large_graphs_are_judged_by_fewer_sources() -> None:
    assert affordable_sources(1_000) == ppr_exact.SAMPLE
    assert 2 <= affordable_sources(20_000_000) < ppr_exact.SAMPLE
    assert affordable_sources(10**12) == 2


def listed(
    graph: Transition, restart: float, tolerance: float, k: int, power: float, known: bool
) -> tuple[SampledLists, ListRules]:
    """Lists of all nodes with edges by block Chebyshev, of all nodes but the source and perhaps its neighbours."""
    sources = np.flatnonzero(graph.degree > 0)
    rows = [
        np.unique(np.append(graph.indices[graph.indptr[u] : graph.indptr[u + 1]] if known else [], u)) for u in sources
    ]
    left_out = PositionLists(np.cumsum([0, *map(len, rows)]), np.concatenate([*rows, np.zeros(0)]).astype(np.int64))
    degree = np.diff(graph.indptr).astype(np.float64)
    candidates = Candidates(0, graph.n, degree_factor(degree, -power), Exclusions(left_out.indptr, left_out.positions))
    found = chebyshev_top_k(graph, single_seeds(sources), restart, tolerance, k, candidates)
    is_listed = found.nodes != NO_ROW
    lists = SampledLists(
        sources,
        np.cumsum([0, *is_listed.sum(axis=1)]),
        found.nodes[is_listed],
        found.scores[is_listed],
        found.bound.astype(np.float32) * np.float32(1 + 1e-6),
    )
    return lists, ListRules((0, graph.n), k, np.where(degree > 0, degree, 1.0) ** -power, left_out, "l1")


@given(
    looped_graphs(),
    RESTARTS,
    st.sampled_from([1e-2, 3e-3]),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
    st.integers(1, 6),
)
def test_sound_lists_hold_their_bounds_and_precision_is_that_of_the_definition(
    drawn: nx.Graph, restart: float, tolerance: float, power: float, known: bool, k: int
) -> None:
    graph = transition_of(drawn)
    lists, rules = listed(graph, restart, tolerance, k, power, known)
    exact = exact_scores(graph, lists.sources, restart)
    got = compare_lists(lists, exact, rules)
    assert got["bounds_hold"]
    assert got["misplaced"] == 0
    assert not broken_bounds(got)

    want = []
    dense = dense_pagerank(graph, single_seeds(lists.sources), restart) * rules.factor
    for row in range(lists.sources.size):
        scores = dense[row].copy()
        scores[rules.left_out.of(row, row + 1).positions] = 0
        best = np.sort(scores[scores > 1e-8])[::-1][:k]
        # Where the dense solution can't tell whether scores tie or exceed the slack, there is nothing to compare.
        assume(not ((scores > 0) & (scores < 1e-7)).any())
        mine = dense[row, lists.nodes[lists.indptr[row] : lists.indptr[row + 1]]]
        want.append((mine >= best[-1] - 2.5e-9).sum() / best.size if best.size else 1.0)
    assert got[f"precision@{k}"] == pytest.approx(np.mean(want) if want else 0.0, abs=1e-12)


def ring(n: int = 12) -> Transition:
    return transition_of(_weighted(nx.cycle_graph(n)))


def _weighted(graph: nx.Graph) -> nx.Graph:
    nx.set_edge_attributes(graph, 1.0, "weight")
    return graph


def test_nodes_that_tie_are_all_right() -> None:
    graph = ring()
    lists, rules = listed(graph, 0.3, 1e-3, 3, 0.0, known=False)
    exact = exact_scores(graph, lists.sources, 0.3)
    assert compare_lists(lists, exact, rules)["precision@3"] == 1.0
    # The third is one of two that tie; the other one is as right.
    swapped = lists.nodes.copy()
    other = (2 * lists.sources - swapped[2::3]) % graph.n
    swapped[2::3] = other
    assert compare_lists(replace(lists, nodes=swapped), exact, rules)["precision@3"] == 1.0
    # One that is farther away is wrong.
    swapped[2::3] = (lists.sources + 5) % graph.n
    assert compare_lists(replace(lists, nodes=swapped), exact, rules)["precision@3"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scores": 0.01}, "scores sampled 1 are farther"),
        ({"bound": 1e-9}, "scores sampled"),
        ({"nodes": "itself"}, "no candidates"),
        ({"nodes": "twice"}, "listed twice"),
    ],
)
def test_a_planted_violation_is_found(change: dict[str, Any], sentence: str) -> None:
    graph = transition_of(_weighted(nx.barabasi_albert_graph(40, 2, seed=1)))
    lists, rules = listed(graph, 0.15, 1e-2, 5, 0.0, known=False)
    exact = exact_scores(graph, lists.sources, 0.15)
    assert compare_lists(lists, exact, rules)["bounds_hold"]
    scores, nodes, bound = lists.scores.copy(), lists.nodes.copy(), lists.bound.copy()
    if "scores" in change:
        scores[7] += lists.bound[1] + np.float32(change["scores"])
    if "bound" in change:
        bound[:] = change["bound"]
    if "nodes" in change:
        nodes[1] = lists.sources[0] if change["nodes"] == "itself" else nodes[0]
    got = compare_lists(replace(lists, scores=scores, nodes=nodes, bound=bound), exact, rules)
    assert not got["bounds_hold"]
    assert any(sentence in one for one in broken_bounds(got))


def test_scores_with_a_confidence_may_be_outside_now_and_then() -> None:
    graph = transition_of(_weighted(nx.barabasi_albert_graph(40, 2, seed=1)))
    lists, rules = listed(graph, 0.15, 1e-2, 5, 0.0, known=False)
    exact = exact_scores(graph, lists.sources, 0.15)
    rules = replace(rules, error_kind="confidence")
    scores = lists.scores.copy()
    scores[:10] += 0.5  # 10 of 200
    assert compare_lists(replace(lists, scores=scores), exact, rules)["bounds_hold"]
    scores[10] += 0.5
    assert not compare_lists(replace(lists, scores=scores), exact, rules)["bounds_hold"]


def test_errors_of_vectors_are_their_l1_distances() -> None:
    graph = transition_of(_weighted(nx.barabasi_albert_graph(40, 2, seed=1)))
    sources = np.array([0, 7, 30])
    exact = exact_scores(graph, sources, 0.15)
    rows, bound = chebyshev_scores(graph, single_seeds(sources), 0.15, 1e-2)
    got = compare_vectors(rows, bound, exact)
    want = np.abs(rows - dense_pagerank(graph, single_seeds(sources), 0.15)).sum(axis=1)
    assert got["mean"] == pytest.approx(want.mean(), abs=1e-8)
    assert got["max"] == pytest.approx(want.max(), abs=1e-8)
    assert got["bounds_hold"]
    rows[1, 5] += 0.02
    worse = compare_vectors(rows, bound, exact)
    assert not worse["bounds_hold"]
    assert "beyond its own bound" in broken_bounds({"l1": worse, "bounds_hold": True})[0]
