"""Files of rows: written and read in batches of bounded size, so that a task holds no second copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.embedding.rows import Rows
from pipeline.kernels.rows import gather_rows
from schemas.tables import row_schema

_BATCH_BYTES = 8 * 2**20


def write_rows(path: Path, node_ix: NDArray[np.int64], rows: Rows) -> None:
    """Write rows of ascending node numbers."""
    write_slices(path, {0: np.arange(node_ix.size)}, node_ix, rows)


def read_rows(path: Path) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """Yield (node_ix, rows) of a file, batch by batch."""
    with pa.OSFile(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            yield _rows_of(reader.get_batch(number))


def write_slices(
    path: Path, slices: Mapping[int, NDArray[np.int64]], node_ix: NDArray[np.int64], rows: Rows
) -> dict[str, list[int]]:
    """Write slices of rows, one receiver after the other.

    Parameters
    ----------
    slices : receiver -> positions in ``node_ix`` and ``rows`` of what it is sent.

    Returns
    -------
    {receiver: [first batch, batches]}: what goes into the task's record.
    """
    dim = rows.values.shape[1]
    schema = row_schema(dim)
    batch_rows = max(1, _BATCH_BYTES // (dim * 4 + 16))
    where: dict[str, list[int]] = {}
    batches = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for receiver in sorted(slices):
            index = slices[receiver]
            first_batch = batches
            for first in range(0, index.size, batch_rows):
                writer.write_batch(_batch_of(index[first : first + batch_rows], node_ix, rows, schema))
                batches += 1
            if batches > first_batch:
                where[str(receiver)] = [first_batch, batches - first_batch]
    return where


def read_slice(path: Path, first_batch: int, batches: int) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """Yield (node_ix, rows) of one receiver's slice; nothing else of the file is read."""
    with pa.OSFile(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(first_batch, first_batch + batches):
            yield _rows_of(reader.get_batch(number))


def _batch_of(index: NDArray[np.int64], node_ix: NDArray[np.int64], rows: Rows, schema: pa.Schema) -> pa.RecordBatch:
    # Consecutive rows are written where they are; others are gathered.
    if int(index[-1]) - int(index[0]) == index.size - 1:
        chosen = rows.values[int(index[0]) : int(index[-1]) + 1]
    else:
        chosen = np.empty((index.size, rows.values.shape[1]), np.float32)
        gather_rows(rows.values, index, chosen)
    values = pa.FixedSizeListArray.from_arrays(pa.array(chosen.reshape(-1)), type=schema.field("row").type)
    return pa.RecordBatch.from_arrays(
        [pa.array(node_ix[index]), pa.array(rows.magnitude[index]), values], schema=schema
    )


def _rows_of(batch: pa.RecordBatch) -> tuple[NDArray[np.int64], Rows]:
    node_ix, magnitude, values = (batch.column(name) for name in ("node_ix", "magnitude", "row"))
    dense = values.flatten().to_numpy().reshape(-1, values.type.list_size)
    return node_ix.to_numpy(), Rows(dense, magnitude.to_numpy())


class RowReader:
    """Reads ranges of a file of rows; ranges asked for in ascending order cost one pass."""

    def __init__(self, path: Path) -> None:
        self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        numbers = range(self._reader.num_record_batches)
        self._batches = [self._reader.get_batch(number) for number in numbers]
        self._last_ix = np.array([batch.column(0)[-1].as_py() for batch in self._batches], np.int64)

    def between(self, first_ix: int, stop_ix: int) -> Iterator[tuple[NDArray[np.int64], Rows]]:
        """Yield (node_ix, rows) of a range of node numbers."""
        for number in range(int(np.searchsorted(self._last_ix, first_ix)), len(self._batches)):
            node_ix, rows = _rows_of(self._batches[number])
            first, stop = np.searchsorted(node_ix, [first_ix, stop_ix])
            if first < stop:
                yield node_ix[first:stop], Rows(rows.values[first:stop], rows.magnitude[first:stop])
            if stop < node_ix.size:
                return
