"""A graph as a random walk sees it, and where its walks restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel, read_only
from pipeline.kernels.csr import Csr, entries_of_rows, weight_of
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.hashing import mix


@dataclass(frozen=True)
class Transition:
    """A checked adjacency matrix whose walk goes from u to v with chance ``weight(u, v) / degree(u)``.

    A node without entries keeps its walk: it stays there (a self loop nobody sees). So personalised PageRank
    is linear in its restart set, which sending such walks back to the set would spoil. From a single seed
    of an undirected graph both conventions are the same.

    indptr (n + 1,) int64, indices (nnz,) int32, weights (nnz,) float32 or None for 1: entry (u, v) of row u.
    degree (n,) float64: the sum of a row's weights. left: nodes ``[0, left)`` only have neighbours in
    ``[left, n)`` and the other way round, or None. is_undirected: (u, v) and (v, u) weigh the same.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.float32] | None
    degree: NDArray[np.float64]
    left: int | None
    is_undirected: bool

    @property
    def n(self) -> int:
        """Number of nodes."""
        return self.degree.size

    @property
    def csr(self) -> Csr:
        """The entries as kernels take them."""
        return read_only(Csr(self.indptr, self.indices, self.weights))


class RestartArrays(NamedTuple):
    """`RestartSets` as kernels take them."""

    indptr: In[np.int64]
    nodes: In[np.int64]
    shares: In[np.float64]


@dataclass(frozen=True)
class RestartSets:
    """Where walks restart: source i at ``nodes[e]`` with chance ``shares[e]``, for ``indptr[i] <= e < indptr[i + 1]``.

    indptr (sources + 1,) int64, nodes (entries,) int64, shares (entries,) float64 that add up to 1 for each source.
    """

    indptr: NDArray[np.int64]
    nodes: NDArray[np.int64]
    shares: NDArray[np.float64]

    def __len__(self) -> int:
        return self.indptr.size - 1

    @property
    def arrays(self) -> RestartArrays:
        """The arrays, read-only."""
        return read_only(RestartArrays(self.indptr, self.nodes, self.shares))

    def in_order(self, sources: NDArray[np.int64]) -> RestartSets:
        """These sources."""
        indptr, entries = entries_of_rows(self.indptr, sources)
        return RestartSets(indptr, self.nodes[entries], self.shares[entries])

    def part(self, start: int, stop: int) -> RestartSets:
        """Sources ``start`` to ``stop``."""
        entries = slice(self.indptr[start], self.indptr[stop])
        return RestartSets(
            self.indptr[start : stop + 1] - self.indptr[start], self.nodes[entries], self.shares[entries]
        )


def transition(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32] | None = None,
    left: int | None = None,
) -> Transition:
    """Check an adjacency matrix once, so that the solvers need not.

    Parameters
    ----------
    indptr : (n + 1,) int64, from 0, not decreasing.
    indices : (nnz,) int32 in ``0 <= index < n``; a self loop is one entry, an index may repeat in a row.
    weights : (nnz,) float32, finite and above 0, or None where every weight is 1.
    left : of a bipartite graph, the number of nodes of its first side; None for any other.

    Raises
    ------
    TypeError : an array has another dtype or is not contiguous.
    ValueError, IndexError : lengths do not fit, a weight is not above 0, an index or a side does not exist.

    Cost
    ----
    Two hashes an entry, to compare the matrix with its transpose: wrongly called equal with chance 2**-64.
    """
    _check_array("indptr", indptr, np.int64)
    _check_array("indices", indices, np.int32)
    n = indptr.size - 1
    if n < 0 or indptr[0] != 0 or indptr[-1] != indices.size or (np.diff(indptr) < 0).any():
        raise ValueError(f"indptr must rise from 0 to the {indices.size} entries; rebuild the adjacency")
    if indices.size and not 0 <= indices.min() <= indices.max() < n:
        raise IndexError(f"indices reach from {indices.min()} to {indices.max()}; the {n} nodes are 0 to {n - 1}")
    if weights is not None:
        _check_array("weights", weights, np.float32)
        if weights.size != indices.size:
            raise ValueError(f"there are {weights.size} weights for {indices.size} indices; give one each")
        # Written so that nan fails as well.
        if weights.size and not (weights.min() > 0 and weights.max() < np.inf):
            raise ValueError(
                f"weights reach from {weights.min()} to {weights.max()}; they must be finite and above 0: "
                "leave an edge of weight 0 out"
            )
    if left is not None:
        if not 0 <= left <= n:
            raise ValueError(f"left is {left}; a side has 0 to {n} nodes")
        of_left = indices[: indptr[left]]
        of_right = indices[indptr[left] :]
        if (of_left.size and of_left.min() < left) or (of_right.size and of_right.max() >= left):
            raise ValueError(f"an edge joins two nodes of one side of {left}; pass left=None for such a graph")
    degree = np.empty(n)
    is_undirected = bool(_sum_degrees(indptr, indices, weights, degree))
    return Transition(indptr, indices, weights, degree, left, is_undirected)


