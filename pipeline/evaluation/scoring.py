"""All figures of one table against one set of pairs: what evaluate writes down."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.link_prediction import (
    AgainstNegatives,
    against_negatives,
    distinct,
    pair_codes,
    rank_positives,
)
from pipeline.evaluation.new_sources import score_new_sources
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import Ranked, RankingMetrics, rank_items
from pipeline.evaluation.rankme import rankme
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.table import Pairs, Table, known_codes


def score(
    table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int
) -> dict[str, Any]:
    """Ranking, link prediction and RankMe of a table, as JSON values."""
    pairs = test.with_rows(table)
    unknown = {"unknown_pairs": int(((test.src < 0) | (test.dst < 0)).sum())} if table.is_plain else {}
    ranked = rank_pairs(table, train, test, ks, sample, seed)
    if not table.is_plain:
        pairs = pairs.among(_marked(ranked.user, len(table.rows)))
    near = train if table.is_plain else train.among(_marked(pairs.src, len(table.rows)))
    codes = known_codes(table, near, pairs)
    rows = table.rows_for(table.similarity)
    random, matched = against_negatives(rows, table.nodes, pairs.src, pairs.dst, codes, seed)
    return {
        "ranking": ranking_figures(ranked.metrics),
        "link_prediction": {
            **_links(pairs.src.size, table.similarity, random, matched),
            **unknown,
            "new_sources": score_new_sources(table, test, seed),
        },
        "rankme": rank_of(table, seed),
        "test_pairs_in_train": shared(table, train, test),
    }


def rank_pairs(table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int) -> Ranked:
    """Rank for each source of test pairs, or for ``sample`` of them, without its train pairs (each given once).

    Between two types, sources without a row count with zeros (not in a sample) and so do unknown answers; on a
    plain graph an edge counts from both of its ends, and pairs with an unknown end are left out.
    """
    if not table.is_plain:
        return _rank_two_types(table, train, test, ks, sample, seed)
    pairs = test.with_rows(table)
    known = known_codes(table, train, pairs)
    rows = table.rows_for(table.similarity)
    return rank_positives(rows, table.nodes, pairs.src, pairs.dst, known, True, seed, ks, sample)


def rank_of(table: Table, seed: int) -> dict[str, Any]:
    """RankMe of each type."""
    found = {}
    for node_type, (first, stop) in table.ranges.items():
        figure = rankme(table.rows[first:stop], table.node_key[first:stop], seed)
        found[node_type] = {"rankme": figure.rankme, "rows": figure.rows, "population": figure.population}
    return found


def _rank_two_types(
    table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int
) -> Ranked:
    first, stop = table.ranges[table.target]
    users = distinct(test.src[test.src >= 0])
    population = users.size
    absent_pairs = np.unique(_identities(test), return_counts=True)[1] if (test.src < 0).any() else None
    if sample is not None and sample < population:
        users = users[sample_by_key(table.node_key[users], sample, seed)]
        absent_pairs = None  # the sample stands for users that are in the table; the count below says so
    is_user = _marked(users, len(table.rows))
    asked, known = test.among(is_user), train.among(is_user)
    at = np.searchsorted(users, asked.src)
    has_row = asked.dst >= 0
    rows = table.rows_for(table.similarity)
    left_out = PositionLists.from_pairs(np.searchsorted(users, known.src), known.dst - first, users.size)
    metrics = rank_items(
        rows[users],
        rows[first:stop],
        np.arange(first, stop),
        left_out,
        PositionLists.from_pairs(at[has_row], asked.dst[has_row] - first, users.size),
        ks,
        unknown_items=np.bincount(at[~has_row], minlength=users.size),
        unknown_user_pairs=absent_pairs,
        population=population,
    )
    return Ranked(metrics, users, left_out.lengths, np.bincount(train.dst - first, minlength=stop - first))


def _marked(positions: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """Mark positions; the extra last place stays false, for -1."""
    marks = np.zeros(n + 1, np.bool_)
    marks[positions] = True
    return marks


def _identities(test: Pairs) -> NDArray[np.int64]:
    # Users without a row carry -2, -3, ...: one number each, so that their pairs can be counted.
    return test.src[test.src < -1] if (test.src < -1).any() else test.src[test.src < 0]


def shared(table: Table, train: Pairs, test: Pairs) -> int:
    """Return how many distinct test pairs are train pairs too: found by nobody, since these are left out."""
    n = len(table.rows)
    has_rows = (test.src >= 0) & (test.dst >= 0)
    asked = pair_codes(test.src[has_rows], test.dst[has_rows], n, undirected=table.is_plain)
    is_source = np.zeros(n + 1, np.bool_)
    is_source[test.src[has_rows]] = True
    known = train if table.is_plain else train.among(is_source)
    codes = pair_codes(known.src, known.dst, n, undirected=table.is_plain)
    return int(np.isin(asked, codes).sum()) // (2 if table.is_plain else 1)


def ranking_figures(found: RankingMetrics) -> dict[str, Any]:
    """Return a ranking's figures as JSON values."""
    return {
        **{f"recall@{k}": value for k, value in zip(found.ks, found.recall, strict=True)},
        **{f"ndcg@{k}": value for k, value in zip(found.ks, found.ndcg, strict=True)},
        **{f"hit_rate@{k}": value for k, value in zip(found.ks, found.hit_rate, strict=True)},
        **{f"coverage@{k}": value for k, value in zip(found.ks, found.coverage, strict=True)},
        "users": found.users,
        "unknown_users": found.unknown_users,
        "test_pairs": found.test_pairs,
        "unknown_items": found.unknown_items,
        "population": found.population,
        "is_sampled": found.is_sampled,
        "of_known": {
            "users": found.of_known.users,
            **{f"recall@{k}": value for k, value in zip(found.ks, found.of_known.recall, strict=True)},
            **{f"ndcg@{k}": value for k, value in zip(found.ks, found.of_known.ndcg, strict=True)},
        },
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
