"""FastRP's low-pass rounds in plain NumPy and float64, over parts that are dictionaries; and the same by dense algebra.

Written from the protocol: the largest eigenvalue from ratios, moments from random signs, the cut, the recurrence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev

from tests.oracles.exchange_simulator import (
    Exchange,
    Here,
    scaled_incidence,
    symmetric_adjacency,
)
from tests.oracles.simulator import Graph, narrow, ternary_rows

PROBES = 16


@dataclass(frozen=True)
class LowPassParameters:
    """The embedding's parameters, by their names in the config."""

    dim: int
    rank: int  # eigenvalues that pass
    seed: int
    sparsity: float
    user_degree_power: float
    item_degree_power: float
    filter_degree: int
    cut: float | None
    boundary_dtype: str
    power_rounds: int  # until the largest eigenvalue is known
    moment_rounds: int


@dataclass
class Filtered:
    """Rows before the last normalisation; and what was found before: ``largest`` is 1 of graphs of one type."""

    rows: np.ndarray
    noise_scale: np.ndarray
    largest: float
    bound: float  # the largest eigenvalue's, before it is rounded up
    moments: list[float]
    travelled: dict[str, int]


def simulate_low_pass(
    graph: Graph, home: np.ndarray, is_split: np.ndarray, parameters: LowPassParameters, cut: float, largest: float
) -> Filtered:
    """Run the rounds, with the cut, from -1 to 1, and the largest eigenvalue that the engines settled for."""
    exchange = Exchange(graph, home, is_split)
    step = _Step(graph, parameters)
    bound = _largest(exchange, step, parameters.power_rounds) if step.has_items else 1.0
    moments = _moments(exchange, step, parameters, largest) if parameters.cut is None else []

    degree, dtype = parameters.filter_degree, parameters.boundary_dtype
    weights = damped_step(degree, cut)
    current = ternary_rows(graph.node_key, parameters.dim, parameters.sparsity, parameters.seed)
    current = current * exchange.travels[:, None]
    before, total, x = np.zeros_like(current), weights[0] * current, current
    for number in range(degree):
        is_end = number == degree - 1 and not step.has_items
        product = exchange.product(step.rows, x, dtype)
        current, before = step.next_term(product, current, before, number, largest), current
        total = total + weights[number + 1] * current
        x = total if number == degree - 1 else current
        if not is_end:
            x = np.array([narrow(row, dtype) for row in x])
            exchange.send(parameters.dim, dtype)
    rows, noise_scale = x, np.zeros(len(x))
    if step.has_items:
        rows = exchange.product(step.rows, x, dtype, has_noise_scale=True)
        for here in exchange.views(x):
            for user, row in step.users(here).items():
                rows[user] = row
        users = np.where(exchange.travels, 0.0, np.linalg.norm(rows, axis=1))
        noise_scale = np.abs(step.dense.T) @ users  # of items: of what they are the last sums of
    return Filtered(rows, noise_scale, largest, bound, moments, exchange.travelled)


class _Step:
    """One product: P of items, or S of all nodes."""

    def __init__(self, graph: Graph, parameters: LowPassParameters) -> None:
        self._graph = graph
        self.has_items = bool(graph.is_target.any())
        if self.has_items:
            self.dense = scaled_incidence(graph, parameters.user_degree_power, parameters.item_degree_power)
        else:
            self.dense = symmetric_adjacency(graph)

    def users(self, here: Here) -> dict[int, np.ndarray]:
        users: dict[int, np.ndarray] = {}
        for user, item, _ in here.user_item_edges():
            users[user] = users.get(user, 0.0) + self.dense[user, item] * here.x[item]
        return users

    def rows(self, here: Here) -> dict[int, np.ndarray]:
        rows: dict[int, np.ndarray] = {}
        if self.has_items:
            users = self.users(here)
            for user, item, _ in here.user_item_edges():
                rows[item] = rows.get(item, 0.0) + self.dense[user, item] * users[user]
        else:
            for row, column, _ in here.entries():
                rows[row] = rows.get(row, 0.0) + self.dense[row, column] * here.x[column]
        return rows

    def next_term(
        self, product: np.ndarray, current: np.ndarray, before: np.ndarray, number: int, largest: float
    ) -> np.ndarray:
        """T_k+1 = 2 y T_k - T_k-1, with y = 2 P / largest - 1 or y = S; T_1 = y."""
        mapped = 2.0 * product / largest - current if self.has_items else product
        return mapped if number == 0 else 2.0 * mapped - before


def _largest(exchange: Exchange, step: _Step, rounds: int) -> float:
    """The largest ratio (P x)_i / x_i, for x = ones and what follows from it."""
    x = exchange.travels[:, None].astype(float)
    bound = 1.0
    for number in range(rounds):
        y = exchange.product(step.rows, x, "float32")
        alive = np.flatnonzero((x[:, 0] > 0) & (exchange.home >= 0))
        bound = float((y[alive] / x[alive]).max(initial=0.0))
        if number < rounds - 1:
            exchange.send(1, "float32")
        x = y / bound if bound else y
    return bound or 1.0


