"""Files of interactions to files of clean rows, by tasks; and all of them with ids of one type."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.ingest.counts import Counts, total
from pipeline.ingest.ids import order_ends
from pipeline.ingest.parse import ParsePayload, ParseRules, parse, rows_schema
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.sources import SourceFile
from pipeline.locations import Location
from pipeline.tasks import Attempt, TaskFolder, TaskRecord, TaskRunner
from schemas.tables import REJECTED


@dataclass(frozen=True)
class ParseResult:
    """Counts of a task's rows, and the id type of each of its files of clean rows."""

    counts: Counts
    id_types: tuple[str, ...]


@dataclass(frozen=True)
class TextPayload:
    """Input of the task that rewrites the int64 ids of a file as text."""

    file: Location
    is_plain: bool


@dataclass(frozen=True)
class CleanRows:
    """The rows of the input that count, in files of tasks, whose ids are int64 or text."""

    rules: ParseRules
    records: Sequence[TaskRecord[ParseResult]]

    @classmethod
    def read(cls, engine: TaskRunner, sources: Sequence[SourceFile], rules: ParseRules, folder: Location) -> CleanRows:
        """Parse the files of the input."""
        payloads = [ParsePayload(task, rules) for task in split_tasks(sources)]
        return cls(rules, TaskFolder(engine, folder).run_each(parse_files, "parse", payloads))

    @property
    def counts(self) -> Counts:
        """Counts of all tasks together."""
        return total(record.result.counts for record in self.records)

    def convert_ids(
        self, engine: TaskRunner, folder: Location, id_type: pa.DataType
    ) -> tuple[list[Location], list[TaskRecord[None]]]:
        """Return files of rows whose ids have the run's type, and the records of the tasks that rewrote some."""
        files: list[Location] = []
        numbers: list[Location] = []
        for record in self.records:
            for path, name in zip(record.paths("rows"), record.result.id_types, strict=True):
                (files if name in ("string", str(id_type)) else numbers).append(path)
        payloads = [TextPayload(path, self.rules.is_plain) for path in numbers]
        rewritten = TaskFolder(engine, folder).run_each(write_ids_as_text, "text", payloads)
        return [*files, *(record.file("rows") for record in rewritten)], rewritten


def parse_files(payload: ParsePayload, attempt: Attempt) -> ParseResult:
    """Task: clean rows and rejected rows of some files."""
    counts = Counts()
    with contextlib.ExitStack() as stack:
        clean = _RowFiles(attempt, payload.rules.is_plain, stack)
        rejected = stack.enter_context(storage.parquet_writer(attempt.path("rejected", "parquet"), REJECTED.schema))
        for batch in parse(payload.task, payload.rules):
            counts += batch.counts
            clean.write(batch.rows)
            if batch.rejected.num_rows:
                rejected.write_batch(batch.rejected)
    return ParseResult(counts, tuple(clean.id_types))


class _RowFiles:
    """Files of clean rows, one an id type: a task's batches may turn from int64 to string."""

    def __init__(self, attempt: Attempt, is_plain: bool, stack: contextlib.ExitStack) -> None:
        self._attempt, self._is_plain, self._stack = attempt, is_plain, stack
        self._writer: pq.ParquetWriter | None = None
        self.id_types: list[str] = []

    def write(self, rows: pa.RecordBatch) -> None:
        """Write a batch, its ends ordered by the order of its own id type."""
        if not rows.num_rows:
            return
        id_type = str(rows.schema.field("src_id").type)
        if self._writer is None or self.id_types[-1] != id_type:
            path = self._attempt.path("rows", "parquet")
            self._writer = self._stack.enter_context(storage.parquet_writer(path, rows.schema))
            self.id_types.append(id_type)
        self._writer.write_batch(order_ends(rows) if self._is_plain else rows)


def write_ids_as_text(payload: TextPayload, attempt: Attempt) -> None:
    """Task: rewrite one file's int64 ids as strings, since another file has ids that are none."""
    schema = rows_schema(pa.string())
    with (
        storage.open_parquet(payload.file) as source,
        storage.parquet_writer(attempt.path("rows", "parquet"), schema) as sink,
    ):
        for batch in source.iter_batches(batch_size=262_144):
            text = batch.cast(schema)
            sink.write_batch(order_ends(text) if payload.is_plain else text)
