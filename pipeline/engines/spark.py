"""Spark: DataFrames for tables; each task in a Python worker, alone in its partition."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  (the name everybody knows)

from pipeline import errors, storage
from pipeline.engines.processes import cpu_seconds_of_trees
from pipeline.errors import ConfigError, GraphquiltError, InputError, TaskError
from pipeline.tasks import Task, TaskFunction, TaskRecord

#: Tables below this are copied to every executor, once, instead of shuffling both sides: what fits beside a
#: task anywhere. In bytes of decoded columns; Spark's hash table takes up to four times as much.
BROADCAST_BYTES = 64 * 2**20
BROADCAST_ROWS = 4_000_000

ROWS_PER_FILE = 4_000_000
ROWS_PER_RANGE = 1_000_000

_TYPES: Mapping[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int8(): "tinyint",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
}
_OUTCOME = pa.schema([("ix", pa.int32()), ("record", pa.string()), ("error", pa.string()), ("message", pa.string())])
_OUTCOME_DDL = "ix int, record string, error string, message string"
_UNEXPECTED = re.compile(r"pipeline\.engines\.attempts\.UnexpectedError: (.*)")
_FAILED_TASK = re.compile(r"Task (\d+) in stage")


@dataclass(frozen=True)
class SparkFrame:
    """A DataFrame, and bounds on its size from the footers of the files it comes from."""

    data: DataFrame
    rows: int
    bytes: int  # decoded


class SparkEngine:
    """Carries tasks and verbs with a session that somebody else made and stops.

    Raises
    ------
    ConfigError : if the session lets integer sums wrap.
    """

    name = "spark"

    def __init__(self, session: SparkSession) -> None:
        if session.conf.get("spark.sql.ansi.enabled") != "true":
            raise ConfigError(
                "spark.sql.ansi.enabled is false: sums beyond int64 would wrap in silence. Leave it at true, "
                "Spark's default."
            )
        self._session = session

    @property
    def slots(self) -> int:
        """Tasks that run at once."""
        return self._session.sparkContext.defaultParallelism

    def map_tasks(self, function: TaskFunction, tasks: Sequence[Task]) -> list[TaskRecord]:
        """Run ``function`` once for each task; return their records in task order.

        Spark runs a task again when its worker is lost or on an error that is not one of
        :mod:`pipeline.errors` (``spark.task.maxFailures``). The others finish first: they are committed, and
        are not done again.

        Raises
        ------
        GraphquiltError : as a task raised it.
        TaskError : from Spark's error, once a task has failed too often.
        """
        if not tasks:
            return []
        rows = [(ix, task.to_json()) for ix, task in enumerate(tasks)]
        placed = self._session.createDataFrame(rows, "ix int, task string")
        # By id, not by hash: hashing eight ids into eight partitions leaves some of them empty.
        done = placed.repartitionById(len(rows), F.col("ix")).mapInArrow(_one_row_a_task(function), _OUTCOME_DDL)
        # No orderBy: range partitioning samples its child first, and every task would run twice.
        # No toLocalIterator: even prefetching it keeps two tasks busy, whatever the cluster's size.
        try:
            outcomes = sorted(done.collect(), key=lambda outcome: outcome.ix)
        except (PySparkException, Py4JJavaError) as error:
            raise _task_error(error, tasks) from error
        for outcome in outcomes:
            if outcome.error is not None:
                raise getattr(errors, outcome.error, TaskError)(outcome.message)
        return [TaskRecord.from_json(outcome.record) for outcome in outcomes]

    def read(self, files: Sequence[Path], columns: Sequence[str], schema: pa.Schema) -> SparkFrame:
        """Columns of Parquet files; of no files, an empty frame with the schema's types."""
        ddl = ", ".join(f"`{name}` {_TYPES[schema.field(name).type]}" for name in columns)
        if not files:
            return SparkFrame(self._session.createDataFrame([], ddl), 0, 0)
        # With a schema: without one, Spark starts a job to find it in the footers.
        data = self._session.read.schema(ddl).parquet(*map(_address, files))
        return SparkFrame(data.select(*columns), *_size_of(files, columns))

    def rename(self, frame: SparkFrame, columns: Mapping[str, str], constants: Mapping[str, int | str]) -> SparkFrame:
        """Columns by new name ({new: old}), and constant columns: integers are int64."""
        data = frame.data.select(
            *(F.col(old).alias(new) for new, old in columns.items()),
            *(_literal(value).alias(new) for new, value in constants.items()),
        )
        return SparkFrame(data, frame.rows, frame.bytes + 8 * len(constants) * frame.rows)

    def union(self, frames: Sequence[SparkFrame]) -> SparkFrame:
        """All rows of frames with the same columns."""
        data = frames[0].data
        for frame in frames[1:]:
            data = data.unionByName(frame.data)
        return SparkFrame(data, sum(frame.rows for frame in frames), sum(frame.bytes for frame in frames))

    def sum_by(
        self,
        frame: SparkFrame,
        keys: Sequence[str],
        sums: Sequence[str],
        newest: Sequence[str] = (),
        *,
        keys_repeat: bool,
        may_overflow: bool = True,  # Spark always looks
    ) -> SparkFrame:
        """One row a key: integer sums, and the largest of ``newest``; a sum beyond int64 fails the write."""
        answers = [*(F.sum(name).alias(name) for name in sums), *(F.max(name).alias(name) for name in newest)]
        placed = frame.data.select(*keys, *sums, *newest)
        if not keys_repeat:
            # Shuffled by key first: summing on both sides of the shuffle would hash every row twice for nothing.
            placed = placed.repartition(*keys)
        # Without an answer, what is left is the keys themselves: many rows have the same.
        data = placed.groupBy(*keys).agg(*answers) if answers else placed.distinct()
        return SparkFrame(data, frame.rows, frame.bytes)

    def where_positive(self, frame: SparkFrame, column: str, *, positive: bool) -> SparkFrame:
        """Rows whose integer column is above 0 (``positive``), or is not."""
        condition = F.col(column) > 0 if positive else F.col(column) <= 0
        return SparkFrame(frame.data.where(condition), frame.rows, frame.bytes)

    def where_equal(self, frame: SparkFrame, column: str, value: str) -> SparkFrame:
        """Rows whose column is ``value``."""
        return SparkFrame(frame.data.where(F.col(column) == F.lit(value)), frame.rows, frame.bytes)

    def where_different(self, frame: SparkFrame, left: str, right: str) -> SparkFrame:
        """Rows whose two columns differ."""
        return SparkFrame(frame.data.where(F.col(left) != F.col(right)), frame.rows, frame.bytes)

    def look_up(
        self, frame: SparkFrame, table: SparkFrame, on: Mapping[str, str], take: Mapping[str, str]
    ) -> SparkFrame:
        """Replace key columns by what a table says of them; see :class:`pipeline.engines.base.Engine`."""
        # A taken column may have the name of a key that goes: it gets its name when the key is gone.
        answers = table.data.select(
            *(F.col(theirs).alias(ours) for ours, theirs in on.items()),
            *(F.col(old).alias(f"taken {new}") for new, old in take.items()),
        )
        joined = frame.data.join(_hinted(answers, table), on=list(on), how="inner")
        data = joined.select(
            *(F.col(name) for name in frame.data.columns if name not in on),
            *(F.col(f"`taken {new}`").alias(new) for new in take),
        )
        width = table.bytes // max(table.rows, 1)
        return SparkFrame(data, frame.rows, frame.bytes + frame.rows * width)

    def without(self, frame: SparkFrame, table: SparkFrame, keys: Sequence[str]) -> SparkFrame:
        """Rows of ``frame`` whose keys are not in ``table``."""
        known = _hinted(table.data.select(*keys), table)
        return SparkFrame(frame.data.join(known, on=list(keys), how="left_anti"), frame.rows, frame.bytes)

    def write(self, frame: SparkFrame, folder: Path, schema: pa.Schema) -> list[Path]:
        """Write Parquet files with exactly this schema; a frame without rows gives no files.

        Raises
        ------
        InputError : if a sum of :meth:`sum_by` is beyond int64.
        """
        return _write(frame.data, folder, schema)

    def write_sorted(self, frame: SparkFrame, folder: Path, schema: pa.Schema, keys: Sequence[str]) -> list[Path]:
        """Like :meth:`write`, in ascending order of ``keys`` over the files in the returned order."""
        # Written twice: finding the ranges reads all rows, and would run the whole plan once more.
        unsorted = folder / "_unsorted"
        rows = self.read(_write(frame.data, unsorted, schema), schema.names, schema)
        # By rows, not by slots; a single range needs no finding.
        ranges = max(1, math.ceil(rows.rows / ROWS_PER_RANGE))
        placed = rows.data.repartitionByRange(ranges, *keys).sortWithinPartitions(*keys)
        files = _write(placed, folder, schema)
        storage.remove_tree(unsorted)
        return files

    def cpu_seconds(self) -> float:
        """CPU seconds of this process, of the driver's JVM and of the workers that are their children.

        On a cluster that leaves out the executors: what tasks used is in their records.
        """
        jvm = self._session.sparkContext._jvm
        assert jvm is not None  # a running session has one
        return cpu_seconds_of_trees([os.getpid(), jvm.java.lang.ProcessHandle.current().pid()])


