"""The same command again, another config, another date, two at once: what is reused, kept, refused."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import storage
from pipeline.stages.chain import STAGE_NAMES
from pipeline.storage import lock
from tests.stages.chains import EPOCH, Chain, config_for, users_and_items, with_changes, write_rows

MADE = [name for name in STAGE_NAMES if name != "publish"]  # publish always looks where CURRENT is


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "in.parquet", users_and_items(0, 200))


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_second_run_is_unchanged(chain: Chain, rows: Path) -> None:
    first = chain.run(config_for(rows))
    before = inodes(chain.root / "published")
    second = chain.run(config_for(rows))
    assert (first.answer["verdict"], second.answer["verdict"], second.code) == ("published", "unchanged", 0)
    assert first.answer["release"] == second.answer["release"]
    assert second.skipped == MADE
    after = inodes(chain.root / "published")
    assert {name: of for name, of in after.items() if not name.endswith(".lock")} == {
        name: of for name, of in before.items() if not name.endswith(".lock")
    }
    assert chain.gate("1970-01-01")["verdict"] == "unchanged"


def test_what_a_run_left_that_was_killed_once_it_had_committed_goes_with_the_next(
    chain: Chain, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = chain.root / "runs" / "1970-01-01" / "_work"
    with monkeypatch.context() as patch:
        patch.setattr(storage, "remove_tree", lambda _: None)
        assert chain.run(config_for(rows)).code == 0
    assert len(list(work.iterdir())) == len(STAGE_NAMES)
    assert chain.run(config_for(rows)).skipped == MADE
    assert list(work.iterdir()) == []


def test_stages_one_by_one_are_the_run(chain: Chain, rows: Path) -> None:
    config = config_for(rows, evaluate={"source": "next_day"})
    for name in STAGE_NAMES:
        ended = chain.run(config, [name])
        assert ended.code == 0, ended.error
    whole = chain.run(config)
    assert whole.skipped == MADE
    assert whole.answer["verdict"] == "unchanged"


def test_a_stage_without_its_inputs_names_the_one_to_run(chain: Chain, rows: Path) -> None:
    ended = chain.run(config_for(rows), ["embed"])
    assert ended.code == 2  # no date fits: nothing was ever ingested
    assert chain.run(config_for(rows), ["ingest"]).code == 0
    ended = chain.run(config_for(rows), ["embed"])
    assert ended.code == 1
    assert "run 'graphquilt" in ended.error


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"embedding": {"seed": 1}}, ["ingest", "index", "partition", "layout"]),
        ({"partition": {"parts": 3}}, ["ingest", "index"]),
        ({"publish": {"rows_per_file": 10}}, ["ingest", "index", "partition", "layout", "embed"]),
        ({"publish": {"keep_releases": 3}}, MADE),
        ({"evaluate": {"source": "holdout", "holdout_users": 1.0}}, ["ingest"]),
        ({"input": {"self_loops": "keep"}}, []),
    ],
    ids=["embedding", "partition", "files", "publish", "holdout", "input"],
)
def test_another_config_reuses_what_it_does_not_touch(
    chain: Chain, rows: Path, changes: dict[str, dict[str, object]], kept: list[str]
) -> None:
    assert chain.run(config_for(rows)).code == 0
    ended = chain.run(with_changes(config_for(rows), **changes))
    assert (ended.code, ended.skipped) == (0, kept), ended.error


def test_leaves_cut_by_bytes_depend_on_the_width_of_a_row(chain: Chain, rows: Path) -> None:
    config = config_for(rows, dim=8)
    config["partition"] = {"max_bytes": 40_000}
    assert chain.run(config).code == 0
    ended = chain.run(with_changes(config, embedding={"dim": 64}))
    assert ended.skipped == ["ingest", "index"]


def test_an_input_that_changed_is_read_again_and_one_that_moved_is_not(chain: Chain, rows: Path) -> None:
    assert chain.run(config_for(rows)).code == 0
    (rows.parent / "other").mkdir()
    moved = rows.rename(rows.parent / "other" / "in.parquet")
    assert chain.run(config_for(moved)).skipped == MADE
    write_rows(moved, users_and_items(1, 200))
    ended = chain.run(config_for(moved))
    assert (ended.skipped, ended.answer["verdict"]) == ([], "published")


DATED = {"input": {"timestamp": "ts", "timestamp_unit": "s"}}
DAY = 86_400


def dated_rows(path: Path, days: int = 4) -> Path:
    rows = users_and_items(2, 400)
    return write_rows(path, {**rows, "ts": [EPOCH + (number % days) * DAY + 60 for number in range(400)]})


def test_a_backfill_adds_a_release_and_leaves_current(chain: Chain, tmp_path: Path) -> None:
    config = config_for(dated_rows(tmp_path / "in.parquet"), **DATED)
    newest = chain.run(config)
    assert newest.answer["date"] == "2000-01-04"
    older = chain.run(config, date="2000-01-02")
    assert (older.code, older.answer["verdict"]) == (0, "added")
    assert chain.current()["release"] == newest.answer["release"]
    assert Path(older.answer["path"]).is_dir()
    forced = chain.run(config, date="2000-01-02", force_current=True)
    assert forced.answer["verdict"] == "published"
    assert chain.current()["release"] == older.answer["release"]
    again = chain.run(config, date="2000-01-04")
    assert again.answer["verdict"] == "published"
    assert chain.current()["release"] == again.answer["release"]
    manifest = json.loads((Path(again.answer["path"]) / "manifest.json").read_text())
    assert manifest["baseline"] == older.answer["release"]  # which readers have now; the first one had none
    assert again.answer["release"] != newest.answer["release"]
    assert chain.published().data == chain.published(Path(newest.answer["path"])).data


def test_a_gate_that_refuses_keeps_the_last_release(chain: Chain, tmp_path: Path) -> None:
    config = config_for(dated_rows(tmp_path / "in.parquet"), **DATED)
    assert chain.run(config, date="2000-01-02").code == 0
    before = chain.current()
    refused = chain.run(with_changes(config, publish={"gates": {"min_rows": 10_000}}), date="2000-01-03")
    assert refused.code == 3
    assert "10000" in refused.error
    assert chain.current() == before
    assert len(list((chain.root / "published/default/releases").iterdir())) == 1
    gate = chain.gate("2000-01-03")
    assert (gate["verdict"], gate["exit_code"], gate["reasons"]) == ("refused", 3, [refused.error])
    # The tables are kept: a lower bound publishes them without another computation.
    allowed = chain.run(with_changes(config, publish={"gates": {"min_rows": 10}}), date="2000-01-03")
    assert (allowed.code, allowed.skipped) == (0, MADE)
    assert json.loads((Path(allowed.answer["path"]) / "gate.json").read_text())["verdict"] == "passed"


def test_the_loser_of_two_at_once_exits_1_and_names_the_holder(chain: Chain, rows: Path) -> None:
    with lock(chain.root / "runs" / "1970-01-01" / ".lock", "stage embed for 1970-01-01"):
        ended = chain.run(config_for(rows))
    assert ended.code == 1
    for word in ("stage embed", f"pid {os.getpid()}", "since 20", "--wait"):
        assert word in ended.error
    assert chain.current() is None
    assert chain.run(config_for(rows)).code == 0


def test_with_wait_the_loser_waits(chain: Chain, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = contextlib.ExitStack()
    seen: list[list[Path]] = []

    def freed_at_the_third_look(_: float) -> None:
        seen.append(list((chain.root / "runs" / "1970-01-01").glob("*/*")))
        if len(seen) == 3:
            other.close()

    # The lock's own clock, not the process's: threads of other libraries sleep too.
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=freed_at_the_third_look)
    monkeypatch.setattr("pipeline.storage.locks.time", clock)
    with other:
        other.enter_context(lock(chain.root / "runs" / "1970-01-01" / ".lock", "another run"))
        assert chain.run(config_for(rows), wait_s=600.0).code == 0
    assert seen == [[]] * 3
