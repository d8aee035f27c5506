"""Compiled passes over the edges for block Chebyshev: columns are sources, 16, 32, 64 or 128 of them.

Rows are float32, or uint16 with the bits of bfloat16: sums are of float32 either way, and rounded when they are stored.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, inner_kernel, kernel
from pipeline.kernels.csr import Csr, weight_of
from pipeline.kernels.ppr_top_k import CandidateNodes, Shortlists, offer_row
from pipeline.kernels.residual_tiles import (
    LANES,
    Coefficients,
    HalfIterate,
    HalfSummands,
    Iterate,
    Summands,
    chebyshev_lanes,
    put_rounded,
    round_lanes,
)
from pipeline.kernels.vector_tiles import Entries, make_row_tile

_tile_128 = make_row_tile(128)
_tile_64 = make_row_tile(64)
_tile_32 = make_row_tile(32)
_tile_16 = make_row_tile(16)


@kernel
def fill_main(is_main: In[np.bool_], words: In[np.uint64], out: OutMatrix[np.uint64]) -> None:
    """Each row of the main component = words, any other 0; a word holds several entries of whatever type."""
    for row in range(is_main.size):
        for word in range(words.size):
            out[row, word] = words[word] if is_main[row] else np.uint64(0)


@kernel
def mark_main(
    indptr: In[np.int64], indices: In[np.int32], degree: In[np.float64], is_main: Out[np.bool_], start: int, stop: int
) -> float:
    """Mark the component of the node with the most neighbours; the sum of degrees of its rows in [start, stop)."""
    most = 0
    for node in range(degree.size):
        if indptr[node + 1] - indptr[node] > indptr[most + 1] - indptr[most]:
            most = node
    if degree.size == 0 or indptr[most] == indptr[most + 1]:
        return 0.0
    queue = np.empty(degree.size, np.int32)
    queue[0] = most
    is_main[most] = True
    count, at = 1, 0
    while at < count:
        node = queue[at]
        at += 1
        for e in range(indptr[node], indptr[node + 1]):
            near = indices[e]
            if not is_main[near]:
                is_main[near] = True
                queue[count] = near
                count += 1
    volume = 0.0
    for node in range(start, stop):
        if is_main[node]:
            volume += degree[node]
    return volume


class Side(NamedTuple):
    """The rows solved for, [start, stop), all of them or those of one side of a bipartite graph."""

    start: int
    stop: int
    is_bipartite: bool


class SeedTerms(NamedTuple):
    """Restart terms of z, those of one range of rows: rows ascending, columns, values; (entries,) each."""

    rows: In[np.int64]
    cols: In[np.int64]
    values: In[np.float32]

    def between(self, start: int, stop: int) -> SeedTerms:
        """The terms of rows ``start`` to ``stop``."""
        entries = slice(*np.searchsorted(self.rows, [start, stop]))
        return SeedTerms(self.rows[entries], self.cols[entries], self.values[entries])


class FirstMoves(NamedTuple):
    """Where columns begin, and their first moves; (width,) each.

    From z and step in the main component, and 0 elsewhere, a column moves by ``pull`` times the residual of its restart
    terms; where ``is_near``, by all of it before that.
    """

    z: In[np.float32]
    step: In[np.float32]
    pull: In[np.float64]
    is_near: In[np.bool_]


class Begun(NamedTuple):
    """z and the step of the rows solved for, after the first moves."""

    z: OutMatrix[np.float32]
    step: OutMatrix[np.float32]


class HalfBegun(NamedTuple):
    """The same in bfloat16, as its bits."""

    z: OutMatrix[np.uint16]
    step: OutMatrix[np.uint16]


class SideRows(NamedTuple):
    """Rows that sums are taken of, and those that get the sums."""

    inner: Summands
    out: OutMatrix[np.float32]


class HalfSideRows(NamedTuple):
    """The same in bfloat16, as its bits."""

    inner: HalfSummands
    out: OutMatrix[np.uint16]


class NodeScales(NamedTuple):
    """By node: what a sum over neighbours is multiplied by, and what a residual weighs."""

    factor: In[np.float32]
    degree: In[np.float64]


@kernel
def _sum_row(
    matrix: Csr,
    entries: Entries,
    x: InMatrix[np.float32] | InMatrix[np.uint16],
    first: int,
    out: OutMatrix[np.float32],
    row: int,
) -> None:
    """``out[row]`` = the sum of ``weights[e] * x[indices[e] - first]``, as in `spmm`."""
    width = out.shape[1]
    if width == 128:
        _tile_128(matrix, entries, x, first, 0, out, row, None)
    elif width == 64:
        _tile_64(matrix, entries, x, first, 0, out, row, None)
    elif width == 32:
        _tile_32(matrix, entries, x, first, 0, out, row, None)
    else:
        _tile_16(matrix, entries, x, first, 0, out, row, None)


@inner_kernel
def _add_seeds(line: Out[np.float32], seeds: SeedTerms, seed: int, node: int) -> int:
    """Add a node's restart terms, which begin at ``seed``; where those of the next node do."""
    rows, cols, values = seeds
    while seed < rows.size and rows[seed] == node:
        line[cols[seed]] += values[seed]
        seed += 1
    return seed


