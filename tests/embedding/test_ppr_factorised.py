"""Factorised PPR against dense personalised PageRank: products of rows, to the first part that rank leaves out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import settings as settings_of_test
from hypothesis import strategies as st

from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.ppr import PprConfig
from pipeline.embedding.methods import method_for
from pipeline.embedding.ppr.factorised import Factorised, PlainFactorised
from pipeline.kernels.random_projection import normal_projection
from pipeline.kernels.rows import ZERO_BELOW
from tests.embedding.graphs_in_parts import LEAST_WEIGHT, ONE, GraphInParts, graphs_in_parts, placed
from tests.embedding.methods_in_parts import factorised, in_rounds, random_tree, settings_for
from tests.oracles.simulator import Graph

#: Of products of rows of float32, whose entries are below 1, over at most 60 columns: 60 roundings of 2^-24 of terms
#: that add up to at most 1 (rows of orthonormal columns), in the rows, in Z and in V; and what the subspace, which is
#: the whole space, is short of orthonormal.
ROUNDING = 2e-5
#: Eigenvalues up to 76 columns' rounding of the largest count as zero; their walks are left out.
NOISE = 76 * 2.0**-23
#: What start rows may stretch one direction more than another: of directions that come out below the noise, eigenvalues
#: up to this much above it are lost. One square random matrix in fifty is worse; such graphs are not drawn.
CONDITION = 1_000
#: A row whose share in the leading eigenvectors is rounding of its 30 columns gets a column of its own in their place.
NO_SHARE = np.sqrt(30) * ZERO_BELOW


def steps_of(graph: Graph) -> np.ndarray:
    """D^-1/2 A D^-1/2 of all nodes, float64."""
    adjacency = np.zeros((len(graph.strength), len(graph.strength)))
    adjacency[graph.src, graph.dst] = adjacency[graph.dst, graph.src] = graph.weight
    root = np.where(graph.strength > 0, graph.strength, np.inf) ** -0.5
    return root[:, None] * adjacency * root[None, :]


def scores_of(graph: Graph, restart: float) -> np.ndarray:
    """D^1/2 Π D^-1/2 of all nodes, float64; what a node without edges has is left out."""
    step = steps_of(graph)
    has_edges = graph.strength > 0
    found = restart * np.linalg.inv(np.eye(len(step)) - (1 - restart) * step)
    return np.where(has_edges[:, None] & has_edges[None, :], found, 0.0)


def condition_of_start_rows(made: GraphInParts) -> float:
    """How much more the start rows of nodes with edges stretch one direction than another; infinite for equal keys."""
    stop = made.items or made.nodes
    keys = made.node_key[:stop][made.graph.strength[:stop] > 0]
    return float(np.linalg.cond(normal_projection(keys, min(30, stop), seed=0).astype(np.float64)))


def has_share(operator: np.ndarray) -> np.ndarray:
    """Which rows the eigenvectors of eigenvalues that can't be lost have a share in that is more than rounding."""
    values, vectors = np.linalg.eigh(operator)
    return np.linalg.norm(vectors[:, values > CONDITION * NOISE], axis=1) > NO_SHARE


def products(made: GraphInParts, embedding: EmbeddingConfig) -> tuple[np.ndarray, np.ndarray]:
    """Rows before norms are set, (n, dim) float64, and their products."""
    rows = in_rounds(made, embedding).rows.values.astype(np.float64)
    return rows, rows @ rows.T


def left_out(exact: np.ndarray, rank: int) -> float:
    """The norm of what the best matrix of a rank leaves out (Eckart and Young)."""
    values = np.linalg.svd(exact, compute_uv=False)
    return float(values[rank]) if rank < values.size else 0.0


@pytest.mark.parametrize("rank", [3, 8, 60])
def test_one_type_is_the_best_of_its_rank_among_walks_of_a_step_or_more(rank: int) -> None:
    made = random_tree(3, 0, 4, edges=200, others=50)
    embedding = factorised(dim=rank, oversampling=60, iterations=2, eigenvalues="positive", degree_offset=0.0)
    rows, found = products(made, embedding)
    edges = np.diag((made.graph.strength > 0).astype(np.float64))
    exact = scores_of(made.graph, 0.15) - 0.15 * edges
    values = np.sort(np.linalg.eigvalsh(exact))[::-1]
    positive = int((values > 1e-9).sum())
    assert 8 < positive < 60
    kept = min(rank, positive)
    # Eigenvalues of the rest: those behind, and the negative ones.
    want = max(values[kept] if kept < values.size else 0.0, -values[-1])
    assert np.linalg.norm(exact - found, 2) == pytest.approx(want, abs=ROUNDING + NOISE)
    assert np.linalg.matrix_rank(rows, tol=1e-3) == kept


