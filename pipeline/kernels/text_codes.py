"""Texts to numbers: equal texts get the same one, in the order in which they came."""

import numpy as np

from pipeline.kernels.array_types import In, Out, inner_kernel, kernel
from pipeline.kernels.buckets import word_of
from pipeline.kernels.prefetch import prefetch_element

#: A place of the table has the upper half of a hash and the number of its text + 1; 0: nothing.
_HIGH, _LOW = np.uint64(0xFFFFFFFF00000000), np.uint64(0xFFFFFFFF)
_1, _8, _LAST_BYTE = np.uint64(1), np.uint64(8), np.uint64(0xFF)
#: Rows between asking for a place in memory and reading it.
_AHEAD = 16


@kernel
def find_texts(hashes: In[np.uint64], table: In[np.uint64], codes: Out[np.int32]) -> None:
    """Write the number of the first text with the upper half of each hash, -1 where there is none.

    A pass of its own: the places are far apart in memory, and are read side by side.
    """
    mask = np.uint64(table.size - 1)
    for i in range(codes.size):
        prefetch_element(table, np.int64(hashes[min(i + _AHEAD, codes.size - 1)] & mask))
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
        prefetch_element(text_offsets, max(codes[min(i + 2 * _AHEAD, codes.size - 1)], 0))
        prefetch_element(text_data, text_offsets[max(codes[min(i + _AHEAD, codes.size - 1)], 0)])
        if codes[i] >= 0 and not _are_equal(
            data, offsets[i], offsets[i + 1], text_data, text_offsets[codes[i]], text_offsets[codes[i] + 1]
        ):
            codes[i] = -1


@inner_kernel
def _are_equal(data: In[np.uint8], at: int, stop: int, text_data: In[np.uint8], text_at: int, text_stop: int) -> bool:
    if text_stop - text_at != stop - at:
        return False
    while at < stop:
        if word_of(data, at, stop) != word_of(text_data, text_at, text_stop):
            return False
        at += 8
        text_at += 8
    return True


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
                if _are_equal(data, first, first + size, text_data, text_offsets[code], text_offsets[code + 1]):
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


@kernel
def shared_bytes(offsets: In[np.int64], data: In[np.uint8]) -> int:
    """Return how many bytes all texts begin with alike; 0 of no texts."""
    if offsets.size < 2:
        return 0
    first = offsets[0]
    common_bytes = offsets[1] - first
    for i in range(1, offsets.size - 1):
        at, stop = offsets[i], min(offsets[i] + common_bytes, offsets[i + 1])
        while at < stop and data[at] == data[first + at - offsets[i]]:
            at += 1
        common_bytes = at - offsets[i]
    return common_bytes


@kernel
def words_of_texts(offsets: In[np.int64], data: In[np.uint8], prefix_bytes: int, words: Out[np.uint64]) -> None:
    """Write the eight bytes of each text behind some, such that words are in the order of bytes; missing ones are 0."""
    for i in range(words.size):
        at = min(offsets[i] + prefix_bytes, offsets[i + 1])
        little, big = word_of(data, at, offsets[i + 1]), np.uint64(0)
        for _ in range(8):
            big = (big << _8) | (little & _LAST_BYTE)
            little >>= _8
        words[i] = big
