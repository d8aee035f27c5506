"""Files of rows: written and read in batches of bounded size, so that a task holds no second copy.

A file says of itself which columns it holds and how: as float32, or as codes with scales.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.embedding.rows import Rows
from pipeline.kernels.narrow_rows import decode_rows, encode_rows, groups_of
from pipeline.kernels.rows import gather_rows, scatter_rows
from pipeline.locations import Location
from pipeline.storage.batch_files import BatchFile, batch_writer
from schemas.tables import ROW_BYTES, row_schema

_BATCH_BYTES = 8 * 2**20
_LARGEST_HALVED = 2.0**128 - 2.0**120  # the largest float32 whose lower half is zero
_CODES: dict[str, np.dtype[Any]] = {"int8": np.dtype(np.int8), "float16": np.dtype(np.uint16)}


@dataclass(frozen=True)
class RowFormat:
    """What a file holds of its rows."""

    width: int
    first_column: int = 0
    dtype: str = "float32"
    has_noise_scale: bool = True

    @property
    def schema(self) -> pa.Schema:
        """The file's columns."""
        return row_schema(self.width, self.dtype, first_column=self.first_column, has_noise_scale=self.has_noise_scale)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row: entries, scales and noise_scale."""
        if self.dtype == "float32":
            return 4 * self.width + 8 * self.has_noise_scale
        return self.width * ROW_BYTES[self.dtype] + groups_of(self.width) + 2 * self.has_noise_scale


def write_rows(path: Path, node_ix: NDArray[np.int64], rows: Rows, form: RowFormat) -> None:
    """Write rows of ascending node numbers."""
    write_slices(path, {0: np.arange(node_ix.size)}, node_ix, rows, form)


def read_rows(path: Location) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """Yield (node_ix, rows) of a file, batch by batch."""
    yield from read_slice(path, 0, BatchFile(path).count)


def read_all(path: Location, width: int) -> tuple[NDArray[np.int64], Rows]:
    """Return all of a file: (node_ix, rows); ``width`` is that of a file without rows."""
    pieces = list(read_rows(path))
    if not pieces:
        return np.empty(0, np.int64), Rows.zeros(0, width)
    values = np.concatenate([rows.values for _, rows in pieces])
    noise_scale = np.concatenate([rows.noise_scale for _, rows in pieces])
    return np.concatenate([node_ix for node_ix, _ in pieces]), Rows(values, noise_scale)


def write_slices(
    path: Path, slices: Mapping[int, NDArray[np.int64]], node_ix: NDArray[np.int64], rows: Rows, form: RowFormat
) -> dict[int, tuple[int, int]]:
    """Write slices of rows, one receiver after the other.

    Parameters
    ----------
    slices : receiver -> positions in ``node_ix`` and ``rows`` of what it is sent.

    Returns
    -------
    {receiver: (first batch, batches)}: what goes into the task's record.
    """
    schema = form.schema
    batch_rows = max(1, _BATCH_BYTES // (form.width * 4 + 16))
    where: dict[int, tuple[int, int]] = {}
    batches = 0
    with batch_writer(path, schema) as writer:
        for receiver in sorted(slices):
            index = slices[receiver]
            first_batch = batches
            for first in range(0, index.size, batch_rows):
                writer.write_batch(_batch_of(index[first : first + batch_rows], node_ix, rows, form, schema))
                batches += 1
            if batches > first_batch:
                where[receiver] = (first_batch, batches - first_batch)
    return where


def read_slice(path: Location, first_batch: int, batches: int) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """Yield (node_ix, rows) of one receiver's slice; nothing else of the file is read."""
    file = BatchFile(path)
    for number in range(first_batch, first_batch + batches):
        yield _rows_of(file.read(number))


