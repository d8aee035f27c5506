import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.ppr_chebyshev import chebyshev_columns, chebyshev_scores, chebyshev_top_k
from pipeline.kernels.ppr_chebyshev_bounds import (
    BLOCK,
    chebyshev_passes,
    smallest_tolerance,
    smallest_tolerance_of_halves,
)
from pipeline.kernels.ppr_top_k import Candidates
from pipeline.kernels.threads import use_threads
from pipeline.kernels.transition import RestartSets, restart_sets, single_seeds, transition
from tests.oracles.pagerank import (
    dense_pagerank,
    looped_graphs,
    networkx_pagerank,
    sets_of,
    sided_graphs,
    transition_of,
    uneven_sets,
)
from tests.strategies import csr_arrays

RESTARTS = st.sampled_from([0.05, 0.15, 0.5, 0.9])
TOLERANCES = st.sampled_from([0.3, 0.02, 2e-3])


def assert_within_bound(graph, sources, restart, tolerance):  # type: ignore[no-untyped-def]
    x, bound = chebyshev_scores(graph, sources, restart, tolerance)
    exact = dense_pagerank(graph, sources, restart)
    assert x.shape == exact.shape
    assert x.dtype == np.float32
    error = np.abs(x - exact).sum(axis=1)
    # 1e-9: what the oracle's own float64 solve may be off.
    assert (error <= bound + 1e-9).all()
    assert (bound <= tolerance).all()
    # What no walk reaches is exactly 0, not nearly.
    np.testing.assert_array_equal(x[exact < 1e-40], 0)


@given(looped_graphs(), RESTARTS, TOLERANCES, st.data())
def test_error_is_within_the_certificate(
    graph: nx.Graph, restart: float, tolerance: float, data: st.DataObject
) -> None:
    assert_within_bound(transition_of(graph), data.draw(sets_of(len(graph))), restart, tolerance)


@given(sided_graphs(), RESTARTS, TOLERANCES, st.data())
def test_error_is_within_the_certificate_one_side_at_a_time(
    graph_left: tuple[nx.Graph, int], restart: float, tolerance: float, data: st.DataObject
) -> None:
    graph, left = graph_left
    assert_within_bound(transition_of(graph, left), data.draw(sets_of(len(graph))), restart, tolerance)


@settings(max_examples=30)
@given(looped_graphs(), st.data())
def test_it_is_networkx_pagerank(graph: nx.Graph, data: st.DataObject) -> None:
    seed_node = data.draw(st.sampled_from(sorted(graph)))
    x, bound = chebyshev_scores(transition_of(graph), single_seeds(np.array([seed_node])), 0.2, 1e-3)
    # An isolated node is only met as the seed itself: staying there is jumping back to it.
    exact = networkx_pagerank(graph, {seed_node: 1.0}, 0.2, dangling={seed_node: 1.0})
    assert np.abs(x[0] - exact).sum() <= bound[0] + len(graph) * 1e-12


def test_an_isolated_member_of_a_restart_set_keeps_its_share() -> None:
    graph = nx.path_graph(3)
    nx.set_edge_attributes(graph, 1.0, "weight")
    graph.add_node(3)
    sets = restart_sets(np.array([0, 2]), np.array([0, 3]), np.array([1.0, 3.0]))
    x, bound = chebyshev_scores(transition_of(graph), sets, 0.15, 1e-3)
    assert x[0, 3] == 0.75
    stays = graph.copy()
    stays.add_edge(3, 3, weight=1.0)
    exact = networkx_pagerank(stays, {0: 1.0, 3: 3.0}, 0.15)
    assert np.abs(x[0] - exact).sum() <= bound[0]


