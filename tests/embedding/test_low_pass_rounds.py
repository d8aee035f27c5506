"""Low-pass embeddings in rounds: against the simulator for any tree, against dense algebra, in any shards."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.methods import METHODS
from pipeline.kernels.low_pass import cut_above, eigenvalues_above
from tests.embedding.graphs_in_parts import ONE, GraphInParts, graphs_in_parts, placed
from tests.embedding.methods_in_parts import (
    Done,
    in_rounds,
    low_pass,
    low_pass_embeddings,
    low_pass_parameters,
    random_tree,
    settings_for,
)
from tests.oracles.exchange_simulator import scaled_incidence, symmetric_adjacency
from tests.oracles.low_pass_simulator import DenseFiltered, damped_step, dense_low_pass, simulate_low_pass
from tests.oracles.simulator import ternary_rows


def settled(done: Done, embedding: EmbeddingConfig) -> tuple[float, float]:
    """The cut, from -1 to 1, and the largest eigenvalue that a run used."""
    is_two_types = done.made.items > 0
    cut, largest = float(done.report["cut"]), float(done.report.get("largest_eigenvalue", 1.0))
    if embedding.cut is not None:
        assert cut == pytest.approx(embedding.cut, abs=1e-15)
    return (2.0 * cut - 1.0 if is_two_types else cut), largest


def check(made: GraphInParts, embedding: EmbeddingConfig) -> tuple[Done, DenseFiltered]:
    """Hold the rounds against the simulator, and both against dense algebra."""
    done = in_rounds(made, embedding)
    cut, largest = settled(done, embedding)
    parameters = low_pass_parameters(made, embedding)
    want = simulate_low_pass(made.graph, made.home, made.is_split, parameters, cut, largest)
    dense = dense_low_pass(made.graph, parameters, cut, largest)
    alive = (made.home >= 0)[:, None]
    is_narrow = embedding.boundary_dtype != "float32"
    assert np.isfinite(done.rows.values).all()
    # Of narrow rows both are off, each by the bound; by less than float32 is off, they are off together.
    off = np.linalg.norm(np.where(alive, done.rows.values - want.rows, 0.0))
    assert off <= (1 + is_narrow) * dense.error + 1e-30
    assert np.linalg.norm(np.where(alive, done.rows.values - dense.rows, 0.0)) <= 1.001 * dense.error + 1e-30
    if not is_narrow:
        assert np.linalg.norm(np.where(alive, want.rows - dense.rows, 0.0)) <= 2.0**-26 * dense.error + 1e-30
    if made.items:
        items = np.flatnonzero(alive[: made.items, 0])
        slack = 1e-5 * want.noise_scale[items].max(initial=0.0) + dense.error * math.sqrt(made.nodes)
        if not is_narrow:
            assert (np.abs(done.rows.noise_scale[items] - want.noise_scale[items]) <= slack + 1e-30).all()
        # A bound from above, and at most two steps beyond what 2**-10 of it is.
        step = 2.0 ** math.frexp(want.bound)[1] * 2.0**-10
        assert (1 - 1e-5) * want.bound <= largest <= want.bound * (1 + 1e-5) + 2 * step
    if embedding.cut is None:
        found = cut_above(want.moments, parameters.rank)
        assert cut == pytest.approx(found, abs=1.01 * 2.0**-10) or counts_are_close(want.moments, parameters.rank)
    if len(made.parts) > 1:
        assert {name: done.moved[name] for name in want.travelled} == want.travelled
    return done, dense


def counts_are_close(moments: list[float], count: float) -> bool:
    """Whether the count crosses ``count`` so flatly that float32's errors of the moments decide where."""
    slack = 1e-4 * max(abs(moment) for moment in moments)
    low, high = cut_above(moments, count + slack), cut_above(moments, max(count - slack, 0.0))
    return high - low > 2.0**-10 or abs(eigenvalues_above(moments, high) - count) <= slack


