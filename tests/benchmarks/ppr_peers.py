"""Personalised PageRank lists of scikit-network and igraph, timed: run by ppr_solvers.py, in their environment."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import igraph  # noqa: E402
import numpy as np  # noqa: E402
from scipy import sparse  # noqa: E402
from sknetwork.ranking import PageRank  # noqa: E402


def timed(scores_of: Callable[[int], np.ndarray], seeds: np.ndarray, start: int, k: int) -> tuple[float, np.ndarray]:
    """Sources a CPU second, lists included, and the lists."""
    scores_of(int(seeds[0]))
    lists = []
    began = time.process_time()
    for seed_node in seeds:
        scores = scores_of(int(seed_node))[start:]
        best = np.argpartition(-scores, k)[:k]
        lists.append(start + best[np.argsort(-scores[best], kind="stable")])
    return len(seeds) / (time.process_time() - began), np.array(lists)


def main() -> None:
    """Read the graph, time each peer, write rates and lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph")
    parser.add_argument("out")
    asked = parser.parse_args()
    given = np.load(asked.graph)
    n, start, k, restart = int(given["n"]), int(given["start"]), int(given["k"]), float(given["restart"])
    ones = np.ones(given["indices"].size)
    matrix = sparse.csr_matrix((ones, given["indices"], given["indptr"]), shape=(n, n))
    found: dict[str, np.ndarray] = {}
    rates: dict[str, float] = {}
    for solver, rounds, tolerance in (
        ("diteration", 5, 1e-6),
        ("diteration", 10, 1e-6),
        ("piteration", 20, 1e-4),
        ("RH", 10, 1e-6),
        ("lanczos", 10, 1e-3),
        ("bicgstab", 10, 1e-3),
        ("push", 10, 1e-6),
    ):
        ranking = PageRank(damping_factor=1 - restart, solver=solver, n_iter=rounds, tol=tolerance)
        name = f"scikit-network {solver} n_iter={rounds} tol={tolerance:g}"
        seeds = given["seeds"][: 40 if solver == "diteration" else 10]

        def by_network(seed_node: int, ranking: PageRank = ranking) -> np.ndarray:
            return np.asarray(ranking.fit_predict(matrix, {seed_node: 1.0}))

        rates[name], found[name] = timed(by_network, seeds, start, k)
    upper = sparse.triu(matrix).tocoo()
    graph = igraph.Graph(n=n, edges=np.column_stack([upper.row, upper.col]).tolist())

    def by_prpack(seed_node: int) -> np.ndarray:
        return np.array(graph.personalized_pagerank(damping=1 - restart, reset_vertices=seed_node))

    rates["igraph prpack"], found["igraph prpack"] = timed(by_prpack, given["seeds"][:10], start, k)
    np.savez(asked.out, rates=json.dumps(rates), **found)


if __name__ == "__main__":
    main()
