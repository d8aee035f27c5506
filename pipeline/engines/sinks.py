"""How a task of Spark hands its rows on: dealt out to buckets by key, to ranges of an order, or to Parquet files."""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.engines.attempts import attempt
from pipeline.engines.parquet import ready_to_write, write_files
from pipeline.engines.partition_tasks import Add, Rows
from pipeline.engines.pieces import pack_payload, pack_pieces
from pipeline.kernels.buckets import deal, hash_integers, hash_texts
from pipeline.locations import Location
from pipeline.tasks import Attempt, Task

SortKey = tuple[tuple[bool, Any], ...]
Cut = tuple[SortKey, float]  # a key, and what share of its rows comes before

#: A bucket this many times its share holds a key of many rows: they are added up before they are sent.
_HEAVY = 4
#: What a sampled key stands for, unless a frame has few rows: a range of a million rows has 128 keys.
_ROWS_PER_SAMPLE = 8192
_SAMPLES = 32  # of a frame with few rows
#: The column of that in :func:`send_samples`.
WEIGHT = "rows that a sample stands for"
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def send_to_sum(
    frames: Iterator[pl.DataFrame], source: int, keys: Sequence[str], buckets: int, add: Add, *, keys_repeat: bool
) -> Rows:
    """Deal rows out to buckets by keys; rows of a key are added up before, where they are many."""

    def deal_pieces() -> Iterator[tuple[int, pa.Table]]:
        for frame in frames:
            rows = add(frame) if keys_repeat else frame
            order, starts = deal(hashes(rows, keys), buckets)
            if not keys_repeat and int(np.diff(starts).max()) > _HEAVY * rows.height / buckets:
                rows = add(rows)
                order, starts = deal(hashes(rows, keys), buckets)
            yield from _slices(rows, order, starts)

    return pack_pieces(deal_pieces(), source)


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

    def deal_pieces() -> Iterator[tuple[int, pa.Table]]:
        for rows in frames:
            key_hashes = hashes(rows, keys)
            places = np.flatnonzero(np.isin(key_hashes, heavy))
            if is_table and places.size:
                to_all = _as_table(rows[places])
                yield from ((bucket, to_all) for bucket in range(buckets))
                rest = np.delete(np.arange(rows.height), places)
                rows, key_hashes = rows[rest], key_hashes[rest]
            elif places.size:
                key_hashes[places] = np.arange(source, source + places.size, dtype=np.uint64) * _GOLDEN
            yield from _slices(rows, *deal(key_hashes, buckets))

    return pack_pieces(deal_pieces(), source)


def send_to_range(frames: Iterator[pl.DataFrame], source: int, keys: Sequence[str], cuts: Sequence[Cut]) -> Rows:
    """Deal sorted rows out to ranges, which end at cuts; without one, all rows are a range."""

    def deal_pieces() -> Iterator[tuple[int, pa.Table]]:
        for frame in frames:
            table = _as_table(frame)
            ends = [0, *_places(frame.select(keys), cuts), frame.height]
            for number, (first, stop) in enumerate(itertools.pairwise(ends)):
                yield number, table.slice(first, stop - first)

    return pack_pieces(deal_pieces(), source)


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


def send_samples(frames: Iterator[pl.DataFrame], source: int, keys: Sequence[str]) -> Rows:
    """Hand over the keys of some rows at even distances, and for how many rows each stands."""

    def samples() -> Iterator[tuple[int, pa.Table]]:
        for frame in frames:
            count = min(max(_SAMPLES, frame.height // _ROWS_PER_SAMPLE), frame.height)
            rows = frame.select(keys)[((np.arange(count) + 0.5) * (frame.height / max(count, 1))).astype(np.int64)]
            yield 0, _as_table(rows.with_columns(pl.lit(frame.height / max(count, 1)).alias(WEIGHT)))

    return pack_pieces(samples(), source)


def write_rows(
    frames: Iterator[pl.DataFrame], partition: int, schema: pa.Schema, rows_per_file: int, folder: Location
) -> Rows:
    """Write a partition's rows to Parquet files, and hand over the record of that."""

    def write(_: None, files: Attempt) -> None:
        ready = (ready_to_write(frame.lazy(), schema).collect() for frame in frames)
        write_files(ready, schema, rows_per_file, lambda _: files.path("table", "parquet"))

    yield pack_payload(attempt(write, Task(f"write-{partition:05d}", folder, None)).to_json().encode(), partition)


def hashes(rows: pl.DataFrame, keys: Sequence[str]) -> NDArray[np.uint64]:
    """Return a hash of the keys of each row; a null is hashed as 0 or as no text."""
    # Our own: that of Polars may change with its version, and two nodes of a cluster have to agree.
    row_hashes = np.zeros(rows.height, np.uint64)
    for name in keys:
        column = rows[name]
        if column.dtype == pl.String:
            text = column.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
            _, offsets, data = text.buffers()
            at = (
                np.frombuffer(offsets, np.int64, len(text) + 1, 8 * text.offset) if len(text) else np.zeros(1, np.int64)
            )
            hash_texts(row_hashes, at, np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8))
        else:
            hash_integers(row_hashes, column.fill_null(0).cast(pl.Int64).to_numpy())
    return row_hashes


def _slices(rows: pl.DataFrame, order: NDArray[np.uint32], starts: NDArray[np.int64]) -> Iterator[tuple[int, pa.Table]]:
    table = _as_table(rows.select(pl.all().gather(pl.Series(order))))
    for bucket, first in enumerate(starts[:-1].tolist()):
        yield bucket, table.slice(first, int(starts[bucket + 1]) - first)


def _as_table(rows: pl.DataFrame) -> pa.Table:
    return rows.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
