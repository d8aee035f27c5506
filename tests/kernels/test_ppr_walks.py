import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import ppr_walks
from pipeline.kernels.alias_tables import AliasTables, alias_tables
from pipeline.kernels.hashing import hash_nodes, mix
from pipeline.kernels.ppr_top_k import Candidates
from pipeline.kernels.ppr_walks import WalkRule, walk_radius, walk_scores, walk_top_k
from pipeline.kernels.transition import Transition, single_seeds, transition
from tests.kernels.test_ppr_push import dense
from tests.oracles.pagerank import (
    dense_pagerank,
    looped_graphs,
    networkx_pagerank,
    sets_of,
    transition_of,
    uneven_sets,
)

RULE = WalkRule(0.15, 10, 0)


def tables(graph: Transition):  # type: ignore[no-untyped-def]
    return alias_tables(graph.indptr, graph.indices, graph.weights)


def keys_of(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint64) * np.uint64(977)


@settings(max_examples=40)
@given(looped_graphs(), st.sampled_from([0.15, 0.5]), st.integers(0, 2**32), st.data())
def test_scores_are_within_the_confidence_radius(
    graph: nx.Graph, restart: float, seed: int, data: st.DataObject
) -> None:
    matrix = transition_of(graph)
    sources = data.draw(sets_of(len(graph)))
    found = walk_scores(matrix, tables(matrix), sources, keys_of(len(sources)), WalkRule(restart, 2_000, seed))
    got = dense(found, len(graph))
    # One in a billion for each score, so that a failure is not chance.
    radius = walk_radius(got, 2_000, 1 - 1e-9)
    assert (np.abs(got - dense_pagerank(matrix, sources, restart)) <= radius).all()


@settings(max_examples=40)
@given(st.lists(st.sampled_from([1.0, 2.0**-20, 1000.0, 3.0, 0.1]), min_size=1, max_size=40))
def test_alias_tables_give_each_entry_its_share(weights: list[float]) -> None:
    weight = np.array(weights, np.float32)
    count = weight.size
    accept, other = alias_tables(np.array([0, count]), np.arange(count, dtype=np.int32), weight)
    share = np.bincount(np.arange(count), accept / count, count)
    share += np.bincount(other, (1.0 - accept) / count, count)
    np.testing.assert_allclose(share, weight.astype(float) / weight.astype(float).sum(), rtol=0, atol=2.0**-23)


def walk_by_definition(matrix, seed_node: int, key: int, restart: float) -> list[int]:  # type: ignore[no-untyped-def]
    """One walk's nodes, word by word, on a graph without weights."""
    luck = (int(mix(np.uint64(key))) >> 11) * 2.0**-53
    path, length, chance = [seed_node], 0, 1 - restart
    while luck < chance:
        length, chance = length + 1, chance * (1 - restart)
    for step in range(1, length + 1):
        row = matrix.indices[matrix.indptr[path[-1]] : matrix.indptr[path[-1] + 1]]
        draw = (int(mix(np.uint64((key + step) % 2**64))) >> 11) * 2.0**-53
        path.append(int(row[int(draw * row.size)]) if row.size else path[-1])
    return path


@pytest.mark.parametrize("walks", [1, 3, 200])
def test_every_walk_is_that_of_its_words(walks: int) -> None:
    graph = nx.gnm_random_graph(30, 50, seed=6)
    nx.set_edge_attributes(graph, 1.0, "weight")
    weighted = transition_of(graph)
    matrix = transition(weighted.indptr, weighted.indices)
    sources = single_seeds(np.arange(5))
    got = dense(walk_scores(matrix, None, sources, keys_of(5), WalkRule(0.15, walks, 11)), 30)
    for source, key in enumerate(hash_nodes(keys_of(5), 11)):
        visits = np.zeros(30)
        for walk in range(walks):
            word = int(mix(np.uint64((int(key) + walk) % 2**64)))
            np.add.at(visits, walk_by_definition(matrix, source, word, 0.15), 1)
        np.testing.assert_allclose(got[source], visits * 0.15 / walks, rtol=1e-12)


