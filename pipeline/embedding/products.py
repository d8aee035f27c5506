"""Products of rows with a block's edges, and the noise scales of the results: the steps that methods share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.rows import FOLD_IN, Norms, Operand, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.kernels.buffers import Buffers
from pipeline.kernels.csr import Csr
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.power_sums import RowSums, multiply_and_sum
from pipeline.kernels.rows import bfloat16_rows, row_norms, scale_rows, unit_or_zero_scales
from pipeline.kernels.spmm import spmm
from pipeline.kernels.vector_tiles import SignRows


@dataclass(frozen=True, eq=False)
class PowerSum:
    """A sum over the rounds, which complete rows are added to as they are made."""

    rows: Rows
    weight: float  # of this round's
    is_normalized: bool  # whether rows are divided by their norms first
    is_first: bool  # whether the sum is 0 so far
    is_last: bool  # whether no round reads these rows


@dataclass(frozen=True, eq=False)
class Multiplier:
    """Multiplies rows by the edges of a block."""

    block: Block
    norms: Norms  # called once for each matrix that is multiplied; where it returns None, noise scales are 0
    row_scales: NDArray[np.float64] | None = None  # of the exchanged rows, where a product has all of their edges
    buffers: Buffers = field(default_factory=Buffers)
    reads_halves: bool = False  # whether x is rounded to bfloat16 first
    power_sum: PowerSum | None = None

    def multiply(
        self,
        x: Operand,
        out: NDArray[np.float32],
        start: int,
        first_col: int,
        scale: NDArray[np.float64] | None,
    ) -> Rows:
        """Multiply the adjacency by x, which begins at local row ``first_col``; ``out`` are the rows from start on."""
        # A round that reads noise scales starts from rows: those of signs have no norms.
        lengths = None if isinstance(x, SignRows) else self.norms(x)
        rows, operand = Rows(out, np.zeros(len(out))), self._operand(x)
        spmm(
            self._matrix,
            operand,
            out,
            start=start,
            stop=start + len(out),
            first_col=first_col,
            scale=scale,
            noise_scale=lengths,
            out_noise_scale=None if lengths is None else rows.noise_scale,
        )
        self._give_back(operand, x)
        return rows

    def add_power(self, x: Operand, power_sum: PowerSum) -> Rows:
        """Multiply the adjacency by x and add the rows to a sum; return them as the next round reads them, or the sum.

        One sweep does all of it. Rows that only a product of bfloat16 reads are bfloat16; those of the last round are
        not kept.
        """
        lengths = None if isinstance(x, SignRows) else self.norms(x)
        (n, dim), is_last, total = x.shape, power_sum.is_last, power_sum.rows
        out = None if is_last or self.reads_halves else self.buffers.take((n, dim))
        halves = self.buffers.take((n if self.reads_halves and not is_last else 0, dim), np.uint16)
        sums = RowSums(
            np.empty(n),
            halves,
            total.values[: n if power_sum.weight else 0],
            total.noise_scale,
            power_sum.weight,
            power_sum.is_normalized,
            power_sum.is_first,
        )
        operand = self._operand(x)
        scale = np.ones(n) if self.row_scales is None else self.row_scales
        multiply_and_sum(self._matrix, operand, out, scale=scale, lengths=lengths, sums=sums)
        self._give_back(operand, x)
        return total if is_last else Rows(halves if out is None else out, np.zeros(n), sums.norms)

    @property
    def _matrix(self) -> Csr:
        return Csr(self.block.indptr, self.block.neighbor, self.block.edge_weight)

    def _give_back(self, operand: NDArray[Any] | SignRows, x: Operand) -> None:
        if operand is not x and not isinstance(operand, SignRows):
            self.buffers.give(operand)

    def _operand(self, x: Operand) -> NDArray[Any] | SignRows:
        """Return x as products read it."""
        if not self.reads_halves:
            return x
        if isinstance(x, SignRows):  # a row's entries are alike: so are they when rounded
            bits = np.empty((len(x.value), 1), np.uint16)
            bfloat16_rows(x.value[:, None], bits)
            return x._replace(value=(bits[:, 0].astype(np.uint32) << 16).view(np.float32))
        if x.dtype == np.uint16:
            return x
        halves = self.buffers.take(x.shape, np.uint16)
        bfloat16_rows(x, halves)
        return halves


@dataclass(frozen=True, eq=False)
class TwoSides:
    """The users' and the items' local rows of a block, and the factors of M = D_U^-a B D_I^-b."""

    users: tuple[int, int]
    items: tuple[int, int]
    to_user: NDArray[np.float64]  # D_U^-a
    to_item: NDArray[np.float64]  # D_I^-b

    @classmethod
    def of(cls, block: Block, settings: Settings) -> TwoSides:
        """Find them in a block."""
        users, items = block.rows_between(*settings.graph.source), block.rows_between(*settings.graph.target)
        return cls(
            users,
            items,
            power_or_zero(block.strength[slice(*users)], -settings.embedding.user_degree_power),
            power_or_zero(block.strength[slice(*items)], -settings.embedding.item_degree_power),
        )

    def users_of(self, multiplier: Multiplier, x: Operand, scale: NDArray[np.float64] | None = None) -> Rows:
        """D_U^-a B x, or with another scale: of items' rows that have been scaled by D_I^-b, M times these."""
        first, stop = self.users
        out = multiplier.buffers.take((stop - first, x.shape[1]))
        return multiplier.multiply(x, out, first, self.items[0], self.to_user if scale is None else scale)

    def items_of(
        self,
        multiplier: Multiplier,
        users: Rows,
        out: NDArray[np.float32],
        scale: NDArray[np.float64] | None,
    ) -> Rows:
        """B^T D_U^-a times the users' rows, which nobody may read any more, into ``out``; then scaled."""
        scale_both(users, self.to_user)
        items = multiplier.multiply(users.values, out, self.items[0], self.users[0], scale)
        multiplier.buffers.give(users.values)
        return items


