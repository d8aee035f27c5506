"""Blocks and rounds against the simulator, for any tree; both against dense powers where float32 has a say."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.in_memory import block_from_edges, embed_in_memory
from pipeline.embedding.methods import EMBEDDING, method_for
from pipeline.embedding.rows import RowNodes, Rows
from pipeline.kernels.random_projection import very_sparse_projection
from tests.embedding.graphs_in_parts import (
    ONE,
    GraphInParts,
    embed,
    embeddings,
    graphs_in_parts,
    moved,
    parameters_of,
    placed,
    settings_of,
)
from tests.oracles.dense_powers import dense_powers
from tests.oracles.simulator import ZERO_BELOW, simulate

#: Where every row of every power keeps this share of what was summed, the promise of the design holds as it
#: stands; where rows nearly cancel, what float32 lost before is carried along, and the bound is the derived one.
CLEAR = 2.0**-4


def check(made: GraphInParts, embedding: EmbeddingConfig) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Hold the rounds against the simulator; return both rows and the simulator's noise scales."""
    parameters = parameters_of(made.form, embedding)
    with tempfile.TemporaryDirectory() as folder:
        got, done = embed(made, embedding, Path(folder))
        found = moved(done)
    want, noise_scale, travelled = simulate(made.graph, made.home, made.is_split, parameters)
    dense = dense_powers(made.graph, parameters)
    if np.abs(want).max(initial=0) >= 2.0**64:
        # Weights of 2**-32 and three powers leave float32's range: such a table is refused where it is published.
        return got, want, noise_scale

    off = np.linalg.norm(got.values - want, axis=1)
    norm = np.linalg.norm(want, axis=1)
    in_doubt = dense.clearness.min() <= 4 * ZERO_BELOW  # some power's zero may have gone either way
    is_narrow = embedding.boundary_dtype != "float32"
    if not in_doubt:
        # Of narrow rows both are off, each by the bound; by less than float32 is off, they are off together.
        np.testing.assert_array_less(off, (1 + is_narrow) * dense.error + 1e-30)
        np.testing.assert_array_less(np.linalg.norm(got.values - dense.rows, axis=1), dense.error * 1.001 + 1e-30)
        np.testing.assert_array_less(
            np.abs(got.noise_scale - noise_scale),
            (1e-6 + is_narrow * 2.0**-8) * noise_scale + (1 + is_narrow) * dense.noise_scale_error + 1e-30,
        )
    if dense.clearness.min() >= CLEAR and not is_narrow:
        np.testing.assert_array_less(off, 1e-5 * norm + 2.0**-22 * noise_scale + 1e-30)
        np.testing.assert_allclose(got.noise_scale, noise_scale, rtol=1e-6)
        is_zero = np.linalg.norm(got.values.astype(np.float64), axis=1) <= ZERO_BELOW * got.noise_scale
        ratio = np.divide(norm, noise_scale, out=np.ones_like(norm), where=noise_scale > 0)
        certain = (ratio < ZERO_BELOW / 2) | (ratio > ZERO_BELOW * 2)
        np.testing.assert_array_equal(is_zero[certain], (norm <= ZERO_BELOW * noise_scale)[certain])
    if len(made.parts) > 1:
        assert {name: found[name] for name in travelled} == travelled
    return got, want, noise_scale


@settings(max_examples=60)
@given(st.data())
def test_any_tree_weights_and_parameters(data: st.DataObject) -> None:
    made = data.draw(graphs_in_parts())
    check(made, data.draw(embeddings(made.form)))


@settings(max_examples=30)
@given(st.data())
def test_a_graph_in_memory_gets_the_rows_of_its_one_block(data: st.DataObject) -> None:
    made = data.draw(graphs_in_parts()).in_one_block()
    embedding = data.draw(embeddings(made.form))
    with tempfile.TemporaryDirectory() as folder:
        rows, _ = embed(made, embedding, Path(folder))
    asked = settings_of(made, embedding)
    method_for(asked).finish(rows, RowNodes(np.arange(made.nodes), made.graph.strength), None, asked)
    block = block_from_edges(made.node_key, made.src, made.dst, made.weight)
    np.testing.assert_array_equal(embed_in_memory(block, asked), rows.values)


def random_tree(parts: int, items: int, seed: int) -> GraphInParts:
    rng = np.random.default_rng(seed)
    nodes = items + 60
    dst = rng.zipf(1.4, 300) % (items or nodes)
    src = rng.integers(items, nodes, 300)
    pairs = np.unique(np.stack([src, dst] if items else np.sort([src, dst], axis=0), axis=1), axis=0)
    return placed(
        *pairs.T.tolist(),
        home=rng.integers(0, parts, nodes).tolist(),
        is_split=(rng.random(nodes) < 0.3).tolist(),
        nodes=nodes,
        items=items,
        weight=rng.integers(1, 4 * ONE, len(pairs)).tolist(),
    )


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
@pytest.mark.parametrize("parts", [1, 2, 6])
def test_the_promise_as_it_stands_on_graphs_of_some_size(items: int, parts: int) -> None:
    for seed in range(2):
        made = random_tree(parts, items, seed)
        embedding = EMBEDDING(dim=64, seed=seed, powers=2, normalize_powers=bool(seed))
        dense = dense_powers(made.graph, parameters_of(made.form, embedding))
        got, want, noise_scale = check(made, embedding)
        off = np.linalg.norm(got.values - want, axis=1)
        assert dense.clearness.min() > 4 * ZERO_BELOW
        assert (off <= 1e-5 * np.linalg.norm(want, axis=1) + 2.0**-22 * noise_scale).all()


