"""Exact scores of a filter, against eigenvectors in dense algebra, and what a table that is off is told."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.exact_scores import broken_bounds, exact_filter_scores
from pipeline.kernels.graph_filter import LINEAR, FilterRule, plateau_coefficients
from tests.oracles.graph_filter import dense_filter, leading_vectors
from tests.oracles.pagerank import looped_graphs, sided_graphs, transition_of

COEFFICIENTS = st.one_of(
    st.just(LINEAR), st.builds(plateau_coefficients, st.sampled_from([0.5, 1.5, 4.0]), st.integers(1, 12))
)
RULES = st.builds(FilterRule, COEFFICIENTS, st.sampled_from([0.0, 0.2, 3.0]), st.sampled_from([0.0, 0.4, 1.0]))


@given(st.one_of(sided_graphs(), looped_graphs().map(lambda graph: (graph, None))), RULES, st.integers(0, 4))
def test_scores_are_those_of_dense_algebra(
    graph_left: tuple[nx.Graph, int | None], rule: FilterRule, rank: int
) -> None:
    graph, left = transition_of(*graph_left), graph_left[1]
    rows, columns = ((0, left), (left, graph.n)) if left is not None else ((0, graph.n), (0, graph.n))
    basis = leading_vectors(graph, rows, columns, rank)
    sources = np.arange(*rows)
    got = exact_filter_scores(graph, sources, rows, columns, basis, rule)
    exact = dense_filter(graph, rows, columns, sources, basis, rule).T
    error = np.abs(got.scores[:, slice(*columns)] - exact).sum(axis=1)
    assert (error <= got.remainder + 1e-12).all()
    outside = np.ones(graph.n, np.bool_)
    outside[slice(*columns)] = False
    assert not got.scores[:, outside].any()


def test_the_table_that_breaks_its_bounds_is_named() -> None:
    figures = {"scores": 9, "outside": 1, "largest_excess": 0.1, "misplaced": 2, "bounds_hold": False}
    assert [sentence.split(":")[0] for sentence in broken_bounds(figures, "neighbors")] == ["neighbors"] * 2
