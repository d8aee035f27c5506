"""Arrow files whose batches are read alone: each batch carries a checksum of its rows, which every reader compares.

So a slice that a task sends to another is checked by who reads it, and nobody reads the rest of the file for that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pipeline.errors import DamagedFileError
from pipeline.locations import Location
from pipeline.storage import files

_KEY = b"xxh3"
#: What pyarrow and numpy raise on bytes that are no Arrow file, or not the one that was written.
_BROKEN = (pa.ArrowException, OSError, ValueError, LookupError, MemoryError)


class BatchWriter:
    """Writes batches in order, each with its checksum."""

    def __init__(self, writer: pa.ipc.RecordBatchFileWriter, schema: pa.Schema) -> None:
        self._writer, self._form = writer, _form_of(schema)
        self.count = 0

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write the next batch."""
        self._writer.write_batch(batch, custom_metadata={_KEY: _checksum(self._form, batch, self.count)})
        self.count += 1


@contextmanager
def batch_writer(path: Path, schema: pa.Schema) -> Iterator[BatchWriter]:
    """Open a file for batches."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        yield BatchWriter(writer, schema)


class BatchFile:
    """Reads batches by number: into memory, or as views of the file where it is mapped.

    Raises
    ------
    DamagedFileError : here or in any method, if the file is not what was written.
    """

    def __init__(self, location: Location, *, is_mapped: bool = False) -> None:
        self._location = location
        try:
            can_map = is_mapped and isinstance(location, Path)  # of an object, only the batches that are read come here
            self._reader = pa.ipc.open_file(pa.memory_map(str(location)) if can_map else files.open_ranges(location))
            self._form = _form_of(self._reader.schema)
        except _BROKEN as error:
            raise self._damage_error(error) from error
        self.count: int = self._reader.num_record_batches

    def read(self, number: int) -> pa.RecordBatch:
        """Return a batch whose rows are those that were written."""
        try:
            batch, metadata = self._reader.get_batch_with_custom_metadata(number)
            batch.validate()  # sizes of buffers: what is hashed next lies inside of them
            is_whole = metadata is not None and metadata[_KEY] == _checksum(self._form, batch, number)
        except _BROKEN as error:
            raise self._damage_error(error) from error
        if not is_whole:
            raise self._damage_error(f"batch {number} has other rows than were written")
        return batch

    def _damage_error(self, why: object) -> DamagedFileError:
        return DamagedFileError(f"{self._location} is damaged: {why}")


def _form_of(schema: pa.Schema) -> str:
    """Return what says how the bytes of a batch are to be read."""
    return f"{schema.names} {schema.types} {sorted((schema.metadata or {}).items())}"


def _checksum(form: str, batch: pa.RecordBatch, number: int) -> bytes:
    """Hash what a batch holds, and its place in the file: not how its buffers are cut and padded."""
    total = xxhash.xxh3_128(f"{form} {number} {batch.num_rows}".encode())
    for column in batch.columns:
        _add(total, column)
    return total.hexdigest().encode()


def _add(total: Any, array: pa.Array) -> None:
    kind, size, start = array.type, len(array), array.offset
    if array.null_count:
        total.update(array.is_valid().cast(pa.uint8()).to_numpy())
    if pa.types.is_boolean(kind):
        total.update(array.fill_null(False).cast(pa.uint8()).to_numpy())
    elif pa.types.is_fixed_size_list(kind):
        _add(total, array.values.slice(start * kind.list_size, size * kind.list_size))
    elif pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            _add(total, array.field(number))  # cut as the struct is
    elif pa.types.is_list(kind):
        _add(total, array.values.slice(*_lengths(total, array, np.int32)))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        first, length = _lengths(total, array, np.int32 if pa.types.is_string(kind) else np.int64)
        data = array.buffers()[2]
        total.update(memoryview(data)[first : first + length] if data else b"")
    else:  # numbers, and bytes of a fixed width
        width = kind.byte_width
        data = array.buffers()[1]
        total.update(memoryview(data)[start * width : (start + size) * width] if data else b"")


def _lengths(total: Any, array: pa.Array, dtype: Any) -> tuple[int, int]:
    """Add the lengths of lists or texts; return where their values begin, and how many there are."""
    if not len(array):
        return 0, 0
    offsets = np.frombuffer(array.buffers()[1], dtype, len(array) + 1, array.offset * np.dtype(dtype).itemsize)
    total.update(np.diff(offsets))
    return int(offsets[0]), int(offsets[-1] - offsets[0])
