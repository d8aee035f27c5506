"""Publishers that die at each step, and readers beside them: in a folder, and in an object store."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphquilt import EmbeddingTable, files
from graphquilt.locations import Location
from graphquilt.pointers import CURRENT, HISTORY, MANIFEST
from graphquilt.releases import find_problems
from pipeline import storage
from pipeline.config.publish import PublishConfig
from pipeline.publishing.listing import releases
from pipeline.publishing.placement import find_leftovers
from pipeline.publishing.release import rollback
from pipeline.publishing.retention import clean
from tests.graphquilt.published_tables import publish_nodes
from tests.object_store import FaultProxy, signal_at
from tests.publishing.conftest import SHORT_LEASE_S

ROOT = Path(__file__).parents[2]
NODES = 40


def make(root: Location, day: int, **options: Any) -> Location:
    date = dt.date(2024, 6, day)
    rows = np.full((NODES, 4), day, np.float32)
    return publish_nodes(
        root, {"u": (list(range(NODES)), rows)}, release=f"{date}-a", date=date, files=2, **options
    ).path


def read_day(root: Location) -> int:
    """Return the day of what readers get, all of whose rows say so."""
    with EmbeddingTable.open(root) as table:
        vectors, is_known = table.lookup(np.arange(NODES), "u")
        assert is_known.all()
        (day,) = np.unique(vectors)
        assert table.release == f"2024-06-{int(day):02}-a"
        return int(day)


def assert_tidy(root: Location) -> None:
    """Nothing is left of the dead, all releases are whole, and each swap has a number of its own."""
    folder = root / "published" / "default"
    last = json.loads(files.read(folder / CURRENT))
    assert find_leftovers(folder, last["release"]) == []
    for release in releases(root, "default"):
        assert find_problems(release.path, deep=True) == []
    lines = [json.loads(line) for line in files.read(folder / HISTORY).splitlines()]
    assert [line["sequence"] for line in lines] == list(range(len(lines)))
    assert lines[-1] == last


@pytest.mark.parametrize("name", ["metrics.json", MANIFEST, HISTORY, CURRENT])
def test_what_a_publisher_left_that_died_before_it_wrote_a_file_is_finished(
    root: Location, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make(root, 1)
    with monkeypatch.context() as patch:
        for verb in ("write", "swap"):
            patch.setattr(storage, verb, die_before(name, getattr(storage, verb)))
        with pytest.raises(KeyboardInterrupt):
            make(root, 2)
    assert read_day(root) == (2 if name == CURRENT else 1)  # a swap counts once its line is written
    make(root, 3)
    assert read_day(root) == 3
    assert_tidy(root)
    days = [release.data_date.day for release in releases(root, "default")]
    assert days == ([1, 2, 3] if name in (HISTORY, CURRENT) else [1, 3])


def die_before(name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
    def write(location: Location, *arguments: Any) -> Any:
        if location.name == name:
            raise KeyboardInterrupt
        return verb(location, *arguments)

    return write


def test_an_object_without_a_manifest_is_no_release_to_anyone(
    store_root: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(store_root, 1)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "swap", die_before(MANIFEST, storage.swap))
        with pytest.raises(KeyboardInterrupt):
            make(store_root, 2)
    left = first.with_name("2024-06-02-a")
    assert storage.files_below(left)
    assert [release.release for release in releases(store_root, "default")] == ["2024-06-01-a"]
    make(store_root, 1)  # there already: who holds the lock tidies up all the same
    assert storage.files_below(left) == []


PUBLISHER = f"""
import sys
from graphquilt.locations import parse_location
from pipeline.storage import leases
from tests.publishing.test_kills import make
leases.hold_lease.__wrapped__.__defaults__ = (0.0, {SHORT_LEASE_S})
print("ready", flush=True)
sys.stdin.readline()
make(parse_location(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.mark.slow
def test_readers_and_the_next_publisher_get_on_whatever_request_a_publisher_dies_at(
    object_store: FaultProxy, store_root: Location
) -> None:
    """A publisher is killed when its first request that writes is done; the next one at its second; and so on."""
    deaths = 0
    for number in itertools.count():
        place = store_root / f"{number:03}"
        make(place, 1)
        with publisher(place, 2) as process:
            writes = iter([False] * number)
            object_store.fault = signal_at(process.pid, signal.SIGKILL, lambda _, w=writes: next(w, True), "lose")
            process.communicate("go\n", timeout=120)
            object_store.fault = lambda _: None
        assert read_day(place) in (1, 2)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        deaths += 1
        make(place, 3)  # waits until the lease of the dead has ended
        assert read_day(place) == 3
        assert_tidy(place)
    assert deaths >= 10  # lease, files, notes, manifest, line, CURRENT, lease


@pytest.mark.slow
@pytest.mark.parametrize("name", ["2024-06-05-a/node_embeddings/part-00001.parquet", MANIFEST, HISTORY, CURRENT])
def test_a_publisher_that_slept_through_its_lease_moves_nothing_that_readers_have(
    object_store: FaultProxy, store_root: Location, name: str
) -> None:
    """A publisher is stopped as it writes a file; another one publishes; the first goes on."""
    pointers = [store_root / "published/default" / pointer for pointer in (CURRENT, HISTORY)]
    make(store_root, 1)
    with publisher(store_root, 5) as process:
        object_store.fault = signal_at(process.pid, signal.SIGSTOP, lambda path: path.endswith(name), "throttle")
        sleep_while(process, lambda: make(store_root, 3), object_store)
        before = [files.read(path) for path in pointers]
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=120)
    assert process.returncode == 1
    assert [files.read(path) for path in pointers] == before
    assert read_day(store_root) == (5 if name == CURRENT else 3)  # 5 is newer, and its line was there
    make(store_root, 4, force_current=True)
    assert read_day(store_root) == 4
    assert_tidy(store_root)


@pytest.mark.slow
def test_a_publisher_that_slept_before_it_had_the_lease_publishes_after_the_other(
    object_store: FaultProxy, store_root: Location
) -> None:
    make(store_root, 1)
    with publisher(store_root, 5) as process:
        object_store.fault = signal_at(process.pid, signal.SIGSTOP, lambda path: path.endswith(".lock"), "throttle")
        sleep_while(process, lambda: make(store_root, 3), object_store)
        before = files.read(store_root / "published/default" / CURRENT)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert read_day(store_root) == 5
    assert fence_in(files.read(store_root / "published/default" / CURRENT)) > fence_in(before)
    assert_tidy(store_root)


def sleep_while(process: subprocess.Popen[str], action: Callable[[], object], store: FaultProxy) -> None:
    """Let a publisher go on until the store's fault has stopped it, and do something while it sleeps."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    assert has_stopped(process)
    store.fault = lambda _: None
    action()


def fence_in(pointer: bytes) -> int:
    return int(json.loads(pointer)["fence"])


def has_stopped(process: subprocess.Popen[str]) -> bool:
    """Wait until the process has stopped or ended; return whether it has stopped."""
    state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return state is not None and state.si_code == os.CLD_STOPPED


class publisher:  # noqa: N801
    """A process that publishes a day when it is told to."""

    def __init__(self, root: Location, day: int) -> None:
        self._command = [sys.executable, "-c", PUBLISHER, str(root), str(day)]

    def __enter__(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class PollingReader(threading.Thread):
    """Opens what readers get, again and again, looks up all rows, and keeps what went wrong."""

    def __init__(self, root: Location) -> None:
        super().__init__()
        self._root, self.days, self.errors = root, list[int](), list[str]()
        self._is_done = threading.Event()

    def run(self) -> None:
        while not self._is_done.is_set():
            try:
                self.days.append(read_day(self._root))
            except Exception as error:
                self.errors.append(repr(error))

    def __enter__(self) -> PollingReader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_done.set()
        self.join()


def swaps(root: Location, publications: int) -> Iterator[int]:
    """Publish, roll back and clean, again and again; yield the day that readers get after each step."""
    rules = PublishConfig(keep_releases=3, keep_runs=1, min_age_hours=0.0)
    for day in range(2, 2 + publications):
        make(root, day)
        yield day
        if day % 3 == 0:
            yield int(rollback(root, "default")[1].data_date[-2:])
            rollback(root, "default", f"2024-06-{day:02}-a")
            yield day
        clean(root, rules, dt.datetime.now(dt.UTC))


@pytest.mark.parametrize("publications", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_a_reader_polls_through_publications_rollbacks_and_cleanings(root: Location, publications: int) -> None:
    make(root, 1)
    with PollingReader(root) as reader:
        for day in swaps(root, publications):
            assert read_day(root) == day
    assert reader.errors == []
    assert len(reader.days) > publications
    assert len(set(reader.days)) > publications / 2
    assert len(releases(root, "default")) == 3
    assert_tidy(root)
