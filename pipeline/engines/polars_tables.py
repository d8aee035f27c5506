"""Tables of the local engine: Polars. The protocol of engines says what each verb does."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import reduce

import polars as pl
import pyarrow as pa

from pipeline import storage
from pipeline.engines import verbs
from pipeline.engines.integer_keys import (
    can_be_array,
    join_keys,
    look_up,
    part_keys,
    sum_in_arrays,
    survey_keys,
)
from pipeline.engines.parquet import ready_to_write, rows_per_file, write_files
from pipeline.engines.verbs import rename, where_different, where_equal, where_positive, without
from pipeline.locations import Location

__all__ = ["look_up", "rename", "where_different", "where_equal", "where_positive", "without"]  # as they are

_BATCH_ROWS = 1_000_000
#: Rows are added up so many at a time. Where keys hardly repeat, a row takes about 130 bytes; where they do, about 36,
#: since Polars keeps what leaves its small first table until all rows are read.
SUMMED_ROWS, REPEATING_ROWS = 32_000_000, 96_000_000


def read(files: Sequence[Location], columns: Sequence[str], schema: pa.Schema) -> pl.LazyFrame:
    for file in files:
        storage.check_sealed(file)
    if not files:
        empty = pl.from_arrow(schema.empty_table())
        return pl.LazyFrame(empty).select(columns)
    return pl.scan_parquet([storage.local_file(file) for file in files], glob=False, hive_partitioning=False).select(
        columns
    )


def union(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    return verbs.union(frames, frames[0].collect_schema().names())


def sum_by(
    frame: pl.LazyFrame,
    keys: Sequence[str],
    sums: Sequence[str],
    newest: Sequence[str] = (),
    *,
    keys_repeat: bool,
    may_overflow: bool = True,
) -> pl.LazyFrame:
    rows, ranges = survey_keys(frame, keys)
    if len(ranges) == 1 and not newest and not may_overflow and can_be_array(ranges[0], rows):
        return sum_in_arrays(frame, keys[0], sums, ranges[0]).lazy()
    compact_frame, compact_keys = join_keys(frame, keys, ranges)
    shares = math.ceil(rows / (REPEATING_ROWS if keys_repeat else SUMMED_ROWS))
    if shares <= 1:
        totals = verbs.sum_by(compact_frame, compact_keys, sums, newest, may_overflow=may_overflow)
        return part_keys(totals, keys, ranges)
    # A union takes one input after the other: the rows are read for each share, and one table is held at a time.
    share = reduce(operator.xor, (pl.col(key).hash(seed) for seed, key in enumerate(compact_keys))) % shares
    parts = [compact_frame.filter(share == number) for number in range(shares)]
    of_parts = [verbs.sum_by(part, compact_keys, sums, newest, may_overflow=may_overflow) for part in parts]
    return part_keys(pl.concat(of_parts), keys, ranges)


def write(frame: pl.LazyFrame, folder: Location, schema: pa.Schema) -> list[Location]:
    return _write(frame, folder, schema, keep_order=False)


def write_sorted(frame: pl.LazyFrame, folder: Location, schema: pa.Schema, keys: Sequence[str]) -> list[Location]:
    return _write(frame.sort(keys), folder, schema, keep_order=True)


def _write(frame: pl.LazyFrame, folder: Location, schema: pa.Schema, *, keep_order: bool) -> list[Location]:
    staging = storage.staging_folder(folder)
    batches = ready_to_write(frame, schema).collect_batches(
        chunk_size=_BATCH_ROWS, maintain_order=keep_order, engine="streaming"
    )
    with verbs.overflow_of(folder):
        files = write_files(
            batches, schema, rows_per_file(schema), lambda number: staging / f"part-{number:05d}.parquet"
        )
    return [storage.seal(file, folder, file.stem) for file in files]
