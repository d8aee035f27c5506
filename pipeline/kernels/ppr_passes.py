"""Compiled passes over the edges for block Chebyshev: columns are sources, 16, 32, 64 or 128 of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, inner_kernel, kernel
from pipeline.kernels.csr import Csr, weight_of
from pipeline.kernels.residual_tiles import LANES, Coefficients, Iterate, chebyshev_lanes
from pipeline.kernels.vector_tiles import Entries, make_row_tile

_tile_128 = make_row_tile(128)
_tile_64 = make_row_tile(64)
_tile_32 = make_row_tile(32)
_tile_16 = make_row_tile(16)


@kernel
def fill_main(is_main: In[np.bool_], values: In[np.float32], out: OutMatrix[np.float32]) -> None:
    """Each row of the main component = values, any other 0."""
    for row in range(is_main.size):
        for col in range(values.size):
            out[row, col] = values[col] if is_main[row] else np.float32(0)


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
    """The first moves of each column: by ``pull`` times the residual; where ``is_near``, by all of it before that."""

    pull: In[np.float64]  # (width,)
    is_near: In[np.bool_]


@kernel
def _sum_row(
    matrix: Csr, entries: Entries, x: InMatrix[np.float32], first: int, out: OutMatrix[np.float32], row: int
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


@kernel
def recover_side(
    matrix: Csr,
    x: InMatrix[np.float32],
    first: int,
    start: int,
    seeds: SeedTerms,
    factor: In[np.float32],
    out: OutMatrix[np.float32],
) -> None:
    """``out[i]`` = seeds + factor * sum of x, whose first row is node ``first``, for node ``start + i``."""
    indptr = matrix.indptr
    seed_rows, seed_cols, seed_values = seeds
    seed = 0
    last = indptr[start + out.shape[0]]
    for i in range(out.shape[0]):
        node = start + i
        _sum_row(matrix, Entries(indptr[node], indptr[node + 1], last), x, first, out, i)
        line = out[i]
        scale = factor[node]
        for col in range(line.size):
            line[col] *= scale
        while seed < seed_rows.size and seed_rows[seed] == node:
            line[seed_cols[seed]] += seed_values[seed]
            seed += 1


class NodeScales(NamedTuple):
    """By node: what a sum over neighbours is multiplied by, and what a residual weighs."""

    factor: In[np.float32]
    degree: In[np.float64]


@kernel
def chebyshev_pass(
    matrix: Csr,
    x: InMatrix[np.float32],
    first: int,
    start: int,
    seeds: SeedTerms,
    scales: NodeScales,
    coefficients: Coefficients,
    iterate: Iterate,
) -> None:
    """The residual of ``here``, its l1 norm by column, and the next z, for nodes ``start`` and on.

    x : rows that sums are taken of, its first row being node ``first``.
    """
    seed = 0
    rows, width = iterate.here.shape
    indptr = matrix.indptr
    seed_rows, seed_cols, seed_values = seeds
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
        while seed < seed_rows.size and seed_rows[seed] == node:
            line[seed_cols[seed]] += seed_values[seed]
            seed += 1
        for col in range(0, width, LANES):
            chebyshev_lanes(line, col, i, weight, coefficients, iterate)


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


@inner_kernel
def _move_from(
    matrix: Csr,
    side: Side,
    node: int,
    col: int,
    value: float,
    factor: In[np.float32],
    first_moves: FirstMoves,
    iterate: Iterate,
) -> None:
    """The moves of one column because of a residual ``value`` at one node that is solved for."""
    indptr, indices, weights = matrix
    z, step, pull = iterate.here, iterate.step, first_moves.pull[col]
    if not first_moves.is_near[col]:
        change = np.float32(pull * value)
        z[node, col] += change
        step[node - side.start, col] += change
        return
    z[node, col] += np.float32(value)
    for e in range(indptr[node], indptr[node + 1]):
        near = np.int64(indices[e])
        flow = factor[near] * value * weight_of(weights, e)
        if not side.is_bipartite:
            change = np.float32(pull * flow)
            z[near, col] += change
            step[near - side.start, col] += change
            continue
        for f in range(indptr[near], indptr[near + 1]):
            far = np.int64(indices[f])
            change = np.float32(pull * factor[far] * flow * weight_of(weights, f))
            z[far, col] += change
            step[far - side.start, col] += change


@kernel
def spread_seeds(
    matrix: Csr, side: Side, seeds: SeedTerms, factor: In[np.float32], first_moves: FirstMoves, iterate: Iterate
) -> None:
    """Add to z and step what the residual of z = 0 moves: restart terms, and what they send to the rows solved for.

    ``iterate.here`` is z of all nodes, ``iterate.step`` that of the rows solved for.
    """
    indptr, indices, weights = matrix
    seed_rows, seed_cols, seed_values = seeds
    for seed in range(seed_rows.size):
        node, col, value = seed_rows[seed], seed_cols[seed], np.float64(seed_values[seed])
        if side.start <= node < side.stop and indptr[node] == indptr[node + 1]:
            iterate.here[node, col] += np.float32(value)
        elif side.start <= node < side.stop:
            _move_from(matrix, side, node, col, value, factor, first_moves, iterate)
        else:
            # A seed of the other side: its first step, by the symmetry of the weights, to each neighbour.
            for e in range(indptr[node], indptr[node + 1]):
                near = int(indices[e])
                flow = factor[near] * value * weight_of(weights, e)
                _move_from(matrix, side, near, col, flow, factor, first_moves, iterate)
