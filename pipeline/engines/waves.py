"""Waves of tasks that bring the rows of a key together, until every piece of a frame can be made by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.engines.frames import ExchangeFrame, Match, Read, Step, Sum, Union
from pipeline.engines.pieces import (
    BatchSlice,
    FramePiece,
    concat_pieces,
    group_by_bytes,
    piece_of_slices,
    pieces_of_files,
    total_bytes,
)
from pipeline.engines.relay import relay
from pipeline.errors import DamagedFileError
from pipeline.tasks import Task, TaskRecord, TaskRunner

_Buckets = Sequence[Sequence[BatchSlice]]


@dataclass(frozen=True)
class Sizes:
    """Bounds on what a task holds."""

    #: Decoded rows that a task reads; its process grows by about five times as much. A row group is never split.
    bytes: int = 64 * 2**20
    #: A table up to this is read by each task that looks things up in it, instead of bringing rows and table together.
    #: Reading and hashing as much takes about the time of dealing out a task's own rows once for each of two keys.
    table_bytes: int = 128 * 2**20
    table_rows: int = 4_000_000
    #: Of a file; None: see :func:`pipeline.engines.parquet.rows_per_file`.
    rows_per_file: int | None = None
    rows_per_sorted_file: int = 1_000_000


@dataclass(frozen=True)
class _Scatter:
    """Rows to be dealt out to buckets, as the next wave will do."""

    pieces: Sequence[FramePiece]
    columns: Sequence[str]
    how: Mapping[str, Any]


class Waves:
    """The waves of one written table, and the scratch folder of their files."""

    def __init__(self, runner: TaskRunner, folder: Path, sizes: Sizes) -> None:
        self._runner, self._folder, self._sizes = runner, folder, sizes
        self._task_folder = folder / "_tasks"
        self._task_folder.mkdir(parents=True, exist_ok=True)
        self._number = 0
        self._dealt: dict[Hashable, _Buckets] = {}
        self._next: dict[Hashable, _Scatter] = {}
        self._read_before: dict[Hashable, list[FramePiece]] = {}

    def pieces_of(self, frame: ExchangeFrame, columns: Sequence[str]) -> list[FramePiece]:
        """Return what makes a frame's rows, having run all exchanges below; those that can, in one wave."""
        while (pieces := self._try(frame, list(columns))) is None:
            self._scatter()
        return pieces

    def run(
        self, name: str, pieces: Sequence[FramePiece], columns: Sequence[str], sink: Mapping[str, Any]
    ) -> list[TaskRecord[Any]]:
        """Run one wave over pieces, several small ones a task."""
        return self._runner.map_tasks(relay, self._tasks(name, pieces, columns, sink))

    def finish(self, records: Sequence[TaskRecord[Any]]) -> list[Path]:
        """Bring the tables' files to their folder and remove all others."""
        files = [file for record in records for file in record.paths("table")]
        named = [self._folder / f"part-{number:05d}{''.join(file.suffixes)}" for number, file in enumerate(files)]
        for file, path in zip(files, named, strict=True):
            if not file.is_file():
                raise DamagedFileError(f"{file} is missing")
            file.rename(path)
        storage.remove_tree(self._task_folder)
        return named

    def _tasks(
        self, name: str, pieces: Sequence[FramePiece], columns: Sequence[str], sink: Mapping[str, Any]
    ) -> list[Task[Any]]:
        self._number += 1
        return [
            Task(
                f"{name}-{self._number}-{number:05d}",
                self._task_folder,
                {"plan": concat_pieces(pack, columns).plan, "for": str(self._folder), **sink},
            )
            for number, pack in enumerate(group_by_bytes(pieces, self._sizes.bytes))
        ]

    def _scatter(self) -> None:
        """Run all scatters that are due, in one wave."""
        due, self._next = self._next, {}
        tasks: list[Task[Any]] = []
        owner: list[Hashable] = []
        for key, scatter in due.items():
            tasks += self._tasks("scatter", scatter.pieces, scatter.columns, {"sink": "slices", **scatter.how})
            owner += [key] * (len(tasks) - len(owner))
        dealt: dict[Hashable, list[list[BatchSlice]]] = {}
        for key in due:
            dealt[key] = [[] for _ in range(due[key].how["buckets"])]
        for key, record in zip(owner, self._runner.map_tasks(relay, tasks), strict=True):
            file = str(record.file("slices"))
            for bucket, (batch, rows, size) in record.result["slices"].items():
                dealt[key][int(bucket)].append(BatchSlice(file, batch, rows, size))
        self._dealt |= dealt

    def _buckets(self, key: Hashable, scatter: Callable[[], _Scatter]) -> _Buckets | None:
        if key in self._dealt:
            return self._dealt[key]
        self._next[key] = scatter()
        return None

    def _try(self, frame: ExchangeFrame, columns: Sequence[str]) -> list[FramePiece] | None:
        """Return the pieces of some columns of a frame; None if rows have to be dealt out first."""
        if isinstance(frame, Read):
            return self._read(frame, columns)
        if isinstance(frame, Step):
            return self._step(frame, columns)
        if isinstance(frame, Union):
            united: list[FramePiece] = []
            has_all = True
            for part in frame.frames:  # all of them: what they have to deal out goes into one wave
                pieces = self._try(part, columns)
                has_all = has_all and pieces is not None
                united += pieces or []
            return united if has_all else None
        if isinstance(frame, Sum):
            return self._sum(frame)
        if isinstance(frame, Match):
            return self._match(frame, columns)
        raise TypeError(f"{type(frame).__name__} is no frame of pipeline.engines.frames")

    def _read(self, frame: Read, columns: Sequence[str]) -> list[FramePiece]:
        key = (id(frame), *columns)
        if key not in self._read_before:  # each wave plans anew what is below it
            self._read_before[key] = pieces_of_files(frame.files, columns, self._sizes.bytes)
        return self._read_before[key]

    def _step(self, frame: Step, columns: Sequence[str]) -> list[FramePiece] | None:
        arguments, wanted, width = frame.arguments, [*columns, *frame.reads], 0
        if frame.verb == "rename":
            names = arguments["columns"]
            # Constants alone would be one row.
            old_names = {new: old for new, old in names.items() if new in columns} or dict(list(names.items())[:1])
            constants = {new: value for new, value in arguments["constants"].items() if new in columns}
            arguments = {"columns": old_names, "constants": constants}
            wanted = list(old_names.values())
            width = sum(8 if isinstance(value, int) else 16 for value in constants.values())
        pieces = self._try(frame.frame, _unique(wanted))
        return None if pieces is None else [piece.with_step(frame.verb, arguments, width) for piece in pieces]

    def _sum(self, frame: Sum) -> list[FramePiece] | None:
        pieces = self._try(frame.frame, frame.columns)
        if not pieces:
            return pieces
        arguments = {"keys": frame.keys, "sums": frame.sums, "newest": frame.newest, "may_overflow": frame.may_overflow}
        size = total_bytes(pieces)
        if size <= self._sizes.bytes:
            return [concat_pieces(pieces, frame.columns).with_step("sum_by", arguments)]
        how = {"keys": frame.keys, "sum": arguments, "keys_repeat": frame.keys_repeat}
        buckets = self._buckets(
            id(frame), lambda: _Scatter(pieces, frame.columns, {**how, "buckets": math.ceil(size / self._sizes.bytes)})
        )
        if buckets is None:
            return None
        return [piece_of_slices(slices, frame.columns).with_step("sum_by", arguments) for slices in buckets if slices]

    def _match(self, frame: Match, columns: Sequence[str]) -> list[FramePiece] | None:
        ours = _unique([*(name for name in columns if name not in frame.take), *frame.on])
        theirs = _unique([*frame.on.values(), *frame.take.values()])
        rows, table = self._try(frame.frame, ours), self._try(frame.table, theirs)
        if rows is None or table is None:
            return None
        if not table:
            return _without_match(frame, rows)
        whole = concat_pieces(table, theirs)
        width = whole.bytes // max(whole.rows, 1) if frame.take else 0
        if whole.bytes <= self._sizes.table_bytes and whole.rows <= self._sizes.table_rows:
            return [piece.with_step(frame.verb, {**frame.arguments, "table": whole.plan}, width) for piece in rows]
        count = max(math.ceil(whole.bytes / self._sizes.table_bytes), math.ceil(whole.rows / self._sizes.table_rows))
        how = {"buckets": count, "sum": None, "keys_repeat": False}
        left = self._buckets((id(frame), *ours), lambda: _Scatter(rows, ours, {**how, "keys": list(frame.on)}))
        right = self._buckets(
            (id(frame), "table"), lambda: _Scatter(table, theirs, {**how, "keys": list(frame.on.values())})
        )
        if left is None or right is None:
            return None
        matched: list[FramePiece] = []
        for some, of_table in zip(left, right, strict=True):
            # A key of many rows makes a large bucket of rows, and never one of the table.
            packs = [
                concat_pieces(pack, ours)
                for pack in group_by_bytes([piece_of_slices([one], ours) for one in some], self._sizes.bytes)
            ]
            if of_table:
                arguments = {**frame.arguments, "table": piece_of_slices(of_table, theirs).plan}
                matched += [piece.with_step(frame.verb, arguments, width) for piece in packs]
            else:
                matched += _without_match(frame, packs)
        return matched


def _without_match(frame: Match, rows: Sequence[FramePiece]) -> list[FramePiece]:
    """Return what is left of rows where the table has none."""
    return list(rows) if frame.verb == "without" else []


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