def single_seeds(nodes: NDArray[np.integer]) -> RestartSets:
    """Restart sets of one node each; (sources,) integers."""
    seeds: NDArray[np.int64] = np.ascontiguousarray(nodes, np.int64)
    return RestartSets(np.arange(seeds.size + 1, dtype=np.int64), seeds, np.ones(seeds.size))


def restart_sets(indptr: NDArray[np.int64], nodes: NDArray[np.integer], weights: NDArray[np.float64]) -> RestartSets:
    """Restart sets in proportion to weights above 0; a node may be named twice.

    Raises ValueError for a set without nodes, a weight that is not above 0, or lengths that do not fit.
    """
    indptr = np.ascontiguousarray(indptr, np.int64)
    seeds: NDArray[np.int64] = np.ascontiguousarray(nodes, np.int64)
    weights = np.ascontiguousarray(weights, np.float64)
    if indptr.size == 0 or indptr[0] != 0 or indptr[-1] != seeds.size or seeds.size != weights.size:
        raise ValueError(f"indptr, {seeds.size} nodes and {weights.size} weights of the restart sets do not fit")
    sizes = np.diff(indptr)
    if (sizes <= 0).any():
        raise ValueError(f"restart set {int(np.argmax(sizes <= 0))} has no node; leave the source out")
    if not ((weights > 0) & (weights < np.inf)).all():
        raise ValueError("a weight of a restart set is not finite and above 0; leave the node out")
    totals = np.add.reduceat(weights, indptr[:-1]) if seeds.size else np.empty(0)
    return RestartSets(indptr, seeds, weights / np.repeat(totals, sizes))


def check_restart(restart: float) -> None:
    """Refuse a restart outside (0, 1)."""
    if not 0 < restart < 1:
        raise ValueError(
            f"restart is {restart}; it must be above 0 and below 1: the chance of jumping back to the seed at each "
            "step, 1 - damping (networkx calls the damping alpha)"
        )


def check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that no finite work reaches."""
    if not 0 < tolerance < np.inf:
        raise ValueError(f"tolerance is {tolerance}; it must be above 0: an error of 0 takes infinitely many steps")


def check_sources(graph: Transition, sources: RestartSets) -> None:
    """Refuse seeds that the graph does not have."""
    nodes = sources.nodes
    if nodes.size and not 0 <= nodes.min() <= nodes.max() < graph.n:
        bad = nodes[(nodes < 0) | (nodes >= graph.n)][0]
        raise IndexError(f"a source restarts at node {bad}; the graph's nodes are 0 to {graph.n - 1}")


def _check_array(name: str, array: NDArray[np.generic], dtype: type[np.generic]) -> None:
    if array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
        raise TypeError(
            f"{name} is {array.dtype} with {array.ndim} axes, contiguous: {array.flags.c_contiguous}; "
            f"it must be contiguous {np.dtype(dtype)} with 1"
        )


@kernel
def _sum_degrees(
    indptr: In[np.int64], indices: In[np.int32], weights: In[np.float32] | None, degree: Out[np.float64]
) -> bool:
    """Fill the degrees; whether the entries and their mirror images are the same multiset."""
    forth = np.uint64(0)
    back = np.uint64(0)
    for u in range(degree.size):
        total = 0.0
        for e in range(indptr[u], indptr[u + 1]):
            v = indices[e]
            weight = weight_of(weights, e)
            total += weight
            if v != u:
                word = mix(np.uint64(np.float32(weight).view(np.uint32)))
                forth += mix(mix(word + np.uint64(u)) + np.uint64(v))
                back += mix(mix(word + np.uint64(v)) + np.uint64(u))
        degree[u] = total
    return bool(forth == back)


def degree_weights(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32] | None,
    degree: NDArray[np.int64],
    power: float,
) -> NDArray[np.float32]:
    """``weight(u, v) * (degree(u) * degree(v)) ** power`` of every entry: an edge weighs the same from both ends.

    Parameters
    ----------
    indptr, indices, weights : of an adjacency; None where every weight is 1.
    degree : (n,) int64 neighbours over the whole graph, so that entries of a part weigh what they weigh in the whole.
    power : between -1 and 1, so that float32 holds the products of any degrees. Above 0 a walk prefers nodes with many
        neighbours; below 0 those with few.

    Returns
    -------
    (entries,) float32, the products taken in float64 and rounded once.

    Raises
    ------
    ValueError : for another power.
    """
    if not -1 <= power <= 1:
        raise ValueError(f"power is {power}; it must be from -1 to 1: float32 may not hold the products of more")
    out = np.empty(indices.size, np.float32)
    _weigh(indptr, indices, weights, power_or_zero(degree.astype(np.float64), power), out)
    return out


@kernel
def _weigh(
    indptr: In[np.int64],
    indices: In[np.int32],
    weights: In[np.float32] | None,
    factor: In[np.float64],
    out: Out[np.float32],
) -> None:
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            # The two factors first: their product is the same bits from either end.
            both = factor[row] * factor[indices[e]]
            out[e] = np.float32(both * weight_of(weights, e))
