"""A ranking's quality by how active users and how popular items are: a mean hides who it is good for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.ranking import Ranked

CLASSES = 4


@dataclass(frozen=True)
class Slice:
    """One class of users or items: train degrees from ``low`` to ``high``, both inside.

    members : counted users, or items with test pairs. test_pairs : theirs.
    recall, ndcg : one figure for each k; of items, recall is the share of their test pairs found, and ndcg empty.
    """

    low: int
    high: int
    members: int
    test_pairs: int
    recall: tuple[float, ...]
    ndcg: tuple[float, ...]


def by_activity(ranked: Ranked) -> list[Slice]:
    """Mean recall and NDCG of users by quartile of their train degree; unknown users are in no class.

    Users of equal degree stay together, so quartiles are as equal as that allows, and there may be fewer.
    """
    per_user = ranked.metrics.per_user
    user = per_user.user[per_user.user >= 0]
    degree = ranked.user_degree[user]
    return [
        Slice(
            low,
            high,
            int(chosen.sum()),
            int(per_user.wanted[: user.size][chosen].sum()),
            tuple(per_user.recall[: user.size][chosen].mean(axis=0).tolist()),
            tuple(per_user.ndcg[: user.size][chosen].mean(axis=0).tolist()),
        )
        for low, high, chosen in _classes(degree, np.ones(user.size, np.int64))
    ]


def by_popularity(ranked: Ranked) -> list[Slice]:
    """Share of test pairs found, by how popular their item is; classes hold a quarter of the test pairs each.

    Popularity is the train degree. Items of equal degree stay together. Test items without a row are in none.
    """
    per_item = ranked.metrics.per_item
    item = np.flatnonzero(per_item.wanted)
    wanted = per_item.wanted[item]
    return [
        Slice(
            low,
            high,
            int(chosen.sum()),
            int(wanted[chosen].sum()),
            tuple((per_item.found[item][chosen].sum(axis=0) / wanted[chosen].sum()).tolist()),
            (),
        )
        for low, high, chosen in _classes(ranked.item_degree[item], wanted)
    ]


def _classes(degree: NDArray[np.int64], weight: NDArray[np.int64]) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Yield (lowest, highest degree, members) of classes of about equal weight, by rising degree."""
    if not degree.size:
        return
    order = np.argsort(degree, kind="stable")
    reached = np.cumsum(weight[order])
    # The degree at which each quarter of the weight is reached ends a class.
    ends = degree[order][np.searchsorted(reached, reached[-1] * np.arange(1, CLASSES) / CLASSES)]
    number = np.searchsorted(np.unique(ends), degree)
    for at in range(CLASSES):
        chosen = number == at
        if chosen.any():
            yield int(degree[chosen].min()), int(degree[chosen].max()), chosen
