"""What Spark shows of its jobs, and where it puts their rows, on every kind of session and version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import SparkSession

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
