"""All figures of one table against one set of pairs: what evaluate writes down."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import codec
from pipeline.evaluation.link_prediction import (
    contains,
    degree_matched_negatives,
    distinct,
    measure_auc,
    random_negatives,
)
from pipeline.evaluation.new_sources import score_new_sources
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import (
    GroundTruth,
    RankingMetrics,
    TableRanking,
    figures_at,
    rank_items,
)
from pipeline.evaluation.rankme import rankme
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.slices import (
    popularity_corrected,
    rank_cold_alone,
    slice_by_activity,
    slice_by_popularity,
    slice_cold_nodes,
)
from pipeline.evaluation.table import Pairs, Table, known_codes
from pipeline.evaluation.top_k import unit_rows

#: Sources ranked for a width curve: a thousand tell a hundredth apart.
CURVE_SOURCES = 1_000
#: Entries of a table above which no narrower copies of it are made: 1 GiB.
_MOST_ENTRIES = 2**28
_NARROWEST = 8


def score_table(
    table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int
) -> dict[str, Any]:
    """Ranking and link prediction of a table, as JSON values. ``train`` : known pairs."""
    ranking = rank_pairs(table, train, test, ks, sample, seed)
    pairs = test.with_rows(table)
    if not table.is_plain:
        pairs = pairs.of_sources(ranking.user, table)
    pairs_to_avoid = known_codes(table, train if table.is_plain else train.of_sources(pairs.src, table), pairs)
    rows, nodes = table.rows_for(table.similarity), table.nodes
    random, degree_matched = (
        measure_auc(rows, nodes, pairs.src, pairs.dst, draw(pairs.src, pairs.dst, nodes, pairs_to_avoid, seed))
        for draw in (random_negatives, degree_matched_negatives)
    )
    links: dict[str, Any] = {
        "positives": pairs.src.size,
        "similarity": table.similarity,
        "auc_random": random.auc,
        "auc_random_by_degree_alone": random.auc_by_degree_alone,
        "auc_degree_matched": degree_matched.auc,
        "auc_degree_matched_by_degree_alone": degree_matched.auc_by_degree_alone,
        "negatives_dropped": random.without_negative + degree_matched.without_negative,
    }
    if table.is_plain:
        links["unknown_pairs"] = test.src.size - test.between_rows().src.size
    links["new_sources"] = codec.to_values(score_new_sources(table, test, seed))
    return {
        "ranking": ranking_figures(ranking.metrics),
        "slices": slices_of(ranking),
        "widths": width_curve(table, train, test, ks, seed),
        "link_prediction": links,
        "test_pairs_in_train": count_train_pairs(table, train, test),
    }


def rank_pairs(
    table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int
) -> TableRanking:
    """Rank for each source of test pairs, or for ``sample`` of them, without its train pairs (each given once).

    Between two types, sources without a row count with zeros (not in a sample) and so do unknown answers. On a
    plain graph an edge counts from both of its ends, test edges are no train edges, no node is its own answer, and
    pairs with an unknown end are left out.
    """
    first, stop = table.ranges[table.target]
    train, test = pairs_to_rank(table, train, test)
    query = choose_queries(table, train, test, sample, seed)
    rows = table.rows_for(table.similarity)
    users, items, neighbors = rows[query.user], rows[first:stop], table.degree[first:stop]
    return TableRanking(
        metrics=rank_items(users, items, query.left_out, query.truth, ks),
        user=query.user,
        user_degree=query.left_out.lengths - table.is_plain,
        item_degree=np.bincount(train.dst - first, minlength=stop - first),
        item_neighbors=neighbors,
        cold_alone=rank_cold_alone(users, items, neighbors == 0, query.left_out, query.truth, ks),
    )


def slices_of(ranking: TableRanking) -> dict[str, Any]:
    """Return a ranking's figures by who is ranked for, and by what is ranked, as JSON values."""
    return {
        "by_activity": slice_by_activity(ranking),
        "by_popularity": slice_by_popularity(ranking),
        "by_warmth": slice_cold_nodes(ranking),
        "popularity_corrected": popularity_corrected(ranking),
    }


@dataclass(frozen=True, eq=False)
class Queries:
    """Sources that are ranked for. user : (users,) int64, ascending positions; lists and answers are of targets."""

    user: NDArray[np.int64]
    left_out: PositionLists
    truth: GroundTruth


