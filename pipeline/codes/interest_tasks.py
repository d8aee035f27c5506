"""The whole graph -> interest_clusters, like_shares: one task, which holds the graph."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import codec, storage
from pipeline.blocks.arrays import Block, NodeArrays
from pipeline.blocks.earlier_nodes import find_earlier
from pipeline.codes.clusters import find_clusters, fit_clusters
from pipeline.codes.code_files import NO_CLUSTER
from pipeline.codes.code_tasks import CLUSTERS, NODES, TypedGraph
from pipeline.codes.interest_queries import neighbors_between
from pipeline.codes.interests import ClusterEdges, Interests, LikeShares
from pipeline.codes.kept_codes import KeptFigures, count_numbers, keep_clusters
from pipeline.locations import Location
from pipeline.tasks import Attempt
from pipeline.workspace import Workspace
from schemas.tables import INTEREST_CLUSTERS, LIKE_SHARES

log = logging.getLogger(__name__)

#: Clusters with fewer edges than this share of an equal one are not counted: a graph has hundreds of small components
#: beside one that is in one cluster.
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class EarlierInterests:
    """The clusters of an earlier night, as of its ``node_arrays``, and what its manifest says of them."""

    night: str
    figures: InterestFigures
    node_arrays: tuple[Location, ...]
    clusters: Location


@dataclass(frozen=True)
class InterestClustersPayload:
    """Input of the task.

    block_nodes, block_edges : the graph as one block.
    types : ranges of node numbers, ascending: all nodes, or those of either side.
    sources, targets : ranges of those that have interests, and of the neighbours that interests are in.
    clusters : large clusters with targets, about. earlier : the night whose clusters these go on from; None: made anew.
    """

    block_nodes: Location
    block_edges: Location
    types: tuple[tuple[int, int], ...]
    sources: tuple[int, int]
    targets: tuple[int, int]
    clusters: int
    earlier: EarlierInterests | None = None


@dataclass(frozen=True)
class InterestFigures:
    """What the manifest says of the clusters: how many are large and hold targets, and the modularity's resolution.

    numbers : given out to clusters so far. kept : what became of an earlier night's, if they go on from one, and
    clusters_since : the date of the first night that their numbers are of.
    """

    clusters: int
    resolution: float
    numbers: int = 0
    kept: KeptFigures | None = None
    clusters_since: str | None = None

    @classmethod
    def of(cls, workspace: Workspace) -> InterestFigures:
        """Return the figures of a run's clusters."""
        figures = workspace.manifest(INTEREST_CLUSTERS.name).figures
        return codec.from_values(cls, {name: figures[name] for name in cls.__dataclass_fields__ if name in figures})

    @property
    def metadata(self) -> dict[str, Any]:
        """What the published table says, JSON values."""
        values = codec.to_values(self)
        del values["numbers"]
        return {name: value for name, value in values.items() if value is not None}


def make_interest_clusters(payload: InterestClustersPayload, attempt: Attempt) -> InterestFigures:
    """Task: find clusters, and what the sources of each are interested in."""
    block = Block.read(0, payload.block_nodes, payload.block_edges, None)
    ranges = payload.types, payload.sources, payload.targets
    clusters = find_interest_clusters(block, *ranges, payload.clusters, payload.earlier)
    figures = clusters.figures
    if not payload.clusters / 2 <= figures.clusters <= 2 * payload.clusters:
        log.warning(
            "stage=embed warning: interests.clusters is %d, and %d clusters are the nearest that were found",
            *(payload.clusters, figures.clusters),
        )
    columns = [pa.array(np.arange(clusters.cluster.size, dtype=np.int64)), pa.array(clusters.cluster)]
    storage.write_arrow(attempt.path(NODES, "arrow"), pa.Table.from_arrays(columns, schema=INTEREST_CLUSTERS.schema))
    columns = [pa.array(clusters.like.own), pa.array(clusters.like.cluster), pa.array(clusters.like.share)]
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
    clusters: int,
    earlier: EarlierInterests | None = None,
) -> InterestClusters:
    """Find clusters of a block that holds all edges; arguments are those of the task."""
    typed_graph, rows = TypedGraph.of(block, types), slice(*block.rows_between(*targets))
    degree = np.diff(block.indptr)[rows]

    def count_clusters(label: NDArray[np.int32]) -> int:
        return count_large(label[rows], degree, clusters)

    kept_figures, since = None, None
    if earlier is None:
        edges = block.neighbor.size // 2
        best_cut = fit_clusters(
            lambda value: find_clusters(typed_graph.graph, value), count_clusters, edges, clusters, may_exceed=True
        )
        label, resolution, numbers = best_cut.label, best_cut.resolution, count_numbers(best_cut.label)
    else:
        before, first_new = earlier.figures, earlier.figures.numbers
        place = find_earlier(typed_graph.node_key, NodeArrays(earlier.node_arrays).all("node_key").view(np.uint64))
        had = np.append(read_interest_clusters(earlier.clusters), np.int32(NO_CLUSTER))[place]
        resolution = before.resolution
        label, apart = keep_clusters(typed_graph.graph, had, first_new, resolution, np.inf)
        kept_figures = KeptFigures.of(earlier.night, had, label, first_new, apart)
        numbers = count_numbers(label, first_new)
        since = before.clusters_since or earlier.night
    cluster = np.full(types[-1][1], NO_CLUSTER, np.int32)
    cluster[block.node_ix] = label
    neighbors = neighbors_between(block, sources, targets)
    interests = Interests.of(ClusterEdges(neighbors.source, cluster[neighbors.target], neighbors.weight))
    like = LikeShares.of(interests, cluster[interests.source])
    figures = InterestFigures(count_clusters(label), resolution, numbers, kept_figures, since)
    return InterestClusters(cluster, like, figures)


def count_large(label: NDArray[np.int32], degree: NDArray[np.int64], clusters: int) -> int:
    """Return the number of clusters with at least ``_LEAST_SHARE`` of what each of ``clusters`` has of all edges."""
    edges = np.bincount(label, degree)
    return int(np.count_nonzero(edges * clusters >= _LEAST_SHARE * max(edges.sum(), 1.0)))


def read_interest_clusters(file: Location) -> NDArray[np.int32]:
    """Map the cluster of every node, by node number."""
    return storage.column(storage.map_arrow(file), "cluster")


def read_like_shares(file: Location) -> LikeShares:
    """Map what the sources of each cluster are interested in."""
    table = storage.map_arrow(file)
    return LikeShares(*(storage.column(table, name) for name in ("own_cluster", "cluster", "share")))
