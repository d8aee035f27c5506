"""What one task of Spark does with rows: opens them, does verbs on them in Polars, and hands them on.

An opener makes frames of what Spark hands to the task; a sink makes of frames what Spark is handed back. Equal input
makes equal output, whenever a task is tried again: rows come in the order of their pieces, and each verb keeps one.
"""

from __future__ import annotations

import itertools
import pickle
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.engines import verbs
from pipeline.engines.attempts import UnexpectedError, attempt, name_errors
from pipeline.engines.parquet import ready_to_write, write_files
from pipeline.engines.pieces import pack_error, pack_payload, pack_pieces, unpack_pieces
from pipeline.errors import GraphquiltError
from pipeline.kernels.buckets import deal, hash_integers, hash_texts
from pipeline.tasks import Attempt, Task

Rows = Iterator[pa.RecordBatch]  # of pipeline.engines.pieces
Step = Callable[[pl.LazyFrame], pl.LazyFrame]
Match = Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]  # of rows and a table
Opener = Callable[[Rows], Iterator[pl.LazyFrame]]
Add = Callable[[pl.DataFrame], pl.DataFrame]
Sink = Callable[[Iterator[pl.DataFrame], int], Rows]
SortKey = tuple[tuple[bool, Any], ...]
Cut = tuple[SortKey, float]  # a key, and what share of its rows comes before

#: A bucket this many times its share holds a key of many rows: they are added up before they are sent.
_HEAVY = 4
#: Keys that a task tells of each of its frames.
SAMPLES = 256
_WEIGHT = "rows that a sample stands for"
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Share:
    """A task over one partition of Spark's."""

    name: str  # of the task, with the partition's number
    opener: Opener
    steps: tuple[Step, ...]
    sink: Sink

    def run(self, rows: Rows, partition: int) -> Rows:
        """Yield what the sink makes of a partition's rows, or the error that is in its way."""
        try:
            with name_errors(f"{self.name}-{partition:05d}"):
                yield from self.sink(map(self._collect, self.opener(rows)), partition)
        except UnexpectedError:
            raise  # Spark tries again, elsewhere if it can
        except GraphquiltError as error:
            yield pack_error(error)

    def _collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        for step in self.steps:
            frame = step(frame)
        return frame.collect()


# Openers.


@dataclass(frozen=True)
class FileRun:
    """Rows of a Parquet file, one after the other."""

    file: Path
    first: int
    rows: int


@dataclass(frozen=True)
class FileRows:
    """Opens some columns of Parquet files; Spark hands over numbers of packs."""

    packs: tuple[tuple[FileRun, ...], ...]
    columns: tuple[str, ...]

    def __call__(self, rows: Rows) -> Iterator[pl.LazyFrame]:
        """Yield the rows of each pack."""
        for batch in rows:
            for number in batch.column(0).to_pylist():
                yield self._scan(self.packs[number])

    def scan(self) -> pl.LazyFrame:
        """Return all rows."""
        return pl.concat([self._scan(pack) for pack in self.packs])

    def _scan(self, pack: Sequence[FileRun]) -> pl.LazyFrame:
        frames = []
        for run in pack:
            storage.check_sealed(run.file)
            rows = pl.scan_parquet(run.file, glob=False, hive_partitioning=False).slice(run.first, run.rows)
            frames.append(rows.select(self.columns))
        return pl.concat(frames)


def open_frames(rows: Rows, most: float) -> Iterator[pl.LazyFrame]:
    """Open pieces in order, several at once up to so many bytes; all of them if that is infinite."""
    yield from map(pl.DataFrame.lazy, _frames((piece.table for piece in unpack_pieces(rows)), most))


def open_sums(rows: Rows, add: Add, most: int) -> Iterator[pl.LazyFrame]:
    """Open a bucket whose rows are added up by key; what is held follows from its keys, and not from its rows."""
    total: pl.DataFrame | None = None
    held: list[pa.Table] = []

    def added() -> pl.DataFrame:
        frames = [_as_frame(held)] if total is None else [total, _as_frame(held)]
        return add(pl.concat(frames))

    size = 0
    for piece in unpack_pieces(rows):
        held.append(piece.table)
        size += piece.table.nbytes
        if size > max(most, 0 if total is None else total.estimated_size()):
            total, held, size = added(), [], 0
    if held:
        total = added()
    if total is not None:
        yield total.lazy()


