"""Clusters of rows by recursive balanced k-means, from coarse to fine, and the moves that improve them.

And codes by residual quantisation: the nearest mean of each codebook, of what the ones before leave.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.codes.code_files import NO_CLUSTER
from pipeline.codes.kept_codes import fall_apart
from pipeline.kernels.balanced_means import RoundedRows, mean_rows, split_rows
from pipeline.kernels.hashing import splitmix64

#: Rows of the largest group next to the mean one [Gowalla, LastFM: the recall of shared rows is that without a bound].
_BALANCE = 2
#: Levels of a tree at least: one split into all clusters would compare each row with each.
_LEAST_LEVELS = 2
#: Groups whose clusters a row is compared with, and rounds in which rows move to nearer clusters [Gowalla: recall of
#: shared rows .142 without, .147 so, as with 16 groups and 5 rounds].
_NEAR_GROUPS, _ROUNDS = 8, 3
#: Rows smaller than two to this power are not made longer.
_LEAST_EXPONENT = -100
#: Rows whose distances to all groups are held at once.
_BLOCK_ROWS = 8_192


@dataclass(frozen=True)
class TreeSize:
    """How a tree is split.

    share : most clusters, over the rows. groups : of the first level, for a graph that is one cell. levels : of a code.
    max_size : most rows of a cluster; None: about twice the mean.
    """

    share: float
    groups: int
    levels: int
    max_size: int | None

    @property
    def most(self) -> int:
        """Most rows of a cluster, as far as there are enough clusters."""
        return self.max_size or math.ceil(_BALANCE / self.share)

    def clusters(self, rows: int) -> int:
        """Return how many clusters so many rows have."""
        by_share = max(int(self.share * rows), 1)
        return by_share if self.max_size is None else max(by_share, -(-rows // self.max_size))


@dataclass(frozen=True)
class RowClusters:
    """The cluster of each row, (n,) int32, and the code of each cluster, (clusters, levels) int32."""

    label: NDArray[np.int32]
    code: NDArray[np.int32]


def find_row_clusters(rows: NDArray[np.float32], rank: NDArray[np.uint64], size: TreeSize) -> RowClusters:
    """Split rows, level by level, and move them to nearer clusters.

    Parameters
    ----------
    rows : (n, dim) float32, n at least 1. rank : (n,) uint64, a hash of each row's node.
    """
    rows = _near_one(rows)
    rounded_rows = RoundedRows.of(rows)
    label, code, parent = _grow(rows, rounded_rows, rank, size)
    in_use, label_in_use = np.unique(_improve(rows, rounded_rows, label, parent, size.most), return_inverse=True)
    prefix = code[in_use, : size.levels - 1]
    group = np.unique(prefix, axis=0, return_inverse=True)[1].reshape(-1) if prefix.size else np.zeros(in_use.size, int)
    order = np.argsort(group, kind="stable")
    last = np.empty((in_use.size, 1), np.int32)
    last[order, 0] = np.arange(order.size) - np.searchsorted(group[order], group[order])
    return RowClusters(label_in_use.astype(np.int32), np.hstack([prefix, last]))


def _near_one(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows times a power of two, so that no square overflows."""
    exponent = int(np.frexp(np.abs(rows).max(initial=0.0))[1])
    return rows * np.float32(2.0 ** -max(exponent, _LEAST_EXPONENT))


