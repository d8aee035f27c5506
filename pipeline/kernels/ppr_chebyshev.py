"""Personalised PageRank of many sources at once, by block Chebyshev, with a certificate in l1.

Sources are columns, `BLOCK` at a time, and every pass over the edges serves all of them. The unknown is
``z = x / degree``, of which ``z = restart * s / degree + (1 - restart) * D^-1 A z``: no entry needs a weight of its
own where edges have none, and D^-1 A has the real spectrum of the symmetric matrix it is similar to, which is what
Chebyshev's polynomials want. On a bipartite graph the smaller side is solved for, whose operator is the square,
so its spectrum is half as wide, and the other side is one product away.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import read_only
from pipeline.kernels.buffers import aligned_empty
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
from pipeline.kernels.ppr_top_k import CandidateNodes, Candidates, Shortlists, TopK, check_candidates, offer_rows
from pipeline.kernels.residual_tiles import Coefficients, HalfIterate, HalfSummands, Iterate, Summands
from pipeline.kernels.rows import bfloat16_rows
from pipeline.kernels.threads import share_ranges, share_rows
from pipeline.kernels.transition import RestartSets, Transition, check_restart, check_sources, check_tolerance
from pipeline.kernels.vector_tiles import RUN

BLOCK = 128
"""Columns of one pass; a call with few sources makes do with 16, 32 or 64."""

UNIT = 2.0**-24  # of float32
ROUNDING = (RUN + 8) * UNIT
"""Of one stored row, relative to the sum of its absolute terms: an entry's product, a run's additions, the sum back
from float64, the factor and its product, the seeds' share and its addition, the residual's subtraction: 21 units."""

_HIDDEN = 2 * ROUNDING
"""What rounding may hide from the residual's l1 norm: each row is off by `ROUNDING` of its absolute terms, which
add up to restart + (1 - restart) |x| for the products and to |x| for the subtraction, and |x| is at most 1 + error.
On a bipartite graph the recovered side's rows are off by as much, and each side's terms count once."""

HALF_UNIT = 2.0**-9
"""Of bfloat16: what is rounded to it is off by at most this part."""

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
class _Plan:
    """The rows solved for, and the operator's spectrum."""

    side: Side
    low: float
    high: float


def smallest_tolerance(restart: float) -> float:
    """The least l1 error that float32 can certify, whatever the number of passes."""
    check_restart(restart)
    return 2 * _HIDDEN / (restart - _HIDDEN) if restart > _HIDDEN else math.inf


def smallest_tolerance_of_halves(restart: float, *, is_bipartite: bool) -> float:
    """The l1 error from which on lists are solved in bfloat16: twice that of a column whose moves round to nothing.

    Its residual is at most what rounding leaves, `HALF_UNIT` of the rows solved for and of what they send back; on a
    bipartite graph these have 1 / (2 - restart) of the mass at most. Moves that round to a cycle may leave more.
    """
    check_restart(restart)
    follow = 1 - restart
    back, mass = (follow * follow, 1 / (1 + follow)) if is_bipartite else (follow, 1.0)
    residual = np.array([HALF_UNIT * (1 + back) * mass])
    return float(2 * _bound_of_halves(residual, restart, back, is_bipartite=is_bipartite)[0])


def _bound_of_halves(
    residual: NDArray[np.float64], restart: float, closing_rate: float, *, is_bipartite: bool
) -> NDArray[np.float64]:
    """The l1 error of columns in bfloat16 with a residual, or after they have been moved by it.

    z is exact as it stands. On a bipartite graph the rows between are rounded: the residual that is measured is off by
    ``h <= hidden + more * error``, since they have 1 / (2 - restart) of the mass of exact scores at most. A move by it
    leaves P's (or P^2's) image of it, and h; then z is rounded, which the other side passes on. Lists are of sums in
    float32 of that.
    """
    follow = 1 - restart
    share, more = (follow / (1 + follow), follow) if is_bipartite else (0.0, 0.0)
    hidden, more = _HIDDEN + HALF_UNIT * share, _HIDDEN + HALF_UNIT * more
    # 1e-9 covers the residual's own sum in float64.
    residual = residual * (1 + 1e-9)
    before = (residual + hidden) / (restart - more)
    if closing_rate == 1:
        return before + 3 * UNIT
    closed = (closing_rate * residual + hidden + more * before) / restart
    return closed + (HALF_UNIT + _HIDDEN) * (1 + 2 * closed) + 3 * UNIT


