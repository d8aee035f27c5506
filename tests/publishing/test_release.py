import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphquilt import EmbeddingTable, files, objects
from graphquilt.locations import Location, ObjectPath
from graphquilt.releases import find_problems
from pipeline import storage
from pipeline.errors import ConfigError, LockedError, StorageError
from pipeline.publishing import release as module
from pipeline.publishing.listing import read_current, releases
from pipeline.publishing.release import Publication, publish, rollback
from pipeline.storage import lock
from tests.publishing.working_files import contents

ROOT = Path(__file__).parents[2]


def make(root: Location, release: str = "r1", day: int = 1, content: bytes = b"rows", **options: Any) -> Publication:
    source = root / "runs" / f"2024-06-{day:02}" / "t" / release / "out.bin"
    if not files.has_file(source):
        storage.write(source, content)
    tables = {"t": [(source, "part-00000.bin")]}
    return publish(root, "default", contents(release, tables, dt.date(2024, 6, day)), **options)


def versions_below(folder: Location) -> dict[str, object]:
    """Of each file but the lock, what changes when it is written."""
    paths = [folder / file.name for file in storage.files_below(folder) if file.name != ".lock"]
    return {str(path): path.stat().st_mtime_ns if isinstance(path, Path) else modified_at(path) for path in paths}


def modified_at(path: ObjectPath) -> object:
    store = objects.obstore()
    return store.head(objects.client_of(path), str(path.key))["last_modified"], objects.version(path)


def at(root: Location) -> str | None:
    pointer = read_current(root, "default")
    return pointer["release"] if pointer else None


def test_a_release_holds_its_files_and_a_manifest_of_them(root: Location) -> None:
    done = make(root)
    assert (done.is_new, done.current_moved) == (True, True)
    names = {file.name for file in storage.files_below(done.path)}
    assert names == {"manifest.json", "metrics.json", "gate.json", "t/part-00000.bin"}
    manifest = json.loads(files.read(done.path / "manifest.json"))
    assert {entry["name"] for entry in manifest["files"]} == names - {"manifest.json"}
    assert (manifest["run_id"], manifest["data_date"], manifest["release"]) == ("r1", "2024-06-01", "r1")
    pointer = read_current(root, "default")
    assert pointer is not None
    assert pointer["path"] == "releases/r1"
    assert find_problems(root / "published" / "default" / pointer["path"], pointer["manifest_sha256"], deep=True) == []


def test_a_manifest_is_sealed_as_it_is_written(root: Location) -> None:
    source = root / "out.bin"
    storage.write(source, b"rows")
    about = {"input": "s3://KEY:hunter2@bucket/x", "note": "password = hunter2"}
    tables = {"t": [(source, "part.bin")]}
    done = publish(root, "default", contents("r1", tables, dt.date(2024, 6, 1), manifest=about))
    assert find_problems(done.path, deep=True) == []
    assert "hunter2" not in files.read(done.path / "manifest.json").decode()


def test_publishing_again_changes_nothing(root: Location) -> None:
    done = make(root)
    before = versions_below(done.path.parent.parent)
    again = make(root)
    assert (again.is_new, again.current_moved) == (False, False)
    assert before == versions_below(done.path.parent.parent)


