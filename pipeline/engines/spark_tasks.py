"""Tasks on Spark: each in a Python worker, alone in its partition."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql import SparkSession

from pipeline import errors
from pipeline.engines.attempts import pickle_for_worker
from pipeline.engines.spark_jobs import SPARK_ERRORS, describe_jobs, explain_failure, is_connect, place_by_id
from pipeline.errors import GraphquiltError, TaskError
from pipeline.tasks import P, R, Task, TaskFunction, TaskRecord, describe_wave, payload_type, result_type


class TaskOutcome(NamedTuple):
    """What a worker answers: a record, or the name of an error and its message."""

    record: str | None
    kind: str
    message: str


def run_tasks(session: SparkSession, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
    """Run ``function`` once for each task; return their records in task order.

    Spark runs a task again when its worker is lost or on an error that is not one of
    :mod:`pipeline.errors` (``spark.task.maxFailures``). The others finish first: they are committed, and
    are not done again.
    """
    texts, names = [task.to_json() for task in tasks], [task.name for task in tasks]
    run = _run_over_connect if is_connect(session) else _run_as_rdd
    try:
        with describe_jobs(session, describe_wave(tasks[0].folder, names)):
            outcomes = run(session, function, texts)
    except SPARK_ERRORS as error:
        raise explain_failure(error, names) from error
    for outcome in outcomes:
        if outcome.record is None:
            raise getattr(errors, outcome.kind, TaskError)(outcome.message)
    result = result_type(function)
    return [TaskRecord.from_json(outcome.record, result) for outcome in outcomes if outcome.record is not None]


def _run_as_rdd(session: SparkSession, function: TaskFunction[Any, Any], texts: Sequence[str]) -> list[TaskOutcome]:
    """Run tasks as an RDD of one a partition.

    A DataFrame's plan, shuffle and Arrow stream cost twice the CPU time a wave, and six seconds the first time.
    """
    rdd = session.sparkContext.parallelize(texts, len(texts))
    return list(rdd.mapPartitions(_each_task(function)).collect())  # in the order of partitions


def _run_over_connect(
    session: SparkSession, function: TaskFunction[Any, Any], texts: Sequence[str]
) -> list[TaskOutcome]:
    """Run tasks as a DataFrame of one a partition: Spark Connect has no RDDs.

    The answers are sorted here. ``orderBy`` would run every task twice, once for a sample of its order.
    """
    run = _each_task(function)

    def run_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number, text in zip(batch["number"].to_pylist(), batch["task"].to_pylist(), strict=True):
                for record, kind, message in run([text]):
                    columns = {"number": [number], "record": [record], "kind": [kind], "message": [message]}
                    yield pa.RecordBatch.from_pydict(columns, _ANSWER)

    frame = session.createDataFrame(pa.table({"number": pa.array(range(len(texts)), pa.int32()), "task": texts}))
    rows = place_by_id(frame, "number", len(texts)).mapInArrow(run_batches, _ANSWER_COLUMNS).collect()
    rows.sort(key=lambda row: row["number"])
    return [TaskOutcome(row["record"], row["kind"], row["message"]) for row in rows]


_ANSWER_COLUMNS = "number int, record string, kind string, message string"
_ANSWER = pa.schema(
    {"number": pa.int32(), "record": pa.string(), "kind": pa.string(), "message": pa.string()},
)


def _each_task(function: TaskFunction[Any, Any]) -> Callable[[Iterable[str]], Iterator[TaskOutcome]]:
    function_bytes = pickle_for_worker(function)

    def run(texts: Iterable[str]) -> Iterator[TaskOutcome]:
        from pipeline.engines.attempts import UnexpectedError, attempt, unpickle_on_worker

        own_function: TaskFunction[Any, Any] = unpickle_on_worker(function_bytes)
        kind = payload_type(own_function)
        for text in texts:
            try:
                yield TaskOutcome(attempt(own_function, Task.from_json(text, kind)).to_json(), "", "")
            except UnexpectedError:
                raise  # Spark tries again, elsewhere if it can
            except GraphquiltError as error:
                # As a row: raised, it would be tried again, and the data would be as bad as before.
                yield TaskOutcome(None, type(error).__name__, str(error))

    return run
