"""The exchange protocol in plain NumPy and float64: what both engines must match, for any tree and any weights.

Written from the protocol's description, not from the engines' code: parts are dictionaries, rows travel as
dictionaries, and nothing is fast. It shares only the hash of the random rows with the pipeline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pipeline.kernels.hashing import hash_cells, splitmix64

ZERO_BELOW = 2.0**-18


@dataclass
class Graph:
    """Undirected weighted edges, each once; ``is_target`` marks items (all False: a plain graph)."""

    node_key: np.ndarray  # (n,) uint64
    src: np.ndarray
    dst: np.ndarray
    weight: np.ndarray  # float64
    is_target: np.ndarray
    features: list[dict[int, float]] | None = None  # of each node: value by key
    strength: np.ndarray = field(init=False)
    degree: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        n = self.node_key.size
        loop = self.src == self.dst
        self.strength = np.bincount(self.src, self.weight, n) + np.bincount(self.dst[~loop], self.weight[~loop], n)
        self.degree = np.bincount(self.src, minlength=n) + np.bincount(self.dst[~loop], minlength=n)


@dataclass
class Parameters:
    """The embedding's parameters, by their names in the config."""

    form: str
    dim: int
    seed: int = 0
    sparsity: float = 3.0
    powers: int = 1
    user_degree_power: float = 0.4
    item_degree_power: float = 0.4
    iteration_weights: tuple[float, ...] = (0.0, 1.0, 1.0)
    degree_power: float = 0.0
    transition: str = "random_walk"
    normalize_powers: bool = True
    boundary_dtype: str = "float32"
    self_influence: float = 0.0
    attribute_share: float = 0.5


@dataclass
class Part:
    """What one part stores, and the rows it holds between rounds."""

    edges: list[int] = field(default_factory=list)
    nodes: set[int] = field(default_factory=set)
    x: dict[int, np.ndarray] = field(default_factory=dict)


