"""Pieces on RDDs: the few methods that tables ask of a session and its DataFrames, in the same words.

Spark hands rows of an RDD on as bytes. A DataFrame's plan, Arrow streams and sort take several times the CPU time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark import RDD, SparkContext, StorageLevel

from pipeline.engines.pieces import Piece, batch_of, pieces_of

#: What a task does with a partition's batches.
BatchFunction = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class PieceRdd:
    """Rows in partitions: integers of a range, or pieces."""

    context: SparkContext
    rdd: RDD[Any]

    @classmethod
    def range(cls, context: SparkContext, count: int) -> PieceRdd:
        """Return the integers below a count, each in a partition of its own."""
        return cls(context, context.parallelize(range(count), count))

    def mapInArrow(self, function: BatchFunction, columns: str) -> PieceRdd:  # noqa: N802
        """Return the pieces that a function makes of a partition's batches."""
        return self._then(partial(_run_on_batches, function=function))

    def union(self, other: PieceRdd) -> PieceRdd:
        """Return all partitions of both."""
        return PieceRdd(self.context, self.context.union([self.rdd, other.rdd]))

    def repartitionById(self, count: int, column: str) -> PieceRdd:  # noqa: N802
        """Return partitions by a column of pieces, which is the bucket."""
        if column != Piece._fields[0]:
            raise ValueError(f"rows are placed by {Piece._fields[0]}, not by {column}")
        by_bucket = self.rdd.map(_by_bucket).partitionBy(count, int).values()
        return PieceRdd(self.context, by_bucket)

    def sortWithinPartitions(self, *columns: str) -> PieceRdd:  # noqa: N802
        """Return the pieces of each partition in order: a task holds all of them, as they were packed."""
        return self._then(partial(_sort, places=[Piece._fields.index(name) for name in columns]))

    def persist(self) -> PieceRdd:
        """Keep rows once they are made, until they are released."""
        return PieceRdd(self.context, self.rdd.persist(StorageLevel.MEMORY_AND_DISK))

    def unpersist(self) -> None:
        """Release the rows."""
        self.rdd.unpersist()

    def collect(self) -> list[Piece]:
        """Return all pieces, in the order of partitions."""
        return [Piece(*row) for row in self.rdd.collect()]

    def _then(self, function: Callable[[Iterable[Any]], Iterable[Any]]) -> PieceRdd:
        return PieceRdd(self.context, self.rdd.mapPartitions(function))


def _run_on_batches(rows: Iterable[Any], function: BatchFunction) -> Iterator[tuple[Any, ...]]:
    for batch in function(_batches(rows)):
        yield from pieces_of(batch)


def _batches(rows: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    for row in rows:
        yield pa.record_batch({"id": [row]}) if isinstance(row, int) else batch_of(row)


def _by_bucket(row: tuple[Any, ...]) -> tuple[int, tuple[Any, ...]]:
    return row[0], row


def _sort(rows: Iterable[Any], places: list[int]) -> Iterator[Any]:
    stack = sorted(rows, key=lambda row: [row[place] for place in places], reverse=True)
    while stack:
        yield stack.pop()  # nothing holds it from then on
