"""All figures of one table against one set of pairs: what evaluate writes down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.link_prediction import (
    AgainstNegatives,
    Nodes,
    Similarity,
    against_negatives,
    distinct,
    link_prediction,
    pair_codes,
)
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import RankingMetrics, rank_items, unit_rows
from pipeline.evaluation.rankme import rankme
from pipeline.evaluation.sampling import sample_by_key


@dataclass(frozen=True, eq=False)
class Table:
    """A table in memory; a position is a row of all arrays.

    rows : (n, dim) float32. node_key : (n,) uint64. degree : (n,) int64.
    ranges : positions of each type. source, target : the types that pairs join.
    similarity : "dot" or "cosine", what the table's metadata names for retrieval.
    """

    rows: NDArray[np.float32]
    node_key: NDArray[np.uint64]
    degree: NDArray[np.int64]
    ranges: Mapping[str, tuple[int, int]]
    source: str
    target: str
    similarity: str

    @property
    def is_plain(self) -> bool:
        """Whether both ends of a pair have one type."""
        return self.source == self.target

    @property
    def nodes(self) -> Nodes:
        """Return the nodes as the negatives' draw wants them."""
        node_type = np.zeros(len(self.rows), np.int32)
        for number, (first, stop) in enumerate(self.ranges.values()):
            node_type[first:stop] = number
        return Nodes(self.node_key, node_type, self.degree)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs by position in the table: (pairs,) int64 each, -1 for an end that the table does not have."""

    src: NDArray[np.int64]
    dst: NDArray[np.int64]

    def among(self, is_source: NDArray[np.bool_]) -> Pairs:
        """Pairs whose known source is chosen."""
        chosen = (self.src >= 0) & is_source[self.src]
        return Pairs(self.src[chosen], self.dst[chosen])


def score(
    table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int
) -> dict[str, Any]:
    """Ranking, link prediction and RankMe of a table, as JSON values."""
    figures = _score_plain if table.is_plain else _score_two_types
    return {
        **figures(table, train, test, ks, sample, seed),
        "rankme": rank_of(table, seed),
        "test_pairs_in_train": _shared(table, train, test),
    }


def rank_of(table: Table, seed: int) -> dict[str, Any]:
    """RankMe of each type."""
    found = {}
    for node_type, (first, stop) in table.ranges.items():
        figure = rankme(table.rows[first:stop], table.node_key[first:stop], seed)
        found[node_type] = {"rankme": figure.rankme, "rows": figure.rows, "population": figure.population}
    return found


def _score_two_types(
    table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int
) -> dict[str, Any]:
    first, stop = table.ranges[table.target]
    users = distinct(test.src[test.src >= 0])
    population = users.size
    absent_pairs = np.unique(_identities(test), return_counts=True)[1] if (test.src < 0).any() else None
    if sample is not None and sample < population:
        users = users[sample_by_key(table.node_key[users], sample, seed)]
        absent_pairs = None  # the sample stands for users that are in the table; the count below says so
    is_user = np.zeros(len(table.rows) + 1, np.bool_)
    is_user[users] = True
    asked, known = test.among(is_user), train.among(is_user)
    at = np.searchsorted(users, asked.src)
    has_row = asked.dst >= 0
    rows = unit_rows(table.rows) if table.similarity == "cosine" else table.rows
    ranking = rank_items(
        rows[users],
        rows[first:stop],
        np.arange(first, stop),
        PositionLists.from_pairs(np.searchsorted(users, known.src), known.dst - first, users.size),
        PositionLists.from_pairs(at[has_row], asked.dst[has_row] - first, users.size),
        ks,
        unknown_items=np.bincount(at[~has_row], minlength=users.size),
        unknown_user_pairs=absent_pairs,
        population=population,
    )
    pairs = pair_codes(asked.src[has_row], asked.dst[has_row], len(table.rows), undirected=False)
    src, dst = np.divmod(pairs, len(table.rows))
    codes = pair_codes(
        np.concatenate([known.src, src]), np.concatenate([known.dst, dst]), len(table.rows), undirected=False
    )
    random, matched = against_negatives(rows, table.nodes, src, dst, codes, seed)
    return {"ranking": _ranking(ranking), "link_prediction": _links(src.size, table.similarity, random, matched)}


def _score_plain(
    table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int
) -> dict[str, Any]:
    n = len(table.rows)
    has_rows = (test.src >= 0) & (test.dst >= 0)
    src, dst = test.src[has_rows], test.dst[has_rows]
    low, high = np.minimum(src, dst), np.maximum(src, dst)
    src, dst = np.divmod(distinct(low * n + high), n)
    is_loop = src == dst
    src, dst = src[~is_loop], dst[~is_loop]
    both = np.concatenate([train.src, src]), np.concatenate([train.dst, dst])
    known = pair_codes(*both, n, undirected=True)
    similarity: Similarity = "cosine" if table.similarity == "cosine" else "dot"
    found = link_prediction(table.rows, table.nodes, src, dst, known, similarity, seed, k=ks[0], max_sources=sample)
    return {
        "ranking": _ranking(found.ranking),
        "link_prediction": {
            **_links(found.positives, table.similarity, found.random, found.degree_matched),
            "unknown_pairs": int((~has_rows).sum()),
        },
    }


def _identities(test: Pairs) -> NDArray[np.int64]:
    # Users without a row carry -2, -3, ...: one number each, so that their pairs can be counted.
    return test.src[test.src < -1] if (test.src < -1).any() else test.src[test.src < 0]


def _shared(table: Table, train: Pairs, test: Pairs) -> int:
    n = len(table.rows)
    has_rows = (test.src >= 0) & (test.dst >= 0)
    asked = pair_codes(test.src[has_rows], test.dst[has_rows], n, undirected=table.is_plain)
    is_source = np.zeros(n + 1, np.bool_)
    is_source[test.src[has_rows]] = True
    known = train if table.is_plain else train.among(is_source)
    codes = pair_codes(known.src, known.dst, n, undirected=table.is_plain)
    return int(np.isin(asked, codes).sum()) // (2 if table.is_plain else 1)


def _ranking(found: RankingMetrics) -> dict[str, Any]:
    return {
        **{f"recall@{k}": value for k, value in zip(found.ks, found.recall, strict=True)},
        **{f"ndcg@{k}": value for k, value in zip(found.ks, found.ndcg, strict=True)},
        **{f"hit_rate@{k}": value for k, value in zip(found.ks, found.hit_rate, strict=True)},
        "users": found.users,
        "unknown_users": found.unknown_users,
        "test_pairs": found.test_pairs,
        "unknown_items": found.unknown_items,
        "population": found.population,
        "is_sampled": found.is_sampled,
    }


def _links(positives: int, similarity: str, random: AgainstNegatives, matched: AgainstNegatives) -> dict[str, Any]:
    return {
        "positives": positives,
        "similarity": similarity,
        "auc_random": random.auc,
        "auc_random_by_degree_alone": random.degree_auc,
        "auc_degree_matched": matched.auc,
        "auc_degree_matched_by_degree_alone": matched.degree_auc,
        "negatives_dropped": random.dropped + matched.dropped,
    }
