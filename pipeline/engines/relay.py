"""The one task of every exchange: rows in from files, verbs over them, rows out to files.

What to do is a plan of JSON values, a tree::

    {"union": [source, ...], "columns": [name, ...], "steps": [[verb, arguments], ...]}

A source is a plan again, or ``{"runs": [[Parquet file, first row, rows], ...]}``, or ``{"slices": [[Arrow file,
batch], ...]}``, or ``{"sorted": [Arrow file, ...], "keys": [name, ...], "first": cut, "stop": cut}``. A cut is null,
for the end, or [number of the file, row]: all rows before that row, in the order of the keys, are on one side.
``look_up`` and ``without`` take the plan of their table.

One attempt at a task writes what every other writes: each verb here keeps an order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.blocks.arrays import read_slice, write_slices
from pipeline.engines import verbs
from pipeline.engines.parquet import ready_to_write, write_files
from pipeline.kernels.buckets import deal, hash_integers, hash_texts
from pipeline.storage import BATCHES
from pipeline.storage.batch_files import BatchFile, batch_writer
from pipeline.tasks import Attempt

Plan = Mapping[str, Any]
SortKey = tuple[tuple[bool, Any], ...]

#: A bucket this many times its share holds a key of many rows: they are added up before they are sent.
_HEAVY = 4
#: Of a batch of a sorted file: what is checked at once.
_SORTED_ROWS = 65_536


def relay(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: do a plan, and write its rows as asked: see the functions ``_write...``."""
    with verbs.overflow_of(payload["for"]):
        return _SINKS[payload["sink"]](lazy(payload["plan"]), payload, attempt)


def lazy(plan: Plan) -> pl.LazyFrame:
    """Return the frame of a plan, to be collected."""
    frame = verbs.union([_source(source) for source in plan["union"]], plan["columns"])
    for verb, arguments in plan["steps"]:
        frame = _STEPS[verb](frame, **arguments)
    return frame


def _source(source: Plan) -> pl.LazyFrame:
    if "union" in source:
        return lazy(source)
    if "runs" in source:
        return pl.concat(
            [
                pl.scan_parquet(file, glob=False, hive_partitioning=False).slice(first, rows)
                for file, first, rows in source["runs"]
            ]
        )
    if "slices" in source:
        tables = [pa.Table.from_batches([read_slice(Path(file), number)]) for file, number in source["slices"]]
    else:
        tables = _between(source)
    return pl.concat([pl.LazyFrame(pl.from_arrow(table)) for table in tables])


def _match(verb: Callable[..., pl.LazyFrame], frame: pl.LazyFrame, table: Plan, **arguments: Any) -> pl.LazyFrame:
    return verb(frame, lazy(table), **arguments, in_order=True)


def _sort(frame: pl.LazyFrame, keys: Sequence[str]) -> pl.LazyFrame:
    return frame.sort(keys, maintain_order=True)


_STEPS: Mapping[str, Callable[..., pl.LazyFrame]] = MappingProxyType(
    {
        "rename": verbs.rename,
        "where_positive": verbs.where_positive,
        "where_equal": verbs.where_equal,
        "where_different": verbs.where_different,
        "sum_by": partial(verbs.sum_by, in_order=True),
        "look_up": partial(_match, verbs.look_up),
        "without": partial(_match, verbs.without),
        "sort": _sort,
    }
)