@settings(max_examples=15)
@given(st.data())
def test_any_tree_weights_and_parameters(data: st.DataObject) -> None:
    made = data.draw(graphs_in_parts())
    check(made, data.draw(low_pass_embeddings()))


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
@pytest.mark.parametrize("parts", [1, 3])
def test_graphs_of_some_size_are_as_near_as_float32_can_be(items: int, parts: int) -> None:
    made = random_tree(parts, items, seed=parts)
    done, dense = check(made if parts > 1 else made.in_one_block(), low_pass(dim=24, filter_degree=12, rank=8))
    # Roundings are as often up as down: far below the bound, which adds up the worst of each.
    off = np.linalg.norm(np.where((made.home >= 0)[:, None], done.rows.values - dense.rows, 0.0))
    assert off <= 2e-6 * np.linalg.norm(dense.rows)


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_any_number_of_shards_gives_the_same_bits(items: int, dtype: str) -> None:
    made = random_tree(2, items, 2, edges=150)
    for tree, cut, shards in ((made, 0.3, (None, 2)), (made.in_one_block(), None, (None, 2, 3))):
        runs = [in_rounds(tree, low_pass(dim=40, boundary_dtype=dtype, shards=n, rank=6, cut=cut)) for n in shards]
        assert np.abs(runs[0].rows.values).max() > 0
        for other in runs[1:]:
            assert other.rows.values.tobytes() == runs[0].rows.values.tobytes()
            assert other.rows.noise_scale.tobytes() == runs[0].rows.noise_scale.tobytes()
            assert other.report == runs[0].report
            assert other.moved["partials"] == runs[0].moved["partials"]


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
def test_one_block_equals_many_parts(items: int) -> None:
    made = random_tree(4, items, 0)
    embedding = low_pass(dim=24, filter_degree=6, rank=8)
    (many, dense), (one, _) = check(made, embedding), check(made.in_one_block(), embedding)
    assert many.report == one.report
    off = np.linalg.norm((many.rows.values.astype(np.float64) - one.rows.values)[made.home >= 0])
    assert off <= min(2e-6 * np.linalg.norm(dense.rows), 2 * dense.error)
    np.testing.assert_allclose(many.finished, one.finished, atol=1e-4 * np.abs(one.finished).max())


@pytest.mark.parametrize("items", [0, 40], ids=["plain", "two_types"])
def test_the_cut_lets_about_so_many_eigenvalues_through(items: int) -> None:
    made = random_tree(3, items, 7, edges=500).in_one_block()
    for rank in (5, 15):
        embedding = low_pass(dim=8, rank=rank)
        cut, largest = settled(in_rounds(made, embedding), embedding)
        if items:
            m = scaled_incidence(made.graph, 0.4, 0.4)
            values, vectors = np.linalg.eigh(m.T @ m)
            values = 2.0 * values / largest - 1.0
        else:
            values, vectors = np.linalg.eigh(symmetric_adjacency(made.graph))
        assert values.max() <= 1.0 + 1e-6
        # The probes' own traces, by eigenvectors: random signs count them as the sum of squares of their projections.
        signs = ternary_rows(made.node_key, 16, 1.0, 0x5BEC) * (np.arange(made.nodes) < (items or made.nodes))[:, None]
        signs = signs * (made.home >= 0)[:, None]
        seen = ((vectors.T @ signs) ** 2).mean(axis=1)
        moments = [float(seen @ np.cos(k * np.arccos(np.clip(values, -1, 1)))) for k in range(25)]
        assert cut == pytest.approx(cut_above(moments, rank), abs=1.01 * 2.0**-10)
        # Hutchinson: each eigenvector's square has variance of at most 2 / 16 times its share of the trace; four
        # deviations, and what the polynomial's slope of pi / degree blurs.
        blurred = ((values > cut - math.pi / 24).sum(), (values > cut + math.pi / 24).sum())
        slack = 4.0 * math.sqrt(2.0 / 16 * blurred[0])
        assert blurred[1] - slack <= rank <= blurred[0] + slack


