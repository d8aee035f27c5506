"""A ranking's quality by how active users and how popular items are: a mean hides who it is good for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.ranking import TableRanking, figures_at

CLASSES = 4


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
