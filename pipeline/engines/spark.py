"""Spark: carries tasks, each in a Python worker, alone in its partition; tables are exchanged by tasks too."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pipeline import errors
from pipeline.engine import GraphTables
from pipeline.engines import exchange
from pipeline.engines import frames as lazy_frames
from pipeline.engines.frames import ExchangeFrame
from pipeline.engines.processes import cpu_seconds_of_trees
from pipeline.engines.spark_jobs import describe_jobs
from pipeline.errors import GraphquiltError, TaskError
from pipeline.tasks import P, R, Task, TaskFunction, TaskRecord, describe_wave, payload_type, result_type

_UNEXPECTED = re.compile(r"pipeline\.engines\.attempts\.UnexpectedError: (.*)")
_FAILED_TASK = re.compile(r"Task (\d+) in stage")

Outcome = tuple[str | None, str, str]  # record; or None, the name of an error, and its message


class SparkEngine:
    """Carries tasks and verbs with a session that somebody else made and stops.

    No row passes through the JVM: see :mod:`pipeline.engines.exchange`.
    """

    name = "spark"

    def __init__(self, session: SparkSession) -> None:
        self._session = session

    def open_graph_tables(self) -> GraphTables:
        from pipeline.engines.graphframes import open_graphframes

        return open_graphframes(self._session)

    @property
    def slots(self) -> int:
        """Tasks that run at once."""
        return self._session.sparkContext.defaultParallelism

    def map_tasks(self, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
        """Run ``function`` once for each task.

        Spark runs a task again when its worker is lost or on an error that is not one of
        :mod:`pipeline.errors` (``spark.task.maxFailures``). The others finish first: they are committed, and
        are not done again.
        """
        if not tasks:
            return []
        # An RDD of one task a partition: a DataFrame's plan, shuffle and Arrow stream cost twice the CPU time a wave,
        # and six seconds the first time.
        placed = self._session.sparkContext.parallelize([task.to_json() for task in tasks], len(tasks))
        try:
            with describe_jobs(self._session, describe_wave(tasks[0].folder, [task.name for task in tasks])):
                outcomes = placed.mapPartitions(_each_task(function)).collect()  # in the order of partitions
        except (PySparkException, Py4JJavaError) as error:
            raise _task_error(error, tasks) from error
        for record, kind, message in outcomes:
            if record is None:
                raise getattr(errors, kind, TaskError)(message)
        result = result_type(function)
        return [TaskRecord.from_json(record, result) for record, _, _ in outcomes if record is not None]

    def read(self, files: Sequence[Path], columns: Sequence[str], schema: pa.Schema) -> ExchangeFrame:
        return lazy_frames.Read(tuple(files), tuple(columns))

    rename = staticmethod(lazy_frames.rename)
    look_up = staticmethod(lazy_frames.look_up)
    without = staticmethod(lazy_frames.without)

    def union(self, frames: Sequence[ExchangeFrame]) -> ExchangeFrame:
        return lazy_frames.Union(tuple(frames))

    def sum_by(
        self,
        frame: ExchangeFrame,
        keys: Sequence[str],
        sums: Sequence[str],
        newest: Sequence[str] = (),
        *,
        keys_repeat: bool,
        may_overflow: bool = True,
    ) -> ExchangeFrame:
        return lazy_frames.Sum(frame, tuple(keys), tuple(sums), tuple(newest), keys_repeat, may_overflow)

    def where_positive(self, frame: ExchangeFrame, column: str, *, positive: bool) -> ExchangeFrame:
        return lazy_frames.where(frame, "where_positive", [column], column=column, positive=positive)

    def where_equal(self, frame: ExchangeFrame, column: str, value: str) -> ExchangeFrame:
        return lazy_frames.where(frame, "where_equal", [column], column=column, value=value)

    def where_different(self, frame: ExchangeFrame, left: str, right: str) -> ExchangeFrame:
        return lazy_frames.where(frame, "where_different", [left, right], left=left, right=right)

    def write(self, frame: ExchangeFrame, folder: Path, schema: pa.Schema) -> list[Path]:
        return exchange.write(self, frame, folder, schema)

    def write_sorted(self, frame: ExchangeFrame, folder: Path, schema: pa.Schema, keys: Sequence[str]) -> list[Path]:
        return exchange.write_sorted(self, frame, folder, schema, keys)

    def cpu_seconds(self) -> float:
        """CPU seconds of this process, of the driver's JVM and of the workers that are their children.

        On a cluster that leaves out the executors: what tasks used is in their records.
        """
        jvm = self._session.sparkContext._jvm
        assert jvm is not None  # a running session has one
        return cpu_seconds_of_trees([os.getpid(), jvm.java.lang.ProcessHandle.current().pid()])


def _each_task(function: TaskFunction[Any, Any]) -> Callable[[Iterable[str]], Iterator[Outcome]]:
    pickled = pickle.dumps(function)

    def run(texts: Iterable[str]) -> Iterator[Outcome]:
        from pipeline.engines.attempts import ONE_THREAD_WORKER, UnexpectedError, attempt

        # Before the function's module, whose libraries count their threads when they are loaded.
        os.environ.update(ONE_THREAD_WORKER)
        unpickled: TaskFunction[Any, Any] = pickle.loads(pickled)
        kind = payload_type(unpickled)
        for text in texts:
            try:
                yield attempt(unpickled, Task.from_json(text, kind)).to_json(), "", ""
            except UnexpectedError:
                raise  # Spark tries again, elsewhere if it can
            except GraphquiltError as error:
                # As a row: raised, it would be tried again, and the data would be as bad as before.
                yield None, type(error).__name__, str(error)

    return run


def _task_error(error: Exception, tasks: Sequence[Task[Any]]) -> TaskError:
    text = str(error)
    if unexpected := _UNEXPECTED.search(text):
        return TaskError(unexpected.group(1))
    failed = _FAILED_TASK.search(text)
    name = tasks[int(failed.group(1))].name if failed and int(failed.group(1)) < len(tasks) else "(unknown)"
    return TaskError(
        f"task {name} was given up by Spark: {text.splitlines()[0]}. A worker that vanishes was most likely "
        "killed for want of memory: raise spark.executor.memoryOverhead, or cut smaller parts "
        "(partition.max_bytes)"
    )