def _grow(
    rows: NDArray[np.float32], rounded_rows: RoundedRows, rank: NDArray[np.uint64], size: TreeSize
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return the cluster of each row; of each cluster, which child it comes from at each level; and its last group."""
    levels = max(size.levels, _LEAST_LEVELS)
    label, counts = np.zeros(len(rows), np.int32), np.array([size.clusters(len(rows))])
    code, parent = np.zeros((1, 0), np.int32), np.zeros(1, np.int32)
    for level in range(levels):
        order = np.argsort(label, kind="stable")
        bounds = np.searchsorted(label[order], np.arange(counts.size + 1))
        children: list[NDArray[np.int64]] = []
        below: list[NDArray[np.int64]] = []
        after = 0
        for group, clusters in enumerate(counts.tolist()):
            index = order[bounds[group] : bounds[group + 1]]
            pieces = clusters if level == levels - 1 else _children(clusters, level, levels, size)
            most = math.ceil(_BALANCE * index.size / pieces)
            if level == levels - 1:
                most = max(min(most, size.most), -(-index.size // pieces))
            parts = split_rows(rows[index], rounded_rows.take(index), rank[index], pieces, most)
            numbers, split = np.unique(parts, return_inverse=True)
            label[index] = after + split
            children.append(np.arange(numbers.size))
            below.append(share_out(clusters, np.bincount(split), size.max_size))
            after += numbers.size
        parent = np.repeat(np.arange(counts.size), [numbers.size for numbers in children]).astype(np.int32)
        code = np.hstack([code[parent], np.concatenate(children).astype(np.int32)[:, None]])
        counts = np.concatenate(below)
    return label, code, parent


def _children(clusters: int, level: int, levels: int, size: TreeSize) -> int:
    """Return into how many groups a group with so many clusters is split."""
    branches = math.ceil(clusters ** (1 / (levels - level)) - 1e-6)
    return min(clusters, size.groups if level == 0 and size.levels > 1 else branches)


def share_out(clusters: int, rows: NDArray[np.int64], max_size: int | None) -> NDArray[np.int64]:
    """Return how many of a group's clusters each of its children gets: by its rows, one or more, no more than it has.

    Parameters
    ----------
    clusters : at least as many as children, and at most as many as rows. rows : (children,) at least 1 each.
    max_size : where it takes more clusters to hold so few rows each, there are more.
    """
    quota = rows * (clusters / rows.sum())
    shares = np.clip(quota.astype(np.int64), 1, rows)
    while rest := clusters - int(shares.sum()):
        may_change = np.flatnonzero(shares < rows if rest > 0 else shares > 1)
        gap = (quota - shares)[may_change] * np.sign(rest)
        shares[may_change[np.argsort(-gap, kind="stable")[: abs(rest)]]] += np.sign(rest)
    return shares if max_size is None else np.maximum(shares, -(-rows // max_size))


class _Search:
    """Finds clusters near to rows: those of the groups with the nearest means."""

    def __init__(self, means: NDArray[np.float32], group: NDArray[np.int32]) -> None:
        """Take the means of clusters, and the group of each; no group is empty."""
        groups = int(group.max()) + 1
        self._means = RoundedRows.of(mean_rows(means, group, groups))
        self._order = np.argsort(group, kind="stable")
        self._bounds = np.searchsorted(group[self._order], np.arange(groups + 1))

    def near_groups(self, rounded_rows: RoundedRows) -> NDArray[np.int64]:
        """Return the groups whose clusters each row is compared with; (n, groups)."""
        most, groups = min(_NEAR_GROUPS, self._means.scale.size), []
        for start in range(0, rounded_rows.scale.size, _BLOCK_ROWS):
            distances = rounded_rows.take(slice(start, start + _BLOCK_ROWS)).distances(self._means)
            is_near = distances <= np.partition(distances, most - 1, axis=1)[:, most - 1, None]
            # The first of groups that are as near: argpartition would leave that to the machine.
            with_ties = np.flatnonzero(np.count_nonzero(is_near, axis=1) > most)
            is_near[with_ties] &= np.cumsum(is_near[with_ties], axis=1) <= most
            groups.append(np.nonzero(is_near)[1].reshape(-1, most))
        return np.concatenate(groups) if groups else np.zeros((0, most), np.int64)

    def nearest(
        self, rounded_rows: RoundedRows, near: NDArray[np.int64], means: RoundedRows
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return of each row the nearest cluster in its groups, and its distance; (n,) each."""
        width, of_group = near.shape[1], near.reshape(-1)
        distance, cluster = np.empty(of_group.size, np.float32), np.empty(of_group.size, np.int32)
        order = np.argsort(of_group, kind="stable")
        bounds = np.searchsorted(of_group[order], np.arange(self._bounds.size))
        for group in np.flatnonzero(np.diff(bounds)).tolist():
            places = order[bounds[group] : bounds[group + 1]]
            clusters = self._order[self._bounds[group] : self._bounds[group + 1]]
            distances = rounded_rows.take(places // width).distances(means.take(clusters))
            best = distances.argmin(axis=1)
            distance[places], cluster[places] = distances[np.arange(best.size), best], clusters[best]
        best = width * np.arange(len(near)) + distance.reshape(-1, width).argmin(axis=1)
        return cluster[best], distance[best]


def _improve(
    rows: NDArray[np.float32], rounded_rows: RoundedRows, label: NDArray[np.int32], group: NDArray[np.int32], most: int
) -> NDArray[np.int32]:
    """Return the cluster of each row after rounds in which rows move to the nearest cluster, if it has room."""
    means = mean_rows(rows, label, group.size)
    search = _Search(means, group)
    near = search.near_groups(rounded_rows)
    for _ in range(_ROUNDS):
        nearest, distance = search.nearest(rounded_rows, near, RoundedRows.of(means))
        movers = np.flatnonzero(nearest != label)
        movers = movers[_have_room(nearest[movers], distance[movers], np.bincount(label, minlength=group.size), most)]
        label = label.copy()
        label[movers] = nearest[movers]
        has_rows = np.bincount(label, minlength=group.size) > 0
        means = np.where(has_rows[:, None], mean_rows(rows, label, group.size), means)
    return label


def _have_room(
    cluster: NDArray[np.int32], distance: NDArray[np.float32], rows: NDArray[np.int64], most: int
) -> NDArray[np.bool_]:
    """Return who finds room in the cluster it wants, the nearest first; ``rows`` (clusters,) that are there already."""
    order = np.lexsort((distance, cluster))
    in_order = cluster[order]
    has_room = np.empty(order.size, np.bool_)
    has_room[order] = np.arange(order.size) - np.searchsorted(in_order, in_order) < (most - rows)[in_order]
    return has_room


@dataclass(frozen=True)
class KeptRowClusters:
    """Clusters of rows of which some had one before.

    label : (n,) int32; new ones have numbers from the earlier ones' number on. apart : clusters that have fallen apart.
    beside : (new,) int32, of each new cluster the nearest one that stays; NO_CLUSTER where none does.
    """

    label: NDArray[np.int32]
    apart: int
    beside: NDArray[np.int32]


def keep_row_clusters(
    rows: NDArray[np.float32], rank: NDArray[np.uint64], earlier: NDArray[np.int32], clusters: int, size: TreeSize
) -> KeptRowClusters:
    """Keep the cluster of each row that had one, unless it falls apart; other rows join the nearest that has room.

    Means are those of the rows as they are now: where rows lay before doesn't count. Rows that find no room make new
    clusters.

    Parameters
    ----------
    earlier : (n,) int32, below ``clusters``; NO_CLUSTER of a row that had none.
    """
    rows = _near_one(rows)
    rounded_rows, label = RoundedRows.of(rows), earlier.copy()
    is_free = earlier == NO_CLUSTER
    numbers, place = np.unique(earlier[~is_free], return_inverse=True)
    means = mean_rows(rows[~is_free], place.astype(np.int32), numbers.size)
    is_apart = np.zeros(clusters, np.bool_)
    if numbers.size:
        is_apart = fall_apart(earlier, numbers[_nearest(rounded_rows, means)[0]], clusters)
        is_free[~is_free] = is_apart[earlier[~is_free]]
        stays = ~is_apart[numbers]
        numbers, means = numbers[stays], means[stays]
    free = np.flatnonzero(is_free)
    if numbers.size and free.size:
        nearest, distance = _nearest(rounded_rows.take(free), means)
        sizes = np.bincount(label[~is_free], minlength=clusters)[numbers]
        has_room = _have_room(nearest, distance, sizes, size.most)
        label[free[has_room]] = numbers[nearest[has_room]]
        free = free[~has_room]
    if not free.size:
        return KeptRowClusters(label, int(is_apart.sum()), np.zeros(0, np.int32))
    new = find_row_clusters(rows[free], rank[free], size)
    label[free] = clusters + new.label
    beside = np.full(len(new.code), NO_CLUSTER, np.int32)
    if numbers.size:
        new_means = RoundedRows.of(mean_rows(rows[free], new.label, beside.size))
        beside = numbers[_nearest(new_means, means)[0]]
    return KeptRowClusters(label, int(is_apart.sum()), beside)


def _nearest(rounded_rows: RoundedRows, means: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the nearest mean of each row, and its distance, among those of groups of means."""
    of_means, clusters = RoundedRows.of(means), len(means)
    rank = splitmix64(np.arange(clusters, dtype=np.uint64))
    group = split_rows(means, of_means, rank, math.isqrt(clusters - 1) + 1, clusters)
    search = _Search(means, np.unique(group, return_inverse=True)[1].astype(np.int32))
    return search.nearest(rounded_rows, search.near_groups(rounded_rows), of_means)


@dataclass(frozen=True)
class ResidualCodes:
    """code : (n, levels) int32, a number in each codebook. apart : earlier numbers that have fallen apart."""

    code: NDArray[np.int32]
    apart: int = 0


def find_residual_codes(
    rows: NDArray[np.float32], rank: NDArray[np.uint64], share: float, levels: int
) -> ResidualCodes:
    """Make a codebook of the rows, one of what its means leave of them, and so on; they share the numbers out equally.

    Parameters
    ----------
    rows, rank : as of :func:`find_row_clusters`. share : most numbers of all codebooks, over the rows.
    """
    size = TreeSize(share / levels, 1, 1, None)
    code, rest = np.empty((len(rows), levels), np.int32), rows
    for level in range(levels):
        code[:, level] = find_row_clusters(rest, rank, size).label
        rest = _residual(rest, code[:, level])
    return ResidualCodes(code)


def keep_residual_codes(
    rows: NDArray[np.float32],
    rank: NDArray[np.uint64],
    earlier: NDArray[np.int32],
    numbers: NDArray[np.int32],
    share: float,
) -> ResidualCodes:
    """Keep the number that each row had in each codebook, as far as :func:`keep_row_clusters` does.

    A row that changes its number in one codebook chooses anew in those after it.

    Parameters
    ----------
    earlier : (n, levels) int32, NO_CLUSTER of a row that had none. numbers : (levels,) that codebooks have given out.
    """
    levels = earlier.shape[1]
    size = TreeSize(share / levels, 1, 1, None)
    code, rest, apart = earlier.copy(), rows, 0
    for level in range(levels):
        clusters = keep_row_clusters(rest, rank, code[:, level], int(numbers[level]), size)
        code[clusters.label != earlier[:, level], level + 1 :] = NO_CLUSTER
        code[:, level], apart = clusters.label, apart + clusters.apart
        rest = _residual(rest, clusters.label)
    return ResidualCodes(code, apart)


def _residual(rows: NDArray[np.float32], label: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return what the means of the rows with the same number leave of each."""
    in_use, place = np.unique(label, return_inverse=True)
    return rows - mean_rows(rows, place.astype(np.int32), in_use.size)[place]
