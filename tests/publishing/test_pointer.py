"""CURRENT through kills and damage: what the next publisher, rollback and cleaner make of it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphquilt import EmbeddingTable, TableError, files
from graphquilt.locations import Location
from graphquilt.pointers import CURRENT, HISTORY, read_pointers
from pipeline import storage
from pipeline.config.publish import PublishConfig
from pipeline.errors import LockedError, StorageError
from pipeline.publishing import pointer as module
from pipeline.publishing.baseline import find_baselines
from pipeline.publishing.listing import read_current
from pipeline.publishing.release import rollback
from pipeline.publishing.retention import clean
from tests.graphquilt.published_tables import publish_nodes

NODES = {"u": ([1, 2, 3], np.eye(3, 4, dtype=np.float32))}


def make(root: Location, day: int, **options: Any) -> Location:
    date = dt.date(2024, 6, day)
    return publish_nodes(root, NODES, release=f"{date}-a", date=date, **options).path


def folder_of(root: Location) -> Location:
    return root / "published" / "default"


def at(root: Location) -> str | None:
    found = read_current(root, "default")
    return found and found["release"]


def lines(root: Location) -> list[tuple[int, str, str]]:
    raw = (json.loads(line) for line in files.read(folder_of(root) / HISTORY).splitlines())
    return [(line["sequence"], line["why"], line["release"][:10]) for line in raw]


def test_the_history_has_a_line_for_each_swap(root: Location) -> None:
    for day in (1, 3):
        make(root, day)
    make(root, 2)  # older: added, and readers stay
    make(root, 2, force_current=True)
    rollback(root, "default")
    make(root, 1)  # there already
    assert lines(root) == [
        (0, "opened", ""),
        (1, "publish", "2024-06-01"),
        (2, "publish", "2024-06-03"),
        (3, "force", "2024-06-02"),
        (4, "rollback", "2024-06-01"),
    ]
    assert json.loads(files.read(folder_of(root) / CURRENT)) == json.loads(
        files.read(folder_of(root) / HISTORY).splitlines()[-1]
    )


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The next replacement of a file of this name does not happen."""
    plain = storage.swap

    def swap(path: Location, data: bytes, version: str | None) -> bool:
        if path.name == name:
            raise KeyboardInterrupt
        return plain(path, data, version)

    monkeypatch.setattr(storage, "swap", swap)


