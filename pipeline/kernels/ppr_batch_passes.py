"""Compiled passes of batch queries: rounds, sums of fingerprints, and rankings, one query after the other.

Values of nodes have a mark for each tile of `TILE` nodes. So a query visits, and sets back to 0, what it touched and
nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.array_types import In, Out, OutMatrix, inner_kernel, kernel
from pipeline.kernels.ppr_top_k import CandidateNodes, contains, may_enter
from pipeline.kernels.prefetch import prefetch_element
from pipeline.kernels.ranking import NO_ROW, sift_down
from pipeline.kernels.transition import RestartArrays

TILE_BITS = 6
TILE = 1 << TILE_BITS
"""Nodes that share a mark."""


class BatchGraph(NamedTuple):
    """A `Transition`. Its weights are empty, not None, where all are 1: one kernel to compile, not two."""

    indptr: In[np.int64]
    indices: In[np.int32]
    weights: In[np.float32]
    degree: In[np.float64]


class Fingerprints(NamedTuple):
    """Scores of some nodes, as walks estimate them: of node v at ``nodes[e]``, ``scale * visits[e]``, e in its row."""

    row_of: In[np.int64]  # (n,) row of a node, or `ABSENT`
    indptr: In[np.int64]  # (rows + 1,)
    nodes: In[np.int32]  # (entries,) each at most once a row
    visits: In[np.float32]  # (entries,)
    scale: float
    walks: int  # of each node, 0 where rows are exact


class BatchRule(NamedTuple):
    """How queries are answered: restart of the walks, rounds, and the chance below which walks are dropped."""

    restart: float
    rounds: int
    drop_below: float = 0.0


class BatchSpread(NamedTuple):
    """What the error of each query depends on; (queries,) each."""

    heaviest: Out[np.float64]  # the largest chance that is left to one fingerprint
    largest: Out[np.float64]  # the largest sum of fingerprints at a node, without what was settled exactly
    dropped: Out[np.float64]  # the chance that was left out

    @classmethod
    def of(cls, queries: int) -> BatchSpread:
        """Zeros for so many queries."""
        return cls(np.zeros(queries), np.zeros(queries), np.zeros(queries))


class _Pairs(NamedTuple):
    """Nodes and a value each, as far as there is room."""

    nodes: Out[np.int32]
    values: Out[np.float64]


class _State(NamedTuple):
    """Values of all nodes, and the marks of their tiles, in rows: 0 between queries."""

    values: OutMatrix[np.float64]
    tiles: OutMatrix[np.uint8]


_HERE, _THERE, _SETTLED, _SUMS = range(4)  # rows of the state


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
def _with_room(pairs: _Pairs, size: int) -> _Pairs:
    """The same pairs in arrays of at least the wanted size."""
    if pairs.nodes.size >= size:
        return pairs
    nodes, values = np.empty(2 * size, np.int32), np.empty(2 * size)
    nodes[: pairs.nodes.size] = pairs.nodes
    values[: pairs.nodes.size] = pairs.values
    return _Pairs(nodes, values)


@kernel
def _take_out(values: Out[np.float64], tiles: Out[np.uint8], pairs: _Pairs) -> tuple[_Pairs, int]:
    """Write what is not 0 into pairs, nodes ascending, and leave 0; the number of pairs."""
    count = 0
    for tile in range(tiles.size):
        if tiles[tile]:
            tiles[tile] = 0
            pairs = _with_room(pairs, count + TILE)
            nodes, chances = pairs
            for v in range(tile << TILE_BITS, (tile + 1) << TILE_BITS):
                if values[v] != 0.0:
                    nodes[count] = v
                    chances[count] = values[v]
                    values[v] = 0.0
                    count += 1
    return pairs, count


@inner_kernel
def _forward(graph: BatchGraph, v: int, chance: float, next_chances: Out[np.float64], tiles: Out[np.uint8]) -> None:
    """Move a chance from v on to its neighbours."""
    indptr, indices, weights, degree = graph
    share = chance / degree[v]
    for e in range(indptr[v], indptr[v + 1]):
        u = indices[e]
        if weights.size == 0:
            next_chances[u] += share
        else:
            next_chances[u] += share * np.float64(weights[e])
        tiles[u >> TILE_BITS] = 1


@kernel
def _do_rounds(
    graph: BatchGraph, sets: RestartArrays, rule: BatchRule, query: int, state: _State, moving: _Pairs
) -> tuple[_Pairs, int]:
    """Do the rounds of a query: what is settled, in the state; where walks are after the last one, in pairs."""
    set_indptr, set_nodes, shares = sets
    restart, rounds, _ = rule
    now, tiles_here = state.values[_HERE], state.tiles[_HERE]
    after, tiles_there = state.values[_THERE], state.tiles[_THERE]
    settled_chances, tiles_settled = state.values[_SETTLED], state.tiles[_SETTLED]
    for e in range(set_indptr[query], set_indptr[query + 1]):
        now[set_nodes[e]] += shares[e]
        tiles_here[set_nodes[e] >> TILE_BITS] = 1
    for _ in range(rounds):
        moving, count = _take_out(now, tiles_here, moving)
        nodes, chances = moving
        for i in range(count):
            v, chance = int(nodes[i]), chances[i]
            if graph.indptr[v] == graph.indptr[v + 1]:  # all of it ends as the fingerprint of v
                after[v] += chance
                tiles_there[v >> TILE_BITS] = 1
                continue
            settled_chances[v] += restart * chance
            tiles_settled[v >> TILE_BITS] = 1
            _forward(graph, v, (1.0 - restart) * chance, after, tiles_there)
        now, after = after, now
        tiles_here, tiles_there = tiles_there, tiles_here
    return _take_out(now, tiles_here, moving)


@inner_kernel
def _add_fingerprints(
    prints: Fingerprints, drop_below: float, query: int, spread: BatchSpread, state: _State, moving: _Pairs, count: int
) -> int:
    """Add the fingerprints of the first ``count`` pairs to the sums; a node without fingerprint, or -1."""
    row_of, indptr, print_nodes, visits, scale, _ = prints
    heaviest, _, drop = spread
    nodes, chances = moving
    sums, tiles = state.values[_SUMS], state.tiles[_SUMS]
    for i in range(count):
        if chances[i] < drop_below:
            drop[query] += chances[i]
            continue
        row = row_of[nodes[i]]
        if row < 0:
            return int(nodes[i])
        if i + 1 < count and row_of[nodes[i + 1]] >= 0:
            first = indptr[row_of[nodes[i + 1]]]
            prefetch_element(print_nodes, first)
            prefetch_element(visits, first)
        heaviest[query] = max(heaviest[query], chances[i])
        share = chances[i] * scale
        for e in range(indptr[row], indptr[row + 1]):
            u = print_nodes[e]
            sums[u] += share * np.float64(visits[e])
            tiles[u >> TILE_BITS] = 1
    return -1


@inner_kernel
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


@inner_kernel
def _tops(sums: Out[np.float64], is_touched: Out[np.uint8], candidates: CandidateNodes, tops: Out[np.float64]) -> float:
    """Fill in the largest score of each touched tile's candidates; return the largest sum of all.

    Sums become scores, those of others than candidates 0.
    """
    start, stop, factor, _ = candidates
    largest = 0.0
    for tile in range(is_touched.size):
        if not is_touched[tile]:
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


@inner_kernel
def _offer(best: Out[np.float32], nodes: Out[np.int64], value: float, node: int) -> None:
    """Let a value above 0 into the heap, in whatever order of nodes."""
    score = np.float32(value)
    if may_enter(best, nodes, score, node):
        sift_down(best, nodes, best.size, score, node)


@inner_kernel
def _offer_tiles(
    sums: Out[np.float64],
    is_touched: Out[np.uint8],
    tops: In[np.float64],
    bars: Out[np.float32],
    bar_tiles: Out[np.int64],
    best: Out[np.float32],
    nodes: Out[np.int64],
) -> None:
    """Let the scores of touched tiles into the heap, and leave 0; ``bars`` and ``bar_tiles`` (k,) are overwritten."""
    # The k-th of the tiles' best is no higher than the k-th of all: most tiles need no second look.
    bars.fill(0)
    bar_tiles.fill(NO_ROW)
    for tile in range(is_touched.size):
        if is_touched[tile]:
            _offer(bars, bar_tiles, tops[tile], tile)
    for tile in range(is_touched.size):
        if is_touched[tile]:
            is_touched[tile] = 0
            line = sums[tile << TILE_BITS : (tile + 1) << TILE_BITS]
            top = np.float32(tops[tile])
            if top >= bars[0] and top >= best[0]:
                for i in range(TILE):
                    if line[i] != 0.0:
                        _offer(best, nodes, line[i], (tile << TILE_BITS) + i)
            line.fill(0)


@kernel
def rank_all(
    graph: BatchGraph,
    sets: RestartArrays,
    prints: Fingerprints,
    rule: BatchRule,
    spread: BatchSpread,
    candidates: CandidateNodes,
    scores: OutMatrix[np.float32],
    nodes: OutMatrix[np.int64],
) -> int:
    """The heaps of each query's best candidates, (queries, k); returns a node without fingerprint, or -1."""
    start, stop, factor, (excluded_indptr, excluded_nodes) = candidates
    largest = spread.largest
    count_of_tiles = (graph.degree.size + TILE - 1) >> TILE_BITS
    state = _State(np.zeros((4, count_of_tiles << TILE_BITS)), np.zeros((4, count_of_tiles), np.uint8))
    sums, is_touched = state.values[_SUMS], state.tiles[_SUMS]
    tops = np.empty(count_of_tiles)
    bars, bar_tiles = np.empty(scores.shape[1], np.float32), np.empty(scores.shape[1], np.int64)
    pairs = _Pairs(np.empty(1024, np.int32), np.empty(1024))
    for query in range(sets.indptr.size - 1):
        pairs, count = _do_rounds(graph, sets, rule, query, state, pairs)
        absent = _add_fingerprints(prints, rule.drop_below, query, spread, state, pairs, count)
        if absent >= 0:
            return absent
        best, best_nodes = scores[query], nodes[query]
        first, last = excluded_indptr[query], excluded_indptr[query + 1]
        # What was settled is ranked by itself, so that for the bound the sums hold nothing but fingerprints.
        pairs, count = _take_out(state.values[_SETTLED], state.tiles[_SETTLED], pairs)
        settled_nodes, settled_chances = pairs
        for i in range(count):
            u = int(settled_nodes[i])
            largest[query] = max(largest[query], sums[u])
            value = sums[u] + settled_chances[i]
            sums[u] = 0.0
            if start <= u < stop and not contains(excluded_nodes, first, last, u):
                if factor.size > 0:
                    value *= np.float64(factor[u])
                _offer(best, best_nodes, value, u)
        for i in range(first, last):
            largest[query] = max(largest[query], sums[excluded_nodes[i]])
            sums[excluded_nodes[i]] = 0.0
        largest[query] = max(largest[query], _tops(sums, is_touched, candidates, tops))
        _offer_tiles(sums, is_touched, tops, bars, bar_tiles, best, best_nodes)
    return -1
