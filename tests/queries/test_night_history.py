"""The small lines of a report are drawn from the history of its name, which outlives releases."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.publishing.metrics_history import HISTORY, record_night
from pipeline.queries.night_history import NIGHTS, line_of, past_nights, seconds_of
from pipeline.queries.night_run import NightRun
from pipeline.stages.chain import MAKER
from pipeline.workspace import Workspace
from schemas.metrics_history import METRICS_HISTORY

FIRST = dt.date(2024, 1, 1)


def record(root: Path, date: dt.date, value: float, verdict: str = "passed", suffix: str = "a", at: int = 0) -> None:
    """Record a night with one gate that wants at least 5, a metric, and the costs of two stages."""
    night: dict[str, Any] = {
        **{"data_date": date, "release": f"{date}-{suffix}", "verdict": verdict, "run_id": "r", "pair_source": "file"},
        "recorded_at": dt.datetime(2024, 6, 1, at, tzinfo=dt.UTC),
    }
    rows = [
        {"kind": "gate", "name": "min_recall recall", "value": value, "bound": 5.0},
        {"kind": "metric", "name": "rows", "value": 10 * value},
        {"kind": "stage", "name": "index.seconds", "value": 1.0},
        {"kind": "stage", "name": "embed.seconds", "value": value},
        {"kind": "stage", "name": "embed.cpu_seconds", "value": 99.0},
    ]
    table = pa.Table.from_pylist([night | row for row in rows], schema=METRICS_HISTORY.schema)
    record_night(root, "shop", table)


def night_of(root: Path, date: dt.date) -> NightRun:
    workspace = Workspace(root, date, dict.fromkeys(MAKER.values(), "f"), MAKER, "r")
    return NightRun(workspace, root / "published" / "shop", {}, {})


def test_nights_outlive_their_releases_with_their_own_bounds(tmp_path: Path) -> None:
    dates = [FIRST + dt.timedelta(days=day) for day in range(NIGHTS + 5)]
    for number, date in enumerate(dates):
        record(tmp_path, date, number, "refused" if number < 5 else "passed")
    past = past_nights(night_of(tmp_path, dates[-1]))
    assert [one.date for one in past] == [date.isoformat() for date in dates[-NIGHTS - 1 : -1]]
    gate = line_of(past, "gate", "min_recall recall")
    assert [one.value for one in gate] == list(range(4, NIGHTS + 4))
    assert {one.bound for one in gate} == {5.0}
    assert [one.has_passed for one in gate] == [False, *[True] * (NIGHTS - 1)]
    # What no gate judges is marked where its night was refused.
    assert [one.has_passed for one in line_of(past, "metric", "rows")] == [False, *[None] * (NIGHTS - 1)]
    assert [one.value for one in seconds_of(past)] == [1.0 + number for number in range(4, NIGHTS + 4)]
    assert line_of(past, "metric", "no such") == []


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([("passed", 7.0), ("passed", 8.0)], 8.0),
        ([("passed", 7.0), ("refused", 1.0)], 7.0),
        ([("refused", 1.0), ("accepted", 2.0)], 2.0),
        ([("refused", 1.0), ("refused", 2.0)], 2.0),
    ],
)
def test_a_date_counts_once_as_it_was_published_last(
    tmp_path: Path, runs: list[tuple[str, float]], expected: float
) -> None:
    for number, (verdict, value) in enumerate(runs):
        record(tmp_path, FIRST, value, verdict, suffix="zyx"[number], at=number)
    (past,) = past_nights(night_of(tmp_path, FIRST + dt.timedelta(days=1)))
    assert past.figures["gate", "min_recall recall"] == (expected, 5.0)


def test_without_a_history_there_are_no_nights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    night = night_of(tmp_path, FIRST)
    assert past_nights(night) == []
    night.table_folder.mkdir(parents=True)
    (night.table_folder / HISTORY).write_bytes(b"PAR1 no more")
    assert past_nights(night) == []
    assert "metrics_history=left_out" in caplog.text
