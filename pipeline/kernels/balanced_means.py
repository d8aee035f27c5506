"""Balanced k-means: groups of rows around means, none of which gets more rows than it may.

Products are of whole numbers and exact in float32, whatever the order in which a library adds them up, and sums are in
the order of rows: the groups are the same on any CPU and with any number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.rows import add_rows

#: Whole numbers up to here are exact in float32.
_MOST_EXACT = 2**24
#: Rounds of assignment and means; groups that no row leaves end them [Gowalla: recall of shared rows with 8 is that
#: with 20].
_ROUNDS = 8


@dataclass(frozen=True)
class RoundedRows:
    """Rows of small whole numbers, each times a scale of its own.

    values : (n, dim) float32, whole numbers of at most 127 whose products sum to less than 2**24.
    scale : (n,) float32, 0 of a zero row.
    """

    values: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> RoundedRows:
        """Round rows: an entry is off by at most a 254th of its row's largest one, of up to 1,040 columns."""
        largest = np.float32(min(127, math.isqrt(_MOST_EXACT // max(rows.shape[1], 1))))
        scale = np.abs(rows).max(axis=1, initial=0.0) / largest
        values: NDArray[np.float32] = np.rint(rows / np.where(scale > 0, scale, np.float32(1))[:, None])
        return cls(np.clip(values, -largest, largest), scale)

    def take(self, index: NDArray[np.int64] | slice) -> RoundedRows:
        """Return some of the rows."""
        return RoundedRows(self.values[index], self.scale[index])

    def distances(self, means: RoundedRows) -> NDArray[np.float32]:
        """Return of each row x and mean c (|c|^2 - 2 x c) over the scale of x; (n, k).

        Along a row they ascend as the distances do.
        """
        squares = (means.values**2).sum(axis=1).astype(np.float64) * means.scale.astype(np.float64) ** 2
        own = 1 / np.where(self.scale > 0, self.scale, np.float32(1))
        distances: NDArray[np.float32] = self.values @ means.values.T
        distances *= -2 * means.scale
        distances += own[:, None] * squares.astype(np.float32)
        return distances


def mean_rows(rows: NDArray[np.float32], label: NDArray[np.int32], groups: int) -> NDArray[np.float32]:
    """Return the mean row of each group, summed in the order of rows; (groups, dim), zero of a group without rows."""
    sums = np.zeros((groups, rows.shape[1]))
    add_rows(sums, label.astype(np.int64), rows)
    return (sums / np.maximum(np.bincount(label, minlength=groups), 1)[:, None]).astype(np.float32)


def choose_with_room(distances: NDArray[np.float32], most: int) -> NDArray[np.int32]:
    """Return a group of each row: the nearest that has room.

    Where more rows are nearest to a group than it may have, it takes the first by distance, and the others choose
    again among the groups that have room left.

    Parameters
    ----------
    distances : (n, k); n is at most k times ``most``.
    """
    nearest = distances.argmin(axis=1)
    label, room = nearest.astype(np.int32), np.full(distances.shape[1], most, np.int64)
    rows = np.arange(label.size)
    while rows.size:
        order = np.lexsort((distances[rows, nearest], nearest))
        in_order = nearest[order]
        rank = np.empty(rows.size, np.int64)
        rank[order] = np.arange(rows.size) - np.searchsorted(in_order, in_order)
        has_place = rank < room[nearest]
        label[rows[has_place]] = nearest[has_place]
        room -= np.bincount(nearest[has_place], minlength=room.size)
        rows = rows[~has_place]
        if rows.size:
            nearest = np.where(room > 0, distances[rows], np.inf).argmin(axis=1)
    return label


def split_rows(
    rows: NDArray[np.float32], rounded_rows: RoundedRows, rank: NDArray[np.uint64], groups: int, most: int
) -> NDArray[np.int32]:
    """Return a group of each row, by means that start from the rows of the lowest ranks.

    Parameters
    ----------
    rounded_rows : the rows, rounded. rank : (n,) uint64, a hash of what each row is of. most : rows of a group; with
        ``groups`` of them, all rows have a place.

    Returns
    -------
    (n,) int32 below ``groups``; a group may have no rows.

    Cost
    ----
    Eight products of the rows with the means, and as many sums.
    """
    if groups >= rank.size:
        return np.arange(rank.size, dtype=np.int32)
    label = np.zeros(rank.size, np.int32)
    if groups == 1:
        return label
    means = rows[np.sort(np.argsort(rank, kind="stable")[:groups])]
    for _ in range(_ROUNDS):
        before, label = label, choose_with_room(rounded_rows.distances(RoundedRows.of(means)), most)
        if np.array_equal(before, label):
            break
        has_rows = np.bincount(label, minlength=groups) > 0
        means = np.where(has_rows[:, None], mean_rows(rows, label, groups), means)
    return label