def chebyshev_passes(restart: float, tolerance: float, *, is_bipartite: bool) -> float:
    """Passes until the l1 error is about ``tolerance``, by the spectrum's width; for estimates of cost.

    One and a half more than the rate says: the last one certifies, and its move is carried to a graph's other side.
    """
    low, high = _spectrum(restart, is_bipartite=is_bipartite)
    return 1.5 + max(0.0, math.log(2 / tolerance) / -math.log(_rate(low, high)))


def chebyshev_scores(
    graph: Transition, sources: RestartSets, restart: float, tolerance: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Personalised PageRank of every node for a few sources.

    Parameters
    ----------
    graph : undirected; its sides, if it has them, are solved one at a time.
    sources : where walks restart; the bits of a source do not depend on the others.
    restart : chance of jumping back at each step, in (0, 1). networkx' alpha is ``1 - restart``.
    tolerance : wanted bound on ``sum |x - exact|`` of each source, at least `smallest_tolerance`.

    Returns
    -------
    x : (sources, n) float32; nodes that no walk reaches have exactly 0. Entries far below the bound may be
        slightly below 0.
    bound : (sources,) float64: proven bound on the l1 error, at most ``tolerance``: the l1 norm of the residual
        and of all that rounding may have hidden from it, over ``restart``; since the inverse of
        ``I - (1 - restart) P^T`` has l1 norm ``1 / restart``.

    Raises
    ------
    ValueError : a directed graph, a restart outside (0, 1), a tolerance that float32 cannot certify.
    IndexError : a seed that the graph does not have.

    Cost
    ----
    About `chebyshev_passes` passes a block of 128 sources, bound by memory: a pass reads 512 bytes an entry. A call
    walks the whole graph once before its first block. Buffers, kept for all blocks of a call: 512 bytes a node and
    a node of the side solved for; three times 512 a node of a graph without sides.
    """
    plan = _checked_plan(graph, sources, restart, tolerance)
    x = np.empty((len(sources), graph.n), np.float32)
    bound = np.empty(len(sources))
    scale = np.where(graph.degree > 0, graph.degree, 1.0)
    work = _Work(graph, plan, restart, len(sources))
    for first in range(0, len(sources), BLOCK):
        stop = min(first + BLOCK, len(sources))
        z, bound[first:stop] = work.scores(sources.part(first, stop), tolerance)
        np.multiply(z[:, : stop - first].T, scale, out=x[first:stop], casting="same_kind")
    return x, bound


def chebyshev_top_k(
    graph: Transition, sources: RestartSets, restart: float, tolerance: float, k: int, candidates: Candidates
) -> TopK:
    """The k best nodes of each source; parameters, errors and bound as in `chebyshev_scores`.

    From `smallest_tolerance_of_halves` on, rows are bfloat16 and sums float32: half the bytes of a pass, and .6 of its
    time. The bound covers what is rounded; scores are those of one more step in float32.
    Two nodes whose scores differ by more than the bound are in the right order; so is membership of the list.
    """
    plan = _checked_plan(graph, sources, restart, tolerance)
    check_candidates(candidates, graph.n, len(sources), k)
    nodes = np.empty((len(sources), k), np.int64)
    scores = np.empty((len(sources), k), np.float32)
    bound = np.empty(len(sources))
    factor = np.where(graph.degree > 0, graph.degree, 1.0)
    if candidates.factor is not None:
        factor = factor * candidates.factor
    candidates = replace(candidates, factor=factor.astype(np.float32))
    is_loose = tolerance >= smallest_tolerance_of_halves(restart, is_bipartite=plan.side.is_bipartite)
    order = np.arange(len(sources))
    for reads_halves in (True, False) if is_loose else (False,):
        work = _Work(graph, plan, restart, order.size, reads_halves=reads_halves)
        # A block takes as many passes as its slowest source.
        order = order[np.argsort(~work.is_near(sources.in_order(order)), kind="stable")]
        _rank(work, order, sources, tolerance, candidates, TopK(nodes, scores, bound))
        order = order[bound[order] > tolerance]  # where rounding to bfloat16 stops a column short of it
        if not order.size:
            break
    return TopK(nodes, scores, bound)


def chebyshev_columns(
    graph: Transition, sources: RestartSets, restart: float, threshold: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]]]:
    """Scores over degrees of all nodes, `BLOCK` sources at a time: an error at a node is bounded by its degree.

    Parameters
    ----------
    graph, sources, restart : as in `chebyshev_scores`.
    threshold : wanted bound on an error for each unit of a node's weighted degree, as push has it.

    Yields
    ------
    some : the block's sources, those that take as many passes together.
    z : (n, columns) float32, overwritten for the next block; a node without edges has degree 1.
    bound : (sources of the block,) float64. The largest residual of a row over ``restart`` (on a bipartite graph over
        ``1 - (1 - restart)^2``, of the side solved for), since the inverse of the operator has that maximum norm, and
        what float32 rounds: no z of a source is above its shares over degrees, and each row is off by `ROUNDING` of
        that. The first is at most the threshold where that is not far below the second.
    """
    plan = _checked_plan(graph, sources, restart, 1.0)
    check_tolerance(threshold)
    work = _Work(graph, plan, restart, len(sources), takes_largest=True)
    degree = np.where(graph.degree > 0, graph.degree, 1.0)
    highest = np.add.reduceat(sources.shares / degree[sources.nodes], sources.indptr[:-1])
    order = np.lexsort((-highest, ~work.is_near(sources)))
    for first in range(0, len(sources), BLOCK):
        some = order[first : first + BLOCK]
        z, bound = work.scores(sources.in_order(some), threshold)
        yield some, z, bound + 4 * ROUNDING / restart * highest[some]


def _rank(
    work: _Work, order: NDArray[np.int64], sources: RestartSets, tolerance: float, candidates: Candidates, lists: TopK
) -> None:
    """Write the lists of these sources, and their bounds."""
    sources, candidates = sources.in_order(order), candidates.in_order(order)
    k = lists.nodes.shape[1]
    for first in range(0, order.size, BLOCK):
        some = order[first : first + BLOCK]
        stop = first + some.size
        shortlists = Shortlists.of(some.size, work.width, k)
        of_some = candidates.of_sources(first, stop)
        lists.bound[some] = work.rank(sources.part(first, stop), tolerance, of_some, shortlists)
        lists.nodes[some], lists.scores[some] = shortlists.ranked(some.size)


def _checked_plan(graph: Transition, sources: RestartSets, restart: float, tolerance: float) -> _Plan:
    check_restart(restart)
    check_tolerance(tolerance)
    check_sources(graph, sources)
    if not graph.is_undirected:
        raise ValueError(
            "the graph is directed (an edge and its way back weigh differently): its spectrum is not real, so "
            "Chebyshev does not fit; use forward push or walks"
        )
    if tolerance < smallest_tolerance(restart):
        raise ValueError(
            f"tolerance is {tolerance}; in float32 an l1 error of {smallest_tolerance(restart):.2g} is the least that "
            f"can be certified at restart {restart}: raise it, or use forward push, which computes in float64"
        )
    low, high = _spectrum(restart, is_bipartite=graph.left is not None)
    if graph.left is None:
        return _Plan(Side(0, graph.n, False), low, high)
    if graph.left <= graph.n - graph.left:
        return _Plan(Side(0, graph.left, True), low, high)
    return _Plan(Side(graph.left, graph.n, True), low, high)


def _spectrum(restart: float, *, is_bipartite: bool) -> tuple[float, float]:
    """Ends of the spectrum of I - (1 - restart) P, or of I - (1 - restart)^2 P^2 on one side."""
    follow = 1 - restart
    return (1 - follow * follow, 1.0) if is_bipartite else (1 - follow, 1 + follow)


def _rate(low: float, high: float) -> float:
    """Factor that a pass takes the error down by, in the long run."""
    root = math.sqrt(high / low)
    return (root - 1) / (root + 1)


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


class _Work:
    """Buffers of one call, and the passes over them."""

    def __init__(
        self,
        graph: Transition,
        plan: _Plan,
        restart: float,
        sources: int,
        *,
        reads_halves: bool = False,
        takes_largest: bool = False,
    ) -> None:
        self._graph, self._plan, self._side, self._restart = graph, plan, plan.side, restart
        self._reads_halves, self._takes_largest = reads_halves, takes_largest
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
        dtype = np.uint16 if reads_halves else np.float32
        self._z = aligned_empty((graph.n, self.width), dtype)
        # One side only reads the other, so its rows can be moved in place.
        self._next = self._z[side.start : side.stop]
        if not side.is_bipartite:
            self._next = aligned_empty(self._z.shape, dtype)
        self._step = aligned_empty((side.stop - side.start, self.width), dtype)

    def scores(self, sources: RestartSets, tolerance: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """z of all nodes in float32, one column a source, and the bounds; the next call overwrites z."""
        seeds = self._seeds(sources)
        here, bound = self._solve(sources, seeds, tolerance)
        if not self._side.is_bipartite:
            return here, bound
        self._recover(here, seeds)
        return self._z, bound

    def rank(
        self, sources: RestartSets, tolerance: float, candidates: CandidateNodes, lists: Shortlists
    ) -> NDArray[np.float64]:
        """Offer the scores of candidates to lists; return the bounds.

        Rows in bfloat16 are taken one step further, in float32, which makes no error larger.
        """
        seeds, side, graph = self._seeds(sources), self._side, self._graph
        here, bound = self._solve(sources, seeds, tolerance)
        for start, stop in itertools.pairwise(sorted({0, side.start, side.stop, graph.n})):
            some = candidates._replace(start=max(start, candidates.start), stop=min(stop, candidates.stop))
            if some.start >= some.stop:
                continue
            rows, first, is_inner = here, side.start, start == side.start
            if is_inner and not self._reads_halves:
                offer_rows(rows, first, some, lists)
                continue
            if is_inner and side.is_bipartite:
                rows, first = self._recover(here, seeds), self._first_of_x
            of_some = seeds.between(some.start, some.stop)
            rank_side(graph.csr, self._summands(rows, first), of_some, self._factor, some, lists)
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
        shrink = _EXPECTED_RATE * _rate(plan.low, plan.high)
        moves_last = (
            self._reads_halves or self._takes_largest or tolerance >= _CLOSING * smallest_tolerance(self._restart)
        )
        closing_rate = 1 - plan.low if moves_last else 1.0
        inner = seeds.between(side.start, side.stop)
        weights = np.ones_like(self._degree) if self._takes_largest else self._degree
        scales = read_only(NodeScales(self._factor, weights))
        self._begin(sources, seeds, 1 / theta, level)
        here, ahead = self._z[side.start : side.stop], self._next
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
            x = self._recover(here, seeds) if side.is_bipartite else here
            coefficients = _coefficients(keep, pull, move)
            self._pass(x, here, ahead, residual, inner, scales, coefficients)
            here, ahead = ahead, here
            reached = self._bound(residual, 1.0)
            closed = self._bound(residual, closing_rate) if moves_last else reached
            is_right = is_closing & ((closed <= tolerance) | (number == most))
            bound[is_right] = closed[is_right]
            is_done |= is_right
            if is_done.all():
                break
            # One that closed too soon closes again where that is sure to do, or else begins a new polynomial.
            is_late = is_closing & ~is_right & (closing_rate * closed > tolerance)
            is_new |= is_late & moves_last
            is_moving = np.where(is_moving, closing_rate * shrink * reached > tolerance, is_late)
        return here, bound[:count]

    def _bound(self, residual: NDArray[np.float64], closing_rate: float) -> NDArray[np.float64]:
        """The l1 error of columns with a residual, or after they have been moved by it."""
        if self._takes_largest:  # rounding apart
            return closing_rate * residual / self._plan.low
        if self._reads_halves:
            return _bound_of_halves(residual, self._restart, closing_rate, is_bipartite=self._side.is_bipartite)
        # 1e-9 covers the residual's own sum in float64, 3 units what becomes of z in x.
        residual = residual * (1 + 1e-9)
        before = (residual + _HIDDEN) / (self._restart - _HIDDEN)
        if closing_rate == 1:
            return before + 3 * UNIT
        # Moved by r + h, h what rounding hides: the residual is now P r - (1 - P) h, of which again h is hidden, and
        # no h is more than _HIDDEN (1 + error), before or after.
        hidden = 4 * _HIDDEN
        return (closing_rate * residual + hidden * (1 + before)) / (self._restart - hidden) + 3 * UNIT

    def _most_passes(self, tolerance: float) -> int:
        if self._reads_halves:  # float32 solves what takes longer
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
            if self._reads_halves:
                line = np.empty(values.size, np.uint16)
                bfloat16_rows(values[None], line[None])
            fill_main(is_main, line.view(np.uint64), rows.view(np.uint64))
        order = np.argsort(seeds.cols, kind="stable")
        by_column = read_only(SeedTerms(seeds.rows[order], seeds.cols[order], seeds.values[order]))
        begun = (HalfBegun if self._reads_halves else Begun)(z, step)
        spread_seeds(graph.csr, side, by_column, self._factor, is_main, moves, begun)

    def is_near(self, sources: RestartSets) -> NDArray[np.bool_]:
        """Which sources make two moves before the first pass."""
        graph, most = self._graph, int(_NEAR_SHARE * self._graph.indices.size)
        is_near = np.zeros(len(sources), np.bool_)
        if len(sources):
            mark_near(graph.indptr, graph.indices, self._side, sources.indptr, sources.nodes, most, is_near)
        return is_near

    def _summands(self, rows: NDArray[Any], first: int) -> Summands | HalfSummands:
        return read_only(HalfSummands(rows, first) if self._reads_halves else Summands(rows, first))

    def _pass(
        self,
        x: NDArray[Any],
        here: NDArray[Any],
        ahead: NDArray[Any],
        residual: NDArray[np.float64],
        seeds: SeedTerms,
        scales: NodeScales,
        coefficients: Coefficients,
    ) -> None:
        """A pass over the rows solved for; ranges of rows have residuals of their own, which are joined in order."""
        side, others = self._side, cast(Any, self._summands(x, self._first_of_x))
        bounds = [*range(side.start, side.stop, _ROWS_OF_SUM), side.stop]
        residuals = np.zeros((len(bounds), residual.size))

        def move(first: int, stop: int) -> None:
            some = slice(first - side.start, stop - side.start)
            iterate = (HalfIterate if self._reads_halves else Iterate)(
                others, here[some], ahead[some], self._step[some], residuals[some.start // _ROWS_OF_SUM]
            )
            of_some = seeds.between(first, stop)
            chebyshev_pass(self._graph.csr, iterate, first, of_some, scales, coefficients, self._takes_largest)

        share_ranges(bounds, move)
        residual[:] = residuals.max(axis=0) if self._takes_largest else residuals.sum(axis=0)

    def _recover(self, here: NDArray[Any], seeds: SeedTerms) -> NDArray[Any]:
        """The other side of a bipartite graph, from the side that is solved for: exact but for rounding."""
        graph, side = self._graph, self._side
        start, stop = (side.stop, graph.n) if side.start == 0 else (0, side.start)
        others = self._z[start:stop]
        inner: Any = self._summands(here, side.start)

        def sum_rows(first: int, last: int) -> None:
            of_some = others[first - start : last - start]
            sides = (HalfSideRows if self._reads_halves else SideRows)(inner, of_some)
            recover_side(graph.csr, sides, first, seeds.between(first, last), self._factor)

        share_rows(start, stop, sum_rows, graph.indptr)
        return others
