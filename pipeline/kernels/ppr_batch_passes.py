"""Compiled passes of batch queries: rounds, sums of fingerprints, and rankings, one query after the other.

A value a node is kept with a mark for each tile of `TILE` nodes, so that what was touched is found, and taken back to
0, without a look at all nodes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, OutMatrix, kernel
from pipeline.kernels.ppr_top_k import is_known
from pipeline.kernels.prefetch import prefetch_element
from pipeline.kernels.ranking import NO_ROW, sift_down

TILE_BITS = 6
TILE = 1 << TILE_BITS
"""Nodes that share a mark."""

GraphArrays = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float64]]
"""indptr, indices, weights, degree as in `Transition`; weights are empty, not None: one kernel to compile, not two."""

SetArrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""indptr, nodes, shares as in `RestartSets`."""

PrintArrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], float]
"""place, indptr, nodes, visits, scale as in `Fingerprints`."""

SpreadArrays = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""heaviest, largest, dropped as in `BatchSpread`, written."""

Pairs = tuple[NDArray[np.int32], NDArray[np.float64]]
"""Nodes and a value each."""


_HERE, _THERE, _KEPT, _SUMS = range(4)  # rows of the state of a query


@kernel
def spread_marks(indptr: In[np.int64], indices: In[np.int32], at: In[np.bool_], following: Out[np.bool_]) -> None:
    """Mark where a walk is after one more step; at a node without neighbours it stays."""
    for v in range(at.size):
        if at[v]:
            if indptr[v] == indptr[v + 1]:
                following[v] = True
            for e in range(indptr[v], indptr[v + 1]):
                following[indices[e]] = True


@kernel
def _with_room(pairs: tuple[Out[np.int32], Out[np.float64]], wanted: int) -> tuple[Out[np.int32], Out[np.float64]]:
    """The same pairs in arrays of at least the wanted size."""
    if pairs[0].size >= wanted:
        return pairs
    nodes, values = np.empty(2 * wanted, np.int32), np.empty(2 * wanted)
    nodes[: pairs[0].size] = pairs[0]
    values[: pairs[0].size] = pairs[1]
    return nodes, values


@kernel
def _take_out(
    values: Out[np.float64], tiles: Out[np.uint8], pairs: tuple[Out[np.int32], Out[np.float64]]
) -> tuple[tuple[Out[np.int32], Out[np.float64]], int]:
    """Return what is not 0, nodes ascending, and leave 0."""
    put = 0
    for tile in range(tiles.size):
        if tiles[tile]:
            tiles[tile] = 0
            pairs = _with_room(pairs, put + TILE)
            for v in range(tile << TILE_BITS, (tile + 1) << TILE_BITS):
                if values[v] != 0.0:
                    pairs[0][put] = v
                    pairs[1][put] = values[v]
                    values[v] = 0.0
                    put += 1
    return pairs, put


@kernel
def _forward(
    graph: tuple[In[np.int64], In[np.int32], In[np.float32], In[np.float64]],
    v: int,
    chance: float,
    there: Out[np.float64],
    tiles: Out[np.uint8],
) -> None:
    """Move a chance from v on to its neighbours; a node without any keeps it."""
    indptr, indices, weights, degree = graph
    if indptr[v] == indptr[v + 1]:
        there[v] += chance
        tiles[v >> TILE_BITS] = 1
        return
    share = chance / degree[v]
    for e in range(indptr[v], indptr[v + 1]):
        u = indices[e]
        if weights.size == 0:
            there[u] += share
        else:
            there[u] += share * np.float64(weights[e])
        tiles[u >> TILE_BITS] = 1


@kernel
def _answer(
    graph: tuple[In[np.int64], In[np.int32], In[np.float32], In[np.float64]],
    sets: tuple[In[np.int64], In[np.int64], In[np.float64]],
    prints: tuple[In[np.int64], In[np.int64], In[np.int32], In[np.float32], float],
    restart: float,
    rounds: int,
    drop_below: float,
    query: int,
    spread: tuple[Out[np.float64], Out[np.float64], Out[np.float64]],
    values: OutMatrix[np.float64],
    tiles: OutMatrix[np.uint8],
    moving: tuple[Out[np.int32], Out[np.float64]],
) -> tuple[int, tuple[Out[np.int32], Out[np.float64]], int]:
    """Do the rounds of a query, and add up fingerprints in ``values[_SUMS]``; the other rows are 0 before and after.

    Returns a node without fingerprint, or -1, and what was settled, in ``count`` pairs ascending by node, which is not
    in the sums yet. ``largest`` is that of the nodes settled so far.
    """
    set_indptr, set_nodes, shares = sets
    place, print_indptr, print_nodes, visits, scale = prints
    heaviest, largest, dropped = spread
    here, tiles_here = values[_HERE], tiles[_HERE]
    there, tiles_there = values[_THERE], tiles[_THERE]
    kept, tiles_kept = values[_KEPT], tiles[_KEPT]
    sums, tiles_summed = values[_SUMS], tiles[_SUMS]
    for e in range(set_indptr[query], set_indptr[query + 1]):
        here[set_nodes[e]] += shares[e]
        tiles_here[set_nodes[e] >> TILE_BITS] = 1
    count = 0
    for _ in range(rounds):
        moving, count = _take_out(here, tiles_here, moving)
        for i in range(count):
            v, chance = int(moving[0][i]), moving[1][i]
            kept[v] += restart * chance
            tiles_kept[v >> TILE_BITS] = 1
            _forward(graph, v, (1.0 - restart) * chance, there, tiles_there)
        here, there = there, here
        tiles_here, tiles_there = tiles_there, tiles_here
    moving, count = _take_out(here, tiles_here, moving)
    absent = -1
    for i in range(count):
        if moving[1][i] < drop_below:
            dropped[query] += moving[1][i]
            continue
        row = place[moving[0][i]]
        if row < 0:
            absent = int(moving[0][i])
            break
        if i + 1 < count and place[moving[0][i + 1]] >= 0:
            first = print_indptr[place[moving[0][i + 1]]]
            prefetch_element(print_nodes, first)
            prefetch_element(visits, first)
        heaviest[query] = max(heaviest[query], moving[1][i])
        share = moving[1][i] * scale
        for e in range(print_indptr[row], print_indptr[row + 1]):
            u = print_nodes[e]
            sums[u] += share * np.float64(visits[e])
            tiles_summed[u >> TILE_BITS] = 1
    moving, count = _take_out(kept, tiles_kept, moving)
    for i in range(count):
        largest[query] = max(largest[query], sums[moving[0][i]])
    return absent, moving, count


@kernel
def _largest(line: Out[np.float64]) -> float:
    """The largest of a tile's values, none below 0: by their bits, which a processor compares eight at a time."""
    bits = line.view(np.int64)
    a, b, c, d = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for i in range(0, TILE, 4):
        a = max(a, bits[i])
        b = max(b, bits[i + 1])
        c = max(c, bits[i + 2])
        d = max(d, bits[i + 3])
    return np.int64(max(max(a, b), max(c, d))).view(np.float64)


