"""Rows of integer pairs added up: one row a pair, ascending, without a table of hashes."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel

#: Words are sorted in buckets that stay in the cache; more buckets than these are slow to write to.
_BUCKET_WORDS, _MOST_BUCKETS = 2_048, 2**12


class PairSums(NamedTuple):
    """Distinct pairs, ascending: (pairs,) each. A column that no pair needs is None."""

    words: NDArray[np.uint64]
    events: NDArray[np.int64] | None  # rows of each pair; None: 1
    weight: NDArray[np.int64] | None  # sums
    newest: NDArray[np.int64] | None  # largest times

    def take(self, index: slice | NDArray[np.bool_]) -> PairSums:
        """Return some of the pairs."""
        of_values = (None if values is None else values[index] for values in self[1:])
        return PairSums(self.words[index], *of_values)


def sum_pairs(
    words: NDArray[np.uint64], weight: NDArray[np.int64] | None, newest: NDArray[np.int64] | None
) -> PairSums:
    """Add up the rows of each pair.

    Parameters
    ----------
    words : (rows,) uint64, fewer than 2**32 rows; a pair is one word. Overwritten.
    weight : (rows,) int64, whose sum over all rows is below 2**63; None where there are none.
    newest : (rows,) int64 times; None where there are none.

    Cost
    ----
    Words are written into buckets by their highest bits, and a bucket is sorted by vector instructions while it is in
    the cache. Weights and times follow by a number of 4 bytes a row.
    """
    highest = int(words.max(initial=0))
    buckets = max(1, min(words.size // _BUCKET_WORDS, _MOST_BUCKETS))
    shift = min(63, max(0, highest.bit_length() - buckets.bit_length() + 1))  # by 64 bits would be by none
    starts = np.zeros((highest >> shift) + 2, np.int64)
    has_values = weight is not None or newest is not None
    row = np.empty(words.size if has_values else 0, np.uint32)
    dealt = np.empty_like(words)
    _count_words(words, shift, starts)
    np.cumsum(starts, out=starts)
    _deal_words(words, shift, starts[:-1].copy(), dealt, row)
    for first, stop in itertools.pairwise(starts.tolist()):
        if not has_values:
            dealt[first:stop].sort()
        elif stop - first > 1:
            order = np.argsort(dealt[first:stop])
            dealt[first:stop] = dealt[first:stop][order]
            row[first:stop] = row[first:stop][order]
    begins = words.view(np.int64)  # nobody reads the words as they came any more
    pairs = _move_distinct(dealt, begins)
    if pairs == words.size:
        of_rows = (None if values is None else values[row] for values in (weight, newest))
        return PairSums(dealt, None, *of_rows)
    begins = begins[: pairs + 1]
    return PairSums(
        dealt[:pairs],
        np.diff(begins),
        None if weight is None else np.add.reduceat(weight[row], begins[:-1]),
        None if newest is None else np.maximum.reduceat(newest[row], begins[:-1]),
    )


@kernel
def _count_words(words: Out[np.uint64], shift: int, starts: Out[np.int64]) -> None:
    for i in range(words.size):
        starts[np.int64(words[i] >> np.uint64(shift)) + 1] += 1


@kernel
def _deal_words(
    words: Out[np.uint64], shift: int, put: Out[np.int64], dealt: Out[np.uint64], row: Out[np.uint32]
) -> None:
    for i in range(words.size):
        bucket = np.int64(words[i] >> np.uint64(shift))
        at = put[bucket]
        dealt[at] = words[i]
        if row.size:
            row[at] = np.uint32(i)
        put[bucket] = at + 1


@kernel
def _move_distinct(words: Out[np.uint64], begins: Out[np.int64]) -> int:
    """Move distinct ascending words to the front, write where each begins and the last ends; return how many."""
    pairs = 0
    for i in range(words.size):
        if i == 0 or words[i] != words[pairs - 1]:
            begins[pairs] = i
            words[pairs] = words[i]
            pairs += 1
    if pairs < begins.size:
        begins[pairs] = words.size
    return pairs


@kernel
def add_ends(
    at: In[np.int32], other: In[np.int32], weight: In[np.int64], degree: Out[np.int64], total: Out[np.int64]
) -> None:
    """Add 1 and a weight for each end at its place; ends that stand where their ``other`` stands are left out."""
    for i in range(at.size):
        if other.size == 0 or other[i] != at[i]:
            degree[at[i]] += 1
            total[at[i]] += weight[i]