def test_a_release_moved_in_before_its_swap_is_pointed_at(root: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(module, "_point_at", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(root)
    assert at(root) is None
    again = make(root)
    assert (again.is_new, again.current_moved, at(root)) == (False, True, "r1")


def test_other_bytes_under_the_same_name_do_not_replace_a_release(
    root: Location, caplog: pytest.LogCaptureFixture
) -> None:
    done = make(root)
    storage.remove(root / "runs" / "2024-06-01" / "t" / "r1" / "out.bin")
    assert not make(root, content=b"other").is_new
    assert files.read(done.path / "t" / "part-00000.bin") == b"rows"
    assert "same_name_other_bytes" in caplog.text


def test_a_backfill_adds_a_release_and_leaves_current(root: Location) -> None:
    make(root, "new", day=5)
    back = make(root, "old", day=3)
    assert (back.is_new, back.current_moved, at(root)) == (True, False, "new")
    assert make(root, "old", day=3, force_current=True).current_moved
    assert at(root) == "old"
    assert make(root, "same_day", day=3).current_moved


def test_leftovers_of_a_killed_publisher_go(tmp_path: Path) -> None:
    folder = tmp_path / "published" / "default"
    (folder / "releases" / "_staging-r0" / "t").mkdir(parents=True)
    (folder / ".CURRENT.json.0a1b2c3d").write_text("{")
    make(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        *(".lock", "CURRENT.history.jsonl", "CURRENT.json", "releases")
    ]
    assert [path.name for path in (folder / "releases").iterdir()] == ["r1"]


@pytest.mark.parametrize("name", ["", "../r", "_staging-r", ".r", "a/b"])
def test_a_release_name_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="must be letters"):
        publish(tmp_path, "default", contents(name, {}, dt.date(2024, 1, 1)))


def test_a_second_publisher_waits_or_names_the_first(root: Location, short_leases: None) -> None:
    make(root)
    with (
        lock(root / "published" / "default" / ".lock", "publish tonight"),
        pytest.raises(LockedError, match=rf"locked by publish tonight, pid {os.getpid()}"),
    ):
        make(root, "r2", day=2, wait_s=0.05)
    assert make(root, "r2", day=2, wait_s=0.05).current_moved


# Rolling back


def test_rollback_goes_to_the_day_before(root: Location) -> None:
    for day in (3, 1, 2):
        make(root, f"d{day}", day=day)
    assert [release.release for release in releases(root, "default")] == ["d1", "d2", "d3"]
    assert at(root) == "d3"
    for day in ("d2", "d1"):
        rollback(root, "default")
        assert at(root) == day
    with pytest.raises(ConfigError, match="no release before d1"):
        rollback(root, "default")
    before, now = rollback(root, "default", to="d3")
    assert (before and before.release, now.release, at(root)) == ("d1", "d3", "d3")
    with pytest.raises(ConfigError, match=r"no release 'd9'; it has \['d1', 'd2', 'd3'\]"):
        rollback(root, "default", to="d9")


def test_rollback_of_two_releases_of_a_day_goes_by_time(root: Location) -> None:
    for minute, name in enumerate(("z", "a")):
        make(root, name, now=dt.datetime(2024, 6, 2, 3, minute, tzinfo=dt.UTC))
    assert rollback(root, "default")[1].release == "z"


def test_rollback_refuses_a_damaged_release(root: Location) -> None:
    first = make(root, "d1", day=1)
    make(root, "d2", day=2)
    storage.remove(first.path / "t" / "part-00000.bin")
    storage.remove_tree(root / "runs")
    with pytest.raises(StorageError, match=r"stays at d2: release d1 is damaged .*part-00000.bin is missing"):
        rollback(root, "default")
    assert at(root) == "d2"


def test_rollback_restores_a_damaged_release_from_working_files(root: Location) -> None:
    first = make(root, "d1", day=1)
    make(root, "d2", day=2)
    storage.write(first.path / "t" / "part-00000.bin", b"r0ws")
    rollback(root, "default")
    assert at(root) == "d1"
    assert find_problems(first.path, deep=True) == []


def test_without_a_release_there_is_nothing_to_roll_back(root: Location) -> None:
    assert read_current(root, "default") is None
    with pytest.raises(ConfigError, match="nothing is published as 'default'"):
        rollback(root, "default")


# Kills and crowds: a publisher in a process of its own, a reader that polls


PUBLISHER = """
import datetime as dt, sys
import numpy as np
from graphquilt.locations import parse_location
from tests.graphquilt.published_tables import publish_nodes

root, first = parse_location(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for number in range(first, first + 1000):
    rows = np.full((40, 4), number, np.float32)
    date = dt.date(2024, 1, 1) + dt.timedelta(days=number)
    publish_nodes(root, {"u": (list(range(40)), rows)}, release=f"{date}-{number}", date=date, files=2)
"""


def start_publisher(root: Location, first: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(root), str(first)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(publisher: subprocess.Popen[str]) -> None:
    publisher.send_signal(signal.SIGKILL)
    publisher.wait()
    assert publisher.stdout is not None
    publisher.stdout.close()


class Reader(threading.Thread):
    """Opens what CURRENT points to, again and again, and keeps what it saw."""

    def __init__(self, root: Location) -> None:
        super().__init__()
        self.root, self.seen, self.wrong, self.done = root, [], [], threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            try:
                with EmbeddingTable.open(self.root) as table:
                    vectors, found = table.lookup(np.arange(40), "u")
                    if not (found.all() and (vectors == vectors[0, 0]).all()):
                        self.wrong.append("a mixture of releases")
                    self.seen.append(float(vectors[0, 0]))
            except Exception as error:
                self.wrong.append(repr(error))

    def look_once_more(self) -> None:
        """Let it end, after a look at what is there now."""
        looks = len(self.seen) + len(self.wrong)
        while len(self.seen) + len(self.wrong) < looks + 2:  # one may have begun before
            time.sleep(0.01)
        self.done.set()
        self.join()


@pytest.mark.slow
def test_a_reader_never_sees_a_missing_or_partial_release_while_publishers_are_killed(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    pause = random.Random(seed)
    first = start_publisher(tmp_path, 0)
    started = time.monotonic()
    while at(tmp_path) is None:
        time.sleep(0.01)
    one_turn = time.monotonic() - started  # long enough to get through, whatever this machine is busy with
    reader = Reader(tmp_path)
    reader.start()
    kill(first)
    try:
        for turn in range(7):
            publisher = start_publisher(tmp_path, 100 + 100 * turn)
            time.sleep(pause.uniform(0.0, 3 * one_turn))
            kill(publisher)
        last, publisher = at(tmp_path), start_publisher(tmp_path, 900)
        while at(tmp_path) == last:
            time.sleep(0.01)
        kill(publisher)
    finally:
        reader.look_once_more()
    assert reader.wrong == []
    assert reader.seen[-1] >= 900
    assert reader.seen == sorted(reader.seen)  # CURRENT never went back
    # The next publisher finishes what the killed ones left.
    make(tmp_path, "last", day=30, force_current=True)
    folder = tmp_path / "published" / "default"
    assert not [path.name for path in (folder / "releases").iterdir() if path.name.startswith("_")]
    assert not list(folder.glob(".CURRENT*"))
    for release in releases(tmp_path, "default"):
        assert find_problems(release.path, deep=True) == []


@pytest.mark.slow
def test_two_publishers_at_once_leave_the_latest_day_current(root: Location) -> None:
    publishers = [start_publisher(root, 0), start_publisher(root, 500)]
    while at(root) is None:
        time.sleep(0.01)
    reader = Reader(root)
    reader.start()
    while {2024, 2025} - {release.data_date.year for release in releases(root, "default")}:
        time.sleep(0.05)
    for publisher in publishers:
        kill(publisher)
    reader.look_once_more()
    assert reader.wrong == []
    assert reader.seen == sorted(reader.seen)
    known = releases(root, "default")
    for release in known:
        assert find_problems(release.path, deep=True) == []
    # A kill between rename and swap may leave one release that is not yet pointed at.
    assert at(root) in {release.release for release in known[-2:]}
