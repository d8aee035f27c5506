"""Which date a run is of: never that of a row in the future, and kept by whoever goes on with the run."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.stages import opening
from tests.stages.chains import Chain, config_for, users_and_items, with_changes, write_rows

DAY = dt.timedelta(days=1)
TODAY = dt.date(2024, 6, 5)


def rows_of(days: Sequence[dt.date | None]) -> dict[str, Any]:
    rows = users_and_items(3, 40 * len(days))
    rows["ts"] = pa.array([day for day in days for _ in range(40)], pa.date32())
    return rows


def dated(path: Path, **sections: Any) -> dict[str, Any]:
    return config_for(path, input={"timestamp": "ts"}, **sections)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the clock: a day, UTC."""

    def set_clock(day: dt.date) -> None:
        monkeypatch.setattr(opening, "utc_today", lambda: day)

    set_clock(TODAY)
    return set_clock


DAYS = (TODAY - 2 * DAY, TODAY - DAY, TODAY + DAY, dt.date(2037, 1, 1), dt.date(2100, 12, 31))


def test_rows_of_the_future_are_late_and_counted_and_do_not_choose_the_date(
    tmp_path: Path, at: Any, engine: Any
) -> None:
    path = write_rows(tmp_path / "in.parquet", rows_of(DAYS))
    changes = {"window_days": 3, "half_life_days": 1.0, "timestamp": "ts"}
    ended = Chain(tmp_path / "with", engine).run(config_for(path, input=changes))
    assert (ended.code, ended.answer["date"]) == (0, str(TODAY - DAY)), ended.error
    figures = ended.figures("ingest")
    counted = ("read", "kept", "late", "future", "early", "rejected_share")
    assert [figures[name] for name in counted] == [200, 80, 120, 120, 0, 0.0]
    published = json.loads((Path(ended.answer["path"]) / "manifest.json").read_text())
    assert published["stages"]["ingest"]["figures"]["future"] == 120
    # Without them the table is the same.
    without = write_rows(tmp_path / "past.parquet", pq.read_table(path).slice(0, 80))
    alone = Chain(tmp_path / "without", engine)
    table = alone.publish(config_for(without, input=changes))
    assert table.data == alone.published(Path(ended.answer["path"])).data


def test_a_row_of_today_chooses_the_date_and_one_after_it_does_not(tmp_path: Path, at: Any) -> None:
    moments = pa.array(["2024-06-05T23:59:59.999999999Z", "2024-06-06T00:00:00Z", "2024-06-06T01:00:00+02:00"])
    rows = users_and_items(3, 30) | {"ts": moments.take(pa.array([number % 3 for number in range(30)]))}
    ended = Chain(tmp_path).run(dated(write_rows(tmp_path / "in.csv", rows)))
    assert ended.answer["date"] == "2024-06-05"
    assert [ended.figures("ingest")[name] for name in ("kept", "late", "future")] == [20, 10, 10]


def test_a_late_row_is_late_whatever_else_is_wrong_with_it(tmp_path: Path, at: Any) -> None:
    rows = rows_of(DAYS)
    rows["source"] = [source if number < 80 else None for number, source in enumerate(rows["source"])]
    ended = Chain(tmp_path).run(dated(write_rows(tmp_path / "in.parquet", rows)))
    assert ended.code == 0, ended.error
    assert (ended.figures("ingest")["late"], ended.figures("ingest")["rejected"]) == (120, {})


