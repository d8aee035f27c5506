"""Norms between tasks that hold different columns: sums of squares by column group, and what follows from them.

Tasks that compute some of the columns write the squares of all rows that they multiply; a task that adds the
groups of all of them in order has the norms of whole rows, to the last bit those of a task with all columns.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.kernels.narrow_rows import groups_of
from pipeline.kernels.rows import group_squares
from pipeline.locations import Location
from pipeline.storage import BATCHES
from pipeline.storage.batch_files import BatchFile, batch_writer
from pipeline.tasks import Attempt

_AT_ONCE = 65_536  # rows


class NormRecorder:
    """Writes the squares of every matrix that it is called with, one file each, and returns no norms."""

    def __init__(self, attempt: Attempt, role: str) -> None:
        self._attempt = attempt
        self._role = role

    def __call__(self, x: NDArray[np.float32]) -> None:
        """Write a matrix' squares."""
        pieces = (group_squares(x[first : first + _AT_ONCE]) for first in range(0, len(x), _AT_ONCE))
        write_columns(self._attempt.path(self._role, BATCHES), groups_of(x.shape[1]), pieces)


class RecordedNorms:
    """Returns the norms of matrices that other tasks have recorded, in their order."""

    def __init__(self, matrices: Iterable[Sequence[Location]]) -> None:
        """Take for each matrix the files of its column groups, in order."""
        self._matrices = iter(matrices)

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the norms of the next matrix; of ``x``, which may have no columns, only the rows are counted."""
        total = np.zeros(len(x))
        for file in next(self._matrices):
            first = 0
            for squares in read_columns(file):
                batch_total = total[first : first + len(squares)]
                for group in range(squares.shape[1]):
                    batch_total += squares[:, group]
                first += len(squares)
            if first != len(x):
                raise RuntimeError(f"{file} has squares of {first} rows, not of {len(x)}: another block made it")
        return np.sqrt(total)


def write_columns(path: Path, width: int, pieces: Iterable[NDArray[np.float64]]) -> None:
    """Write a float64 matrix that comes in runs of rows."""
    kind = pa.list_(pa.field("item", pa.float64(), nullable=False), width)
    schema = pa.schema([pa.field("values", kind, nullable=False)])
    with batch_writer(path, schema) as writer:
        for piece in pieces:
            flat = pa.array(np.ascontiguousarray(piece).reshape(-1))
            writer.write_batch(
                pa.RecordBatch.from_arrays([pa.FixedSizeListArray.from_arrays(flat, type=kind)], schema=schema)
            )


def read_columns(path: Location) -> Iterator[NDArray[np.float64]]:
    """Yield a float64 matrix in runs of rows."""
    file = BatchFile(path)
    for number in range(file.count):
        values = file.read(number).column(0)
        yield values.flatten().to_numpy().reshape(-1, values.type.list_size)
