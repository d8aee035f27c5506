"""How far a spectral embedding may be from the graph's own eigenvectors: by its few iterations, and by float32.

Saad, "Numerical methods for large eigenvalue problems", 2011, theorem 5.2 (subspace iteration); Stewart, Linear
Algebra and its Applications 327 (2001), theorem 2 (Rayleigh-Ritz vectors).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.oracles.simulator import Graph
from tests.oracles.spectral_simulator import UNIT, Simulated, SpectralParameters, dense_operator, noise_share


@dataclass(frozen=True)
class Roundings:
    """What float32 does to one run.

    product : (rounds,) Frobenius norm of the error of each product. reading : (rounds,) the same of what makes its
    columns orthonormal, as seen from the columns before. slant : ‖Z^T Z - I‖ of the last. ritz : of Z^T A Z, slant
    included. norm : ‖A‖.
    """

    product: list[float]
    reading: list[float]
    slant: float
    ritz: float
    norm: float


def roundings(graph: Graph, parameters: SpectralParameters, run: Simulated) -> Roundings:
    """Add up the roundings of a run: of a product, the weights', one addition a neighbour, and the scalings."""
    operator, absolute = dense_operator(graph, parameters)
    has_items = bool(graph.is_target.any())
    # Two products on two types; each sums the neighbours' rows, and adds a few scalings and the parts' sum.
    operations = (2 if has_items else 1) * (int(graph.degree.max()) + 6) + 4
    norm, size = np.linalg.norm(operator, 2), np.linalg.norm(absolute, 2) + parameters.shift
    width = run.z.shape[1]
    product = [operations * UNIT * size * np.linalg.norm(each.z) for each in run.rounds]
    # x @ T with |T_j| = 1 / σ_j: column j is off by (l + 1) u ‖Y‖ / σ_j, which is (l + 1) u ‖Y‖ before T.
    reading = [(width + 1) * np.sqrt(width) * UNIT * np.linalg.norm(each.y) for each in run.rounds]
    last = run.rounds[-1]
    lengths = np.linalg.norm(last.transform)  # root of the sum of 1 / σ_j^2
    slant = 2.0 * (width + 1) * UNIT * np.linalg.norm(last.y) * lengths
    ritz = 2.0 * slant * norm + 2.0 * operations * UNIT * size * np.sqrt(width)
    return Roundings(product, reading, float(slant), float(ritz), float(norm))


@dataclass(frozen=True)
class Exact:
    """The graph's own eigenpairs over all nodes, in the order that the embedding ranks them."""

    values: np.ndarray
    vectors: np.ndarray


def exact_eigenpairs(graph: Graph, parameters: SpectralParameters) -> Exact:
    """By dense algebra, of the nodes that the operator joins."""
    operator, _ = dense_operator(graph, parameters)
    has_items = bool(graph.is_target.any())
    alive = np.flatnonzero((graph.is_target if has_items else True) & (graph.degree > 0))
    values, small = np.linalg.eigh(operator[np.ix_(alive, alive)])
    order = np.argsort(-ranked_by(graph, parameters, values), kind="stable")
    vectors = np.zeros((graph.degree.size, alive.size))
    vectors[alive] = small
    return Exact(values[order], vectors[:, order])


def ranked_by(graph: Graph, parameters: SpectralParameters, values: np.ndarray) -> np.ndarray:
    """What puts eigenvalues in order: themselves, or their magnitudes."""
    return np.abs(values) if not graph.is_target.any() and parameters.eigenvalues == "both" else values


def angle_bound(
    graph: Graph, parameters: SpectralParameters, run: Simulated, exact: Exact, count: int
) -> tuple[float, float]:
    """Bound the sine between ``count`` leading eigenvectors and what is found of them: (by iterations, by float32).

    Of the start, V^T Ω = (Ω_1; Ω_2) in the l eigenvectors that iterations favour and the others: after q products,
    the span holds V_k + V_2 M_2^q Ω_2 Ω_1^-1 M_k^-q, whose second term is the tangent's bound. Float32 adds at most
    its errors over |μ_k| each time. Then Rayleigh-Ritz: the sine grows by no more than sqrt(1 + (‖A‖ / gap)^2), with
    a gap from λ_k to λ_k+1, since by interlacing no Ritz value beside the leading ones is beyond λ_k+1.
    """
    shifted = exact.values + parameters.shift
    start = exact.vectors.T @ run.rounds[0].z
    width, products = run.z.shape[1], len(run.rounds)
    favoured = np.argsort(-np.abs(shifted), kind="stable")[:width]
    wanted = np.flatnonzero(favoured < count)
    others = np.setdiff1d(np.arange(shifted.size), favoured)
    size = ranked_by(graph, parameters, exact.values)
    # Where there is no next one, nothing but zeros is beside the leading ones.
    gap = size[count - 1] - (size[count] if count < size.size else 0.0)
    leading = shifted[favoured[wanted]]
    if wanted.size < count or gap <= 0 or np.linalg.matrix_rank(start[favoured]) < favoured.size:
        return np.inf, np.inf
    coefficients = np.linalg.pinv(start[favoured])[:, wanted]
    slopes = start[others] @ coefficients

    def tangent(number: int) -> float:
        powers = shifted[others, None] ** number * slopes / leading**number
        return float(np.linalg.norm(powers, 2)) if powers.size else 0.0

    rounding = roundings(graph, parameters, run)
    least = float(np.abs(leading).min())
    beside = np.abs(np.delete(shifted, favoured[wanted])).max(initial=0.0) / least
    noise = noise_share(width, parameters.boundary_dtype)
    off = 0.0
    for number, each in enumerate(run.rounds):
        weighs = np.hypot(1.0, tangent(number) + off) if number else float(np.linalg.norm(coefficients, 2))
        lost = rounding.product[number] + rounding.reading[number] + noise * each.values[0]
        off = beside * off + lost * weighs / least
    growth = np.hypot(1.0, rounding.norm / gap)
    return tangent(products) * growth, off * growth + 2.0 * rounding.ritz / gap + rounding.slant