def _one_row_a_task(function: TaskFunction) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pipeline.engines.attempts import ONE_THREAD_WORKER, UnexpectedError, attempt

        os.environ.update(ONE_THREAD_WORKER)
        for batch in batches:  # none at all in an empty partition
            for row in batch.to_pylist():
                outcome = {"ix": row["ix"], "record": None, "error": None, "message": None}
                try:
                    outcome["record"] = attempt(function, Task.from_json(row["task"])).to_json()
                except UnexpectedError:
                    raise  # Spark tries again, elsewhere if it can
                except GraphquiltError as error:
                    # As a row: raised, it would be tried again, and the data would be as bad as before.
                    outcome |= {"error": type(error).__name__, "message": str(error)}
                yield pa.RecordBatch.from_pylist([outcome], schema=_OUTCOME)

    return run


def _task_error(error: Exception, tasks: Sequence[Task]) -> TaskError:
    text = str(error)
    if found := _UNEXPECTED.search(text):
        return TaskError(found.group(1))
    failed = _FAILED_TASK.search(text)
    name = tasks[int(failed.group(1))].name if failed and int(failed.group(1)) < len(tasks) else "(unknown)"
    return TaskError(
        f"task {name} was given up by Spark: {text.splitlines()[0]}. A worker that vanishes was most likely "
        "killed for want of memory: raise spark.executor.memoryOverhead, or cut smaller parts "
        "(partition.max_bytes)"
    )


