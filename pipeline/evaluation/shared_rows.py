"""What is left of a table's ranking where nodes share rows: those of their cluster, or of a hash.

Every shared row is fitted to the rows of its nodes, in the place of training. Source: Wu et al., "GraphHash: graph
clustering enables parameter efficiency in recommender systems", KDD 2025, arXiv 2412.17245, for the ways to share.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.scoring import rank_pairs, ranking_figures
from pipeline.evaluation.table import Pairs, Table
from pipeline.kernels.hashing import splitmix64

#: Sources that each way is ranked for.
_SOURCES = 5_000
#: Times that the rows of two tables are fitted in turn.
_ROUNDS = 3

Buckets = Sequence[NDArray[np.int64]]
"""The row of each node in each table whose rows are added up; (nodes,) int64."""
WaysOf = Callable[[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32]], Mapping[str, Buckets]]
"""Ways to share by keys, degrees and numbers of the nodes of a type."""


def score_shared_rows(
    table: Table, train: Pairs, test: Pairs, numbers: NDArray[np.int32], ks: tuple[int, ...], sample: int, seed: int
) -> dict[str, Any]:
    """Return the ranking of the whole table, and of tables with as many rows as clusters and with twice as many.

    Parameters
    ----------
    numbers : (n, tables) int32, of each node the numbers whose rows are added up, such as its cluster alone; -1 where a
        node has none: these share one row of their type.

    Returns
    -------
    JSON values: under "once" and "twice" the rows of the tables, and by way to share its recall and NDCG, and the share
    of nodes that have a row for themselves.
    """
    sample = min(sample, _SOURCES)

    def rank(rows: NDArray[np.float32]) -> dict[str, Any]:
        figures = ranking_figures(rank_pairs(replace(table, rows=rows), train, test, ks, sample, seed).metrics)
        return {name: value for name, value in figures.items() if name.startswith(("recall@", "ndcg@"))}

    figures: dict[str, Any] = {"nodes": len(table.rows), "whole": rank(table.rows)}
    for name, by_type in (("once", _ways_of_one_row), ("twice", _ways_of_two_rows)):
        ways = _over_types(table, numbers, by_type)
        figures[name] = {"rows": sum(int(bucket.max(initial=-1)) + 1 for bucket in next(iter(ways.values())))}
        for way, buckets in ways.items():
            figures[name][way] = {**rank(fit_shared_rows(table.rows, buckets)), "alone": share_alone(buckets)}
    return figures


def fit_shared_rows(rows: NDArray[np.float32], buckets: Buckets) -> NDArray[np.float32]:
    """Return the sum of the shared rows of each node, each the mean of what the other tables leave of its nodes."""
    parts = [np.zeros_like(rows) for _ in buckets]
    for _ in range(_ROUNDS if len(buckets) > 1 else 1):
        for number, bucket in enumerate(buckets):
            rest = rows - sum(part for part_number, part in enumerate(parts) if part_number != number)
            order = np.argsort(bucket, kind="stable")
            starts = np.flatnonzero(np.diff(bucket[order], prepend=-1))
            sums = np.add.reduceat(rest[order], starts, axis=0, dtype=np.float64)
            counts = np.diff(starts, append=bucket.size)
            parts[number][order] = np.repeat((sums / counts[:, None]).astype(np.float32), counts, axis=0)
    return np.sum(parts, axis=0, dtype=np.float32)


def share_alone(buckets: Buckets) -> float:
    """Return the share of the nodes whose rows no other node has."""
    place = np.zeros(buckets[0].size, np.int64)
    for bucket in buckets:
        place = place * (int(bucket.max(initial=0)) + 1) + bucket
    _, node, count = np.unique(place, return_inverse=True, return_counts=True)
    return float((count[node] == 1).mean())


def _over_types(table: Table, numbers: NDArray[np.int32], ways_of: WaysOf) -> Mapping[str, Buckets]:
    """Return the buckets of each way; types have tables of their own, one after the other."""
    ways: dict[str, list[NDArray[np.int64]]] = {}
    for first, stop in table.ranges.values():
        of_type = ways_of(table.node_key[first:stop], table.degree[first:stop], numbers[first:stop])
        for way, buckets in of_type.items():
            places = ways.setdefault(way, [np.zeros(0, np.int64) for _ in buckets])
            for number, bucket in enumerate(buckets):
                after = int(places[number].max(initial=-1)) + 1
                places[number] = np.concatenate([places[number], after + bucket])
    return ways


def _ways_of_one_row(
    key: NDArray[np.uint64], degree: NDArray[np.int64], numbers: NDArray[np.int32]
) -> dict[str, Buckets]:
    buckets, rows = _buckets_of(numbers)
    return {"clusters": buckets, **_hash_ways(key, degree, rows)}


def _ways_of_two_rows(
    key: NDArray[np.uint64], degree: NDArray[np.int64], numbers: NDArray[np.int32]
) -> dict[str, Buckets]:
    buckets, rows = _buckets_of(numbers)
    both = [*buckets, (key % np.uint64(rows)).astype(np.int64)]
    return {"clusters_and_hash": both, **_hash_ways(key, degree, 2 * rows)}


def _buckets_of(numbers: NDArray[np.int32]) -> tuple[list[NDArray[np.int64]], int]:
    """Return the row of each node in a table for each column of numbers, and how many rows they have together."""
    buckets = [np.unique(column, return_inverse=True)[1] for column in numbers.T]
    return buckets, sum(int(bucket.max(initial=-1)) + 1 for bucket in buckets)


def _hash_ways(key: NDArray[np.uint64], degree: NDArray[np.int64], rows: int) -> dict[str, Buckets]:
    """Return ways that know no graph: one hash; rows of their own for half as many popular nodes; two hashes."""
    half = max(rows // 2, 1)
    rest = max(rows - half, 1)
    own = np.argsort(-degree, kind="stable")[: min(half, key.size)]
    frequency = half + (key % np.uint64(rest)).astype(np.int64)
    frequency[own] = np.arange(own.size)
    second_key = splitmix64(key)
    return {
        "modulo": [(key % np.uint64(rows)).astype(np.int64)],
        "frequency": [frequency],
        "double": [(key % np.uint64(half)).astype(np.int64), (second_key % np.uint64(rest)).astype(np.int64)],
    }
