"""Several queries of a source: one for each cluster of its neighbours, from their rows and its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, offsets_of
from pipeline.codes.interests import ClusterEdges, Interests, LikeShares
from pipeline.config.interests import InterestsConfig
from pipeline.kernels.csr import Csr
from pipeline.kernels.rows import row_norms
from pipeline.kernels.spmm import spmm

_NO_NORM = 1.0


@dataclass(frozen=True)
class Neighbors:
    """Edges from a range of nodes to nodes of another, by node number, ascending by source; all arrays (edges,)."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float64]

    def where(self, counts: NDArray[np.bool_]) -> Neighbors:
        """Return some of the edges; (edges,) bool."""
        return Neighbors(self.source[counts], self.target[counts], self.weight[counts])


def neighbors_between(block: Block, sources: tuple[int, int], targets: tuple[int, int]) -> Neighbors:
    """Return the edges of a block between two ranges of node numbers."""
    first, stop = block.rows_between(*sources)
    entries = slice(block.indptr[first], block.indptr[stop])
    source = np.repeat(block.node_ix[first:stop], np.diff(block.indptr[first : stop + 1]))
    target = block.node_ix[block.neighbor[entries]]
    weight = np.ones(target.size) if block.edge_weight is None else block.edge_weight[entries].astype(np.float64)
    is_between = (target >= targets[0]) & (target < targets[1])
    return Neighbors(source[is_between], target[is_between], weight[is_between])


@dataclass(frozen=True, eq=False)
class NodeRows:
    """Vectors of some nodes: node_ix (n,) int64, ascending; rows (n, dim) float32."""

    node_ix: NDArray[np.int64]
    rows: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class InterestQueries:
    """Interests by source and descending weight: source (n,) int64, cluster int32, weight float32, query (n, dim)."""

    source: NDArray[np.int64]
    cluster: NDArray[np.int32]
    weight: NDArray[np.float32]
    query: NDArray[np.float32]


def make_queries(
    edges: Neighbors,
    cluster: NDArray[np.int32],
    like: LikeShares,
    sources: NodeRows,
    targets: NodeRows,
    keys: InterestsConfig,
) -> InterestQueries:
    """Return the interests of the sources of edges.

    Parameters
    ----------
    edges : from sources, whose rows are not zero, to targets. cluster : (nodes,) int32, by node number.
    """
    interests = Interests.of(ClusterEdges(edges.source, cluster[edges.target], edges.weight))
    weight = like.smooth(interests, cluster[interests.source], keys.smoothing)
    order = interests.choose(weight, keys.per_source)
    mean = _mean_rows(interests, edges, targets)[order]
    own = sources.rows[np.searchsorted(sources.node_ix, interests.source[order])]
    query = _mix(mean, own, keys.own_share)
    return InterestQueries(interests.source[order], interests.cluster[order], weight[order], query)


def _mean_rows(interests: Interests, edges: Neighbors, targets: NodeRows) -> NDArray[np.float32]:
    """Return of each pair the sum of its entries' rows, each times its weight: a mean but for its length."""
    order, pairs = np.argsort(interests.pair_of, kind="stable"), interests.source.size
    place = np.searchsorted(targets.node_ix, edges.target[order]).astype(np.int32)
    indptr = offsets_of(np.bincount(interests.pair_of, minlength=pairs))
    sums = np.zeros((pairs, targets.rows.shape[1]), np.float32)
    matrix = Csr(indptr, place, edges.weight[order].astype(np.float32))
    spmm(matrix, targets.rows, sums, start=0, stop=pairs)
    return sums


def _mix(mean: NDArray[np.float32], own: NDArray[np.float32], own_share: float) -> NDArray[np.float32]:
    """Return the mean directions of two rows each, ``own_share`` of the second, as long as the second is."""
    sums = np.zeros(mean.shape, np.float32)
    for rows, share in ((mean, 1 - own_share), (own, own_share)):
        length = row_norms(rows)
        sums += rows * (share / np.where(length > 0, length, _NO_NORM))[:, None].astype(np.float32)
    length = row_norms(sums)
    scale = row_norms(own) / np.where(length > 0, length, _NO_NORM)
    return sums * scale[:, None].astype(np.float32)
