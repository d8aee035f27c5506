"""Lists by a filter of the graph, against dense algebra in float64."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.graph_filter import LINEAR, FilterRule, GraphFilter, plateau_coefficients
from pipeline.kernels.ppr_chebyshev_bounds import BLOCK
from pipeline.kernels.ppr_top_k import Candidates
from pipeline.kernels.ranking import NO_ROW
from pipeline.kernels.transition import Transition
from tests.oracles.graph_filter import dense_filter, dense_operator, leading_vectors
from tests.oracles.pagerank import looped_graphs, sided_graphs, transition_of

FILTERS = st.one_of(
    st.just(LINEAR),
    st.builds(plateau_coefficients, st.sampled_from([0.5, 1.0, 1.5, 4.0]), st.integers(1, 12)),
    st.lists(st.floats(-2, 2), min_size=2, max_size=6).map(tuple),
)
RULES = st.builds(FilterRule, FILTERS, st.sampled_from([0.0, 0.2, 3.0]), st.sampled_from([0.0, 0.4, 1.0]))


def assert_scores_are_dense(
    graph: Transition, rows: tuple[int, int], columns: tuple[int, int], rule: FilterRule, rank: int
) -> None:
    basis = leading_vectors(graph, rows, columns, rank)
    filtered = GraphFilter(graph, rows, columns, basis, rule)
    sources = np.arange(*rows)[:BLOCK]
    exact = dense_filter(graph, rows, columns, sources, basis, rule)
    scores = filtered.scores(sources)
    lists = filtered.top_k(sources, columns[1] - columns[0] or 1, Candidates(*columns))
    error = np.abs(scores - exact).max(axis=0, initial=0.0)
    assert (error <= lists.bound + 1e-12).all()
    for best, listed, column in zip(lists.nodes, lists.scores, scores.T, strict=True):
        is_listed = best != NO_ROW
        np.testing.assert_array_equal(listed[is_listed], np.sort(column[column > 0])[::-1])
        np.testing.assert_array_equal(column[best[is_listed] - columns[0]], listed[is_listed])


@given(sided_graphs(), RULES, st.integers(0, 4), st.booleans())
def test_scores_between_two_sides_are_those_of_dense_algebra(
    graph_left: tuple[nx.Graph, int], rule: FilterRule, rank: int, is_forth: bool
) -> None:
    graph, left = graph_left
    sides = (0, left), (left, len(graph))
    rows, columns = sides if is_forth else sides[::-1]
    assert_scores_are_dense(transition_of(graph, left), rows, columns, rule, rank)


@given(looped_graphs(), RULES, st.integers(0, 4))
def test_scores_of_one_type_are_those_of_dense_algebra(graph: nx.Graph, rule: FilterRule, rank: int) -> None:
    every = 0, len(graph)
    assert_scores_are_dense(transition_of(graph), every, every, rule, rank)


@given(looped_graphs())
def test_the_spectrum_of_the_operator_is_within_0_and_1(graph: nx.Graph) -> None:
    every = 0, len(graph)
    values = np.linalg.eigvalsh(dense_operator(transition_of(graph), every, every)[0])
    assert values.min() >= -1e-9
    assert values.max() <= 1 + 1e-9


@given(st.floats(0.3, 6), st.integers(1, 16))
def test_the_plateau_is_interpolated_at_the_chebyshev_nodes(phi: float, degree: int) -> None:
    nodes = np.cos((np.arange(degree + 1) + 0.5) * np.pi / (degree + 1))
    plateau = 0.5 + 0.5 * np.sign(nodes) * np.abs(nodes) ** phi
    got = np.polynomial.chebyshev.chebval(nodes, plateau_coefficients(phi, degree))
    np.testing.assert_allclose(got, plateau, atol=(degree + 1) * 2.0**-40 + 1e-12)


def test_a_plateau_of_power_1_is_linear() -> None:
    np.testing.assert_allclose(plateau_coefficients(1.0, 6), [*LINEAR, 0, 0, 0, 0, 0], atol=2.0**-39)


def _bipartite(users: int, items: int, degree: int, seed: int) -> Transition:
    draw = np.random.default_rng(seed)
    graph = nx.Graph()
    graph.add_nodes_from(range(users + items))
    for user in range(users):
        for item in draw.choice(items, size=draw.integers(1, degree), replace=False):
            graph.add_edge(user, users + int(item), weight=float(draw.integers(1, 4)))
    return transition_of(graph, users)


@settings(max_examples=5)
@given(st.integers(0, 100))
def test_a_source_does_not_depend_on_the_others_of_its_block(seed: int) -> None:
    graph = _bipartite(BLOCK, 70, 12, seed)
    rows, columns = (0, BLOCK), (BLOCK, graph.n)
    basis = leading_vectors(graph, rows, columns, 24)
    filtered = GraphFilter(graph, rows, columns, basis, FilterRule(plateau_coefficients(1.5, 8), 0.2, 0.4))
    whole = filtered.scores(np.arange(BLOCK)).copy()
    others = np.insert(np.random.default_rng(seed).permutation(np.delete(np.arange(BLOCK), 5)), 5, 5)
    np.testing.assert_array_equal(filtered.scores(others)[:, 5], whole[:, 5])
    np.testing.assert_array_equal(filtered.scores(np.arange(9))[:, 5], whole[:, 5])


def test_variants_are_the_lists_of_their_own_rules() -> None:
    graph = _bipartite(60, 70, 12, 1)
    rows, columns = (0, 60), (60, graph.n)
    basis, h, k = leading_vectors(graph, rows, columns, 24), plateau_coefficients(3.0, 6), 8
    variants = [(0, 0.0), (8, 0.5), (8, 2.0), (24, 0.5)]
    sources, candidates = np.arange(60), Candidates(*columns)
    lists = GraphFilter(graph, rows, columns, basis, FilterRule(h, 1.0, 0.3)).top_k_of_variants(
        sources, k, candidates, variants
    )
    for (rank, alpha), nodes in zip(variants, lists, strict=True):
        rule = FilterRule(h, alpha, 0.3)
        exact = dense_filter(graph, rows, columns, sources, basis[:, :rank], rule)
        wanted = np.sort(np.take_along_axis(exact, np.argsort(-exact, axis=0)[:k], axis=0), axis=0)
        listed = np.take_along_axis(exact, (nodes - columns[0]).T, axis=0)
        np.testing.assert_allclose(np.sort(listed, axis=0), wanted, rtol=1e-5)


def test_the_bound_is_small_beside_the_scores() -> None:
    graph = _bipartite(60, 70, 12, 0)
    rows, columns = (0, 60), (60, graph.n)
    basis, rule = leading_vectors(graph, rows, columns, 24), FilterRule(plateau_coefficients(1.5, 8), 0.2, 0.4)
    lists = GraphFilter(graph, rows, columns, basis, rule).top_k(np.arange(60), 10, Candidates(*columns))
    assert (lists.bound < 1e-3 * lists.scores[:, 0]).all()


def test_wrong_sides_are_refused() -> None:
    graph = _bipartite(4, 5, 3, 0)
    basis, rule = np.zeros((5, 0), np.float32), FilterRule(LINEAR, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"they must be one of"):
        GraphFilter(graph, (0, 9), (0, 9), basis, rule)
    with pytest.raises(ValueError, match=r"basis has 4 rows; 5 nodes are scored"):
        GraphFilter(graph, (0, 4), (4, 9), basis[:4], rule)
