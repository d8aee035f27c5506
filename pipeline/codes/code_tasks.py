"""The whole graph -> node_clusters, cluster_codes: one task, which holds the graph."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import codec
from pipeline.blocks.arrays import Block
from pipeline.codes.clusters import ChosenClusters, find_clusters, fit_clusters
from pipeline.codes.code_files import NO_CLUSTER, ClusterCodes, NodeClusters
from pipeline.codes.hierarchy import merge_clusters, paths_of
from pipeline.config.codes import CodesConfig
from pipeline.kernels.csr import Csr
from pipeline.kernels.modularity import TwoSidedGraph, contract
from pipeline.locations import Location
from pipeline.tasks import Attempt
from pipeline.workspace import Workspace
from schemas.tables import NODE_CLUSTERS

log = logging.getLogger(__name__)

NODES, CLUSTERS = "nodes", "clusters"
"""Roles of the task's files."""


@dataclass(frozen=True)
class CodesPayload:
    """Input of the task.

    block_nodes, block_edges : the graph as one block.
    types : ranges of node numbers, ascending: all nodes, or those of either side.
    codes_id : what the codes are called.
    """

    codes: CodesConfig
    block_nodes: Location
    block_edges: Location
    types: tuple[tuple[int, int], ...]
    codes_id: str


@dataclass(frozen=True)
class CodeFigures:
    """What the manifest says of the codes.

    codes_id : codes of two releases mean the same if and only if it is equal.
    nodes : with edges.
    rows : of a table with one for each cluster and type of nodes in it.
    largest : nodes of the largest cluster.
    groups : of each level. widest : of each level, the numbers that codes have there.
    inversions : merges of the hierarchy that are denser than one below them.
    """

    codes_id: str
    nodes: int
    clusters: int
    rows: int
    largest: int
    resolution: float
    modularity: float
    groups: Sequence[int]
    widest: Sequence[int]
    inversions: int

    @classmethod
    def of(cls, workspace: Workspace) -> CodeFigures:
        """Return the figures of a run's codes."""
        figures = workspace.manifest(NODE_CLUSTERS.name).figures
        return codec.from_values(cls, {name: figures[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class TypedGraph:
    """The nodes of a graph that have edges, row r being node ``node_ix[r]`` of type number ``type_of[r]``."""

    graph: TwoSidedGraph
    node_ix: NDArray[np.int64]
    node_key: NDArray[np.uint64]
    type_of: NDArray[np.int8]
    types: int

    @classmethod
    def read(cls, payload: CodesPayload) -> TypedGraph:
        """Map the block; of one type, half of a node's degree is on either side."""
        block = Block.read(0, payload.block_nodes, payload.block_edges, None)
        firsts = [first for first, _ in payload.types]
        type_of = (np.searchsorted(firsts, block.node_ix, side="right") - 1).astype(np.int8)
        degree = block.strength
        if len(firsts) == 1:
            rows = columns = degree / 2
        else:
            rows, columns = (np.where(type_of == side, degree, 0.0) for side in (0, 1))
        adjacency = Csr(block.indptr, block.neighbor, block.edge_weight)
        graph = TwoSidedGraph(adjacency, rows, columns, np.ones(degree.size))
        return cls(graph, block.node_ix, block.node_key, type_of, len(firsts))

    def count_rows(self, label: NDArray[np.int32]) -> int:
        """Return how many pairs of a cluster and a type of nodes in it there are."""
        return sum(int((np.bincount(label[self.type_of == one]) > 0).sum()) for one in range(self.types))


def make_codes(payload: CodesPayload, attempt: Attempt) -> CodeFigures:
    """Task: find clusters, merge them from the bottom up, and write the cluster of each node and the code of each."""
    typed = TypedGraph.read(payload)
    chosen = choose_clusters(typed, payload.codes, payload.types[-1][1])
    label, clusters = chosen.label, int(chosen.label.max(initial=-1)) + 1
    graph = contract(typed.graph, label, clusters)
    merges = merge_clusters(graph)
    code = paths_of(merges, payload.codes.levels)
    leaf_token, tokens = number_leaves(label, typed, clusters)
    ClusterCodes(code, tokens).write(attempt.path(CLUSTERS, "arrow"))
    by_node = np.full((2, payload.types[-1][1]), NO_CLUSTER, np.int32)
    by_node[:, typed.node_ix] = label, leaf_token
    NodeClusters(*by_node).write(attempt.path(NODES, "arrow"))
    return CodeFigures(
        codes_id=payload.codes_id,
        nodes=label.size,
        clusters=clusters,
        rows=typed.count_rows(label),
        largest=int(graph.size.max(initial=0)),
        resolution=chosen.resolution,
        modularity=modularity_of(graph, chosen.resolution),
        groups=[len(np.unique(code[:, : level + 1], axis=0)) for level in range(payload.codes.levels)],
        widest=(code.max(axis=0, initial=-1) + 1).tolist(),
        inversions=merges.inversions,
    )


def choose_clusters(typed: TypedGraph, codes: CodesConfig, nodes: int) -> ChosenClusters:
    """Return the clusters of the resolution that is set, or of the one that leaves the share of rows that is set."""
    max_size = codes.max_size or np.inf

    def find(resolution: float) -> NDArray[np.int32]:
        return find_clusters(typed.graph, typed.node_key, resolution, max_size)

    if codes.resolution is not None:
        return ChosenClusters(find(codes.resolution), codes.resolution)
    edges, most_rows = typed.graph.adjacency.indices.size // 2, int(codes.share * nodes)
    chosen = fit_clusters(find, typed.count_rows, edges, most_rows)
    rows = typed.count_rows(chosen.label)
    if rows > most_rows:
        log.warning(
            "stage=embed warning: codes take %d rows, and codes.share of the nodes is %d: a cluster holds %s nodes at "
            "most, and nothing that no edges join; raise codes.max_size or codes.share",
            *(rows, most_rows, codes.max_size or "any number of"),
        )
    return chosen


def number_leaves(
    label: NDArray[np.int32], typed: TypedGraph, clusters: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number the nodes of each type in each cluster, in the order of node numbers.

    Returns
    -------
    leaf_token (rows,) int32; tokens (clusters, types) int32: how many each cluster has given out.
    """
    place = label.astype(np.int64) * typed.types + typed.type_of
    order = np.argsort(place, kind="stable")
    leaf_token = np.empty(label.size, np.int32)
    leaf_token[order] = np.arange(label.size) - np.searchsorted(place[order], place[order])
    tokens = np.bincount(place, minlength=clusters * typed.types).astype(np.int32)
    return leaf_token, tokens.reshape(clusters, typed.types)


def modularity_of(graph: TwoSidedGraph, resolution: float) -> float:
    """Return the modularity of a graph of clusters, each of which is one node."""
    total = float(graph.row_degree.sum())
    if not total:
        return 0.0
    weights = graph.adjacency.weights
    between = float(weights.sum(dtype=np.float64)) / 2 if weights is not None else graph.adjacency.indices.size / 2
    expected = float((graph.row_degree * graph.column_degree).sum()) / total
    return 1.0 - (between + resolution * expected) / total