@pytest.mark.parametrize("left", [None, 60])
def test_bytes_of_a_source_do_not_depend_on_the_others(left: int | None) -> None:
    graph = nx.bipartite.random_graph(60, 90, 0.05, seed=1)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + edge[0] % 7} for edge in graph.edges})
    matrix = transition_of(graph, left)
    sources = uneven_sets(150, BLOCK + 40)
    x, bound = chebyshev_scores(matrix, sources, 0.15, 0.01)
    again, again_bound = chebyshev_scores(matrix, sources, 0.15, 0.01)
    assert (x.tobytes(), bound.tobytes()) == (again.tobytes(), again_bound.tobytes())
    for start, stop in ((0, 1), (0, 20), (7, 60), (100, 168), (127, 129)):
        some, some_bound = chebyshev_scores(matrix, sources.part(start, stop), 0.15, 0.01)
        assert some.tobytes() == x[start:stop].tobytes()
        assert some_bound.tobytes() == bound[start:stop].tobytes()


@pytest.mark.parametrize("left", [None, 1])
@pytest.mark.parametrize("restart", [0.02, 0.15])
@pytest.mark.parametrize("looser", [1, 100])
def test_a_hub_is_certified_as_closely_as_float32_can(left: int | None, restart: float, looser: int) -> None:
    leaves = 20_000
    indptr = np.concatenate([[0], leaves + np.arange(leaves + 1)])
    indices = np.concatenate([np.arange(1, leaves + 1), np.zeros(leaves)]).astype(np.int32)
    tolerance = looser * smallest_tolerance(restart)
    x, bound = chebyshev_scores(
        transition(indptr, indices, None, left), single_seeds(np.array([0, 7])), restart, tolerance
    )
    # In closed form: from the hub, mass comes back every other step; from a leaf, one step later.
    at_hub = restart / (1 - (1 - restart) ** 2)
    from_hub = np.concatenate([[at_hub], np.full(leaves, (1 - restart) * at_hub / leaves)])
    from_leaf = (1 - restart) * from_hub
    from_leaf[7] += restart
    assert (bound <= tolerance).all()
    assert (np.abs(x - [from_hub, from_leaf]).sum(axis=1) <= bound).all()


def test_a_list_of_the_side_that_is_solved_for_has_the_bits_of_the_scores() -> None:
    graph = nx.bipartite.random_graph(30, 50, 0.1, seed=5)
    nx.set_edge_attributes(graph, 1.0, "weight")
    matrix = transition_of(graph, 30)
    sources = single_seeds(np.arange(80))
    x, bound = chebyshev_scores(matrix, sources, 0.3, 0.005)  # in float32
    for first, stop in ((0, 30), (30, 80), (20, 40)):
        found = chebyshev_top_k(matrix, sources, 0.3, 0.005, 1, Candidates(first, stop))
        np.testing.assert_array_equal(found.scores[:, 0], x[:, first:stop].max(axis=1))
        np.testing.assert_array_equal(found.bound, bound)


def scores_of_lists(matrix, sources, restart, tolerance):  # type: ignore[no-untyped-def]
    """Scores of all nodes, as lists that hold all nodes have them, and the bounds; what no list holds is 0."""
    found = chebyshev_top_k(matrix, sources, restart, tolerance, matrix.n, Candidates(0, matrix.n))
    x = np.zeros((len(sources), matrix.n), np.float32)
    source, place = np.nonzero(found.nodes >= 0)
    x[source, found.nodes[source, place]] = found.scores[source, place]
    return x, found.bound


def assert_halves_within_bound(graph, sources, restart, looser):  # type: ignore[no-untyped-def]
    tolerance = looser * smallest_tolerance_of_halves(restart, is_bipartite=graph.left is not None)
    x, bound = scores_of_lists(graph, sources, restart, tolerance)
    assert (np.abs(x - dense_pagerank(graph, sources, restart)).sum(axis=1) <= bound + 1e-9).all()
    assert (bound <= tolerance).all()