@pytest.mark.parametrize("rank", [3, 8, 20])
def test_two_types_are_the_best_of_their_rank_between_users_and_items(rank: int) -> None:
    made = random_tree(3, 20, 4, edges=200, others=40)
    exactly = {"user_degree_power": 0.5, "item_degree_power": 0.5, "no_return": 0.0}
    embedding = factorised(dim=rank, oversampling=40, iterations=2, **exactly)
    _, found = products(made, embedding)
    exact = scores_of(made.graph, 0.15)
    between = np.linalg.norm(exact[20:, :20] - found[20:, :20], 2)
    # Of an eigenvalue w of P that counts as zero, c (1 - c) w^1/2 is left out.
    slack = ROUNDING + (0.85 * 0.15 * np.sqrt(NOISE) if rank == 20 else 0.0)
    assert between <= left_out(exact[20:, :20], rank) + slack
    assert between >= left_out(exact[20:, :20], rank) - slack
    assert left_out(exact[20:, :20], 3) > 10 * ROUNDING


#: Node 1 hangs by the least weight on a node with the largest: 2^-22 of it is in the only eigenvector.
BY_A_THREAD = placed([0, 0], [0, 1], home=[0, 0], nodes=2, weight=[ONE << 20, LEAST_WEIGHT])


@settings_of_test(max_examples=25)
@given(graphs_in_parts(), st.sampled_from([0.05, 0.15, 0.5]))
@example(BY_A_THREAD, 0.15)
def test_with_a_column_for_every_node_it_is_pagerank_on_any_graph_and_cut(made: GraphInParts, restart: float) -> None:
    assume(condition_of_start_rows(made) <= CONDITION)
    exactly = {"user_degree_power": 0.5, "item_degree_power": 0.5, "no_return": 0.0, "degree_offset": 0.0}
    embedding = factorised(dim=30, oversampling=0, iterations=2, eigenvalues="positive", **exactly)
    found = in_rounds(made, embedding, restart).rows.values.astype(np.float64)
    exact, step = scores_of(made.graph, restart), steps_of(made.graph)
    if made.items:
        step = step[made.items :, : made.items]
        stays = has_share(step.T @ step)
        exact, near = exact[made.items :, : made.items][:, stays], found[made.items :] @ found[: made.items][stays].T
        lost = (1 - restart) * restart * np.sqrt(CONDITION * NOISE)
    else:
        stays = has_share(step)
        exact = exact - restart * np.diag((made.graph.strength > 0).astype(np.float64))
        lost = max(0.0, -float(np.linalg.eigvalsh(exact).min())) + CONDITION * NOISE / restart
        exact, near = exact[np.ix_(stays, stays)], found[stays] @ found[stays].T
    # A score's derivative by an eigenvalue is 1 / c at most, so that what rounding does to it counts as much more.
    assert np.linalg.norm(exact - near, 2) <= lost + ROUNDING / restart


@pytest.mark.parametrize("items", [0, 20])
def test_the_restart_sets_the_scales_alone(items: int) -> None:
    made = random_tree(2, items, 6, edges=150, others=30).in_one_block()
    embedding = factorised(dim=4, oversampling=50, no_return=0.0, user_degree_power=0.5, item_degree_power=0.5)
    near, far = (_scales(made, embedding, items, restart) for restart in (0.5, 0.05))
    # Far walks see the leading eigenpair most.
    assert (far[0] / far[1:] > near[0] / near[1:]).all()
    assert (np.diff(near) < 0).all()


def _scales(made: GraphInParts, embedding: EmbeddingConfig, items: int, restart: float) -> np.ndarray:
    settings = replace(settings_for(made, embedding), ppr=PprConfig(restart=restart))
    method = method_for(settings)
    assert isinstance(method, Factorised if items else PlainFactorised)
    return method.scales(settings.with_facts({"eigenvalues": np.array([1.0, 0.7, 0.3, 0.05])}))


@pytest.mark.parametrize("items", [0, 20])
def test_columns_without_an_eigenpair_stay_zero(items: int) -> None:
    settings = settings_for(random_tree(2, items, 6, edges=50), factorised(dim=3))
    scales = method_for(settings).scales(settings.with_facts({"eigenvalues": np.zeros(3)}))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(scales, np.zeros(3))
