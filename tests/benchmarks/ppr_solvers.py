"""Sources a second of the personalised PageRank solvers, beside their peers, with precision; steps a second of walks.

    python tests/benchmarks/ppr_solvers.py lists TRAIN.parquet --peer-python VENV/bin/python
    python tests/benchmarks/ppr_solvers.py walks EDGES.parquet

The environment of the peers holds scikit-network, igraph, numpy and scipy. Rates are for one core's CPU seconds, so
that a busy machine counts for less; a peer runs between two runs of ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numba import njit
from scipy import sparse

from pipeline.kernels.alias_tables import alias_tables
from pipeline.kernels.hashing import hash_nodes, mix
from pipeline.kernels.ppr_chebyshev import chebyshev_top_k
from pipeline.kernels.ppr_push import push_top_k
from pipeline.kernels.ppr_top_k import Candidates, TopK
from pipeline.kernels.ppr_walks import WalkRule, walk_scores, walk_top_k
from pipeline.kernels.transition import Transition, single_seeds, transition
from pipeline.planning.list_costs import choose_solver, estimate_seconds

RESTART = 0.15
K = 100
CHECKED = 40  # sources whose lists are compared with exact ones


def bipartite_transition(path: Path) -> Transition:
    """Read the graph of a file whose first two columns are user and item numbers."""
    table = pq.read_table(path)
    user, item = (np.unique(table.column(i).to_numpy(), return_inverse=True)[1] for i in (0, 1))
    users = int(user.max()) + 1
    n = users + int(item.max()) + 1
    row, col = np.concatenate([user, item + users]), np.concatenate([item + users, user])
    matrix = sparse.csr_array((np.ones(row.size, np.int8), (row, col)), shape=(n, n))
    matrix.sort_indices()
    return transition(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), None, users)


def exact_item_scores(graph: Transition, seeds: np.ndarray) -> np.ndarray:
    """(seeds, items) float64: power iteration until what is left is below 1e-8."""
    ones = np.ones(graph.indices.size)
    matrix = sparse.csr_array((ones, graph.indices, graph.indptr), shape=(graph.n, graph.n))
    start = np.zeros((graph.n, seeds.size))
    start[seeds, np.arange(seeds.size)] = RESTART
    x = start.copy()
    for _ in range(120):
        x = start + (1 - RESTART) * (matrix @ (x / graph.degree[:, None]))
    return x[graph.left :].T


def precision(lists: np.ndarray, exact: np.ndarray, first: int) -> float:
    """Share of the listed items that score at least as much as the exact list's last, ties allowed."""
    last = -np.sort(-exact, axis=1)[:, K - 1]
    scores = np.take_along_axis(exact[: len(lists)], lists - first, axis=1)
    return float((scores >= last[: len(lists), None] * (1 - 1e-6)).mean())


def rate(run: Callable[[], TopK], sources: int) -> tuple[float, TopK]:
    """Sources a CPU second, and the lists."""
    began = time.process_time()
    found = run()
    return sources / (time.process_time() - began), found


def compare_lists(path: Path, peer_python: str | None, count: int) -> None:
    """Print a line a solver: sources a second, precision, largest bound."""
    graph = bipartite_transition(path)
    users = graph.left or 0
    seeds = np.random.default_rng(0).choice(users, count, replace=False)
    exact = exact_item_scores(graph, seeds[:CHECKED])
    items = Candidates(users, graph.n)
    sources, keys = single_seeds(seeds), seeds.astype(np.uint64)

    def chebyshev(tolerance: float) -> Callable[[], TopK]:
        return lambda: chebyshev_top_k(graph, sources, RESTART, tolerance, K, items)

    def show(name: str, speed: float, lists: np.ndarray, bound: float | None) -> None:
        shown = "" if bound is None else f" bound={bound:.2g}"
        right = precision(lists[:CHECKED], exact, users)
        print(f"{name}: sources_per_s={speed:.1f} precision@{K}={right:.4f}{shown}", flush=True)

    print(f"nodes={graph.n} entries={graph.indices.size} sources={count} restart={RESTART} k={K}")
    best = {}
    for tolerance in (0.3, 0.2, 0.15, 0.1, 1e-2, 1e-3):
        speed, found = rate(chebyshev(tolerance), count)
        show(f"chebyshev tolerance={tolerance:g}", speed, found.nodes, found.bound.max())
        if precision(found.nodes[:CHECKED], exact, users) >= 0.99:
            best[tolerance] = speed
    for tolerance in (1e-5, 1e-6):
        some = sources.part(0, 100)
        speed, found = rate(lambda t=tolerance, s=some: push_top_k(graph, s, RESTART, t, K, items), 100)
        show(f"push tolerance={tolerance:g}", speed, found.nodes, found.bound.max())
    some = sources.part(0, 100)
    speed, found = rate(lambda: walk_top_k(graph, None, some, keys[:100], WalkRule(RESTART, 10_000, 0), K, items), 100)
    show("walks 10,000 a source", speed, found.nodes, found.bound.max())
    seconds = estimate_seconds(graph.n, graph.indices.size, count, K, 1e-2, RESTART, is_bipartite=True)
    print(choose_solver(seconds, count, graph.indices.size, 1e-2, RESTART).reason)
    if peer_python is None:
        return
    chosen = max(best, key=best.__getitem__)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "graph.npz", Path(folder) / "lists.npz"
        np.savez(
            given, indptr=graph.indptr, indices=graph.indices, n=graph.n, start=users, k=K, restart=RESTART, seeds=seeds
        )
        subprocess.run([peer_python, str(Path(__file__).with_name("ppr_peers.py")), given, made], check=True)
        peers = np.load(made)
        again, _ = rate(chebyshev(chosen), count)
        ours = (best[chosen] + again) / 2
        print(f"ours, tolerance {chosen:g}, before and after the peers: {best[chosen]:.1f}, {again:.1f}")
        for name, speed in json.loads(str(peers["rates"])).items():
            show(name, speed, peers[name], None)
            print(f"    ours / this = {ours / speed:.1f}")