@kernel
def recover_side(
    matrix: Csr,
    sides: SideRows | HalfSideRows,
    start: int,
    seeds: SeedTerms,
    factor: In[np.float32],
) -> None:
    """``out[i]`` = seeds + factor * sum of what its neighbours have, for node ``start + i``."""
    (x, first), out = sides
    rows, width = out.shape
    indptr = matrix.indptr
    seed = 0
    last = indptr[start + rows]
    total = np.empty((1, width), np.float32)
    line = total[0]
    for i in range(rows):
        node = start + i
        _sum_row(matrix, Entries(indptr[node], indptr[node + 1], last), x, first, total, 0)
        scale = factor[node]
        for col in range(width):
            line[col] *= scale
        seed = _add_seeds(line, seeds, seed, node)
        for col in range(0, width, LANES):
            round_lanes(line, col, out, i)


@kernel
def rank_side(
    matrix: Csr,
    side: Summands | HalfSummands,
    seeds: SeedTerms,
    factor: In[np.float32],
    candidates: CandidateNodes,
    lists: Shortlists,
) -> None:
    """Offer the rows that `recover_side` would write, in float32, of the candidates to lists."""
    x, first = side
    width = x.shape[1]
    indptr = matrix.indptr
    start, stop = candidates.start, candidates.stop
    seed = 0
    last = indptr[stop]
    total = np.empty((1, width), np.float32)
    line = total[0]
    for node in range(start, stop):
        _sum_row(matrix, Entries(indptr[node], indptr[node + 1], last), x, first, total, 0)
        scale = factor[node]
        for col in range(width):
            line[col] *= scale
        seed = _add_seeds(line, seeds, seed, node)
        offer_row(line, candidates.factor[node], node, candidates.excluded, lists)


@kernel
def chebyshev_pass(
    matrix: Csr,
    iterate: Iterate | HalfIterate,
    start: int,
    seeds: SeedTerms,
    scales: NodeScales,
    coefficients: Coefficients,
    takes_largest: bool,
) -> None:
    """The residual of ``current``, its l1 norm by column, and the next z, for nodes ``start`` and on.

    takes_largest : add nothing up, and keep the largest of what would have been, which is the residual times `degree`.
    """
    x, first = iterate.summands
    rows, width = iterate.current.shape
    seed = 0
    indptr = matrix.indptr
    factor, degree = scales
    last = indptr[start + rows]
    rest = np.empty((1, width), np.float32)
    line = rest[0]
    for i in range(rows):
        node = start + i
        _sum_row(matrix, Entries(indptr[node], indptr[node + 1], last), x, first, rest, 0)
        scale, weight = factor[node], degree[node]
        for col in range(width):
            line[col] *= scale
        seed = _add_seeds(line, seeds, seed, node)
        for col in range(0, width, LANES):
            chebyshev_lanes(line, col, i, weight, coefficients, iterate, takes_largest)


@kernel
def mark_near(
    indptr: In[np.int64],
    indices: In[np.int32],
    side: Side,
    set_indptr: In[np.int64],
    set_nodes: In[np.int64],
    most: int,
    is_near: Out[np.bool_],
) -> None:
    """Mark the sources whose second move touches ``most`` entries at most, or a thousand."""
    most = max(most, 1000)
    for source in range(set_indptr.size - 1):
        work = 0
        for s in range(set_indptr[source], set_indptr[source + 1]):
            seed = set_nodes[s]
            first, last = indptr[seed], indptr[seed + 1]
            if side.start <= seed < side.stop:
                work += last - first
                if side.is_bipartite:
                    for e in range(first, last):
                        work += indptr[indices[e] + 1] - indptr[indices[e]]
                        if work > most:
                            break
                continue
            for e in range(first, last):
                near = indices[e]
                for f in range(indptr[near], indptr[near + 1]):
                    work += 1 + indptr[indices[f] + 1] - indptr[indices[f]]
                    if work > most:
                        break
                if work > most:
                    break
            if work > most:
                break
        is_near[source] = work <= most