def step_of_items(multiplier: Multiplier, x: Operand, settings: Settings, sink: Sink | None = None) -> Rows:
    """One step of P from items to items, less their last scaling where rows aren't complete: B^T D_U^-2a B D_I^-b x.

    The product takes the place of x. A sink gets the users' rows M x, and the rows that these are weighted sums of.
    """
    sides = TwoSides.of(multiplier.block, settings)
    x = scale_operand(x, sides.to_item)
    out = multiplier.buffers.take(x.shape) if isinstance(x, SignRows) else x
    if sink is not None:
        sink.emit(sides.items[0], Rows(out, np.zeros(len(out))), FOLD_IN)
    users = sides.users_of(multiplier, x)
    if sink is not None:
        sink.emit(sides.users[0], users)
    return sides.items_of(multiplier, users, out, multiplier.row_scales)


def step_of_nodes(multiplier: Multiplier, x: Operand) -> Rows:
    """A x of all rows, of the entries stored here; complete rows are scaled, and added to where there is a sum."""
    if multiplier.power_sum is not None:
        return multiplier.add_power(x, multiplier.power_sum)
    return multiplier.multiply(x, multiplier.buffers.take(x.shape), 0, 0, multiplier.row_scales)


def scale_operand(x: Operand, scale: NDArray[np.float64]) -> Operand:
    """Return rows times a factor each, in place where they are no signs."""
    return x.scale_by(scale) if isinstance(x, SignRows) else scale_rows(x, scale, out=x)


def scale_both(rows: Rows, scale: NDArray[np.float64]) -> None:
    """Scale rows and their noise scales in place."""
    scale_rows(rows.values, scale, out=rows.values)
    np.multiply(rows.noise_scale, scale, out=rows.noise_scale)


def set_norms(rows: Rows, norms: NDArray[np.float64]) -> None:
    """Give rows norms in place; those of mere rounding noise become zero."""
    scale = unit_or_zero_scales(row_norms(rows.values), rows.noise_scale)
    scale_rows(rows.values, scale * norms, out=rows.values)
