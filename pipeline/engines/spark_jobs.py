"""What Spark shows of its jobs, and where it puts their rows, on every kind of session and version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

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

    Spark Connect shows it among the tags of a job, which have no commas.
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
    context.setLocalProperty(_DESCRIPTION, description)
    try:
        yield
    finally:
        context.setLocalProperty(_DESCRIPTION, before)


def explain_failure(error: Exception, names: Sequence[str]) -> TaskError:
    """Return why Spark gave up a job; ``names`` are those of the tasks of its last stage, if they are known."""
    text = str(error)
    if unexpected := _UNEXPECTED.search(text):
        return TaskError(unexpected.group(1))
    failed = _FAILED_TASK.search(text)
    name = names[int(failed.group(1))] if failed and int(failed.group(1)) < len(names) else "(unknown)"
    return TaskError(
        f"task {name} was given up by Spark: {text.splitlines()[0]}. A worker that vanishes was most likely "
        "killed for want of memory: raise spark.executor.memoryOverhead, or cut smaller parts "
        "(partition.max_bytes)"
    )