@kernel
def _tops(
    sums: Out[np.float64], touched: Out[np.uint8], factor: In[np.float32], start: int, stop: int, tops: Out[np.float64]
) -> float:
    """Fill in the largest score of each touched tile's candidates; return the largest sum of all.

    Sums become scores, those of others than candidates 0.
    """
    largest = 0.0
    for tile in range(touched.size):
        if not touched[tile]:
            continue
        first = tile << TILE_BITS
        line = sums[first : first + TILE]
        top = _largest(line)
        largest = max(largest, top)
        if first < start or first + TILE > stop or factor.size > 0:
            for i in range(TILE):
                if first + i < start or first + i >= stop:
                    line[i] = 0.0
                elif factor.size > 0:
                    line[i] *= np.float64(factor[first + i])
            top = _largest(line)
        tops[tile] = top
    return largest


@kernel
def _offer(best: Out[np.float32], places: Out[np.int64], value: float, node: int) -> None:
    """Let a value above 0 into the heap, in whatever order of nodes."""
    score = np.float32(value)
    if score > best[0] or (score == best[0] and score > 0 and node < places[0]):
        sift_down(best, places, best.size, score, node)


@kernel
def _offer_tiles(
    sums: Out[np.float64],
    touched: Out[np.uint8],
    tops: In[np.float64],
    bars: Out[np.float32],
    bar_tiles: Out[np.int64],
    best: Out[np.float32],
    places: Out[np.int64],
) -> None:
    """Let the scores of touched tiles into the heap, and leave 0; ``bars`` and ``bar_tiles`` (k,) are overwritten."""
    # The k-th of the tiles' best is no higher than the k-th of all: most tiles need no second look.
    bars.fill(0)
    bar_tiles.fill(NO_ROW)
    for tile in range(touched.size):
        if touched[tile]:
            _offer(bars, bar_tiles, tops[tile], tile)
    for tile in range(touched.size):
        if touched[tile]:
            touched[tile] = 0
            line = sums[tile << TILE_BITS : (tile + 1) << TILE_BITS]
            top = np.float32(tops[tile])
            if top >= bars[0] and top >= best[0]:
                for i in range(TILE):
                    if line[i] != 0.0:
                        _offer(best, places, line[i], (tile << TILE_BITS) + i)
            line.fill(0)


