"""The relational verbs on Spark: each task does its share in Polars, and rows meet through Spark's own shuffle.

What needs no meeting is done along the way. Rows that meet by key are dealt out to buckets as Arrow data (see
:mod:`pipeline.engines.pieces`), which Spark brings together, sorts, spills and counts like any other rows.

How many tasks there are follows from the bytes of the data, never from who carries them.
"""

from __future__ import annotations

import math
import pickle
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import TaskContext
from pyspark.sql import SparkSession

from pipeline import storage
from pipeline.engines import integer_keys, openers, partition_tasks, sinks, verbs
from pipeline.engines.attempts import pickle_for_worker
from pipeline.engines.openers import FileRows, FileRun
from pipeline.engines.parquet import ParquetRowGroup, row_groups, rows_per_file
from pipeline.engines.partition_tasks import Opener, PartitionTask, Sink, Step
from pipeline.engines.pieces import COLUMNS, open_payload, raise_error
from pipeline.engines.sinks import Cut
from pipeline.engines.spark_jobs import SPARK_ERRORS, describe_jobs, explain_failure, is_connect, place_by_id
from pipeline.engines.spark_rdds import PieceRdd
from pipeline.errors import DamagedFileError
from pipeline.locations import Location
from pipeline.tasks import TaskRecord, describe_wave

#: A DataFrame or a PieceRdd: either has the methods that are called here.
Rows = Any

#: Of Spark Connect, for the jobs here. A few columns that are handed through pay for no plan that adapts or is
#: compiled.
_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        # Of pieces, or a batch of them would be too large for Arrow.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "256",
        # Else frames of one partition each are united to one, whose tasks count as one source.
        "spark.sql.unionOutputPartitioning": "false",
        # It stands in the environment of Python workers, which otherwise are those of map_tasks: none start for tables.
        "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
    }
)


@dataclass(frozen=True)
class Sizes:
    """Bounds on what a task holds."""

    #: Decoded rows that a task reads; its process grows by about five times as much. A row group is never split.
    bytes: int = 64 * 2**20
    #: A table up to this is read by each task that looks things up in it, instead of bringing rows and table together.
    #: Reading and hashing as much takes about the time of dealing out a task's own rows once for each of two keys.
    table_bytes: int = 128 * 2**20
    table_rows: int = 4_000_000
    #: Of a file; None: see :func:`pipeline.engines.parquet.rows_per_file`.
    rows_per_file: int | None = None
    rows_per_sorted_file: int = 1_000_000


@dataclass(frozen=True)
class FramePart:
    """Partitions of Spark's that are opened alike, and the verbs that follow."""

    rows: Rows
    partitions: int
    opener: Opener
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class SparkFrame:
    """All rows of some parts, which nothing has made yet, with bounds on them."""

    parts: tuple[FramePart, ...]
    rows: int  # at most
    widths: Mapping[str, float]  # decoded bytes of a value, by column, in the order of the columns
    #: A frame that is cheaper to make, and has these rows and perhaps more; columns of one name are the same.
    source: SparkFrame | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self.widths)

    @property
    def bytes(self) -> int:
        """Decoded bytes, at most."""
        return math.ceil(self.rows * sum(self.widths.values()))

    @property
    def partitions(self) -> int:
        """Partitions of all parts."""
        return sum(part.partitions for part in self.parts)

    def then(self, step: Step, widths: Mapping[str, float] | None = None) -> SparkFrame:
        """Return the frame with one more step, which leaves columns of these widths."""
        parts = tuple(replace(part, steps=(*part.steps, step)) for part in self.parts)
        return replace(self, parts=parts, widths=self.widths if widths is None else widths, source=None)

    def select(self, columns: Sequence[str]) -> SparkFrame:
        """Return some columns."""
        return self.then(
            partial(partition_tasks.select, columns=columns), {name: self.widths[name] for name in columns}
        )


