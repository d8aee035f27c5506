"""Rows on their way through the rounds, and what a method may know besides them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EmbeddingConfig
from pipeline.kernels.narrow_rows import groups_of
from pipeline.kernels.vector_tiles import GROUP

#: Norms of rows over all columns of the embedding, for a task that may hold only some of them; None: not known
#: here, or not asked for. What follows from norms is then made by another task.
Norms = Callable[[NDArray[np.float32]], NDArray[np.float64] | None]
KnownNorms = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True)
class Rows:
    """Dense rows, or columns of them, and their yardsticks.

    ``magnitude`` is, for each row, the sum of |entry| times the norm of what it multiplied: rows whose norm is
    at most 2**-18 of it are rounding noise and count as zero. It is 0 where nobody has asked for it.
    """

    values: NDArray[np.float32]  # (n, width)
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

    @classmethod
    def side_by_side(cls, pieces: Sequence[ColumnSums]) -> ColumnSums:
        """Join sums of the same rows over consecutive columns."""
        sums, squares = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("sums", "squares"))
        return cls(sums, squares, pieces[0].count)


@dataclass(frozen=True)
class Settings:
    """The embedding's configuration, and the few facts of the whole graph that it refers to."""

    embedding: EmbeddingConfig
    form: str
    nodes: int
    source: tuple[int, int]  # range of node_ix of the nodes that edges start from
    target: tuple[int, int]
    columns: tuple[int, int] | None = None  # those that a task computes; None: all

    @property
    def dim(self) -> int:
        """Columns of the embedding."""
        return self.embedding.dim

    @property
    def first_column(self) -> int:
        """First column that is computed."""
        return self.columns[0] if self.columns else 0

    @property
    def width(self) -> int:
        """Columns that are computed."""
        return self.columns[1] - self.columns[0] if self.columns else self.dim

    @property
    def is_shard(self) -> bool:
        """Whether some columns are computed and others aren't: then norms and magnitudes aren't known."""
        return self.columns is not None and self.width > 0

    def shards(self) -> list[Settings]:
        """Return one copy for each share of the columns: fixed groups, never split, a share never empty."""
        groups = groups_of(self.dim)
        count = min(self.embedding.shards or 1, groups)
        if count == 1:
            return [self]
        bounds = [min(GROUP * (groups * number // count), self.dim) for number in range(count + 1)]
        return [replace(self, columns=pair) for pair in pairwise(bounds)]

    def without_columns(self) -> Settings:
        """Return a copy for a task that computes magnitudes alone."""
        return replace(self, columns=(0, 0))

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
            columns=tuple(raw["columns"]) if raw["columns"] else None,
        )
