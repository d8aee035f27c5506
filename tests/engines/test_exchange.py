"""Verbs over many small buckets, against plain Python; carried by something that loses what it can."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pipeline.engines.frames import ExchangeFrame
from pipeline.engines.waves import Sizes

from pipeline.engines import exchange, frames
from pipeline.engines.parquet import row_groups
from pipeline.errors import InputError
from pipeline.tasks import Task, TaskFunction, TaskRecord, refuse_disagreement, run_task

Row = tuple[Any, ...]
PAIRS = pa.schema([("left", pa.string()), ("right", pa.int64()), ("weight", pa.int64()), ("newest", pa.int64())])
TABLE = pa.schema([("id", pa.string()), ("ix", pa.int64())])
#: Some twenty rows a task and a file, and a table of a few.
TINY = Sizes(bytes=1000, table_bytes=300, rows_per_file=20, rows_per_sorted_file=20)
#: All at once: nothing is dealt out.
WHOLE = Sizes()
FEW = settings(max_examples=10)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
#: One id for most rows, in some examples.
ids = st.one_of(st.just("hub"), st.just("hub"), st.sampled_from(["", "a", "a\0", "ä", "\U0001f600"]), texts)
rows_of = st.lists(
    st.tuples(ids, st.integers(-2, 2), st.integers(0, 2**40), st.one_of(st.none(), st.integers(-9, 9))), max_size=60
)
MANY = [(f"é{n % 37}", n % 3, n, n if n % 5 else None) for n in range(300)]
SKEWED = [("hub", 0, n, n) for n in range(250)] + MANY[:50]


class Careless:
    """Carries tasks in any order, does each twice, and loses the first attempt: both have to be the same."""

    def __init__(self) -> None:
        self.waves: list[int] = []
        self.records: list[TaskRecord[Any]] = []

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        self.waves.append(len(tasks))
        records: dict[str, TaskRecord[Any]] = {}
        for task in random.Random(len(tasks)).sample(tasks, len(tasks)):
            lost = run_task(function, Task.from_json(task.to_json()))
            records[task.name] = run_task(function, Task.from_json(task.to_json()))
            refuse_disagreement(lost, records[task.name])
        self.records += records.values()
        return [records[task.name] for task in tasks]


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def files_of(at: Path, rows: Sequence[Row], schema: pa.Schema) -> list[Path]:
    """Rows in three files of small row groups; no rows, no files."""
    at.mkdir()
    paths = [at / f"{number}.parquet" for number in range(3 if rows else 0)]
    for number, path in enumerate(paths):
        columns = list(zip(*rows[number::3], strict=True)) or [()] * len(schema)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
        pq.write_table(pa.table(arrays, schema=schema), path, row_group_size=7)
    return paths


def frame_of(at: Path, rows: Sequence[Row], schema: pa.Schema = PAIRS) -> ExchangeFrame:
    return frames.Read(files_of(at, rows, schema), schema.names)


def rows_in(files: Sequence[Path]) -> list[Row]:
    tables = [pq.read_table(file) for file in files]
    return [row for table in tables for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]


def made(frame: ExchangeFrame, schema: pa.Schema, out: Path, sizes: Sizes = TINY) -> list[Row]:
    """The rows that are written, having checked what holds for every written table."""
    files = exchange.write(Careless(), frame, out, schema, sizes)
    assert sorted(out.iterdir()) == files
    for file in files:
        assert pq.read_schema(file).names == schema.names
        assert pq.read_schema(file).types == schema.types
        assert 0 < pq.read_metadata(file).num_rows <= (sizes.rows_per_file or 10**9)
    return sorted(rows_in(files), key=repr)


def summed(rows: Sequence[Row]) -> list[Row]:
    groups: dict[Row, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[:2]].append(row)
    want = []
    for key, members in groups.items():
        known = [row[3] for row in members if row[3] is not None]
        want.append((*key, sum(row[2] for row in members), max(known, default=None)))
    return sorted(want, key=repr)


@FEW
@given(rows_of, st.booleans())
@example([], True)
@example(MANY, True)
@example(MANY, False)
@example(SKEWED, False)
def test_sums_meet_over_buckets(rows: list[Row], keys_repeat: bool) -> None:
    with folder() as at:
        frame = frames.Sum(frame_of(at / "in", rows), ["left", "right"], ["weight"], ["newest"], keys_repeat, True)
        assert made(frame, PAIRS, at / "out") == summed(rows)


def test_a_key_of_most_rows_is_added_up_before_it_is_sent(tmp_path: Path) -> None:
    frame = frames.Sum(frame_of(tmp_path / "in", SKEWED), ["left"], ["weight"], [], False, True)
    schema = pa.schema([("left", pa.string()), ("weight", pa.int64())])
    carrier = Careless()
    files = exchange.write(carrier, frame, tmp_path / "out", schema, TINY)
    assert len(rows_in(files)) == 38
    slices = [record.result["slices"] for record in carrier.records if "slices" in record.result]
    assert len(slices) > 3
    sent = Counter[str]()
    for one in slices:
        sent.update({bucket: rows for bucket, (_, rows, _) in one.items()})
    # Of 250 rows of one key, a task sends one. The others are at most 50.
    assert max(sent.values()) <= len(slices) + 50


@FEW
@given(rows_of, rows_of)
@example(MANY, SKEWED)
@example([], MANY)
def test_a_union_of_sums_of_filtered_rows_takes_three_waves(rows: list[Row], others: list[Row]) -> None:
    schema = pa.schema([("kind", pa.string()), ("id", pa.string()), ("count", pa.int64())])
    want: dict[Row, int] = defaultdict(int)
    with folder() as at:
        sums: list[ExchangeFrame] = []
        for kind, some in (("one", rows), ("other", others)):
            frame = frames.where(frame_of(at / kind, some), "where_positive", ["right"], column="right", positive=True)
            counted = frames.rename(frame, {"id": "left"}, {"count": 1})
            total = frames.Sum(counted, ["id"], ["count"], [], True, False)
            sums.append(frames.rename(total, {"id": "id", "count": "count"}, {"kind": kind}))
            for row in some:
                if row[1] > 0:
                    want[kind, row[0]] += 1
        carrier = Careless()
        files = exchange.write_sorted(carrier, frames.Union(sums), at / "out", schema, ["kind", "id"], TINY)
        assert rows_in(files) == [(*key, want[key]) for key in sorted(want)]
        assert len(carrier.waves) <= 3


def test_constants_alone_are_a_row_for_each_row(tmp_path: Path) -> None:
    frame = frames.rename(frame_of(tmp_path / "in", MANY), {"id": "left"}, {"one": 1})
    assert made(frame, pa.schema([("one", pa.int64())]), tmp_path / "out") == [(1,)] * len(MANY)


def look_ups(at: Path, rows: list[Row], known: list[str]) -> tuple[ExchangeFrame, ExchangeFrame]:
    frame, table = frame_of(at / "in", rows), frame_of(at / "table", [(id_, ix) for ix, id_ in enumerate(known)], TABLE)
    return frames.look_up(frame, table, {"left": "id"}, {"left_ix": "ix"}), frames.without(
        frames.rename(frame, {"id": "left", "right": "right", "weight": "weight"}, {}), table, ["id"]
    )


@FEW
@given(rows_of, st.sets(ids), st.sampled_from([TINY, WHOLE]))
@example([], {"a"}, TINY)
@example(SKEWED, set(), TINY)
@example(SKEWED, {"hub", *(f"é{n}" for n in range(0, 37, 2))}, TINY)
@example(SKEWED, {f"x{n}" for n in range(60)}, TINY)
@example(SKEWED, {"hub"}, WHOLE)
def test_look_up_and_without_by_either_way(rows: list[Row], known: set[str], sizes: Sizes) -> None:
    table = sorted(known)
    found = pa.schema([("right", pa.int64()), ("left_ix", pa.int64())])
    rest = pa.schema([("id", pa.string()), ("weight", pa.int64())])
    with folder() as at:
        looked_up, without = look_ups(at, rows, table)
        assert made(looked_up, found, at / "found", sizes) == sorted(
            ((row[1], table.index(row[0])) for row in rows if row[0] in known), key=repr
        )
        assert made(without, rest, at / "rest", sizes) == sorted(
            ((row[0], row[2]) for row in rows if row[0] not in known), key=repr
        )


def test_a_key_of_most_rows_is_looked_up_by_several_tasks(tmp_path: Path) -> None:
    known = ["hub", *(f"x{n}" for n in range(60))]
    looked_up, _ = look_ups(tmp_path, [("hub", n, 0, 0) for n in range(300)], known)
    carrier = Careless()
    files = exchange.write(carrier, looked_up, tmp_path / "out", pa.schema([("right", pa.int64())]), TINY)
    assert sorted(rows_in(files)) == [(n,) for n in range(300)]
    # 300 rows of 32 bytes at the least, in one bucket.
    assert carrier.waves[-1] >= 300 * 32 // TINY.bytes // 2


@FEW
@given(rows_of)
@example([])
@example(MANY)
@example(SKEWED)
@example([("hub", 0, n, n) for n in range(200)])
def test_sorted_over_ranges(rows: list[Row]) -> None:
    with folder() as at:
        files = exchange.write_sorted(Careless(), frame_of(at / "in", rows), at / "out", PAIRS, ["left", "right"], TINY)
        got = rows_in(files)
        keys = [(row[0].encode(), row[1]) for row in got]
        assert keys == sorted(keys)
        assert sorted(got, key=repr) == sorted(rows, key=repr)
        assert all(pq.read_metadata(file).num_rows <= 20 for file in files)


def test_nulls_come_first_in_every_range(tmp_path: Path) -> None:
    rows = [("a", 0, n, n % 50 if n % 3 else None) for n in range(200)]
    files = exchange.write_sorted(
        Careless(), frame_of(tmp_path / "in", rows), tmp_path / "out", PAIRS, ["newest"], TINY
    )
    got = [row[3] for row in rows_in(files)]
    assert got == sorted((row[3] for row in rows), key=lambda value: (value is not None, value))


def test_ranges_of_sorted_rows_hold_about_as_many(tmp_path: Path) -> None:
    rows = [(f"{n * 7919 % 5003:05d}", 0, n, None) for n in range(5003)]
    sizes = Sizes(bytes=40_000, rows_per_sorted_file=500)
    carrier = Careless()
    exchange.write_sorted(carrier, frame_of(tmp_path / "in", rows), tmp_path / "out", PAIRS, ["left"], sizes)
    assert carrier.waves[-1] == 11  # ceil(5003 / 500)
    files = sorted((tmp_path / "out").iterdir())
    # A cut is off by at most a step of the sample in each of the files that were sorted.
    assert len(files) <= 2 * 11


@pytest.mark.parametrize("keys_repeat", [True, False])
@pytest.mark.parametrize("sizes", [TINY, WHOLE])
def test_a_sum_beyond_int64_is_an_error_in_whichever_wave(keys_repeat: bool, sizes: Sizes, tmp_path: Path) -> None:
    schema = pa.schema([("left", pa.string()), ("weight", pa.int64())])
    # Fifty rows at even distances: a single task adds up a few, all of them only the last.
    rows = [("hub" if n % 6 == 0 else f"{n}", 0, 2**58 if n % 6 == 0 else 1, None) for n in range(300)]
    frame = frames.Sum(frame_of(tmp_path / "in", rows), ["left"], ["weight"], [], keys_repeat, True)
    with pytest.raises(InputError, match="beyond int64"):
        exchange.write(Careless(), frame, tmp_path / "out", schema, sizes)


def test_two_runs_write_the_same_rows_in_the_same_files(tmp_path: Path) -> None:
    frame = frames.Sum(frame_of(tmp_path / "in", SKEWED), ["left", "right"], ["weight"], ["newest"], False, True)
    one, other = (exchange.write(Careless(), frame, tmp_path / name, PAIRS, TINY) for name in ("one", "other"))
    assert len(one) > 3
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]


def test_what_fits_one_task_is_one_task(tmp_path: Path) -> None:
    frame = frames.Sum(frame_of(tmp_path / "in", MANY), ["left", "right"], ["weight"], ["newest"], True, True)
    carrier = Careless()
    exchange.write_sorted(carrier, frame, tmp_path / "out", PAIRS, ["left"], WHOLE)
    assert carrier.waves == [1]


def test_a_sum_that_is_used_twice_is_exchanged_once(tmp_path: Path) -> None:
    sums = frames.Sum(frame_of(tmp_path / "in", MANY), ["left", "right"], ["weight"], ["newest"], False, True)
    carrier = Careless()
    files = exchange.write(carrier, frames.Union([sums, sums]), tmp_path / "out", PAIRS, TINY)
    assert sorted(rows_in(files), key=repr) == sorted([*summed(MANY), *summed(MANY)], key=repr)
    reads = carrier.waves[0]
    frame = frames.Read(files_of(tmp_path / "again", MANY, PAIRS), PAIRS.names)
    alone = Careless()
    exchange.write(
        alone,
        frames.Sum(frame, PAIRS.names[:2], ["weight"], [], False, True),
        tmp_path / "one",
        pa.schema(list(PAIRS)[:3]),
        TINY,
    )
    assert reads <= alone.waves[0] * 4 / 3 + 1  # "newest" is a quarter more


def test_only_wanted_columns_count(tmp_path: Path) -> None:
    files = files_of(tmp_path / "in", MANY, PAIRS)
    groups = list(row_groups(files, ["right", "weight"]))
    assert sum(group.rows for group in groups) == 300
    assert sum(group.bytes for group in groups) == 300 * 16
    assert max(group.rows for group in groups) <= 7