def simulate(
    graph: Graph, home: np.ndarray, is_split: np.ndarray, parameters: Parameters
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Rows before the last normalisation, their noise scales, and how many rows travelled.

    Parameters
    ----------
    home : (n,) part of every node, -1 without edges. is_split : (n,) bool.

    Returns
    -------
    rows (n, dim) float64, noise_scale (n,) float64, {"partials": rows sent to homes, "totals": rows sent on, "bytes":
    of their entries, scales and noise scales}. In how many shards the columns are computed changes none of it.
    """
    parts = _place_edges(graph, home, is_split)
    two_tower = parameters.form == "two_tower"
    n, dim = graph.node_key.size, parameters.dim
    result, noise_scale = np.zeros((n, dim)), np.zeros(n)
    travelled = {"partials": 0, "totals": 0, "bytes": 0}
    dtype = parameters.boundary_dtype
    travels = graph.is_target if two_tower else np.ones(n, bool)
    size_bytes = 8 if dtype == "float32" else 2
    rounds = parameters.powers + 1 if two_tower else len(parameters.iteration_weights)
    row_bytes = dim * 4 if dtype == "float32" else dim * {"float16": 2, "int8": 1}[dtype] + math.ceil(dim / 16)

    start = _random_rows(graph, parameters)
    for part in parts.values():
        part.x = {v: start[v] for v in part.nodes if travels[v]}  # anyone can draw any row

    if not two_tower:
        _add_start(result, noise_scale, start, home >= 0, graph, parameters)
    for number in range(rounds):
        is_last = number == rounds - 1
        needs_noise_scales = is_last if two_tower else parameters.iteration_weights[number] != 0
        inbox: dict[int, list[tuple[np.ndarray, float]]] = {}
        complete: dict[int, tuple[np.ndarray, float]] = {}
        for part_id in sorted(parts):
            part = parts[part_id]
            if two_tower:
                sums, users = _step_of_two_tower(graph, part, parameters)
                if is_last:
                    for user, (row, size) in users.items():
                        result[user], noise_scale[user] = row, size
            else:
                sums = _step_of_classic(graph, part, parameters)
            for v, (row, size) in sums.items():
                if is_split[v]:
                    is_away = part_id != home[v]
                    inbox.setdefault(v, []).append((narrow(row, dtype) if is_away else row, size))
                    travelled["partials"] += is_away
                    travelled["bytes"] += is_away * (row_bytes + size_bytes * needs_noise_scales)
                elif home[v] == part_id:
                    complete[v] = (row, size)
        for v, slices in inbox.items():
            complete[v] = (sum(row for row, _ in slices), sum(size for _, size in slices))
        for v, (row, size) in complete.items():
            scale = _settling_scale(graph, v, parameters)
            row, size = row * scale, size * scale
            if not is_last:
                row = narrow(row, dtype)  # for every reader, near or far
            if two_tower:
                result[v], noise_scale[v] = row, size
            else:
                _add_power(result, noise_scale, v, row, size, number, parameters)
            complete[v] = (row, size)
        for part_id, part in parts.items():
            part.x = {v: complete[v][0] for v in part.nodes if travels[v]}
            if not is_last:
                ghosts = sum(1 for v in part.x if home[v] != part_id)
                travelled["totals"] += ghosts
                travelled["bytes"] += ghosts * row_bytes
    return result, noise_scale, travelled


def narrow(row: np.ndarray, dtype: str) -> np.ndarray:
    """A row as its codes have it: groups of 16 entries, each with a power of two that brings its largest near the
    end of the codes' range (127, or 2**15 as a half)."""
    if dtype == "float32":
        return row
    result = np.zeros_like(row)
    for first in range(0, row.size, 16):
        entries = row[first : first + 16]
        largest = np.abs(entries).max()
        if largest == 0:
            continue
        bits, lowest, end = (6, -133, 127.5) if dtype == "int8" else (14, -141, 32760.0)
        exponent = max(int(np.frexp(largest)[1]) - 1 - bits, lowest)
        exponent += largest * 2.0**-exponent >= end
        scaled = entries * 2.0**-exponent
        codes = np.rint(scaled) if dtype == "int8" else scaled.astype(np.float16).astype(np.float64)
        result[first : first + 16] = codes * 2.0**exponent
    return result


def _place_edges(graph: Graph, home: np.ndarray, is_split: np.ndarray) -> dict[int, Part]:
    parts: dict[int, Part] = {int(p): Part() for p in np.unique(home[home >= 0])}
    for e, (a, b) in enumerate(zip(graph.src.tolist(), graph.dst.tolist(), strict=True)):
        if not is_split[a] and not is_split[b]:
            at = {int(home[a]), int(home[b])}
        elif is_split[a] and is_split[b]:
            smaller = min((a, b), key=lambda v: (graph.degree[v], graph.node_key[v], v))
            at = {int(home[smaller])}
        else:
            at = {int(home[b] if is_split[a] else home[a])}
        for p in at:
            parts[p].edges.append(e)
            parts[p].nodes |= {a, b}
    return parts


def _hashed_rows(keys: np.ndarray, parameters: Parameters, seed: int) -> np.ndarray:
    return ternary_rows(keys, parameters.dim, parameters.sparsity, seed)


def ternary_rows(keys: np.ndarray, width: int, sparsity: float, seed: int) -> np.ndarray:
    """Random rows of entries 0 and +-sqrt(sparsity), in float64; none of them zero where many would be."""
    u = (hash_cells(keys, width, seed) >> np.uint64(11)) * 2.0**-53
    tail = 0.5 / sparsity
    signs = (u < tail).astype(float) - (u >= 1 - tail)
    if (1 - 1 / sparsity) ** width > 0.01:  # many would be: those get one entry, by a hash of the key alone
        for row in np.flatnonzero(~signs.any(axis=1)):
            key = int(splitmix64(np.array([seed], np.uint64))[0]) ^ int(keys[row])
            cell = (int(splitmix64(np.array([key], np.uint64))[0]) + 2**63) % 2**64
            word = int(splitmix64(np.array([cell], np.uint64))[0])
            signs[row, (word >> 32) * width >> 32] = 1 if word & 1 else -1
    return signs * math.sqrt(sparsity)


def rows_of_features(features: dict[int, float], parameters: Parameters) -> np.ndarray:
    """What a node's features come to, from another stream of the seed."""
    stream = int.from_bytes(b"feature", "big")
    seed = int(splitmix64(np.array([parameters.seed ^ stream], np.uint64))[0])
    total = np.zeros(parameters.dim)
    for key, value in features.items():
        total += value * _hashed_rows(np.array([key], np.uint64), parameters, seed)[0]
    return total


def _random_rows(graph: Graph, parameters: Parameters) -> np.ndarray:
    rows = _hashed_rows(graph.node_key, parameters, parameters.seed)
    share = parameters.attribute_share
    for v, features in enumerate(graph.features or []):
        if features and share:
            mixed = (1 - share) * rows[v] + share * rows_of_features(features, parameters)
            rows[v] = mixed / math.hypot(1 - share, share)
    if parameters.form == "classic":
        rows *= _power(graph.strength, parameters.degree_power)[:, None]
    return rows


def start_sizes(graph: Graph, parameters: Parameters) -> np.ndarray:
    """The S of start rows: their length if nothing cancelled; 0 of rows that are a node's own."""
    sizes, share = np.zeros(graph.node_key.size), parameters.attribute_share
    for v, features in enumerate(graph.features or []):
        if features and share:
            terms = (1 - share) + share * sum(abs(value) for value in features.values())
            sizes[v] = terms / math.hypot(1 - share, share) * math.sqrt(parameters.dim)
    if parameters.form == "classic":
        sizes *= _power(graph.strength, parameters.degree_power)
    return sizes


def _add_start(
    result: np.ndarray,
    noise_scale: np.ndarray,
    start: np.ndarray,
    has_edges: np.ndarray,
    graph: Graph,
    parameters: Parameters,
) -> None:
    weight, sizes = parameters.self_influence, start_sizes(graph, parameters)
    for v in np.flatnonzero(has_edges):
        norm = float(np.linalg.norm(start[v]))
        if not parameters.normalize_powers:
            result[v] += weight * start[v]
            noise_scale[v] += weight * max(norm, sizes[v])
        elif norm > ZERO_BELOW * sizes[v]:
            result[v] += weight * start[v] / norm
            noise_scale[v] += weight


def _power(strength: np.ndarray, exponent: float) -> np.ndarray:
    return np.where(strength > 0, np.maximum(strength, 1e-300) ** exponent, 0.0)


def _step_of_two_tower(graph: Graph, part: Part, parameters: Parameters) -> tuple[dict, dict]:
    to_user = _power(graph.strength, -parameters.user_degree_power)
    to_item = _power(graph.strength, -parameters.item_degree_power)
    x = {v: row * to_item[v] for v, row in part.x.items()}
    users: dict[int, tuple[np.ndarray, float]] = {}
    pairs = []
    for e in part.edges:
        a, b = int(graph.src[e]), int(graph.dst[e])
        user, item = (b, a) if graph.is_target[a] else (a, b)
        pairs.append((user, item, graph.weight[e]))
    for user, item, w in pairs:
        row, size = users.get(user, (0.0, 0.0))
        users[user] = (row + w * x[item], size + w * np.linalg.norm(x[item]))
    users = {v: (row * to_user[v], size * to_user[v]) for v, (row, size) in users.items()}
    sums: dict[int, tuple[np.ndarray, float]] = {}
    for user, item, w in pairs:
        sent = users[user][0] * to_user[user]
        row, size = sums.get(item, (0.0, 0.0))
        sums[item] = (row + w * sent, size + w * np.linalg.norm(sent))
    return sums, users


def _step_of_classic(graph: Graph, part: Part, parameters: Parameters) -> dict:
    before = _power(graph.strength, -0.5) if parameters.transition == "symmetric" else np.ones(graph.strength.size)
    sums: dict[int, tuple[np.ndarray, float]] = {}
    for e in part.edges:
        a, b, w = int(graph.src[e]), int(graph.dst[e]), graph.weight[e]
        for to, of in {(a, b), (b, a)}:
            x = part.x[of] * before[of]
            row, size = sums.get(to, (0.0, 0.0))
            sums[to] = (row + w * x, size + w * np.linalg.norm(x))
    return sums


def _settling_scale(graph: Graph, v: int, parameters: Parameters) -> float:
    if parameters.form == "two_tower":
        return float(_power(graph.strength[v : v + 1], -parameters.item_degree_power)[0])
    return float(graph.strength[v] ** (-1.0 if parameters.transition == "random_walk" else -0.5))


def _add_power(
    result: np.ndarray,
    noise_scale: np.ndarray,
    v: int,
    row: np.ndarray,
    size: float,
    number: int,
    parameters: Parameters,
) -> None:
    weight = parameters.iteration_weights[number]
    if not parameters.normalize_powers:
        result[v] += weight * row
        noise_scale[v] += abs(weight) * size
        return
    norm = float(np.linalg.norm(row))
    if norm > ZERO_BELOW * size:
        result[v] += weight * row / norm
        noise_scale[v] += abs(weight)
