"""Rows of the rounds, with their noise scales, and sums over their columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Vector
from pipeline.kernels.buffers import aligned_zeros
from pipeline.kernels.vector_tiles import SignRows

#: Returns the norms of rows over all columns of the embedding, where a task may hold only some; None: this task can't
#: compute them, or no later step reads them. What follows from norms is then computed by another task.
Norms = Callable[[NDArray[np.float32]], NDArray[np.float64] | None]
KnownNorms = Callable[[NDArray[np.float32]], NDArray[np.float64]]

#: What a product is of: rows, or random ones as signs, which nothing but a product reads.
Operand = NDArray[np.float32] | SignRows

#: The role of rows of which a user's row is the weighted sum.
FOLD_IN = "fold_in"

#: The role of rows that a later night starts from.
SUBSPACE = "subspace"


@dataclass(frozen=True)
class Rows:
    """Dense rows, or columns of them, and their noise scales.

    The noise scale of a row is the sum of |entry| times the norm of what it multiplied. A row whose norm is at most
    2**-18 of it is rounding noise and counts as zero. The noise scale is 0 where no step reads it.
    """

    values: NDArray[np.float32]  # (n, width)
    noise_scale: NDArray[np.float64]  # (n,)
    norms: NDArray[np.float64] | None = None  # (n,), where the product that made the rows computed them

    @classmethod
    def zeros(cls, rows: int, dim: int) -> Rows:
        """Rows of zeros."""
        return cls(aligned_zeros((rows, dim)), np.zeros(rows))

    def __getitem__(self, index: slice) -> Rows:
        """Return a view of a run of rows."""
        return Rows(self.values[index], self.noise_scale[index])


@dataclass(frozen=True)
class RowNodes:
    """The nodes that rows are of, in the order of the rows."""

    node_ix: NDArray[np.int64]  # (n,) ascending
    strength: NDArray[np.float64]  # (n,)


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
