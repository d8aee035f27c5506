"""Compiled passes over the edges for block Chebyshev: columns are sources, 16, 32, 64 or 128 of them."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, kernel
from pipeline.kernels.residual_tiles import LANES, chebyshev_lanes
from pipeline.kernels.vector_tiles import make_row_tile

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
    found = np.empty(degree.size, np.int32)
    found[0] = most
    is_main[most] = True
    count, at = 1, 0
    while at < count:
        node = found[at]
        at += 1
        for e in range(indptr[node], indptr[node + 1]):
            near = indices[e]
            if not is_main[near]:
                is_main[near] = True
                found[count] = near
                count += 1
    volume = 0.0
    for node in range(start, stop):
        if is_main[node]:
            volume += degree[node]
    return volume


@kernel
def _sum_row(
    indices: In[np.int32],
    weights: In[np.float32] | None,
    gathered: InMatrix[np.float32],
    first: int,
    begin: int,
    end: int,
    last: int,
    out: OutMatrix[np.float32],
    row: int,
) -> None:
    """``out[row]`` = the sum of ``weights[e] * gathered[indices[e] - first]``, as in `spmm`."""
    width = out.shape[1]
    if width == 128:
        _tile_128(gathered, indices, weights, begin, end, last, first, 0, out, row)
    elif width == 64:
        _tile_64(gathered, indices, weights, begin, end, last, first, 0, out, row)
    elif width == 32:
        _tile_32(gathered, indices, weights, begin, end, last, first, 0, out, row)
    else:
        _tile_16(gathered, indices, weights, begin, end, last, first, 0, out, row)


@kernel
def recover_side(
    indptr: In[np.int64],
    indices: In[np.int32],
    weights: In[np.float32] | None,
    gathered: InMatrix[np.float32],
    first: int,
    start: int,
    seed_rows: In[np.int64],
    seed_cols: In[np.int64],
    seed_values: In[np.float32],
    factor: In[np.float32],
    out: OutMatrix[np.float32],
) -> None:
    """``out[i]`` = seeds + factor * sum of gathered, for node ``start + i``."""
    seed = 0
    last = indptr[start + out.shape[0]]
    for i in range(out.shape[0]):
        node = start + i
        _sum_row(indices, weights, gathered, first, indptr[node], indptr[node + 1], last, out, i)
        line = out[i]
        scale = factor[node]
        for col in range(line.size):
            line[col] *= scale
        while seed < seed_rows.size and seed_rows[seed] == node:
            line[seed_cols[seed]] += seed_values[seed]
            seed += 1


@kernel
def chebyshev_pass(
    indptr: In[np.int64],
    indices: In[np.int32],
    weights: In[np.float32] | None,
    gathered: InMatrix[np.float32],
    first: int,
    start: int,
    seed_rows: In[np.int64],
    seed_cols: In[np.int64],
    seed_values: In[np.float32],
    factor: In[np.float32],
    degree: In[np.float64],
    keep: In[np.float32],
    pull: In[np.float32],
    move: In[np.float32],
    here: InMatrix[np.float32],
    ahead: OutMatrix[np.float32],
    step: OutMatrix[np.float32],
    residual: Out[np.float64],
) -> None:
    """The residual of ``here``, its l1 norm in x by column, and the next z, for nodes ``start`` and on."""
    seed = 0
    width = here.shape[1]
    last = indptr[start + here.shape[0]]
    left_over = np.empty((1, width), np.float32)
    for i in range(here.shape[0]):
        node = start + i
        _sum_row(indices, weights, gathered, first, indptr[node], indptr[node + 1], last, left_over, 0)
        line = left_over[0]
        scale, weight = factor[node], degree[node]
        for col in range(width):
            line[col] *= scale
        while seed < seed_rows.size and seed_rows[seed] == node:
            line[seed_cols[seed]] += seed_values[seed]
            seed += 1
        for col in range(0, width, LANES):
            chebyshev_lanes(line, col, here, ahead, step, i * width + col, keep, pull, move, weight, residual)


@kernel
def mark_near(
    indptr: In[np.int64],
    indices: In[np.int32],
    start: int,
    stop: int,
    is_bipartite: bool,
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
            if start <= seed < stop:
                work += last - first
                if is_bipartite:
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


@kernel
def _move_from(
    indptr: In[np.int64],
    indices: In[np.int32],
    weights: In[np.float32] | None,
    start: int,
    node: int,
    is_bipartite: bool,
    col: int,
    factor: In[np.float32],
    value: float,
    pull: float,
    is_near: bool,
    z: OutMatrix[np.float32],
    step: OutMatrix[np.float32],
) -> None:
    """The moves of one column because of a residual ``value`` at one node that is solved for."""
    if not is_near:
        first = np.float32(pull * value)
        z[node, col] += first
        step[node - start, col] += first
        return
    z[node, col] += np.float32(value)
    for e in range(indptr[node], indptr[node + 1]):
        near = np.int64(indices[e])
        flow = factor[near] * value
        if weights is not None:
            flow *= weights[e]
        if not is_bipartite:
            moved = np.float32(pull * flow)
            z[near, col] += moved
            step[near - start, col] += moved
            continue
        for f in range(indptr[near], indptr[near + 1]):
            far = np.int64(indices[f])
            moved_far = pull * factor[far] * flow
            if weights is not None:
                moved_far *= weights[f]
            z[far, col] += np.float32(moved_far)
            step[far - start, col] += np.float32(moved_far)


@kernel
def spread_seeds(
    indptr: In[np.int64],
    indices: In[np.int32],
    weights: In[np.float32] | None,
    start: int,
    stop: int,
    is_bipartite: bool,
    seed_rows: In[np.int64],
    seed_cols: In[np.int64],
    seed_values: In[np.float32],
    factor: In[np.float32],
    pull: In[np.float64],
    is_near: In[np.bool_],
    z: OutMatrix[np.float32],
    step: OutMatrix[np.float32],
) -> None:
    """Add to z and step what the residual of z = 0 moves: restart terms, and what they send to [start, stop).

    A move by ``pull`` times that residual; where ``is_near``, one by the residual and then ``pull`` times what is left.
    """
    for seed in range(seed_rows.size):
        node, col, value = seed_rows[seed], seed_cols[seed], np.float64(seed_values[seed])
        if start <= node < stop and indptr[node] == indptr[node + 1]:
            z[node, col] += np.float32(value)
        elif start <= node < stop:
            _move_from(
                indptr, indices, weights, start, node, is_bipartite, col, factor, value, pull[col], is_near[col], z,
                step,
            )  # fmt: skip
        else:
            # A seed of the other side: its first step, by the symmetry of the weights, to each neighbour.
            for e in range(indptr[node], indptr[node + 1]):
                near = int(indices[e])
                flow = factor[near] * value
                if weights is not None:
                    flow *= weights[e]
                _move_from(
                    indptr, indices, weights, start, near, is_bipartite, col, factor, flow, pull[col], is_near[col], z,
                    step,
                )  # fmt: skip
