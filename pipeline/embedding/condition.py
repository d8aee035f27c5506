"""When the columns of a subspace iteration are made orthonormal: before float32 would lose the shortest ones.

A filter of several products needs no orthonormal columns between them. What they need is to stay apart: next to a
direction ``LARGEST`` times as long, one keeps all digits but five, which is as much as counts of it anyway.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.subspace import Basis

LARGEST = 32.0
"""Of singular values over the least: 2^-24 of the longest is then 2^-19 of the shortest, noise of 16 columns."""

_MOST_RESTS = 4
_SIZES = 2.0**-16, 2.0**16  # of the longest column: none leaves float32's range in `_MOST_RESTS` rounds


@dataclass(frozen=True)
class Condition:
    """How far columns are from orthonormal ones.

    products : since they were; random columns count as orthonormal.
    growth : factor that a product takes their condition up by, at most; 0 where it isn't known, as of random columns,
        which hold mostly what products take away.
    rests : rounds that need no Gram matrix.
    """

    products: int = 0
    growth: float = 0.0
    rests: int = 0
    is_random: bool = True

    @classmethod
    def of(cls, array: NDArray[np.float64]) -> Self:
        """Read what `as_array` returned."""
        products, growth, rests, is_random = array
        return cls(int(products), float(growth), int(rests), bool(is_random))

    @property
    def as_array(self) -> NDArray[np.float64]:
        """Return the numbers as a fact."""
        return np.array([self.products, self.growth, self.rests, self.is_random], np.float64)

    def after_rest(self) -> Condition:
        """Return that after a product without a Gram matrix."""
        return Condition(self.products + 1, self.growth, self.rests - 1, self.is_random)

    def after(self, basis: Basis, rows: int) -> tuple[Condition, bool]:
        """Return that after a product with a Gram matrix, and whether columns have to be made orthonormal."""
        values, columns, products = basis.values, basis.values.size, self.products + 1
        is_in_range = basis.rank == columns > 0 and _SIZES[0] <= values[0] <= _SIZES[1]
        spread = float(values[0] / values[-1]) if is_in_range else math.inf
        growth = self.growth if self.is_random else max(spread ** (1 / products), 1.0)
        if spread > LARGEST:
            growth = growth if is_in_range else 0.0
            return Condition(0, growth, _rests(1.0, growth), is_random=False), True
        if self.is_random:
            return Condition(products, 0.0, _rests_of_random(spread, products, rows / columns)), False
        return Condition(products, growth, _rests(spread, growth), is_random=False), False


def _rests_of_random(spread: float, products: int, rows_a_column: float) -> int:
    """Return the same of columns that have been random until so many products ago.

    ``spread² - 1`` of l such columns is about ``l w^2p / Σ w^2p`` after p products, w the eigenvalues, and by the
    inequality of power means ``Σ w^2(p+k)`` is at least ``(Σ w^2p)^((p+k)/p) / rows^(k/p)``. Where the eigenvalues
    behind the columns no longer count, the spread itself grows with the power.
    """
    for rests in range(_MOST_RESTS, 0, -1):
        power = (products + rests) / products
        of_many = (spread**2 - 1) ** power * rows_a_column ** (rests / products)
        if max(math.sqrt(1 + of_many), spread**power) <= LARGEST:
            return rests
    return 0


def _rests(spread: float, growth: float) -> int:
    """Return in how many rounds from now on the condition is sure to stay below what it may be."""
    if growth == 0:
        return 0
    return min(int(math.log(LARGEST / spread) / max(math.log(growth), 1e-6)), _MOST_RESTS)
