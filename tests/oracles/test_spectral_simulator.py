"""The oracle's own oracle: whatever the tree, the rounds find the same of the same matrix, and what they find is so."""

from __future__ import annotations

import numpy as np
import pytest

from tests.embedding.methods_in_parts import random_tree, spectral, spectral_parameters
from tests.oracles.spectral_simulator import dense_operator, simulate_spectral


@pytest.mark.parametrize("items", [0, 20], ids=["plain", "two_types"])
def test_any_tree_gives_the_rayleigh_ritz_pairs_of_the_same_span(items: int) -> None:
    runs = []
    for made in (
        random_tree(4, items, 9, edges=120, others=30),
        random_tree(4, items, 9, edges=120, others=30).in_one_block(),
    ):
        parameters = spectral_parameters(made, spectral(dim=5, iterations=2, no_return=0.5))
        run = simulate_spectral(made.graph, made.home, made.is_split, parameters)
        operator, absolute = dense_operator(made.graph, parameters)
        travels = np.arange(made.nodes) < (items or made.nodes)
        np.testing.assert_allclose(run.z.T @ run.z, np.eye(run.z.shape[1]), atol=1e-9)
        found = run.left * travels[:, None]
        np.testing.assert_allclose(found.T @ operator @ found, np.diag(run.eigenvalues), atol=1e-9)
        assert (np.abs(operator) <= absolute + 1e-15).all()
        # The span is that of (A + shift)^2 Ω.
        shifted = (operator + parameters.shift * np.eye(made.nodes)) * travels
        power = shifted @ shifted @ (run.rounds[0].z * (made.home >= 0)[:, None])
        np.testing.assert_allclose(run.z @ (run.z.T @ power), power, atol=1e-9 * np.abs(power).max())
        runs.append(run)
    np.testing.assert_allclose(runs[0].eigenvalues, runs[1].eigenvalues, atol=1e-10)
    for one, other in zip(runs[0].left.T, runs[1].left.T, strict=True):
        assert min(np.abs(one - other).max(), np.abs(one + other).max()) <= 1e-8
    assert runs[0].travelled["partials"] > 0 == runs[1].travelled["partials"]