def _write_slices(frame: pl.LazyFrame, payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Deal the rows out to ``buckets`` by ``keys``, a slice each; ``sum``, if any, says how rows of a key add up."""
    keys, buckets, adding = payload["keys"], int(payload["buckets"]), payload["sum"]
    if adding and payload["keys_repeat"]:
        frame = _STEPS["sum_by"](frame, **adding)
    rows = frame.collect()
    order, starts = deal(_hashes(rows, keys), buckets)
    largest = int(np.diff(starts).max())
    if adding and not payload["keys_repeat"] and largest > _HEAVY * rows.height / buckets:
        rows = _STEPS["sum_by"](rows.lazy(), **adding).collect()
        order, starts = deal(_hashes(rows, keys), buckets)
    dealt = rows.select(pl.all().gather(pl.Series(order))).rechunk()
    slices = {
        bucket: _as_batch(dealt.slice(first, stop - first))
        for bucket, (first, stop) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
        if stop > first
    }
    where = write_slices(attempt.path("slices", BATCHES), _as_batch(dealt.clear()).schema, slices)
    return {"slices": {bucket: [*at, slices[int(bucket)].nbytes] for bucket, at in where.items()}}


def _write_sorted(frame: pl.LazyFrame, payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """One file in the order of ``keys``, to be cut by what it says."""
    schema = _schema(payload)
    rows = _sort(frame.select(schema.names), payload["keys"]).collect()
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    with batch_writer(attempt.path("sorted", BATCHES), table.schema) as writer:
        for batch in table.to_batches(max_chunksize=_SORTED_ROWS):
            writer.write_batch(batch)
    return {"rows": rows.height}


def _write_table(frame: pl.LazyFrame, payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Parquet files of a schema, of ``rows_per_file`` rows."""
    schema = _schema(payload)
    rows = ready_to_write(frame, schema).collect()
    write_files([rows], schema, int(payload["rows_per_file"]), lambda _: attempt.path("table", "parquet"))
    return {"rows": rows.height}


_SINKS: Mapping[str, Callable[[pl.LazyFrame, Mapping[str, Any], Attempt], Mapping[str, Any]]] = MappingProxyType(
    {"slices": _write_slices, "sorted": _write_sorted, "table": _write_table}
)


def _schema(payload: Mapping[str, Any]) -> pa.Schema:
    return pa.schema([pa.field(name, pa.type_for_alias(kind), nullable) for name, kind, nullable in payload["schema"]])


def _as_batch(rows: pl.DataFrame) -> pa.RecordBatch:
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    return table.to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema=table.schema)


def _hashes(rows: pl.DataFrame, keys: Sequence[str]) -> NDArray[np.uint64]:
    """Return a hash of the keys of each row; a null is hashed as 0 or as no text."""
    # Our own: that of Polars may change with its version, and two nodes of a cluster have to agree.
    hashes = np.zeros(rows.height, np.uint64)
    for name in keys:
        column = rows[name]
        if column.dtype == pl.String:
            text = column.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
            _, offsets, data = text.buffers()
            at = (
                np.frombuffer(offsets, np.int64, len(text) + 1, 8 * text.offset) if len(text) else np.zeros(1, np.int64)
            )
            hash_texts(hashes, at, np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8))
        else:
            hash_integers(hashes, column.fill_null(0).cast(pl.Int64).to_numpy())
    return hashes


class SortedFile:
    """A file that :func:`_write_sorted` wrote, mapped: only the pages of rows that are asked for are read."""

    def __init__(self, number: int, file: Path, keys: Sequence[str]) -> None:
        self._file = BatchFile(file, is_mapped=True)
        self.number, self.table = number, pa.Table.from_batches(map(self._file.peek, range(self._file.count)))
        self._keys = [self.table.column(key) for key in keys]

    def rows_between(self, first: int, stop: int) -> pa.Table:
        """Return some rows, checked; keys that were only compared are checked by whose rows they are."""
        for number in range(first // _SORTED_ROWS, -(-stop // _SORTED_ROWS)):
            self._file.read(number)
        return self.table.slice(first, stop - first)

    def key(self, row: int) -> SortKey:
        """Return a row's key, to be compared: nulls first, texts by code point, which is by byte."""
        values = (column[row].as_py() for column in self._keys)
        return tuple((value is not None, value) for value in values)

    def rows_before(self, cut: SortKey, number: int, row: int) -> int:
        """Return how many rows here come before a row of file ``number`` with that key."""
        if number == self.number:
            return row
        # Of equal keys, those of earlier files come first.
        bisect = bisect_left if number < self.number else bisect_right
        return bisect(range(self.table.num_rows), cut, key=self.key)


def _between(source: Plan) -> list[pa.Table]:
    files = [SortedFile(number, Path(file), source["keys"]) for number, file in enumerate(source["sorted"])]
    ends = [[0] * len(files), [file.table.num_rows for file in files]]
    for end, cut in enumerate((source["first"], source["stop"])):
        if cut is not None:
            number, row = cut
            key = files[number].key(row)
            ends[end] = [file.rows_before(key, number, row) for file in files]
    return [file.rows_between(first, stop) for file, first, stop in zip(files, *ends, strict=True)]