def classic(**changes: object) -> EmbeddingConfig:
    return EMBEDDING.model_validate({"dim": 24, "iteration_weights": [1.0, 1.0, 1.0], **changes})


PLANTED = {
    "a star over three parts": placed(
        [0] * 9, range(1, 10), [0, 0, 0, 0, 1, 1, 1, 2, 2, 2], [True] + [False] * 9, nodes=10
    ),
    "a path whose nodes alternate": placed(range(8), range(1, 9), [0, 1] * 4 + [0], nodes=9),
    "two nodes apart": placed([0], [1], [0, 1], nodes=2),
    "two nodes together": placed([0], [1], [0, 0], nodes=2),
    "an isolated node": placed([0, 1], [1, 2], [0, 1, 0, 1], nodes=4),
    "one node and its loop": placed([0], [0], [0], nodes=1),
    "loops, some on split nodes": placed(
        [0, 0, 0, 1, 2, 3], [0, 1, 2, 1, 3, 3], [0, 0, 1, 1], [True, False, False, True], nodes=4
    ),
    "nothing but split nodes": placed([0, 1, 2, 0], [1, 2, 3, 3], [0, 0, 1, 1], [True] * 4, nodes=4),
    "parts with a gap in their numbers": placed([0, 1, 2], [1, 2, 3], [0, 0, 5, 5], nodes=4),
    "one item, a user a part": placed([1, 2, 3], [0, 0, 0], [0, 0, 1, 2], nodes=4, items=1),
}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("normalize_powers", [True, False])
def test_planted(name: str, normalize_powers: bool) -> None:
    check(PLANTED[name], classic(normalize_powers=normalize_powers, transition="symmetric"))


def nearly_cancelling(share: float, apart: bool) -> GraphInParts:
    """Node 0 between two with opposite rows of one column: ‖x_0‖/S is ``share``, up to rounding of the weights."""
    keys = np.arange(64, dtype=np.uint64)
    signs = very_sparse_projection(keys, 1, 1.0, 0)[:, 0]
    opposite = [keys[signs > 0][0], keys[signs < 0][0]]
    return placed(
        [0, 0],
        [1, 2],
        [0, 0, 1] if apart else [0, 0, 0],
        [apart, False, False],
        nodes=3,
        weight=[round((1 + share) * ONE), round((1 - share) * ONE)],
        node_key=np.array([99, *opposite], np.uint64),
    )


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("exponent", [-4, -10, -16, -17, -19, -20, -32])
def test_rows_that_nearly_cancel_are_kept_or_zero_as_the_noise_scale_says(exponent: int, apart: bool) -> None:
    made = nearly_cancelling(2.0**exponent, apart)
    embedding = classic(dim=1, sparsity=1.0, iteration_weights=[1.0], normalize_powers=False)
    got, want, noise_scale = check(made, embedding)
    assert abs(want[0, 0]) == pytest.approx(2.0**exponent * noise_scale[0], rel=1e-9)
    assert abs(got.values[0, 0] - want[0, 0]) <= 1e-5 * abs(want[0, 0]) + 2.0**-22 * noise_scale[0]
    rows = Rows(got.values.copy(), got.noise_scale.copy())
    published = embedding.model_copy(update={"normalize_rows": True})
    settings_ = settings_of(made, published)
    method_for(settings_).finish(rows, RowNodes(np.arange(3), made.graph.strength), None, settings_)
    assert abs(rows.values[0, 0]) == (1.0 if exponent > -18 else 0.0)
    np.testing.assert_array_equal(np.abs(rows.values[1:, 0]), 1.0)


NARROW = [pytest.param(dtype, shards, id=f"{dtype}-{shards}") for dtype in ("float16", "int8") for shards in (1, 3)]


@pytest.mark.parametrize(("dtype", "shards"), NARROW)
@pytest.mark.parametrize("parts", [1, 5])
def test_narrow_rows_of_small_whole_numbers_are_the_simulators_to_the_last_bit(
    parts: int, dtype: str, shards: int
) -> None:
    # Sums of whole numbers, narrowed to a few bits by powers of two: float32 and float64 round nothing below 2**24.
    for seed in range(3):
        made = random_tree(parts, 30, seed)
        largest = {"float16": 8, "int8": 4}[dtype]  # enough for some rows to need more than the codes' bits
        made = replace(made, weight=np.random.default_rng(seed).integers(1, largest, made.src.size) * ONE)
        if parts == 1:
            made = made.in_one_block()
        changes = {"user_degree_power": 0.0, "item_degree_power": 0.0, "sparsity": 1.0}
        embedding = EMBEDDING(dim=40, seed=seed, boundary_dtype=dtype, shards=shards, **changes)
        got, want, _ = check(made, embedding)
        np.testing.assert_array_equal(got.values, want)
        plain, _, _ = simulate(
            made.graph, made.home, made.is_split, replace(parameters_of(made.form, embedding), boundary_dtype="float32")
        )
        assert (plain != want).any()  # not vacuous: something was rounded


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_rows_stay_near_whatever_the_tree(dtype: str, items: int) -> None:
    # Noise of n rounded entries grows as their root: far below the bound, which adds up the worst of each.
    limit = {"float16": 2e-3, "int8": 3e-2}[dtype]
    for parts in (2, 6):
        made = random_tree(parts, items, parts)
        results = []
        for tree in (made, made.in_one_block()):
            got, _, noise_scale = check(tree, EMBEDDING(dim=64, boundary_dtype=dtype, powers=2))
            results.append(got.values.astype(np.float64))
        off = np.linalg.norm(results[0] - results[1], axis=1)
        assert 0 < off.max() <= limit * np.linalg.norm(noise_scale)
        assert (off <= limit * np.maximum(noise_scale, 0)).all()
