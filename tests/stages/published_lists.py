"""Published lists of neighbours, read with pyarrow alone, and what they must be: exact PPR by dense algebra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.contracts import TableContract
from schemas.published_tables import PPR_NEIGHBOR_LISTS
from tests.stages.chains import Chain

Node = tuple[str, Any]


@dataclass(frozen=True)
class ListsOf:
    """A release's lists by (type, id)."""

    folder: Path
    table: pa.Table
    name: str = PPR_NEIGHBOR_LISTS.name

    @classmethod
    def of(cls, chain: Chain, contract: TableContract = PPR_NEIGHBOR_LISTS) -> ListsOf:
        folder = chain.current_folder()
        assert folder is not None
        files = sorted((folder / contract.name).iterdir())
        table = pa.concat_tables(pq.read_table(file, partitioning=None) for file in files)
        contract.check_schema(table.schema, str(folder))
        contract.check_rows(table, str(folder))
        return cls(folder, table, contract.name)

    @property
    def data(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.folder / self.name).iterdir())}

    @property
    def nodes(self) -> list[Node]:
        return list(zip(self.table["node_type"].to_pylist(), self.table["node_id"].to_pylist(), strict=True))

    @property
    def lists(self) -> dict[Node, dict[Any, float]]:
        columns = (self.table[name].to_pylist() for name in ("neighbor_ids", "scores"))
        return {
            node: dict(zip(ids, scores, strict=True)) for node, ids, scores in zip(self.nodes, *columns, strict=True)
        }

    @property
    def bounds(self) -> dict[Node, float]:
        return dict(zip(self.nodes, self.table["error_bound"].to_pylist(), strict=True))


@dataclass(frozen=True)
class Exact:
    """A weighted undirected graph in dense form: node i is ``nodes[i]``."""

    nodes: list[Node]
    weights: np.ndarray  # (n, n), symmetric

    @classmethod
    def of(cls, rows: Mapping[str, Any], types: tuple[str, str]) -> Exact:
        """Of an input's rows: columns source, target, and perhaps weight."""
        weight = np.asarray(rows.get("weight", np.ones(len(rows["source"]))), float)
        ends = [
            [(node_type, id_) for id_ in np.asarray(rows[name]).tolist()]
            for node_type, name in zip(types, ("source", "target"), strict=True)
        ]
        nodes = sorted({*ends[0], *ends[1]})
        place = {node: at for at, node in enumerate(nodes)}
        matrix = np.zeros((len(nodes), len(nodes)))
        for one, other, value in zip(*ends, weight, strict=True):
            i, j = place[one], place[other]
            matrix[i, j] += value
            matrix[j, i] += value if i != j else 0.0
        return cls(nodes, matrix)

    def scores(self, restart: float, edge_power: float = 0.0) -> dict[Node, dict[Node, float]]:
        """PPR of every node from every node."""
        n = len(self.nodes)
        neighbors = (self.weights > 0).sum(axis=1).astype(float)
        pairs = np.maximum(np.outer(neighbors, neighbors), 1.0)
        weights = self.weights * pairs**edge_power
        degree = weights.sum(axis=1)
        step = np.where(degree[:, None] > 0, weights / np.maximum(degree, 1e-300)[:, None], np.eye(n))
        pi = restart * np.linalg.inv(np.eye(n) - (1 - restart) * step)
        return {
            source: {node: float(pi[i, j]) for j, node in enumerate(self.nodes)} for i, source in enumerate(self.nodes)
        }

    def neighbors(self, node: Node) -> set[Node]:
        at = self.nodes.index(node)
        return {self.nodes[j] for j in np.flatnonzero(self.weights[at])}


def check_lists(
    found: ListsOf,
    exact: Exact,
    *,
    restart: float,
    top_k: int,
    target: str,
    correction: float = 0.0,
    edge_power: float = 0.0,
    exclude_known: bool = False,
) -> None:
    """Hold lists against exact PPR, as `check_scores` does."""
    check_scores(
        found,
        exact,
        exact.scores(restart, edge_power),
        top_k=top_k,
        target=target,
        correction=correction,
        exclude_known=exclude_known,
    )


def check_scores(
    found: ListsOf,
    exact: Exact,
    all_scores: Mapping[Node, Mapping[Node, float]],
    *,
    top_k: int,
    target: str,
    correction: float = 0.0,
    exclude_known: bool = False,
    slack: float = 1e-6,
) -> None:
    """Every listed score is within its bound of the exact one, and what is missing is within it of the last listed."""
    for source, listed in found.lists.items():
        bound = found.bounds[source] + slack
        unwanted = {source} | (exact.neighbors(source) if exclude_known else set())
        want = {
            node: score / len(exact.neighbors(node)) ** correction
            for node, score in all_scores[source].items()
            if node[0] == target and node not in unwanted and exact.neighbors(node)
        }
        if not exact.neighbors(source):
            assert listed == {}
            assert found.bounds[source] == 0
            continue
        assert len(listed) <= top_k
        for id_, score in listed.items():
            assert abs(score - want[target, id_]) <= bound
        last = min(listed.values()) if len(listed) == top_k else 0.0
        for (_, id_), score in want.items():
            assert id_ in listed or score <= last + bound
