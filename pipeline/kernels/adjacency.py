"""Adjacency lists whose order depends on the nodes' keys, not on how the edges arrived."""

import itertools
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel

_Row = TypeVar("_Row", np.int32, np.int64)
_Ends = tuple[Out[np.int32], Out[np.int32]] | tuple[Out[np.int64], Out[np.int64]]

#: Entries are sorted in buckets of rows that stay in the cache: a sort of millions at once is bound by memory.
_BUCKET_ENTRIES = 2_048


def ordered_adjacency(
    left: NDArray[_Row],
    right: NDArray[_Row],
    weight: NDArray[np.float32] | None,
    is_computed: NDArray[np.bool_],
    node_key: NDArray[np.uint64],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32] | None]:
    """Adjacency lists of undirected edges, each row's neighbours in node_key order.

    Parameters
    ----------
    left, right : (edges,) int32, or both int64, local rows, each edge once. An edge of a row with itself is one entry.
    weight : (edges,) float32, or None where every weight is 1.
    is_computed : (rows,) which rows get their neighbours; the others get empty lists.
    node_key : (rows,) uint64; equal keys are ordered by row.

    Returns
    -------
    indptr (rows + 1,) int64, neighbor (entries,) int32, weight (entries,) float32 or None.

    Cost
    ----
    One sort of 4-byte words, (row in its bucket, rank of the neighbour's key), bucket by bucket. Each word is written
    into its bucket at once, and becomes the neighbour where it stands.
    """
    by_key = np.argsort(node_key, kind="stable").astype(np.int32)
    rank = np.empty_like(by_key)
    rank[by_key] = np.arange(by_key.size, dtype=np.int32)

    entries = np.zeros(is_computed.size + 1, np.int64)
    _count_entries((left, right), is_computed, entries)
    indptr = np.cumsum(entries)
    rank_bits = max(0, by_key.size - 1).bit_length()
    bucket_rows = is_computed.size * _BUCKET_ENTRIES // max(int(indptr[-1]), 1)
    shift = min(32 - rank_bits, max(0, bucket_rows.bit_length() - 1))
    starts = np.append(indptr[: -1 : 1 << shift], indptr[-1])
    words = np.empty(indptr[-1], np.uint32)
    sorted_weights = np.empty(0 if weight is None else words.size, np.float32)
    weights = np.empty(0, np.float32) if weight is None else weight
    _fill_words((left, right), weights, is_computed, rank, rank_bits, shift, starts.copy(), words, sorted_weights)
    for first, stop in itertools.pairwise(starts.tolist()):
        if weight is None:
            words[first:stop].sort()
        else:
            order = np.argsort(words[first:stop])
            words[first:stop] = words[first:stop][order]
            sorted_weights[first:stop] = sorted_weights[first:stop][order]
    _to_neighbors(words, by_key, (1 << rank_bits) - 1)
    return indptr, words.view(np.int32), None if weight is None else sorted_weights


@kernel
def mark_ends(ends: _Ends, is_end: Out[np.bool_]) -> None:
    """Mark all numbers that are an end of an edge; numpy would copy ends of 32 bits to look them up."""
    for of_side in ends:
        for e in range(of_side.size):
            is_end[of_side[e]] = True


@kernel
def replace_ends(ends: tuple[Out[np.int32], Out[np.int32]], row_of: Out[np.int32]) -> None:
    """Replace both ends of edges by what stands for them in ``row_of``, in place."""
    for of_side in ends:
        for e in range(of_side.size):
            of_side[e] = row_of[of_side[e]]


@kernel
def _count_entries(ends: _Ends, is_computed: Out[np.bool_], entries: Out[np.int64]) -> None:
    left, right = ends
    for e in range(left.size):
        a, b = left[e], right[e]
        if is_computed[a]:
            entries[a + 1] += 1
        if a != b and is_computed[b]:
            entries[b + 1] += 1


@kernel
def _fill_words(
    ends: _Ends,
    weight: In[np.float32],
    is_computed: Out[np.bool_],
    rank: Out[np.int32],
    rank_bits: int,
    shift: int,
    put: Out[np.int64],
    words: Out[np.uint32],
    bucket_weights: Out[np.float32],
) -> None:
    """Write each entry into its bucket of 2**shift rows; ``put`` is where each bucket begins."""
    left, right = ends
    in_bucket = (1 << shift) - 1
    for e in range(left.size):
        a, b = left[e], right[e]
        for row, other in ((a, b), (b, a)):
            if is_computed[row]:
                at = put[row >> shift]
                words[at] = np.uint32(((row & in_bucket) << rank_bits) | rank[other])
                if weight.size:
                    bucket_weights[at] = weight[e]
                put[row >> shift] = at + 1
            if a == b:
                break


@kernel
def _to_neighbors(words: Out[np.uint32], by_key: Out[np.int32], of_rank: int) -> None:
    """Replace each word by the row whose rank stands in its lowest bits, those of the mask ``of_rank``."""
    for e in range(words.size):
        words[e] = np.uint32(by_key[words[e] & of_rank])
