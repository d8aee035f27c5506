"""Spark: carries tasks, each in a Python worker, alone in its partition, and tables."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager

from pyspark.sql import SparkSession

from pipeline.engine import GraphTables
from pipeline.engines.processes import cpu_seconds_of_trees
from pipeline.engines.spark_jobs import count_slots, describe_jobs, is_connect
from pipeline.engines.spark_tables import Sizes, SparkTables
from pipeline.engines.spark_tasks import run_tasks
from pipeline.tasks import P, R, Task, TaskFunction, TaskRecord


class SparkEngine(SparkTables):
    """Carries tasks and verbs with a session that somebody else made and stops.

    Parameters
    ----------
    session : also one of Spark Connect.
    slots : tasks that run at once; None asks the session.
    """

    name = "spark"

    def __init__(self, session: SparkSession, slots: int | None = None, sizes: Sizes | None = None) -> None:
        super().__init__(session, sizes)
        self._slots = slots
        self._task_cpu_seconds = 0.0

    def open_graph_tables(self) -> GraphTables:
        from pipeline.engines.graphframes import open_graphframes

        return open_graphframes(self._session)

    @property
    def slots(self) -> int:
        """Tasks that run at once, at this moment: executors come and go."""
        return self._slots or count_slots(self._session)

    @property
    def spans_machines(self) -> bool:
        """Whether executors may be on other machines."""
        return not str(self._session.conf.get("spark.master", "")).startswith("local")

    def describe_jobs(self, description: str) -> AbstractContextManager[None]:
        return describe_jobs(self._session, description)

    def map_tasks(self, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
        records = run_tasks(self._session, function, tasks) if tasks else []
        self._task_cpu_seconds += sum(record.cpu_seconds for record in records)
        return records

    def cpu_seconds(self) -> float:
        """CPU seconds of this process, of the driver's JVM, and of the workers.

        Workers that aren't children of these are counted by the records of their tasks: what Spark itself does on the
        executors of a cluster is left out, and with Spark Connect all that its server does.
        """
        if is_connect(self._session):
            return cpu_seconds_of_trees([os.getpid()]) + self._task_cpu_seconds
        jvm = self._session.sparkContext._jvm
        assert jvm is not None  # a running session has one
        driver_seconds = cpu_seconds_of_trees([os.getpid(), jvm.java.lang.ProcessHandle.current().pid()])
        return driver_seconds + self._task_cpu_seconds if self.spans_machines else driver_seconds
