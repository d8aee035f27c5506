"""GraphFrames on a Spark session: connected components and label propagation, for who asks for them.

Written for graphframes-py 0.9 to 0.12. Its answers go from Spark to Parquet files; nothing is collected.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyspark
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  (the name everybody knows)

from pipeline import storage
from pipeline.engines.spark_jobs import describe_jobs, is_connect
from pipeline.errors import ConfigError, DamagedFileError, GraphquiltError, TaskError, first_line
from pipeline.locations import Location

log = logging.getLogger(__name__)

#: Label propagation seldom changes much after five rounds, and GraphX keeps what every round needs in memory.
_ROUNDS = 5
_ANSWER = "done.json"
#: Of a shuffle. Gowalla's components take minutes with Spark's 200 partitions, and half a minute with 4.
_EDGES_PER_PARTITION = 2**18


def open_graphframes(session: SparkSession) -> GraphFramesTables:
    """Return GraphFrames on a session.

    Raises
    ------
    ConfigError : its package or its jar is missing.
    """
    if reason := what_is_missing(session):
        raise ConfigError(f"GraphFrames is missing: {reason}")
    return GraphFramesTables(session)


def what_is_missing(session: SparkSession) -> str | None:
    """Say what keeps GraphFrames from running on a session; None if nothing does."""
    if is_connect(session):
        return "a session of Spark Connect has no SparkContext, which it needs; start Spark by spark-submit or --conf"
    try:
        import graphframes  # noqa: F401
    except ImportError as error:
        return f"its Python package can't be imported ({error})"
    jvm: Any = session.sparkContext._jvm
    try:
        jvm.Thread.currentThread().getContextClassLoader().loadClass("org.graphframes.GraphFramePythonAPI")
    except Exception as error:  # of py4j, around the JVM's own
        return f"its jar is not on Spark's class path ({first_line(error)})"
    return None


def _earlier_answer(folder: Location) -> list[Location]:
    """Return the files of an earlier run's answer; none if there is none, or it is damaged."""
    try:
        answer = storage.read_checked_json(folder / _ANSWER) or {"files": []}
        files = [folder / name for name in answer["files"]]
        for file in files:
            storage.check_sealed(file)
    except DamagedFileError as error:
        log.warning("warning: %s; GraphFrames is asked again", error)
        return []
    return files


class GraphFramesTables:
    """Answers of GraphFrames about a graph of integer nodes; see :class:`pipeline.engine.GraphTables`.

    Nodes are handed over as a column ``id`` and nothing else, each once: GraphFrames gives duplicate ids back as
    duplicate rows, and a column called ``component`` twice.
    """

    def __init__(self, session: SparkSession) -> None:
        self._session = session

    def components(self, edges: Sequence[Location], nodes: int, folder: Path) -> list[Location]:
        """Write ``id`` and ``component`` of all nodes, by the default algorithm."""
        with _failures_named("connected components", nodes, "partition.components = 'own', which answers the same"):
            return self._answer(edges, nodes, folder, "component", lambda graph: graph.connectedComponents())

    def label_propagation(self, edges: Sequence[Location], nodes: int, folder: Path) -> list[Location]:
        """Write ``id`` and ``label`` of all nodes, by the GraphX form: the other one leaves some without a label."""
        with _failures_named("label propagation", nodes, "partition.top_seed = 'own'"):
            return self._answer(
                edges, nodes, folder, "label", lambda graph: graph.labelPropagation(maxIter=_ROUNDS, algorithm="graphx")
            )

    def _answer(
        self, edges: Sequence[Location], nodes: int, folder: Path, column: str, ask: Callable[[Any], DataFrame]
    ) -> list[Location]:
        if files := _earlier_answer(folder):
            return files
        from graphframes import GraphFrame

        storage.remove_tree(folder)  # of a run that was killed
        folder.mkdir(parents=True)
        partitions = max(1, math.ceil(storage.rows_in(edges) / _EDGES_PER_PARTITION))
        with (
            self._checkpoints(folder / "checkpoints"),
            self._nothing_left_persisted(),
            self._shuffle_partitions(partitions),
            describe_jobs(self._session, f"partition: GraphFrames, {column}s"),
        ):
            ends = self._session.read.parquet(*(f"file:{storage.local_file(file)}" for file in edges))
            vertices = self._session.range(nodes).select("id")
            graph = GraphFrame(vertices, ends.select(F.col("src_ix").alias("src"), F.col("dst_ix").alias("dst")))
            answer = ask(graph)
            labels = answer.select("id", F.col(column).cast("bigint").alias(column))
            labels.write.mode("append").parquet("file:" + str(folder.absolute()))
            answer.unpersist(True)
        for leftover in (*folder.glob(".*.crc"), *folder.glob("_SUCCESS")):
            leftover.unlink()
        parts = sorted(folder.glob("part-*.parquet"))
        files = [storage.seal(file, folder, f"part-{number:05d}") for number, file in enumerate(parts)]
        storage.write_checked_json(folder / _ANSWER, {"files": [file.name for file in files]})
        return files

    @contextlib.contextmanager
    def _checkpoints(self, folder: Path) -> Iterator[None]:
        """Checkpoint into a folder that is gone afterwards: GraphFrames leaves its files there."""
        context = self._session.sparkContext
        before = context.getCheckpointDir()
        context.setCheckpointDir("file:" + str(folder.absolute()))
        try:
            yield
        finally:
            if before is not None:
                context.setCheckpointDir(os.path.dirname(before))  # Spark adds a folder of its own below
            storage.remove_tree(folder)

    @contextlib.contextmanager
    def _shuffle_partitions(self, count: int) -> Iterator[None]:
        """Shuffle into so many partitions, and as before afterwards."""
        conf, key = self._session.conf, "spark.sql.shuffle.partitions"
        before = str(conf.get(key))
        conf.set(key, count)
        try:
            yield
        finally:
            conf.set(key, before)

    @contextlib.contextmanager
    def _nothing_left_persisted(self) -> Iterator[None]:
        """Unpersist what was persisted inside: GraphFrames keeps its results, and what they were made of."""
        java: Any = self._session.sparkContext._jsc
        before = set(java.getPersistentRDDs().keySet())
        try:
            yield
        finally:
            left = java.getPersistentRDDs()
            for number in set(left.keySet()) - before:
                left[number].unpersist(True)


@contextlib.contextmanager
def _failures_named(purpose: str, nodes: int, way_out: str) -> Iterator[None]:
    """Raise what goes wrong in GraphFrames, of whatever type, as an error that names it."""
    try:
        yield
    except GraphquiltError:
        raise
    except Exception as error:
        raise TaskError(
            f"GraphFrames failed at {purpose} of a graph of {nodes:,} nodes: {_cause_of(error)}. Its jar must be of "
            f"the version of graphframes-py and of this Spark ({pyspark.__version__}); or set {way_out}"
        ) from error


def _cause_of(error: Exception) -> str:
    """Return the first line that says what happened: of py4j's errors, that of the innermost exception in the JVM."""
    if not isinstance(error, Py4JJavaError):
        return f"{type(error).__name__}: {first_line(error)}"
    outer, *inner = _JAVA_EXCEPTION.findall(str(error))
    return (inner or [outer])[-1]


#: "An error occurred while calling o204.run." is followed by the exception, its stack, and the causes with theirs.
_JAVA_EXCEPTION = re.compile(r"^(?:: |Caused by: )(.*)$", re.MULTILINE)
