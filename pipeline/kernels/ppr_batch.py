"""Personalised PageRank of many restart sets from fingerprints of nodes, by vertex-centric decomposition.

From restart chances ``f``, a round settles ``restart * f(v)`` at every node v and moves the rest on to its neighbours.
What is still on its way after the last round is settled as the fingerprint of the node where it stands:
``pi(f) = restart * sum over t < T of g_t + sum over v of g_T(v) * pi(v)``, ``g_t = (1 - restart)^t f P^t``: exact with
exact fingerprints, whatever the number of rounds T; with sampled ones each round takes some of the sampling away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from pipeline.kernels.array_types import reads, writes
from pipeline.kernels.ppr_top_k import Candidates, SparseScores, TopK, check_candidates
from pipeline.kernels.prefetch import prefetch_element
from pipeline.kernels.ranking import NO_ROW, best_first, sift_down
from pipeline.kernels.transition import RestartSets, Transition, check_restart, check_sources

ABSENT = -1
"""Place of a node whose fingerprint is not among those given."""

_TILE_BITS = 6  # nodes that share a mark, as a power of 2: what was touched is found without a look at all nodes
_TILE = 1 << _TILE_BITS

_NONE = np.empty(0, np.float32)

_tuple: Any = types.Tuple  # numba's own constructors have no annotations
_PAIRS = _tuple((writes(types.int32), writes(types.float64)))
# Of a graph without weights, or candidates without factors, the array is empty: one kernel to compile instead of four.
_FLOATS = reads(types.float32)
_GRAPH = (reads(types.int64), reads(types.int32))
_SETS = (reads(types.int64), reads(types.int64), reads(types.float64))
_PRINTS = (reads(types.int64), reads(types.int64), reads(types.int32), reads(types.float32), types.float64)
_SPREAD = (writes(types.float64),) * 3
_DENSE = (writes(types.float64), writes(types.uint8))


#: Of a graph, restart sets, and fingerprints.
_Arrays = tuple[
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.float32],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.float32],
    float,
]


@dataclass(frozen=True)
class Fingerprints:
    """Estimated scores of some nodes' walks: of node v, ``scale * visits[e]`` at ``nodes[e]``, e from place[v]'s range.

    place : (n,) int64, the row of a node, or `ABSENT`. indptr (rows + 1,) int64, nodes (entries,) int32 each at most
    once a row, visits (entries,) float32. walks : of each node, 0 where rows are exact.
    """

    place: NDArray[np.int64]
    indptr: NDArray[np.int64]
    nodes: NDArray[np.int32]
    visits: NDArray[np.float32]
    scale: float
    walks: int


@dataclass(frozen=True)
class BatchSpread:
    """What the error of each query depends on; (queries,) float64 each.

    heaviest : the largest chance that is left to one fingerprint. largest : the largest sum of fingerprints at a node,
    without what was settled exactly. dropped : the chance that was left out.
    """

    heaviest: NDArray[np.float64]
    largest: NDArray[np.float64]
    dropped: NDArray[np.float64]


def batch_scores(
    graph: Transition,
    fingerprints: Fingerprints,
    sets: RestartSets,
    restart: float,
    rounds: int,
    drop_below: float = 0.0,
) -> tuple[SparseScores, BatchSpread]:
    """All scores of each restart set; parameters and errors as in `batch_top_k`.

    Returns
    -------
    Scores, nodes ascending; ``missing`` is what was dropped. And what `batch_radius` takes.
    """
    _check(graph, fingerprints, sets, restart, rounds, drop_below)
    spread = _no_spread(len(sets))
    indptr = np.zeros(len(sets) + 1, np.int64)
    absent, (nodes, scores) = _score_all(
        *_arrays(graph, fingerprints, sets),
        *(restart, rounds, drop_below, spread.heaviest, spread.largest, spread.dropped, indptr),
    )
    _refuse_absent(absent)
    return SparseScores(indptr, nodes[: indptr[-1]], scores[: indptr[-1]], spread.dropped), spread


def batch_top_k(
    graph: Transition,
    fingerprints: Fingerprints,
    sets: RestartSets,
    restart: float,
    rounds: int,
    k: int,
    candidates: Candidates,
    drop_below: float = 0.0,
    confidence: float = 0.95,
) -> TopK:
    """The k best nodes of each restart set.

    Parameters
    ----------
    graph : what walks went over. fingerprints : of every node that a set reaches in exactly ``rounds`` steps.
    sets : shares may add up to less than 1: scores are then those of the part that is given.
    restart : of the walks, too. rounds : at least 0.
    candidates : which nodes lists hold; ``known`` are left out.
    drop_below : chances smaller than this are left out after the last round, and the bound grows by them.
    confidence : of the bound, for any one score alone.

    Returns
    -------
    Lists whose bits depend on the set alone, not on the other sets nor on their order; ``bound`` is `batch_radius`.

    Raises
    ------
    ValueError : a restart, rounds, k, confidence or candidates out of range; a missing fingerprint.
    IndexError : a seed that the graph does not have.

    Cost
    ----
    Of a query: the entries that its rounds touch, and those of the fingerprints that they end at, an addition each.
    16 bytes a node of the graph and a row of a fingerprint are held in cache. Queries come one after the other: sums of
    several at once, so that they share a fingerprint that is in cache, don't fit the cache, and were slower.

    Source
    ------
    Liu, Li, Lui & Cheng, "PowerWalk", CIKM 2016, arXiv 1608.06054.
    """
    _check(graph, fingerprints, sets, restart, rounds, drop_below)
    check_candidates(candidates, graph.n, len(sets), k)
    spread = _no_spread(len(sets))
    nodes, scores = np.full((len(sets), k), NO_ROW, np.int64), np.zeros((len(sets), k), np.float32)
    factor = _NONE if candidates.factor is None else candidates.factor
    known_indptr, known = candidates.known_of(0, len(sets))
    absent = _rank_all(
        *_arrays(graph, fingerprints, sets), restart, rounds, drop_below, spread.heaviest, spread.largest,
        spread.dropped, factor, candidates.start, candidates.stop, known_indptr, known, scores, nodes,
    )  # fmt: skip
    _refuse_absent(absent)
    best_first(scores, nodes)
    return TopK(nodes, scores, batch_radius(spread, fingerprints.walks, confidence))


def batch_radius(spread: BatchSpread, walks: int, confidence: float) -> NDArray[np.float64]:
    """How far any one score of a query may be from the exact one, with the given confidence; (queries,) float64.

    With g(v) left at v, the sum of fingerprints at u is one of independent terms ``g(v) Y / walks``, Y being a walk's
    share: E[Y^m] <= m! pi_v(u) (`walk_radius`). So Bernstein's condition holds with variance factor
    ``2 / walks * sum g(v)^2 pi_v(u) <= 2 max(g) / walks * S(u)``, S(u) the expected sum, and scale ``max(g) / walks``.
    That is `walk_radius` at S(u) with ``walks / max(g)`` walks: chances spread over m nodes make m times the walks.
    It rises with the sum, so that of the largest holds for all. What was dropped would have added itself at most.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must be above 0 and below 1")
    if walks == 0:
        return spread.dropped.copy()
    h = math.log(2 / (1 - confidence)) * spread.heaviest / walks
    return 3 * h + 2 * np.sqrt(h * (spread.largest + 2 * h)) + spread.dropped


