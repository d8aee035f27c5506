"""Lists shared out over the interests of a source, next to lists of one query: how many test pairs, how much alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphquilt.interest_table import share_out
from pipeline.blocks.arrays import offsets_of
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import measure_places
from pipeline.evaluation.scoring import Queries
from pipeline.evaluation.table import Table
from pipeline.evaluation.top_k import top_k, unit_rows
from pipeline.kernels.ranking import NO_ROW

#: Lengths of candidate lists, and sources that lists are made for at most.
LENGTHS = (200, 500)
SOURCES = 2_000


@dataclass(frozen=True, eq=False)
class SourceQueries:
    """Queries of sources: source i has those from ``indptr[i]`` to ``indptr[i + 1]``, with weights above 0, descending.

    indptr (sources + 1,) int64, weight (queries,) float32, query (queries, dim) float32.
    """

    indptr: NDArray[np.int64]
    weight: NDArray[np.float32]
    query: NDArray[np.float32]

    @classmethod
    def of_rows(cls, rows: NDArray[np.float32]) -> SourceQueries:
        """Return one query for each source: its row."""
        return cls(np.arange(len(rows) + 1), np.ones(len(rows), np.float32), rows)


def score_interests(
    table: Table, queries: Queries, interests: SourceQueries, cluster: NDArray[np.int32]
) -> dict[str, Any]:
    """Return recall and diversity of lists by interests and by the published rows alone, as JSON values.

    Parameters
    ----------
    interests : of the sources that are ranked for; one that has none is asked for by its row.
    cluster : (n,) int32 of each node of the table.
    """
    first, stop = table.ranges[table.target]
    rows = table.rows_for(table.similarity)
    items, of_items = np.ascontiguousarray(rows[first:stop]), cluster[first:stop]
    own = SourceQueries.of_rows(rows[queries.user])
    interests = with_own(interests, own)
    unit = unit_rows(items)
    figures: dict[str, Any] = {"sources": queries.user.size, "queries": interests.weight.size / max(own.weight.size, 1)}
    for name, source_queries in (("one_query", own), ("interests", interests)):
        figures[name] = {}
        for k in LENGTHS:
            lists = shared_lists(source_queries, items, queries.left_out, k)
            metrics = measure_places([(0, len(lists), lists)], len(items), queries.truth, (k,))
            values = {
                "recall": metrics.recall[0],
                "coverage": metrics.coverage[0],
                "clusters": count_clusters(lists, of_items),
                "distance": mean_distance(lists, unit),
            }
            figures[name] |= {f"{figure}@{k}": value for figure, value in values.items()}
    return figures


def shared_lists(
    interests: SourceQueries, items: NDArray[np.float32], left_out: PositionLists, k: int
) -> NDArray[np.int64]:
    """Return ``k`` items of each source, shared out over its queries; each takes the nearest that none before it has.

    Returns
    -------
    (sources, k) int64; ``NO_ROW`` behind the end of a list that fewer items may enter.
    """
    seats, counts = share_out(interests.indptr, interests.weight, k), np.diff(interests.indptr)
    lists, lengths = np.full((counts.size, k), NO_ROW, np.int64), np.zeros(counts.size, np.int64)
    list_of = np.repeat(np.arange(counts.size), left_out.lengths)
    for rank in range(int(counts.max(initial=0))):
        at = np.where(rank < counts, interests.indptr[:-1] + rank, 0)
        source = np.flatnonzero((rank < counts) & (seats[at] > 0))
        if not source.size:
            continue
        row, place = np.nonzero(lists != NO_ROW)
        exclusions = PositionLists.from_pairs(
            np.concatenate([list_of, row]), np.concatenate([left_out.positions, lists[row, place]]), counts.size
        )
        seat_counts = seats[at[source]]
        exclude = exclusions.of_queries(source)
        nearest, _ = top_k(interests.query[at[source]], items, int(seat_counts.max()), exclude)
        of, column = np.nonzero(np.arange(nearest.shape[1]) < seat_counts[:, None])
        lists[source[of], lengths[source[of]] + column] = nearest[of, column]
        lengths[source] += seat_counts
    return lists


def count_clusters(lists: NDArray[np.int64], cluster: NDArray[np.int32]) -> float:
    """Return how many clusters the items of a list are in, the mean over lists."""
    row, place = np.nonzero(lists != NO_ROW)
    codes = row * (int(cluster.max(initial=0)) + 2) + cluster[lists[row, place]] + 1
    return float(np.unique(codes).size / max(len(lists), 1))


def mean_distance(lists: NDArray[np.int64], unit: NDArray[np.float32]) -> float:
    """Return 1 - cosine of two different items of a list, the mean over all its pairs, and over lists with some.

    unit : (items, dim) float32, rows of length 1. The sum of all cosines is the square of the sum of all rows.
    """
    means = []
    for positions in lists:
        rows = unit[positions[positions != NO_ROW]].astype(np.float64)
        if len(rows) > 1:
            total = rows.sum(axis=0)
            cosines = float(total @ total) - float((rows * rows).sum())
            means.append(1.0 - cosines / (len(rows) * (len(rows) - 1)))
    return float(np.mean(means)) if means else 0.0


def with_own(interests: SourceQueries, own: SourceQueries) -> SourceQueries:
    """Return the queries of each source, its own row where it has none."""
    counts = np.diff(interests.indptr)
    lacks = np.flatnonzero(counts == 0)
    place = interests.indptr[lacks]
    return SourceQueries(
        offsets_of(np.maximum(counts, 1)),
        np.insert(interests.weight, place, own.weight[lacks]),
        np.insert(interests.query, place, own.query[lacks], axis=0),
    )
