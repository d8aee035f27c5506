"""The whole graph -> node_clusters, cluster_codes: one task, which holds the graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import codec
from pipeline.blocks.arrays import Block, NodeArrays
from pipeline.blocks.earlier_nodes import find_earlier
from pipeline.codes.clusters import ChosenClusters, find_clusters, fit_clusters
from pipeline.codes.code_files import NO_CLUSTER, ClusterCodes, NodeClusters
from pipeline.codes.hierarchy import merge_clusters, paths_of
from pipeline.codes.kept_codes import (
    KeptFigures,
    count_numbers,
    densest_clusters,
    extend_codes,
    keep_clusters,
    keep_tokens,
)
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
class EarlierCodes:
    """The codes of an earlier night, as of its ``node_arrays``, and what they are called.

    resolution : that made them of the graph. cells : by type how many there were, and first_numbers what their codes
    begin with, of vectors.
    """

    night: str
    codes_id: str
    node_arrays: tuple[Location, ...]
    node_clusters: Location
    cluster_codes: Location
    resolution: float | None = None
    cells: Mapping[str, int] | None = None
    first_numbers: Sequence[int] = ()


@dataclass(frozen=True)
class CodesPayload:
    """Input of the task.

    block_nodes, block_edges : the graph as one block.
    types : ranges of node numbers, ascending: all nodes, or those of either side.
    codes_id : what the codes are called. earlier : the night that they go on from; None: all are made anew.
    """

    codes: CodesConfig
    block_nodes: Location
    block_edges: Location
    types: tuple[tuple[int, int], ...]
    codes_id: str
    earlier: EarlierCodes | None = None


@dataclass(frozen=True)
class CodeFigures:
    """What the manifest says of the codes.

    codes_id : codes of two releases mean the same if and only if it is equal.
    nodes : with edges.
    rows : of a table with one for each cluster and type of nodes in it.
    largest : nodes of the largest cluster.
    groups : of each level. widest : of each level, the numbers that codes have there.
    resolution, modularity : None of clusters of vectors. inversions : merges of the hierarchy that are denser than one
    below them; None where none are merged.
    kept : what became of an earlier night's codes, if they go on from one.
    """

    codes_id: str
    nodes: int
    clusters: int
    rows: int
    largest: int
    resolution: float | None
    modularity: float | None
    groups: Sequence[int]
    widest: Sequence[int]
    inversions: int | None
    kept: KeptFigures | None = None

    @classmethod
    def count(
        cls,
        codes_id: str,
        nodes: int,
        rows: int,
        sizes: NDArray[Any],
        code: NDArray[np.int32],
        kept_figures: KeptFigures | None = None,
    ) -> CodeFigures:
        """Return the figures of clusters with so many nodes each, (clusters,), and their codes, (clusters, levels)."""
        in_use = code[sizes > 0]
        return cls(
            codes_id=codes_id,
            nodes=nodes,
            clusters=len(code),
            rows=rows,
            largest=int(sizes.max(initial=0)),
            resolution=None,
            modularity=None,
            groups=[len(np.unique(in_use[:, : level + 1], axis=0)) for level in range(code.shape[1])],
            widest=(code.max(axis=0, initial=-1) + 1).tolist(),
            inversions=None,
            kept=kept_figures,
        )

    @classmethod
    def of(cls, workspace: Workspace, table: str = NODE_CLUSTERS.name) -> CodeFigures:
        """Return the figures of a run's codes, from the manifest of their clusters' table."""
        figures = workspace.manifest(table).figures
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
    def of(cls, block: Block, types: Sequence[tuple[int, int]]) -> TypedGraph:
        """Return the graph of a block that holds all edges; of one type, half of a node's degree is on either side."""
        firsts = [first for first, _ in types]
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
        return sum(int((np.bincount(label[self.type_of == number]) > 0).sum()) for number in range(self.types))


def make_codes(payload: CodesPayload, attempt: Attempt) -> CodeFigures:
    """Task: find clusters, merge them from the bottom up, and write the cluster of each node and the code of each."""
    block = Block.read(0, payload.block_nodes, payload.block_edges, None)
    typed_graph, earlier = TypedGraph.of(block, payload.types), payload.earlier
    codes = keep_codes(typed_graph, payload.codes, earlier) if earlier else find_codes(typed_graph, payload)
    label, graph, code = codes.label, codes.graph, codes.of_clusters.code
    codes.of_clusters.write(attempt.path(CLUSTERS, "arrow"))
    by_node = np.full((2, payload.types[-1][1]), NO_CLUSTER, np.int32)
    by_node[:, typed_graph.node_ix] = label, codes.leaf_token
    NodeClusters(*by_node).write(attempt.path(NODES, "arrow"))
    figures = CodeFigures.count(
        payload.codes_id, label.size, typed_graph.count_rows(label), graph.size, code, codes.kept_figures
    )
    return replace(
        figures,
        resolution=codes.resolution,
        modularity=modularity_of(graph, codes.resolution),
        inversions=codes.inversions,
    )