def pairs_to_rank(table: Table, train: Pairs, test: Pairs) -> tuple[Pairs, Pairs]:
    """Return train and test pairs from their sources to their targets."""
    if not table.is_plain:
        return train, test
    edges = test.with_rows(table)
    return train.without(edges, table).both_directions(), edges.both_directions()


def choose_queries(table: Table, train: Pairs, test: Pairs, sample: int | None, seed: int) -> Queries:
    """Return the sources of test pairs, or ``sample`` of them, what is left out of their lists, and their answers."""
    first = table.ranges[table.target][0]
    users = distinct(test.src[test.src >= 0])
    population = users.size
    absent_pairs = np.unique(test.src[test.src < 0], return_counts=True)[1]
    if sample is not None and sample < population:
        users = users[sample_by_key(table.node_key[users], sample, seed)]
        absent_pairs = absent_pairs[:0]  # the sample stands for users that are in the table
    answers, train_pairs = test.of_sources(users, table), train.of_sources(users, table)
    own = users if table.is_plain else users[:0]
    left_out = PositionLists.from_pairs(
        np.searchsorted(users, np.concatenate((train_pairs.src, own))),
        np.concatenate((train_pairs.dst, own)) - first,
        users.size,
    )
    user, has_row = np.searchsorted(users, answers.src), answers.dst >= 0
    truth = GroundTruth(
        PositionLists.from_pairs(user[has_row], answers.dst[has_row] - first, users.size),
        np.bincount(user[~has_row], minlength=users.size),
        absent_pairs,
        population,
    )
    return Queries(users, left_out, truth)


def width_curve(table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], seed: int) -> list[dict[str, Any]]:
    """Recall and NDCG of the table's first 8, 16, 32, ... columns, and of all of them, for the same sources.

    Columns of random projections are alike, and spectral ones descend: the first ones are what a narrower table has,
    but for scales that a method computes from all columns. Empty for tables of which copies are too dear.
    """
    dim = table.rows.shape[1]
    if table.rows.size > _MOST_ENTRIES:
        return []
    query = choose_queries(table, *pairs_to_rank(table, train, test), CURVE_SOURCES, seed)
    widths = [width for power in range(31) if _NARROWEST <= (width := 2**power) < dim]
    curve = []
    for width in [*widths, dim]:
        users, items = (
            np.ascontiguousarray(rows[:, :width])
            for rows in (table.rows[query.user], table.rows[slice(*table.ranges[table.target])])
        )
        if table.similarity == "cosine":
            users, items = unit_rows(users), unit_rows(items)
        metrics = rank_items(users, items, query.left_out, query.truth, ks)
        if metrics.users:
            figures = figures_at(ks, recall=metrics.recall, ndcg=metrics.ndcg)
            curve.append({"width": width, "users": metrics.users, **figures})
    return curve


def measure_rankme(table: Table, seed: int) -> dict[str, Any]:
    """RankMe of each type."""
    return {
        node_type: codec.to_values(rankme(table.rows[first:stop], table.node_key[first:stop], seed))
        for node_type, (first, stop) in table.ranges.items()
    }


def count_train_pairs(table: Table, train: Pairs, test: Pairs) -> int:
    """How many distinct test pairs are train pairs too: they are misses, since rankings leave train pairs out."""
    test_codes, train_codes = test.with_rows(table).codes(table), train.codes(table)
    return distinct(train_codes[contains(test_codes, train_codes)]).size


def ranking_figures(metrics: RankingMetrics) -> dict[str, Any]:
    """Return a ranking's figures as JSON values."""
    ks, of_known = metrics.ks, metrics.of_known
    return {
        **figures_at(
            ks, recall=metrics.recall, ndcg=metrics.ndcg, hit_rate=metrics.hit_rate, coverage=metrics.coverage
        ),
        "users": metrics.users,
        "unknown_users": metrics.unknown_users,
        "test_pairs": metrics.test_pairs,
        "unknown_items": metrics.unknown_items,
        "population": metrics.population,
        "is_sampled": metrics.is_sampled,
        "of_known": {"users": of_known.users, **figures_at(ks, recall=of_known.recall, ndcg=of_known.ndcg)},
    }
