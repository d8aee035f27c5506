"""Verbs over many small buckets, against plain Python; what is between the tasks loses what it can."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.engines import openers, partition_tasks, pieces, spark_tables
from pipeline.engines.parquet import row_groups
from pipeline.engines.spark_tables import Sizes, SparkFrame, SparkTables
from pipeline.errors import InputError
from tests.engines.careless_spark import CarelessTables, run_here

Row = tuple[Any, ...]
PAIRS = pa.schema([("left", pa.string()), ("right", pa.int64()), ("weight", pa.int64()), ("newest", pa.int64())])
TABLE = pa.schema([("id", pa.string()), ("ix", pa.int64())])
#: Some twenty rows a task and a file, and a table of a few.
TINY = Sizes(bytes=1000, table_bytes=300, rows_per_file=20, rows_per_sorted_file=20)
#: All at once: nothing is dealt out.
WHOLE = Sizes()
FEW = settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
#: One id for most rows, in some examples.
ids = st.one_of(st.just("hub"), st.just("hub"), st.sampled_from(["", "a", "a\0", "ä", "\U0001f600"]), texts)
rows_of = st.lists(
    st.tuples(ids, st.integers(-2, 2), st.integers(0, 2**40), st.one_of(st.none(), st.integers(-9, 9))), max_size=60
)
MANY = [(f"é{n % 37}", n % 3, n, n if n % 5 else None) for n in range(300)]
SKEWED = [("hub", 0, n, n) for n in range(250)] + MANY[:50]


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_tables, "_run_task", run_here)


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


def read(tables: SparkTables, at: Path, rows: Sequence[Row], schema: pa.Schema = PAIRS) -> SparkFrame:
    return tables.read(files_of(at, rows, schema), schema.names, schema)


def rows_in(files: Sequence[Path]) -> list[Row]:
    tables = [pq.read_table(file) for file in files]
    return [row for table in tables for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]


def made(tables: CarelessTables, frame: SparkFrame, schema: pa.Schema, out: Path) -> list[Row]:
    """The rows that are written, having checked what holds for every written table."""
    files = tables.write(frame, out, schema)
    assert sorted(out.glob("*")) == files
    for file in files:
        assert pq.read_schema(file).names == schema.names
        assert pq.read_schema(file).types == schema.types
        assert 0 < pq.read_metadata(file).num_rows <= (tables.sizes.rows_per_file or 10**9)
    assert tables.log.kept == 0
    assert set(tables.session.settings.values()) == {"the user's"}
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
        tables = CarelessTables(TINY)
        frame = tables.sum_by(
            read(tables, at / "in", rows), ["left", "right"], ["weight"], ["newest"], keys_repeat=keys_repeat
        )
        assert made(tables, frame, PAIRS, at / "out") == summed(rows)


def test_a_key_of_most_rows_is_added_up_before_it_is_sent(tmp_path: Path) -> None:
    tables = CarelessTables(TINY)
    frame = tables.sum_by(read(tables, tmp_path / "in", SKEWED), ["left"], ["weight"], keys_repeat=False)
    files = tables.write(frame, tmp_path / "out", pa.schema([("left", pa.string()), ("weight", pa.int64())]))
    assert len(rows_in(files)) == 38
    (buckets,) = tables.log.buckets
    assert len(buckets) > 3
    # Of 250 rows of one key, a task sends one. The others are at most 50.
    assert max(buckets) <= tables.log.tasks[0] + 50


def test_what_is_held_of_a_bucket_follows_from_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 500)
    rows = [(f"{n % 3}", 0, 1, None) for n in range(5000)]
    tables = CarelessTables(TINY)
    held: list[int] = []

    def watch(frame: pl.DataFrame) -> pl.DataFrame:
        held.append(frame.height)
        return partition_tasks.add_up(frame, ["left"], ["weight"], [], may_overflow=True)

    frame = pl.DataFrame({"left": [row[0] for row in rows], "weight": [row[2] for row in rows]})
    bucket = pieces.pack_pieces([(0, frame.to_arrow(compat_level=pl.CompatLevel.oldest()))], 0)
    (total,) = openers.open_sums(bucket, watch, tables.sizes.bytes)
    assert dict(total.collect().rows()) == {"0": 1667, "1": 1667, "2": 1666}
    assert max(held) < 200


@FEW
@given(rows_of, rows_of)
@example(MANY, SKEWED)
@example([], MANY)
def test_a_union_of_sums_of_filtered_rows_is_sorted(rows: list[Row], others: list[Row]) -> None:
    schema = pa.schema([("kind", pa.string()), ("id", pa.string()), ("count", pa.int64())])
    want: dict[Row, int] = defaultdict(int)
    with folder() as at:
        tables = CarelessTables(TINY)
        sums: list[SparkFrame] = []
        for kind, some in (("one", rows), ("other", others)):
            frame = tables.where_positive(read(tables, at / kind, some), "right", positive=True)
            counted = tables.rename(frame, {"id": "left"}, {"count": 1})
            total = tables.sum_by(counted, ["id"], ["count"], keys_repeat=True, may_overflow=False)
            sums.append(tables.rename(total, {"id": "id", "count": "count"}, {"kind": kind}))
            for row in some:
                if row[1] > 0:
                    want[kind, row[0]] += 1
        files = tables.write_sorted(tables.union(sums), at / "out", schema, ["kind", "id"])
        assert rows_in(files) == [(*key, want[key]) for key in sorted(want)]
        assert tables.log.kept == 0
        assert set(tables.session.settings.values()) == {"the user's"}


def test_constants_alone_are_a_row_for_each_row(tmp_path: Path) -> None:
    tables = CarelessTables(TINY)
    frame = tables.rename(read(tables, tmp_path / "in", MANY), {"id": "left"}, {"one": 1})
    assert made(tables, frame, pa.schema([("one", pa.int64())]), tmp_path / "out") == [(1,)] * len(MANY)


def look_ups(tables: SparkTables, at: Path, rows: list[Row], known: list[str]) -> tuple[SparkFrame, SparkFrame]:
    frame = read(tables, at / "in", rows)
    table = read(tables, at / "table", [(id_, ix) for ix, id_ in enumerate(known)], TABLE)
    return tables.look_up(frame, table, {"left": "id"}, {"left_ix": "ix"}), tables.without(
        tables.rename(frame, {"id": "left", "right": "right", "weight": "weight"}, {}), table, ["id"]
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
    matched = pa.schema([("right", pa.int64()), ("left_ix", pa.int64())])
    rest = pa.schema([("id", pa.string()), ("weight", pa.int64())])
    with folder() as at:
        tables = CarelessTables(sizes)
        looked_up, without = look_ups(tables, at, rows, table)
        assert made(tables, looked_up, matched, at / "matched") == sorted(
            ((row[1], table.index(row[0])) for row in rows if row[0] in known), key=repr
        )
        assert made(tables, without, rest, at / "rest") == sorted(
            ((row[0], row[2]) for row in rows if row[0] not in known), key=repr
        )


@pytest.mark.parametrize("again", [False, True])
def test_a_key_of_most_rows_is_looked_up_by_all_tasks(tmp_path: Path, again: bool) -> None:
    known = ["hub", *(f"x{n}" for n in range(60))]
    tables = CarelessTables(TINY)
    frame = read(tables, tmp_path / "in", [("hub", n, 0, 0) for n in range(300)])
    table = read(tables, tmp_path / "table", [(id_, ix) for ix, id_ in enumerate(known)], TABLE)
    if again:  # by another key before, of as many rows
        frame = tables.rename(frame, {name: name for name in PAIRS.names}, {"other": "hub"})
        frame = tables.look_up(frame, table, {"other": "id"}, {"other_ix": "ix"})
    looked_up = tables.look_up(frame, table, {"left": "id"}, {"left_ix": "ix"})
    files = tables.write(looked_up, tmp_path / "out", pa.schema([("right", pa.int64()), ("left_ix", pa.int64())]))
    assert sorted(rows_in(files)) == [(n, 0) for n in range(300)]
    for buckets in tables.log.buckets:
        assert len(buckets) > 5
        assert max(buckets) < 3 * sum(buckets) / len(buckets)


@FEW
@given(rows_of)
@example([])
@example(MANY)
@example(SKEWED)
@example([("hub", 0, n, n) for n in range(200)])
def test_sorted_over_ranges(rows: list[Row]) -> None:
    with folder() as at:
        tables = CarelessTables(TINY)
        files = tables.write_sorted(read(tables, at / "in", rows), at / "out", PAIRS, ["left", "right"])
        got = rows_in(files)
        keys = [(row[0].encode(), row[1]) for row in got]
        assert keys == sorted(keys)
        assert sorted(got, key=repr) == sorted(rows, key=repr)
        assert all(pq.read_metadata(file).num_rows <= 20 for file in files)
        assert tables.log.kept == 0


def test_nulls_come_first_in_every_range(tmp_path: Path) -> None:
    rows = [("a", 0, n, n % 50 if n % 3 else None) for n in range(200)]
    tables = CarelessTables(TINY)
    files = tables.write_sorted(read(tables, tmp_path / "in", rows), tmp_path / "out", PAIRS, ["newest"])
    got = [row[3] for row in rows_in(files)]
    assert got == sorted((row[3] for row in rows), key=lambda value: (value is not None, value))


@pytest.mark.parametrize("different", [5003, 3])
def test_ranges_of_sorted_rows_hold_about_as_many(tmp_path: Path, different: int) -> None:
    rows = [(f"{n * 7919 % different:05d}", 0, n, None) for n in range(5003)]
    tables = CarelessTables(Sizes(bytes=40_000, rows_per_sorted_file=500))
    tables.write_sorted(read(tables, tmp_path / "in", rows), tmp_path / "out", PAIRS, ["left"])
    (ranges,) = tables.log.buckets
    assert len(ranges) >= 11
    # Of 5003 / 11 rows; a third is what a task that has rows of few ranges may be off by.
    assert max(ranges) <= 1.4 * sum(ranges) / len(ranges)


@pytest.mark.parametrize("keys_repeat", [True, False])
@pytest.mark.parametrize("sizes", [TINY, WHOLE])
def test_a_sum_beyond_int64_is_an_error_in_whichever_task(keys_repeat: bool, sizes: Sizes, tmp_path: Path) -> None:
    schema = pa.schema([("left", pa.string()), ("weight", pa.int64())])
    # Fifty rows at even distances: a single task adds up a few, all of them only the last.
    rows = [("hub" if n % 6 == 0 else f"{n}", 0, 2**58 if n % 6 == 0 else 1, None) for n in range(300)]
    tables = CarelessTables(sizes)
    frame = tables.sum_by(read(tables, tmp_path / "in", rows), ["left"], ["weight"], keys_repeat=keys_repeat)
    with pytest.raises(InputError, match="beyond int64"):
        tables.write(frame, tmp_path / "out", schema)
    with pytest.raises(InputError, match="beyond int64"):
        tables.write_sorted(frame, tmp_path / "sorted", schema, ["left"])


def test_two_runs_write_the_same_rows_in_the_same_files(tmp_path: Path) -> None:
    files = files_of(tmp_path / "in", SKEWED, PAIRS)
    written = []
    for name in ("one", "other"):
        tables = CarelessTables(TINY)
        tables.session.random.seed(name)
        frame = tables.sum_by(
            tables.read(files, PAIRS.names, PAIRS), ["left", "right"], ["weight"], ["newest"], keys_repeat=False
        )
        written.append([file.read_bytes() for file in tables.write(frame, tmp_path / name, PAIRS)])
    assert len(written[0]) > 3
    assert written[0] == written[1]


def test_only_wanted_columns_count(tmp_path: Path) -> None:
    files = files_of(tmp_path / "in", MANY, PAIRS)
    groups = list(row_groups(files, ["right", "weight"]))
    assert sum(group.rows for group in groups) == 300
    assert sum(group.bytes for group in groups) == 300 * 16
    assert max(group.rows for group in groups) <= 7
