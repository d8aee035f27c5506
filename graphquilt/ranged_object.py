"""A Parquet file in an object store, of which a reader fetches the ranges that it is about to read."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from graphquilt import objects
from graphquilt.locations import ObjectPath

Range = tuple[int, int]  # first byte, and number of bytes

#: What a reader of Parquet asks for first: the end of a file, with most footers in it.
_TAIL_BYTES = 2**16


class RangedObject:
    """An object of a known size; its end is fetched at once, and kept.

    Raises
    ------
    FileNotFoundError : there is no such object.
    """

    def __init__(self, path: ObjectPath, size: int) -> None:
        self._path, self._size = path, size
        self._tail = self._fetch([(max(0, size - _TAIL_BYTES), min(size, _TAIL_BYTES))])

    def open(self, ranges: Sequence[Range] = ()) -> pa.NativeFile:
        """Fetch ranges, those near each other in one request, and return a file whose reader finds them there.

        Raises
        ------
        FileNotFoundError : the object is gone.
        """
        return pa.PythonFile(_FetchedRanges(self._path, self._size, self._tail | self._fetch(ranges)), mode="r")

    def _fetch(self, ranges: Sequence[Range]) -> dict[Range, memoryview]:
        non_empty = [byte_range for byte_range in ranges if byte_range[1]]
        return dict(zip(non_empty, objects.read_ranges(self._path, non_empty), strict=True)) if non_empty else {}


class _FetchedRanges(objects.ObjectFile):
    """The object as a file; what was not fetched before is when it is read."""

    def __init__(self, path: ObjectPath, size: int, buffers: Mapping[Range, memoryview]) -> None:
        super().__init__(path, size)
        self._buffers = buffers

    def read(self, count: int = -1) -> Any:
        start = self._at
        count = max(0, self._size - start if count < 0 else min(count, self._size - start))
        self._at += count
        for (first, length), data in self._buffers.items():
            if first <= start and start + count <= first + length:
                return data[start - first : start - first + count]
        return objects.read_range(self._path, start, count)
