"""Products of rows with a block's edges, and the noise scales of the results: the steps that methods share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.rows import FOLD_IN, Norms, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.rows import row_norms, scale_rows, unit_or_zero_scales
from pipeline.kernels.spmm import spmm


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

    def users_of(self, block: Block, x: NDArray[np.float32], norms: Norms) -> Rows:
        """D_U^-a B x: of items' rows that have been scaled by D_I^-b, M times these."""
        first, stop = self.users
        users = Rows(aligned_empty((stop - first, x.shape[1])), np.zeros(stop - first))
        multiply_rows(block, x, users, first, stop, self.items[0], norms)
        scale_both(users, self.to_user)
        return users

    def items_of(self, block: Block, users: Rows, out: NDArray[np.float32], norms: Norms) -> Rows:
        """B^T D_U^-a times the users' rows, which are scaled on the way, into ``out``; less the items' own scaling."""
        first, stop = self.items
        scale_both(users, self.to_user)
        items = Rows(out, np.zeros(stop - first))
        multiply_rows(block, users.values, items, first, stop, self.users[0], norms)
        return items


def step_of_items(
    block: Block, x: NDArray[np.float32], settings: Settings, norms: Norms, sink: Sink | None = None
) -> Rows:
    """One step of P from items to items, less their last scaling: B^T D_U^-2a B D_I^-b x.

    Overwrites x. A sink gets the users' rows M x, and the rows that these are weighted sums of.
    """
    sides = TwoSides.of(block, settings)
    scale_rows(x, sides.to_item, out=x)
    if sink is not None:
        sink.emit(sides.items[0], Rows(x, np.zeros(len(x))), FOLD_IN)
    users = sides.users_of(block, x, norms)
    if sink is not None:
        sink.emit(sides.users[0], users)
    return sides.items_of(block, users, x, norms)


def step_of_nodes(block: Block, x: NDArray[np.float32], norms: Norms) -> Rows:
    """A x of all rows, of the entries stored here."""
    product = Rows(aligned_empty(x.shape), np.zeros(len(x)))
    multiply_rows(block, x, product, 0, len(x), 0, norms)
    return product


def multiply_rows(
    block: Block, x: NDArray[np.float32], out: Rows, start: int, stop: int, first_col: int, norms: Norms
) -> None:
    """Multiply rows start to stop of the adjacency by x, with noise scales; x begins at local row ``first_col``."""
    lengths = norms(x)
    spmm(
        Csr(block.indptr, block.neighbor, block.edge_weight),
        x,
        out.values,
        start=start,
        stop=stop,
        first_col=first_col,
        noise_scale=lengths,
        out_noise_scale=None if lengths is None else out.noise_scale,
    )


def scale_both(rows: Rows, scale: NDArray[np.float64]) -> None:
    """Scale rows and their noise scales in place."""
    scale_rows(rows.values, scale, out=rows.values)
    np.multiply(rows.noise_scale, scale, out=rows.noise_scale)


def set_norms(rows: Rows, norms: NDArray[np.float64]) -> None:
    """Give rows norms in place; those of mere rounding noise become zero."""
    scale = unit_or_zero_scales(row_norms(rows.values), rows.noise_scale)
    scale_rows(rows.values, scale * norms, out=rows.values)
