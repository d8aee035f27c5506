"""A ranking's quality by how active users and how popular items are: a mean hides who it is good for.

And how it treats nodes without a neighbour, whose rows come from what else is known of them; popularity apart.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import (
    GroundTruth,
    RankingMetrics,
    TableRanking,
    figures_at,
    rank_items,
)

CLASSES = 4
#: A pair's propensity is its item's (neighbours + 1) to this power.
PROPENSITY_POWER = 0.5


def slice_by_activity(ranking: TableRanking) -> list[dict[str, Any]]:
    """Mean recall and NDCG of users by quartile of their train degree; unknown users are in no class.

    Users of equal degree stay together, so quartiles are as equal as that allows, and there may be fewer.
    """
    per_user, ks = ranking.metrics.per_user, ranking.metrics.ks
    is_known = per_user.user >= 0
    degree, test_pairs = ranking.user_degree[per_user.user[is_known]], per_user.test_pairs[is_known]
    recall, ndcg = per_user.recall[is_known], per_user.ndcg[is_known]
    return [
        _describe_class(degree[is_member], test_pairs[is_member])
        | figures_at(ks, recall=recall[is_member].mean(axis=0).tolist(), ndcg=ndcg[is_member].mean(axis=0).tolist())
        for is_member in _classes(degree, np.ones(degree.size, np.int64))
    ]


def slice_by_popularity(ranking: TableRanking) -> list[dict[str, Any]]:
    """Share of test pairs that are hits, by how popular their item is; a class holds a quarter of the test pairs.

    Popularity is the train degree. Items of equal degree stay together. Test items without a row are in no class.
    """
    per_item, ks = ranking.metrics.per_item, ranking.metrics.ks
    item = np.flatnonzero(per_item.test_pairs)
    degree, test_pairs, hits = ranking.item_degree[item], per_item.test_pairs[item], per_item.hits[item]
    return [
        _describe_class(degree[is_member], test_pairs[is_member])
        | figures_at(ks, recall=(hits[is_member].sum(axis=0) / test_pairs[is_member].sum()).tolist())
        for is_member in _classes(degree, test_pairs)
    ]


def _describe_class(degree: NDArray[np.int64], test_pairs: NDArray[np.int64]) -> dict[str, Any]:
    """Lowest and highest degree of a class, its members, and their test pairs."""
    return {
        "degree": [int(degree.min()), int(degree.max())],
        "members": degree.size,
        "test_pairs": int(test_pairs.sum()),
    }


def _classes(degree: NDArray[np.int64], weight: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """Yield the members of classes of about equal weight, by rising degree."""
    if not degree.size:
        return
    order = np.argsort(degree, kind="stable")
    cumulative_weight = np.cumsum(weight[order])
    # The degree at which each quarter of the weight is reached ends a class.
    ends = degree[order][np.searchsorted(cumulative_weight, cumulative_weight[-1] * np.arange(1, CLASSES) / CLASSES)]
    number = np.searchsorted(np.unique(ends), degree)
    for at in range(CLASSES):
        is_member = number == at
        if is_member.any():
            yield is_member


def slice_cold_nodes(ranking: TableRanking) -> dict[str, Any]:
    """Return the figures of cold items, of warm ones beside them, and of cold users.

    Items: ``recall`` is the share of test pairs that are hits among all items, ``recall_alone`` the same where only the
    cold ones are ranked, ``list_share`` their share of all places in lists, ``chance`` the recall of a random order of
    all items, ``chance_alone`` of the cold ones. Figures of no pairs are left out.
    """
    metrics, per_item, ks = ranking.metrics, ranking.metrics.per_item, ranking.metrics.ks
    is_cold = ranking.item_neighbors == 0
    list_places = per_item.list_counts.sum(axis=0)
    items: dict[str, Any] = {
        "members": int(is_cold.sum()),
        "test_pairs": int(per_item.test_pairs[is_cold].sum()),
        **figures_at(ks, list_share=(per_item.list_counts[is_cold].sum(axis=0) / np.maximum(list_places, 1)).tolist()),
    }
    if items["test_pairs"]:
        sizes = {"chance": is_cold.size, "chance_alone": items["members"]}
        chances = {name: [min(1.0, k / size) for k in ks] for name, size in sizes.items()}
        items |= figures_at(ks, recall=_share_of_hits(ranking, is_cold), **chances)
        if (alone := ranking.cold_alone) is not None:
            hits = alone.per_item.hits.sum(axis=0) / alone.per_item.test_pairs.sum()
            items |= figures_at(ks, recall_alone=hits.tolist())
    warm: dict[str, Any] = {
        "members": is_cold.size - items["members"],
        "test_pairs": int(per_item.test_pairs[~is_cold].sum()),
    }
    if warm["test_pairs"]:
        warm |= figures_at(ks, recall=_share_of_hits(ranking, ~is_cold))
    per_user = metrics.per_user
    is_new = per_user.user >= 0
    is_new[is_new] = ranking.user_degree[per_user.user[is_new]] == 0
    users: dict[str, Any] = {"members": int(is_new.sum()), "test_pairs": int(per_user.test_pairs[is_new].sum())}
    if users["members"]:
        recall, ndcg = (values[is_new].mean(axis=0).tolist() for values in (per_user.recall, per_user.ndcg))
        users |= figures_at(ks, recall=recall, ndcg=ndcg)
    return {"cold_items": items, "warm_items": warm, "cold_users": users}


def popularity_corrected(ranking: TableRanking) -> dict[str, float]:
    """Return recall in which each test pair weighs 1 / propensity: finding what everybody has counts for less.

    Σ hit(u, i) / p_i over Σ 1 / p_i, both over the test pairs whose item has a row, with p_i = (neighbours of i + 1)
    to the power ``PROPENSITY_POWER``; only ratios of propensities count. Empty without such pairs.

    Source
    ------
    Yang, Cui, Xuan, Wang, Belongie & Estrin, "Unbiased offline recommender evaluation for missing-not-at-random
    implicit feedback", RecSys 2018: propensities are powers of popularity, estimates self-normalised.
    """
    per_item = ranking.metrics.per_item
    weight = (ranking.item_neighbors + 1.0) ** -PROPENSITY_POWER
    total = float(weight @ per_item.test_pairs)
    if not total:
        return {}
    return figures_at(ranking.metrics.ks, recall=(weight @ per_item.hits / total).tolist())


def rank_cold_alone(
    user_rows: NDArray[np.float32],
    item_rows: NDArray[np.float32],
    is_cold: NDArray[np.bool_],
    left_out: PositionLists,
    truth: GroundTruth,
    ks: tuple[int, ...],
) -> RankingMetrics | None:
    """Rank the cold items alone, for the users who have test pairs with one; None without such pairs.

    Arguments as of `pipeline.evaluation.ranking.rank_items`; is_cold : (items,) bool.
    """
    cold = np.flatnonzero(is_cold)
    cold_answers = truth.items.among(cold)
    users = np.flatnonzero(cold_answers.lengths)
    if not users.size:
        return None
    exclude, answers = left_out.among(cold).of_queries(users), cold_answers.of_queries(users)
    cold_truth = GroundTruth(answers, np.zeros(users.size, np.int64))
    return rank_items(user_rows[users], item_rows[cold], exclude, cold_truth, ks)


def _share_of_hits(ranking: TableRanking, is_member: NDArray[np.bool_]) -> list[float]:
    """Return the share of the test pairs of some items that are hits, at each k."""
    per_item = ranking.metrics.per_item
    return (per_item.hits[is_member].sum(axis=0) / per_item.test_pairs[is_member].sum()).tolist()
