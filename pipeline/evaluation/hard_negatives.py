"""Hard negatives: a neighbour's neighbour that is no neighbour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.link_prediction import Nodes, draw_negatives, unit_interval
from pipeline.kernels.hashing import hash_pairs, splitmix64

_SALT = 2**32  # keeps these draws apart from those of the other negatives of the same seed and pair


def hard_negatives(
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    nodes: Nodes,
    train: NDArray[np.int64],
    edge_codes: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """Replace each ``dst`` by the end of a short random walk from ``src`` that it is not known to be linked to.

    A walk takes the fewest steps that lead past the neighbours to nodes of the type of ``dst``: two on a plain
    graph, three between two types (what else do those like who like what I like?). Each step goes to one of the
    neighbours with equal chance, so nodes with many ways to them are drawn more often: they are the harder
    ones. Draws are hashes of (seed, keys of the pair, number of the draw), and neighbours are counted in the
    order of their keys: the result depends neither on positions nor on the order of the pairs. ``src`` itself,
    ``dst`` and ends of another type are never negatives.

    Parameters
    ----------
    src, dst : (pairs,) int64 positions.
    nodes : all nodes.
    train : (codes,) int64, sorted: ``pair_codes`` of the edges to walk along, in both directions.
    edge_codes : (codes,) int64, sorted: pairs that are no negatives; at least those of every ``src``.
    seed : any non-negative integer below 2**64.

    Returns
    -------
    (pairs,) int64 positions; -1 where no walk led to one.
    """
    start, end = np.divmod(train, nodes.n)
    by_key = np.argsort(nodes.node_key, kind="stable")
    place = np.empty(nodes.n, np.int64)
    place[by_key] = np.arange(nodes.n)
    neighbor = by_key[np.sort(start * nodes.n + place[end]) % nodes.n]
    degree = np.bincount(start, minlength=nodes.n)
    first = np.cumsum(degree) - degree
    steps = 2 if src.size == 0 or nodes.node_type[src[0]] == nodes.node_type[dst[0]] else 3

    has_walk = degree[src] > 0
    negative = np.full(src.size, -1, np.int64)
    src, dst = src[has_walk], dst[has_walk]
    words = splitmix64(hash_pairs(nodes.node_key[src], nodes.node_key[dst], seed) + np.uint64(_SALT))

    def walk(pairs: NDArray[np.int64], attempt: int) -> NDArray[np.int64]:
        at = src[pairs]
        for step in range(steps):
            share = unit_interval(splitmix64(words[pairs] + np.uint64(attempt * steps + step)))
            at = neighbor[first[at] + (share * degree[at]).astype(np.int64)]
        # A walk that ends in another type counts as one back to its start, which is never a negative.
        return np.where(nodes.node_type[at] == nodes.node_type[dst[pairs]], at, src[pairs])

    negative[has_walk] = draw_negatives(src, dst, nodes.n, edge_codes, walk)
    return negative