def _batch_of(
    index: NDArray[np.int64], node_ix: NDArray[np.int64], rows: Rows, form: RowFormat, schema: pa.Schema
) -> pa.RecordBatch:
    columns = [pa.array(node_ix[index])]
    if form.has_noise_scale:
        columns.append(pa.array(_stored_noise_scales(rows.noise_scale[index], form.dtype)))
    if form.width:
        # Consecutive rows are written where they are; others are gathered.
        if int(index[-1]) - int(index[0]) == index.size - 1:
            rows_to_write = rows.values[int(index[0]) : int(index[-1]) + 1]
        else:
            rows_to_write = np.empty((index.size, rows.values.shape[1]), np.float32)
            gather_rows(rows.values, index, rows_to_write)
        if form.dtype == "float32":
            flat = pa.array(rows_to_write.reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=schema.field("row").type))
        else:
            codes, scales = encode_rows(rows_to_write, form.dtype)
            columns += [_bytes_of(scales, schema.field("scales").type), _bytes_of(codes, schema.field("codes").type)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _stored_noise_scales(noise_scale: NDArray[np.float64], dtype: str) -> NDArray[Any]:
    """Noise scales as they are stored: beside coded rows, whose own rounding is coarser, with 8 bits.

    What is too large for a float32 stays finite, or its row would count as zero.
    """
    if dtype == "float32":
        return noise_scale
    bits = np.minimum(noise_scale, _LARGEST_HALVED).astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)


def _decoded_noise_scales(codes: NDArray[Any]) -> NDArray[np.float64]:
    if codes.dtype == np.float64:
        return codes
    return (codes.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)


def _bytes_of(matrix: NDArray[Any], kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(matrix), [None, pa.py_buffer(matrix)])


def _matrix_of(array: pa.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    width = array.type.byte_width // dtype.itemsize
    flat = np.frombuffer(array.buffers()[1], dtype, len(array) * width, array.offset * array.type.byte_width)
    return flat.reshape(len(array), width)


def _rows_of(batch: pa.RecordBatch) -> tuple[NDArray[np.int64], Rows]:
    names = batch.schema.names
    node_ix = batch.column("node_ix").to_numpy()
    noise_scale = np.zeros(node_ix.size)
    if "noise_scale" in names:
        noise_scale = _decoded_noise_scales(batch.column("noise_scale").to_numpy())
    if "row" in names:
        row = batch.column("row")
        return node_ix, Rows(row.flatten().to_numpy().reshape(-1, row.type.list_size), noise_scale)
    if "codes" not in names:
        return node_ix, Rows(np.empty((node_ix.size, 0), np.float32), noise_scale)
    codes = _matrix_of(batch.column("codes"), _CODES[batch.schema.metadata[b"dtype"].decode()])
    return node_ix, Rows(decode_rows(codes, _matrix_of(batch.column("scales"), np.dtype(np.uint8))), noise_scale)


class RowReader:
    """Reads ranges of a file of rows; ranges in ascending order cost one pass."""

    def __init__(self, path: Location) -> None:
        self._reader = pa.ipc.open_file(pa.memory_map(str(storage.local_file(path))))
        self._first_column = int((self._reader.schema.metadata or {}).get(b"first_column", 0))
        self._has_noise_scale = "noise_scale" in self._reader.schema.names
        numbers = range(self._reader.num_record_batches)
        self._batches = [self._reader.get_batch(number) for number in numbers]
        self._last_ix = np.array([batch.column(0)[-1].as_py() for batch in self._batches], np.int64)

    def between(self, first_ix: int, stop_ix: int) -> Iterator[tuple[NDArray[np.int64], Rows]]:
        """Yield (node_ix, rows) of a range of node numbers; of the columns that this file holds."""
        for number in range(int(np.searchsorted(self._last_ix, first_ix)), len(self._batches)):
            node_ix, rows = _rows_of(self._batches[number])
            first, stop = np.searchsorted(node_ix, [first_ix, stop_ix])
            if first < stop:
                yield node_ix[first:stop], rows[first:stop]
            if stop < node_ix.size:
                return

    def fill(self, first_ix: int, rows: Rows, has_row: NDArray[np.bool_] | None = None) -> None:
        """Put what the file knows of the nodes from ``first_ix`` on into rows of all columns; mark which it knows."""
        for node_ix, file_rows in self.between(first_ix, first_ix + len(rows.values)):
            positions = node_ix - first_ix
            width = file_rows.values.shape[1]
            if has_row is not None:
                has_row[positions] = True
            if width == rows.values.shape[1]:
                scatter_rows(file_rows.values, positions, rows.values)
            elif width:
                rows.values[positions, self._first_column : self._first_column + width] = file_rows.values
            if self._has_noise_scale:
                rows.noise_scale[positions] = file_rows.noise_scale
