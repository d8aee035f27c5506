"""Spectral embeddings against the graph's own eigenvectors, by dense algebra and by ARPACK, within derived bounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import eigsh

from tests.embedding.graphs_in_parts import ONE, GraphInParts, placed
from tests.embedding.methods_in_parts import in_rounds, random_tree, spectral, spectral_parameters
from tests.oracles.simulator import Graph
from tests.oracles.spectral_bounds import angle_bound, exact_eigenpairs, ranked_by
from tests.oracles.spectral_simulator import SpectralParameters, dense_operator, simulate_spectral

CASES = {
    "two types": (30, {"no_return": 0.5, "shift": 0.05}),
    "two types, no returns at all": (30, {"no_return": 1.0, "shift": 0.3}),
    "two types, all returns, no shift": (30, {"no_return": 0.0, "shift": 0.0, "user_degree_power": 0.5}),
    "one type, both signs": (0, {"shift": 0.0, "degree_offset": 0.0}),
    "one type, offset and shift": (0, {"shift": 0.3, "degree_offset": 0.5, "eigenvalues": "positive"}),
}


def communities(items: int, seed: int) -> GraphInParts:
    """A graph with four groups of nodes that prefer each other, so that four eigenvalues stand out; weighted."""
    rng = np.random.default_rng(seed)
    others = 60
    nodes = items + others
    ends = [rng.integers(items, nodes, 500), rng.integers(0, items or nodes, 500)]
    keeps = (ends[0] % 4 == ends[1] % 4) | (rng.random(500) < 0.1)
    pairs = np.unique(np.stack(ends if items else np.sort(ends, axis=0), axis=1)[keeps], axis=0)
    return placed(
        *pairs.T.tolist(),
        home=rng.integers(0, 3, nodes).tolist(),
        is_split=(rng.random(nodes) < 0.3).tolist(),
        nodes=nodes,
        items=items,
        weight=rng.integers(ONE // 2, 2 * ONE, len(pairs)).tolist(),
    )


def found_columns(made: GraphInParts, values: np.ndarray) -> np.ndarray:
    """Rows of the nodes that the operator joins, of all columns, without |w|^p."""
    rows = values.astype(np.float64)
    rows[made.items or made.nodes :] = 0.0
    return rows


def sine(found: np.ndarray, exact: np.ndarray) -> float:
    """Of the largest angle between what two sets of columns span, the second orthonormal."""
    basis = np.linalg.qr(found)[0]
    return float(np.linalg.norm(basis - exact @ (exact.T @ basis), 2))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("iterations", [1, 8])
def test_leading_eigenvectors_are_within_the_bound_of_the_iteration(case: str, iterations: int) -> None:
    items, changes = CASES[case]
    judged = 0
    for made in (communities(items, 1).in_one_block(), random_tree(3, items, 2, edges=200)):
        embedding = spectral(dim=6, oversampling=8, iterations=iterations, eigenvalue_power=0.0, **changes)
        parameters = spectral_parameters(made, embedding)
        run = simulate_spectral(made.graph, made.home, made.is_split, parameters)
        exact = exact_eigenpairs(made.graph, parameters)
        done = in_rounds(made, embedding)
        rows = found_columns(made, done.rows.values)
        for count in range(1, 7):
            by_iterations, by_rounding = angle_bound(made.graph, parameters, run, exact, count)
            angle = sine(rows[:, :count], exact.vectors[:, :count])
            assert angle <= by_iterations + by_rounding
            judged += by_iterations + by_rounding < 0.5
    assert judged >= 1 or iterations == 1


@pytest.mark.parametrize("case", CASES)
def test_many_iterations_find_the_eigenvectors_of_arpack(case: str) -> None:
    items, changes = CASES[case]
    made = communities(items, 3)
    embedding = spectral(dim=4, oversampling=12, iterations=16, eigenvalue_power=0.0, **changes)
    parameters = spectral_parameters(made, embedding)
    run = simulate_spectral(made.graph, made.home, made.is_split, parameters)
    exact = exact_eigenpairs(made.graph, parameters)
    done = in_rounds(made, embedding)
    rows = found_columns(made, done.rows.values)
    values, vectors = arpack(made.graph, parameters, 5)
    sizes = ranked_by(made.graph, parameters, values)
    # Of float32 rows: roundings of 2**-24, of a hundred or so operations; over the gap, of vectors.
    rounding = 100 * 2.0**-24 * np.abs(values).max()
    judged = 0
    for count in range(1, 5):
        by_iterations, _ = angle_bound(made.graph, parameters, run, exact, count)
        bound = by_iterations + rounding / (sizes[count - 1] - sizes[count])
        assert sine(rows[:, :count], vectors[:, :count]) <= bound
        judged += bound < 1e-2
    assert judged >= 1
    np.testing.assert_allclose(rows.T @ rows, np.eye(4), atol=1e-5)


def arpack(graph: Graph, parameters: SpectralParameters, count: int) -> tuple[np.ndarray, np.ndarray]:
    operator, _ = dense_operator(graph, parameters)
    by_magnitude = not graph.is_target.any() and parameters.eigenvalues == "both"
    values, vectors = eigsh(
        sparse.csr_array(operator), count, which="LM" if by_magnitude else "LA", tol=1e-13, v0=np.ones(len(operator))
    )
    order = np.argsort(-ranked_by(graph, parameters, values), kind="stable")
    return values[order], vectors[:, order]


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
def test_eigenvalues_are_within_the_bound_of_the_angle(items: int) -> None:
    made = communities(items, 4)
    embedding = spectral(dim=4, oversampling=8, iterations=5, eigenvalue_power=0.0, shift=0.05, no_return=0.5)
    parameters = spectral_parameters(made, embedding)
    run = simulate_spectral(made.graph, made.home, made.is_split, parameters)
    exact = exact_eigenpairs(made.graph, parameters)
    found = np.array(in_rounds(made, embedding).report["eigenvalues"])
    spread = exact.values.max() - exact.values.min()
    for count in range(1, 5):
        angle = min(1.0, sum(angle_bound(made.graph, parameters, run, exact, count)))
        # Of both signs, the first power of the sine (Kahan); of the largest, its square (Knyazev).
        bound = spread * angle**2 if items else np.sqrt(2) * spread * angle
        rounding = 100 * 2.0**-24 * np.abs(exact.values).max()
        assert (np.abs(found[:count] - exact.values[:count]) <= bound + rounding).all()


def test_a_dense_eigendecomposition_of_few_items_is_found_at_once() -> None:
    # As many columns as items: whatever the iterations are, all eigenvectors are there.
    made = random_tree(3, 12, 6)
    embedding = spectral(dim=12, iterations=1, shift=0.0, no_return=0.0)
    parameters = spectral_parameters(made, embedding)
    exact = exact_eigenpairs(made.graph, parameters)
    done = in_rounds(made, embedding)
    np.testing.assert_allclose(done.report["eigenvalues"], exact.values, atol=1e-5 * exact.values[0])
    users, items = done.rows.values[12:].astype(np.float64), done.rows.values[:12].astype(np.float64)
    np.testing.assert_allclose(items @ items.T, np.eye(12), atol=1e-4)
    kept = users @ items.T  # M V V^T
    np.testing.assert_allclose(
        kept.T @ kept, dense_operator(made.graph, parameters)[0][:12, :12], atol=1e-4 * exact.values[0]
    )
