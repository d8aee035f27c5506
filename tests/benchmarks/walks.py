"""Steps a second of walks that take turns, beside a plain loop that visits the same nodes.

    python -m tests.benchmarks.walks EDGES.parquet [--sources 1000] [--walks 1000]

Rates are for one core's CPU seconds, so that a busy machine counts for less.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numba import njit
from scipy import sparse

from pipeline.kernels.alias_tables import alias_tables
from pipeline.kernels.hashing import hash_nodes, mix
from pipeline.kernels.ppr_walks import WalkRule, walk_scores
from pipeline.kernels.transition import Transition, single_seeds, transition

RESTART = 0.15


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
    parser.add_argument("edges", type=Path)
    parser.add_argument("--sources", type=int, default=1_000)
    parser.add_argument("--walks", type=int, default=1_000)
    asked = parser.parse_args()
    compare_walks(asked.edges, asked.sources, asked.walks)


if __name__ == "__main__":
    main()
