"""The iteration of block Chebyshev: buffers of a call, and the passes that bring a block of sources within a bound.

Rows are float32 or bfloat16 (`FLOATS`, `HALVES`); a residual proves either. See `ppr_chebyshev`.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import read_only
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.ppr_chebyshev_bounds import (
    BLOCK,
    bound_of_floats,
    bound_of_halves,
    chebyshev_passes,
    rate_of,
    smallest_tolerance,
)
from pipeline.kernels.ppr_passes import (
    Begun,
    FirstMoves,
    HalfBegun,
    HalfSideRows,
    NodeScales,
    SeedTerms,
    Side,
    SideRows,
    chebyshev_pass,
    fill_main,
    mark_main,
    mark_near,
    rank_side,
    recover_side,
    spread_seeds,
)
from pipeline.kernels.ppr_top_k import CandidateNodes, Shortlists, offer_rows
from pipeline.kernels.residual_tiles import Coefficients, HalfIterate, HalfSummands, Iterate, Summands
from pipeline.kernels.rows import bfloat16_rows
from pipeline.kernels.threads import share_ranges, share_rows
from pipeline.kernels.transition import RestartSets, Transition

_ROWS_OF_SUM = 8_192
"""Rows whose residuals are added up by themselves, whatever the threads."""

_SLOW = 0.9
_LOOSE = 1e-2
"""At tolerances of `_LOOSE` and above, squared eigenvalues of P (on one side) or eigenvalues of P above `_SLOW` are
left out of the interval that the polynomial is made for: but for the stationary one, which the start takes care of,
they carry little at first, and the others converge faster. The certificate does not depend on the interval."""

_EXPECTED_RATE = 1.25
"""Columns have converged by this much less than the spectrum's width says, late in a run."""

_NEAR_SHARE = 1 / 32
"""Of all entries, those that a source's second step may touch: for one column a pass costs as much as about so many."""

_CLOSING = 10.0
"""At tolerances of so many times the smallest one, a column's last pass moves it by the residual that it certifies."""


@dataclass(frozen=True)
class SolvedRows:
    """The rows solved for, and the ends of the operator's spectrum."""

    side: Side
    low: float
    high: float


@dataclass(frozen=True)
class RowTypes:
    """What iterations in float32 and in bfloat16 differ in.

    dtype : of the rows, those of bfloat16 being its bits. The tuples tell kernels how rows are read and rounded.
    """

    dtype: type[np.float32 | np.uint16]
    summands: Any
    iterate: Any
    side_rows: Any
    beginning: Any


FLOATS = RowTypes(np.float32, Summands, Iterate, SideRows, Begun)
HALVES = RowTypes(np.uint16, HalfSummands, HalfIterate, HalfSideRows, HalfBegun)


