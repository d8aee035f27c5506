"""Edges between the tasks of the layout: read from tables or from slices, and written as slices by receiver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.blocks.arrays import read_slice, write_slices
from pipeline.tasks import TaskRecord
from schemas.tables import INDEXED_EDGES


@dataclass(frozen=True)
class FileBatch:
    """One batch of a file of slices."""

    file: Path
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


class Edges(NamedTuple):
    """Undirected edges by node number, each once: (edges,) int64 each, weights in fixed point."""

    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    weight: NDArray[np.int64]

    def take(self, index: NDArray[Any]) -> Edges:
        """Return the edges at some places, or those that a mask names."""
        return Edges(self.src[index], self.dst[index], self.weight[index])

    def sorted_once(self) -> Edges:
        """Return the edges by (src, dst), each once, however often and in whatever order they came."""
        order = np.lexsort((self.dst, self.src))
        src, dst = self.src[order], self.dst[order]
        is_first = np.ones(order.size, np.bool_)
        is_first[1:] = (src[1:] != src[:-1]) | (dst[1:] != dst[:-1])
        return self.take(order[is_first])


def read_edges(source: Mapping[str, Any]) -> Edges:
    """Read edges from ``{"files": [Parquet files], "slices": [[file, batch], ...]}``, in this order."""
    found = [_of_table(Path(file)) for file in source["files"]]
    for file, number in source["slices"]:
        batch = read_slice(Path(file), number)
        found.append(Edges(*(batch.column(i).to_numpy() for i in range(3))))
    if not found:
        return Edges(*(np.empty(0, np.int64) for _ in range(3)))
    return Edges(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def write_edge_slices(path: Path, edges: Edges, receiver: NDArray[np.int32]) -> dict[str, list[int]]:
    """Write edges sorted by receiver; return {receiver: [batch, edges]}, for the task's record."""
    order = np.argsort(receiver, kind="stable")
    edges, receiver = edges.take(order), receiver[order]
    starts = np.flatnonzero(np.diff(receiver, prepend=receiver[:1] - 1))
    slices = {
        int(receiver[start]): pa.record_batch([column[start:stop] for column in edges], schema=INDEXED_EDGES.schema)
        for start, stop in zip(starts, np.append(starts, receiver.size)[1:], strict=True)
    }
    return write_slices(path, INDEXED_EDGES.schema, slices)


def slices_for(part: int, records: Sequence[TaskRecord[Any]], role: str) -> list[list[Any]]:
    """Return [file, batch] of every slice with a role that is addressed to a part, in task order."""
    found = []
    for record in records:
        where = record.result[f"{role}_slices"].get(str(part))
        if where:
            found.append([str(record.file(role)), where[0]])
    return found


def _of_table(file: Path) -> Edges:
    table = pq.read_table(file, columns=INDEXED_EDGES.schema.names, partitioning=None)
    return Edges(*(table.column(name).to_numpy() for name in INDEXED_EDGES.schema.names))