class _Column(NamedTuple):
    """z and the step of the rows of one column that have been touched."""

    z: Out[np.float32]  # (rows,)
    step: Out[np.float32]
    is_touched: Out[np.bool_]
    touched_rows: Out[np.int32]  # the rows; the last entry is their number


@inner_kernel
def _move(
    column: _Column, is_main: In[np.bool_], moves: FirstMoves, col: int, row: int, to_z: np.float32, to_step: np.float32
) -> None:
    """Add to z and the step of a row, which are those that the column begins from until then."""
    z, step, is_touched, touched_rows = column
    if not is_touched[row]:
        is_touched[row] = True
        z[row] = moves.z[col] if is_main[row] else np.float32(0)
        step[row] = moves.step[col] if is_main[row] else np.float32(0)
        touched_rows[touched_rows[-1]] = row
        touched_rows[-1] += 1
    z[row] += to_z
    step[row] += to_step


@inner_kernel
def _move_from(
    matrix: Csr,
    side: Side,
    node: int,
    col: int,
    value: float,
    factor: In[np.float32],
    is_main: In[np.bool_],
    moves: FirstMoves,
    column: _Column,
) -> None:
    """The moves of one column because of a residual ``value`` at one node that is solved for."""
    indptr, indices, weights = matrix
    pull, start = moves.pull[col], side.start
    if not moves.is_near[col]:
        change = np.float32(pull * value)
        _move(column, is_main, moves, col, node - start, change, change)
        return
    _move(column, is_main, moves, col, node - start, np.float32(value), np.float32(0))
    for e in range(indptr[node], indptr[node + 1]):
        near = int(indices[e])
        flow = factor[near] * value * weight_of(weights, e)
        if not side.is_bipartite:
            change = np.float32(pull * flow)
            _move(column, is_main, moves, col, near, change, change)
            continue
        for f in range(indptr[near], indptr[near + 1]):
            far = int(indices[f])
            change = np.float32(pull * factor[far] * flow * weight_of(weights, f))
            _move(column, is_main, moves, col, far - start, change, change)


@kernel
def spread_seeds(
    matrix: Csr,
    side: Side,
    seeds: SeedTerms,
    factor: In[np.float32],
    is_main: In[np.bool_],
    moves: FirstMoves,
    beginning: Begun | HalfBegun,
) -> None:
    """Add to z and step what the residual of z = 0 moves: restart terms, and what they send to the rows solved for.

    seeds : of all nodes, columns ascending. is_main : of the rows solved for.
    """
    indptr, indices, weights = matrix
    seed_rows, seed_cols, seed_values = seeds
    rows = is_main.size
    z, step = np.empty(rows, np.float32), np.empty(rows, np.float32)
    touched_rows = np.zeros(rows + 1, np.int32)
    column = _Column(z, step, np.zeros(rows, np.bool_), touched_rows)
    for seed in range(seed_rows.size):
        node, col, value = seed_rows[seed], seed_cols[seed], np.float64(seed_values[seed])
        if side.start <= node < side.stop and indptr[node] == indptr[node + 1]:
            _move(column, is_main, moves, col, node - side.start, np.float32(value), np.float32(0))
        elif side.start <= node < side.stop:
            _move_from(matrix, side, node, col, value, factor, is_main, moves, column)
        else:
            # A seed of the other side: its first step, by the symmetry of the weights, to each neighbour.
            for e in range(indptr[node], indptr[node + 1]):
                near = int(indices[e])
                flow = factor[near] * value * weight_of(weights, e)
                _move_from(matrix, side, near, col, flow, factor, is_main, moves, column)
        if seed + 1 == seed_rows.size or seed_cols[seed + 1] != col:
            for i in range(touched_rows[-1]):
                row = np.int64(touched_rows[i])
                put_rounded(beginning.z, row, col, z[row])
                put_rounded(beginning.step, row, col, step[row])
                column.is_touched[row] = False
            touched_rows[-1] = 0