def open_matches(rows: Rows, match: Match, table_sources: int, most: int, *, all_rows: bool) -> Iterator[pl.LazyFrame]:
    """Open a bucket of a table and of rows that are looked up in it; the table is held, the rows go through.

    The table's pieces are those of the first ``table_sources`` sources. ``all_rows``: without a table, all rows stay.
    """
    pieces = unpack_pieces(rows)
    held: list[pa.Table] = []
    first: list[pa.Table] = []
    for piece in pieces:
        if piece.source >= table_sources:
            first.append(piece.table)
            break
        held.append(piece.table)
    table = _as_frame(held).lazy() if held else None
    for frame in _frames((table for some in (first, (piece.table for piece in pieces)) for table in some), most):
        if table is not None:
            yield match(frame.lazy(), table)
        elif all_rows:
            yield frame.lazy()


# Steps: what verbs does not have.


def select(frame: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    """Keep some columns, in this order."""
    return frame.select(columns)


def sort(frame: pl.LazyFrame, keys: Sequence[str]) -> pl.LazyFrame:
    """Order rows by keys, nulls first; rows of equal keys stay in their order."""
    return frame.sort(keys, maintain_order=True)


def match_files(frame: pl.LazyFrame, match: Match, table: bytes) -> pl.LazyFrame:
    """Match rows with a table that each task reads by itself: ``table`` is what :func:`read_all` takes, pickled."""
    return match(frame, _read_pickled(table).lazy())


@lru_cache(maxsize=2)  # a process that carries several tasks reads it once
def _read_pickled(table: bytes) -> pl.DataFrame:
    return read_all(pickle.loads(table)).collect()


def read_all(parts: Sequence[tuple[FileRows, Sequence[Step]]]) -> pl.LazyFrame:
    """Return the rows of several files, each with the steps that follow."""
    frames = []
    for files, steps in parts:
        frame = files.scan()
        for step in steps:
            frame = step(frame)
        frames.append(frame)
    return pl.concat(frames)


def add_up(
    rows: pl.DataFrame, keys: Sequence[str], sums: Sequence[str], newest: Sequence[str], *, may_overflow: bool
) -> pl.DataFrame:
    """Return one row a key; InputError: a sum is beyond int64."""
    with verbs.overflow_of(", ".join(sums)):
        return verbs.sum_by(rows.lazy(), keys, sums, newest, may_overflow=may_overflow, in_order=True).collect()


# Sinks.


def send_to_sum(
    frames: Iterator[pl.DataFrame], source: int, keys: Sequence[str], buckets: int, add: Add, *, keys_repeat: bool
) -> Rows:
    """Deal rows out to buckets by keys; rows of a key are added up before, where they are many."""

    def dealt() -> Iterator[tuple[int, pa.RecordBatch]]:
        for frame in frames:
            rows = add(frame) if keys_repeat else frame
            order, starts = deal(hashes(rows, keys), buckets)
            if not keys_repeat and int(np.diff(starts).max()) > _HEAVY * rows.height / buckets:
                rows = add(rows)
                order, starts = deal(hashes(rows, keys), buckets)
            yield from _slices(rows, order, starts)

    return pack_pieces(dealt(), source)


def send_to_match(
    frames: Iterator[pl.DataFrame],
    source: int,
    keys: Sequence[str],
    buckets: int,
    heavy: NDArray[np.uint64],
    *,
    is_table: bool,
) -> Rows:
    """Deal rows out to buckets by keys; those of a heavy key to all buckets, where a table's row goes as well.

    ``heavy`` are hashes of keys, ascending.
    """

    def dealt() -> Iterator[tuple[int, pa.RecordBatch]]:
        for rows in frames:
            hashed = hashes(rows, keys)
            places = np.flatnonzero(np.isin(hashed, heavy))
            if is_table:
                for bucket in range(buckets if places.size else 0):
                    yield bucket, _as_batch(rows[places])
                rest = np.delete(np.arange(rows.height), places)
                rows, hashed = (rows[rest], hashed[rest]) if places.size else (rows, hashed)
            else:
                hashed[places] = np.arange(source, source + places.size, dtype=np.uint64) * _GOLDEN
            yield from _slices(rows, *deal(hashed, buckets))

    return pack_pieces(dealt(), source)


def send_to_range(frames: Iterator[pl.DataFrame], source: int, keys: Sequence[str], cuts: Sequence[Cut]) -> Rows:
    """Deal sorted rows out to ranges, which end at cuts."""

    def dealt() -> Iterator[tuple[int, pa.RecordBatch]]:
        for frame in frames:
            batch = _as_batch(frame)
            ends = [0, *_places(frame.select(keys), cuts), frame.height]
            for number, (first, stop) in enumerate(itertools.pairwise(ends)):
                yield number, batch.slice(first, stop - first)

    return pack_pieces(dealt(), source)


def _places(rows: pl.DataFrame, cuts: Sequence[Cut]) -> Iterator[int]:
    """Yield how many rows come before each cut."""

    def key_of(row: int) -> SortKey:
        return sort_key(rows.row(row))

    for key, share in cuts:
        before = bisect_left(range(rows.height), key, key=key_of)
        yield before + int((bisect_right(range(rows.height), key, key=key_of) - before) * share)


def sort_key(values: Iterable[Any]) -> SortKey:
    """Return what Python compares as Polars sorts: nulls first, texts by code point, which is by byte."""
    return tuple((value is not None, value) for value in values)


def send_pieces(frames: Iterator[pl.DataFrame], source: int) -> Rows:
    """Hand over rows as they are."""
    return pack_pieces(((0, _as_batch(frame)) for frame in frames), source)


def send_samples(frames: Iterator[pl.DataFrame], source: int, keys: Sequence[str]) -> Rows:
    """Hand over the keys of some rows at even distances, and for how many rows each stands."""

    def samples() -> Iterator[tuple[int, pa.RecordBatch]]:
        for frame in frames:
            count = min(SAMPLES, frame.height)
            rows = frame.select(keys)[((np.arange(count) + 0.5) * (frame.height / max(count, 1))).astype(np.int64)]
            yield 0, _as_batch(rows.with_columns(pl.lit(frame.height / max(count, 1)).alias(_WEIGHT)))

    return pack_pieces(samples(), source)


def split_weights(samples: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.float64]]:
    """Return the keys of samples, and for how many rows each stands."""
    return samples.drop(_WEIGHT), samples[_WEIGHT].to_numpy()


