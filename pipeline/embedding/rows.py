"""Rows on their way through the rounds, and what a method may know besides them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EmbeddingConfig


@dataclass(frozen=True)
class Rows:
    """Dense rows and their yardsticks.

    ``magnitude`` is, for each row, the sum of |entry| times the norm of what it multiplied: rows whose norm is
    at most 2**-18 of it are rounding noise and count as zero.
    """

    values: NDArray[np.float32]  # (n, dim)
    magnitude: NDArray[np.float64]  # (n,)

    @classmethod
    def zeros(cls, rows: int, dim: int) -> Rows:
        """Rows of zeros."""
        return cls(np.zeros((rows, dim), np.float32), np.zeros(rows))


@dataclass(frozen=True)
class ColumnSums:
    """Sums over the complete rows of the nodes with edges: (dim,) float64 each."""

    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    count: int

    def __add__(self, other: ColumnSums) -> ColumnSums:
        return ColumnSums(self.sums + other.sums, self.squares + other.squares, self.count + other.count)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; float64 survives the way there and back."""
        return {"sums": self.sums.tolist(), "squares": self.squares.tolist(), "count": self.count}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ColumnSums:
        """Read what :meth:`to_json` wrote."""
        return cls(np.array(raw["sums"]), np.array(raw["squares"]), int(raw["count"]))


@dataclass(frozen=True)
class Settings:
    """The embedding's configuration, and the few facts of the whole graph that it refers to."""

    embedding: EmbeddingConfig
    form: str
    nodes: int
    source: tuple[int, int]  # range of node_ix of the nodes that edges start from
    target: tuple[int, int]

    @property
    def dim(self) -> int:
        """Columns of the embedding."""
        return self.embedding.dim

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, for tasks."""
        return {**asdict(self), "embedding": self.embedding.model_dump(mode="json")}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Settings:
        """Read what :meth:`to_json` wrote."""
        return cls(
            embedding=EmbeddingConfig.model_validate(raw["embedding"]),
            form=raw["form"],
            nodes=raw["nodes"],
            source=tuple(raw["source"]),
            target=tuple(raw["target"]),
        )
