"""Spark: carries tasks, each in a Python worker, alone in its partition, and tables."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pipeline import errors
from pipeline.engine import GraphTables
from pipeline.engines.processes import cpu_seconds_of_trees
from pipeline.engines.spark_jobs import SPARK_ERRORS, describe_jobs, explain_failure
from pipeline.engines.spark_tables import SparkTables
from pipeline.errors import GraphquiltError, TaskError
from pipeline.tasks import P, R, Task, TaskFunction, TaskRecord, describe_wave, payload_type, result_type

Outcome = tuple[str | None, str, str]  # record; or None, the name of an error, and its message


class SparkEngine(SparkTables):
    """Carries tasks and verbs with a session that somebody else made and stops."""

    name = "spark"

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
        except SPARK_ERRORS as error:
            raise explain_failure(error, [task.name for task in tasks]) from error
        for record, kind, message in outcomes:
            if record is None:
                raise getattr(errors, kind, TaskError)(message)
        result = result_type(function)
        return [TaskRecord.from_json(record, result) for record, _, _ in outcomes if record is not None]

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