def test_a_source_depends_on_its_key_and_not_on_the_others_or_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = nx.gnm_random_graph(100, 250, seed=7)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + edge[0] % 3} for edge in graph.edges})
    matrix = transition_of(graph)
    sources, keys, rule = uneven_sets(100, 100), keys_of(100), WalkRule(0.15, 50, 3)
    whole = dense(walk_scores(matrix, tables(matrix), sources, keys, rule), 100)
    for start, stop in ((0, 1), (40, 47), (99, 100)):
        part = walk_scores(matrix, tables(matrix), sources.part(start, stop), keys[start:stop], rule)
        np.testing.assert_array_equal(dense(part, 100), whole[start:stop])
    monkeypatch.setattr(ppr_walks, "_PATH_NODES", 1_000)  # batches of three sources
    batched = dense(walk_scores(matrix, tables(matrix), sources, keys, rule), 100)
    np.testing.assert_array_equal(batched, whole)
    other = dense(walk_scores(matrix, tables(matrix), sources, keys, rule._replace(seed=4)), 100)
    assert (other != whole).any(axis=1).sum() > 90


def test_a_walk_stays_at_a_dead_end_of_a_directed_graph() -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(4))
    graph.add_weighted_edges_from([(0, 1, 1.0), (1, 0, 3.0), (1, 2, 1.0), (0, 3, 2.0), (3, 0, 1.0)])
    matrix = transition_of(graph)
    found = walk_scores(matrix, tables(matrix), single_seeds(np.array([0])), keys_of(1), WalkRule(0.15, 100_000, 0))
    got = dense(found, 4)[0]
    exact = networkx_pagerank(graph, {0: 1.0}, 0.15, dangling={2: 1.0})
    assert (np.abs(got - exact) <= walk_radius(got, 100_000, 1 - 1e-9)).all()
    assert walk_radius(got, 100_000, 1 - 1e-9).max() < 0.04


def test_lists_are_those_of_the_scores() -> None:
    graph = nx.gnm_random_graph(60, 200, seed=8)
    nx.set_edge_attributes(graph, 1.0, "weight")
    matrix = transition_of(graph)
    sources, rule = single_seeds(np.arange(60)), WalkRule(0.15, 500, 1)
    scores = dense(walk_scores(matrix, tables(matrix), sources, keys_of(60), rule), 60)
    found = walk_top_k(matrix, tables(matrix), sources, keys_of(60), rule, 5, Candidates(0, 60))
    order = np.argsort(-scores.astype(np.float32), axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.nodes, order)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(scores, order, axis=1).astype(np.float32))
    np.testing.assert_allclose(found.bound, walk_radius(scores.max(axis=1), 500, 0.95))


class TestRefusals:
    graph = transition(np.array([0, 1, 2]), np.array([1, 0], np.int32))
    seeds = single_seeds(np.array([0]))
    key = np.zeros(1, np.uint64)

    def test_no_source_gives_no_row(self) -> None:
        nobody = single_seeds(np.empty(0, np.int64))
        found = walk_scores(self.graph, None, nobody, np.empty(0, np.uint64), RULE)
        assert found.indptr.tolist() == [0]
        lists = walk_top_k(self.graph, None, nobody, np.empty(0, np.uint64), RULE, 3, Candidates(0, 2))
        assert lists.nodes.shape == (0, 3)

    @pytest.mark.parametrize("restart", [0.0, 1.0, 2.0])
    def test_restart(self, restart: float) -> None:
        with pytest.raises(ValueError, match="restart is"):
            walk_scores(self.graph, None, self.seeds, self.key, RULE._replace(restart=restart))

    def test_no_walks(self) -> None:
        with pytest.raises(ValueError, match="walks is 0"):
            walk_scores(self.graph, None, self.seeds, self.key, RULE._replace(walks=0))

    def test_keys_that_do_not_fit(self) -> None:
        with pytest.raises(ValueError, match="2 keys for 1"):
            walk_scores(self.graph, None, self.seeds, np.zeros(2, np.uint64), RULE)

    def test_an_alias_for_a_graph_without_weights(self) -> None:
        alias = AliasTables(np.ones(2, np.float32), np.zeros(2, np.int32))
        with pytest.raises(ValueError, match="alias must be"):
            walk_scores(self.graph, alias, self.seeds, self.key, RULE)

    def test_confidence(self) -> None:
        with pytest.raises(ValueError, match="confidence is 1"):
            walk_radius(np.zeros(1), 10, 1.0)
