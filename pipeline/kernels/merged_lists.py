"""Ranked lists of the same sources, joined into one for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InCube, Out, kernel


def merge_lists(
    bounds: NDArray[np.int64], nodes: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Join lists that are in order, best first and smaller nodes first among equals, into the best k of each source.

    Parameters
    ----------
    bounds : (sources, lists, 2) int64: where each list begins and ends. nodes, scores : (entries,); no node is in two
        lists of a source.

    Returns
    -------
    counts (sources,) int64, and the nodes and scores of all, one source after the other.
    """
    counts = np.zeros(bounds.shape[0], np.int64)
    best, their_scores = np.empty(nodes.size, np.int64), np.empty(nodes.size, np.float32)
    _merge(bounds, nodes, scores, k, counts, best, their_scores)
    size = int(counts.sum())
    return counts, best[:size], their_scores[:size]


@kernel
def _merge(
    bounds: InCube[np.int64],
    nodes: In[np.int64],
    scores: In[np.float32],
    k: int,
    counts: Out[np.int64],
    best: Out[np.int64],
    their_scores: Out[np.float32],
) -> None:
    lists = bounds.shape[1]
    heads = np.empty(lists, np.int64)
    put = 0
    for source in range(bounds.shape[0]):
        heads[:] = bounds[source, :, 0]
        while counts[source] < k:
            best_list = -1
            for at in range(lists):
                if heads[at] == bounds[source, at, 1]:
                    continue
                if best_list >= 0:
                    score, other = scores[heads[at]], scores[heads[best_list]]
                    if score < other or (score == other and nodes[heads[at]] > nodes[heads[best_list]]):
                        continue
                best_list = at
            if best_list < 0:
                break
            best[put] = nodes[heads[best_list]]
            their_scores[put] = scores[heads[best_list]]
            heads[best_list] += 1
            counts[source] += 1
            put += 1
