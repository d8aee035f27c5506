"""What sources are interested in: their weight in each cluster of their neighbours, smoothed by sources like them.

Source: El-Kishky, Markovich, Portman, Bronstein & others, "kNN-Embed: Locally Smoothed Embedding Mixtures For
Multi-interest Candidate Retrieval", arXiv 2205.06205. Like sources are here those of the source's own cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ClusterEdges(NamedTuple):
    """Edges from sources to their neighbours, ascending by source; arrays of one length."""

    source: NDArray[np.int64]  # any number of the source
    cluster: NDArray[np.int32]  # of the neighbour
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Interests:
    """Pairs of a source and a cluster in which it has neighbours, ascending by both.

    source (pairs,) int64, cluster (pairs,) int32. weight (pairs,) float64: n(u, c), the sum of its edges' weights.
    share (pairs,) float64: of the source's whole weight. pair_of (entries,) int64: the pair of each entry.
    """

    source: NDArray[np.int64]
    cluster: NDArray[np.int32]
    weight: NDArray[np.float64]
    share: NDArray[np.float64]
    pair_of: NDArray[np.int64]

    @classmethod
    def of(cls, entries: ClusterEdges) -> Interests:
        """Return the pairs of some entries."""
        width = int(entries.cluster.max(initial=0)) + 1
        code = entries.source * width + entries.cluster
        pairs, pair_of = np.unique(code, return_inverse=True)
        weight = np.bincount(pair_of, entries.weight, minlength=pairs.size).astype(np.float64)
        source = pairs // width
        sources, place = np.unique(source, return_inverse=True)
        total = np.bincount(place, weight, minlength=sources.size)[place]
        return cls(source, (pairs % width).astype(np.int32), weight, weight / total, pair_of)

    def choose(self, weight: NDArray[np.float32], most: int) -> NDArray[np.int64]:
        """Return the pairs of the largest weights of each source, ``most`` at most, by source and descending weight."""
        order = np.lexsort((self.cluster, -weight, self.source))
        in_order = self.source[order]
        return order[np.arange(order.size) - np.searchsorted(in_order, in_order) < most]


@dataclass(frozen=True)
class LikeShares:
    """s(c', c): the mean share of cluster c among the sources that are in cluster c' themselves.

    own, cluster (pairs,) int32, ascending by both. share (pairs,) float64; pairs that aren't there have 0.
    """

    own: NDArray[np.int32]
    cluster: NDArray[np.int32]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, interests: Interests, own: NDArray[np.int32]) -> LikeShares:
        """Return the means over sources; ``own`` (pairs,) int32: the cluster that each pair's source is in."""
        width = int(max(own.max(initial=0), interests.cluster.max(initial=0))) + 1
        pairs, place = np.unique(own.astype(np.int64) * width + interests.cluster, return_inverse=True)
        is_first = np.diff(interests.source, prepend=-1) != 0
        sources = np.bincount(own[is_first], minlength=width)
        total = np.bincount(place, interests.share, minlength=pairs.size)
        return cls((pairs // width).astype(np.int32), (pairs % width).astype(np.int32), total / sources[pairs // width])

    def smooth(self, interests: Interests, own: NDArray[np.int32], strength: float) -> NDArray[np.float32]:
        """Return p(c | u) = (n(u, c) + m s(u, c)) / (n(u) + m) of each pair, m being ``strength``; (pairs,)."""
        width = int(max(self.cluster.max(initial=0), interests.cluster.max(initial=0))) + 1
        codes = self.own.astype(np.int64) * width + self.cluster
        pair_codes = own.astype(np.int64) * width + interests.cluster
        at = np.minimum(np.searchsorted(codes, pair_codes), max(codes.size - 1, 0))
        share = np.where(codes[at] == pair_codes, self.share[at], 0.0)
        total = interests.weight / interests.share
        return ((interests.weight + strength * share) / (total + strength)).astype(np.float32)
