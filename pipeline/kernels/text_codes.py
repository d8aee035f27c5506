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
    text_offsets: In[np.int64],
    text_data: In[np.uint8],
    codes: Out[np.int32],
) -> None:
    """Write -1 for each number whose text is another."""
    for i in range(codes.size):
        if codes[i] >= 0:
            at, stop = offsets[i], offsets[i + 1]
            text_at, text_stop = text_offsets[codes[i]], text_offsets[codes[i] + 1]
            if text_stop - text_at != stop - at:
                codes[i] = -1
                continue
            while at < stop and text_data[text_at] == data[at]:
                at += 1
                text_at += 1
            if at < stop:
                codes[i] = -1


@kernel
def add_texts(
    hashes: In[np.uint64],
    offsets: In[np.int64],
    data: In[np.uint8],
    table: Out[np.uint64],
    text_offsets: Out[np.int64],
    text_data: Out[np.uint8],
    texts: int,
    codes: Out[np.int32],
) -> int:
    """Number the texts whose number is -1; new ones are put behind the ``texts`` there are. Return their new count."""
    mask = np.uint64(table.size - 1)
    for i in range(codes.size):
        if codes[i] >= 0:
            continue
        first, size = offsets[i], offsets[i + 1] - offsets[i]
        place = hashes[i] & mask
        while codes[i] < 0:
            entry = table[place]
            start = text_offsets[texts]
            if entry == 0:
                for byte in range(size):
                    text_data[start + byte] = data[first + byte]
                text_offsets[texts + 1] = start + size
                codes[i] = texts
                texts += 1
                table[place] = (hashes[i] & _HIGH) | np.uint64(texts)
            elif (entry & _HIGH) == (hashes[i] & _HIGH):
                code = np.int64(entry & _LOW) - 1
                start = text_offsets[code]
                is_same = text_offsets[code + 1] - start == size
                if is_same:
                    for byte in range(size):
                        is_same &= text_data[start + byte] == data[first + byte]
                if is_same:
                    codes[i] = code
            place = (place + _1) & mask
    return texts


@kernel
def place_texts(hashes: In[np.uint64], table: Out[np.uint64]) -> None:
    """Put distinct texts, of which hash i is number i, into an empty table."""
    mask = np.uint64(table.size - 1)
    for i in range(hashes.size):
        place = hashes[i] & mask
        while table[place] != 0:
            place = (place + _1) & mask
        table[place] = (hashes[i] & _HIGH) | np.uint64(i + 1)