def test_a_run_that_goes_on_tomorrow_keeps_its_date(tmp_path: Path, at: Any) -> None:
    config = dated(write_rows(tmp_path / "in.parquet", rows_of(DAYS)))
    chain = Chain(tmp_path)
    begun = chain.run(config, ["ingest", "index"])
    assert begun.answer["date"] == str(TODAY - DAY)
    at(TODAY + DAY)  # there is a row of this day
    for names in (["partition"], ["layout", "embed"]):
        assert chain.run(config, names).answer["date"] == str(TODAY - DAY)
    ended = chain.run(config)
    assert (ended.answer["date"], ended.figures("ingest")["future"]) == (str(TODAY - DAY), 120)
    assert ended.skipped == ["ingest", "index", "partition", "layout", "embed"]
    # Another clock changes nothing of a run with other gates either, but other input is another run.
    eased = with_changes(config, publish={"gates": {"min_rows": 2}}, input={"max_rejected_share": 0.5})
    assert chain.run(eased).answer["date"] == str(TODAY - DAY)
    write_rows(tmp_path / "in.parquet", rows_of([*DAYS, TODAY]))
    assert chain.run(config).answer["date"] == str(TODAY + DAY)


def test_a_run_that_was_killed_while_it_read_the_input_keeps_its_date(
    tmp_path: Path, at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dated(write_rows(tmp_path / "in.parquet", rows_of(DAYS)))
    chain = Chain(tmp_path)

    def dies(*_: Any) -> Any:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.ingest.clean_rows.parse_files", dies)
        assert chain.run(config).code == 1
    at(TODAY + DAY)
    ended = chain.run(config)
    assert (ended.code, ended.answer["date"]) == (0, str(TODAY - DAY))


def test_a_run_that_a_wrong_clock_left_without_rows_begins_anew(tmp_path: Path, at: Any) -> None:
    config = dated(write_rows(tmp_path / "in.parquet", rows_of(DAYS)))
    chain = Chain(tmp_path)
    at(dt.date(1980, 1, 1))
    for _ in range(2):
        refused = chain.run(config, ["ingest"])
        assert refused.code == 4
        assert "200 are after today, 1980-01-01 (UTC)" in refused.error
    at(TODAY)
    ended = chain.run(config, ["ingest"])
    assert (ended.code, ended.answer["date"]) == (0, str(TODAY - DAY)), ended.error
    at(TODAY + DAY)  # from here on it is a run that goes on
    assert chain.run(config, ["ingest"]).answer["date"] == str(TODAY - DAY)


def test_a_record_of_days_to_come_is_none_and_one_day_may_be_midnight(tmp_path: Path, at: Any) -> None:
    config = dated(write_rows(tmp_path / "in.parquet", rows_of(DAYS)))
    for ahead, wanted in ((1, TODAY + DAY), (2, TODAY - DAY), (20_000, TODAY - DAY)):
        chain = Chain(tmp_path / str(ahead))
        at(TODAY + ahead * DAY)
        chain.run(config, ["ingest"])
        at(TODAY)
        assert chain.run(config, ["ingest"]).answer["date"] == str(wanted)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "no JSON", "delete"])
def test_a_damaged_record_of_the_day_counts_as_none(tmp_path: Path, at: Any, damage: str) -> None:
    config = dated(write_rows(tmp_path / "in.parquet", rows_of(DAYS)))
    chain = Chain(tmp_path)
    assert chain.run(config, ["ingest"]).code == 0
    (record,) = (chain.root / "inputs" / "days").iterdir()
    data = record.read_bytes()
    record.write_bytes(
        {
            "flip": data.replace(b"2024-06-05", b"2024-06-04"),
            "cut": data[:-9],
            "empty": b"",
            "no JSON": b"[1]",
            "delete": b"",
        }[damage]
    )
    if damage == "delete":
        record.unlink()
    at(TODAY + DAY)
    ended = chain.run(config, ["ingest"])
    assert (ended.code, ended.answer["date"]) == (0, str(TODAY + DAY)), ended.error
    assert json.loads(record.read_bytes())["today"] == str(TODAY + DAY)


def test_a_date_after_today_needs_leave(tmp_path: Path, at: Any) -> None:
    config = dated(write_rows(tmp_path / "in.parquet", rows_of(DAYS)))
    chain = Chain(tmp_path)
    for names in (["ingest"], None):
        refused = chain.run(config, *([names] if names else []), date="2024-06-06")
        assert refused.code == 2
        assert "--date 2024-06-06 is after today, 2024-06-05 (UTC)" in refused.error
        assert "--allow-future" in refused.error
    assert chain.run(config, date="2024-06-05").code == 0
    allowed = chain.run(config, date="2024-06-06", allow_future=True)
    assert (allowed.code, allowed.answer["date"]) == (0, "2024-06-06")
    assert [allowed.figures("ingest")[name] for name in ("kept", "late", "future")] == [120, 80, 120]


