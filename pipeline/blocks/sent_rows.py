"""Rows on their way between tasks: a sender writes one file with a batch for each receiver, who opens just that."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from pipeline.blocks.arrays import read_slice, write_slices
from pipeline.locations import Location
from pipeline.tasks import TaskRecord


@dataclass(frozen=True)
class FileBatch:
    """One batch of a file of slices."""

    file: Location
    batch: int

    def read(self) -> pa.RecordBatch:
        """Map the batch; DamagedFileError as :func:`pipeline.blocks.arrays.read_slice` raises it."""
        return read_slice(self.file, self.batch)


@dataclass(frozen=True)
class SentRows:
    """What a task sent, by role of its file: batch and rows for each receiver, as ``write_slices`` returns them."""

    slices: Mapping[str, Mapping[str, list[int]]]


def batches_for(receiver: int, records: Sequence[TaskRecord[Any]], role: str) -> tuple[FileBatch, ...]:
    """Return the batches with a role that tasks addressed to a receiver, in task order; results are SentRows."""
    slices = ((record, record.result.slices[role].get(str(receiver))) for record in records)
    return tuple(FileBatch(record.file(role), where[0]) for record, where in slices if where)


def write_by_receiver(
    file: Path,
    receiver: NDArray[np.integer],
    columns: Mapping[str, NDArray[Any]],
    index: NDArray[np.int64] | None = None,
) -> dict[str, list[int]]:
    """Write rows as slices by receiver, each in the order of its rows; see ``write_slices``.

    ``index`` : which row of the columns each receiver gets, some perhaps several times; None: they are one to one.
    """
    if (receiver[1:] < receiver[:-1]).any():
        narrow = np.result_type(*map(np.min_scalar_type, (receiver.min(), receiver.max())))
        order = np.argsort(receiver.astype(narrow), kind="stable")  # up to 16 bits are sorted by radix
        receiver, index = receiver[order], order if index is None else index[order]
    if index is not None:
        columns = {name: values[index] for name, values in columns.items()}
    starts = np.flatnonzero(receiver[1:] != receiver[:-1]) + 1
    bounds = [0, *starts.tolist(), receiver.size] if receiver.size else []
    rows = pa.record_batch({name: pa.array(values) for name, values in columns.items()})
    slices = {int(receiver[start]): rows.slice(start, stop - start) for start, stop in itertools.pairwise(bounds)}
    return write_slices(file, rows.schema, slices)


def read_columns(batches: Sequence[FileBatch], dtypes: Sequence[DTypeLike]) -> list[NDArray[Any]]:
    """Concatenate the columns of batches; ``dtypes`` are those of no batches at all."""
    if not batches:
        return [np.empty(0, dtype) for dtype in dtypes]
    read = [batch.read() for batch in batches]
    return [
        np.concatenate([batch.column(i).to_numpy(zero_copy_only=False) for batch in read])
        for i in range(read[0].num_columns)
    ]
