"""Recall@k, NDCG@k and hit rate@k of published lists."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import (
    GroundTruth,
    RankingMetrics,
    TableRanking,
    check_cutoffs,
    measure_places,
)
from pipeline.kernels.ranking import NO_ROW, mark_hits

_LISTS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class RankedLists:
    """For each source nodes, best first: ``positions[indptr[i]:indptr[i + 1]]``; empty where there is no list.

    indptr : (sources + 1,) int64. positions : int64, ``NO_ROW`` for a node that is not among those ranked.
    """

    indptr: NDArray[np.int64]
    positions: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(sources,) int64."""
        return np.diff(self.indptr)


@dataclass(frozen=True, eq=False)
class ListMetrics:
    """Quality of lists.

    ranked : the figures, with what slices and intervals need; its ``user`` counts the sources.
    without_list : sources with test pairs whose list is empty: they count, with zeros.
    short : for each k, sources with test pairs and a list of which, without its train pairs, fewer than k are left.
        Their places behind the end are misses, which a longer list might have filled.
    """

    ranking: TableRanking
    without_list: int
    short: tuple[int, ...]

    @property
    def metrics(self) -> RankingMetrics:
        """The figures."""
        return self.ranking.metrics


def measure_lists(
    lists: RankedLists,
    n_items: int,
    train: PositionLists,
    truth: GroundTruth,
    ks: Sequence[int],
    item_degree: NDArray[np.int64],
) -> ListMetrics:
    """Take the train pairs out of each list and compare the rest with the test items.

    Figures are those of `pipeline.evaluation.ranking.rank_items`: lists that rank all items score as rows with that
    ranking do.

    Parameters
    ----------
    lists : one for each source, with positions of items. Sources without test items are not counted.
    train : item positions of each source; train pairs may stand in lists or not.
    ks : lengths at which to measure, each at least 1, ascending.
    item_degree : (n_items,) int64, neighbours among all train pairs, for slices.

    Raises
    ------
    ValueError : if numbers of sources differ, or ks are not as said.
    """
    check_cutoffs(ks)
    n = lists.indptr.size - 1
    if not n == train.n_queries == truth.items.n_queries:
        raise ValueError(
            f"there are {n} lists, and train speaks of {train.n_queries} sources, truth of {truth.items.n_queries}; "
            "give one of each to each source"
        )
    remaining = np.empty(n, np.int64)
    metrics = measure_places(_places(lists, train, ks[-1], remaining), n_items, truth, ks)
    is_test = truth.items.lengths + truth.unknown_items > 0
    has_list = is_test & (lists.lengths > 0)
    return ListMetrics(
        TableRanking(metrics, np.arange(n), train.lengths, item_degree, item_degree),
        int((is_test & ~has_list).sum()),
        tuple(int((remaining[has_list] < k).sum()) for k in ks),
    )


def _places(
    lists: RankedLists, train: PositionLists, k: int, remaining: NDArray[np.int64]
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yield (start, stop, the first k places without train pairs); write the length of each list without them."""
    for start in range(0, remaining.size, _LISTS_AT_ONCE):
        stop = min(start + _LISTS_AT_ONCE, remaining.size)
        indptr, train_lists = lists.indptr[start : stop + 1], train.of(start, stop)
        lengths = np.diff(indptr)
        row = np.repeat(np.arange(stop - start), lengths)
        place = np.arange(indptr[0], indptr[-1]) - np.repeat(indptr[:-1], lengths)
        nodes = np.full((stop - start, int(lengths.max(initial=0))), NO_ROW, np.int64)
        nodes[row, place] = lists.positions[indptr[0] : indptr[-1]]
        is_known = np.zeros(nodes.shape, np.bool_)
        mark_hits(nodes, train_lists.indptr, train_lists.positions, is_known)
        # A node that is not among the items keeps its place in the list, and is never an answer.
        is_left = (np.arange(nodes.shape[1]) < lengths[:, None]) & ~is_known
        remaining[start:stop] = is_left.sum(axis=1)
        new_place = np.cumsum(is_left, axis=1) - 1
        is_first = is_left & (new_place < k)
        places = np.full((stop - start, k), NO_ROW, np.int64)
        places[np.nonzero(is_first)[0], new_place[is_first]] = nodes[is_first]
        yield start, stop, places
