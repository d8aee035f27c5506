"""Subspace iteration with momentum: the same eigenpairs in fewer products, for any tree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.momentum import add_momentum, next_momentum
from pipeline.embedding.rows import Rows
from pipeline.kernels.subspace import orthonormal_columns
from tests.embedding.graphs_in_parts import GraphInParts
from tests.embedding.methods_in_parts import in_rounds, random_tree, spectral
from tests.oracles.log_transition import dense_adjacency


def operator_of(made: GraphInParts) -> np.ndarray:
    """S = (D + τ)^-1/2 A (D + τ)^-1/2 with half a mean degree for τ."""
    root = np.sqrt(made.graph.strength + made.graph.strength.mean() / 2.0)
    return dense_adjacency(made.graph) / np.outer(root, root)


def residual(made: GraphInParts, **changes: object) -> float:
    """How far the leading eight columns are from being eigenvectors, ‖S V - V w‖."""
    done = in_rounds(made, spectral(dim=8, eigenvalue_power=0.0, **changes))
    vectors, values = done.rows.values.astype(np.float64), np.array(done.report["eigenvalues"])
    return float(np.linalg.norm(operator_of(made) @ vectors - vectors * values))


@pytest.mark.parametrize("signs", ["both", "positive"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_flat_spectrum_is_parted_in_fewer_products(signs: str, parts: int) -> None:
    made = random_tree(parts, 0, 7, edges=700, others=300)
    made = made if parts > 1 else made.in_one_block()
    fast = residual(made, eigenvalues=signs, iterations=12, accelerate=True)
    assert fast < residual(made, eigenvalues=signs, iterations=20) < residual(made, eigenvalues=signs, iterations=12)
    many = in_rounds(made, spectral(dim=8, eigenvalues=signs, iterations=40, accelerate=True))
    values = np.linalg.eigvalsh(operator_of(made))
    order = np.argsort(-np.abs(values)) if signs == "both" else np.argsort(-values)
    np.testing.assert_allclose(many.report["eigenvalues"], values[order][:8], atol=1e-3)


def test_the_cut_changes_nothing() -> None:
    made = random_tree(4, 0, 3)
    embedding = spectral(dim=6, oversampling=60, iterations=4, accelerate=True)
    many, one = (in_rounds(graph, embedding).rows.values for graph in (made, made.in_one_block()))
    # All columns are there, so that rounding is all that differs.
    np.testing.assert_allclose(np.abs(many.T @ many), np.abs(one.T @ one), atol=1e-4)


@given(st.lists(st.floats(0.1, 1.0), min_size=2, max_size=6), st.integers(2, 12))
def test_momentum_is_that_of_the_least_eigenvalue_that_the_columns_hold(values: list[float], rounds: int) -> None:
    # Columns that are eigenvectors from the start: whatever was taken off, c is the least eigenvalue.
    operator = np.diag(values)
    rows = Rows(np.eye(len(values), dtype=np.float32), np.zeros(len(values)))
    carried = Rows(np.hstack([rows.values, np.zeros_like(rows.values)]), np.zeros(len(values)))
    facts = {"transform": np.eye(len(values)), "momentum": np.zeros(2)}
    for _ in range(rounds):
        product = (operator @ rows.values.astype(np.float64) @ facts["transform"]).astype(np.float32)
        rows = Rows(product, np.zeros(len(values)))
        before = add_momentum(rows, carried, facts)
        carried.values[:] = np.hstack([rows.values, before])
        basis = orthonormal_columns(rows.values.T.astype(np.float64) @ rows.values, 1e-6)
        facts = {"transform": basis.transform, "momentum": next_momentum(basis, facts)}
        assert facts["momentum"][0] == pytest.approx(min(values) ** 2 / 4.0, rel=1e-3)
