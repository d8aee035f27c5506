"""Scores by a polynomial of the graph in float64, over scipy matrices: no kernel that is judged has a part in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.ppr_exact import ExactScores
from pipeline.kernels.graph_filter import FilterRule
from pipeline.kernels.transition import Transition

#: Share of the largest terms of a score that float64 may leave wrong: products of some dozens of its roundings.
_ROUNDING = 2.0**-40


def exact_filter_scores(
    graph: Transition,
    sources: NDArray[np.int64],
    rows: tuple[int, int],
    columns: tuple[int, int],
    basis: NDArray[np.float32],
    rule: FilterRule,
) -> ExactScores:
    """Scores of all nodes, 0 of those outside of the columns; arguments as of `graph_filter.GraphFilter`.

    Chebyshev's own recurrence, where the solver takes Clenshaw's.

    Cost
    ----
    Two products with the graph for each degree; 20 bytes an entry and five times 8 bytes a column and source.
    """
    from scipy import sparse  # a fifth of a second, which most runs have no use for

    values = np.ones(graph.indices.size) if graph.weights is None else graph.weights.astype(np.float64)
    matrix = sparse.csr_array((values, graph.indices, graph.indptr), (graph.n, graph.n))
    edges = matrix[slice(*rows), slice(*columns)]
    degree = graph.degree[slice(*columns)]
    to_root, to_row = (1 / np.sqrt(np.where(of > 0, of, 1.0)) for of in (degree, graph.degree[slice(*rows)]))
    step = sparse.diags_array(to_row) @ edges @ sparse.diags_array(to_root)
    power = np.where(degree > 0, np.where(degree > 0, degree, 1.0) ** rule.beta, 0.0)  # no edge, no score
    signal = (edges[sources - rows[0]].toarray() / np.where(power > 0, power, 1.0)).T

    def shift(x: NDArray[np.float64]) -> NDArray[np.float64]:
        product: NDArray[np.float64] = 2 * (step.T @ (step @ x)) - x
        return product

    before, term = signal, shift(signal)
    total = rule.coefficients[0] * before + rule.coefficients[1] * term
    for coefficient in rule.coefficients[2:]:
        before, term = term, 2 * shift(term) - before
        total += coefficient * term
    vectors = basis.astype(np.float64)
    total += rule.alpha * (vectors @ (vectors.T @ signal))
    scores = np.zeros((sources.size, graph.n))
    scores[:, slice(*columns)] = (total * power[:, None]).T
    # No Chebyshev polynomial of the step, nor the product with the basis, is longer than the signal; terms of large
    # degrees may cancel, so that the scores themselves bound no rounding.
    largest = (np.abs(rule.coefficients).sum() + rule.alpha) * np.linalg.norm(signal, axis=0)
    return ExactScores(scores, _ROUNDING * power.sum() * largest)