ACTIONS: dict[str, Callable[[Location], object]] = {
    "publish": lambda root: make(root, 2),
    "publish the next": lambda root: make(root, 3),
    "rollback": lambda root: rollback(root, "default", "2024-06-02-a"),
    "clean": lambda root: clean(
        root, PublishConfig(keep_releases=1, keep_runs=9, min_age_hours=0.0), dt.datetime.now(dt.UTC)
    ),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_kill_between_line_and_swap_is_finished_by_whoever_comes_next(
    root: Location, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    make(root, 1)
    with monkeypatch.context() as patch:
        kill_at(patch, CURRENT)
        with pytest.raises(KeyboardInterrupt):
            make(root, 2)
    assert json.loads(files.read(folder_of(root) / CURRENT))["release"] == "2024-06-01-a"
    with EmbeddingTable.open(root) as table:
        assert table.release == "2024-06-02-a"  # the line counts
    ACTIONS[action](root)
    assert json.loads(files.read(folder_of(root) / CURRENT))["release"] == at(root)
    assert at(root) == ("2024-06-03-a" if action == "publish the next" else "2024-06-02-a")
    assert lines(root)[2] == (2, "publish", "2024-06-02")
    assert [sequence for sequence, _, _ in lines(root)] == list(range(len(lines(root))))


def test_a_kill_before_the_first_swap_is_still_a_first_night(root: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_append", plain_until(module._append, calls=1))
        with pytest.raises(KeyboardInterrupt):
            make(root, 1)
    assert at(root) is None
    with pytest.raises(TableError, match="nothing has been published"):
        EmbeddingTable.open(root)
    make(root, 1)
    assert lines(root) == [(0, "opened", ""), (1, "publish", "2024-06-01")]


def plain_until(function: Callable[..., Any], calls: int) -> Callable[..., Any]:
    left = [calls]

    def call(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return function(*arguments)

    return call


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("damage", ["delete", "empty", "cut", "old copy", "text"])
def test_a_damaged_current_is_restored_from_the_history(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str, action: str
) -> None:
    make(tmp_path, 1)
    path = folder_of(tmp_path) / CURRENT
    old = path.read_bytes()
    make(tmp_path, 2)
    make(tmp_path, 3)
    whole = path.read_bytes()
    path.unlink()
    if damage != "delete":
        path.write_bytes({"empty": b"", "cut": whole[:-2], "old copy": old, "text": b"hello"}[damage])
    with EmbeddingTable.open(tmp_path) as table:
        assert table.release == "2024-06-03-a"
    assert "the last swap in CURRENT.history.jsonl is to 2024-06-03-a" in caplog.text
    caplog.clear()
    ACTIONS[action](tmp_path)
    assert "current=restored release=2024-06-03-a" in caplog.text
    if action == "rollback":
        assert at(tmp_path) == "2024-06-02-a"
    else:
        assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", [None, b"", b"{", "old copy"])
def test_a_damaged_current_is_restored_in_a_store(store_root: Location, damage: bytes | str | None) -> None:
    make(store_root, 1)
    path = folder_of(store_root) / CURRENT
    old = files.read(path)
    make(store_root, 2)
    whole = files.read(path)
    if damage is None:
        storage.remove(path)
    else:
        storage.write(path, old if isinstance(damage, str) else damage)
    with EmbeddingTable.open(store_root) as table:
        assert table.release == "2024-06-02-a"
    ACTIONS["clean"](store_root)
    assert files.read(path) == whole


@pytest.mark.parametrize("name", [HISTORY, CURRENT])
def test_who_comes_late_swaps_nothing_in_a_store(
    store_root: Location, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Another publisher, which took the lock, swaps while the first one's request for a file is under way."""
    make(store_root, 1)
    folder, plain = folder_of(store_root), storage.swap
    target = read_pointers(folder).at.target

    def swap(path: Location, data: bytes, version: str | None) -> bool:
        if path.name == name:
            monkeypatch.undo()
            module.point_at(folder, target, "force", lines(store_root)[-1][0], fence=9)
        return plain(path, data, version)

    monkeypatch.setattr(storage, "swap", swap)
    with pytest.raises(LockedError, match=f"{name} was changed by another process, which took the lock"):
        make(store_root, 2)
    assert at(store_root) == "2024-06-01-a"
    last = files.read(folder / HISTORY).splitlines()[-1]
    assert json.loads(last) == json.loads(files.read(folder / CURRENT))
    assert json.loads(last)["fence"] == 9
    make(store_root, 2)
    assert at(store_root) == "2024-06-02-a"


@pytest.mark.parametrize("action", [name for name in ACTIONS if name != "rollback"])
def test_without_pointer_and_history_nothing_is_done_until_a_rollback_names_one(tmp_path: Path, action: str) -> None:
    make(tmp_path, 1)
    make(tmp_path, 2)
    for name in (CURRENT, HISTORY):
        (folder_of(tmp_path) / name).unlink()
    before = sorted(folder_of(tmp_path).rglob("*"))
    command = f"graphquilt rollback --workspace {tmp_path} --name default --to 2024-06-02-a"
    for attempt in (lambda: ACTIONS[action](tmp_path), lambda: at(tmp_path), lambda: rollback(tmp_path, "default")):
        with pytest.raises(StorageError, match=command):
            attempt()
    with pytest.raises(TableError, match=command):
        EmbeddingTable.open(tmp_path)
    assert sorted(folder_of(tmp_path).rglob("*")) == before
    rollback(tmp_path, "default", "2024-06-02-a")
    assert at(tmp_path) == "2024-06-02-a"
    ACTIONS[action](tmp_path)


def test_a_workspace_from_before_gets_a_history_with_its_next_swap(root: Location) -> None:
    make(root, 1)
    path = folder_of(root) / CURRENT
    old = {
        k: v for k, v in json.loads(files.read(path)).items() if k not in ("sequence", "at", "why", "fence", "checksum")
    }
    storage.write(path, json.dumps(old).encode())
    storage.remove(folder_of(root) / HISTORY)
    assert at(root) == "2024-06-01-a"
    make(root, 2)
    assert lines(root) == [(1, "found", "2024-06-01"), (2, "publish", "2024-06-02")]
    storage.remove(path)
    assert at(root) == "2024-06-02-a"


def test_a_torn_line_is_passed_over_and_the_next_one_is_whole(root: Location) -> None:
    make(root, 1)
    path = folder_of(root) / HISTORY
    storage.write(path, files.read(path) + b'{"sequence": 2, "at": "20')
    assert at(root) == "2024-06-01-a"
    make(root, 2)
    found = read_pointers(folder_of(root))
    assert [swap.sequence for swap in found.history] == [0, 1, 2]
    assert found.at == found.history[-1]


def test_a_run_builds_on_what_readers_have_and_never_on_what_was_withdrawn(root: Location) -> None:
    for day in (1, 2, 3):
        make(root, day)

    def bases(day: int) -> list[str]:
        return [one.release[8:10] for one in find_baselines(root, "default", dt.date(2024, 6, day))]

    assert bases(4) == ["03", "02", "01"]
    assert bases(3) == ["02", "01"]
    rollback(root, "default", "2024-06-01-a")
    assert bases(4) == ["01"]
    make(root, 5)
    assert bases(6) == ["05", "01"]  # readers went from the 3rd past the 2nd
    rollback(root, "default", "2024-06-03-a")
    assert bases(6) == ["03", "02", "01"]


def test_a_run_is_not_built_on_a_release_whose_manifest_is_damaged(tmp_path: Path) -> None:
    for day in (1, 2):
        folder = make(tmp_path, day)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(StorageError, match=r"builds on release 2024-06-02-a, which is damaged: .*--to 2024-06-01-a"):
        next(find_baselines(tmp_path, "default", dt.date(2024, 6, 3)))
    rollback(tmp_path, "default", "2024-06-01-a")
    assert [one.release for one in find_baselines(tmp_path, "default", dt.date(2024, 6, 3))] == ["2024-06-01-a"]


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"files": []}', "[" * 100_000])
def test_json_that_is_no_manifest_is_no_release(tmp_path: Path, content: str) -> None:
    for day in (1, 2, 3):
        folder = make(tmp_path, day)
    (folder.with_name("2024-06-02-a") / "manifest.json").write_text(content)
    with pytest.raises(StorageError, match=r"stays at 2024-06-03-a: .*is not a release's manifest.*--to 2024-06-01-a"):
        rollback(tmp_path, "default")
    ACTIONS["clean"](tmp_path)
    with EmbeddingTable.open(tmp_path) as table:
        assert table.release == "2024-06-03-a"


def test_a_withdrawn_release_is_no_way_out(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        folder = make(tmp_path, day)
    rollback(tmp_path, "default", "2024-06-02-a")
    (folder.with_name("2024-06-02-a") / "manifest.json").unlink()
    with pytest.raises(TableError, match=r"2024-06-02-a is damaged: .*nearest whole release is 2024-06-01-a"):
        EmbeddingTable.open(tmp_path)
    (folder.with_name("2024-06-01-a") / "manifest.json").unlink()
    with pytest.raises(TableError, match="No other release of 'default' is whole, beside those that"):
        EmbeddingTable.open(tmp_path)


def test_a_current_release_that_is_gone_is_no_reason_to_build_on_another(tmp_path: Path) -> None:
    for day in (1, 2):
        folder = make(tmp_path, day)
    shutil.rmtree(folder)
    with pytest.raises(StorageError, match=r"builds on release 2024-06-02-a, which is damaged: .* is missing"):
        next(find_baselines(tmp_path, "default", dt.date(2024, 6, 3)))
    ACTIONS["clean"](tmp_path)
    make(tmp_path, 2)
    with EmbeddingTable.open(tmp_path) as table:
        assert table.release == "2024-06-02-a"
    assert next(find_baselines(tmp_path, "default", dt.date(2024, 6, 3))).release == "2024-06-02-a"
