"""One product of any method over parts, in dictionaries and float64: who sends what to whom, and how much it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tests.oracles.simulator import Graph, Part, _place_edges, _power, narrow

#: From what a part reads, by node, to its share of the product's rows.
Step = Callable[["Here"], dict[int, np.ndarray]]


class Here:
    """What one part sees: its edges, and the rows of its nodes."""

    def __init__(self, part_id: int, part: Part, exchange: Exchange, x: dict[int, np.ndarray]) -> None:
        self.x = x
        self._part_id = part_id
        self._part = part
        self._graph = exchange.graph
        self._home = exchange.home
        self._is_split = exchange.is_split

    def is_home_of(self, node: int) -> bool:
        return int(self._home[node]) == self._part_id

    def user_item_edges(self) -> Iterator[tuple[int, int, float]]:
        for e in self._part.edges:
            a, b = int(self._graph.src[e]), int(self._graph.dst[e])
            yield (b, a, self._graph.weight[e]) if self._graph.is_target[a] else (a, b, self._graph.weight[e])

    def entries(self) -> Iterator[tuple[int, int, float]]:
        """(row, column, weight) of every entry that counts here: of rows at home elsewhere, only split ones' do."""
        for e in self._part.edges:
            a, b = int(self._graph.src[e]), int(self._graph.dst[e])
            for row, column in {(a, b), (b, a)}:
                if self._is_split[row] or self.is_home_of(row):
                    yield row, column, self._graph.weight[e]


class Exchange:
    """The parts of a graph, what they send each other, and what of it was counted."""

    def __init__(self, graph: Graph, home: np.ndarray, is_split: np.ndarray) -> None:
        self.graph = graph
        self.travelled = {"partials": 0, "totals": 0, "bytes": 0}
        self.travels = graph.is_target if graph.is_target.any() else np.ones(home.size, bool)
        self.is_split = is_split
        self.home = home
        self._parts = _place_edges(graph, home, is_split)

    @property
    def at_home(self) -> dict[int, list[int]]:
        """Nodes whose rows travel, by the part of their home."""
        return {p: np.flatnonzero((self.home == p) & self.travels).tolist() for p in sorted(self._parts)}

    def views(self, x: np.ndarray) -> Iterator[Here]:
        """What each part sees of rows that all readers have alike."""
        for part_id in sorted(self._parts):
            part = self._parts[part_id]
            yield Here(part_id, part, self, {v: x[v] for v in sorted(part.nodes) if self.travels[v]})

    def product(self, step: Step, x: np.ndarray, dtype: str, *, has_noise_scale: bool = False) -> np.ndarray:
        """Complete rows of a product: whole nodes' from their part, split ones' sums of partial rows."""
        total = np.zeros_like(x)
        for here in self.views(x):
            for v, row in step(here).items():
                is_here = here.is_home_of(v)
                if self.is_split[v]:
                    total[v] += row if is_here else narrow(row, dtype)
                    self._count("partials", 0 if is_here else 1, row.size, dtype, has_noise_scale=has_noise_scale)
                elif is_here:
                    total[v] = row
        return total

    def send(self, width: int, dtype: str) -> None:
        """Count complete rows on their way to every other part that reads them."""
        for part_id, part in self._parts.items():
            ghosts = sum(1 for v in part.nodes if self.travels[v] and self.home[v] != part_id)
            self._count("totals", ghosts, width, dtype, has_noise_scale=False)

    def _count(self, name: str, rows: int, width: int, dtype: str, *, has_noise_scale: bool) -> None:
        entries = 4 * width if dtype == "float32" else {"float16": 2, "int8": 1}[dtype] * width + math.ceil(width / 16)
        self.travelled[name] += rows
        self.travelled["bytes"] += rows * (entries + has_noise_scale * (8 if dtype == "float32" else 2))


def scaled_incidence(graph: Graph, user_power: float, item_power: float) -> np.ndarray:
    """M = D_U^-a B D_I^-b over all nodes: rows of users, columns of items, zero elsewhere."""
    m = np.zeros((graph.strength.size,) * 2)
    for a, b, w in zip(graph.src.tolist(), graph.dst.tolist(), graph.weight.tolist(), strict=True):
        user, item = (b, a) if graph.is_target[a] else (a, b)
        m[user, item] = w
    return _power(graph.strength, -user_power)[:, None] * m * _power(graph.strength, -item_power)


def symmetric_adjacency(graph: Graph, offset: float = 0.0) -> np.ndarray:
    """S = (D + offset)^-1/2 A (D + offset)^-1/2."""
    a = np.zeros((graph.strength.size,) * 2)
    a[graph.src, graph.dst] = graph.weight
    a[graph.dst, graph.src] = graph.weight
    root = _power(graph.strength + offset, -0.5)
    return root[:, None] * a * root
