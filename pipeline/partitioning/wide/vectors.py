"""Vectors over all nodes, or over all labels, as files: written front to back, read through memory maps."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pipeline import storage
from pipeline.locations import Location

#: Rows that a task which passes over a vector holds at once.
CHUNK_ROWS = 65_536


class VectorWriter:
    """Writes a .npy file of a known length, piece by piece."""

    def __init__(self, path: Path, dtype: DTypeLike, size: int) -> None:
        self._file = path.open("wb")
        self._dtype, self._left = np.dtype(dtype), size
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(self._file, header)
        # Its full length at once: what is there already can be mapped while the rest is being made.
        self._file.truncate(self._file.tell() + size * self._dtype.itemsize)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None and self._left:
            raise ValueError(f"{self._file.name} lacks {self._left} of its values")

    def append(self, values: NDArray[Any]) -> None:
        """Write the next values."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._file.flush()
        self._left -= values.size


def map_vector(path: Location) -> NDArray[Any]:
    """Map a vector: pages are read where they are touched."""
    return storage.load_array(path, is_mapped=True)


def read_range(path: Location, first: int, stop: int) -> NDArray[Any]:
    """Read a range of a vector into memory of its own: what is passed over once needs no map."""
    with storage.local_file(path).open("rb") as file:
        np.lib.format.read_magic(file)
        _, _, dtype = np.lib.format.read_array_header_1_0(file)
        file.seek(first * dtype.itemsize, 1)
        return np.fromfile(file, dtype, stop - first)


def add_arrays(files: Sequence[Location]) -> NDArray[Any]:
    """Return the sum of arrays of one shape."""
    return np.sum([storage.load_array(file) for file in files], axis=0)


def ranges(size: int, rows: int = CHUNK_ROWS) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of consecutive ranges of at most ``rows`` rows."""
    for first in range(0, size, rows):
        yield first, min(first + rows, size)


def receivers_of(values: NDArray[Any], starts: Sequence[int]) -> NDArray[np.int64]:
    """Return which of the ranges that begin at ``starts`` (ascending, from 0) each value lies in."""
    return np.searchsorted(np.asarray(starts, np.int64), values, side="right") - 1
