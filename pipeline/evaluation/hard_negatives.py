"""Negatives that are near: a neighbour's neighbour that is no neighbour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.link_prediction import MAX_DRAWS, Negatives, Nodes, contains
from pipeline.kernels.hashing import hash_pairs, splitmix64

_SALT = 2**32  # keeps these draws apart from those of the other negatives of the same seed and pair


def hard_negatives(
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    nodes: Nodes,
    train: NDArray[np.int64],
    known: NDArray[np.int64],
    seed: int,
) -> Negatives:
    """Replace each ``dst`` by the end of a short random walk from ``src`` that it is not known to be linked to.

    A walk takes the fewest steps that lead past the neighbours to nodes of the type of ``dst``: two on a plain
    graph, three between two types (what else do they like who like what I like?). Each step goes to one of the
    neighbours with equal chance, so nodes with many ways to them are drawn more often: they are the harder
    ones. Draws are hashes of (seed, keys of the pair, number of the draw), and neighbours are counted in the
    order of their keys: the result knows neither positions nor the order of the pairs. ``src`` itself, ``dst``
    and ends of another type are never taken.

    Parameters
    ----------
    src, dst : (pairs,) int64 positions.
    nodes : all nodes.
    train : (codes,) int64, sorted: ``pair_codes`` of the edges to walk along, in both directions.
    known : (codes,) int64, sorted: pairs that are no negatives; at least those of every ``src``.
    seed : any non-negative integer below 2**64.

    Returns
    -------
    Negatives; -1 where ``MAX_DRAWS`` walks found none.
    """
    start, end = np.divmod(train, nodes.n)
    by_key = np.argsort(nodes.node_key, kind="stable")
    place = np.empty(nodes.n, np.int64)
    place[by_key] = np.arange(nodes.n)
    neighbor = by_key[np.sort(start * nodes.n + place[end]) % nodes.n]
    degree = np.bincount(start, minlength=nodes.n)
    first = np.cumsum(degree) - degree
    steps = 2 if src.size == 0 or nodes.node_type[src[0]] == nodes.node_type[dst[0]] else 3

    words = splitmix64(hash_pairs(nodes.node_key[src], nodes.node_key[dst], seed) + np.uint64(_SALT))
    drawn = np.full(src.size, -1, np.int64)
    left = np.flatnonzero(degree[src] > 0)
    for attempt in range(MAX_DRAWS):
        if left.size == 0:
            break
        at = src[left]
        for step in range(steps):
            word = splitmix64(words[left] + np.uint64(attempt * steps + step))
            share = (word >> np.uint64(11)) * 2.0**-53  # in [0, 1), so its floor times n stays below n
            at = neighbor[first[at] + (share * degree[at]).astype(np.int64)]
        is_free = (
            (at != src[left])
            & (at != dst[left])
            & (nodes.node_type[at] == nodes.node_type[dst[left]])
            & ~contains(known, src[left] * nodes.n + at)
        )
        drawn[left[is_free]] = at[is_free]
        left = left[~is_free]
    return Negatives(drawn)
