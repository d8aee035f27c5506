"""What every engine can do: carry tasks, and a few relational verbs over clean, typed tables."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

from pipeline.locations import Location
from pipeline.tasks import P, R, Task, TaskFunction, TaskRecord

Frame = TypeVar("Frame")

#: What to do where GraphFrames is asked for and is missing.
GRAPHFRAMES_HOW_TO = (
    "run with --engine spark, pip install 'graphquilt-pipeline[graphframes]', and set partition.graphframes_jar or "
    "GRAPHFRAMES_JAR to io.graphframes:graphframes-spark4_2.13:VERSION, the version of graphframes-py, or to the "
    "path of the jars; under spark-submit give them as --packages or --jars"
)


class GraphTables(Protocol):
    """Answers about a whole graph that an engine gets from a library of its own, as Parquet files.

    ``edges`` are files with int64 columns ``src_ix``, ``dst_ix``; nodes are 0 to ``nodes - 1``. The files have a
    row for every node, are whole when a verb returns, and are found again if it is asked once more.
    """

    def components(self, edges: Sequence[Location], nodes: int, folder: Path) -> list[Location]:
        """Write ``id`` and ``component``, the same number for all nodes of a connected component."""
        ...

    def label_propagation(self, edges: Sequence[Location], nodes: int, folder: Path) -> list[Location]:
        """Write ``id`` and ``label``, the number of a node; null where there is none."""
        ...


class Engine(Protocol[Frame]):
    """Verbs over tables and tasks. An engine knows files and columns, and no graph algorithm.

    Relational verbs only ever add integers, so their rows do not depend on the engine, the order of rows or
    the number of workers. Frames are lazy where the engine is: nothing runs before a ``write``.
    """

    name: str
    slots: int  # tasks that run at once
    spans_machines: bool  # workers may be elsewhere than this process

    def open_graph_tables(self) -> GraphTables:
        """Return the answers of the engine's own library about graphs.

        Raises
        ------
        ConfigError : the engine has none here; the message says what is missing.
        """
        ...

    def describe_jobs(self, description: str) -> AbstractContextManager[None]:
        """Show a description of what runs inside to whoever watches the engine, such as in Spark's UI."""
        ...

    def map_tasks(self, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
        """Run ``function`` once for each task, anywhere, in any order; return their records in task order.

        Engines may run a task again after a lost worker: only committed files count. An error of
        :mod:`pipeline.errors` is raised as the task raised it, any other as a TaskError.
        """
        ...

    def read(self, files: Sequence[Location], columns: Sequence[str], schema: pa.Schema) -> Frame:
        """Columns of Parquet files. ``schema`` (of the wanted columns) gives the frame of no files at all."""
        ...

    def rename(self, frame: Frame, columns: Mapping[str, str], constants: Mapping[str, int | str]) -> Frame:
        """Columns by new name ({new: old}), and constant columns: integers are int64."""
        ...

    def union(self, frames: Sequence[Frame]) -> Frame:
        """All rows of frames with the same columns."""
        ...

    def sum_by(
        self,
        frame: Frame,
        keys: Sequence[str],
        sums: Sequence[str],
        newest: Sequence[str] = (),
        *,
        keys_repeat: bool,
        may_overflow: bool = True,
    ) -> Frame:
        """One row a key: sums of integers of one sign (an overflow is an error), and the largest of ``newest``.

        ``keys_repeat`` is a hint that most keys have many rows, so that summing before a shuffle pays;
        ``may_overflow`` is False where the caller knows that no sum can leave int64.
        """
        ...

    def where_positive(self, frame: Frame, column: str, *, positive: bool) -> Frame:
        """Rows whose integer column is above 0 (``positive``), or is not."""
        ...

    def where_equal(self, frame: Frame, column: str, value: str) -> Frame:
        """Rows whose column is ``value``."""
        ...

    def where_different(self, frame: Frame, left: str, right: str) -> Frame:
        """Rows whose two columns differ."""
        ...

    def look_up(self, frame: Frame, table: Frame, on: Mapping[str, str], take: Mapping[str, str]) -> Frame:
        """Replace key columns by what a table says of them.

        ``on`` is {column of frame: key column of table}, the keys being unique in ``table``; the frame's key
        columns are dropped and ``take`` = {new column: column of table} is added. Rows without a match are
        dropped: callers look up what they know to be there, and compare counts.
        """
        ...

    def without(self, frame: Frame, table: Frame, keys: Sequence[str]) -> Frame:
        """Rows of ``frame`` whose keys are not in ``table``."""
        ...

    def write(self, frame: Frame, folder: Location, schema: pa.Schema) -> list[Location]:
        """Write Parquet files (any number, any row order, any names) with exactly this schema.

        The files are durable when this returns, under names that say what their bytes are (:func:`storage.seal`);
        the folder is new or empty. InputError: a sum of :meth:`sum_by` is beyond int64.
        """
        ...

    def write_sorted(self, frame: Frame, folder: Location, schema: pa.Schema, keys: Sequence[str]) -> list[Location]:
        """Like ``write``, rows in ascending order of ``keys`` over the files in the returned order.

        Integers in numeric order, strings by their UTF-8 bytes.
        """
        ...

    def cpu_seconds(self) -> float:
        """CPU seconds used so far by this process and the workers it knows."""
        ...
