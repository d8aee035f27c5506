"""Quality of full rankings: Recall@k, NDCG@k, hit rate@k, by user and by item."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.top_k import check_positions, ranked_blocks
from pipeline.kernels.ranking import NO_ROW, mark_hits


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What a ranking is compared with: the test items of its users.

    items : positions, for each user. unknown_items : (users,) int64: test items of each user that have no row.
    absent_pairs : (absent users,) int64: test pairs of each test user without a row, at least 1.
    population : test users before sampling; None: they are not sampled.
    """

    items: PositionLists
    unknown_items: NDArray[np.int64]
    absent_pairs: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    population: int | None = None

    def __post_init__(self) -> None:
        if self.items.n_queries != self.unknown_items.size:
            raise ValueError(
                f"there are lists of {self.items.n_queries} users and unknown items of {self.unknown_items.size}; give "
                "one of each to each user"
            )


@dataclass(frozen=True, eq=False)
class PerUser:
    """A ranking's quality user by user, for intervals (bootstrap) and slices. One line a counted user.

    user : (users,) int64: position among the ranked users, ``NO_ROW`` for users without a row (at the end).
    test_pairs : (users,) int64. recall, ndcg : (users, len(ks)) float64. hit : the same, bool.
    """

    user: NDArray[np.int64]
    test_pairs: NDArray[np.int64]
    recall: NDArray[np.float64]
    ndcg: NDArray[np.float64]
    hit: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PerItem:
    """The same ranking item by item.

    test_pairs : (items,) int64. hits : (items, len(ks)) int64: those of its test pairs among the first k.
    list_counts : (items, len(ks)) int64: counted users in whose first k it stands.
    """

    test_pairs: NDArray[np.int64]
    hits: NDArray[np.int64]
    list_counts: NDArray[np.int64]


@dataclass(frozen=True)
class KnownItemMetrics:
    """Recall and NDCG for each of ``ks``, means over ``users``: those with a ranking and test items that have a row."""

    users: int
    recall: tuple[float, ...]
    ndcg: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class RankingMetrics:
    """Quality of a full ranking; each figure is a mean over ``users``, 0 where there are none.

    recall, ndcg, hit_rate : one figure for each of ``ks``.
    coverage : for each of ``ks``, the share of all items ranked that stand in the list of some user.
    users : users with test pairs, the denominator; ``unknown_users`` of them have no row and score 0.
    test_pairs : their test pairs; ``unknown_items`` of those pairs (of users with a row) name an item
        without a row: a miss each.
    population : users with test pairs before sampling; ``is_sampled`` where it is larger than ``users``.
    of_known : over what could be a hit: test items with a row, of users with a ranking.
    """

    ks: tuple[int, ...]
    recall: tuple[float, ...]
    ndcg: tuple[float, ...]
    hit_rate: tuple[float, ...]
    coverage: tuple[float, ...]
    users: int
    unknown_users: int
    test_pairs: int
    unknown_items: int
    population: int
    per_user: PerUser
    per_item: PerItem
    of_known: KnownItemMetrics

    @property
    def is_sampled(self) -> bool:
        """Whether the figures stand for more users than were ranked."""
        return self.users < self.population


@dataclass(frozen=True, eq=False)
class TableRanking:
    """A ranking of a table's rows, with what slices and intervals need of both sides.

    user : (users,) int64: the ranked users' positions in the table, as ``metrics.per_user.user`` counts them.
    user_degree, item_degree : (users,) and (items,) int64: neighbours among the pairs left out of the lists.
    item_neighbors : (items,) int64: all neighbours; an item without any is cold.
    cold_alone : the same users' ranking of the cold items alone; None: not ranked, or nothing asks for one.
    """

    metrics: RankingMetrics
    user: NDArray[np.int64]
    user_degree: NDArray[np.int64]
    item_degree: NDArray[np.int64]
    item_neighbors: NDArray[np.int64]
    cold_alone: RankingMetrics | None = None


def rank_items(
    user_rows: NDArray[np.float32],
    item_rows: NDArray[np.float32],
    train: PositionLists,
    truth: GroundTruth,
    ks: Sequence[int],
) -> RankingMetrics:
    """Rank all items for each test user without its train items, and compare the ranking with its test items.

    With T test items of a user (those without a row included) and hits among the first k places:
    recall = hits / T; ndcg = sum over hits of 1 / log2(place + 1), places from 1, over the same sum of
    places 1 to min(k, T); hit = any. A test item that is a train item too is a miss.

    Parameters
    ----------
    user_rows : (users, dim) float32. Users without test items are skipped.
    item_rows : (items, dim) float32: everything that is ranked. Equal scores go to the smaller position.
    train : item positions of each user.
    ks : lengths at which to measure, each at least 1, ascending.

    Raises
    ------
    ValueError : if shapes or ks are not as said, or a value is not finite.

    Source
    ------
    He et al., "LightGCN", SIGIR 2020, and its code (full ranking; the ideal over min(k, T)).
    """
    check_cutoffs(ks)
    if truth.items.n_queries != user_rows.shape[0]:
        raise ValueError(f"truth speaks of {truth.items.n_queries} users; there are {user_rows.shape[0]} user rows")
    blocks_of_scores = ranked_blocks(user_rows, item_rows, ks[-1], train)
    blocks = ((start, stop, positions) for start, stop, positions, _ in blocks_of_scores)
    return measure_places(blocks, item_rows.shape[0], truth, ks)