@pytest.mark.parametrize("bound", [1.0, 2.0, 0.5, 3.25])
def test_rounding_does_not_decide_the_bound_of_a_regular_graph(bound: float) -> None:
    # Its ratios are whole but for rounding, which is another in every tree.
    settings_ = settings_for(random_tree(2, 5, 0), low_pass())
    found = {
        float(METHODS["largest"].rounds.reduce_facts(0, [{"ratio": np.array([ratio])}], settings_)["largest"][0])
        for ratio in (bound * (1 - 2.0**-22), bound, bound * (1 + 2.0**-22))
    }
    assert len(found) == 1
    assert bound < found.pop() <= bound * (1 + 2.0**-8)


PLANTED = {
    "one user with all items": placed([6] * 6, range(6), [0, 1, 0, 1, 0, 1, 0], nodes=7, items=6),
    "one item with all users": placed(range(1, 8), [0] * 7, [0, 1, 0, 1, 2, 2, 0, 1], nodes=8, items=1),
    "one pair": placed([1], [0], [0, 0], nodes=2, items=1),
    "one edge": placed([0], [1], [0, 1], nodes=2),
    "one node and its loop": placed([0], [0], [0], nodes=1),
    "a star": placed([0] * 9, range(1, 10), [0, 0, 0, 0, 1, 1, 1, 2, 2, 2], [True] + [False] * 9, nodes=10),
    "isolated nodes": placed([4, 4], [0, 1], [0] * 9, nodes=9, items=4),
    "tiny weights": placed([3, 3, 4, 4], [0, 1, 1, 2], [0, 0, 1, 1, 0], nodes=5, items=3, weight=[1, 2, 1, 3]),
    "huge and tiny weights": placed(
        [3, 3, 4, 4], [0, 1, 1, 2], [0, 0, 1, 1, 0], nodes=5, items=3, weight=[ONE << 20, 1, 3, ONE << 19]
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted(name: str) -> None:
    for changes in ({"cut": 0.5, "filter_degree": 1}, {"boundary_dtype": "int8", "dim": 20, "filter_degree": 2}):
        done, _ = check(PLANTED[name], low_pass(**changes))
        lengths = np.linalg.norm(done.finished, axis=1)
        assert np.isfinite(lengths).all()
        assert (lengths[PLANTED[name].home < 0] == 0).all()


def test_finished_items_have_norm_d_to_the_q_and_nodes_of_one_type_norm_1() -> None:
    for items, changes in ((30, {"item_norm_power": 0.1}), (0, {}), (0, {"norm_degree_power": 0.5})):
        made = random_tree(2, items, 4)
        done = in_rounds(made, low_pass(dim=16, cut=0.4, **changes))
        lengths = np.linalg.norm(done.finished.astype(np.float64), axis=1)
        power = changes["item_norm_power"] if items else changes.get("norm_degree_power", 0.0)
        normed = (made.home >= 0) & (np.arange(made.nodes) < (items or made.nodes))
        np.testing.assert_allclose(lengths[normed], made.graph.strength[normed] ** power, rtol=1e-6)
        np.testing.assert_array_equal(
            done.finished[items if items else made.nodes :], done.rows.values[items or made.nodes :]
        )


def test_the_walk_filters_its_own_transition_matrix() -> None:
    made = random_tree(3, 0, 6)
    embedding = low_pass(dim=5, cut=0.2, transition="random_walk", sparsity=1.0)
    finished = in_rounds(made, embedding).finished
    graph = made.graph
    adjacency = np.zeros((made.nodes, made.nodes))
    np.add.at(adjacency, (graph.src, graph.dst), graph.weight)
    both = adjacency + adjacency.T - np.diag(np.diag(adjacency))
    walk = both / np.maximum(graph.strength, 1e-300)[:, None]
    before, term = np.zeros((made.nodes, 5)), ternary_rows(graph.node_key, 5, 1.0, 0)
    weights = damped_step(embedding.filter_degree, 0.2)
    want = weights[0] * term
    for number, weight in enumerate(weights[1:]):
        before, term = term, (walk @ term if number == 0 else 2.0 * walk @ term - before)
        want = want + weight * term
    has_edges = made.home >= 0
    want = want[has_edges] / np.linalg.norm(want[has_edges], axis=1, keepdims=True)
    np.testing.assert_allclose(finished[has_edges], want, atol=2e-5)
