"""Hashed PPR against dense personalised PageRank and Python's own hashes, within what push leaves out."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.config.ppr import PprConfig
from pipeline.embedding.in_memory import block_from_edges, embed_in_memory
from pipeline.embedding.methods import EMBEDDING
from pipeline.embedding.ppr.hashed import hashed_rows, reads_blocks, threshold_for
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.kernels.node_keys import node_keys
from pipeline.kernels.ppr_chebyshev_bounds import ROUNDING
from schemas.tables import WEIGHT_UNIT
from tests.oracles.hashed_rows import bounded_rows, places_of, word_of
from tests.strategies import weighted_graphs

ONE = round(1 / WEIGHT_UNIT)


def walks_of(graph: nx.Graph) -> tuple[WalkGraph, np.ndarray]:
    keys = node_keys("node", [str(node).encode() for node in range(len(graph))])
    edges = [(u, v, round(data["weight"] * ONE)) for u, v, data in sorted(graph.edges(data=True))]
    src, dst, weight = (np.array(column, np.int64) for column in zip(*edges, strict=True))
    return WalkGraph.of(block_from_edges(keys, src, dst, weight)), keys


def settings_for(graph: nx.Graph, walks: WalkGraph, dim: int = 8, seed: int = 0, **walk: object) -> Settings:
    every = (0, len(graph))
    embedding = EMBEDDING(method="ppr", form="hashed", dim=dim, seed=seed)
    summary = GraphSummary(len(graph), every, every, mean_strength=float(walks.graph.degree.sum()) / len(graph))
    return Settings(summary, embedding, "plain_hashed", PprConfig.model_validate(walk))


def exact_scores(graph: nx.Graph, restart: float) -> np.ndarray:
    """Row u: where a walk from u is; a node without edges keeps its walk."""
    adjacency = nx.to_numpy_array(graph, nodelist=range(len(graph)))
    degree = adjacency.sum(axis=1)
    adjacency[degree == 0, degree == 0] = 1.0
    step = adjacency / adjacency.sum(axis=1, keepdims=True)
    return restart * np.linalg.inv(np.eye(len(graph)) - (1 - restart) * step)


@given(
    weighted_graphs(),
    st.sampled_from([0.05, 0.15, 0.5, 0.9]),
    st.sampled_from([None, 1e-2, 1e-4, 1e-10]),
    st.integers(1, 4),
    st.sampled_from([1, 8, 33]),
    st.integers(0, 3),
)
def test_rows_are_the_hashed_logarithms_of_the_exact_scores_within_the_bounds(
    graph: nx.Graph, restart: float, share: float | None, columns: int, dim: int, seed: int
) -> None:
    assume(graph.number_of_edges())
    walks, keys = walks_of(graph)
    mean = float(walks.graph.degree.mean())
    asked = {"restart": restart, "hash_columns": columns, "push_threshold": share and share / mean}
    given_settings = settings_for(graph, walks, dim, seed, **asked)
    got = hashed_rows(walks, 0, walks.node_ix.size, given_settings)
    scores = exact_scores(graph, restart)
    degree = np.zeros(len(graph))
    degree[walks.node_ix] = walks.graph.degree
    bar = threshold_for(given_settings) * degree
    below, above = bar, np.zeros_like(bar)
    if reads_blocks(given_settings, walks.graph.indices.size, is_bipartite=False):
        rounded = 4 * ROUNDING / restart / np.where(degree > 0, degree, 1.0)
        below = above = bar + rounded[:, None] * degree
    want = bounded_rows(scores, bar, [int(key) for key in keys], seed, columns, dim, below=below, above=above)
    rows, slack = want.rows[walks.node_ix], want.slack[walks.node_ix]
    is_within = (np.abs(got - rows) <= slack + 2.0**-23 * np.abs(got)).all(axis=1)
    # Where nothing is known, or what is cancels, a node's own place stands for it.
    stays = (np.abs(rows) <= slack).all(axis=1) & (np.abs(got - own_places(walks, seed, dim)) <= 1e-6).all(axis=1)
    assert (is_within | stays).all()
    assert got.any(axis=1).all()


def own_places(walks: WalkGraph, seed: int, dim: int) -> np.ndarray:
    """Rows with one entry, of 1 by a hash of the node alone."""
    rows = np.zeros((walks.node_key.size, dim))
    for row, key in zip(rows, walks.node_key.tolist(), strict=True):
        ((place, sign),) = places_of(word_of(key, seed), 1, dim)
        row[place] = sign
    return rows


def test_the_bound_is_tight_where_the_threshold_is() -> None:
    graph = nx.gnm_random_graph(60, 200, seed=3)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + sum(edge) % 3} for edge in graph.edges})
    walks, keys = walks_of(graph)
    rows = hashed_rows(walks, 0, walks.node_ix.size, settings_for(graph, walks, dim=16, push_threshold=1e-12))
    scores = exact_scores(graph, 0.15)
    tiny = np.full(60, 1e-12)
    want = bounded_rows(scores, tiny, [int(key) for key in keys], 0, 2, 16, below=tiny)
    assert want.slack.max() < 1e-4  # nothing that is left out
    assert np.abs(rows).max() > 1
    np.testing.assert_allclose(rows, want.rows[walks.node_ix], atol=1e-4)


def test_a_row_depends_on_its_node_alone() -> None:
    graph = nx.gnm_random_graph(600, 2000, seed=5)
    nx.set_edge_attributes(graph, 1.0, "weight")
    walks, _ = walks_of(graph)
    asked = settings_for(graph, walks)
    whole = hashed_rows(walks, 0, walks.node_ix.size, asked)
    for first, stop in ((0, 1), (255, 258), (walks.node_ix.size - 1, walks.node_ix.size)):
        assert hashed_rows(walks, first, stop, asked).tobytes() == whole[first:stop].tobytes()
    assert hashed_rows(walks, 7, 7, asked).shape == (0, 8)


@pytest.mark.parametrize("restart", [0.1, 0.6])
def test_blocks_of_two_sides_are_within_the_threshold_too(restart: float) -> None:
    graph = nx.bipartite.random_graph(200, 120, 0.05, seed=4)
    nx.set_edge_attributes(graph, {edge: {"weight": 1.0 + sum(edge) % 3} for edge in graph.edges})
    walks, keys = walks_of(graph)
    walks = replace(walks, graph=replace(walks.graph, left=int(np.searchsorted(walks.node_ix, 200))))
    settings = settings_for(graph, walks, 32, restart=restart, push_threshold=1e-6)
    assert reads_blocks(settings, walks.graph.indices.size, is_bipartite=True)
    degree = np.zeros(len(graph))
    degree[walks.node_ix] = walks.graph.degree
    bar = threshold_for(settings) * degree
    error = bar + np.outer(4 * ROUNDING / restart / np.maximum(degree, 1.0), degree)
    want = bounded_rows(exact_scores(graph, restart), bar, list(map(int, keys)), 0, 2, 32, below=error, above=error)
    rows = hashed_rows(walks, 0, walks.node_ix.size, settings)
    off = np.abs(rows - want.rows[walks.node_ix])
    assert (off <= want.slack[walks.node_ix] + 2.0**-23 * np.abs(rows)).all()
    assert np.median(want.slack) < 0.2 * np.median(np.abs(rows))  # the bounds say something


def test_what_sets_rows_changes_them() -> None:
    graph = nx.gnm_random_graph(100, 300, seed=5)
    nx.set_edge_attributes(graph, 1.0, "weight")
    walks, _ = walks_of(graph)
    asked = settings_for(graph, walks)
    rows = hashed_rows(walks, 0, 100, asked)
    changes: list[dict[str, object]] = [{"restart": 0.3}, {"hash_columns": 1}, {"push_threshold": 1e-3}]
    others = [replace(asked, ppr=PprConfig.model_validate(change)) for change in changes]
    others += [replace(asked, graph=replace(asked.graph, nodes=101)), settings_for(graph, walks, seed=1)]
    for other in others:
        assert (hashed_rows(walks, 0, 100, other) != rows).any(), other


@pytest.mark.parametrize("two_types", [False, True])
def test_finished_rows_have_the_norms_that_are_asked_for(two_types: bool) -> None:
    graph = nx.bipartite.random_graph(30, 20, 0.2, seed=1)
    graph.add_node(50)  # of users, without an edge
    nx.set_edge_attributes(graph, 2.0, "weight")
    walks, keys = walks_of(graph)
    asked = settings_for(graph, walks)
    if two_types:
        embedding = EMBEDDING(method="ppr", form="hashed", dim=8)
        graph_of_types = replace(asked.graph, target=(0, 30), source=(30, 51))
        asked = replace(asked, graph=graph_of_types, embedding=embedding, form="hashed")
    power = asked.embedding.item_norm_power if two_types else 0.0
    edges = np.array(sorted(graph.edges)).T
    block = block_from_edges(keys, *edges.astype(np.int64), np.full(edges.shape[1], 2 * ONE))
    norms = np.linalg.norm(embed_in_memory(block, asked), axis=1)
    strength = np.array([2.0 * graph.degree[node] for node in range(51)])
    want = np.where(strength > 0, 1.0 if two_types else np.sqrt(8) / 2, 0.0)
    want[:30] *= np.where(strength[:30] > 0, strength[:30], 1.0) ** power
    assert power > 0 or not two_types
    np.testing.assert_allclose(norms, want, rtol=1e-6)


def test_the_mean_strength_is_that_of_all_nodes() -> None:
    graph = nx.path_graph(4)
    graph.add_nodes_from(range(4, 8))
    nx.set_edge_attributes(graph, 2.0, "weight")
    walks, keys = walks_of(graph)
    block = block_from_edges(keys, np.arange(3), np.arange(1, 4), np.full(3, 2 * ONE))
    settings = settings_for(graph, walks)
    assert settings.graph.with_degrees(block.weight, block.degree).mean_strength == settings.graph.mean_strength == 1.5
    assert threshold_for(settings_for(graph, walks)) == 1 / 8 / 1.5
