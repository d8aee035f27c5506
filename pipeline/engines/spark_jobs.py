"""What Spark shows of its jobs, where it puts their rows and how many run at once, on every session and version."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  (the name everybody knows)

from pipeline.errors import TaskError

#: What a job that fails raises.
SPARK_ERRORS = (PySparkException, Py4JJavaError)

_UNEXPECTED = re.compile(r"pipeline\.engines\.attempts\.UnexpectedError: (.*)")
_FAILED_TASK = re.compile(r"Task (\d+) in stage")
_DESCRIPTION = "spark.job.description"


def is_connect(session: SparkSession) -> bool:
    """Return whether a session is one of Spark Connect, which has no SparkContext."""
    return not isinstance(session, SparkSession)  # it shares the methods, not the class


@contextmanager
def describe_jobs(session: SparkSession, description: str) -> Iterator[None]:
    """Show a description with the jobs that start inside, in Spark's UI and its event log.

    Inside of another description it stands behind that one, unless it begins alike. Spark Connect shows both among the
    tags of a job, which have no commas.
    """
    if is_connect(session):
        tag = description.replace(",", "")
        session.addTag(tag)
        try:
            yield
        finally:
            session.removeTag(tag)
        return
    context = session.sparkContext
    before: Any = context.getLocalProperty(_DESCRIPTION)  # None, which removes it again, where nothing was set
    is_part = before is not None and not description.startswith(before)
    context.setLocalProperty(_DESCRIPTION, f"{before}: {description}" if is_part else description)
    try:
        yield
    finally:
        context.setLocalProperty(_DESCRIPTION, before)


def explain_failure(error: Exception, names: Sequence[str]) -> TaskError:
    """Return why Spark gave up a job; ``names`` are those of the tasks of its last stage, if they are known."""
    text = str(error)
    if unexpected_error := _UNEXPECTED.search(text):
        return TaskError(unexpected_error.group(1))
    failure = _FAILED_TASK.search(text)
    name = names[int(failure.group(1))] if failure and int(failure.group(1)) < len(names) else "(unknown)"
    return TaskError(
        f"task {name} was given up by Spark: {text.splitlines()[0]}. A worker that vanishes was most likely "
        "killed for want of memory: raise spark.executor.memoryOverhead, or cut smaller parts "
        "(partition.max_bytes)"
    )


def count_slots(session: SparkSession) -> int:
    """Return how many tasks run at once: now, or once Spark has started all executors that it may.

    With Spark Connect, which can't say, it is the number of partitions that Spark makes where nobody asks for any.
    """
    if is_connect(session):
        partition = session.range(2**16).select(F.spark_partition_id().alias("partition"))
        return int(partition.agg(F.max("partition")).collect()[0][0]) + 1
    context: Any = session.sparkContext._jsc.sc()
    profile = context.resourceProfileManager().defaultResourceProfile()
    now = max(1, context.maxNumConcurrentTasks(profile))
    conf = session.sparkContext.getConf()
    most = conf.get("spark.dynamicAllocation.maxExecutors")
    if most is None or conf.get("spark.dynamicAllocation.enabled") != "true":
        return now
    return max(now, int(most) * profile.maxTasksPerExecutor(context.conf()))


def place_by_id(frame: DataFrame, column: str, count: int) -> DataFrame:
    """Return a frame of ``count`` partitions, its rows in the one that an integer column says.

    By id, not by hash: hashing eight ids into eight partitions leaves some of them empty.
    """
    if hasattr(frame, "repartitionById"):  # since Spark 4.1
        return frame.repartitionById(count, column)
    return place_by_hash(frame, column, count)


def place_by_hash(frame: DataFrame, column: str, count: int) -> DataFrame:
    """Do as :func:`place_by_id` where Spark can only hash: for each id, an integer is hashed that belongs there."""
    numbers = F.array(*map(F.lit, _numbers_hashed_to(frame.sparkSession, count)))
    return frame.repartition(count, F.get(numbers, F.col(column)))


def _numbers_hashed_to(session: SparkSession, count: int) -> list[int]:
    """Return for each partition an integer whose rows Spark puts there."""
    tries = math.ceil(count * (math.log(count) + 4))
    while True:
        rows = session.range(tries).selectExpr("int(id) as number", f"pmod(hash(int(id)), {count}) as partition")
        numbers = {row.partition: row.number for row in rows.collect()}
        if len(numbers) == count:
            return [numbers[partition] for partition in range(count)]
        tries *= 2
