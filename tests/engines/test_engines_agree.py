"""Every verb on both engines, against plain Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError

# Few examples: each writes, and a write costs Spark a second. The awkward rows are in every run by @example.
FEW = settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
Row = tuple[Any, ...]

ROWS = pa.schema(
    [
        pa.field("name", pa.string()),
        pa.field("number", pa.int64()),
        pa.field("weight", pa.int64()),
        pa.field("newest", pa.int64()),
    ]
)
SMALLEST, LARGEST = -(2**63), 2**63 - 1
AWKWARD_IDS = ["", "0", "007", "a", "a\0", "A", "ä", "é", "e\u0301", "~", "\uffff", "\U0001f600"]
AWKWARD_IDS += ["x" * 4096, "x" * 4095 + "y"]
AWKWARD_INTS = [0, 1, -1, SMALLEST, LARGEST, 2**53, 2**53 + 1]

AWKWARD: list[Row] = [
    (id_, number, 3, newest)
    for position, id_ in enumerate(AWKWARD_IDS)
    for number, newest in [
        (AWKWARD_INTS[position % len(AWKWARD_INTS)], None),
        (AWKWARD_INTS[position % len(AWKWARD_INTS)], SMALLEST if position % 2 else LARGEST),
        (AWKWARD_INTS[(position + 1) % len(AWKWARD_INTS)], None),
    ]
]

rows_of = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(AWKWARD_IDS), st.text(st.characters(exclude_categories=["Cs"]), max_size=4)),
        st.one_of(st.sampled_from(AWKWARD_INTS), st.integers(-3, 3)),
        st.integers(0, 2**40),
        st.one_of(st.none(), st.sampled_from(AWKWARD_INTS)),
    ),
    max_size=30,
)


def read(engine: Any, folder: Path, rows: Sequence[Row], schema: pa.Schema = ROWS, files: int = 3) -> Any:
    """Rows as a frame over some files, some of them empty where rows are few; no rows, no files."""
    # Spaces, and what Spark takes for a pattern.
    folder = folder / "in [put] {a,b} %20 *"
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(files if rows else 0):
        columns = zip(*rows[number::files], strict=True) if rows[number::files] else [[] for _ in schema]
        path = folder / f"{schema.names[-1]}-{number}.parquet"
        arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
        pq.write_table(pa.table(arrays, schema=schema), path)
        paths.append(path)
    return engine.read(paths, schema.names, schema)


def rows_in(files: Sequence[Path], schema: pa.Schema) -> list[Row]:
    """Rows of the files in order, having checked that the schema is the one that was asked for."""
    rows: list[Row] = []
    for file in files:
        table = pq.read_table(file)
        assert table.schema.names == schema.names
        assert table.schema.types == schema.types
        assert table.num_rows
        rows += zip(*(column.to_pylist() for column in table.columns), strict=True)
    return rows


def comes_to(engine: Any, frame: Any, schema: pa.Schema, folder: Path, want: Sequence[Row]) -> None:
    # By repr: None has no order, and a bool is no int here.
    got = rows_in(engine.write(frame, folder / "out", schema), schema)
    assert sorted(got, key=repr) == sorted(want, key=repr)


@FEW
@given(rows_of)
@example([])
@example(AWKWARD)
def test_what_is_read_is_written(engine: Any, rows: list[Row]) -> None:
    with TemporaryDirectory() as name:
        comes_to(engine, read(engine, Path(name), rows), ROWS, Path(name), rows)


@FEW
@given(rows_of)
@example([])
@example(AWKWARD)
def test_renamed_columns_and_constants(engine: Any, rows: list[Row]) -> None:
    names = {"type": pa.string(), "id": pa.string(), "one": pa.int64(), "again": pa.string()}
    schema = pa.schema(list(names.items()))
    with TemporaryDirectory() as name:
        frame = read(engine, Path(name), rows)
        frame = engine.rename(frame, {"id": "name", "again": "name"}, {"type": "ü", "one": 1})
        comes_to(engine, frame, schema, Path(name), [("ü", row[0], 1, row[0]) for row in rows])


@FEW
@given(rows_of, rows_of)
@example([], [])
@example([], AWKWARD)
def test_union_keeps_every_row(engine: Any, one: list[Row], other: list[Row]) -> None:
    with TemporaryDirectory() as name:
        (Path(name) / "other").mkdir()
        frames = [read(engine, Path(name), one), read(engine, Path(name) / "other", other)]
        # The same columns in another order are the same columns.
        frames[1] = engine.rename(frames[1], {column: column for column in reversed(ROWS.names)}, {})
        comes_to(engine, engine.union(frames), ROWS, Path(name), [*one, *other])


@FEW
@given(rows_of, st.booleans())
@example([], True)
@example(AWKWARD, True)
@example([("a", 1, 2**62, None), ("a", 1, 2**62 - 1, None), ("b", 1, LARGEST, 0)], False)  # just inside of int64
def test_sums_and_newest_by_key(engine: Any, rows: list[Row], keys_repeat: bool) -> None:
    groups: dict[Row, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[:2]].append(row)
    want = []
    for key, members in groups.items():
        known = [row[3] for row in members if row[3] is not None]
        want.append((*key, sum(row[2] for row in members), max(known, default=None)))
    with TemporaryDirectory() as name:
        frame = read(engine, Path(name), rows)
        frame = engine.sum_by(frame, ["name", "number"], ["weight"], ["newest"], keys_repeat=keys_repeat)
        comes_to(engine, frame, ROWS, Path(name), want)


def test_keys_alone_come_once(engine: Any, tmp_path: Path) -> None:
    frame = engine.sum_by(read(engine, tmp_path, AWKWARD), ["name"], [], keys_repeat=True)
    comes_to(engine, frame, pa.schema([("name", pa.string())]), tmp_path, [(id_,) for id_ in AWKWARD_IDS])


@pytest.mark.parametrize("weights", [[2**62, 2**62], [LARGEST, 1], [LARGEST] * 4])  # the last wraps to -4
def test_a_sum_beyond_int64_is_an_error(engine: Any, tmp_path: Path, weights: list[int]) -> None:
    rows = [("a", 0, 1, None), *(("b", 0, weight, None) for weight in weights)]
    frame = engine.sum_by(read(engine, tmp_path, rows), ["name"], ["weight"], keys_repeat=True)
    with pytest.raises(InputError, match="beyond int64"):
        engine.write(frame, tmp_path / "out", pa.schema([("name", pa.string()), ("weight", pa.int64())]))


@pytest.mark.parametrize("positive", [True, False])
@FEW
@given(rows=rows_of)
@example(rows=[])
@example(rows=AWKWARD)
def test_where_positive(engine: Any, positive: bool, rows: list[Row]) -> None:
    with TemporaryDirectory() as name:
        frame = engine.where_positive(read(engine, Path(name), rows), "number", positive=positive)
        comes_to(engine, frame, ROWS, Path(name), [row for row in rows if (row[1] > 0) == positive])


TABLE = pa.schema([("key_id", pa.string()), ("key_number", pa.int64()), ("ix", pa.int64())])


@FEW
@given(rows_of, st.data())
@example(AWKWARD, None)
@example([], None)
def test_look_up_replaces_keys_and_drops_what_is_unknown(engine: Any, rows: list[Row], data: Any) -> None:
    keys = sorted({row[:2] for row in rows})
    known = data.draw(st.sets(st.sampled_from(keys))) if data and keys else set(keys[::2])
    table = [(*key, ix) for ix, key in enumerate(sorted(known))]
    ix_of = {row[:2]: row[2] for row in table}
    # "name" goes as a key, and comes back as what the table says of it.
    names = {"name": pa.int64(), "key_id": pa.string(), "weight": pa.int64(), "newest": pa.int64()}
    schema = pa.schema(list(names.items()))
    want = [(ix_of[row[:2]], row[0], *row[2:]) for row in rows if row[:2] in ix_of]
    with TemporaryDirectory() as name:
        frame = engine.look_up(
            read(engine, Path(name), rows),
            read(engine, Path(name), table, TABLE),
            {"name": "key_id", "number": "key_number"},
            {"name": "ix", "key_id": "key_id"},
        )
        comes_to(engine, frame, schema, Path(name), want)


@pytest.mark.parametrize("is_dealt", [False, True])
def test_two_look_ups_in_one_table(engine: Any, tmp_path: Path, is_dealt: bool) -> None:
    if engine.name == "spark" and is_dealt:  # though rows and table are of one partition each
        from pipeline.engines.spark_tables import Sizes

        engine.sizes = Sizes(table_bytes=1)
    pairs = pa.schema([("src_id", pa.string()), ("dst_id", pa.string()), ("weight", pa.int64())])
    nodes = pa.schema([("node_id", pa.string()), ("node_ix", pa.int64())])
    frame = read(engine, tmp_path, [("a", "b", 1), ("b", "c", 2), ("c", "c", 3)], pairs)
    table = read(engine, tmp_path, [("c", 2), ("a", 0), ("b", 1)], nodes)
    for end in ("src", "dst"):
        frame = engine.look_up(frame, table, {f"{end}_id": "node_id"}, {f"{end}_ix": "node_ix"})
    schema = pa.schema([("src_ix", pa.int64()), ("dst_ix", pa.int64()), ("weight", pa.int64())])
    comes_to(engine, frame, schema, tmp_path, [(0, 1, 1), (1, 2, 2), (2, 2, 3)])


@FEW
@given(rows_of, st.data())
@example(AWKWARD, None)
@example([], None)
def test_without_keeps_what_is_not_in_the_table(engine: Any, rows: list[Row], data: Any) -> None:
    keys = sorted({row[:2] for row in rows})
    out = data.draw(st.sets(st.sampled_from(keys))) if data and keys else set(keys[::2])
    schema = pa.schema([("name", pa.string()), ("number", pa.int64())])
    with TemporaryDirectory() as name:
        frame = engine.without(
            read(engine, Path(name), rows), read(engine, Path(name), sorted(out), schema), ["name", "number"]
        )
        comes_to(engine, frame, ROWS, Path(name), [row for row in rows if row[:2] not in out])


@FEW
@given(rows_of)
@example([])
@example(AWKWARD)
def test_sorted_files_are_in_order_of_bytes_and_numbers(engine: Any, rows: list[Row]) -> None:
    unique = {row[:2]: row for row in rows}
    want = [unique[key] for key in sorted(unique, key=lambda key: (key[0].encode(), key[1]))]
    with TemporaryDirectory() as name:
        frame = read(engine, Path(name), list(unique.values()))
        files = engine.write_sorted(frame, Path(name) / "out", ROWS, ["name", "number"])
        assert rows_in(files, ROWS) == want


def test_order_holds_over_many_files(engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.engines import parquet

    monkeypatch.setattr(parquet, "ROWS_PER_FILE", 1000)
    if engine.name == "spark":  # several ranges, cut into files
        from pipeline.engines.spark_tables import Sizes

        engine.sizes = Sizes(bytes=64_000, rows_per_sorted_file=1000)
    schema = pa.schema([("number", pa.int64()), ("square", pa.int64())])
    # 7919 is prime to the length: every number once, in no order.
    rows = [((7919 * ix) % 20_011 - 10_000, ix) for ix in range(20_011)]
    files = engine.write_sorted(read(engine, tmp_path, rows, schema), tmp_path / "out", schema, ["number"])
    assert len(files) >= 20
    assert max(pq.read_metadata(file).num_rows for file in files) <= 1000
    assert rows_in(files, schema) == sorted(rows)


def test_cpu_seconds_grow_with_work(engine: Any) -> None:
    before = engine.cpu_seconds()
    sum(ix * ix for ix in range(2_000_000))
    assert engine.cpu_seconds() > before > 0
