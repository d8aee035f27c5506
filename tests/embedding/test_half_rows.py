"""Products that read rows as bfloat16: how far their rows are from float32's, in any tree."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.methods import EMBEDDING
from tests.embedding.graphs_in_parts import GraphInParts, embed, graphs_in_parts, placed

HALF_UNIT = 2.0**-9  # most by which a product's operand is off, as a part of its norm
FLOAT_SLACK = 2.0**-17
DEGREE_POWER = 0.4


def bounds(made: GraphInParts, dim: int, weights: list[float], powers: int) -> np.ndarray:
    """How far each row may be, by what the products' rows are long if nothing in them cancels."""
    graph = made.graph
    entries = np.zeros((made.nodes, made.nodes))
    entries[graph.src, graph.dst] = entries[graph.dst, graph.src] = graph.weight
    with np.errstate(divide="ignore"):
        inverse = np.where(graph.strength > 0, 1 / graph.strength, 0.0)
    length = np.full(made.nodes, np.sqrt(3.0 * dim))  # of random rows without zeros
    if not made.items:
        steps, total = inverse[:, None] * entries, np.zeros(made.nodes)
        for power, weight in enumerate(weights, start=1):
            length = steps @ length
            total += weight * length * ((1 + HALF_UNIT) ** power - 1 + FLOAT_SLACK)
        return total
    steps = (inverse[:, None] * inverse) ** DEGREE_POWER * entries
    is_item = np.arange(made.nodes) < made.items
    length[~is_item] = 0.0
    reached = length
    for product in range(1, 2 * powers + 3):
        reached = steps @ reached
        side = is_item if product % 2 == 0 else ~is_item
        length = np.where(side, reached * ((1 + HALF_UNIT) ** product - 1 + FLOAT_SLACK), length)
    return length


@given(graphs_in_parts(), st.sampled_from([1, 16, 35]), st.integers(1, 3), st.integers(0, 3))
def test_rows_are_within_the_bound_of_float32s_in_any_tree(
    made: GraphInParts, dim: int, powers: int, seed: int
) -> None:
    weights = [1.0, 2.0, 0.5][:powers]
    keys = {"dim": dim, "seed": seed, "powers": powers, "iteration_weights": weights, "normalize_powers": False}
    with tempfile.TemporaryDirectory() as folder:
        exact, half = (
            embed(graph, EMBEDDING.model_validate({**keys, "compute": compute}), Path(folder, compute))[0].values
            for graph, compute in ((made.in_one_block(), "float32"), (made, "half"))
        )
    off = np.linalg.norm(half.astype(np.float64) - exact, axis=1)
    assert (off <= bounds(made, dim, weights, powers)).all()


def test_a_product_of_halves_is_another_one() -> None:
    """Else the bound would hold for a key that does nothing."""
    pairs = np.unique(np.sort(np.random.default_rng(3).integers(0, 60, (300, 2)), axis=1), axis=0)
    made = placed(*pairs.T.tolist(), home=[0] * 60, nodes=60)
    with tempfile.TemporaryDirectory() as folder:
        exact, half = (
            embed(made, EMBEDDING(dim=32, iteration_weights=(1.0, 1.0), compute=compute), Path(folder, compute))[
                0
            ].values
            for compute in ("float32", "half")
        )
    off = np.linalg.norm(half - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert 2.0**-13 < np.median(off) < HALF_UNIT
