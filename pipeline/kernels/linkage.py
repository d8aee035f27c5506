"""The densest neighbour of each cluster: what a bottom-up hierarchy merges next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import Out, kernel, read_only
from pipeline.kernels.csr import weight_of
from pipeline.kernels.modularity import TwoSidedGraph

NOBODY = -1
"""Of a cluster that has no neighbour."""


def densest_neighbors(graph: TwoSidedGraph) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the neighbour to which each cluster has the densest link, and the density.

    The density of a link is its weight over the product of the clusters' sizes. Of equal densities the first cluster
    is taken, so where there are links, at least two clusters choose each other.

    Returns
    -------
    nearest (nodes,) int32, NOBODY without neighbours; density (nodes,) float64.
    """
    nodes = graph.size.size
    nearest, density = np.full(nodes, NOBODY, np.int32), np.zeros(nodes)
    _find_densest(read_only(graph), nearest, density)
    return nearest, density


@kernel
def _find_densest(graph: TwoSidedGraph, nearest: Out[np.int32], density: Out[np.float64]) -> None:
    indptr, neighbor, weight = graph.adjacency
    for node in range(nearest.size):
        for entry in range(indptr[node], indptr[node + 1]):
            other = neighbor[entry]
            if other <= node:  # each link once: its weight may be rounded another way at its other end
                continue
            link = weight_of(weight, entry) / (graph.size[node] * graph.size[other])
            if link > density[node] or (link == density[node] and other < nearest[node]):
                nearest[node], density[node] = other, link
            if link > density[other] or (link == density[other] and node < nearest[other]):
                nearest[other], density[other] = node, link
