"""FastRP: random rows carried over the graph's edges a few times, then scaled.

Chen, Sultan, Tian, Chen & Skiena, "Fast and accurate network embeddings via very sparse random projection",
CIKM 2019 (arXiv 1908.11512), for the classic form. The two-tower form puts random rows on one side only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks import Block
from pipeline.embedding.rows import ColumnSums, KnownNorms, Norms, Rows, Settings
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.random_projection import normal_projection, very_sparse_projection
from pipeline.kernels.rows import row_norms, scale_rows, unit_or_zero_scales
from pipeline.kernels.spmm import spmm

_STANDARDIZED_AT_ONCE = 8_192  # rows, in float64


@dataclass(frozen=True)
class TwoTower:
    """Users u = M P^p Ω, items i = l2(P^(p+1) Ω) d^q, with M = D_U^-a B D_I^-b and P = M^T M.

    B is users x items (source x target), Ω random rows for items, D weighted degrees, p = ``powers``. Round r
    holds Z_r = P^r Ω: the product goes to the users and back, so that users never travel.
    """

    keeps_total: bool = False

    def rounds(self, settings: Settings) -> int:
        """Return p + 1: the users' rows come out of the last product, half-way."""
        return settings.embedding.powers + 1

    def is_measured(self, number: int, settings: Settings) -> bool:
        """Return whether this is the last round: only its rows are held against their magnitudes."""
        return number == self.rounds(settings) - 1

    def travelling(self, block: Block, settings: Settings) -> tuple[int, int]:
        """Return the items' rows."""
        return block.rows_between(*settings.target)

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        """Ω of the items."""
        first, stop = self.travelling(block, settings)
        return _random_rows(block.node_key[first:stop], None, settings)

    def multiply(
        self,
        block: Block,
        x: NDArray[np.float32],
        number: int,
        settings: Settings,
        norms: Norms,
        emit: Callable[[int, Rows], None],
    ) -> Rows:
        """One step of P, less the items' own last scaling: B^T D_U^-2a B D_I^-b x."""
        item, stop_item = self.travelling(block, settings)
        user, stop_user = block.rows_between(*settings.source)
        to_user = power_or_zero(block.strength[user:stop_user], -settings.embedding.user_degree_power)
        to_item = power_or_zero(block.strength[item:stop_item], -settings.embedding.item_degree_power)

        scale_rows(x, to_item, out=x)
        users = Rows(aligned_empty((stop_user - user, settings.width)), np.zeros(stop_user - user))
        _multiply(block, x, users, user, stop_user, item, norms)
        _scale(users, to_user)
        if number == self.rounds(settings) - 1:
            emit(user, users)
        _scale(users, to_user)
        items = Rows(x, np.zeros(stop_item - item))
        _multiply(block, users.values, items, item, stop_item, user, norms)
        return items

    def settle(self, rows: Rows, strength: NDArray[np.float64], settings: Settings) -> None:
        """Scale items by D_I^-b: they are rows of P^(number + 1) Ω now."""
        _scale(rows, power_or_zero(strength, -settings.embedding.item_degree_power))

    def weigh(
        self, rows: Rows, number: int, settings: Settings, norms: KnownNorms
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return zeros: no sum over the rounds is kept."""
        return np.zeros(len(rows.values)), np.zeros(len(rows.values))

    def finish(
        self,
        rows: Rows,
        node_ix: NDArray[np.int64],
        strength: NDArray[np.float64],
        sums: ColumnSums | None,
        settings: Settings,
    ) -> None:
        """Give items the norm d^q; users keep theirs, since a factor a user does not move its ranking."""
        first, stop = np.searchsorted(node_ix, settings.target)
        items = Rows(rows.values[first:stop], rows.magnitude[first:stop])
        _set_norms(items, power_or_zero(strength[first:stop], settings.embedding.item_norm_power))


@dataclass(frozen=True)
class Classic:
    """N = Σ w_r f(X_r), X_r = A' X_(r-1), X_0 = D^β Ω, with A' = D^-1 A or D^-1/2 A D^-1/2, f = l2 or identity."""

    keeps_total: bool = True

    def rounds(self, settings: Settings) -> int:
        """Return the number of weights, trailing zeros left out: what nobody adds needs no product."""
        weights = settings.embedding.iteration_weights
        return max(number for number, weight in enumerate(weights, start=1) if weight)

    def is_measured(self, number: int, settings: Settings) -> bool:
        """Return whether this round's rows are added to the sum."""
        return settings.embedding.iteration_weights[number] != 0

    def travelling(self, block: Block, settings: Settings) -> tuple[int, int]:
        """Return all rows."""
        return 0, block.node_ix.size

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        """X_0 = D^β Ω."""
        power = settings.embedding.degree_power
        return _random_rows(block.node_key, power_or_zero(block.strength, power) if power else None, settings)

    def multiply(
        self,
        block: Block,
        x: NDArray[np.float32],
        number: int,
        settings: Settings,
        norms: Norms,
        emit: Callable[[int, Rows], None],
    ) -> Rows:
        """A x or, for the symmetric transition, A D^-1/2 x."""
        if settings.embedding.transition == "symmetric":
            scale_rows(x, power_or_zero(block.strength, -0.5), out=x)
        product = Rows(aligned_empty(x.shape), np.zeros(len(x)))
        _multiply(block, x, product, 0, len(x), 0, norms)
        return product

    def settle(self, rows: Rows, strength: NDArray[np.float64], settings: Settings) -> None:
        """Scale to X_(number + 1)."""
        _scale(rows, power_or_zero(strength, -1.0 if settings.embedding.transition == "random_walk" else -0.5))

    def weigh(
        self, rows: Rows, number: int, settings: Settings, norms: KnownNorms
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return w / ‖x‖ or, without f, w; what is added is as long as that times the row or its magnitude."""
        weight = settings.embedding.iteration_weights[number]
        if not settings.embedding.normalize_powers:
            return np.full(len(rows.values), weight), abs(weight) * rows.magnitude
        scale = unit_or_zero_scales(norms(rows.values), rows.magnitude)
        return weight * scale, np.where(scale > 0, abs(weight), 0.0)

    def finish(
        self,
        rows: Rows,
        node_ix: NDArray[np.int64],
        strength: NDArray[np.float64],
        sums: ColumnSums | None,
        settings: Settings,
    ) -> None:
        """Standardise columns, set norms: as asked, in this order."""
        embedding = settings.embedding
        if embedding.standardize_columns and sums is not None and sums.count:
            mean = sums.sums / sums.count
            # A constant column keeps its scale: nothing tells its noise from a signal.
            deviation = np.sqrt(np.maximum(sums.squares / sums.count - mean * mean, 0.0))
            deviation[deviation == 0.0] = 1.0
            has_edges = strength > 0
            _standardize(rows.values, has_edges, mean, deviation)
            # The yardstick of a standardised row is the row itself: its mean was taken off on purpose.
            rows.magnitude[:] = row_norms(rows.values)
        if embedding.norm_degree_power:
            _set_norms(rows, power_or_zero(strength, embedding.norm_degree_power))
        elif embedding.normalize_rows:
            _set_norms(rows, np.ones(len(strength)))


def _random_rows(
    node_key: NDArray[np.uint64], scale: NDArray[np.float64] | None, settings: Settings
) -> NDArray[np.float32]:
    embedding = settings.embedding
    width, first_col = settings.width, settings.first_column
    if embedding.projection == "normal":
        return normal_projection(node_key, width, embedding.seed, scale=scale, first_col=first_col)
    # sqrt is exact to the last bit on every CPU, so every part draws the same rows.
    sparsity = math.sqrt(settings.nodes) if isinstance(embedding.sparsity, str) else embedding.sparsity
    return very_sparse_projection(node_key, width, sparsity, embedding.seed, scale=scale, first_col=first_col)


def _multiply(
    block: Block, x: NDArray[np.float32], out: Rows, start: int, stop: int, first_col: int, norms: Norms
) -> None:
    lengths = norms(x)
    spmm(
        block.indptr,
        block.neighbor,
        block.edge_weight,
        x,
        out.values,
        start=start,
        stop=stop,
        first_col=first_col,
        magnitudes=lengths,
        out_magnitudes=None if lengths is None else out.magnitude,
    )


def _scale(rows: Rows, scale: NDArray[np.float64]) -> None:
    scale_rows(rows.values, scale, out=rows.values)
    np.multiply(rows.magnitude, scale, out=rows.magnitude)


def _set_norms(rows: Rows, norms: NDArray[np.float64]) -> None:
    scale = unit_or_zero_scales(row_norms(rows.values), rows.magnitude)
    scale_rows(rows.values, scale * norms, out=rows.values)


def _standardize(
    values: NDArray[np.float32],
    is_counted: NDArray[np.bool_],
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
) -> None:
    for first in range(0, len(values), _STANDARDIZED_AT_ONCE):
        some = values[first : first + _STANDARDIZED_AT_ONCE]
        counted = is_counted[first : first + _STANDARDIZED_AT_ONCE]
        some[counted] = (some[counted] - mean) / deviation  # in float64, rounded once
