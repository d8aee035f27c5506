"""The history of a name: nights add up whatever their order, a rerun replaces its own, and nothing else is lost."""

import datetime as dt
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphquilt.locations import Location
from pipeline import storage
from pipeline.publishing import metrics_history as module
from pipeline.publishing.metrics_history import HISTORY, record_night
from schemas.metrics_history import METRICS_HISTORY


def night(day: int, *values: float, verdict: str = "passed") -> pa.Table:
    date = dt.date(2024, 6, day)
    rows = [
        {
            **{"data_date": date, "release": f"{date}-a", "recorded_at": dt.datetime.now(dt.UTC), "run_id": "r"},
            **{"verdict": verdict, "kind": "metric", "name": f"m{number}", "value": value},
        }
        for number, value in enumerate(values)
    ]
    return pa.Table.from_pylist(rows, schema=METRICS_HISTORY.schema)


def history_of(root: Location) -> pa.Table:
    return pq.read_table(io.BytesIO(storage.read(root / "published" / "shop" / HISTORY) or b""))


def figures(table: pa.Table) -> list[tuple[int, str, float, str]]:
    return [(row["data_date"].day, row["name"], row["value"], row["verdict"]) for row in table.to_pylist()]


def test_nights_add_up_and_a_rerun_replaces_its_own(root: Location) -> None:
    record_night(root, "shop", night(3, 0.3, verdict="refused"))
    record_night(root, "shop", night(1, 0.1, 0.2))
    record_night(root, "shop", night(3, 0.5, verdict="accepted"))
    table = history_of(root)
    METRICS_HISTORY.check_schema(table.schema, "here")
    METRICS_HISTORY.check_rows(table, "here")
    assert figures(table) == [(1, "m0", 0.1, "passed"), (1, "m1", 0.2, "passed"), (3, "m0", 0.5, "accepted")]


def test_a_rerun_that_found_all_done_changes_nothing(root: Location) -> None:
    record_night(root, "shop", night(1, 0.1))
    before = storage.read(root / "published" / "shop" / HISTORY)
    record_night(root, "shop", night(1, 0.1))
    assert storage.read(root / "published" / "shop" / HISTORY) == before


def test_a_file_that_can_t_be_read_is_kept_beside_the_new_one(root: Location) -> None:
    folder = root / "published" / "shop"
    storage.write(folder / HISTORY, b"PAR1 no more")
    record_night(root, "shop", night(1, 0.1))
    assert storage.read(folder / f"{HISTORY}.damaged") == b"PAR1 no more"
    assert figures(history_of(root)) == [(1, "m0", 0.1, "passed")]


def test_a_night_that_another_process_wrote_meanwhile_is_not_lost(
    store_root: Location, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record_night(store_root, "shop", night(1, 0.1))
    to_bytes, path = module._to_bytes, store_root / "published" / "shop" / HISTORY

    def interrupted(table: pa.Table) -> bytes:
        storage.write(path, to_bytes(night(2, 0.2)))  # who took over a lease that this process slept through
        return to_bytes(table)

    monkeypatch.setattr(module, "_to_bytes", interrupted)
    record_night(store_root, "shop", night(3, 0.3))
    assert figures(history_of(store_root)) == [(2, "m0", 0.2, "passed")]
    assert "metrics_history=not_written" in caplog.text


def test_what_goes_wrong_is_a_warning(
    root: Location, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "replace_unchanged", full)
    record_night(root, "shop", night(1, 0.1))
    assert "No space left on device" in caplog.text


def test_nights_that_lack_a_later_column_are_kept(root: Location) -> None:
    sink = io.BytesIO()
    pq.write_table(night(1, 0.1).drop_columns(["pair_source"]), sink)
    storage.write(root / "published" / "shop" / HISTORY, sink.getvalue())
    record_night(root, "shop", night(2, 0.2))
    assert figures(history_of(root)) == [(1, "m0", 0.1, "passed"), (2, "m0", 0.2, "passed")]
