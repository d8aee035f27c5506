"""Spectral rounds in plain NumPy and float64, over parts that are dictionaries: the oracle of both engines.

Written from the protocol: products over parts, Gram sums over the rows at home, what makes the columns orthonormal
at the next reading, Rayleigh-Ritz last. It shares the hash of the random rows with the pipeline and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from pipeline.kernels.hashing import hash_cells
from tests.oracles.exchange_simulator import (
    Exchange,
    Here,
    scaled_incidence,
    symmetric_adjacency,
)
from tests.oracles.simulator import Graph, _power, narrow

UNIT = 2.0**-24  # of float32


@dataclass(frozen=True)
class SpectralParameters:
    """The embedding's parameters, by their names in the config."""

    dim: int
    rank: int
    iterations: int
    shift: float
    eigenvalue_power: float
    reduction: str
    seed: int
    oversampling: int
    no_return: float
    user_degree_power: float
    item_degree_power: float
    degree_offset: float
    eigenvalues: str
    boundary_dtype: str


@dataclass
class Round:
    """Complete rows of a product, and what makes their columns orthonormal."""

    z: np.ndarray  # what was multiplied
    y: np.ndarray  # as all readers have it
    transform: np.ndarray
    values: np.ndarray  # singular values of y, all of them


@dataclass
class Simulated:
    """Rows before the last scaling, over all nodes, and how they came about."""

    rows: np.ndarray  # (n, dim)
    left: np.ndarray  # (n, rank): M V of users and V of items; of plain graphs V; without |w|^p
    eigenvalues: np.ndarray
    z: np.ndarray  # the last, orthonormal
    lost: np.ndarray  # rows of which the leading vectors say nothing
    rounds: list[Round] = field(default_factory=list)
    travelled: dict[str, int] = field(default_factory=dict)


def noise_share(width: int, dtype: str) -> float:
    """Singular values at or below this share of the largest don't count."""
    return max(max(width, 16) * 2.0**-23, {"float32": 0.0, "float16": 2.0**-13, "int8": 2.0**-9}[dtype])


#: How far narrowing moves an entry at most, relative to the largest of its row.
NARROWING = {"float32": 0.0, "float16": 2.0**-11, "int8": 2.0**-6}


