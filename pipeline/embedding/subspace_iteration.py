"""Spectral embeddings in rounds: subspace iteration, each round one product and one small sum over all rows.

Round r multiplies Z_r by the graph's operator A: Y_r = A Z_r. The sums Y^T Y over the rows at home in each part go
to the driver, whose answer makes Y orthonormal when it is next read, if it has to be: see condition.py. Those of the
last round always are; it asks for Z^T A Z instead (Rayleigh-Ritz) and sends nothing on. See Halko, Martinsson & Tropp,
SIAM Review 53 (2011). With ``accelerate`` the products take momentum, which homes carry: see momentum.py.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.condition import Condition
from pipeline.embedding.fact_files import Facts
from pipeline.embedding.method import Method
from pipeline.embedding.momentum import add_momentum, next_momentum
from pipeline.embedding.products import Multiplier
from pipeline.embedding.rows import Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.random_projection import normal_projection
from pipeline.kernels.subspace import Basis, combine_columns, cross_sums, eigenpairs, gram, orthonormal_columns

#: Values at or below this share of the largest are rounding of the rows that hold them. Rounding to
#: float32 adds up over the columns at worst; that to float16 and int8 is far larger, but nearly independent.
_NOISE_A_COLUMN = 2.0**-23
_FEW = 16  # columns: of fewer, the roundings of one entry are what counts
_NOISE_OF_DTYPE = {"float32": 0.0, "float16": 2.0**-13, "int8": 2.0**-9}
_SHOWN = 32  # eigenvalues that the report names


class SubspaceIteration(Method):
    """Subspace iteration; what A is belongs to the forms."""

    def rounds(self, settings: Settings) -> int:
        """Return the products of the iteration and one for Rayleigh-Ritz; the rows of an earlier night take one."""
        return (1 if settings.earlier else settings.embedding.iterations) + 1

    def width(self, number: int, settings: Settings) -> int:
        """Return rank + oversampling columns, but no more than there are exchanged rows."""
        first, stop = settings.graph.target
        return max(1, min(settings.embedding.rank + settings.embedding.oversampling, stop - first))

    def is_one_way(self, number: int, settings: Settings) -> bool:
        """Return whether this is the last round."""
        return number == self.rounds(settings) - 1

    def exchanged_range(self, block: Block, settings: Settings) -> tuple[int, int]:
        """Return the rows of the nodes that A joins: items, or all."""
        return block.rows_between(*settings.graph.target)

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        """Hashed random rows; normal, since of a few sparse ones some are zero, and some graphs have few nodes."""
        first, stop = self.exchanged_range(block, settings)
        return normal_projection(block.node_key[first:stop], self.width(0, settings), settings.embedding.seed)

    def carry_width(self, settings: Settings) -> int:
        """Return the columns of the last two rounds' rows, where products take momentum."""
        return 2 * self.width(0, settings) if settings.embedding.accelerate else 0

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return the random rows, and nothing before them."""
        carried_rows = Rows.zeros(local.size, self.carry_width(settings))
        if settings.embedding.accelerate:
            width = self.width(0, settings)
            carried_rows.values[:, :width] = normal_projection(block.node_key[local], width, settings.embedding.seed)
        return carried_rows

    def carry(self, carried_rows: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Take momentum into the product, but into the last one, which Rayleigh-Ritz and its figures are of."""
        if not settings.embedding.accelerate:
            return super().carry(carried_rows, rows, number, settings)
        before = add_momentum(rows, carried_rows, {} if self.is_one_way(number + 1, settings) else settings.facts)
        self.round_entries(rows, number, settings)
        width = rows.values.shape[1]
        carried_rows.values[:, :width], carried_rows.values[:, width:] = rows.values, before
        return rows

    def multiply(
        self, multiplier: Multiplier, x: NDArray[np.float32], number: int, settings: Settings, sink: Sink
    ) -> Rows:
        """A Z, with Z the rows of the last round, made orthonormal where they have to be."""
        block, z, out = multiplier.block, x, multiplier.buffers.take(x.shape)
        if "transform" in settings.facts:
            z, out = combine_columns(x, settings.facts["transform"], out), x
        if self.is_one_way(number, settings):
            self.close(multiplier, z, out, settings, sink)
            return Rows.zeros(0, z.shape[1])
        product = self.apply(multiplier, z, out, settings)
        if settings.keeps_subspace and self.is_one_way(number + 1, settings):
            is_own = block.home[slice(*self.exchanged_range(block, settings))] == block.part_id
            sink.report_facts({"cross": cross_sums(z, product.values), "start": gram(z, is_own.astype(np.float64))})
        if z is not x:
            multiplier.buffers.give(z)
        return product

    @abstractmethod
    def apply(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings
    ) -> Rows:
        """Return the block's share of A z, in ``out``."""

    @abstractmethod
    def close(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings, sink: Sink
    ) -> None:
        """Emit the rows that will be reduced, and report the block's share of Z^T A Z; ``out`` is to work in."""

    def local_facts(self, rows: Rows, carried_rows: Rows, number: int, settings: Settings) -> Facts:
        """Return Y^T Y of some rows, if it is read."""
        return {"gram": np.zeros((0, 0)) if self._rests(number, settings) else gram(rows.values)}

    def reduce_facts(self, number: int, local: Sequence[Facts], settings: Settings) -> Facts:
        """Return how the columns of the next round follow from those of this one."""
        if self.is_one_way(number, settings):
            reduction = self._reduction(sum_of(local, "operator"), float(sum_of(local, "size")[0]), settings)
            return reduction | ({"residual": settings.facts["residual"]} if settings.keeps_subspace else {})
        if self._rests(number, settings):
            return {"condition": _condition(settings).after_rest().as_array}
        sums = sum_of(local, "gram")
        basis = orthonormal_columns(sums, noise_share(len(sums), settings))
        facts = dict(self._next_columns(basis, number, settings))
        if settings.keeps_subspace and self.is_one_way(number + 1, settings):
            facts["residual"] = np.array(
                [self._residual(sum_of(local, "start"), sum_of(local, "cross"), sums, settings)]
            )
        return facts

    def _next_columns(self, basis: Basis, number: int, settings: Settings) -> Facts:
        """Return what becomes of the columns before the next product.

        Momentum is told from columns that were orthonormal, and rows that are narrowed lose what is short in them.
        """
        facts = {"transform": basis.transform}
        if settings.embedding.accelerate:
            return facts | {"momentum": next_momentum(basis, settings.facts)}
        if self.is_one_way(number + 1, settings) or settings.embedding.boundary_dtype != "float32":
            return facts
        first, stop = settings.graph.target
        condition, is_orthonormal = _condition(settings).after(basis, stop - first)
        return {"condition": condition.as_array, **(facts if is_orthonormal else {})}

    def _rests(self, number: int, settings: Settings) -> bool:
        return not self.is_one_way(number + 1, settings) and _condition(settings).rests > 0

    def reduced_width(self, settings: Settings) -> int:
        """Return the embedding's columns."""
        return settings.dim

    def report(self, settings: Settings) -> dict[str, Any]:
        """Return the rank and the largest eigenvalues."""
        eigenvalues = settings.facts["eigenvalues"]
        return {
            "rank": int(np.count_nonzero(eigenvalues)),
            "rank_asked": settings.embedding.rank,
            "reduction": settings.embedding.reduction,
            "eigenvalues": eigenvalues[:_SHOWN].tolist(),
            **self._start_figures(settings),
        }

    def _start_figures(self, settings: Settings) -> dict[str, Any]:
        """Return how many products came before Rayleigh-Ritz's, and how far off the last of them started."""
        if not settings.keeps_subspace:
            return {}
        return {"products": self.rounds(settings) - 1, "residual": float(settings.facts["residual"][0])}

    def _residual(
        self, start: NDArray[np.float64], cross: NDArray[np.float64], sums: NDArray[np.float64], settings: Settings
    ) -> float:
        """Return how far the leading eigenpairs on the span of Z are from A's: the root of Σ ‖A v - w v‖² / Σ w².

        Of Z^T Z, Z^T Y and Y^T Y, with Y = A Z: what the last product but that of Rayleigh-Ritz started from.
        """
        to_orthonormal = orthonormal_columns(start, noise_share(len(start), settings)).transform
        cross, sums = (to_orthonormal.T @ matrix @ to_orthonormal for matrix in (cross, sums))
        values, vectors = eigenpairs(cross, by_magnitude=self.takes_both_signs(settings))
        values, vectors = (array[..., : settings.embedding.rank] for array in (values, vectors))
        off = np.einsum("ij,ik,kj->", vectors, sums, vectors) - (values**2).sum()
        return math.sqrt(max(off, 0.0) / max((values**2).sum(), np.finfo(np.float64).tiny))

    def _reduction(
        self, operator: NDArray[np.float64], size: float, settings: Settings
    ) -> dict[str, NDArray[np.float64]]:
        """Return the leading eigenpairs in the coordinates of Z; of too small eigenvalues, zero columns.

        ``size`` is the mean of what the eigenvalues are before anything was taken off: next to it, they may be noise.
        """
        rank = min(settings.embedding.rank, len(operator))
        has_both_signs = self.takes_both_signs(settings)
        share = noise_share(len(operator), settings)
        values, vectors = eigenpairs(operator, by_magnitude=has_both_signs, slack=share)
        noise = share * np.abs(values).max(initial=size)
        is_left_out = (np.abs(values) if has_both_signs else values) <= noise
        is_left_out[rank:] = True
        return {
            "eigenvalues": np.where(is_left_out, 0.0, values)[:rank],
            "vectors": np.where(is_left_out, 0.0, vectors)[:, :rank].copy(),
            "left_out": np.where(is_left_out, vectors, 0.0),
        }

    def takes_both_signs(self, settings: Settings) -> bool:
        """Return whether negative eigenvalues count by their magnitude; else they are left out."""
        return False

    def scales(self, settings: Settings) -> NDArray[np.float64]:
        """Return what the columns of eigenvectors are scaled by, of two types the items' alone: |w|^p, 0 where w is."""
        values = np.abs(settings.facts["eigenvalues"])
        return np.where(values > 0, power_or_zero(values, settings.embedding.eigenvalue_power), 0.0)


def _condition(settings: Settings) -> Condition:
    return Condition.of(settings.facts["condition"]) if "condition" in settings.facts else Condition()


def noise_share(columns: int, settings: Settings) -> float:
    """Return the share of the largest singular value up to which others are rounding of so many columns."""
    return max(max(columns, _FEW) * _NOISE_A_COLUMN, _NOISE_OF_DTYPE[settings.embedding.boundary_dtype])


def sum_of(local: Sequence[Facts], name: str) -> NDArray[np.float64]:
    """Add up a fact of the tasks that report it, in their order."""
    first, *further = (facts[name] for facts in local if name in facts)
    total = first + 0.0  # no zero is negative
    for value in further:
        total = total + value
    return total