@pytest.mark.parametrize(
    ("days", "unit", "sentence"),
    [
        (DAYS[2:], None, "120 are after today, 2024-06-05 (UTC), such as 2024-06-06 (date32[day])"),
        ([None], None, "null timestamp: 40"),
        ([dt.date(1970, 1, 1), dt.date(9999, 12, 31)], None, "out of range: 80, such as 1970-01-01 (date32[day])"),
        (DAYS[:2], "ms", "is 1970-01-20 in 'ms', and 2024-06-03 in 's' (row 0 of in.parquet)"),
        (DAYS[:2], "ns", "is 1970-01-01 in 'ns', and 2024-06-03 in 's' (row 0 of in.parquet)"),
    ],
)
def test_without_a_row_that_the_date_could_be_of_the_run_is_refused_by_name(
    tmp_path: Path, at: Any, days: Sequence[dt.date | None], unit: str | None, sentence: str
) -> None:
    rows = rows_of(days)
    if unit:
        rows["ts"] = [(day - dt.date(1970, 1, 1)).days * 86_400 for day in rows["ts"].to_pylist()]
    changes = {"timestamp": "ts"} | ({"timestamp_unit": unit} if unit else {})
    config = config_for(write_rows(tmp_path / "in.parquet", rows), input=changes)
    ended = Chain(tmp_path).run(config)
    assert (ended.code, ended.answer["date"]) == (4, None)
    assert sentence in ended.error
    assert "input.timestamp_unit" in ended.error
    assert ("--allow-future" in ended.error) == ("after today" in sentence)


def test_almost_all_rows_in_another_unit_are_refused_with_the_one_that_was_meant(tmp_path: Path, at: Any) -> None:
    rows = users_and_items(3, 100) | {"ts": [1_717_286_400] + [1_717_286_400_000 + number for number in range(99)]}
    config = config_for(write_rows(tmp_path / "in.csv", rows), input={"timestamp": "ts", "timestamp_unit": "s"})
    ended = Chain(tmp_path).run(config)
    assert (ended.code, ended.answer["date"]) == (4, "2024-06-02")
    assert (
        "timestamp out of range: 99, such as '1717286400000' is the year 56388 in 's', and 2024-06-02 in 'ms'"
        in ended.error
    )
    assert "accepted: times from 1990 to 2100" in ended.error


def test_the_pairs_of_a_day_are_found_by_the_date_that_was_chosen(tmp_path: Path, at: Any) -> None:
    path = write_rows(tmp_path / "in.parquet", rows_of(DAYS[:2]))
    write_rows(tmp_path / "2024-06-04.parquet", users_and_items(3, 20))
    config = dated(path, evaluate={"source": "file", "path": str(tmp_path / "{date}.parquet")})
    ended = Chain(tmp_path).run(config)
    assert (ended.code, ended.answer["date"]) == (0, "2024-06-04"), ended.error


def test_rejected_rows_are_explained_in_the_figures(tmp_path: Path, at: Any) -> None:
    rows = users_and_items(3, 400) | {"ts": ["2024-06-01 10:00:00 UTC"] * 398 + ["yesterday", "0001-01-01"]}
    ended = Chain(tmp_path).run(dated(write_rows(tmp_path / "in.csv", rows)))
    figures = ended.figures("ingest")
    assert figures["rejected"] == {"unreadable timestamp": 1, "timestamp out of range": 1}
    assert figures["reasons"]["timestamp out of range"] == {
        "rows": 1,
        "example": "'0001-01-01' (row 399 of in.csv)",
        "accepted": "times from 1990 to 2100",
    }
    assert figures["reasons"]["unreadable timestamp"]["example"] == "'yesterday' (row 398 of in.csv)"