def nodes_after(graph: Transition, seeds: NDArray[np.int64], rounds: int) -> NDArray[np.int64]:
    """The nodes whose fingerprints these seeds need: those that some walk is at after ``rounds`` steps; ascending."""
    at = np.zeros(graph.n, np.bool_)
    at[seeds] = True
    for _ in range(rounds):
        following = np.zeros(graph.n, np.bool_)
        _spread_marks(graph.indptr, graph.indices, at, following)
        at = following
    return np.flatnonzero(at)


def _no_spread(queries: int) -> BatchSpread:
    return BatchSpread(np.zeros(queries), np.zeros(queries), np.zeros(queries))


def _arrays(graph: Transition, prints: Fingerprints, sets: RestartSets) -> _Arrays:
    weights = _NONE if graph.weights is None else graph.weights
    return (
        *(graph.indptr, graph.indices, weights, graph.degree, sets.indptr, sets.nodes, sets.shares),
        *(prints.place, prints.indptr, prints.nodes, prints.visits, prints.scale),
    )


def _check(
    graph: Transition,
    fingerprints: Fingerprints,
    sets: RestartSets,
    restart: float,
    rounds: int,
    drop_below: float,
) -> None:
    check_restart(restart)
    check_sources(graph, sets)
    if rounds < 0:
        raise ValueError(f"rounds is {rounds}; it must be at least 0, which adds up fingerprints of the seeds")
    if not 0 <= drop_below < 1:
        raise ValueError(f"drop_below is {drop_below}; it must be at least 0 and below 1, a chance")
    if fingerprints.place.shape != (graph.n,):
        raise ValueError(f"fingerprints are of {fingerprints.place.size} nodes, the graph has {graph.n}")