@given(looped_graphs(), RESTARTS, st.sampled_from([1, 2, 20]), st.data())
def test_lists_in_bfloat16_are_within_the_certificate(
    graph: nx.Graph, restart: float, looser: int, data: st.DataObject
) -> None:
    assert_halves_within_bound(transition_of(graph), data.draw(sets_of(len(graph))), restart, looser)


@given(sided_graphs(), RESTARTS, st.sampled_from([1, 2, 20]), st.data())
def test_lists_in_bfloat16_are_within_the_certificate_one_side_at_a_time(
    graph_left: tuple[nx.Graph, int], restart: float, looser: int, data: st.DataObject
) -> None:
    graph, left = graph_left
    assert_halves_within_bound(transition_of(graph, left), data.draw(sets_of(len(graph))), restart, looser)


@given(st.one_of(looped_graphs().map(lambda graph: (graph, None)), sided_graphs()), RESTARTS, TOLERANCES, st.data())
def test_errors_of_columns_are_within_the_threshold_at_every_node(
    graph_left: tuple[nx.Graph, int | None], restart: float, share: float, data: st.DataObject
) -> None:
    graph = transition_of(*graph_left)
    sources = data.draw(sets_of(len(graph_left[0])))
    degree = np.where(graph.degree > 0, graph.degree, 1.0)
    exact, threshold = dense_pagerank(graph, sources, restart), share * 1e-3 / degree.mean()
    solved = []
    for some, z, bound in chebyshev_columns(graph, sources, restart, threshold):
        off = np.abs(z[:, : bound.size].T - exact[some] / degree)
        assert (off <= bound[:, None] * (1 + 1e-9)).all()
        solved += some.tolist()
    assert sorted(solved) == list(range(len(sources)))


def test_a_column_that_bfloat16_cannot_certify_is_solved_in_float32() -> None:
    graph = transition(np.array([0, 1, 2]), np.array([1, 0], np.int32), np.full(2, 1000, np.float32))
    sets = restart_sets(np.array([0, 2]), np.array([0, 1]), np.array([8.0, 1.0]))
    assert_halves_within_bound(graph, sets, 0.05, 1)  # moves go on between two roundings for ever


@pytest.mark.parametrize("left", [None, 60])
def test_bytes_of_a_list_do_not_depend_on_the_others(left: int | None) -> None:
    graph = nx.bipartite.random_graph(60, 90, 0.05, seed=1)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + edge[0] % 7} for edge in graph.edges})
    matrix = transition_of(graph, left)
    sources, both = uneven_sets(150, BLOCK + 40), Candidates(0, 150)
    whole = chebyshev_top_k(matrix, sources, 0.15, 0.1, 20, both)
    # Of bfloat16: float32 gives other bits.
    assert whole.scores.tobytes() != chebyshev_top_k(matrix, sources, 0.15, 0.001, 20, both).scores.tobytes()
    for start, stop in ((0, 1), (7, 60), (100, 168)):
        some = chebyshev_top_k(matrix, sources.part(start, stop), 0.15, 0.1, 20, both)
        for mine, theirs in zip(some.__dict__.values(), whole.__dict__.values(), strict=True):
            assert mine.tobytes() == theirs[start:stop].tobytes()


@pytest.mark.parametrize("left", [None, 9_000])
def test_threads_change_no_byte(left: int | None) -> None:
    graph = nx.bipartite.random_graph(9_000, 12_000, 2e-4, seed=1)
    nx.set_edge_attributes(graph, 1.0, "weight")
    matrix, sources = transition_of(graph, left), single_seeds(np.arange(0, 21_000, 1_500))
    found = []
    try:
        for threads in (1, 3):
            use_threads(threads)
            for tolerance in (0.1, 1e-3):
                lists = chebyshev_top_k(matrix, sources, 0.15, tolerance, 10, Candidates(9_000, 21_000))
                found.append([values.tobytes() for values in lists.__dict__.values()])
    finally:
        use_threads(1)
    assert found[:2] == found[2:]


