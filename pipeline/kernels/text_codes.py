"""Texts to numbers: equal texts get the same one, in the order in which they came."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.array_types import In, Out, kernel

#: A place of the table has the upper half of a hash and the number of its text + 1; 0: nothing.
_HIGH, _LOW = np.uint64(0xFFFFFFFF00000000), np.uint64(0xFFFFFFFF)
_1, _8 = np.uint64(1), np.uint64(8)


@kernel
def find_texts(hashes: In[np.uint64], table: In[np.uint64], codes: Out[np.int32]) -> None:
    """Write the number of the first text with the upper half of each hash, -1 where there is none.

    A pass of its own: the places are far apart in memory, and are read side by side.
    """
    mask = np.uint64(table.size - 1)
    for i in range(codes.size):
        place = hashes[i] & mask
        entry = table[place]
        while entry != 0 and (entry & _HIGH) != (hashes[i] & _HIGH):
            place = (place + _1) & mask
            entry = table[place]
        codes[i] = np.int32(np.int64(entry & _LOW) - 1)


@kernel
def check_texts(
    offsets: In[np.int64],
    data: In[np.uint8],
    known_offsets: In[np.int64],
    known_data: In[np.uint8],
    codes: Out[np.int32],
) -> None:
    """Write -1 for each number whose text is another."""
    for i in range(codes.size):
        if codes[i] >= 0:
            at, stop = offsets[i], offsets[i + 1]
            known_at, known_stop = known_offsets[codes[i]], known_offsets[codes[i] + 1]
            if known_stop - known_at != stop - at:
                codes[i] = -1
                continue
            while at < stop and known_data[known_at] == data[at]:
                at += 1
                known_at += 1
            if at < stop:
                codes[i] = -1


@kernel
def add_texts(
    hashes: In[np.uint64],
    offsets: In[np.int64],
    data: In[np.uint8],
    table: Out[np.uint64],
    known_offsets: Out[np.int64],
    known_data: Out[np.uint8],
    known: int,
    codes: Out[np.int32],
) -> int:
    """Number the texts whose number is -1; new ones are put behind those known. Return how many are known then."""
    mask = np.uint64(table.size - 1)
    for i in range(codes.size):
        if codes[i] >= 0:
            continue
        first, size = offsets[i], offsets[i + 1] - offsets[i]
        place = hashes[i] & mask
        while codes[i] < 0:
            entry = table[place]
            start = known_offsets[known]
            if entry == 0:
                for byte in range(size):
                    known_data[start + byte] = data[first + byte]
                known_offsets[known + 1] = start + size
                codes[i] = known
                known += 1
                table[place] = (hashes[i] & _HIGH) | np.uint64(known)
            elif (entry & _HIGH) == (hashes[i] & _HIGH):
                code = np.int64(entry & _LOW) - 1
                start = known_offsets[code]
                is_same = known_offsets[code + 1] - start == size
                if is_same:
                    for byte in range(size):
                        is_same &= known_data[start + byte] == data[first + byte]
                if is_same:
                    codes[i] = code
            place = (place + _1) & mask
    return known


@kernel
def place_texts(hashes: In[np.uint64], table: Out[np.uint64]) -> None:
    """Put distinct texts, of which hash i is number i, into an empty table."""
    mask = np.uint64(table.size - 1)
    for i in range(hashes.size):
        place = hashes[i] & mask
        while table[place] != 0:
            place = (place + _1) & mask
        table[place] = (hashes[i] & _HIGH) | np.uint64(i + 1)
