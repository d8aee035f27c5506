"""What the tables ask of a Spark session, in this process: each task runs twice, and pieces arrive in any order."""

from __future__ import annotations

import json
import pickle
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from pipeline.engines import pieces
from pipeline.engines.partition_tasks import PartitionTask
from pipeline.engines.spark_tables import Sizes, SparkTables

Partition = list[pa.RecordBatch]


@dataclass
class Log:
    """What Spark's UI would show."""

    tasks: list[int] = field(default_factory=list)  # of each job, in all of its stages
    buckets: list[list[int]] = field(default_factory=list)  # rows of each bucket, of each shuffle
    kept: int = 0  # frames that are persisted and not released


class CarelessFrame:
    """Partitions that are made when they are collected, and again each time, unless they are persisted."""

    def __init__(self, session: CarelessSession, make: Callable[[], list[Partition]]) -> None:
        self._session, self._make = session, make
        self._held: list[Partition] | None = None
        self._is_persisted = False

    def partitions(self) -> list[Partition]:
        if self._held is not None:
            return self._held
        made = self._make()
        if self._is_persisted:
            self._held = made
        return made

    def mapInArrow(self, task: PartitionTask, columns: str) -> CarelessMap:  # noqa: N802
        return CarelessMap(self._session, [(self, task)])

    def persist(self) -> CarelessFrame:
        self._session.check_settings()
        self._is_persisted = True
        self._session.log.kept += 1
        return self

    def unpersist(self) -> None:
        self._is_persisted, self._held = False, None
        self._session.log.kept -= 1

    def repartitionById(self, buckets: int, column: str) -> CarelessFrame:  # noqa: N802
        def shuffle() -> list[Partition]:
            rows = [row for partition in self.partitions() for batch in partition for row in batch.to_pylist()]
            self._session.random.shuffle(rows)
            placed: dict[int, list[Any]] = defaultdict(list)
            for row in rows:
                assert 0 <= row[column] < buckets
                placed[row[column]].append(row)
            counts = [
                sum(pa.ipc.open_stream(row["payload"]).read_all().num_rows for row in placed[n] if row["source"] >= 0)
                for n in range(buckets)
            ]
            self._session.log.buckets.append(counts)
            return [_batches(placed[bucket]) for bucket in range(buckets)]

        return CarelessFrame(self._session, shuffle)

    def sortWithinPartitions(self, *columns: str) -> CarelessFrame:  # noqa: N802
        def sort() -> list[Partition]:
            rows = [[row for batch in some for row in batch.to_pylist()] for some in self.partitions()]
            return [_batches(sorted(some, key=lambda row: [row[name] for name in columns])) for some in rows]

        return CarelessFrame(self._session, sort)

    def collect(self) -> list[SimpleNamespace]:
        self._session.check_settings()
        self._session.log.tasks.append(0)
        return [SimpleNamespace(**row) for some in self.partitions() for batch in some for row in batch.to_pylist()]


class CarelessMap(CarelessFrame):
    """Tasks over partitions, which are numbered over all that were united."""

    def __init__(self, session: CarelessSession, sides: Sequence[tuple[CarelessFrame, PartitionTask]]) -> None:
        super().__init__(session, self._run)
        self._sides = sides

    def union(self, other: CarelessMap) -> CarelessMap:
        return CarelessMap(self._session, [*self._sides, *other._sides])

    def _run(self) -> list[Partition]:
        todo = [(some, task) for frame, task in self._sides for some in frame.partitions()]
        made: dict[int, Partition] = {}
        for number in self._session.random.sample(range(len(todo)), len(todo)):
            rows, task = todo[number]
            once = list(task.run(iter(rows), number))
            made[number] = list(task.run(iter(rows), number))
            assert _without_attempts(once) == _without_attempts(made[number])
        self._session.log.tasks[-1] += len(todo)
        return [made[number] for number in range(len(todo))]


class CarelessSession:
    """Makes ranges, and has settings of its user's."""

    def __init__(self) -> None:
        self.log, self.random = Log(), random.Random(7)
        self.settings = {"spark.sql.adaptive.enabled": "the user's"}
        settings = self.settings
        self.conf: Any = SimpleNamespace(get=settings.get, set=settings.__setitem__, unset=settings.__delitem__)

    def check_settings(self) -> None:
        """Spark plans rows, and the batches that tasks are handed, when they are collected or persisted."""
        assert int(self.settings["spark.sql.execution.arrow.maxRecordsPerBatch"]) * pieces.PIECE_BYTES <= 256 * 2**20

    def addTag(self, tag: str) -> None:  # noqa: N802
        """As on Spark Connect."""

    removeTag = addTag  # noqa: N815

    def range(self, first: int, stop: int, step: int, partitions: int) -> CarelessFrame:
        assert (first, step, stop) == (0, 1, partitions)
        numbers = [[pa.record_batch({"id": pa.array([number])})] for number in range(stop)]
        return CarelessFrame(self, lambda: numbers)


class CarelessTables(SparkTables):
    """The verbs over such a session."""

    def __init__(self, sizes: Sizes) -> None:
        self.session = CarelessSession()
        super().__init__(self.session, sizes)  # type: ignore[arg-type]

    @property
    def log(self) -> Log:
        return self.session.log


def run_here(pickled: bytes) -> PartitionTask:
    """Stands for what a worker does before it runs its task."""
    task: PartitionTask
    task, _ = pickle.loads(pickled)
    return task


def _batches(rows: Sequence[Any]) -> Partition:
    """A few rows a batch."""
    return [pa.RecordBatch.from_pylist(list(rows[at : at + 3]), schema=_SCHEMA) for at in range(0, len(rows), 3)]


def _without_attempts(batches: Partition) -> list[Any]:
    """Rows, but of records only the checksums of files, since two attempts have two names; and of errors the class."""

    def payload(text: bytes) -> Any:
        if text[:1] == b"{":
            return [file["checksum"] for file in json.loads(text)["files"]]
        return json.loads(text)[0] if text[:1] == b"[" else text

    return [
        (row["bucket"], row["source"], row["number"], payload(row["payload"]))
        for batch in batches
        for row in batch.to_pylist()
    ]


_SCHEMA = pa.schema([("bucket", pa.int32()), ("source", pa.int32()), ("number", pa.int32()), ("payload", pa.binary())])
