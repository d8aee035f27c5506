"""Edges between the tasks of the layout: read from tables or from what other tasks sent, and sent on by receiver."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.sent_rows import FileBatch, write_by_receiver
from pipeline.locations import Location
from schemas.tables import JOINED_EDGES, WEIGHT_UNIT

_Ends = TypeVar("_Ends", bound=np.signedinteger)
_Weight = TypeVar("_Weight", np.int64, np.float32)

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

    def for_block(self) -> BlockEdges:
        """Return them as a block needs them."""
        return BlockEdges(self.src, self.dst, _as_floats(self.weight))

    def send(
        self, file: Path, receiver: NDArray[np.int32], index: NDArray[np.int64] | None = None
    ) -> dict[str, list[int]]:
        """Write edges by receiver, all of them or those of an ``index``; return what ``write_by_receiver`` does."""
        return write_by_receiver(file, receiver, dict(zip(JOINED_EDGES.schema.names, self, strict=True)), index)


class BlockEdges(NamedTuple):
    """The same as a block needs them: (edges,) ends of 32 bits where node numbers fit, weights in units of 1."""

    src: NDArray[np.signedinteger]
    dst: NDArray[np.signedinteger]
    weight: NDArray[np.float32]


@dataclass(frozen=True)
class EdgeFiles:
    """Where edges are: Parquet files of ``indexed_edges``, and batches that other tasks sent."""

    tables: tuple[Location, ...] = ()
    batches: tuple[FileBatch, ...] = ()

    def read(self) -> Edges:
        """Read all edges, those of the tables first. A weight that all have takes the room of one."""
        src, dst, weight = self._arrays(np.int64, np.int64)
        for rows, (sources, targets, weights) in self._columns():
            src[rows], dst[rows] = sources, targets
            weight.put(rows.start, weights)
        return Edges(src, dst, weight.all())

    def read_for_block(self, nodes: int) -> BlockEdges:
        """Read them as the block of a graph with so many nodes needs them, which takes half the room."""
        ends: type[np.signedinteger] = np.int32 if nodes < 2**31 else np.int64
        src, dst, weight = self._arrays(ends, np.float32)
        for rows, (sources, targets, weights) in self._columns():
            src[rows], dst[rows] = sources, targets
            weight.put(rows.start, _as_floats(weights))
        return BlockEdges(src, dst, weight.all())

    def _columns(self) -> Iterator[tuple[slice, list[NDArray[np.int64]]]]:
        """Yield some rows after the others: which, and their columns."""
        names, row = JOINED_EDGES.schema.names, 0
        batches = (batch.read() for batch in self.batches)
        for batch in itertools.chain(storage.read_batches(self.tables, names, _ROWS_AT_ONCE), batches):
            yield slice(row, row + batch.num_rows), [batch.column(name).to_numpy() for name in names]
            row += batch.num_rows

    def _arrays(
        self, ends: type[_Ends], weights: type[_Weight]
    ) -> tuple[NDArray[_Ends], NDArray[_Ends], _OneOrAll[_Weight]]:
        """Return the columns of all rows, which nobody has written."""
        rows = storage.rows_in(self.tables) + sum(batch.read().num_rows for batch in self.batches)
        return np.empty(rows, ends), np.empty(rows, ends), _OneOrAll(rows, weights)


def _as_floats(weight: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return weights in units of 1; of one value a view of it, as they come."""
    if weight.size and weight.strides == (0,):
        return np.broadcast_to(_as_floats(weight[:1].copy()), weight.shape)
    return (weight * WEIGHT_UNIT).astype(np.float32)


class _OneOrAll(Generic[_Weight]):
    """A column that is written from its start on, and takes the room of one value until there are two."""

    def __init__(self, rows: int, dtype: type[_Weight]) -> None:
        self._values: NDArray[_Weight] = np.empty(rows, dtype)  # memory is taken where it is written
        self._is_one = True

    def put(self, row: int, values: NDArray[_Weight]) -> None:
        """Write the values from a row on, up to which all are written."""
        if not values.size:
            return
        if row == 0:
            self._values[0] = values[0]
        if self._is_one and (values != self._values[0]).any():
            self._values[1:row], self._is_one = self._values[0], False
        if not self._is_one:
            self._values[row : row + values.size] = values

    def all(self) -> NDArray[_Weight]:
        """(rows,) of all; of one value a view of it."""
        return np.broadcast_to(self._values[:1], self._values.shape) if self._is_one else self._values