@dataclass(frozen=True)
class GraphCodes:
    """The cluster and leaf token of each node of a graph, the graph of its clusters, and their codes."""

    label: NDArray[np.int32]
    leaf_token: NDArray[np.int32]
    graph: TwoSidedGraph
    of_clusters: ClusterCodes
    resolution: float
    inversions: int = 0
    kept_figures: KeptFigures | None = None


def find_codes(typed_graph: TypedGraph, payload: CodesPayload) -> GraphCodes:
    """Find clusters, and merge them from the bottom up."""
    best_cut = choose_clusters(typed_graph, payload.codes, payload.types[-1][1])
    clusters = int(best_cut.label.max(initial=-1)) + 1
    graph = contract(typed_graph.graph, best_cut.label, clusters)
    merges = merge_clusters(graph)
    none = np.full(best_cut.label.size, NO_CLUSTER, np.int32)
    tokens = np.zeros((clusters, typed_graph.types), np.int32)
    leaf_token, tokens = keep_tokens(best_cut.label, typed_graph.type_of, none, none, tokens)
    of_clusters = ClusterCodes(paths_of(merges, payload.codes.levels), tokens)
    return GraphCodes(best_cut.label, leaf_token, graph, of_clusters, best_cut.resolution, merges.inversions)


def keep_codes(typed_graph: TypedGraph, codes: CodesConfig, earlier: EarlierCodes) -> GraphCodes:
    """Go on with the codes of an earlier night."""
    nodes, of_clusters = NodeClusters.map(earlier.node_clusters), ClusterCodes.map(earlier.cluster_codes)
    place = find_earlier(typed_graph.node_key, NodeArrays(earlier.node_arrays).all("node_key").view(np.uint64))
    before, token = (np.append(column, np.int32(NO_CLUSTER))[place] for column in (nodes.cluster, nodes.leaf_token))
    earlier_clusters, max_size, resolution = len(of_clusters.code), codes.max_size or np.inf, earlier.resolution
    assert resolution is not None
    label, apart = keep_clusters(typed_graph.graph, before, earlier_clusters, resolution, max_size)
    clusters = count_numbers(label, earlier_clusters)
    graph = contract(typed_graph.graph, label, clusters)
    tokens = np.concatenate([of_clusters.tokens, np.zeros((clusters - earlier_clusters, typed_graph.types), np.int32)])
    leaf_token, tokens = keep_tokens(label, typed_graph.type_of, before, token, tokens)
    kept_figures = KeptFigures.of(earlier.night, before, label, earlier_clusters, apart)
    of_clusters = ClusterCodes(
        extend_codes(of_clusters.code, densest_clusters(graph, earlier_clusters), clusters), tokens
    )
    return GraphCodes(label, leaf_token, graph, of_clusters, resolution, kept_figures=kept_figures)


def choose_clusters(typed_graph: TypedGraph, codes: CodesConfig, nodes: int) -> ChosenClusters:
    """Return the clusters of the resolution that is set, or of the one that leaves the share of rows that is set."""
    max_size = codes.max_size or np.inf

    def find(resolution: float) -> NDArray[np.int32]:
        return find_clusters(typed_graph.graph, resolution, max_size)

    if codes.resolution is not None:
        return ChosenClusters(find(codes.resolution), codes.resolution)
    edges, most_rows = typed_graph.graph.adjacency.indices.size // 2, int(codes.share * nodes)
    best_cut = fit_clusters(find, typed_graph.count_rows, edges, most_rows)
    rows = typed_graph.count_rows(best_cut.label)
    if rows > most_rows:
        log.warning(
            "stage=embed warning: codes take %d rows, and codes.share of the nodes is %d: a cluster holds %s nodes at "
            "most, and nothing that no edges join; raise codes.max_size or codes.share",
            *(rows, most_rows, codes.max_size or "any number of"),
        )
    return best_cut


def modularity_of(graph: TwoSidedGraph, resolution: float) -> float:
    """Return the modularity of a graph of clusters, each of which is one node."""
    total = float(graph.row_degree.sum())
    if not total:
        return 0.0
    weights = graph.adjacency.weights
    between = float(weights.sum(dtype=np.float64)) / 2 if weights is not None else graph.adjacency.indices.size / 2
    expected_weight = float((graph.row_degree * graph.column_degree).sum()) / total
    return 1.0 - (between + resolution * expected_weight) / total
