"""Files of interactions to files of clean rows, by tasks; and all of them with ids of one type."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.ingest.counts import Counts, total
from pipeline.ingest.day_sums import BASE
from pipeline.ingest.held_pairs import HeldPairs
from pipeline.ingest.ids import order_ends
from pipeline.ingest.parse import ParsePayload, parse, rows_schema
from pipeline.ingest.timestamps import DAY_US
from pipeline.locations import Location
from pipeline.tasks import Attempt, TaskFolder, TaskRecord, TaskRunner
from schemas.tables import REJECTED

#: Roles of the files of pairs that a task writes which can add up all rows.
_PAIRS = ("edges", "decayed")


@dataclass(frozen=True)
class FileDays:
    """Days of the rows of a file that count, and how many are late."""

    first: int | None = None
    last: int | None = None
    late: int = 0
    is_in_base: bool = False

    def __add__(self, other: FileDays) -> FileDays:
        firsts, lasts = (self.first, other.first), (self.last, other.last)
        return FileDays(
            min((day for day in firsts if day is not None), default=None),
            max((day for day in lasts if day is not None), default=None),
            self.late + other.late,
            self.is_in_base or other.is_in_base,
        )


@dataclass(frozen=True)
class ParseResult:
    """Counts of a task's rows; of each of its files of clean rows the id type and the day, BASE for all others.

    ``files`` has what a later night needs to know of files of the input, by name, where days have files of their own.
    """

    counts: Counts
    id_types: tuple[str, ...]
    days: tuple[int, ...]
    held_id_type: str = ""  # of pairs that the task has added up
    files: Mapping[str, FileDays] = field(default_factory=dict)


@dataclass(frozen=True)
class TextPayload:
    """Input of the task that rewrites the int64 ids of a file as text."""

    file: Location
    is_undirected: bool


@dataclass(frozen=True)
class RowFile:
    """A file of clean rows, or of pairs, which are rows of more than one event."""

    path: Location
    rows: int
    day: int  # BASE: of all days that have no file of their own
    id_type: str


@dataclass(frozen=True)
class CleanRows:
    """The rows of the input that count, in files of tasks, whose ids are int64 or text."""

    is_undirected: bool
    records: Sequence[TaskRecord[ParseResult]]

    @classmethod
    def read(
        cls, engine: TaskRunner, payloads: Sequence[ParsePayload], folder: Location, *, is_undirected: bool
    ) -> CleanRows:
        """Parse files of the input."""
        return cls(is_undirected, TaskFolder(engine, folder).run_each(parse_files, "parse", payloads))

    @property
    def counts(self) -> Counts:
        """Counts of all tasks together."""
        return total(record.result.counts for record in self.records)

    @property
    def are_pairs(self) -> bool:
        """Whether one task has added up all rows, and wrote edges and decayed pairs."""
        return any(file.role in _PAIRS for record in self.records for file in record.files)

    @property
    def row_files(self) -> Iterator[RowFile]:
        """The files of rows, as the tasks wrote them."""
        for record in self.records:
            for file in record.files:
                if file.role in _PAIRS:
                    yield RowFile(record.folder / file.name, file.rows or 0, BASE, record.result.held_id_type)
            files = [file for file in record.files if file.role == "rows"]
            for file, day, id_type in zip(files, record.result.days, record.result.id_types, strict=True):
                yield RowFile(record.folder / file.name, file.rows or 0, day, id_type)

    def convert_ids(
        self, engine: TaskRunner, folder: Location, id_type: pa.DataType
    ) -> tuple[dict[int, list[Location]], list[TaskRecord[None]]]:
        """Return by day the files of rows whose ids have the run's type, and the records of tasks that rewrote some."""
        files: dict[int, list[Location]] = {}
        numbers: list[RowFile] = []
        for file in self.row_files:
            if file.id_type in ("string", str(id_type)):
                files.setdefault(file.day, []).append(file.path)
            else:
                numbers.append(file)
        payloads = [TextPayload(file.path, self.is_undirected) for file in numbers]
        rewritten = TaskFolder(engine, folder).run_each(write_ids_as_text, "text", payloads)
        for file, record in zip(numbers, rewritten, strict=True):
            files.setdefault(file.day, []).append(record.file("rows"))
        return files, rewritten


