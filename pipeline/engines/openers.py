"""How a task of Spark comes by its rows: from files, or from the pieces of a bucket in their order."""

import itertools
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import polars as pl
import pyarrow as pa

from pipeline import storage
from pipeline.engines.partition_tasks import Add, Match, Rows, Step, apply_steps
from pipeline.engines.pieces import unpack_pieces
from pipeline.locations import Location


@dataclass(frozen=True)
class FileRun:
    """Rows of a Parquet file, one after the other."""

    file: Location
    first: int
    rows: int


@dataclass(frozen=True)
class FileRows:
    """Opens some columns of Parquet files; Spark hands over numbers of packs."""

    packs: tuple[tuple[FileRun, ...], ...]
    columns: tuple[str, ...]

    def __call__(self, rows: Rows) -> Iterator[pl.LazyFrame]:
        """Yield the rows of each pack."""
        for batch in rows:
            for number in batch.column(0).to_pylist():
                yield self._scan(self.packs[number])

    def scan(self) -> pl.LazyFrame:
        """Return all rows."""
        return pl.concat([self._scan(pack) for pack in self.packs])

    def _scan(self, pack: Sequence[FileRun]) -> pl.LazyFrame:
        frames = []
        for run in pack:
            storage.check_sealed(run.file)
            rows = pl.scan_parquet(storage.local_file(run.file), glob=False, hive_partitioning=False)
            frames.append(rows.slice(run.first, run.rows).select(self.columns))
        return pl.concat(frames)


def open_frames(rows: Rows, most: float) -> Iterator[pl.LazyFrame]:
    """Open pieces in order, several at once up to so many bytes; all of them if that is infinite."""
    yield from map(pl.DataFrame.lazy, _frames((table for _, table in unpack_pieces(rows)), most))


def open_sums(rows: Rows, add: Add, most: int) -> Iterator[pl.LazyFrame]:
    """Open a bucket whose rows are added up by key; what is held follows from its keys, and not from its rows."""
    total: pl.DataFrame | None = None
    batch: list[pa.Table] = []

    def add_batch() -> pl.DataFrame:
        frames = [_as_frame(batch)] if total is None else [total, _as_frame(batch)]
        return add(pl.concat(frames))

    size = 0
    for _, table in unpack_pieces(rows):
        batch.append(table)
        size += table.nbytes
        if size > max(most, 0 if total is None else total.estimated_size()):
            total, batch, size = add_batch(), [], 0
    if batch:
        total = add_batch()
    if total is not None:
        yield total.lazy()


def open_matches(rows: Rows, match: Match, table_sources: int, most: int, *, all_rows: bool) -> Iterator[pl.LazyFrame]:
    """Open a bucket of a table and of rows that are looked up in it; the table is held, the rows go through.

    The table's pieces are those of the first ``table_sources`` sources. ``all_rows``: without a table, all rows stay.
    """
    table: pl.LazyFrame | None = None
    for of_table, pieces in itertools.groupby(unpack_pieces(rows), lambda piece: piece[0] < table_sources):
        tables = (rows for _, rows in pieces)
        if of_table:
            table = _as_frame(list(tables)).lazy()
        elif table is not None:
            yield from (match(frame.lazy(), table) for frame in _frames(tables, most))
        elif all_rows:
            yield from map(pl.DataFrame.lazy, _frames(tables, most))


def match_files(frame: pl.LazyFrame, match: Match, table: bytes) -> pl.LazyFrame:
    """Match rows with a table that each task reads by itself: files and the steps that follow, pickled."""
    return match(frame, _read_pickled(table).lazy())


@lru_cache(maxsize=2)  # a process that carries several tasks reads it once
def _read_pickled(table: bytes) -> pl.DataFrame:
    parts: Sequence[tuple[FileRows, Sequence[Step]]] = pickle.loads(table)
    return pl.concat([apply_steps(steps, files.scan()) for files, steps in parts]).collect()


def _frames(tables: Iterable[pa.Table], most: float) -> Iterator[pl.DataFrame]:
    batch: list[pa.Table] = []
    size = 0
    for table in tables:
        if batch and size + table.nbytes > most:
            yield _as_frame(batch)
            batch, size = [], 0
        batch.append(table)
        size += table.nbytes
    if batch:
        yield _as_frame(batch)


def _as_frame(tables: Sequence[pa.Table]) -> pl.DataFrame:
    frame = pl.from_arrow(pa.concat_tables(tables))
    assert isinstance(frame, pl.DataFrame)
    return frame