class BlockSolver:
    """Buffers of one call, and the passes over them."""

    def __init__(
        self,
        graph: Transition,
        plan: SolvedRows,
        restart: float,
        sources: int,
        *,
        types: RowTypes = FLOATS,
        takes_largest: bool = False,
    ) -> None:
        self._graph, self._plan, self._side, self._restart = graph, plan, plan.side, restart
        self._types, self._is_half, self._takes_largest = types, types is HALVES, takes_largest
        side = plan.side
        self.width = next(width for width in (16, 32, 64, BLOCK) if width >= min(sources, BLOCK))
        # A node without edges: its restart term is its whole share, which no pass changes.
        self._degree = np.where(graph.degree > 0, graph.degree, 1.0)
        self._factor = np.where(graph.degree > 0, (1 - restart) / self._degree, 0.0).astype(np.float32)
        self._is_main = np.zeros(graph.n, np.bool_)
        self._volume = mark_main(graph.indptr, graph.indices, graph.degree, self._is_main, side.start, side.stop)
        follow = 1 - restart
        self._narrow = 1 - (follow * follow if side.is_bipartite else follow) * _SLOW
        self._first_of_x = side.start
        if side.is_bipartite:
            self._first_of_x = side.stop if side.start == 0 else 0
        self._z = aligned_empty((graph.n, self.width), types.dtype)
        # One side only reads the other, so its rows can be moved in place.
        self._next = self._z[side.start : side.stop]
        if not side.is_bipartite:
            self._next = aligned_empty(self._z.shape, types.dtype)
        self._step = aligned_empty((side.stop - side.start, self.width), types.dtype)

    def scores(self, sources: RestartSets, tolerance: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """z of all nodes in float32, one column a source, and the bounds; the next call overwrites z."""
        seeds = self._seeds(sources)
        current, bound = self._solve(sources, seeds, tolerance)
        if not self._side.is_bipartite:
            return current, bound
        self._recover(current, seeds)
        return self._z, bound

    def rank(
        self, sources: RestartSets, tolerance: float, candidates: CandidateNodes, lists: Shortlists
    ) -> NDArray[np.float64]:
        """Offer the scores of candidates to lists; return the bounds.

        Rows in bfloat16 are taken one step further, in float32, which makes no error larger.
        """
        seeds, side, graph = self._seeds(sources), self._side, self._graph
        current, bound = self._solve(sources, seeds, tolerance)
        for start, stop in itertools.pairwise(sorted({0, side.start, side.stop, graph.n})):
            piece = candidates._replace(start=max(start, candidates.start), stop=min(stop, candidates.stop))
            if piece.start >= piece.stop:
                continue
            rows, first, is_inner = current, side.start, start == side.start
            if is_inner and not self._is_half:
                offer_rows(rows, first, piece, lists)
                continue
            if is_inner and side.is_bipartite:
                rows, first = self._recover(current, seeds), self._first_of_x
            of_some = seeds.between(piece.start, piece.stop)
            rank_side(graph.csr, self._summands(rows, first), of_some, self._factor, piece, lists)
        return bound

    def _solve(
        self, sources: RestartSets, seeds: SeedTerms, tolerance: float
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """z of the rows solved for, one column a source, and the bounds; the next call overwrites z.

        A column moves by Chebyshev's polynomial until its next bound is expected to do, and then closes: its residual
        is measured once more, which certifies it. Unless the tolerance is very small, the same pass moves it by that
        residual, so that the error becomes P's (or P^2's) image of what it was: smaller by the chance of following,
        at least, and by far more where it is concentrated near the seeds.
        """
        plan, side, count = self._plan, self._side, len(sources)
        width = self.width
        is_main, level = self._levels(sources, width)
        low = np.where(is_main & (tolerance >= _LOOSE), self._narrow, plan.low)
        theta, delta = (plan.high + low) / 2, (plan.high - low) / 2
        # Where a column will probably stand after a move; a wrong guess costs a pass, and never the bound.
        shrink = _EXPECTED_RATE * rate_of(plan.low, plan.high)
        moves_last = self._is_half or self._takes_largest or tolerance >= _CLOSING * smallest_tolerance(self._restart)
        closing_rate = 1 - plan.low if moves_last else 1.0
        inner = seeds.between(side.start, side.stop)
        weights = np.ones_like(self._degree) if self._takes_largest else self._degree
        scales = read_only(NodeScales(self._factor, weights))
        self._begin(sources, seeds, 1 / theta, level)
        current, ahead = self._z[side.start : side.stop], self._next
        rho = delta / theta
        is_new = np.zeros(width, np.bool_)  # the polynomial begins again, where a closing move came too soon
        bound, residual = np.zeros(width), np.empty(width)
        is_moving, is_done = np.arange(width) < count, np.arange(width) >= count
        most = self._most_passes(tolerance)
        for number in range(most + 1):
            if number == most:
                is_moving[:] = False  # float32 has stalled: certify what there is
            is_closing = ~is_moving & ~is_done
            keep, pull, rho = _recurrence(theta, delta, rho, is_moving, is_new)
            is_new &= ~is_moving
            if moves_last:
                keep[is_closing], pull[is_closing] = 0.0, 1.0
            move = is_moving | (is_closing & moves_last)
            x = self._recover(current, seeds) if side.is_bipartite else current
            coefficients = _coefficients(keep, pull, move)
            self._pass(x, current, ahead, residual, inner, scales, coefficients)
            current, ahead = ahead, current
            open_bound = self._bound(residual, 1.0)
            closing_bound = self._bound(residual, closing_rate) if moves_last else open_bound
            is_right = is_closing & ((closing_bound <= tolerance) | (number == most))
            bound[is_right] = closing_bound[is_right]
            is_done |= is_right
            if is_done.all():
                break
            # One that closed too soon closes again where that is sure to do, or else begins a new polynomial.
            is_late = is_closing & ~is_right & (closing_rate * closing_bound > tolerance)
            is_new |= is_late & moves_last
            is_moving = np.where(is_moving, closing_rate * shrink * open_bound > tolerance, is_late)
        return current, bound[:count]

    def _bound(self, residual: NDArray[np.float64], closing_rate: float) -> NDArray[np.float64]:
        """The l1 error of columns with a residual, or after they have been moved by it."""
        if self._takes_largest:  # rounding apart
            return closing_rate * residual / self._plan.low
        if self._is_half:
            return bound_of_halves(residual, self._restart, closing_rate, is_bipartite=self._side.is_bipartite)
        return bound_of_floats(residual, self._restart, closing_rate)

    def _most_passes(self, tolerance: float) -> int:
        if self._is_half:  # float32 solves what takes longer
            return 4 + 2 * int(chebyshev_passes(self._restart, tolerance, is_bipartite=self._side.is_bipartite))
        # 2**-40: a column that starts on the lightest of very uneven edges may need that much more.
        return 20 + 2 * int(chebyshev_passes(self._restart, tolerance * 2.0**-40, is_bipartite=self._side.is_bipartite))

    def _seeds(self, sources: RestartSets) -> SeedTerms:
        rows = sources.nodes
        cols = np.repeat(np.arange(len(sources)), np.diff(sources.indptr))
        share = np.where(self._graph.degree[rows] > 0, self._restart, 1.0) * sources.shares
        order = np.argsort(rows, kind="stable")
        return read_only(SeedTerms(rows[order], cols[order], (share / self._degree[rows]).astype(np.float32)[order]))

    def _levels(self, sources: RestartSets, width: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Which columns restart in the main component only, and the z that their walks forget their seeds at."""
        side = self._side
        is_main, level = np.zeros(width, np.bool_), np.zeros(width)
        if self._volume == 0 or len(sources) == 0:
            return is_main, level
        inside = self._is_main[sources.nodes]
        is_main[: len(sources)] = np.logical_and.reduceat(inside, sources.indptr[:-1])
        share = sources.shares
        if side.is_bipartite:
            is_inner = (sources.nodes >= side.start) & (sources.nodes < side.stop)
            share = np.where(is_inner, share, (1 - self._restart) * share) / (2 - self._restart)
        mass = np.add.reduceat(share, sources.indptr[:-1])
        level[: len(sources)] = np.where(is_main[: len(sources)], mass / self._volume, 0.0)
        return is_main, level

    def _begin(
        self, sources: RestartSets, seeds: SeedTerms, pull: NDArray[np.float64], level: NDArray[np.float64]
    ) -> None:
        """The first moves, from z = level in the main component: the products of a constant are known, and restart
        terms touch nothing but what is near the seeds.

        Where that is little, there are two: by the residual as it is, which takes the error away where the operator
        is near 0, and the first one of the polynomial.
        """
        graph, plan, side = self._graph, self._plan, self._side
        is_near = np.zeros(pull.size, np.bool_)
        is_near[: len(sources)] = self.is_near(sources)
        residual = -level * plan.low
        level = np.where(is_near, level + residual, level)
        residual = np.where(is_near, (1 - plan.low) * residual, residual)
        first = residual * pull
        z, step, is_main = self._z[side.start : side.stop], self._step, self._is_main[side.start : side.stop]
        moves = read_only(FirstMoves((level + first).astype(np.float32), first.astype(np.float32), pull, is_near))
        for values, rows in ((moves.z, z), (moves.step, step)):
            line: NDArray[Any] = values
            if self._is_half:
                line = np.empty(values.size, np.uint16)
                bfloat16_rows(values[None], line[None])
            fill_main(is_main, line.view(np.uint64), rows.view(np.uint64))
        order = np.argsort(seeds.cols, kind="stable")
        by_column = read_only(SeedTerms(seeds.rows[order], seeds.cols[order], seeds.values[order]))
        beginning = self._types.beginning(z, step)
        spread_seeds(graph.csr, side, by_column, self._factor, is_main, moves, beginning)

    def is_near(self, sources: RestartSets) -> NDArray[np.bool_]:
        """Which sources make two moves before the first pass."""
        graph, most = self._graph, int(_NEAR_SHARE * self._graph.indices.size)
        is_near = np.zeros(len(sources), np.bool_)
        if len(sources):
            mark_near(graph.indptr, graph.indices, self._side, sources.indptr, sources.nodes, most, is_near)
        return is_near

    def _summands(self, rows: NDArray[Any], first: int) -> Any:
        return read_only(self._types.summands(rows, first))

    def _pass(
        self,
        x: NDArray[Any],
        current: NDArray[Any],
        ahead: NDArray[Any],
        residual: NDArray[np.float64],
        seeds: SeedTerms,
        scales: NodeScales,
        coefficients: Coefficients,
    ) -> None:
        """A pass over the rows solved for; ranges of rows have residuals of their own, which are joined in order."""
        side, summands = self._side, self._summands(x, self._first_of_x)
        bounds = [*range(side.start, side.stop, _ROWS_OF_SUM), side.stop]
        residuals = np.zeros((len(bounds), residual.size))

        def move(first: int, stop: int) -> None:
            local = slice(first - side.start, stop - side.start)
            iterate = self._types.iterate(
                summands, current[local], ahead[local], self._step[local], residuals[local.start // _ROWS_OF_SUM]
            )
            of_some = seeds.between(first, stop)
            chebyshev_pass(self._graph.csr, iterate, first, of_some, scales, coefficients, self._takes_largest)

        share_ranges(bounds, move)
        residual[:] = residuals.max(axis=0) if self._takes_largest else residuals.sum(axis=0)

    def _recover(self, current: NDArray[Any], seeds: SeedTerms) -> NDArray[Any]:
        """The other side of a bipartite graph, from the side that is solved for: exact but for rounding."""
        graph, side = self._graph, self._side
        start, stop = (side.stop, graph.n) if side.start == 0 else (0, side.start)
        other_rows = self._z[start:stop]
        inner = self._summands(current, side.start)

        def sum_rows(first: int, last: int) -> None:
            of_some = other_rows[first - start : last - start]
            sides = self._types.side_rows(inner, of_some)
            recover_side(graph.csr, sides, first, seeds.between(first, last), self._factor)

        share_rows(start, stop, sum_rows, graph.indptr)
        return other_rows


def _recurrence(
    theta: NDArray[np.float64],
    delta: NDArray[np.float64],
    rho: NDArray[np.float64],
    is_moving: NDArray[np.bool_],
    is_new: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return ``keep`` and ``pull`` of Chebyshev's recurrence by column, and the next rho.

    step = keep * step + pull * residual, z = z + step. A column that rests keeps its bits; a new one begins again.
    """
    coming = 1 / (2 * theta / delta - rho)
    keep = np.where(is_moving, np.where(is_new, 0.0, coming * rho), 1.0)
    pull = np.where(is_moving, np.where(is_new, 1 / theta, 2 * coming / delta), 0.0)
    return keep, pull, np.where(is_moving, np.where(is_new, delta / theta, coming), rho)


def _coefficients(*columns: NDArray[Any]) -> Coefficients:
    return read_only(Coefficients(*(values.astype(np.float32) for values in columns)))
