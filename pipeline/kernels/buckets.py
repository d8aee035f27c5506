"""Rows dealt out to buckets by their keys: equal keys meet in one bucket, on any machine."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, inner_kernel, kernel
from pipeline.kernels.hashing import mix

_32 = np.uint64(32)
_8 = np.uint64(8)


def hash_integers(hashes: NDArray[np.uint64], values: NDArray[np.int64]) -> None:
    """Mix a column of integers into the hashes of its rows, in place; both (n,).

    Raises ValueError for columns of another length.
    """
    if len(hashes) != len(values):
        raise ValueError(f"{len(values)} values for {len(hashes)} rows")
    _hash_integers(hashes, values)


def hash_texts(hashes: NDArray[np.uint64], offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> None:
    """Mix a column of byte strings into the hashes of its rows, in place.

    Parameters
    ----------
    hashes : (n,) uint64.
    offsets : (n + 1,) int64, ascending: row i is ``data[offsets[i]:offsets[i + 1]]``, as in Arrow.
    data : the bytes of all rows.

    Raises
    ------
    ValueError : offsets of another number of rows, or outside of ``data``: the kernel would read past its end.

    Cost: eight bytes a step.
    """
    if len(offsets) != len(hashes) + 1:
        raise ValueError(f"{len(offsets)} offsets for {len(hashes)} rows; one more than rows is needed")
    if offsets[0] < 0 or offsets[-1] > data.size:
        raise ValueError(f"offsets run from {offsets[0]} to {offsets[-1]}, and there are {data.size} bytes")
    _hash_texts(hashes, offsets, data)


def deal(hashes: NDArray[np.uint64], buckets: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Order rows by bucket, those of one bucket in the order they came.

    Parameters
    ----------
    hashes : (n,) uint64, each row's bucket being ``(hash >> 32) * buckets >> 32``.
    buckets : at least 1, below 2**31.

    Returns
    -------
    order : (n,) uint32, row numbers.
    starts : (buckets + 1,) int64: bucket b is ``order[starts[b]:starts[b + 1]]``.

    Raises
    ------
    ValueError : buckets out of range, or 2**32 rows.

    Cost: two passes over the rows.
    """
    if len(hashes) >= 2**32:
        raise ValueError(f"{len(hashes)} rows can't be dealt out at once; 2**32 - 1 can")
    if not 1 <= buckets < 2**31:
        raise ValueError(f"buckets is {buckets}; it must be at least 1 and below 2**31")
    order = np.empty(len(hashes), np.uint32)
    starts = np.zeros(buckets + 1, np.int64)
    _deal(hashes, order, starts)
    return order, starts


@kernel
def _hash_integers(hashes: Out[np.uint64], values: In[np.int64]) -> None:
    for i in range(len(hashes)):
        hashes[i] = mix(hashes[i] ^ np.uint64(values[i]))


@inner_kernel
def word_of(data: In[np.uint8], at: int, stop: int) -> np.uint64:
    """Return the bytes from ``at`` up to ``stop``, the first eight of them, as one little-endian word."""
    if at + 8 <= data.size:
        # The compiler makes one load of these, of places that can't be below 0.
        first, word = np.uint64(at), np.uint64(0)
        for byte in (7, 6, 5, 4, 3, 2, 1, 0):
            word = (word << _8) | np.uint64(data[first + np.uint64(byte)])
        return word if stop - at >= 8 else word & ((np.uint64(1) << np.uint64(8 * (stop - at))) - np.uint64(1))
    word = np.uint64(0)
    for byte in range(at, stop):
        word |= np.uint64(data[byte]) << np.uint64(8 * (byte - at))
    return word


@kernel
def _hash_texts(hashes: Out[np.uint64], offsets: In[np.int64], data: In[np.uint8]) -> None:
    for i in range(len(hashes)):
        at, stop = offsets[i], offsets[i + 1]
        # The length comes first: zeros that fill up the last word are no bytes of the text.
        text_hash = mix(hashes[i] ^ np.uint64(stop - at))
        while at < stop:
            text_hash = mix(text_hash ^ word_of(data, at, stop))
            at += 8
        hashes[i] = text_hash


@kernel
def _deal(hashes: In[np.uint64], order: Out[np.uint32], starts: Out[np.int64]) -> None:
    buckets = np.uint64(len(starts) - 1)
    for i in range(len(hashes)):
        starts[np.int64(((hashes[i] >> _32) * buckets) >> _32) + 1] += 1
    for following in range(1, len(starts)):
        starts[following] += starts[following - 1]
    place = starts.copy()
    for i in range(len(hashes)):
        bucket = np.int64(((hashes[i] >> _32) * buckets) >> _32)
        order[place[bucket]] = np.uint32(i)
        place[bucket] += 1
