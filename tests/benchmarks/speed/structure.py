"""Contenders: lists of personalised PageRank, partitions, clusters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipeline.codes.clusters import find_clusters
from pipeline.kernels.csr import Csr
from pipeline.kernels.modularity import TwoSidedGraph
from pipeline.kernels.ppr_chebyshev import chebyshev_top_k
from pipeline.kernels.ppr_top_k import Candidates
from pipeline.kernels.transition import single_seeds, transition
from pipeline.partitioning import multilevel
from tests.benchmarks.partitioners import bipartite, by_pymetis, measure
from tests.benchmarks.speed.contender import Pairs, Prepared, contender
from tests.benchmarks.speed.vectors import adjacency, biadjacency

RESTART = 0.15
LISTED = 100
PARTS = 64
PARTITION_SEED = 0


def _exact_scores(matrix: sparse.csr_array, sources: NDArray[np.int64]) -> NDArray[np.float64]:
    """(sources, nodes): power iteration until what is left is below 1e-8."""
    degree = np.maximum(np.diff(matrix.indptr), 1)
    start = np.zeros((matrix.shape[0], sources.size))
    start[sources, np.arange(sources.size)] = RESTART
    scores = start.copy()
    for _ in range(120):
        scores = start + (1 - RESTART) * (matrix.astype(np.float64) @ (scores / degree[:, None]))
    return scores.T


def _lists(pairs: Pairs, sources: int, lists_of: Callable[[NDArray[np.int64]], NDArray[np.integer]]) -> Prepared:
    """Lists of items of some users, drawn; rates are by source, since a slow peer gets fewer."""
    drawn = np.random.default_rng(0).choice(pairs.users, 1_000, replace=False)

    def figures(lists: NDArray[np.integer]) -> Mapping[str, float]:
        some = drawn[: min(sources, 40)]
        exact = _exact_scores(adjacency(pairs), some)[:, pairs.users :]
        last = -np.sort(-exact, axis=1)[:, LISTED - 1]
        scores = np.take_along_axis(exact, lists[: some.size] - pairs.users, axis=1)
        # Ties with the last one count as right.
        return {f"precision@{LISTED}": float((scores >= last[:, None] * (1 - 1e-6)).mean())}

    return Prepared(lambda: lists_of(drawn[:sources]), figures, units=sources)


@contender("ppr lists", "graphquilt")
def own_lists(pairs: Pairs) -> Prepared:
    matrix = adjacency(pairs)
    graph = transition(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), None, pairs.users)
    items = Candidates(pairs.users, graph.n)

    def lists_of(sources: NDArray[np.int64]) -> NDArray[np.integer]:
        return chebyshev_top_k(graph, single_seeds(sources), RESTART, 0.15, LISTED, items).nodes

    return _lists(pairs, 1_000, lists_of)


def _lists_of_scores(pairs: Pairs, sources: int, scores_of: Callable[[int], NDArray[np.float64]]) -> Prepared:
    def list_of(source: np.int64) -> NDArray[np.integer]:
        scores = scores_of(int(source))[pairs.users :]
        best = np.argpartition(-scores, LISTED)[:LISTED]
        return pairs.users + best[np.argsort(-scores[best], kind="stable")]

    return _lists(pairs, sources, lambda some: np.array([list_of(source) for source in some]))


@contender("ppr lists", "scikit-network")
def scikit_network_lists(pairs: Pairs) -> Prepared:
    from sknetwork.ranking import PageRank

    matrix = sparse.csr_matrix(adjacency(pairs).astype(np.float64))
    ranking = PageRank(damping_factor=1 - RESTART, solver="diteration", n_iter=10)  # its fastest above .99
    return _lists_of_scores(pairs, 20, lambda source: np.asarray(ranking.fit_predict(matrix, {source: 1.0})))


@contender("ppr lists", "igraph PRPACK")
def igraph_lists(pairs: Pairs) -> Prepared:
    import igraph

    graph = igraph.Graph(n=pairs.users + pairs.items, edges=np.column_stack([pairs.user, pairs.users + pairs.item]))
    return _lists_of_scores(
        pairs, 5, lambda source: np.array(graph.personalized_pagerank(damping=1 - RESTART, reset_vertices=source))
    )


def _partition(pairs: Pairs, prepare: Callable[[Any], Callable[[], NDArray[np.int32]]]) -> Prepared:
    graph = bipartite(pairs.user, pairs.item)

    def figures(labels: NDArray[np.int32]) -> Mapping[str, float]:
        cut, copies, balance = measure(graph, labels, PARTS)
        return {"cut in per cent": cut, "copies a node": copies, "largest part over the mean": balance}

    return Prepared(prepare(graph.piece.cut_graph(graph.degree, graph.node_key)), figures)


@contender("partition", "graphquilt")
def own_partition(pairs: Pairs) -> Prepared:
    return _partition(pairs, lambda graph: lambda: multilevel.cut(graph, PARTS, PARTITION_SEED))


@contender("partition", "METIS")
def metis_partition(pairs: Pairs) -> Prepared:
    return _partition(pairs, lambda graph: lambda: by_pymetis(graph, PARTS, PARTITION_SEED))


@contender("partition", "Mt-KaHyPar")
def mt_kahypar_partition(pairs: Pairs) -> Prepared:
    """Its default preset; a node weighs what it weighs for METIS. Handing over the edges as tuples is not timed."""
    import mtkahypar

    library = mtkahypar.initialize(1)
    mtkahypar.set_seed(PARTITION_SEED)

    def prepare(graph: Any) -> Callable[[], NDArray[np.int32]]:
        context = library.context_from_preset(mtkahypar.PresetType.DEFAULT)
        context.set_partitioning_parameters(PARTS, 0.05, mtkahypar.Objective.CUT)
        edges = list(zip(graph.left.tolist(), graph.right.tolist(), strict=True))
        weights = np.maximum(graph.volume, 0).tolist()
        of_library = library.create_graph(context, len(weights), len(edges), edges, weights, [1] * len(edges))
        return lambda: np.array(of_library.partition(context).get_partition(), np.int32)

    return _partition(pairs, prepare)


def _clusters(pairs: Pairs, cluster: Callable[[], NDArray[np.integer]]) -> Prepared:
    def figures(label: NDArray[np.integer]) -> Mapping[str, float]:
        of_user, of_item = label[: pairs.users], label[pairs.users :]
        count, edges = int(label.max()) + 1, pairs.user.size
        ends = of_user[pairs.user], of_item[pairs.item]
        of_users, of_items = (np.bincount(end, minlength=count) / edges for end in ends)
        reached = np.mean(ends[0] == ends[1]) - (of_users * of_items).sum()
        return {"bipartite modularity": float(reached), "clusters": float(np.unique(label).size)}

    return Prepared(cluster, figures)


@contender("clusters", "graphquilt")
def own_clusters(pairs: Pairs) -> Prepared:
    matrix = adjacency(pairs)
    degree = np.diff(matrix.indptr).astype(np.float64)
    is_user = np.arange(degree.size) < pairs.users
    csr = Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), None)
    graph = TwoSidedGraph(csr, np.where(is_user, degree, 0.0), np.where(is_user, 0.0, degree), np.ones(degree.size))
    return _clusters(pairs, lambda: find_clusters(graph, 1.0))


@contender("clusters", "scikit-network Louvain")
def scikit_network_clusters(pairs: Pairs) -> Prepared:
    from sknetwork.clustering import Louvain

    matrix = sparse.csr_matrix(biadjacency(pairs))

    def cluster() -> NDArray[np.integer]:
        fitted = Louvain().fit(matrix, force_bipartite=True)
        return np.concatenate([fitted.labels_row_, fitted.labels_col_])

    return _clusters(pairs, cluster)


@contender("clusters", "leidenalg")
def leidenalg_clusters(pairs: Pairs) -> Prepared:
    import igraph
    import leidenalg

    graph = igraph.Graph(n=pairs.users + pairs.items, edges=np.column_stack([pairs.user, pairs.users + pairs.item]))
    graph.vs["type"] = [0] * pairs.users + [1] * pairs.items

    def cluster() -> NDArray[np.integer]:
        layers = leidenalg.CPMVertexPartition.Bipartite(
            graph, resolution_parameter_01=1 / pairs.user.size, degree_as_node_size=True
        )
        leidenalg.Optimiser().optimise_partition_multiplex(list(layers), layer_weights=[1, -1, -1])
        return np.array(layers[0].membership)

    return _clusters(pairs, cluster)