def test_weights_of_one_change_no_bit() -> None:
    graph = nx.gnm_random_graph(40, 90, seed=2)
    nx.set_edge_attributes(graph, 1.0, "weight")
    indptr, indices, weights = csr_arrays(graph)
    sources = single_seeds(np.arange(40))
    plain, _ = chebyshev_scores(transition(indptr, indices), sources, 0.15, 0.01)
    weighted, _ = chebyshev_scores(transition(indptr, indices, weights.astype(np.float32)), sources, 0.15, 0.01)
    assert plain.tobytes() == weighted.tobytes()


def test_lists_are_the_best_of_the_scores() -> None:
    graph = nx.bipartite.random_graph(30, 50, 0.1, seed=3)
    nx.set_edge_attributes(graph, 1.0, "weight")
    matrix = transition_of(graph, 30)
    sources = single_seeds(np.arange(30))
    exact = dense_pagerank(matrix, sources, 0.15)[:, 30:]
    found = chebyshev_top_k(matrix, sources, 0.15, 1e-4, 10, Candidates(30, 80))
    assert ((found.nodes >= 30) | (found.nodes == -1)).all()
    for source in range(30):
        tenth = np.sort(exact[source])[-10]
        listed = found.nodes[source][found.nodes[source] >= 0] - 30
        # A node is in the wrong list only where its score is within the bound of the tenth.
        assert (exact[source, listed] >= tenth - 2 * found.bound[source]).all()
        got = found.scores[source][: listed.size]
        assert np.abs(got - exact[source, listed]).max(initial=0) <= found.bound[source]


def test_fewer_passes_for_two_sides_and_looser_tolerances() -> None:
    assert chebyshev_passes(0.15, 1e-3, is_bipartite=True) < 0.7 * chebyshev_passes(0.15, 1e-3, is_bipartite=False)
    assert chebyshev_passes(0.15, 1e-1, is_bipartite=True) < chebyshev_passes(0.15, 1e-3, is_bipartite=True)


class TestRefusals:
    graph = transition(np.array([0, 1, 2]), np.array([1, 0], np.int32))

    def test_no_source_gives_no_row(self) -> None:
        x, bound = chebyshev_scores(self.graph, single_seeds(np.empty(0, np.int64)), 0.15, 0.1)
        assert x.shape == (0, 2)
        assert bound.shape == (0,)
        assert chebyshev_top_k(self.graph, RestartSets(np.zeros(1, np.int64), *[np.empty(0)] * 2), 0.15, 0.1, 3,
                               Candidates(0, 2)).nodes.shape == (0, 3)  # fmt: skip

    @pytest.mark.parametrize("restart", [0.0, 1.0, -0.1, 1.5, float("nan")])
    def test_restart(self, restart: float) -> None:
        with pytest.raises(ValueError, match="restart is"):
            chebyshev_scores(self.graph, single_seeds(np.array([0])), restart, 0.1)

    @pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
    def test_tolerance(self, tolerance: float) -> None:
        with pytest.raises(ValueError, match="tolerance is"):
            chebyshev_scores(self.graph, single_seeds(np.array([0])), 0.15, tolerance)

    def test_a_tolerance_that_float32_cannot_certify(self) -> None:
        with pytest.raises(ValueError, match="forward push"):
            chebyshev_scores(self.graph, single_seeds(np.array([0])), 0.15, 0.9 * smallest_tolerance(0.15))

    def test_a_directed_graph(self) -> None:
        directed = transition(np.array([0, 1, 1]), np.array([1], np.int32))
        with pytest.raises(ValueError, match="directed"):
            chebyshev_scores(directed, single_seeds(np.array([0])), 0.15, 0.1)

    def test_a_seed_outside_the_graph(self) -> None:
        with pytest.raises(IndexError, match="node 2"):
            chebyshev_scores(self.graph, single_seeds(np.array([0, 2])), 0.15, 0.1)