def measure_places(
    blocks: Iterable[tuple[int, int, NDArray[np.int64]]], n_items: int, truth: GroundTruth, ks: Sequence[int]
) -> RankingMetrics:
    """Compare rankings, however they were made, with the test items; figures as in ``rank_items``.

    blocks : (start, stop, positions) of all users in order: of users ``[start, stop)`` the first ``ks[-1]`` items
        without the train items, (stop - start, ks[-1]) int64 with ``NO_ROW`` behind the end of a list.
    """
    check_positions("test", truth.items, n_items)
    n_test = truth.items.lengths + truth.unknown_items
    hits, has_ranking = np.zeros((n_test.size, ks[-1]), np.bool_), np.zeros(n_test.size, np.bool_)
    item_hits, times_listed = (np.zeros((n_items, len(ks)), np.int64) for _ in range(2))
    for start, stop, positions in blocks:
        answers = truth.items.of(start, stop)
        mark_hits(positions, answers.indptr, answers.positions, hits[start:stop])
        has_ranking[start:stop] = (positions != NO_ROW).any(axis=1)
        is_counted = n_test[start:stop] > 0
        for col, k in enumerate(ks):
            item_hits[:, col] += _count_items(positions[:, :k][hits[start:stop, :k]], n_items)
            times_listed[:, col] += _count_items(positions[is_counted, :k], n_items)

    test_users = np.flatnonzero(n_test)
    per_user = _per_user(hits[test_users], n_test[test_users], test_users, truth.absent_pairs, ks)
    users = per_user.user.size
    ranked_users = np.flatnonzero(has_ranking & (truth.items.lengths > 0))
    of_known = _per_user(hits[ranked_users], truth.items.lengths[ranked_users], ranked_users, np.zeros(0, np.int64), ks)
    return RankingMetrics(
        ks=tuple(ks),
        recall=_means(per_user.recall),
        ndcg=_means(per_user.ndcg),
        hit_rate=_means(per_user.hit),
        coverage=tuple(float(share) for share in (times_listed > 0).sum(axis=0) / max(n_items, 1)),
        users=users,
        unknown_users=truth.absent_pairs.size,
        test_pairs=int(n_test.sum() + truth.absent_pairs.sum()),
        unknown_items=int(truth.unknown_items.sum()),
        population=users if truth.population is None else truth.population,
        per_user=per_user,
        per_item=PerItem(np.bincount(truth.items.positions, minlength=n_items), item_hits, times_listed),
        of_known=KnownItemMetrics(ranked_users.size, _means(of_known.recall), _means(of_known.ndcg)),
    )


def check_cutoffs(ks: Sequence[int]) -> None:
    """Refuse lengths of lists that are none, below 1 or not ascending."""
    if not ks or list(ks) != sorted(set(ks)) or ks[0] < 1:
        raise ValueError(f"ks is {list(ks)}; give at least one, each at least 1, ascending")


def figures_at(ks: Sequence[int], **figures: Sequence[float]) -> dict[str, float]:
    """Name figures that there is one of for each length of list: ``recall@20``."""
    return {f"{name}@{k}": value for name, values in figures.items() for k, value in zip(ks, values, strict=True)}


def _per_user(
    hits: NDArray[np.bool_],
    test_pairs: NDArray[np.int64],
    user: NDArray[np.int64],
    absent_pairs: NDArray[np.int64],
    ks: Sequence[int],
) -> PerUser:
    """Recall, NDCG and hit of each user at each k; users without a row follow, with zeros.

    hits : (users, ks[-1]) bool by place. test_pairs : (users,) int64, each at least 1.
    """
    gain = np.array([1.0 / math.log2(place + 1) for place in range(1, ks[-1] + 1)])
    ideal = np.cumsum(gain)
    n_hits = np.cumsum(hits, axis=1)
    cumulative_gain = np.cumsum(hits * gain, axis=1)
    recall, ndcg = (np.zeros((user.size + absent_pairs.size, len(ks))) for _ in range(2))
    hit = np.zeros(recall.shape, np.bool_)
    for col, k in enumerate(ks):
        recall[: user.size, col] = n_hits[:, k - 1] / test_pairs
        ndcg[: user.size, col] = cumulative_gain[:, k - 1] / ideal[np.minimum(k, test_pairs) - 1]
        hit[: user.size, col] = n_hits[:, k - 1] > 0
    absent = np.full(absent_pairs.size, NO_ROW, np.int64)
    return PerUser(np.concatenate((user, absent)), np.concatenate((test_pairs, absent_pairs)), recall, ndcg, hit)


def _count_items(positions: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """How often each item stands in lists; (n_items,) int64."""
    return np.bincount(positions[positions != NO_ROW], minlength=n_items)


def _means(by_user: NDArray[np.float64] | NDArray[np.bool_]) -> tuple[float, ...]:
    # fsum: the mean does not depend on the order of the users.
    n = max(by_user.shape[0], 1)
    return tuple(math.fsum(column) / n for column in by_user.T.tolist())
