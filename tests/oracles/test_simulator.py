"""The oracle's own oracle: whatever the tree, the protocol gives the powers of the matrix."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.embedding.graphs_in_parts import embeddings, graphs_in_parts, parameters_of
from tests.oracles.dense_powers import dense_powers
from tests.oracles.simulator import simulate


@given(st.data())
def test_any_tree_gives_the_powers_of_the_matrix(data: st.DataObject) -> None:
    given_graph = data.draw(graphs_in_parts())
    parameters = parameters_of(given_graph.form, data.draw(embeddings(given_graph.form)))
    rows, noise_scale, _ = simulate(given_graph.graph, given_graph.home, given_graph.is_split, parameters)
    want = dense_powers(given_graph.graph, parameters)
    # The same bounds as float32's, of float64: 2**-29 of them, and twice that for the two being off together.
    off = np.linalg.norm(rows - want.rows, axis=1)
    is_clear = want.clearness.min() > 2.0**-17  # else float64's own noise may decide what is zero
    if parameters.boundary_dtype != "float32":  # narrow rows are as far off as in any arithmetic
        assert (off <= want.error + 1e-300).all() or not is_clear
        return
    assert (off <= 2.0**-27 * want.error + 1e-300).all() or not is_clear
    if is_clear:
        np.testing.assert_allclose(noise_scale, want.noise_scale, rtol=1e-9)
