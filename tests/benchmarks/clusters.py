"""Clusters by modularity next to other libraries': CPU seconds and the modularity reached.

    python -m tests.benchmarks.clusters PAIRS.parquet [--resolution 1.0] [--repeat 3]

Pairs have the columns src and dst. scikit-network (Louvain) and leidenalg (bipartite, with igraph) take part where they
are installed; they are no dependencies.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import block_array, coo_array, csr_array, csr_matrix

from pipeline.codes.clusters import find_clusters
from pipeline.kernels.csr import Csr
from pipeline.kernels.modularity import TwoSidedGraph


def graph_of(pairs: csr_array) -> TwoSidedGraph:
    adjacency = csr_array(block_array([[None, pairs], [pairs.T, None]]))
    rows, columns = pairs.shape
    return TwoSidedGraph(
        Csr(adjacency.indptr.astype(np.int64), adjacency.indices.astype(np.int32), None),
        np.concatenate((pairs.sum(axis=1), np.zeros(columns))),
        np.concatenate((np.zeros(rows), pairs.sum(axis=0))),
        np.ones(rows + columns),
    )


def modularity(pairs: csr_array, label: NDArray[np.integer], resolution: float) -> float:
    of_rows, of_columns = np.split(label, [pairs.shape[0]])
    ends, total, clusters = coo_array(pairs), pairs.sum(), int(label.max()) + 1
    inside = (of_rows[ends.row] == of_columns[ends.col]).sum() / total
    degrees = [np.bincount(one, pairs.sum(axis=axis), clusters) for one, axis in ((of_rows, 1), (of_columns, 0))]
    return float(inside - resolution * (degrees[0] * degrees[1]).sum() / total**2)


def by_scikit_network(pairs: csr_array, resolution: float) -> NDArray[np.integer]:
    from sknetwork.clustering import Louvain

    found = Louvain(resolution=resolution).fit(csr_matrix(pairs), force_bipartite=True)
    return np.concatenate([found.labels_row_, found.labels_col_])


def by_leidenalg(pairs: csr_array, resolution: float) -> NDArray[np.integer]:
    import igraph
    import leidenalg

    rows, columns = pairs.shape
    ends = coo_array(pairs)
    graph = igraph.Graph(n=rows + columns, edges=np.stack([ends.row, rows + ends.col], axis=1))
    graph.vs["type"] = [0] * rows + [1] * columns
    layers = leidenalg.CPMVertexPartition.Bipartite(
        graph, resolution_parameter_01=resolution / pairs.sum(), degree_as_node_size=True
    )
    leidenalg.Optimiser().optimise_partition_multiplex(list(layers), layer_weights=[1, -1, -1])
    return np.array(layers[0].membership)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--resolution", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    table = pq.read_table(options.pairs, columns=["src", "dst"])
    source, target = (np.unique(table[name].to_numpy(), return_inverse=True)[1] for name in ("src", "dst"))
    pairs = csr_array((np.ones(source.size), (source, target)))
    pairs.data[:] = 1.0
    graph = graph_of(pairs)
    ways: dict[str, Callable[[], NDArray[np.integer]]] = {"own": lambda: find_clusters(graph, options.resolution)}
    for package, way in (("sknetwork", by_scikit_network), ("leidenalg", by_leidenalg)):
        if importlib.util.find_spec(package):
            ways[package] = lambda way=way: way(pairs, options.resolution)
    ways["own"]()  # loads the kernels
    for name, way in ways.items():
        seconds = []
        for _ in range(options.repeat):
            started = time.process_time()
            label = way()
            seconds.append(time.process_time() - started)
        reached = modularity(pairs, label, options.resolution)
        print(f"{name}: {np.median(seconds):.3f} CPU s, modularity {reached:.4f}, {np.unique(label).size} clusters")


if __name__ == "__main__":
    main()