@njit("void(int64[::1], int32[::1], int64[::1], uint64[::1], float64, int64, int32[::1], int64[::1])", nogil=True)
def plain_walks(
    indptr: np.ndarray,
    indices: np.ndarray,
    seeds: np.ndarray,
    keys: np.ndarray,
    restart: float,
    walks: int,
    counts: np.ndarray,
    totals: np.ndarray,
) -> None:
    """One walk after the other, with the words of `walk_scores`; totals: visits, nodes, a checksum of the counts."""
    reached = np.empty(counts.size, np.int32)
    for source in range(seeds.size):
        found = 0
        for walk in range(walks):
            key = mix(keys[source] + np.uint64(walk))
            luck = np.float64(mix(key) >> np.uint64(11)) * 2.0**-53
            node = seeds[source]
            chance = 1.0
            word = key
            while True:
                if counts[node] == 0:
                    reached[found] = node
                    found += 1
                counts[node] += 1
                totals[0] += 1
                chance *= 1 - restart
                if luck >= chance:
                    break
                word += np.uint64(1)
                begin, end = indptr[node], indptr[node + 1]
                if begin < end:
                    draw = np.float64(mix(word) >> np.uint64(11)) * 2.0**-53
                    node = np.int64(indices[begin + np.int64(draw * (end - begin))])
        totals[1] += found
        for i in range(found):
            totals[2] += np.int64(counts[reached[i]]) * (reached[i] + 1)
            counts[reached[i]] = 0


def compare_walks(path: Path, count: int, walks: int) -> None:
    """Print steps a second of walks that take turns and of a plain loop: same words, so the same counts."""
    graph = bipartite_transition(path)
    seeds = np.random.default_rng(0).choice(graph.left or 0, count, replace=False)
    keys = seeds.astype(np.uint64)
    print(f"nodes={graph.n} entries={graph.indices.size} sources={count} walks={walks}")
    ratios = []
    for _ in range(3):
        totals = np.zeros(3, np.int64)
        began = time.process_time()
        plain_walks(
            graph.indptr, graph.indices, seeds, hash_nodes(keys, 0), RESTART, walks, np.zeros(graph.n, np.int32), totals
        )
        plain = totals[0] / (time.process_time() - began)
        began = time.process_time()
        found = walk_scores(graph, None, single_seeds(seeds), keys, WalkRule(RESTART, walks, 0))
        turns = totals[0] / (time.process_time() - began)
        visits = np.rint(found.scores * walks / RESTART).astype(np.int64)
        if (visits.sum(), visits.size, (visits * (found.nodes.astype(np.int64) + 1)).sum()) != tuple(totals):
            raise RuntimeError("the two kinds of walks did not visit the same nodes; the comparison means nothing")
        ratios.append(turns / plain)
        print(f"plain steps_per_s={plain:.3g} taking turns steps_per_s={turns:.3g} ratio={ratios[-1]:.2f}")
    weights = np.ones(graph.indices.size, np.float32)
    weighted = transition(graph.indptr, graph.indices, weights, graph.left)
    began = time.process_time()
    alias = alias_tables(graph.indptr, graph.indices, weights)
    print(f"alias tables: entries_per_s={weights.size / (time.process_time() - began):.3g}")
    began = time.process_time()
    found = walk_scores(weighted, alias, single_seeds(seeds), keys, WalkRule(RESTART, walks, 0))
    print(f"weighted, taking turns: steps_per_s={totals[0] / (time.process_time() - began):.3g}")
    print(f"median ratio {np.median(ratios):.2f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("lists", "walks"))
    parser.add_argument("edges", type=Path)
    parser.add_argument("--peer-python")
    parser.add_argument("--sources", type=int, default=1_000)
    parser.add_argument("--walks", type=int, default=1_000)
    asked = parser.parse_args()
    if asked.what == "lists":
        compare_lists(asked.edges, asked.peer_python, asked.sources)
    else:
        compare_walks(asked.edges, asked.sources, asked.walks)


if __name__ == "__main__":
    main()