@kernel
def rank_all(
    graph: tuple[In[np.int64], In[np.int32], In[np.float32], In[np.float64]],
    sets: tuple[In[np.int64], In[np.int64], In[np.float64]],
    prints: tuple[In[np.int64], In[np.int64], In[np.int32], In[np.float32], float],
    restart: float,
    rounds: int,
    drop_below: float,
    spread: tuple[Out[np.float64], Out[np.float64], Out[np.float64]],
    factor: In[np.float32],
    start: int,
    stop: int,
    known_indptr: In[np.int64],
    known: In[np.int64],
    scores: OutMatrix[np.float32],
    nodes: OutMatrix[np.int64],
) -> int:
    """The heaps of each query's best candidates, (queries, k); returns a node without fingerprint, or -1.

    factor : (n,) of scores; empty for 1. The others are those of `Candidates`.
    """
    set_indptr, largest = sets[0], spread[1]
    count_of_tiles = (graph[3].size + TILE - 1) >> TILE_BITS
    values = np.zeros((4, count_of_tiles << TILE_BITS))
    tiles = np.zeros((4, count_of_tiles), np.uint8)
    sums, touched = values[_SUMS], tiles[_SUMS]
    tops = np.empty(count_of_tiles)
    bars, bar_tiles = np.empty(scores.shape[1], np.float32), np.empty(scores.shape[1], np.int64)
    moving = (np.empty(1024, np.int32), np.empty(1024))
    for query in range(set_indptr.size - 1):
        absent, moving, count = _answer(
            graph, sets, prints, restart, rounds, drop_below, query, spread, values, tiles, moving
        )
        if absent >= 0:
            return absent
        best, places = scores[query], nodes[query]
        first_known, stop_known = known_indptr[query], known_indptr[query + 1]
        # What was settled is ranked by itself, so that for the bound the sums hold nothing but fingerprints.
        for i in range(count):
            u = int(moving[0][i])
            value = sums[u] + moving[1][i]
            sums[u] = 0.0
            if start <= u < stop and not is_known(known, first_known, stop_known, u):
                if factor.size > 0:
                    value *= np.float64(factor[u])
                _offer(best, places, value, u)
        for i in range(first_known, stop_known):
            largest[query] = max(largest[query], sums[known[i]])
            sums[known[i]] = 0.0
        largest[query] = max(largest[query], _tops(sums, touched, factor, start, stop, tops))
        _offer_tiles(sums, touched, tops, bars, bar_tiles, best, places)
    return -1