def _refuse_absent(node: int) -> None:
    if node >= 0:
        raise ValueError(f"node {node} has no fingerprint; give those of nodes_after(graph, seeds, rounds)")


@njit(
    types.void(*_GRAPH, reads(types.boolean), writes(types.boolean)),
    nogil=True,
    cache=True,
)
def _spread_marks(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], at: NDArray[np.bool_], following: NDArray[np.bool_]
) -> None:
    for v in range(at.size):
        if at[v]:
            if indptr[v] == indptr[v + 1]:
                following[v] = True
            for e in range(indptr[v], indptr[v + 1]):
                following[indices[e]] = True


@njit(_PAIRS(_PAIRS, types.int64), nogil=True, cache=True)
def _with_room(
    pairs: tuple[NDArray[np.int32], NDArray[np.float64]], wanted: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The same pairs in arrays of at least the wanted size."""
    if pairs[0].size >= wanted:
        return pairs
    nodes, values = np.empty(2 * wanted, np.int32), np.empty(2 * wanted)
    nodes[: pairs[0].size] = pairs[0]
    values[: pairs[0].size] = pairs[1]
    return nodes, values


@njit(_tuple((_PAIRS, types.int64))(*_DENSE, _PAIRS, types.int64), nogil=True, cache=True)
def _take_out(
    values: NDArray[np.float64],
    tiles: NDArray[np.uint8],
    pairs: tuple[NDArray[np.int32], NDArray[np.float64]],
    put: int,
) -> tuple[tuple[NDArray[np.int32], NDArray[np.float64]], int]:
    """Append what is not 0, nodes ascending, from place ``put`` on, and leave 0."""
    for tile in range(tiles.size):
        if tiles[tile]:
            tiles[tile] = 0
            pairs = _with_room(pairs, put + _TILE)
            for v in range(tile << _TILE_BITS, (tile + 1) << _TILE_BITS):
                if values[v] != 0.0:
                    pairs[0][put] = v
                    pairs[1][put] = values[v]
                    values[v] = 0.0
                    put += 1
    return pairs, put


@njit(
    types.void(*_GRAPH, _FLOATS, reads(types.float64), types.int64, types.float64, *_DENSE),
    nogil=True,
    cache=True,
)
def _forward(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    degree: NDArray[np.float64],
    v: int,
    chance: float,
    there: NDArray[np.float64],
    tiles: NDArray[np.uint8],
) -> None:
    """Move a chance from v on to its neighbours; a node without any keeps it."""
    if indptr[v] == indptr[v + 1]:
        there[v] += chance
        tiles[v >> _TILE_BITS] = 1
        return
    share = chance / degree[v]
    for e in range(indptr[v], indptr[v + 1]):
        u = indices[e]
        if weights.size == 0:
            there[u] += share
        else:
            there[u] += share * np.float64(weights[e])
        tiles[u >> _TILE_BITS] = 1


@njit(
    _tuple((types.int64, _PAIRS, types.int64))(
        *(*_GRAPH, _FLOATS, reads(types.float64), *_SETS, *_PRINTS, types.float64, types.int64, types.float64),
        *(types.int64, *_SPREAD, *_DENSE, *_DENSE, *_DENSE, *_DENSE, _PAIRS),
    ),
    nogil=True,
    cache=True,
)
def _answer(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    degree: NDArray[np.float64],
    set_indptr: NDArray[np.int64],
    set_nodes: NDArray[np.int64],
    shares: NDArray[np.float64],
    place: NDArray[np.int64],
    print_indptr: NDArray[np.int64],
    print_nodes: NDArray[np.int32],
    visits: NDArray[np.float32],
    scale: float,
    restart: float,
    rounds: int,
    drop_below: float,
    query: int,
    heaviest: NDArray[np.float64],
    largest: NDArray[np.float64],
    dropped: NDArray[np.float64],
    here: NDArray[np.float64],
    tiles_here: NDArray[np.uint8],
    there: NDArray[np.float64],
    tiles_there: NDArray[np.uint8],
    kept: NDArray[np.float64],
    tiles_kept: NDArray[np.uint8],
    sums: NDArray[np.float64],
    marks: NDArray[np.uint8],
    moving: tuple[NDArray[np.int32], NDArray[np.float64]],
) -> tuple[int, tuple[NDArray[np.int32], NDArray[np.float64]], int]:
    """Do the rounds of a query, and add up fingerprints in ``sums``.

    Returns a node without fingerprint, or -1, and what was settled, in ``count`` pairs ascending by node, which is not
    in ``sums`` yet. ``largest`` is that of the nodes settled so far.
    """
    for e in range(set_indptr[query], set_indptr[query + 1]):
        here[set_nodes[e]] += shares[e]
        tiles_here[set_nodes[e] >> _TILE_BITS] = 1
    count = 0
    for _ in range(rounds):
        moving, count = _take_out(here, tiles_here, moving, 0)
        for i in range(count):
            v, chance = int(moving[0][i]), moving[1][i]
            kept[v] += restart * chance
            tiles_kept[v >> _TILE_BITS] = 1
            _forward(indptr, indices, weights, degree, v, (1.0 - restart) * chance, there, tiles_there)
        here, there = there, here
        tiles_here, tiles_there = tiles_there, tiles_here
    moving, count = _take_out(here, tiles_here, moving, 0)
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
            marks[u >> _TILE_BITS] = 1
    moving, count = _take_out(kept, tiles_kept, moving, 0)
    for i in range(count):
        largest[query] = max(largest[query], sums[moving[0][i]])
    return absent, moving, count


@njit(
    _tuple((types.int64, _PAIRS))(
        *(*_GRAPH, _FLOATS, reads(types.float64), *_SETS, *_PRINTS, types.float64, types.int64, types.float64),
        *(*_SPREAD, writes(types.int64)),
    ),
    nogil=True,
    cache=True,
)
def _score_all(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    degree: NDArray[np.float64],
    set_indptr: NDArray[np.int64],
    set_nodes: NDArray[np.int64],
    shares: NDArray[np.float64],
    place: NDArray[np.int64],
    print_indptr: NDArray[np.int64],
    print_nodes: NDArray[np.int32],
    visits: NDArray[np.float32],
    scale: float,
    restart: float,
    rounds: int,
    drop_below: float,
    heaviest: NDArray[np.float64],
    largest: NDArray[np.float64],
    dropped: NDArray[np.float64],
    out_indptr: NDArray[np.int64],
) -> tuple[int, tuple[NDArray[np.int32], NDArray[np.float64]]]:
    """Every score of each query, in pairs."""
    tiles = (degree.size + _TILE - 1) >> _TILE_BITS
    dense = np.zeros((4, tiles << _TILE_BITS))
    marks = np.zeros((4, tiles), np.uint8)
    moving = (np.empty(1024, np.int32), np.empty(1024))
    out = (np.empty(1024, np.int32), np.empty(1024))
    for query in range(set_indptr.size - 1):
        absent, moving, count = _answer(
            indptr, indices, weights, degree, set_indptr, set_nodes, shares, place, print_indptr, print_nodes, visits,
            scale, restart, rounds, drop_below, query, heaviest, largest, dropped, dense[0], marks[0], dense[1],
            marks[1], dense[2], marks[2], dense[3], marks[3], moving,
        )  # fmt: skip
        if absent >= 0:
            return absent, out
        for tile in range(tiles):
            if marks[3, tile]:
                for u in range(tile << _TILE_BITS, (tile + 1) << _TILE_BITS):
                    largest[query] = max(largest[query], dense[3, u])
        for i in range(count):
            dense[3, moving[0][i]] += moving[1][i]
            marks[3, moving[0][i] >> _TILE_BITS] = 1
        out, put = _take_out(dense[3], marks[3], out, out_indptr[query])
        out_indptr[query + 1] = put
    return -1, out


@njit(types.boolean(reads(types.int64), types.int64, types.int64, types.int64), nogil=True, cache=True)
def _is_known(known: NDArray[np.int64], start: int, stop: int, node: int) -> bool:
    at = start + np.searchsorted(known[start:stop], node)
    return bool(at < stop and known[at] == node)


@njit(types.float64(writes(types.float64)), nogil=True, cache=True)
def _largest(line: NDArray[np.float64]) -> float:
    """The largest of a tile's values, none below 0: by their bits, which a processor compares eight at a time."""
    bits = line.view(np.int64)
    a, b, c, d = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for i in range(0, _TILE, 4):
        a = max(a, bits[i])
        b = max(b, bits[i + 1])
        c = max(c, bits[i + 2])
        d = max(d, bits[i + 3])
    return np.int64(max(max(a, b), max(c, d))).view(np.float64)


@njit(
    types.float64(*_DENSE, _FLOATS, types.int64, types.int64, writes(types.float64)),
    nogil=True,
    cache=True,
)
def _tops(
    sums: NDArray[np.float64],
    touched: NDArray[np.uint8],
    factor: NDArray[np.float32],
    start: int,
    stop: int,
    tops: NDArray[np.float64],
) -> float:
    """Fill in the largest score of each touched tile's candidates; return the largest sum of all.

    Sums become scores, those of others than candidates 0.
    """
    largest = 0.0
    for tile in range(touched.size):
        if not touched[tile]:
            continue
        first = tile << _TILE_BITS
        line = sums[first : first + _TILE]
        top = _largest(line)
        largest = max(largest, top)
        if first < start or first + _TILE > stop or factor.size > 0:
            for i in range(_TILE):
                if first + i < start or first + i >= stop:
                    line[i] = 0.0
                elif factor.size > 0:
                    line[i] *= np.float64(factor[first + i])
            top = _largest(line)
        tops[tile] = top
    return largest


@njit(
    types.void(writes(types.float32), writes(types.int64), types.float64, types.int64),
    nogil=True,
    cache=True,
)
def _offer(best: NDArray[np.float32], places: NDArray[np.int64], value: float, node: int) -> None:
    """Let a value above 0 into the heap, in whatever order of nodes."""
    score = np.float32(value)
    if score > best[0] or (score == best[0] and score > 0 and node < places[0]):
        sift_down(best, places, best.size, score, node)


@njit(
    types.int64(
        *(*_GRAPH, _FLOATS, reads(types.float64), *_SETS, *_PRINTS, types.float64, types.int64, types.float64),
        *(*_SPREAD, _FLOATS, types.int64, types.int64, reads(types.int64), reads(types.int64)),
        *(writes(types.float32, 2), writes(types.int64, 2)),
    ),
    nogil=True,
    cache=True,
)
def _rank_all(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    degree: NDArray[np.float64],
    set_indptr: NDArray[np.int64],
    set_nodes: NDArray[np.int64],
    shares: NDArray[np.float64],
    place: NDArray[np.int64],
    print_indptr: NDArray[np.int64],
    print_nodes: NDArray[np.int32],
    visits: NDArray[np.float32],
    scale: float,
    restart: float,
    rounds: int,
    drop_below: float,
    heaviest: NDArray[np.float64],
    largest: NDArray[np.float64],
    dropped: NDArray[np.float64],
    factor: NDArray[np.float32],
    start: int,
    stop: int,
    known_indptr: NDArray[np.int64],
    known: NDArray[np.int64],
    scores: NDArray[np.float32],
    nodes: NDArray[np.int64],
) -> int:
    """The heaps of each query's best candidates."""
    tiles = (degree.size + _TILE - 1) >> _TILE_BITS
    dense = np.zeros((4, tiles << _TILE_BITS))
    marks = np.zeros((4, tiles), np.uint8)
    tops = np.empty(tiles)
    bars, bar_tiles = np.empty(scores.shape[1], np.float32), np.empty(scores.shape[1], np.int64)
    moving = (np.empty(1024, np.int32), np.empty(1024))
    sums, touched = dense[3], marks[3]
    for query in range(set_indptr.size - 1):
        absent, moving, count = _answer(
            indptr, indices, weights, degree, set_indptr, set_nodes, shares, place, print_indptr, print_nodes, visits,
            scale, restart, rounds, drop_below, query, heaviest, largest, dropped, dense[0], marks[0], dense[1],
            marks[1], dense[2], marks[2], sums, touched, moving,
        )  # fmt: skip
        if absent >= 0:
            return absent
        best, places = scores[query], nodes[query]
        first_known, stop_known = known_indptr[query], known_indptr[query + 1]
        # What was settled is ranked by itself, so that for the bound the sums hold nothing but fingerprints.
        for i in range(count):
            u = int(moving[0][i])
            value = sums[u] + moving[1][i]
            sums[u] = 0.0
            if start <= u < stop and not _is_known(known, first_known, stop_known, u):
                if factor.size > 0:
                    value *= np.float64(factor[u])
                _offer(best, places, value, u)
        for i in range(first_known, stop_known):
            largest[query] = max(largest[query], sums[known[i]])
            sums[known[i]] = 0.0
        largest[query] = max(largest[query], _tops(sums, touched, factor, start, stop, tops))
        # The k-th of the tiles' best is no higher than the k-th of all: most tiles need no second look.
        bars.fill(0)
        bar_tiles.fill(NO_ROW)
        for tile in range(tiles):
            if touched[tile]:
                _offer(bars, bar_tiles, tops[tile], tile)
        for tile in range(tiles):
            if touched[tile]:
                touched[tile] = 0
                line = sums[tile << _TILE_BITS : (tile + 1) << _TILE_BITS]
                top = np.float32(tops[tile])
                if top >= bars[0] and top >= best[0]:
                    for i in range(_TILE):
                        if line[i] != 0.0:
                            _offer(best, places, line[i], (tile << _TILE_BITS) + i)
                line.fill(0)
    return -1
