"""The whole graph -> interest_clusters, like_shares: one task, which holds the graph."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Block
from pipeline.codes.clusters import find_clusters, fit_clusters
from pipeline.codes.code_files import NO_CLUSTER
from pipeline.codes.code_tasks import CLUSTERS, NODES, TypedGraph
from pipeline.codes.interest_queries import neighbors_between
from pipeline.codes.interests import ClusterEdges, Interests, LikeShares
from pipeline.locations import Location
from pipeline.tasks import Attempt
from pipeline.workspace import Workspace
from schemas.tables import INTEREST_CLUSTERS, LIKE_SHARES

log = logging.getLogger(__name__)

#: Clusters with fewer edges than this share of an equal one are not counted: a graph has hundreds of small components
#: beside one that is in one cluster.
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class InterestClustersPayload:
    """Input of the task.

    block_nodes, block_edges : the graph as one block.
    types : ranges of node numbers, ascending: all nodes, or those of either side.
    sources, targets : ranges of those that have interests, and of the neighbours that interests are in.
    wanted : large clusters with targets, about.
    """

    block_nodes: Location
    block_edges: Location
    types: tuple[tuple[int, int], ...]
    sources: tuple[int, int]
    targets: tuple[int, int]
    wanted: int


@dataclass(frozen=True)
class InterestFigures:
    """What the manifest says of the clusters: how many are large and hold targets, and the modularity's resolution."""

    clusters: int
    resolution: float

    @classmethod
    def of(cls, workspace: Workspace) -> InterestFigures:
        """Return the figures of a run's clusters."""
        figures = workspace.manifest(INTEREST_CLUSTERS.name).figures
        return cls(figures["clusters"], figures["resolution"])


def make_interest_clusters(payload: InterestClustersPayload, attempt: Attempt) -> InterestFigures:
    """Task: find clusters, and what the sources of each are interested in."""
    block = Block.read(0, payload.block_nodes, payload.block_edges, None)
    made = find_interest_clusters(block, payload.types, payload.sources, payload.targets, payload.wanted)
    figures = made.figures
    if not payload.wanted / 2 <= figures.clusters <= 2 * payload.wanted:
        log.warning(
            "stage=embed warning: interests.clusters is %d, and %d clusters are the nearest that were found",
            *(payload.wanted, figures.clusters),
        )
    columns = [pa.array(np.arange(made.cluster.size, dtype=np.int64)), pa.array(made.cluster)]
    storage.write_arrow(attempt.path(NODES, "arrow"), pa.Table.from_arrays(columns, schema=INTEREST_CLUSTERS.schema))
    columns = [pa.array(made.like.own), pa.array(made.like.cluster), pa.array(made.like.share)]
    storage.write_arrow(attempt.path(CLUSTERS, "arrow"), pa.Table.from_arrays(columns, schema=LIKE_SHARES.schema))
    return figures


@dataclass(frozen=True, eq=False)
class InterestClusters:
    """cluster : (nodes,) int32 by node number, NO_CLUSTER without edges. like : what the sources of each ask for."""

    cluster: NDArray[np.int32]
    like: LikeShares
    figures: InterestFigures


def find_interest_clusters(
    block: Block,
    types: Sequence[tuple[int, int]],
    sources: tuple[int, int],
    targets: tuple[int, int],
    wanted: int,
) -> InterestClusters:
    """Find clusters of a block that holds all edges; arguments are those of the task."""
    typed, rows = TypedGraph.of(block, types), slice(*block.rows_between(*targets))
    degree = np.diff(block.indptr)[rows]

    def count_clusters(label: NDArray[np.int32]) -> int:
        return count_large(label[rows], degree, wanted)

    edges = block.neighbor.size // 2
    chosen = fit_clusters(lambda one: find_clusters(typed.graph, one), count_clusters, edges, wanted, may_exceed=True)
    cluster = np.full(types[-1][1], NO_CLUSTER, np.int32)
    cluster[block.node_ix] = chosen.label
    neighbors = neighbors_between(block, sources, targets)
    interests = Interests.of(ClusterEdges(neighbors.source, cluster[neighbors.target], neighbors.weight))
    like = LikeShares.of(interests, cluster[interests.source])
    return InterestClusters(cluster, like, InterestFigures(count_clusters(chosen.label), chosen.resolution))


def count_large(label: NDArray[np.int32], degree: NDArray[np.int64], wanted: int) -> int:
    """Return the number of clusters with at least ``_LEAST_SHARE`` of what each of ``wanted`` has of all edges."""
    edges = np.bincount(label, degree)
    return int(np.count_nonzero(edges * wanted >= _LEAST_SHARE * max(edges.sum(), 1.0)))


def read_interest_clusters(file: Location) -> NDArray[np.int32]:
    """Map the cluster of every node, by node number."""
    cluster: NDArray[np.int32] = storage.column(storage.map_arrow(file), "cluster")
    return cluster


def read_like_shares(file: Location) -> LikeShares:
    """Map what the sources of each cluster are interested in."""
    table = storage.map_arrow(file)
    return LikeShares(*(storage.column(table, name) for name in ("own_cluster", "cluster", "share")))