def parse_files(payload: ParsePayload, attempt: Attempt) -> ParseResult:
    """Task: clean rows and rejected rows of some files."""
    counts, files = Counts(), dict[str, FileDays]()
    with contextlib.ExitStack() as stack:
        clean = _RowFiles(attempt, payload.rules.is_undirected, stack)
        is_undirected = payload.rules.is_undirected
        pairs = HeldPairs(payload.held_columns, is_undirected=is_undirected) if payload.held_columns else None
        writer = stack.enter_context(storage.parquet_writer(attempt.path("rejected", "parquet"), REJECTED.schema))
        for batch in parse(payload.task, payload.rules):
            counts += batch.counts
            if batch.rejections.num_rows:
                writer.write_batch(batch.rejections)
            if pairs is not None:
                if pairs.takes(batch.rows, counts.weight_total):
                    continue
                for earlier in pairs.release():
                    clean.write(earlier)
                pairs = None
            if payload.own_days is None:
                clean.write(batch.rows)
                continue
            days, groups = _deal(batch.rows, payload.own_days)
            for day, rows in groups:
                clean.write(rows, day)
            files[batch.file] = files.get(batch.file, FileDays()) + FileDays(
                first=int(days.min()) if days.size else None,
                last=int(days.max()) if days.size else None,
                late=batch.counts.late,
                is_in_base=any(day == BASE for day, _ in groups),
            )
        if pairs is not None:
            pairs.write(attempt)
    id_type = "int64" if counts.has_int64_ids else "string"
    return ParseResult(counts, clean.id_types, clean.days, id_type if pairs else "", files)


def _deal(rows: pa.RecordBatch, own_days: Sequence[int]) -> tuple[np.ndarray, list[tuple[int, pa.RecordBatch]]]:
    """Return the days of rows, and the rows of each day that has its own file, those of all others as BASE."""
    days = rows["last_ts"].to_numpy() // DAY_US
    group = np.where(np.isin(days, own_days), days, BASE)
    groups = np.unique(group).tolist()
    if len(groups) == 1:
        return days, [(groups[0], rows)]
    return days, [(day, rows.filter(pa.array(group == day))) for day in groups]


class _RowFiles:
    """Files of clean rows, one a day and id type: a task's batches may turn from int64 to string."""

    def __init__(self, attempt: Attempt, is_undirected: bool, stack: contextlib.ExitStack) -> None:
        self._attempt, self._is_undirected, self._stack = attempt, is_undirected, stack
        self._writers: dict[tuple[int, str], pq.ParquetWriter] = {}

    @property
    def days(self) -> tuple[int, ...]:
        """Day of each file, in their order."""
        return tuple(day for day, _ in self._writers)

    @property
    def id_types(self) -> tuple[str, ...]:
        """Id type of each file, in their order."""
        return tuple(id_type for _, id_type in self._writers)

    def write(self, rows: pa.RecordBatch, day: int = BASE) -> None:
        """Write a batch, its ends ordered by the order of its own id type."""
        if not rows.num_rows:
            return
        key = day, str(rows.schema.field("src_id").type)
        if key not in self._writers:
            path = self._attempt.path("rows", "parquet")
            self._writers[key] = self._stack.enter_context(storage.parquet_writer(path, rows.schema))
        self._writers[key].write_batch(order_ends(rows) if self._is_undirected else rows)


def write_ids_as_text(payload: TextPayload, attempt: Attempt) -> None:
    """Task: rewrite one file's int64 ids as strings, since another file has ids that are none."""
    schema = rows_schema(pa.string())
    with (
        storage.open_parquet(payload.file) as source,
        storage.parquet_writer(attempt.path("rows", "parquet"), schema) as sink,
    ):
        for batch in source.iter_batches(batch_size=262_144, columns=schema.names):
            text = batch.cast(schema)
            sink.write_batch(order_ends(text) if payload.is_undirected else text)