class SparkTables:
    """The verbs of :class:`pipeline.engine.Engine` over tables, with a session that somebody else made and stops."""

    def __init__(self, session: SparkSession, sizes: Sizes | None = None) -> None:
        self._session, self.sizes = session, sizes or Sizes()
        self._has_rdds = not is_connect(session)

    def read(self, files: Sequence[Location], columns: Sequence[str], schema: pa.Schema) -> SparkFrame:
        groups = list(row_groups(files, columns))
        packs = tuple(_pack_by_bytes(groups, self.sizes.bytes))
        rows = sum(group.rows for group in groups)
        widths = {name: sum(group.column_bytes[name] for group in groups) / max(rows, 1) for name in columns}
        if not packs:
            return SparkFrame((), 0, widths)
        numbers = self._numbers(len(packs))
        return SparkFrame((FramePart(numbers, len(packs), FileRows(packs, tuple(columns))),), rows, widths)

    def _numbers(self, count: int) -> Rows:
        """Return the integers below a count, each in a partition of its own."""
        if self._has_rdds:
            return PieceRdd.range(self._session.sparkContext, count)
        return self._session.range(0, count, 1, count)

    def rename(self, frame: SparkFrame, columns: Mapping[str, str], constants: Mapping[str, int | str]) -> SparkFrame:
        widths = {new: frame.widths[old] for new, old in columns.items()}
        widths |= {new: 8 if isinstance(value, int) else 16 for new, value in constants.items()}
        return frame.then(partial(verbs.rename, columns=dict(columns), constants=dict(constants)), widths)

    def union(self, frames: Sequence[SparkFrame]) -> SparkFrame:
        columns, rows = frames[0].columns, sum(frame.rows for frame in frames)
        alike = [frame.select(columns) for frame in frames]
        widths = {name: sum(frame.rows * frame.widths[name] for frame in alike) / max(rows, 1) for name in columns}
        return SparkFrame(tuple(part for frame in alike for part in frame.parts), rows, widths)

    def where_positive(self, frame: SparkFrame, column: str, *, positive: bool) -> SparkFrame:
        return frame.then(partial(verbs.where_positive, column=column, positive=positive))

    def where_equal(self, frame: SparkFrame, column: str, value: str) -> SparkFrame:
        return frame.then(partial(verbs.where_equal, column=column, value=value))

    def where_different(self, frame: SparkFrame, left: str, right: str) -> SparkFrame:
        return frame.then(partial(verbs.where_different, left=left, right=right))

    def sum_by(
        self,
        frame: SparkFrame,
        keys: Sequence[str],
        sums: Sequence[str],
        newest: Sequence[str] = (),
        *,
        keys_repeat: bool,
        may_overflow: bool = True,
    ) -> SparkFrame:
        frame = frame.select([*keys, *sums, *newest])
        buckets = math.ceil(frame.bytes / self.sizes.bytes)
        add = partial(partition_tasks.add_up, keys=keys, sums=sums, newest=newest, may_overflow=may_overflow)
        send = partial(sinks.send_to_sum, keys=keys, buckets=buckets, add=add, keys_repeat=keys_repeat)
        return self._meet([(frame, send)], buckets, partial(openers.open_sums, add=add, most=self.sizes.bytes), frame)

    def look_up(
        self, frame: SparkFrame, table: SparkFrame, on: Mapping[str, str], take: Mapping[str, str]
    ) -> SparkFrame:
        widths = {name: width for name, width in frame.widths.items() if name not in on}
        widths |= {new: table.widths[old] for new, old in take.items()}
        match = partial(integer_keys.look_up, on=dict(on), take=dict(take), in_order=True)
        answers = table.select(list(dict.fromkeys([*on.values(), *take.values()])))
        source = frame.source or frame
        rest = [name for name in source.columns if name not in on and name not in take]
        return replace(self._match(frame, answers, on, match, widths), source=source.select(rest))

    def without(self, frame: SparkFrame, table: SparkFrame, keys: Sequence[str]) -> SparkFrame:
        match = partial(verbs.without, keys=list(keys), in_order=True)
        return self._match(frame, table.select(keys), {key: key for key in keys}, match, frame.widths)

    def _match(
        self, frame: SparkFrame, table: SparkFrame, on: Mapping[str, str], match: Any, widths: Mapping[str, float]
    ) -> SparkFrame:
        all_rows = widths is frame.widths  # without: what has no match stays
        if not table.parts:
            return frame if all_rows else SparkFrame((), 0, widths)
        of_files = [(part.opener, part.steps) for part in table.parts if isinstance(part.opener, FileRows)]
        is_small = table.bytes <= self.sizes.table_bytes and table.rows <= self.sizes.table_rows
        if is_small and len(of_files) == len(table.parts):
            return frame.then(partial(openers.match_files, match=match, table=pickle.dumps(of_files)), widths)
        buckets = math.ceil((frame.bytes + table.bytes) / self.sizes.bytes)
        heavy = self._heavy_keys(frame, list(on), buckets)
        send = partial(sinks.send_to_match, buckets=buckets, heavy=heavy)
        opener = partial(
            openers.open_matches, match=match, table_sources=table.partitions, most=self.sizes.bytes, all_rows=all_rows
        )
        return self._meet(
            [
                (table, partial(send, keys=list(on.values()), is_table=True)),
                (frame, partial(send, keys=list(on), is_table=False)),
            ],
            buckets,
            opener,
            SparkFrame((), frame.rows, widths),
        )

    def _meet(
        self, sides: Sequence[tuple[SparkFrame, Sink]], buckets: int, opener: Opener, result: SparkFrame
    ) -> SparkFrame:
        """Return the frame of buckets that an opener opens, once its rows are brought together."""
        pieces = [self._map(part, sink) for frame, sink in sides for part in frame.parts]
        if not pieces:
            return replace(result, parts=())
        # Pieces in order: what comes of them does not depend on which arrives first.
        rows = place_by_id(_union(pieces), "bucket", buckets).sortWithinPartitions("source", "number")
        return replace(result, parts=(FramePart(rows, buckets, opener),))

    def _map(self, part: FramePart, sink: Sink, name: str = "deal") -> Rows:
        task = PartitionTask(name, part.opener, part.steps, sink)
        return part.rows.mapInArrow(_run_task(pickle_for_worker(task)), COLUMNS)

    @contextmanager
    def _persist(self, frame: SparkFrame) -> Iterator[SparkFrame]:
        """Yield a frame whose rows are made once, however often they are read in this context."""
        with self._settings():  # Spark plans what is persisted at once
            send = partial(sinks.send_to_range, keys=(), cuts=())
            pieces = _union([self._map(part, send) for part in frame.parts]).persist()
        try:
            opener = partial(openers.open_frames, most=0)
            yield replace(frame, parts=(FramePart(pieces, frame.partitions, opener),))
        finally:
            pieces.unpersist()

    def _samples(
        self, frame: SparkFrame, keys: Sequence[str], description: str
    ) -> tuple[pl.DataFrame, NDArray[np.float64]]:
        """Return keys of a frame, and for how many rows each stands."""
        samples = [self._map(part, partial(sinks.send_samples, keys=keys)) for part in frame.select(keys).parts]
        payloads = self._collect(_union(samples), description)
        tables = [pl.DataFrame(open_payload(payload)) for payload in payloads]
        rows = pl.concat(tables or [pl.DataFrame({sinks.WEIGHT: []})])
        return rows.drop(sinks.WEIGHT), rows[sinks.WEIGHT].to_numpy()

    def _heavy_keys(self, frame: SparkFrame, keys: Sequence[str], buckets: int) -> NDArray[np.uint64]:
        """Return hashes of keys that have more rows than a bucket should, ascending."""
        if not frame.parts or buckets == 1:
            return np.empty(0, np.uint64)
        source = frame.source if frame.source and set(keys) <= set(frame.source.columns) else frame
        samples, weights = self._samples(source, keys, f"sample of {', '.join(keys)}")
        if not weights.size:
            return np.empty(0, np.uint64)
        key_hashes, places = np.unique(sinks.hashes(samples, keys), return_inverse=True)
        return key_hashes[np.bincount(places, weights, key_hashes.size) * sum(frame.widths.values()) > self.sizes.bytes]

    def write(self, frame: SparkFrame, folder: Location, schema: pa.Schema) -> list[Location]:
        rows = self.sizes.rows_per_file or rows_per_file(schema)
        return self._write(frame.select(schema.names), folder, schema, rows)

    def write_sorted(
        self, frame: SparkFrame, folder: Location, schema: pa.Schema, keys: Sequence[str]
    ) -> list[Location]:
        """Sorted pieces first; then ranges of them, whose ends follow from samples."""
        frame = frame.select(schema.names).then(partial(partition_tasks.sort, keys=keys))
        if frame.bytes <= self.sizes.bytes or not frame.parts:
            return self._write_ranges(frame, folder, schema, keys, ())
        with self._persist(frame) as persistent_frame:
            samples, weights = self._samples(persistent_frame, keys, describe_wave(folder, ["sample"]))
            ranges = max(
                math.ceil(weights.sum() / self.sizes.rows_per_sorted_file),
                math.ceil(weights.sum() * sum(frame.widths.values()) / self.sizes.bytes),
            )
            return self._write_ranges(persistent_frame, folder, schema, keys, _cuts(samples, weights, ranges))

    def _write_ranges(
        self, frame: SparkFrame, folder: Location, schema: pa.Schema, keys: Sequence[str], cuts: Sequence[Cut]
    ) -> list[Location]:
        send = partial(sinks.send_to_range, keys=keys, cuts=cuts)
        ranges = self._meet([(frame, send)], len(cuts) + 1, partial(openers.open_frames, most=math.inf), frame)
        in_order = ranges.then(partial(partition_tasks.sort, keys=keys))
        return self._write(in_order, folder, schema, self.sizes.rows_per_sorted_file)

    def _write(self, frame: SparkFrame, folder: Location, schema: pa.Schema, rows: int) -> list[Location]:
        tasks = folder / "_tasks"
        records: list[TaskRecord[None]] = []
        if frame.parts:
            sink = partial(sinks.write_rows, schema=schema, rows_per_file=rows, folder=tasks)
            answers = _union([self._map(part, sink, "write") for part in frame.parts])
            records = [
                TaskRecord.from_json(text.decode(), type(None))
                for text in self._collect(answers, describe_wave(folder, ["write"]))
            ]
        files = [file for record in sorted(records, key=lambda record: record.task) for file in record.paths("table")]
        targets = [folder / f"part-{number:05d}{''.join(file.suffixes)}" for number, file in enumerate(files)]
        for file, path in zip(files, targets, strict=True):
            if storage.size(file) is None:
                raise DamagedFileError(f"{file} is missing")
            storage.copy(file, path)
        storage.remove_tree(tasks)
        return targets

    def _collect(self, rows: Rows, description: str) -> list[bytes]:
        """Run a job; return the payloads of its rows, or raise the first error that stopped a task."""
        try:
            with self._settings(), describe_jobs(self._session, description):
                answers = rows.collect()
        except SPARK_ERRORS as error:
            raise explain_failure(error, ()) from error
        for row in answers:
            raise_error(row.source, row.payload)
        return [bytes(row.payload) for row in answers]

    @contextmanager
    def _settings(self) -> Iterator[None]:
        if self._has_rdds:
            yield
            return
        conf = self._session.conf
        before = {name: conf.get(name, None) for name in _SETTINGS}
        try:
            for name, value in _SETTINGS.items():
                conf.set(name, value)
            yield
        finally:
            for name, old in before.items():
                conf.unset(name) if old is None else conf.set(name, old)


