"""Times of every kind: the right moment, or a rejection that says which unit was meant."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.sections import InputConfig
from pipeline.config.time_layout import time_layout
from pipeline.ingest.counts import total
from pipeline.ingest.ids import MAX_ID_BYTES
from pipeline.ingest.parse import ParseRules, newest_timestamp
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.readers import to_plain
from pipeline.ingest.rejected import ACCEPTED, REASONS, RowVerdict, Verdicts
from pipeline.ingest.sources import list_sources
from pipeline.ingest.timestamps import DIGIT_LAYOUTS, UNITS, TimeForm, Unit, microseconds, reading_of, unit_that_fits
from pipeline.ingest.weights import MAX_WEIGHT
from tests.ingest.parsing import parse_all

EPOCH = dt.datetime(1970, 1, 1)
FIRST, LAST = dt.datetime(1990, 1, 1), dt.datetime(2100, 12, 31, 23, 59, 59, 999_999)
SIZE = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
OUT = RowVerdict.TIMESTAMP_OUT_OF_RANGE

moments = st.datetimes(FIRST, LAST).map(lambda moment: (moment - EPOCH) // dt.timedelta(microseconds=1))
units = st.sampled_from(UNITS)


def read(column: pa.Array, unit: Unit | None = None, layout: str | None = None) -> tuple[list[int], list[RowVerdict]]:
    verdicts = Verdicts(len(column))
    values = microseconds(to_plain(column), TimeForm(unit, layout), verdicts, "ts", "the input")
    codes = np.zeros(len(column), np.uint8) if verdicts.codes is None else verdicts.codes
    return values.tolist(), [RowVerdict(int(code)) for code in codes]


def column_of(number: int, form: str) -> pa.Array:
    """A number, and a null beside it, as a column of a form."""
    if form == "text":
        return pa.array([str(number), None])
    if form == "dictionary":
        return pa.array([str(number), None]).dictionary_encode()
    if form == "decimal":
        return pa.array([number, None], pa.decimal128(20, 0))
    if form == "double":
        return pa.array([float(number), None])
    return pa.array([number, None], {"int64": pa.int64(), "uint64": pa.uint64()}[form])


@given(moments, units, units, st.sampled_from(["int64", "uint64", "double", "decimal", "text", "dictionary"]))
def test_a_number_is_right_or_the_unit_that_was_meant_is_said(us: int, meant: Unit, told: Unit, form: str) -> None:
    number = us * 1000 // SIZE[meant]
    if form == "double":
        number = int(float(number))
    column = column_of(number, form)
    values, verdicts = read(column, told)
    assert verdicts[1] == RowVerdict.NULL_TIMESTAMP
    if told == meant:
        assert (values[0], verdicts[0]) == (number * SIZE[meant] // 1000, RowVerdict.KEPT)
    else:
        assert verdicts[0] == OUT
        day = (EPOCH + dt.timedelta(microseconds=number * SIZE[meant] // 1000)).date()
        assert f"{day} in '{meant}'" in reading_of(column[0], TimeForm(told))
    assert unit_that_fits(number) == meant


@given(moments, units, units)
def test_a_column_of_moments_in_a_wrong_unit_says_so(us: int, meant: Unit, told: Unit) -> None:
    column = pa.array([us * 1000 // SIZE[meant]], pa.int64()).cast(pa.timestamp(told))
    values, (verdict,) = read(column)
    if told == meant:
        assert (values[0], verdict) == (us * 1000 // SIZE[meant] * SIZE[meant] // 1000, RowVerdict.KEPT)
    else:
        assert verdict == OUT
        assert f" in '{meant}'" in reading_of(column[0], TimeForm())


@given(st.integers(-(2**63), 2**63 - 1), units, st.sampled_from(["int64", "text", "double", "moments", "days"]))
def test_no_number_overflows_into_a_time(number: int, unit: Unit, form: str) -> None:
    size = SIZE[unit]
    if form == "moments":
        column = pa.array([number]).cast(pa.timestamp(unit))
    elif form == "days":
        number = (number + 2**31) % 2**32 - 2**31
        column, size = pa.array([number], pa.int32()).cast(pa.date32()), 86_400 * 10**9
    else:
        number = int(float(number)) if form == "double" else number
        column = column_of(number, form).slice(0, 1)
    ((value,), (verdict,)) = read(column, unit)
    if FIRST <= EPOCH + dt.timedelta(seconds=min(max(number * size // 10**9, -(10**10)), 10**11)) <= LAST:
        assert (value, verdict) == (number * size // 1000, RowVerdict.KEPT)
    else:
        assert verdict == OUT


@pytest.mark.parametrize(
    "text",
    ["0001-01-01", "1970-01-01", "1989-12-31T23:59:59.999999", "2101-01-01", "9999-12-31", "2101-01-01 01:00 +0059"],
)
def test_what_systems_write_for_null_is_out_of_range(text: str) -> None:
    assert read(pa.array([text]))[1] == [OUT]
    if "T" not in text and ":" not in text:
        for kind in (pa.date32(), pa.date64()):
            assert read(pa.array([dt.date.fromisoformat(text)], kind))[1] == [OUT]


@pytest.mark.parametrize("text", ["99999999999999999999", "1e18", "-1700000000", "-1.5", "-1700000000.5", "1.7e19"])
def test_numbers_that_are_no_times_are_out_of_range(text: str) -> None:
    if text != "1.7e19":
        assert read(pa.array([text]), "s")[1] == [OUT]
    assert read(pa.array(["1700000000", text]), "s")[1][0] == RowVerdict.KEPT


@given(moments, st.integers(0, 10**12), units)
def test_fractions_of_epochs_are_rounded_down_exactly(us: int, tail: int, unit: Unit) -> None:
    exact = Fraction(us * 1000, SIZE[unit]) + Fraction(tail, 10**18)
    whole, fraction = divmod(exact, 1)
    digits = f"{math.floor(fraction * 10**18):018d}"
    text = f"{whole}.{digits}"
    want = math.floor(Fraction(text) * SIZE[unit] / 1000)
    shifted = f"{str(whole)[0]}.{str(whole)[1:]}{digits}"[:19] + f"E{len(str(whole)) - 1}"
    columns = [
        (pa.array([text]), want),
        (pa.array([f" {text}"]), want),
        (pa.array([shifted]), math.floor(Fraction(shifted) * SIZE[unit] / 1000)),
        (pa.array([float(text)]), math.floor(Fraction(float(text)) * SIZE[unit] / 1000)),
    ]
    for column, micros in columns:
        if micros < (LAST - EPOCH) // dt.timedelta(microseconds=1):  # a double may be rounded up, out of 2100
            assert read(column, unit) == ([micros], [RowVerdict.KEPT])


def test_not_a_number_is_no_value_and_infinity_is_unreadable() -> None:
    column = pa.array([np.nan, np.inf, -np.inf, None, 1.7e9], from_pandas=False)
    assert read(column, "s")[1] == [
        *(RowVerdict.NULL_TIMESTAMP, RowVerdict.UNREADABLE_TIMESTAMP, RowVerdict.UNREADABLE_TIMESTAMP),
        *(RowVerdict.NULL_TIMESTAMP, RowVerdict.KEPT),
    ]


LAYOUTS = (
    *("%m/%d/%Y", "%d.%m.%Y %H:%M", "%Y%m%d%H%M%S", "%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%Y-%j"),
    *("%B %d, %Y %I:%M:%S %p", "%m/%d/%y %I:%M %p", "%F %T.%f", "%Y", "%Y/%m"),
)


@given(
    st.datetimes(FIRST, dt.datetime(2068, 12, 31)), st.integers(-1439, 1439), st.sampled_from(LAYOUTS), st.booleans()
)
def test_a_layout_reads_what_strftime_wrote(moment: dt.datetime, offset: int, layout: str, bare: bool) -> None:
    aware = moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=offset)))
    text = aware.strftime(layout)
    if bare and "/" in layout:  # as spreadsheets write it: 1/2/2024
        text = "/".join([part.lstrip("0") or part for part in text.split("/")[:2]] + text.split("/")[2:])
    wanted = dt.datetime.strptime(text, layout.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S"))
    wanted = wanted.replace(tzinfo=wanted.tzinfo or dt.UTC)
    want = (wanted - EPOCH.replace(tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    if FIRST.year <= wanted.astimezone(dt.UTC).year:
        assert read(pa.array([text, None]), layout=layout) == ([want, 0], [RowVerdict.KEPT, RowVerdict.NULL_TIMESTAMP])


@given(
    st.integers(0, 40), st.integers(0, 14), st.integers(1988, 2102), st.sampled_from(["{m}/{d}/{y}", "{y}{m:02}{d:02}"])
)
def test_a_day_that_does_not_exist_is_unreadable(d: int, m: int, y: int, form: str) -> None:
    layout = "%m/%d/%Y" if "/" in form else "%Y%m%d"
    text = form.format(d=d, m=m, y=y)
    for column in (pa.array([text]), pa.array([int(text)]) if text.isdecimal() else pa.array([text])):
        values, (verdict,) = read(column, layout=layout)
        try:
            day = dt.datetime(y, m, d)
        except ValueError:
            assert verdict == RowVerdict.UNREADABLE_TIMESTAMP
            continue
        assert verdict == (RowVerdict.KEPT if 1990 <= y <= 2100 else OUT)
        if verdict == RowVerdict.KEPT:
            assert values == [(day - EPOCH) // dt.timedelta(microseconds=1)]


@pytest.mark.parametrize(
    "text", ["2023-06-01", "13/01/2023", "1/2/23", "1/2/2023 10:00", "x1/2/2023", "1//2023", "１/2/2023", "1/2/2023\n3"]
)
def test_another_form_than_the_layouts_is_unreadable(text: str) -> None:
    assert read(pa.array([text]), layout="%m/%d/%Y")[1] == [RowVerdict.UNREADABLE_TIMESTAMP]


@pytest.mark.parametrize(
    ("layout", "complaint"),
    [
        ("M/D/Y", "has no year"),
        ("%m/%d", "has no year"),
        ("%Y-%q", "'%q' is none of"),
        ("%Y %", "'%' is none of"),
        ("%d/%Y", "%d needs %m %b"),
        ("%Y-%m-%d %M", "%M needs %H %I"),
        ("%Y-%m-%d %I:%M", "%I needs %p"),
        ("%Y %y", "one thing twice"),
        ("%m/%d/%Y %b", "one thing twice"),
        ("", "has no year"),
    ],
)
def test_a_layout_that_says_no_moment_is_refused_with_the_config(layout: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("(", r"\(")):
        InputConfig(path="x", timestamp="ts", timestamp_format=layout)
    with pytest.raises(ValueError, match=complaint):
        time_layout(layout)


def test_a_layout_needs_a_column_and_no_unit() -> None:
    with pytest.raises(ValueError, match="needs timestamp"):
        InputConfig(path="x", timestamp_format="%Y")
    with pytest.raises(ValueError, match="set one"):
        InputConfig(path="x", timestamp="ts", timestamp_format="%Y", timestamp_unit="s")


def test_int96_keeps_what_nanoseconds_can_not_hold(tmp_path: Path) -> None:
    when = [dt.datetime(9999, 12, 31), dt.datetime(2023, 6, 1, 1, 2, 3, 456_789), dt.datetime(1, 1, 1)]
    table = pa.table({"source": [1, 2, 3], "target": [1, 2, 3], "timestamp": pa.array(when, pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "t.parquet", use_deprecated_int96_timestamps=True)
    (parsed,) = parse_all(tmp_path / "t.parquet", ParseRules(timestamp="timestamp"))
    assert parsed.rows.column("last_ts").to_pylist() == [(when[1] - EPOCH) // dt.timedelta(microseconds=1)]
    assert parsed.counts.rejected == {"timestamp out of range": 2}
    assert "9999-12-31" in parsed.counts.examples["timestamp out of range"]


days = st.one_of(
    st.dates(dt.date(2026, 1, 1), dt.date(2027, 1, 1)),
    st.sampled_from([dt.date(2037, 1, 1), dt.date(2100, 12, 31), dt.date(9999, 12, 31), dt.date(1, 1, 1), None]),
)


#: A column of each kind with a good moment, a null and the kind's two extremes.
EXTREMES = {
    **{
        f"{unit} {zone}": pa.array([17 * 10**17 // SIZE[unit], None, -(2**62), 2**62], pa.timestamp(unit, zone))
        for unit in UNITS
        for zone in (None, "UTC", "Europe/Berlin", "+05:30", "Mars/Base")
    },
    "date32": pa.array([19_000, None, -(2**31), 2**31 - 1], pa.date32()),
    "date64": pa.array([19_000 * 86_400_000, None, -(2**62), 2**62], pa.date64()),
    "text": pa.array(["2024-01-31", None, "0001-01-01", "9999-12-31"]),
    "large text": pa.array(["2024-01-31", None, "0001-01-01", "9999-12-31"], pa.large_string()),
    "viewed text": pa.array(["2024-01-31", None, "0001-01-01", "9999-12-31"], pa.string_view()),
}


@pytest.mark.parametrize("kind", EXTREMES)
def test_extremes_of_every_type_are_rejected_rows_with_an_example(kind: str, tmp_path: Path) -> None:
    column = EXTREMES[kind]
    if kind.startswith("s "):  # Parquet knows no seconds
        assert read(column)[1] == [RowVerdict.KEPT, RowVerdict.NULL_TIMESTAMP, OUT, OUT]
        assert reading_of(column[3], TimeForm()).startswith("the year ")
        return
    pq.write_table(pa.table({"source": list("abcd"), "target": list("efgh"), "ts": column}), tmp_path / "t.parquet")
    parsed = parse_all(tmp_path / "t.parquet", ParseRules(timestamp="ts"))
    counts = total(one.counts for one in parsed)
    assert (counts.kept, counts.rejected) == (1, {"null timestamp": 1, "timestamp out of range": 2})
    assert "of t.parquet)" in counts.examples["timestamp out of range"]
    assert sum(one.rejections.num_rows for one in parsed) == 3


@pytest.mark.parametrize("layout", DIGIT_LAYOUTS)
@given(st.datetimes(FIRST, LAST))
def test_digits_of_a_date_are_read_by_their_layout_and_without_it_the_layout_is_said(
    layout: str, moment: dt.datetime
) -> None:
    digits = moment.strftime(layout)
    number = int(digits)
    wanted = (dt.datetime.strptime(digits, layout) - EPOCH) // dt.timedelta(microseconds=1)
    forms = [
        *(pa.array([digits]), pa.array([f"{digits}.0"]), pa.array([number]), pa.array([float(number), None])),
        pa.array([number, None], pa.decimal128(16, 1)),
    ]
    for column in forms:
        values, verdicts = read(column, layout=layout)
        assert (values[0], verdicts[0]) == (wanted, RowVerdict.KEPT), column
        assert verdicts[1:] in ([], [RowVerdict.NULL_TIMESTAMP])
        for unit in UNITS:
            says_layout = f"timestamp_format = '{layout}'" in reading_of(column[0], TimeForm(unit))
            assert says_layout == (unit_that_fits(number) is None)


def test_a_fraction_is_no_date_in_digits() -> None:
    column = pa.array([20240131.0, 20240131.5, math.inf, -math.inf, 1e300, math.nan, None])
    unread = [RowVerdict.UNREADABLE_TIMESTAMP] * 4
    assert read(column, layout="%Y%m%d")[1] == [RowVerdict.KEPT, *unread, *[RowVerdict.NULL_TIMESTAMP] * 2]
    # Where the layout has a point, it is the layout's.
    assert read(pa.array(["20240131120000.000"]), layout="%Y%m%d%H%M%S.%f")[1] == [RowVerdict.KEPT]


@given(st.lists(days, min_size=1, max_size=12), st.dates(dt.date(2026, 1, 1), dt.date(2027, 1, 1)), st.integers(1, 400))
def test_the_newest_time_is_never_in_the_future_and_counts_add_up(
    found: list[dt.date | None], today: dt.date, window: int
) -> None:
    end = (today - EPOCH.date()).days * 86_400_000_000 + 86_400_000_000
    rules = ParseRules(timestamp="timestamp", end_us=end, future_us=end)
    ids = [number if number % 5 else None for number in range(len(found))]  # some rows are bad in another way too
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(
            pa.table({"source": ids, "target": ids, "timestamp": pa.array(found, pa.date32())}), f"{folder}/t.parquet"
        )
        newest = total(newest_timestamp(task, rules) for task in split_tasks(list_sources(folder)))
        parsed = parse_all(
            Path(folder),
            ParseRules(timestamp="timestamp", end_us=end, start_us=end - window * 86_400_000_000, future_us=end),
        )
    times = [day for day in found if day and 1990 <= day.year <= 2100]
    past = [day for day in times if day <= today]
    if past:
        assert newest.newest_us is not None
        assert EPOCH.date() + dt.timedelta(days=newest.newest_us // 86_400_000_000) == max(past)
    else:
        assert newest.newest_us is None
    counts = total(one.counts for one in parsed)
    for one in (newest, counts):
        assert one.read == len(found) == one.kept + one.late + one.early + one.rejected_total
        assert one.late == one.future == len(times) - len(past)
    assert counts.early == sum(day <= today - dt.timedelta(days=window) for day in past)


SECRETS = ("4915112345678", "ann.smith@example.org", "SKU-7781-XYZ", "x" * 20_000)
bad_rows = st.fixed_dictionaries(
    {
        "source": st.sampled_from([*SECRETS, "", None]),
        "target": st.sampled_from([*SECRETS, "", None]),
        "weight": st.sampled_from(["1", "-3", "nan", "many", "", "1e9"]),
        "event": st.sampled_from(["view", "refund", ""]),
        "timestamp": st.sampled_from(["2023-06-01", "yesterday", "9999-12-31", "", None]),
    }
)


@given(st.lists(bad_rows, min_size=1, max_size=8), st.booleans())
def test_examples_show_values_and_never_ids(rows: list[dict[str, Any]], plain: bool) -> None:
    rules = ParseRules(
        **{"weight": "weight", "event": "event", "timestamp": "timestamp"}, event_weights={"view": 1.0}, is_plain=plain
    )
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(
            pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in rows[0]}),
            f"{folder}/t.parquet",
        )
        counts = total(one.counts for one in parse_all(Path(folder), rules))
    assert set(counts.examples) == set(counts.rejected) <= set(ACCEPTED)
    text = " ".join(counts.examples.values())
    assert not any(secret[:12] in text for secret in SECRETS)
    shown = {
        "unreadable timestamp": "'yesterday'",
        "timestamp out of range": "'9999-12-31'",
        "unknown event": "'refund'",
        "non-positive weight": "'-3'",
    }
    for reason, value in shown.items():
        assert reason not in counts.examples or counts.examples[reason].startswith(f"{value} (row ")


def test_every_reason_says_what_is_accepted() -> None:
    assert set(ACCEPTED) == set(REASONS.values())
    assert f"at most {MAX_ID_BYTES:,} bytes" in ACCEPTED["unreadable id"]
    assert f"at most {MAX_WEIGHT:,.0f}" in ACCEPTED["weight out of range"]