def _hinted(answers: DataFrame, table: SparkFrame) -> DataFrame:
    if table.bytes <= BROADCAST_BYTES and table.rows <= BROADCAST_ROWS:
        return F.broadcast(answers)
    return answers


def _literal(value: int | str) -> Column:
    return F.lit(value).cast("bigint") if isinstance(value, int) else F.lit(value)


def _address(file: Path) -> str:
    # Spark reads a path as a pattern.
    return "file:" + re.sub(r"([\\{}\[\]*?])", r"\\\1", str(file.absolute()))


def _size_of(files: Sequence[Path], columns: Sequence[str]) -> tuple[int, int]:
    """Return rows and decoded bytes of the columns of Parquet files, from their footers."""
    wanted = set(columns)
    rows = size = 0
    for file in files:
        footer = pq.read_metadata(file)
        rows += footer.num_rows
        for group in range(footer.num_row_groups):
            chunks = footer.row_group(group)
            size += sum(
                chunks.column(ix).total_uncompressed_size
                for ix in range(chunks.num_columns)
                if chunks.column(ix).path_in_schema in wanted
            )
    return rows, size


def _write(data: DataFrame, folder: Path, schema: pa.Schema) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "compression": "snappy",  # native and quick; these tables live for a few nights
        "parquet.enable.dictionary": "false",
        "maxRecordsPerFile": str(ROWS_PER_FILE),
        "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }
    wanted = data.select(*(F.col(field.name).cast(_TYPES[field.type]) for field in schema))
    try:
        wanted.write.mode("append").options(**options).parquet("file:" + str(folder.absolute()))
    except (PySparkException, Py4JJavaError) as error:
        if "ARITHMETIC_OVERFLOW" in str(error):
            raise InputError(
                f"a sum for {folder} is beyond int64; scale the summed column down in the input"
            ) from error
        raise
    for checksum in folder.glob(".*.crc"):
        checksum.unlink()
    # part-<number of the partition>-<uuid>-c<number within it>: by name is by partition.
    written = sorted(folder.glob("part-*.parquet"))
    kept = [file for file in written if pq.read_metadata(file).num_rows]
    for file in set(written).difference(kept):
        file.unlink()
    return kept