def _run_task(data: bytes) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # Here, and by value: this module loads Polars, which counts its threads then.
        from pipeline.engines.attempts import unpickle_on_worker

        task: PartitionTask = unpickle_on_worker(data)
        context = TaskContext.get()
        assert context is not None
        yield from task.run(iter(rows), context.partitionId())

    return run


def _union(rows: Sequence[Rows]) -> Rows:
    return reduce(lambda left, right: left.union(right), rows)


def _cuts(samples: pl.DataFrame, weights: NDArray[np.float64], ranges: int) -> list[Cut]:
    """Return where ranges of about as many rows end."""
    rows = sorted(zip(map(sinks.sort_key, samples.rows()), weights, strict=True))
    keys = [key for key, _ in rows]
    below = np.cumsum([0.0, *(weight for _, weight in rows)])
    cuts = []
    for target in below[-1] * np.arange(1, ranges) / ranges:
        key = keys[int(np.searchsorted(below[1:], target))]
        first, stop = below[bisect_left(keys, key)], below[bisect_right(keys, key)]
        cuts.append((key, float((target - first) / (stop - first))))
    return cuts


def _pack_by_bytes(groups: Iterable[ParquetRowGroup], most: int) -> Iterator[tuple[FileRun, ...]]:
    """Yield neighbours up to so many bytes together, those of a file as one run."""
    runs: list[FileRun] = []
    size = 0
    for group in groups:
        if runs and size + group.bytes > most:
            yield tuple(runs)
            runs, size = [], 0
        size += group.bytes
        if runs and runs[-1].file == group.file:
            runs[-1] = replace(runs[-1], rows=runs[-1].rows + group.rows)
        else:
            runs.append(FileRun(group.file, group.first, group.rows))
    if runs:
        yield tuple(runs)