def _moments(exchange: Exchange, step: _Step, parameters: LowPassParameters, largest: float) -> list[float]:
    """Traces of T_0, T_1, ..., from random signs: two from each product."""
    key = exchange.graph.node_key
    signs = ternary_rows(key, PROBES, 1.0, parameters.seed ^ 0x5BEC)
    is_alive = exchange.travels & (exchange.home >= 0)
    terms, rounds = [signs * is_alive[:, None]], parameters.moment_rounds
    for number in range(rounds):
        before = terms[-2] if number else np.zeros_like(signs)
        product = exchange.product(step.rows, terms[-1], "float32")
        terms.append(step.next_term(product, terms[-1], before, number, largest))
        if number < rounds - 1:
            exchange.send(PROBES, "float32")
    traces = [float((terms[0] * term).sum()) / PROBES for term in terms]
    for k in range(rounds + 1, 2 * rounds + 1):  # T_j+k = 2 T_j T_k - T_k-j
        half = k // 2
        traces.append(2.0 * float((terms[half] * terms[k - half]).sum()) / PROBES - traces[k - 2 * half])
    return traces


def damped_step(degree: int, cut: float) -> list[float]:
    """Chebyshev coefficients of the step at ``cut``, times Jackson's damping (Weisse et al. 2006, equation 71)."""
    angle, n = math.acos(cut), degree + 1
    turn = math.pi / (n + 1)
    result = []
    for k in range(n):
        plain = angle / math.pi if k == 0 else 2 * math.sin(k * angle) / (k * math.pi)
        damping = ((n - k + 1) * math.cos(k * turn) + math.sin(k * turn) / math.tan(turn)) / (n + 1)
        result.append(plain * damping)
    return result


@dataclass(frozen=True)
class DenseFiltered:
    """h(operator) Ω by eigenvectors, through the last product; and how far float32 may be off, over all rows."""

    rows: np.ndarray
    error: float


def dense_low_pass(graph: Graph, parameters: LowPassParameters, cut: float, largest: float) -> DenseFiltered:
    """M h(P) Ω and P h(P) Ω, or h(S) Ω.

    error : Frobenius norm. Each term of the recurrence is off by e_k = its own roundings, each of at most 2**-24
    of what is rounded; an error of T_j grows by the polynomials of the second kind, |U_m| <= m + 1 on [-1, 1].
    """
    has_items = bool(graph.is_target.any())
    step = _Step(graph, parameters)
    walks = step.dense.T @ step.dense if has_items else step.dense
    travels = graph.is_target if has_items else np.ones(graph.strength.size, bool)
    start = ternary_rows(graph.node_key, parameters.dim, parameters.sparsity, parameters.seed) * travels[:, None]
    values, vectors = np.linalg.eigh(walks)
    mapped = 2.0 * values / largest - 1.0 if has_items else values
    weights = damped_step(parameters.filter_degree, cut)
    middle = (vectors * chebyshev.chebval(mapped, weights)) @ vectors.T @ start
    rows = middle
    if has_items:
        rows = np.where(travels[:, None], walks @ middle, step.dense @ middle)

    unit, narrowing = 2.0**-24, _NARROWING[parameters.boundary_dtype]
    terms = [(vectors * chebyshev.chebval(mapped, _unit(k))) @ vectors.T @ start for k in range(len(weights))]
    sizes = [float(np.linalg.norm(term)) for term in terms]
    # Of a product: the weights' rounding, at most one addition a neighbour, twice on two types, and the scalings.
    operations = (2 if has_items else 1) * (int(graph.degree.max()) + 6)
    norm = float(np.abs(values).max()) * (2.0 / largest if has_items else 1.0)
    own = [2.0 * unit * sizes[0]]
    for k in range(1, len(weights)):
        product = 2.0 * norm * (operations * unit + 2.0 * narrowing) * sizes[k - 1]
        others = 2.0 * unit * (2.0 * sizes[k - 1] + (sizes[k - 2] if k > 1 else 0.0) + sizes[k])
        own.append(product + others)
    off = [sum((k - j + 1) * own[j] for j in range(k + 1)) for k in range(len(weights))]
    error = sum(abs(w) * (e + 2.0 * len(weights) * unit * s) for w, e, s in zip(weights, off, sizes, strict=True))
    if has_items:
        size = float(np.linalg.norm(middle))
        last = float(np.linalg.norm(step.dense, 2))
        error = max(last, last**2) * (error + (operations * unit + 2.0 * narrowing) * size)
    return DenseFiltered(rows, error)


_NARROWING = {"float32": 0.0, "float16": 2.0**-11 + 4 * 2.0**-39, "int8": 4 * 0.5 / 63.75}


def _unit(k: int) -> list[float]:
    return [0.0] * k + [1.0]
