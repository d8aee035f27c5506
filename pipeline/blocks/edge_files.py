"""Edges between the tasks of the layout: read from tables or from what other tasks sent, and sent on by receiver."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.sent_rows import FileBatch, write_by_receiver
from pipeline.locations import Location
from schemas.tables import JOINED_EDGES

#: Decoded at once: they stay in the cache until they are copied.
_ROWS_AT_ONCE = 65_536


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

    def send(
        self, file: Path, receiver: NDArray[np.int32], index: NDArray[np.int64] | None = None
    ) -> dict[str, list[int]]:
        """Write edges by receiver, all of them or those of an ``index``; return what ``write_by_receiver`` does."""
        return write_by_receiver(file, receiver, dict(zip(JOINED_EDGES.schema.names, self, strict=True)), index)


@dataclass(frozen=True)
class EdgeFiles:
    """Where edges are: Parquet files of ``indexed_edges``, and batches that other tasks sent."""

    tables: tuple[Location, ...] = ()
    batches: tuple[FileBatch, ...] = ()

    def read(self) -> Edges:
        """Read all edges, those of the tables first. A weight that all have takes the room of one."""
        names = JOINED_EDGES.schema.names
        batches = [batch.read() for batch in self.batches]
        rows = storage.rows_in(self.tables) + sum(batch.num_rows for batch in batches)
        src, dst, weight, row = np.empty(rows, np.int64), np.empty(rows, np.int64), _OneOrAll(rows), 0
        for batch in itertools.chain(storage.read_batches(self.tables, names, _ROWS_AT_ONCE), batches):
            rows_of_batch = slice(row, row + batch.num_rows)
            src[rows_of_batch], dst[rows_of_batch], weights = (batch.column(name).to_numpy() for name in names)
            weight.put(row, weights)
            row = rows_of_batch.stop
        return Edges(src, dst, weight.all())


class _OneOrAll:
    """A column that is written from its start on, and takes the room of one value until there are two."""

    def __init__(self, rows: int) -> None:
        self._values, self._is_one = np.empty(rows, np.int64), True  # memory is taken where it is written

    def put(self, row: int, values: NDArray[np.int64]) -> None:
        """Write the values from a row on, up to which all are written."""
        if not values.size:
            return
        if row == 0:
            self._values[0] = values[0]
        if self._is_one and (values != self._values[0]).any():
            self._values[1:row], self._is_one = self._values[0], False
        if not self._is_one:
            self._values[row : row + values.size] = values

    def all(self) -> NDArray[np.int64]:
        """(rows,) int64; of one value a view of it."""
        return np.broadcast_to(self._values[:1], self._values.shape) if self._is_one else self._values
