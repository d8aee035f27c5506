import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.ppr_push import push_scores, push_top_k
from pipeline.kernels.ppr_top_k import Candidates, SparseScores
from pipeline.kernels.ranking import Exclusions
from pipeline.kernels.transition import single_seeds, transition
from tests.oracles.pagerank import dense_pagerank, looped_graphs, networkx_pagerank, sets_of, transition_of, uneven_sets


def dense(found: SparseScores, n: int) -> np.ndarray:
    """(sources, n); a node named twice would show as a sum that is too large."""
    scores = np.zeros((found.indptr.size - 1, n))
    rows = np.repeat(np.arange(len(scores)), np.diff(found.indptr))
    np.add.at(scores, (rows, found.nodes), found.scores)
    return scores


@given(looped_graphs(), st.sampled_from([0.05, 0.15, 0.5, 0.9]), st.sampled_from([0.1, 1e-3, 1e-6]), st.data())
def test_scores_are_within_tolerance_times_degree_below_the_exact_ones(
    graph: nx.Graph, restart: float, tolerance: float, data: st.DataObject
) -> None:
    matrix = transition_of(graph)
    sources = data.draw(sets_of(len(graph)))
    found = push_scores(matrix, sources, restart, tolerance)
    gap = dense_pagerank(matrix, sources, restart) - dense(found, len(graph))
    assert (gap >= -1e-9).all()
    assert (gap <= tolerance * matrix.degree + 1e-9).all()
    np.testing.assert_allclose(found.missing, gap.sum(axis=1), atol=1e-9)


@settings(max_examples=30)
@given(looped_graphs(), st.data())
def test_it_is_networkx_pagerank(graph: nx.Graph, data: st.DataObject) -> None:
    seed_node = data.draw(st.sampled_from(sorted(graph)))
    restart, tolerance = 0.2, 1e-4
    matrix = transition_of(graph)
    got = dense(push_scores(matrix, single_seeds(np.array([seed_node])), restart, tolerance), len(graph))[0]
    exact = networkx_pagerank(graph, {seed_node: 1.0}, restart, dangling={seed_node: 1.0})
    gap = exact - got
    assert (gap >= -1e-9).all()
    assert (gap <= tolerance * matrix.degree + 1e-9).all()


def test_a_walk_stays_at_a_dead_end_of_a_directed_graph() -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(4))
    graph.add_weighted_edges_from([(0, 1, 1.0), (1, 0, 3.0), (1, 2, 1.0), (0, 3, 2.0), (3, 0, 1.0)])
    found = push_scores(transition_of(graph), single_seeds(np.array([0])), 0.15, 1e-12)
    exact = networkx_pagerank(graph, {0: 1.0}, 0.15, dangling={2: 1.0})
    np.testing.assert_allclose(dense(found, 4)[0], exact, atol=1e-9)


def test_state_is_clean_between_sources() -> None:
    graph = nx.gnm_random_graph(300, 900, seed=4)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + edge[0] % 5} for edge in graph.edges})
    matrix = transition_of(graph)
    sources = uneven_sets(300, 300)
    whole = push_scores(matrix, sources, 0.15, 1e-4)
    for start, stop in ((0, 1), (17, 20), (299, 300)):
        some = push_scores(matrix, sources.part(start, stop), 0.15, 1e-4)
        entries = slice(whole.indptr[start], whole.indptr[stop])
        assert some.nodes.tobytes() == whole.nodes[entries].tobytes()
        assert some.scores.tobytes() == whole.scores[entries].tobytes()
        assert some.missing.tobytes() == whole.missing[start:stop].tobytes()


def test_lists_do_not_depend_on_the_batch_and_are_the_best() -> None:
    graph = nx.gnm_random_graph(300, 900, seed=5)
    nx.set_edge_attributes(graph, 1.0, "weight")
    matrix = transition_of(graph)
    sources = single_seeds(np.arange(300))
    excluded = Exclusions(np.arange(301), np.arange(300))  # each source itself
    found = push_top_k(matrix, sources, 0.15, 1e-7, 10, Candidates(100, 300, None, excluded))
    exact = dense_pagerank(matrix, sources, 0.15)
    exact[np.arange(300), np.arange(300)] = 0
    exact[:, :100] = 0
    best = -np.sort(-exact, axis=1)[:, :10]
    np.testing.assert_allclose(found.scores, best, atol=1e-5)
    some = push_top_k(
        matrix, sources.part(250, 300), 0.15, 1e-7, 10,
        Candidates(100, 300, None, Exclusions(np.arange(51), np.arange(250, 300))),
    )  # fmt: skip
    assert some.nodes.tobytes() == found.nodes[250:].tobytes()
    assert some.scores.tobytes() == found.scores[250:].tobytes()


@pytest.mark.parametrize(
    ("tolerance", "scores", "missing"),
    [(0.8, [0.15 + 0.85**2 * 0.15, 0.85 * 0.15], 0.85**3), (0.9, [0.15, 0.85 * 0.15], 0.85**2), (1.0, [0.15], 0.85)],
)
def test_a_node_sends_on_what_is_above_tolerance_times_degree(
    tolerance: float, scores: list[float], missing: float
) -> None:
    # One edge: mass 1 at its first end, then .85 at the other, then .7225 at the first again.
    graph = transition(np.array([0, 1, 2]), np.array([1, 0], np.int32))
    found = push_scores(graph, single_seeds(np.array([0])), 0.15, tolerance)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-14)
    assert found.missing[0] == pytest.approx(missing, rel=1e-14)


def test_work_is_local() -> None:
    # A path of 10,000 nodes: mass that halves at each step reaches few of them.
    n = 10_000
    graph = nx.path_graph(n)
    nx.set_edge_attributes(graph, 1.0, "weight")
    found = push_scores(transition_of(graph), single_seeds(np.array([n // 2])), 0.5, 1e-3)
    assert 5 < found.nodes.size < 50


class TestRefusals:
    graph = transition(np.array([0, 1, 2]), np.array([1, 0], np.int32))

    def test_no_source_gives_no_row(self) -> None:
        found = push_scores(self.graph, single_seeds(np.empty(0, np.int64)), 0.15, 0.1)
        assert found.indptr.tolist() == [0]
        assert found.nodes.size == found.scores.size == found.missing.size == 0

    @pytest.mark.parametrize("restart", [0.0, 1.0, -0.1, 1.5])
    def test_restart(self, restart: float) -> None:
        with pytest.raises(ValueError, match="restart is"):
            push_scores(self.graph, single_seeds(np.array([0])), restart, 0.1)

    @pytest.mark.parametrize("tolerance", [0.0, -1e-9])
    def test_tolerance(self, tolerance: float) -> None:
        with pytest.raises(ValueError, match="infinitely many"):
            push_scores(self.graph, single_seeds(np.array([0])), 0.15, tolerance)

    def test_a_seed_outside_the_graph(self) -> None:
        with pytest.raises(IndexError, match="node -1"):
            push_scores(self.graph, single_seeds(np.array([-1])), 0.15, 0.1)