@dataclass(frozen=True)
class RowsToWrite:
    """Input of the task that writes a partition's rows; Spark hands it these."""

    partition: int


def write_rows(
    frames: Iterator[pl.DataFrame], partition: int, schema: pa.Schema, rows_per_file: int, folder: Path
) -> Rows:
    """Write a partition's rows to Parquet files, and hand over the record of that."""

    def write(_: RowsToWrite, files: Attempt) -> None:
        ready = (ready_to_write(frame.lazy(), schema).collect() for frame in frames)
        write_files(ready, schema, rows_per_file, lambda _: files.path("table", "parquet"))

    task = Task(f"write-{partition:05d}", folder, RowsToWrite(partition))
    yield pack_payload(attempt(write, task).to_json().encode(), partition)


# Arrow, and hashes.


def hashes(rows: pl.DataFrame, keys: Sequence[str]) -> NDArray[np.uint64]:
    """Return a hash of the keys of each row; a null is hashed as 0 or as no text."""
    # Our own: that of Polars may change with its version, and two nodes of a cluster have to agree.
    hashed = np.zeros(rows.height, np.uint64)
    for name in keys:
        column = rows[name]
        if column.dtype == pl.String:
            text = column.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
            _, offsets, data = text.buffers()
            at = (
                np.frombuffer(offsets, np.int64, len(text) + 1, 8 * text.offset) if len(text) else np.zeros(1, np.int64)
            )
            hash_texts(hashed, at, np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8))
        else:
            hash_integers(hashed, column.fill_null(0).cast(pl.Int64).to_numpy())
    return hashed


def _slices(
    rows: pl.DataFrame, order: NDArray[np.uint32], starts: NDArray[np.int64]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    batch = _as_batch(rows.select(pl.all().gather(pl.Series(order))))
    for bucket, first in enumerate(starts[:-1].tolist()):
        yield bucket, batch.slice(first, int(starts[bucket + 1]) - first)


def _as_batch(rows: pl.DataFrame) -> pa.RecordBatch:
    table = rows.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    return table.to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema=table.schema)


def _frames(tables: Iterable[pa.Table], most: float) -> Iterator[pl.DataFrame]:
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        if held and size + table.nbytes > most:
            yield _as_frame(held)
            held, size = [], 0
        held.append(table)
        size += table.nbytes
    if held:
        yield _as_frame(held)


def _as_frame(tables: Sequence[pa.Table]) -> pl.DataFrame:
    frame = pl.from_arrow(pa.concat_tables(tables))
    assert isinstance(frame, pl.DataFrame)
    return frame
