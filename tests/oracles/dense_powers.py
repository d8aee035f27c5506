"""FastRP without parts: dense matrices in float64, and how far float32 may be from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tests.oracles.simulator import ZERO_BELOW, Graph, Parameters, _power, _random_rows, start_sizes

UNIT = 2.0**-24  # of float32

#: How far narrowing moves a row at most, relative to its norm. int8: half a scale an entry, 16 entries a group, whose
#: largest is at least 63.75 scales. float16: half an ulp, 2**-11 of the entry, and half of the smallest step (2**-25
#: scales of a group whose largest is at least 2**14).
NARROWING = {"float32": 0.0, "float16": 2.0**-11 + 4 * 2.0**-39, "int8": 4 * 0.5 / 63.75}


@dataclass(frozen=True)
class Dense:
    """Rows before the last normalisation.

    rows (n, dim), noise_scale (n,). error, noise_scale_error (n,): bounds on what float32 may be off,
    propagated from power to power. clearness (n,): ‖x‖/S of the start row or power where it is least, 1 without edges.
    """

    rows: np.ndarray
    noise_scale: np.ndarray
    error: np.ndarray
    noise_scale_error: np.ndarray
    clearness: np.ndarray


def dense_powers(graph: Graph, parameters: Parameters) -> Dense:
    """The same rows as the simulator's, from powers of a dense matrix."""
    n = graph.node_key.size
    adjacency = np.zeros((n, n))
    adjacency[graph.src, graph.dst] = graph.weight
    adjacency[graph.dst, graph.src] = graph.weight
    # An entry's weight, its product, at most one addition a neighbour, the partial rows' sum, two scalings.
    # Partial rows are narrowed, each at most as long as its share of S, and so is their sum.
    narrowing = 2 * NARROWING[parameters.boundary_dtype]
    product = _Product(UNIT * (int(graph.degree.max(initial=0)) + 8), narrowing)
    start = _random_rows(graph, parameters)
    if parameters.form == "two_tower":
        return _two_tower(graph, parameters, adjacency, start, product)
    before, after = (-0.5, -0.5) if parameters.transition == "symmetric" else (0.0, -1.0)
    scale_before = _power(graph.strength, before) if before else np.ones(n)
    transition = _power(graph.strength, after)[:, None] * adjacency * scale_before
    x, error = start, _start_error(graph, parameters, start)
    rows, noise_scale, clearness = np.zeros_like(x), np.zeros(n), _start_clearness(graph, parameters, start)
    bound, noise_scale_bound = np.zeros(n), np.zeros(n)
    if weight := parameters.self_influence:
        norm, size = _norms(x), start_sizes(graph, parameters)
        if parameters.normalize_powers:
            counts = (norm > ZERO_BELOW * size) & (graph.degree > 0)
            safe = np.where(counts, norm, 1.0)
            rows, noise_scale = np.where(counts, weight / safe, 0.0)[:, None] * x, np.where(counts, weight, 0.0)
            bound = weight * np.where(counts, np.minimum(2.0, 2 * error / safe), 0.0)
            noise_scale_bound = weight * (counts & (error >= 0.75 * norm))
        else:
            has_edges = graph.degree > 0
            rows, noise_scale = weight * x * has_edges[:, None], weight * np.maximum(norm, size) * has_edges
            bound, noise_scale_bound = weight * error * has_edges, weight * error * has_edges
    for weight in parameters.iteration_weights:
        x, size, error, size_error = product(transition, x, error)
        norm = _norms(x)
        clearness = np.minimum(clearness, _ratio(norm, size))
        if not parameters.normalize_powers:
            rows, noise_scale = rows + weight * x, noise_scale + weight * size
            bound, noise_scale_bound = bound + weight * error, noise_scale_bound + weight * size_error
            continue
        counts = norm > ZERO_BELOW * size
        safe = np.where(counts, norm, 1.0)
        rows = rows + np.where(counts, weight / safe, 0.0)[:, None] * x
        noise_scale = noise_scale + np.where(counts, weight, 0.0)
        bound = bound + weight * np.where(counts, np.minimum(2.0, 2 * error / safe), 0.0)
        # So far off, a row may be zero that is not, or the other way.
        noise_scale_bound = noise_scale_bound + weight * (counts & (error >= 0.75 * norm))
    additions = 4 * UNIT * (len(parameters.iteration_weights) + 1)
    return Dense(rows, noise_scale, bound + additions * noise_scale, noise_scale_bound + UNIT * noise_scale, clearness)


def _two_tower(
    graph: Graph, parameters: Parameters, adjacency: np.ndarray, start: np.ndarray, product: _Product
) -> Dense:
    item = graph.is_target
    m = _power(graph.strength, -parameters.user_degree_power)[:, None] * adjacency
    m = (m * _power(graph.strength, -parameters.item_degree_power))[np.ix_(~item, item)]
    z = start[item]
    error = _start_error(graph, parameters, start)[item]
    clearness = np.where(item, _start_clearness(graph, parameters, start), 1.0)
    at_home = _Product(product.rounding, 0.0)  # users don't travel
    for _ in range(parameters.powers + 1):
        u, *of_u = at_home(m, z, error)
        z, *of_z = product(m.T, u, of_u[1])
        error = of_z[1]
        clearness[~item] = np.minimum(clearness[~item], _ratio(_norms(u), of_u[0]))
        clearness[item] = np.minimum(clearness[item], _ratio(_norms(z), of_z[0]))
    rows = np.zeros_like(start)
    rows[~item], rows[item] = u, z
    noise_scales = np.zeros((3, item.size))
    noise_scales[:, ~item], noise_scales[:, item] = of_u, of_z
    return Dense(rows, *noise_scales, clearness)


def _start_error(graph: Graph, parameters: Parameters, start: np.ndarray) -> np.ndarray:
    """A node's own row is rounded once or twice; with features, each term, and their sums in runs of 16."""
    most = max((len(features) for features in graph.features or []), default=0)
    terms = math.sqrt(max(parameters.sparsity, 1.0)) * start_sizes(graph, parameters)  # a row is at most so long
    return 4 * UNIT * _norms(start) + UNIT * (min(most, 16) + 8) * terms


def _start_clearness(graph: Graph, parameters: Parameters, start: np.ndarray) -> np.ndarray:
    """A node's own row and its features' may cancel: then what is left is rounding, and neighbours take it up."""
    return np.where(graph.degree > 0, _ratio(_norms(start), start_sizes(graph, parameters)), 1.0)


@dataclass(frozen=True)
class _Product:
    """A matrix times rows, and what float32 and narrow rows make of it, relative to the sum of absolute terms."""

    rounding: float
    narrowing: float

    def __call__(
        self, matrix: np.ndarray, x: np.ndarray, error: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, noise_scale, error of the rows, error of the noise scale."""
        size = np.abs(matrix) @ _norms(x)
        spread = np.abs(matrix) @ error
        rounding = (self.rounding + self.narrowing) * (size + spread)
        return matrix @ x, size, spread + rounding, spread + 1e-6 * size


def _norms(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x, axis=1)


def _ratio(norm: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.where(size > 0, norm / np.where(size > 0, size, 1.0), 1.0)
