"""GraphFrames on a Spark session: connected components and label propagation, where its package and jar are.

Written for graphframes-py 0.9 to 0.12. Its answers go from Spark to Parquet files; nothing is collected.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  (the name everybody knows)

from pipeline import storage
from pipeline.engine import GRAPHFRAMES_HOW_TO
from pipeline.errors import DamagedFileError, first_line

log = logging.getLogger(__name__)

#: Label propagation seldom changes much after five rounds, and GraphX keeps what every round needs in memory.
_ROUNDS = 5
_ANSWER = "done.json"


def open_graphframes(session: SparkSession) -> GraphFramesTables | None:
    """Return GraphFrames on a session; where it is not, say once what is missing and return None."""
    reason = what_is_missing(session)
    if reason is None:
        return GraphFramesTables(session)
    log.info("engine=spark graphframes=missing components=own reason=%r advice=%r", reason, GRAPHFRAMES_HOW_TO)
    return None


def what_is_missing(session: SparkSession) -> str | None:
    """Say what keeps GraphFrames from running on a session; None if nothing does."""
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


def _earlier_answer(folder: Path) -> list[Path]:
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

    def components(self, edges: Sequence[Path], nodes: int, folder: Path) -> list[Path]:
        """Write ``id`` and ``component`` of all nodes, by the default algorithm."""
        return self._answer(edges, nodes, folder, "component", lambda graph: graph.connectedComponents())

    def label_propagation(self, edges: Sequence[Path], nodes: int, folder: Path) -> list[Path]:
        """Write ``id`` and ``label`` of all nodes, by the GraphX form: the other one leaves some without a label."""
        return self._answer(
            edges, nodes, folder, "label", lambda graph: graph.labelPropagation(maxIter=_ROUNDS, algorithm="graphx")
        )

    def _answer(
        self, edges: Sequence[Path], nodes: int, folder: Path, column: str, ask: Callable[[Any], DataFrame]
    ) -> list[Path]:
        if files := _earlier_answer(folder):
            return files
        from graphframes import GraphFrame

        storage.remove_tree(folder)  # of a run that was killed
        folder.mkdir(parents=True)
        ends = self._session.read.parquet(*("file:" + str(file.absolute()) for file in edges))
        vertices = self._session.range(nodes).select("id")
        graph = GraphFrame(vertices, ends.select(F.col("src_ix").alias("src"), F.col("dst_ix").alias("dst")))
        with self._checkpoints(folder / "checkpoints"), self._nothing_left_persisted():
            answer = ask(graph)
            labels = answer.select("id", F.col(column).cast("bigint").alias(column))
            labels.write.mode("append").parquet("file:" + str(folder.absolute()))
            answer.unpersist(True)
        for leftover in (*folder.glob(".*.crc"), *folder.glob("_SUCCESS")):
            leftover.unlink()
        parts = sorted(folder.glob("part-*.parquet"))
        files = [storage.seal(file, f"part-{number:05d}") for number, file in enumerate(parts)]
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