class Errors:
    """Errors as large as float32's may be, of random size and sign: what the result makes of them bounds what it
    makes of float32's own, which are smaller and as random."""

    def __init__(self, graph: Graph, parameters: SpectralParameters, seed: int) -> None:
        _, self._absolute = dense_operator(graph, parameters)
        self._shift = parameters.shift
        self._narrowing = NARROWING[parameters.boundary_dtype]
        self._rng = np.random.default_rng(seed)
        has_items = bool(graph.is_target.any())
        # Of a product, twice on two types: as many additions as neighbours, whose roundings add up as their root,
        # and a few factors, whose add up as they are.
        self._operations = (2 if has_items else 1) * (math.sqrt(graph.degree.max()) + 6) + 4

    def of_product(self, z: np.ndarray) -> np.ndarray:
        size = self._operations * UNIT * (self._absolute @ np.abs(z) + self._shift * np.abs(z))
        return self._drawn(size + self._narrowing * np.abs(size).max(axis=1, keepdims=True) / UNIT)

    def of_columns(self, x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        return self._drawn((x.shape[1] + self._operations) * UNIT * (np.abs(x) @ np.abs(matrix)))

    def of_ritz(self, z: np.ndarray) -> np.ndarray:
        off = self._drawn(2 * self._operations * UNIT * (np.abs(z).T @ self._absolute @ np.abs(z)))
        return (off + off.T) / 2

    def _drawn(self, size: np.ndarray) -> np.ndarray:
        return size * self._rng.uniform(-1.0, 1.0, size.shape)


def simulate_spectral(
    graph: Graph,
    home: np.ndarray,
    is_split: np.ndarray,
    parameters: SpectralParameters,
    errors: Errors | None = None,
) -> Simulated:
    """Run the rounds; ``home`` (n,) is -1 without edges, ``is_split`` (n,) bool."""
    exchange = Exchange(graph, home, is_split)
    operator = _Bipartite(graph, parameters) if graph.is_target.any() else _Plain(graph, parameters)
    travelling = int(exchange.travels.sum())
    width = max(1, min(parameters.rank + parameters.oversampling, travelling))
    dtype = parameters.boundary_dtype
    z = normal_rows(graph.node_key, width, parameters.seed) * exchange.travels[:, None]
    rounds = []
    for _ in range(parameters.iterations):
        y = exchange.product(operator.apply, z, dtype)
        if errors:
            y = y + errors.of_product(z)
        y = np.array([narrow(row, dtype) for row in y])
        exchange.send(width, dtype)
        sums = np.zeros((width, width))
        for nodes in exchange.at_home.values():
            sums += y[nodes].T @ y[nodes]
        values, vectors = np.linalg.eigh(sums)
        values, vectors = np.sqrt(np.maximum(values[::-1], 0)), vectors[:, ::-1]
        rank = int((values > noise_share(width, dtype) * values[0]).sum())
        transform = np.zeros((width, width))
        transform[:, :rank] = _signed(vectors[:, :rank]) / values[:rank]
        rounds.append(Round(z, y, transform, values))
        z = y @ transform
        if errors:
            z = z + errors.of_columns(y, transform)

    ritz = np.zeros((width, width))
    users = np.zeros_like(z)
    for here in exchange.views(z):
        ritz += operator.quadratic(here, users)
    size = (users**2).sum() / width  # before the diagonal was taken off; of plain graphs 0
    if errors:
        ritz = ritz + errors.of_ritz(z)
    values, vectors = np.linalg.eigh((ritz + ritz.T) / 2)
    order = _ordered(values, operator.size_of(values), noise_share(width, dtype))
    largest = operator.size_of(values).max()
    others = _signed(vectors[:, order[parameters.rank :]])
    order = order[: parameters.rank]
    values, vectors = values[order], _signed(vectors[:, order])
    is_noise = operator.size_of(values) <= noise_share(width, dtype) * max(np.abs(largest), size)
    left_out = np.hstack([np.where(is_noise, vectors, 0.0), others])
    values = np.where(is_noise, 0.0, values)
    vectors = np.where(is_noise, 0.0, vectors)
    found = np.where(exchange.travels[:, None], z, users)
    left = found @ vectors
    if errors:
        left = left + errors.of_columns(found, vectors)
    scales = np.where(values != 0, np.abs(values) ** parameters.eigenvalue_power, 0.0)
    rows = reduced(operator.scaled(left, scales), parameters)
    of_travelling, of_others = (reduced(columns, parameters) for columns in (vectors * scales, vectors))
    lengths = [np.linalg.norm(columns, axis=1) for columns in (of_travelling, of_others)]
    size = (np.abs(found) * np.where(exchange.travels[:, None], *lengths)).sum(axis=1)
    lost = np.linalg.norm(rows, axis=1) <= 2.0**-18 * size
    lost |= np.linalg.norm(found @ vectors, axis=1) <= 2.0**-18 * np.linalg.norm(found, axis=1)
    rows[lost] = (found @ of_left_out(left_out, parameters))[lost]
    return Simulated(rows, left, values, z, lost, rounds, exchange.travelled)


def _ordered(values: np.ndarray, sizes: np.ndarray, share: float) -> list[int]:
    """By falling size; of those within a share of the largest of the first among them, positive ones first."""
    left = sorted(range(len(values)), key=lambda k: -sizes[k])
    found: list[int] = []
    while left:
        close = [k for k in left if sizes[k] >= sizes[left[0]] - share * np.abs(sizes).max()]
        found += [k for k in close if values[k] >= 0] + [k for k in close if values[k] < 0]
        left = [k for k in left if k not in close]
    return found


class _Bipartite:
    def __init__(self, graph: Graph, parameters: SpectralParameters) -> None:
        self._graph = graph
        self._parameters = parameters
        self._to_user = _power(graph.strength, -parameters.user_degree_power)
        self._to_item = _power(graph.strength, -parameters.item_degree_power)

    def _entry(self, user: int, item: int, weight: float) -> float:
        return float(self._to_user[user] * weight * self._to_item[item])

    def _users(self, here: Here) -> dict[int, np.ndarray]:
        users: dict[int, np.ndarray] = {}
        for user, item, w in here.user_item_edges():
            users[user] = users.get(user, 0.0) + self._entry(user, item, w) * here.x[item]
        return users

    def _diagonal(self, here: Here) -> dict[int, float]:
        """A part's own share: the squares of the entries that it stores."""
        shares: dict[int, float] = {}
        for user, item, w in here.user_item_edges():
            shares[item] = shares.get(item, 0.0) + self._entry(user, item, w) ** 2
        return shares

    def apply(self, here: Here) -> dict[int, np.ndarray]:
        users, items = self._users(here), {}
        for user, item, w in here.user_item_edges():
            items[item] = items.get(item, 0.0) + self._entry(user, item, w) * users[user]
        for item, share in self._diagonal(here).items():
            own = self._parameters.shift * here.is_home_of(item) - self._parameters.no_return * share
            items[item] = items[item] + own * here.x[item]
        return items

    def quadratic(self, here: Here, result: np.ndarray) -> np.ndarray:
        total = 0.0
        for user, row in self._users(here).items():
            result[user] = row  # users are at home where their edges are
            total = total + np.outer(row, row)
        for item, share in self._diagonal(here).items():
            total = total - self._parameters.no_return * share * np.outer(here.x[item], here.x[item])
        return np.asarray(total)

    def size_of(self, values: np.ndarray) -> np.ndarray:
        return values

    def scaled(self, left: np.ndarray, scales: np.ndarray) -> np.ndarray:
        return np.where(self._graph.is_target[:, None], left * scales, left)


class _Plain:
    def __init__(self, graph: Graph, parameters: SpectralParameters) -> None:
        self._parameters = parameters
        self._root = _power(graph.strength + parameters.degree_offset * graph.strength.mean(), -0.5)

    def _product(self, here: Here) -> dict[int, np.ndarray]:
        rows: dict[int, np.ndarray] = {}
        for row, column, w in here.entries():
            rows[row] = rows.get(row, 0.0) + self._root[row] * w * self._root[column] * here.x[column]
        return rows

    def apply(self, here: Here) -> dict[int, np.ndarray]:
        shift = self._parameters.shift
        return {v: row + shift * here.is_home_of(v) * here.x[v] for v, row in self._product(here).items()}

    def quadratic(self, here: Here, _users: np.ndarray) -> np.ndarray:
        total = 0.0
        for v, row in self._product(here).items():
            total = total + np.outer(here.x[v], row)
        return np.asarray(total)

    def size_of(self, values: np.ndarray) -> np.ndarray:
        return np.abs(values) if self._parameters.eigenvalues == "both" else values

    def scaled(self, left: np.ndarray, scales: np.ndarray) -> np.ndarray:
        return left * scales


def reduced(rows: np.ndarray, parameters: SpectralParameters) -> np.ndarray:
    """The leading columns or, where there are too many, all of them rotated into fewer."""
    if parameters.reduction == "rotate" and rows.shape[1] > parameters.dim:
        return rotated(rows, parameters)
    return first_columns(rows, parameters.dim)


def rotated(rows: np.ndarray, parameters: SpectralParameters) -> np.ndarray:
    """Times orthonormal columns, hashed normal numbers by Gram and Schmidt, of length sqrt(rank / dim)."""
    rank = rows.shape[1]
    drawn = normal_rows(np.arange(rank, dtype=np.uint64), parameters.dim, parameters.seed)
    triangle = np.linalg.cholesky(drawn.T @ drawn).T  # its diagonal is positive
    return rows @ drawn @ np.linalg.inv(triangle) * np.sqrt(rank / parameters.dim)


def of_left_out(vectors: np.ndarray, parameters: SpectralParameters) -> np.ndarray:
    """What rows are made of that the leading vectors say nothing of: as they are, or mixed into fewer columns."""
    width, dim = vectors.shape[1], parameters.dim
    if width <= dim:
        return first_columns(vectors, dim)
    keys = np.arange(width, dtype=np.uint64) + np.uint64(2**63)
    return vectors @ normal_rows(keys, dim, parameters.seed) / math.sqrt(dim)


def normal_rows(key: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Normal quantiles of hashed numbers."""
    high = (hash_cells(key, width, seed) >> np.uint64(12)).astype(float)
    return np.vectorize(NormalDist().inv_cdf, otypes=[float])((high + 0.5) * 2.0**-52)


def first_columns(rows: np.ndarray, dim: int) -> np.ndarray:
    """The leading columns, zeros where there are fewer."""
    result = np.zeros((len(rows), dim))
    kept = min(rows.shape[1], dim)
    result[:, :kept] = rows[:, :kept]
    return result


def dense_operator(graph: Graph, parameters: SpectralParameters) -> tuple[np.ndarray, np.ndarray]:
    """(A, |A|) of all nodes, without the shift; |A| has the diagonal added where A has it taken off."""
    if not graph.is_target.any():
        s = symmetric_adjacency(graph, parameters.degree_offset * graph.strength.mean())
        return s, s
    m = scaled_incidence(graph, parameters.user_degree_power, parameters.item_degree_power)
    walks = m.T @ m
    back = parameters.no_return * np.diag(np.diag(walks))
    return walks - back, walks + back


def _signed(columns: np.ndarray) -> np.ndarray:
    if not columns.size:
        return columns
    largest = columns[np.abs(columns).argmax(axis=0), np.arange(columns.shape[1])]
    return columns * np.where(largest < 0, -1.0, 1.0)
