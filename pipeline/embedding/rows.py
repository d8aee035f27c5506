"""Rows of the rounds, with their noise scales; sums over their columns; where finished rows go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Vector
from pipeline.embedding.fact_files import Facts

#: Norms of rows over all columns of the embedding, for a task that may hold only some of them; None: not known
#: here, or not asked for. What follows from norms is then made by another task.
Norms = Callable[[NDArray[np.float32]], NDArray[np.float64] | None]
KnownNorms = Callable[[NDArray[np.float32]], NDArray[np.float64]]

#: The role of rows of which a user's row is the weighted sum.
FOLD_IN = "fold_in"


@dataclass(frozen=True)
class Rows:
    """Dense rows, or columns of them, and their noise scales.

    The noise scale of a row is the sum of |entry| times the norm of what it multiplied. A row whose norm is at most
    2**-18 of it is rounding noise and counts as zero. The noise scale is 0 where no step reads it.
    """

    values: NDArray[np.float32]  # (n, width)
    noise_scale: NDArray[np.float64]  # (n,)

    @classmethod
    def zeros(cls, rows: int, dim: int) -> Rows:
        """Rows of zeros."""
        return cls(np.zeros((rows, dim), np.float32), np.zeros(rows))


@dataclass(frozen=True)
class ColumnSums:
    """Sums over the complete rows of the nodes with edges: (dim,) float64 each."""

    sums: Vector
    squares: Vector
    count: int

    def __add__(self, other: ColumnSums) -> ColumnSums:
        return ColumnSums(self.sums + other.sums, self.squares + other.squares, self.count + other.count)

    @classmethod
    def side_by_side(cls, pieces: Sequence[ColumnSums]) -> ColumnSums:
        """Join sums of the same rows over consecutive columns."""
        sums, squares = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("sums", "squares"))
        return cls(sums, squares, pieces[0].count)


class RowSink(Protocol):
    """Takes what a product has beside the rows that it returns."""

    def emit(self, first: int, rows: Rows, role: str = "rows") -> None:
        """Take rows that are final, with their first local row; those of other homes are left out.

        A role other than "rows" is a table of its own.
        """
        ...

    def report_facts(self, facts: Facts) -> None:
        """Take what this block contributes to the facts of the whole graph."""
        ...
