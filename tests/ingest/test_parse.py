"""The whole of parse and check against a plain Python reading of the rules, row by row."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline import codec
from pipeline.errors import InputError
from pipeline.ingest.counts import Counts, total
from pipeline.ingest.decay import decay_weights
from pipeline.ingest.ids import order_ends
from pipeline.ingest.parse import ParseRules, newest_timestamp, parse, rows_schema
from pipeline.ingest.pieces import ParseTask, split_tasks
from pipeline.ingest.sources import list_sources
from schemas.tables import REJECTED
from tests.ingest.parsing import from_table, ids_in, kept_rows, parse_all, write
from tests.ingest.row_by_row import EVENTS, ROLES, Row, is_canonical, judge

ALL = ParseRules(
    weight="weight",
    event="event",
    event_weights=EVENTS,
    timestamp="timestamp",
    start_us=1_600_000_000_000_000,
    end_us=1_700_000_000_000_000,
)


# Inputs.

texts = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.sampled_from(
        [
            "0",
            "007",
            "+7",
            "-0",
            " 7",
            "7",
            "7 ",
            "0x1F",
            "9223372036854775808",
            "1e3",
            "NA",
            "null",
            "ü",
            "日本",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.text(st.sampled_from(" \t\x00\u00a07"), max_size=3),
    st.sampled_from(["é" * 4096, "x" * 16_384, "x" * 16_385, "18446744073709551616123"]),
)
small_ids = st.integers(0, 5).map(str)
weight_texts = st.one_of(
    st.floats(width=64).map(repr),
    st.floats(1e-12, 2e6).map(repr),
    st.sampled_from(
        [
            "",
            " 2.5",
            "0",
            "-0.0",
            "NaN",
            "-inf",
            "Infinity",
            "1e999",
            "1e-400",
            "+5",
            "5.",
            ".5",
            "0x10",
            "x",
            "1048576",
            "1048576.0000001",
            "2.3283064365386963e-10",
            "1.1641532182693481e-10",
            "1_0",
            "１",
        ]
    ),
)
moments = st.datetimes(dt.datetime(2019, 1, 1), dt.datetime(2025, 1, 1))
time_texts = st.one_of(
    moments.map(dt.datetime.isoformat),
    moments.map(lambda m: m.isoformat(" ") + "Z"),
    moments.map(lambda m: m.isoformat() + "+02:30"),
    moments.map(lambda m: m.date().isoformat()),
    st.sampled_from(
        [
            "",
            "2023-02-29",
            "2024-02-29",
            "2023-04-31T10",
            "2023-13-01",
            "2023-01-01T24:00",
            "2023-06-01T10:11Z",
            "2023-06-01T10:11:12.123456789-0200",
            "2023-06-01 10-02",
            "2023-06-01Z",
            "yesterday",
            "1969-12-31",
            " 2023-06-01 ",
            "2023-06-01T10:11:60",
            "0000-01-01",
            "0001-01-01",
            "1989-12-31T23:59:59.999999",
            "1989-12-31T23:59:59-00:30",
            "1990-01-01",
            "2100-12-31T23:59:59.999999999Z",
            "2101-01-01",
            "2023-06-01 10:11:12 UTC",
            "2023-06-01 10:11:12.5 GMT",
            "2023-06-01 10:11 +0530",
            "2023-06-01 UTC",
            "2023-06-01 10:11:12  UTC",
            "9999-12-31T23:59:59.999999999Z",
            "2023-06-01T10:00+24:00",
            "２023-06-01",
        ]
    ),
)
events = st.sampled_from(["view", "buy", "7", "refund", " view", ""])


def rows_of(json_values: bool) -> st.SearchStrategy[list[Row]]:
    def column(strategy: st.SearchStrategy[Any], *others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(strategy, st.none(), *(others if json_values else ()))

    odd = st.sampled_from([True, False, [1], {"a": 1}])
    row = st.fixed_dictionaries(
        {
            "source": column(st.one_of(texts, small_ids), st.integers(-(10**25), 10**25), st.floats(), odd),
            "target": column(st.one_of(texts, small_ids), st.integers(0, 5), odd),
            "weight": column(weight_texts, st.floats(), st.integers(-5, 2**21), odd),
            "event": column(events, st.integers(6, 8), odd),
            "timestamp": column(time_texts, odd),
        }
    )
    clean = st.fixed_dictionaries(
        {
            "source": st.integers(0, 9) if json_values else small_ids,
            "target": small_ids,
            "weight": st.floats(0.1, 10.0) if json_values else st.just("2.5"),
            "event": st.just("view"),
            "timestamp": st.just("2023-06-01"),
        }
    )
    return st.one_of(st.lists(row, min_size=1, max_size=12), st.lists(clean, min_size=1, max_size=12))


def check_against_the_oracle(rows: Sequence[Row], rules: ParseRules, file_format: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parsed = parse_all(write(Path(folder), rows, file_format), rules)
    verdicts = [judge(row, rules) for row in rows]
    kept = [verdict[1:] for verdict in verdicts if verdict[0] == "kept"]
    assert kept_rows(parsed) == kept
    counts = total(one.counts for one in parsed)
    tally = Counter(verdict[0] for verdict in verdicts)
    assert (counts.read, counts.kept) == (len(rows), len(kept))
    assert (counts.late, counts.early) == (tally.pop("late", 0), tally.pop("early", 0))
    tally.pop("kept", None)
    assert counts.rejected == tally
    assert counts.weight_total == sum(row[2] for row in kept)
    assert counts.newest_us == max((row[3] for row in kept if row[3] is not None), default=None)
    # int64 only if all ids of all tasks are canonical.
    assert counts.has_int64_ids == all(is_canonical(end) for row in kept for end in row[:2])
    rejected = [row for one in parsed for row in one.rejections.to_pylist()]
    for row in rejected:
        original = rows[row["row"]]
        assert row["reason"] == verdicts[row["row"]][0]
        assert row["file"] == f"rows.{file_format}"
        for role in ROLES:
            value = original[role]
            if isinstance(value, str) and role in rules.columns:
                assert row[role] == value.encode("utf-8", "replace").decode() or (not value and row[role] is None)
    outside = {"kept", "late", "early"}
    assert [row["row"] for row in rejected] == [i for i, verdict in enumerate(verdicts) if verdict[0] not in outside]
    for one in parsed:
        assert one.rejections.schema == REJECTED.schema
        assert one.rows.schema == rows_schema(one.rows.schema.field("src_id").type)
        one.rows.validate(full=True)


variants = st.sampled_from(
    [
        ALL,
        replace(ALL, is_plain=True, start_us=None, end_us=None),
        replace(ALL, event=None, is_plain=True, keeps_self_loops=True),
        replace(ALL, weight=None, timestamp=None, start_us=None, end_us=None),
        ParseRules(is_plain=True),
        ParseRules(),
    ]
)


@settings(max_examples=150)
@given(rows_of(json_values=False), variants, st.sampled_from(["csv", "csv.gz"]))
def test_csv_agrees_with_a_row_by_row_reading(rows: list[Row], rules: ParseRules, file_format: str) -> None:
    assume(not any("\0" in (value or "") for row in rows for value in row.values()))  # a broken line, in text
    check_against_the_oracle(rows, rules, file_format)


@settings(max_examples=150)
@given(rows_of(json_values=False), variants)
def test_parquet_agrees_with_a_row_by_row_reading(rows: list[Row], rules: ParseRules) -> None:
    check_against_the_oracle(rows, rules, "parquet")


@settings(max_examples=250)
@given(rows_of(json_values=True), variants)
def test_json_agrees_with_a_row_by_row_reading(rows: list[Row], rules: ParseRules) -> None:
    check_against_the_oracle(rows, rules, "jsonl")


pieces = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([b"1", b"7", b"\xc3", b"\xa9", b" ", b"\0", b"2023-06-01", b"view", b"2.5", b"1,5", b"nan"]),
)
cell_bytes = st.lists(pieces, max_size=2).map(lambda found: b"".join(found).translate(None, b',"\r\n'))


@given(st.lists(st.lists(cell_bytes, min_size=5, max_size=5), min_size=1, max_size=6), variants)
def test_bytes_of_any_kind_are_rows_that_are_all_accounted_for(cells: list[list[bytes]], rules: ParseRules) -> None:
    rules = replace(rules, timestamp_unit="s")  # numbers without a unit are refused
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(b"\n".join([",".join(ROLES).encode(), *map(b",".join, cells)]))
        counts = total(one.counts for one in parse_all(path, rules))
    assert counts.read == len(cells)
    assert counts.read == counts.kept + counts.late + counts.early + counts.rejected_total
    assert counts.kept <= sum(all(_is_an_id(cell) for cell in row[:2]) for row in cells)


def _is_an_id(cell: bytes) -> bool:
    try:
        return bool(cell.decode().strip(" \t\v\f")) and b"\0" not in cell
    except UnicodeDecodeError:
        return False


# Single properties.


UUIDS = [UUID(int=n) for n in (0, 0x0123456789ABCDEF0123456789ABCDEF, 2**128 - 1)]
DIGITS = Decimal("12345678901234567890123456789")
MORE_DIGITS = Decimal("1234567890" * 6)


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        *(
            (pa.array([1, 0, 100], kind), [1, 0, 100])
            for kind in (
                pa.int8(),
                pa.uint8(),
                pa.int16(),
                pa.uint16(),
                pa.int32(),
                pa.uint32(),
                pa.int64(),
                pa.uint64(),
            )
        ),
        (pa.array([2**64 - 1, 5], pa.uint64()), ["18446744073709551615", "5"]),
        (pa.array([Decimal(-5), Decimal(7)], pa.decimal128(38, 0)), [-5, 7]),
        (pa.array([DIGITS, Decimal(7)], pa.decimal128(38, 0)), [str(DIGITS), "7"]),
        (pa.array([MORE_DIGITS], pa.decimal256(70, 0)), [str(MORE_DIGITS)]),
        (pa.array(["a", "7"], pa.large_string()), ["a", "7"]),
        (pa.array(["7", "8", "7"]).dictionary_encode(), [7, 8, 7]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([u.bytes for u in UUIDS], pa.binary(16)), [str(u) for u in UUIDS]),
        (pa.array([u.bytes for u in UUIDS], pa.uuid()), [str(u) for u in UUIDS]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_every_accepted_id_column_keeps_its_ids(tmp_path: Path, column: pa.Array, wanted: list[Any]) -> None:
    table = pa.table({"source": column, "target": pa.array([1] * len(column))})
    assert ids_in(from_table(tmp_path, table, ParseRules())) == wanted


def test_nulls_among_uuids_and_dictionaries_are_null_ids(tmp_path: Path) -> None:
    uuids = pa.array([None, UUIDS[1].bytes, None], pa.binary(16))
    table = pa.table({"source": uuids, "target": pa.array(["x", None, "y"]).dictionary_encode()})
    counts = total(one.counts for one in from_table(tmp_path, table, ParseRules()))
    assert counts.rejected == {"null id": 3}


@pytest.mark.parametrize(
    ("column", "advice"),
    [
        (pa.array([1.0]), r"is double; .*CAST\(source AS BIGINT\)"),
        (pa.array([1.0], pa.float32()), r"CAST\(source AS BIGINT\)"),
        (pa.array([True]), r"CAST\(source AS STRING\)"),
        (pa.array([b"x"]), r"is binary; .*CAST\(source AS STRING\)"),
        (pa.array([dt.date(2024, 1, 1)]), r"CAST\(source AS STRING\)"),
        (pa.array([Decimal("1.50")], pa.decimal128(9, 2)), r"DECIMAL\(7, 0\)"),
        (pa.array([[1]]), "is list"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_columns_that_hold_no_ids_are_refused_with_the_cast_to_use(
    tmp_path: Path, column: pa.Array, advice: str
) -> None:
    with pytest.raises(InputError, match=advice) as caught:
        from_table(tmp_path, pa.table({"source": column, "target": pa.array([1])}), ParseRules())
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "text", ["007", "+7", "-0", " 7", "7 ", "0x1F", "9223372036854775808", "-9223372036854775809", "1.0"]
)
def test_one_id_that_is_not_canonical_makes_all_text(tmp_path: Path, text: str) -> None:
    table = pa.table({"source": ["1", "2"], "target": ["3", text]})
    (parsed,) = from_table(tmp_path, table, ParseRules())
    assert parsed.rows.column("dst_id").to_pylist() == ["3", text]
    assert parsed.rows.column("src_id").to_pylist() == ["1", "2"]
    assert not parsed.counts.has_int64_ids


def test_rejected_and_late_rows_do_not_decide_the_id_type(tmp_path: Path) -> None:
    when = [dt.datetime(2023, 6, 1), dt.datetime(2023, 6, 1), dt.datetime(2024, 6, 1)]
    table = pa.table({"source": ["1", "x", "y"], "target": ["2", None, "3"], "timestamp": when})
    rules = ParseRules(timestamp="timestamp", end_us=ALL.end_us)
    (parsed,) = from_table(tmp_path, table, rules)
    assert parsed.rows.column("src_id").to_pylist() == [1]
    loops = pa.table({"source": ["x", "1"], "target": ["x", "2"]})
    assert ids_in(from_table(tmp_path, loops, ParseRules(is_plain=True))) == [1]


def test_a_task_changes_its_id_type_at_most_once(tmp_path: Path) -> None:
    ids = ["1", "2", "x", "4", "5", "6"]
    pq.write_table(pa.table({"source": ids, "target": ids}), tmp_path / "t.parquet", row_group_size=1)
    (task,) = split_tasks(list_sources(str(tmp_path)))
    for start in range(2):  # one batch a row group
        pieces = tuple(replace(task.pieces[0], row_groups=(g, g + 1), first_row=g) for g in range(start, 6))
        kinds = [str(one.rows.schema.field("src_id").type) for one in parse(ParseTask(pieces), ParseRules())]
        assert kinds == ["int64"] * (2 - start) + ["string"] * 4


def test_ends_are_ordered_by_value_or_by_bytes() -> None:
    def ends(source: list[Any], target: list[Any]) -> list[tuple[Any, Any]]:
        n, kind = len(source), pa.string() if isinstance(max(source, default=0), str) else pa.int64()
        other = [pa.array([7] * n), pa.array([1] * n), pa.nulls(n, pa.int64())]
        columns = [pa.array(source, kind), pa.array(target, kind), *other]
        batch = order_ends(pa.RecordBatch.from_arrays(columns, schema=rows_schema(columns[0].type)))
        return list(zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True))

    assert ends([10, 9, -1], [9, 10, -2]) == [(9, 10), (9, 10), (-2, -1)]
    assert ends(["9", "ü", "Z"], ["10", "z", "a"]) == [("10", "9"), ("z", "ü"), ("Z", "a")]
    assert ends(["\U0001f600"], ["\uffff"]) == [("\uffff", "\U0001f600")]  # UTF-16 would order them the other way
    assert ends([], []) == []


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, -1.0, None, 2.0**20 * 1.0001, 2.0**-34]
)
def test_bad_weights_are_rejected_row_by_row(tmp_path: Path, value: float | None) -> None:
    wanted = judge({"source": 1, "target": 2, "weight": value}, ParseRules(weight="weight"))
    for kind in (pa.float64(), pa.float32()):
        table = pa.table({"source": [1, 3], "target": [2, 4], "weight": pa.array([value, 1.5], kind)})
        (parsed,) = from_table(tmp_path, table, ParseRules(weight="weight"))
        assert parsed.counts.rejected == {wanted[0]: 1}
        assert parsed.rows.column("weight").to_pylist() == [3 * 2**31]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([3, 2**20], pa.int32()),
        pa.array([3, 2**20], pa.uint64()),
        pa.array([Decimal("3.00"), Decimal(2**20)], pa.decimal128(20, 2)),
        pa.array(["3", " 1048576.0 "]).dictionary_encode(),
    ],
)
def test_weights_of_any_numeric_kind_are_the_same_units(tmp_path: Path, column: pa.Array) -> None:
    table = pa.table({"source": [1, 2], "target": [1, 2], "weight": column})
    (parsed,) = from_table(tmp_path, table, ParseRules(weight="weight"))
    assert parsed.rows.column("weight").to_pylist() == [3 * 2**32, 2**52]


def test_units_are_rounded_half_to_even(tmp_path: Path) -> None:
    half = 2.0**-33
    table = pa.table({"source": [1] * 3, "target": [2] * 3, "weight": [1 + half, 1 + 3 * half, 3 * half]})
    (parsed,) = from_table(tmp_path, table, ParseRules(weight="weight"))
    assert parsed.rows.column("weight").to_pylist() == [2**32, 2**32 + 2, 2]


def test_the_weight_total_is_exact_beyond_64_bits() -> None:
    counts = Counts(weight_total=2**63 - 1) + Counts(weight_total=2**63 - 1)
    assert counts.weight_total == 2**64 - 2
    from pipeline.ingest.weights import weight_total

    assert weight_total(np.full(4096, 2**52)) == 2**64


MOMENT = 1_685_577_600_123_456  # 2023-06-01T00:00:00.123456Z
FIRST = 631_152_000_000_000  # 1990-01-01


@pytest.mark.parametrize(
    ("column", "unit", "wanted"),
    [
        (pa.array([MOMENT], pa.timestamp("us")), None, MOMENT),
        (pa.array([MOMENT], pa.timestamp("us", "America/New_York")), None, MOMENT),
        (pa.array([MOMENT // 10**6], pa.timestamp("s")), None, MOMENT // 10**6 * 10**6),
        (pa.array([MOMENT // 1000], pa.timestamp("ms")), None, MOMENT // 1000 * 1000),
        (pa.array([MOMENT * 1000 + 999], pa.timestamp("ns")), None, MOMENT),
        (pa.array([FIRST * 1000 + 1], pa.timestamp("ns")), None, FIRST),
        (pa.array([dt.date(2023, 6, 1)]), None, MOMENT - 123_456),
        (pa.array([dt.date(2023, 6, 1)], pa.date64()), None, MOMENT - 123_456),
        (pa.array([MOMENT // 10**6], pa.int32()), "s", MOMENT // 10**6 * 10**6),
        (pa.array([MOMENT // 1000], pa.uint64()), "ms", MOMENT // 1000 * 1000),
        (pa.array([MOMENT]), "us", MOMENT),
        (pa.array([MOMENT * 1000 + 999]), "ns", MOMENT),
        (pa.array([MOMENT / 1e6]), "s", MOMENT),
        (pa.array([str(MOMENT)[:10] + "." + str(MOMENT)[10:] + "999"]), "s", MOMENT),
        (pa.array([f"1.{str(MOMENT)[1:]}E9"]), "s", MOMENT),
        (pa.array([Decimal(MOMENT) / 1000]), "ms", MOMENT),
        (pa.array([str(MOMENT)]), "us", MOMENT),
        (pa.array(["2023-06-01T00:00:00.123456999"]), "us", MOMENT),
    ],
)
def test_timestamps_of_any_kind_are_microseconds_in_utc(
    tmp_path: Path, column: pa.Array, unit: Any, wanted: int
) -> None:
    table = pa.table({"source": [1], "target": [2], "timestamp": column})
    (parsed,) = from_table(tmp_path, table, ParseRules(timestamp="timestamp", timestamp_unit=unit))
    assert parsed.rows.column("last_ts").to_pylist() == [wanted]


@pytest.mark.parametrize("column", [pa.array([2**62]), pa.array([-(2**62)]), pa.array([2**63], pa.uint64())])
def test_integers_beyond_any_time_are_out_of_range(tmp_path: Path, column: pa.Array) -> None:
    table = pa.table({"source": [1], "target": [2], "timestamp": column})
    rules = ParseRules(timestamp="timestamp", timestamp_unit="s", end_us=0)
    assert from_table(tmp_path, table, rules)[0].counts.rejected == {"timestamp out of range": 1}


@pytest.mark.parametrize("column", [pa.array([MOMENT]), pa.array([str(MOMENT)])])
def test_integer_timestamps_without_a_unit_are_refused(tmp_path: Path, column: pa.Array) -> None:
    table = pa.table({"source": [1], "target": [2], "timestamp": column})
    with pytest.raises(InputError, match="set input\\.timestamp_unit"):
        from_table(tmp_path, table, ParseRules(timestamp="timestamp"))


@pytest.mark.parametrize("column", [pa.array([1.5], pa.float32()), pa.array([True]), pa.array([dt.time(1)])])
def test_columns_that_hold_no_times_are_refused(tmp_path: Path, column: pa.Array) -> None:
    table = pa.table({"source": [1], "target": [2], "timestamp": column})
    with pytest.raises(InputError, match=r"column 'timestamp'.*CAST\(timestamp AS TIMESTAMP\)"):
        from_table(tmp_path, table, ParseRules(timestamp="timestamp", timestamp_unit="s"))


def test_the_end_of_the_date_is_exclusive_and_the_window_inclusive(tmp_path: Path) -> None:
    ts = pa.array([FIRST + moment for moment in (9, 10, 19, 20)], pa.timestamp("us"))
    table = pa.table({"source": [1, 2, 3, 4], "target": [1, 2, 3, 4], "timestamp": ts})
    rules = ParseRules(timestamp="timestamp", start_us=FIRST + 10, end_us=FIRST + 20)
    (parsed,) = from_table(tmp_path, table, rules)
    assert parsed.rows.column("src_id").to_pylist() == [2, 3]
    assert (parsed.counts.early, parsed.counts.late, parsed.counts.rejected_total) == (1, 1, 0)
    (task,) = split_tasks(list_sources(str(tmp_path)))
    assert newest_timestamp(task, rules).newest_us == FIRST + 19


def test_weights_are_as_of_the_epoch_where_a_half_life_is_given(tmp_path: Path) -> None:
    ts = FIRST + np.array([0, 500, 1000])
    table = pa.table({"source": [1, 2, 3], "target": [1, 2, 3], "timestamp": pa.array(ts, pa.timestamp("us"))})
    rules = ParseRules(timestamp="timestamp", half_life_us=500, epoch_us=FIRST + 1000)
    (parsed,) = from_table(tmp_path, table, rules)
    assert parsed.rows.column("weight").to_pylist() == decay_weights(np.full(3, 2**32), ts, FIRST + 1000, 500).tolist()
    assert parsed.counts.weight_total == 2**32 + 2**31 + 2**30


def test_nothing_depends_on_how_the_rows_are_cut_into_tasks(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    n = 2_000
    ids = np.where(rng.random(n) < 0.3, "u7", rng.integers(0, 50, n).astype(str))
    table = pa.table({"source": ids, "target": rng.integers(0, 50, n), "weight": rng.normal(1, 1, n)})
    rules = ParseRules(weight="weight", is_plain=True)
    whole = from_table(tmp_path, table, rules)
    cut = from_table(tmp_path, table, rules, row_group_size=100)
    assert len(cut) > len(whole)
    assert kept_rows(whole) == kept_rows(cut)
    assert total(one.counts for one in whole) == total(one.counts for one in cut)
    assert [r for one in whole for r in one.rejections.to_pylist()] == [
        r for one in cut for r in one.rejections.to_pylist()
    ]


def test_counts_survive_json_and_add_up() -> None:
    one = Counts(read=5, kept=3, rejected={"null id": 2}, newest_us=7, weight_total=2**70)
    assert codec.from_text(Counts, codec.to_text(one)) == one
    both = one + Counts(read=2, rejected={"self loop": 1, "null id": 1}, has_int64_ids=False, late=1)
    assert both.rejected == {"null id": 3, "self loop": 1}
    assert (both.read, both.rejected_total, both.has_int64_ids) == (7, 4, False)
    assert both.rejected_share == 4 / 7
    assert total([]).rejected_share == 0


def test_rules_survive_json() -> None:
    assert codec.from_text(ParseRules, codec.to_text(ALL)) == ALL
