"""Files of what tasks over parts know of sources: lists by source, in batches of so many sources.

Every file of a run has the same batches: a reader opens those of its sources and nothing else. A batch has rows only
for sources with entries.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.blocks.arrays import offsets_of
from pipeline.locations import Location
from pipeline.storage.batch_files import BatchFile


def _lists_of(name: str, *extra: pa.Field, **fields: pa.DataType) -> pa.Schema:
    entry = pa.struct([pa.field(field, kind, nullable=False) for field, kind in fields.items()])
    return pa.schema(
        [
            pa.field("source", pa.int32(), nullable=False),  # line of the file of sources
            pa.field(name, pa.list_(pa.field("item", entry, nullable=False)), nullable=False),
            *extra,
        ]
    )


#: Rows of a part that changed in a round: mass that is settled, and mass that waits there.
HELD = _lists_of("held", row=pa.int32(), settled=pa.float64(), waiting=pa.float64())
#: Mass on its way, as `pipeline.kernels.ppr_parts.PushResult` has it; a batch for each receiver.
SENT = _lists_of("sent", position=pa.int32(), mass=pa.float64())
#: Neighbours of sources that are at home elsewhere; a batch for each home.
KNOWN = _lists_of("known", position=pa.int32())
#: The best home rows of a part, and how much of the source's mass is missing there.
RANKED = _lists_of("ranked", pa.field("missing", pa.float64(), nullable=False), node_ix=pa.int64(), score=pa.float32())


@dataclass(frozen=True)
class SourceBatches:
    """A file of sources, how many it has, and the number of sources in a batch: a task holds that many at once."""

    file: Location
    count: int
    size: int

    def ranges(self) -> list[tuple[int, int]]:
        """Return the range of sources of each batch."""
        return [(first, min(first + self.size, self.count)) for first in range(0, self.count, self.size)]


def lists_batch(
    schema: pa.Schema,
    first_source: int,
    indptr: NDArray[np.int64],
    entries: Sequence[NDArray[Any]],
    extra: NDArray[Any] | None = None,
) -> pa.RecordBatch:
    """Return a batch of lists.

    Parameters
    ----------
    indptr : (sources + 1,) int64. entries : the columns of an entry, (indptr[-1],) each.
    extra : (sources,), of a schema with a third column: then sources without entries have rows too.
    """
    has_row = np.ones(indptr.size - 1, np.bool_) if extra is not None else np.diff(indptr) > 0
    offsets = np.append(indptr[:-1][has_row], indptr[-1]).astype(np.int32)
    kind = schema.field(1).type
    values = pa.StructArray.from_arrays([pa.array(column) for column in entries], fields=list(kind.value_type))
    columns = [
        pa.array((first_source + np.flatnonzero(has_row)).astype(np.int32)),
        pa.ListArray.from_arrays(pa.array(offsets), values, type=kind),
    ]
    return pa.record_batch(columns if extra is None else [*columns, pa.array(extra)], schema=schema)


def batches_by_part(
    schema: pa.Schema,
    first_source: int,
    indptr: NDArray[np.int64],
    part_index: NDArray[np.int32],
    entries: Sequence[NDArray[Any]],
    parts: int,
) -> Iterator[pa.RecordBatch]:
    """Yield a batch of lists for each part; ``part_index`` (entries,) says where an entry goes."""
    sources = indptr.size - 1
    source = np.repeat(np.arange(sources), np.diff(indptr))
    counts = np.bincount(part_index.astype(np.int64) * sources + source, minlength=parts * sources)
    # The narrowest type: numpy counts numbers of 8 and 16 bits instead of comparing them.
    order = np.argsort(part_index.astype(np.min_scalar_type(parts)), kind="stable")
    first = 0
    for sizes in counts.reshape(parts, sources):
        of_part = offsets_of(sizes)
        entry = order[first : first + int(of_part[-1])]
        first += entry.size
        yield lists_batch(schema, first_source, of_part, [column[entry] for column in entries])


class MassFiles:
    """Files of one schema, mapped: the lists of a batch of sources, side by side."""

    def __init__(self, schema: pa.Schema, files: Sequence[Location], parts: int = 1, part_index: int = 0) -> None:
        """Open files with ``parts`` batches for each batch of sources, of which those for ``part_index`` are read."""
        self._schema, self._parts, self._part_index = schema, parts, part_index
        self._files = [BatchFile(file, is_mapped=True) for file in files]

    def batches(self, number: int) -> list[pa.RecordBatch]:
        """Return a batch of each file, as views."""
        return [file.read(number * self._parts + self._part_index) for file in self._files]

    def lists(
        self, number: int, first_source: int, stop_source: int
    ) -> tuple[NDArray[np.int64], list[list[NDArray[Any]]]]:
        """Return the lists of a batch of sources.

        Returns
        -------
        bounds (sources, files, 2) int64: where a source's list begins and ends once the files' entries stand one after
        the other. For each file, the columns of its entries, as views.
        """
        bounds = np.zeros((stop_source - first_source, len(self._files), 2), np.int64)
        pieces: list[list[NDArray[Any]]] = []
        put = 0
        for at, batch in enumerate(self.batches(number)):
            lists = batch.column(1)
            row = batch.column(0).to_numpy() - first_source
            offsets = lists.offsets.to_numpy()
            bounds[row, at, 0] = put + offsets[:-1]
            bounds[row, at, 1] = put + offsets[1:]
            put += int(offsets[-1])
            pieces.append([field.to_numpy() for field in lists.values.flatten()])
        return bounds, pieces

    def concat(self, pieces: list[list[NDArray[Any]]]) -> list[NDArray[Any]]:
        """Return the columns of entries, all files' one after the other."""
        entry = self._schema.field(1).type.value_type
        empty = [np.empty(0, field.type.to_pandas_dtype()) for field in entry]
        return [np.concatenate(columns) for columns in zip(empty, *pieces, strict=True)]
