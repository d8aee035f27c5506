"""Numbers for the texts of a column, given as they come, and their order once all have come."""

from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.kernels.buckets import hash_texts
from pipeline.kernels.text_codes import (
    add_texts,
    check_texts,
    find_texts,
    place_texts,
    shared_bytes,
    words_of_texts,
)

#: What the order of a text takes, and its place there.
_ORDER_BYTES = 20

_T = TypeVar("_T", np.int64, np.uint8)


class TextCodes:
    """The distinct texts so far; text number i is the i-th that came."""

    def __init__(self) -> None:
        self._table = np.zeros(2, np.uint64)
        self._offsets: NDArray[np.int64] = np.zeros(1, np.int64)
        self._data: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._texts = 0

    def __len__(self) -> int:
        return self._texts

    @property
    def nbytes(self) -> int:
        """Bytes that they take once they are put in order."""
        return self._table.nbytes + 2 * (self._offsets.nbytes + self._data.nbytes) + _ORDER_BYTES * self._texts

    def of(self, texts: pa.StringArray) -> NDArray[np.int32]:
        """Return the numbers of texts, without nulls."""
        stop = texts.offset + len(texts) + 1
        offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : stop].astype(np.int64)
        data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
        self._make_room(len(texts), int(offsets[-1] - offsets[0]))
        hashes, codes = _hashes(offsets, data), np.empty(len(texts), np.int32)
        find_texts(hashes, self._table, codes)
        check_texts(offsets, data, self._offsets, self._data, codes)
        self._texts = add_texts(hashes, offsets, data, self._table, self._offsets, self._data, self._texts, codes)
        return codes

    @property
    def texts(self) -> pa.LargeBinaryArray:
        """The texts, by number."""
        bounds = pa.py_buffer(self._offsets[: self._texts + 1])
        return pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), self._texts, [None, bounds, pa.py_buffer(self._data)]
        )

    def in_order(self) -> tuple[pa.LargeStringArray, NDArray[np.int32]]:
        """Return the texts in the order of their bytes, and the place of each text there, by number."""
        order = self.order()
        place = np.empty(self._texts, np.int32)
        place[order] = np.arange(self._texts, dtype=np.int32)
        return self.texts.take(pa.array(order)).cast(pa.large_string()), place

    def order(self) -> NDArray[np.int64]:
        """Return the numbers of the texts in the order of their bytes."""
        offsets = self._offsets[: self._texts + 1]
        prefix, words = shared_bytes(offsets, self._data), np.empty(self._texts, np.uint64)
        words_of_texts(offsets, self._data, prefix, words)
        order = np.argsort(words)
        word_of_place = words[order]
        is_tied = np.zeros(self._texts, np.bool_)
        is_tied[1:] = word_of_place[1:] == word_of_place[:-1]
        is_tied[:-1] |= is_tied[1:]
        if is_tied.any():  # the order of these among all others is known
            ties = order[is_tied]
            order[is_tied] = ties[pc.array_sort_indices(self.texts.take(pa.array(ties))).to_numpy()]
        return order

    def _make_room(self, texts: int, size: int) -> None:
        if self._texts + texts >= self._offsets.size:
            self._offsets = _larger(self._offsets, self._texts + texts + 1)
        if self._offsets[self._texts] + size > self._data.size:
            self._data = _larger(self._data, int(self._offsets[self._texts]) + size)
        if 2 * (self._texts + texts) > self._table.size:
            table = np.zeros(1 << (2 * (self._texts + texts)).bit_length(), np.uint64)
            place_texts(_hashes(self._offsets[: self._texts + 1], self._data), table)
            self._table = table


def _hashes(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    hashes = np.zeros(offsets.size - 1, np.uint64)
    hash_texts(hashes, offsets, data)
    return hashes


def _larger(values: NDArray[_T], size: int) -> NDArray[_T]:
    larger = np.empty(2 * size, values.dtype)
    larger[: values.size] = values
    return larger
