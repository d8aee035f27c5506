"""Personalised PageRank of many sources at once, by block Chebyshev, with a certificate in l1.

Sources are columns, `BLOCK` at a time, and every pass over the edges serves all of them. The unknown is
``z = x / degree``, of which ``z = restart * s / degree + (1 - restart) * D^-1 A z``: no entry needs a weight of its
own where edges have none, and D^-1 A has the real spectrum of the symmetric matrix it is similar to, which is what
Chebyshev's polynomials want. On a bipartite graph the smaller side is solved for, whose operator is the square,
so its spectrum is half as wide, and the other side is one product away.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.ppr_chebyshev_blocks import FLOATS, HALVES, BlockSolver, SolvedRows
from pipeline.kernels.ppr_chebyshev_bounds import (
    BLOCK,
    ROUNDING,
    smallest_tolerance,
    smallest_tolerance_of_halves,
    spectrum_of,
)
from pipeline.kernels.ppr_passes import Side
from pipeline.kernels.ppr_top_k import Candidates, Shortlists, TopK, check_candidates
from pipeline.kernels.transition import RestartSets, Transition, check_restart, check_sources, check_tolerance


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
    work = BlockSolver(graph, plan, restart, len(sources))
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
    for types in (HALVES, FLOATS) if is_loose else (FLOATS,):
        work = BlockSolver(graph, plan, restart, order.size, types=types)
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
    work = BlockSolver(graph, plan, restart, len(sources), takes_largest=True)
    degree = np.where(graph.degree > 0, graph.degree, 1.0)
    highest = np.add.reduceat(sources.shares / degree[sources.nodes], sources.indptr[:-1])
    order = np.lexsort((-highest, ~work.is_near(sources)))
    for first in range(0, len(sources), BLOCK):
        positions = order[first : first + BLOCK]
        z, bound = work.scores(sources.in_order(positions), threshold)
        yield positions, z, bound + 4 * ROUNDING / restart * highest[positions]


def _rank(
    work: BlockSolver,
    order: NDArray[np.int64],
    sources: RestartSets,
    tolerance: float,
    candidates: Candidates,
    lists: TopK,
) -> None:
    """Write the lists of these sources, and their bounds."""
    sources, candidates = sources.in_order(order), candidates.in_order(order)
    k = lists.nodes.shape[1]
    for first in range(0, order.size, BLOCK):
        positions = order[first : first + BLOCK]
        stop = first + positions.size
        shortlists = Shortlists.of(positions.size, work.width, k)
        of_some = candidates.of_sources(first, stop)
        lists.bound[positions] = work.rank(sources.part(first, stop), tolerance, of_some, shortlists)
        lists.nodes[positions], lists.scores[positions] = shortlists.best_first_lists(positions.size)


def _checked_plan(graph: Transition, sources: RestartSets, restart: float, tolerance: float) -> SolvedRows:
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
    low, high = spectrum_of(restart, is_bipartite=graph.left is not None)
    if graph.left is None:
        return SolvedRows(Side(0, graph.n, False), low, high)
    if graph.left <= graph.n - graph.left:
        return SolvedRows(Side(0, graph.left, True), low, high)
    return SolvedRows(Side(graph.left, graph.n, True), low, high)
