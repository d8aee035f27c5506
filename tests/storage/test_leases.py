"""Leases: one holder at a time, whatever becomes of the holders."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from graphquilt.locations import ObjectPath
from pipeline.errors import LeaseLostError, LockedError, StorageError
from pipeline.storage import objects
from pipeline.storage.leases import Lease, hold_lease
from tests.object_store import FaultProxy
from tests.storage.store_checks import check_that_one_holds_it, finish, object_path, start

LENGTH_S = 2.0


@pytest.fixture
def path(bucket: str) -> ObjectPath:
    return object_path(f"{bucket}/runs/2026-01-01/.lock")


def require_for(lease: Lease, seconds: float) -> None:
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        lease.require()
        time.sleep(0.01)


@pytest.mark.parametrize("fault", [None, "lose"])
def test_of_processes_that_race_one_holds_it_at_a_time(
    fault: str | None, object_store: FaultProxy, path: ObjectPath, tmp_path: Path
) -> None:
    puts = iter(range(100_000))
    object_store.fault = lambda request: fault if request.method == "PUT" and next(puts) % 3 == 0 else None
    check_that_one_holds_it(path, tmp_path)


def test_a_lease_is_kept_for_longer_than_it_lasts(object_store: FaultProxy, path: ObjectPath) -> None:
    with hold_lease(path, "embed for 2026-01-01", length_s=LENGTH_S) as lease:
        started = time.monotonic()
        with pytest.raises(LockedError) as error, hold_lease(path, "publish", wait_s=2 * LENGTH_S):
            pass
        assert time.monotonic() - started >= 2 * LENGTH_S
        lease.require()
    pattern = (
        rf"publish can't start: {path.parent} is locked by embed for 2026-01-01, pid {os.getpid()} on \S+, "
        r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00, which is at work\. "
        r"Waited 4 s; wait for it to end, or give --wait SECONDS\."
    )
    assert re.fullmatch(pattern, str(error.value))


def test_a_lease_that_was_released_is_free_at_once(object_store: FaultProxy, path: ObjectPath) -> None:
    for fence in (1, 2, 3):
        started = time.monotonic()
        with hold_lease(path, "one", length_s=60.0) as lease:
            assert lease.fence == fence
        assert time.monotonic() - started < 5.0


def test_without_a_wait_a_holder_at_work_is_refused_at_its_next_renewal(
    object_store: FaultProxy, path: ObjectPath, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pipeline.storage.leases")
    with hold_lease(path, "one", length_s=24.0) as lease:
        started = time.monotonic()
        with pytest.raises(LockedError, match=f"locked by one, pid {os.getpid()} on "), hold_lease(path, "two"):
            pass
        assert time.monotonic() - started < 7.0  # a renewal comes every 2 s
        lease.require()
    (line,) = caplog.messages  # before it watches: nobody looks at a silent command
    assert f"lease={path} event=watched length_s=24 holder='one, pid {os.getpid()} on " in line


_HOLD = f"""
with hold_lease(path, "first", 0, {LENGTH_S}) as lease:
    print(lease.fence, flush=True)
    sys.stdin.readline()
"""


def test_the_lease_of_a_killed_holder_is_taken_after_its_length(object_store: FaultProxy, path: ObjectPath) -> None:
    holder = start(_HOLD, path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "1\n"
    holder.kill()
    holder.communicate()
    started = time.monotonic()
    with hold_lease(path, "second", length_s=LENGTH_S) as lease:  # no wait is needed: nobody is at work
        assert LENGTH_S <= time.monotonic() - started < LENGTH_S + 5.0
        assert lease.fence == 2


_PAUSE = f"""
import signal
pointer = path.with_name("CURRENT.json")
_, version = objects.read_version(pointer)
from pipeline.errors import LeaseLostError
with hold_lease(path, "first", 0, {LENGTH_S}) as lease:
    lease.require()
    os.kill(os.getpid(), signal.SIGSTOP)
    swapped = objects.swap(pointer, b"of the first", version)
    try:
        lease.require()
        print("holds", swapped)
    except LeaseLostError as error:
        print(swapped, error)
"""


def test_a_holder_that_was_paused_neither_swaps_nor_goes_on(object_store: FaultProxy, path: ObjectPath) -> None:
    pointer = path.with_name("CURRENT.json")
    objects.write_if_absent(pointer, b"before")
    holder = start(_PAUSE, path)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
    with hold_lease(path, "second", length_s=LENGTH_S) as lease:
        assert lease.fence == 2
        _, version = objects.read_version(pointer) or (b"", "")
        assert objects.swap(pointer, b"of the second", version)
        os.kill(holder.pid, signal.SIGCONT)
        output, errors = finish(holder)
        lease.require()  # the first one's end takes nothing away
    assert errors == ""
    assert output.startswith(f"False first stops without writing: it has lost {path}, since ")
    assert objects.read(pointer) == b"of the second"


def test_a_holder_that_reaches_no_store_stops_before_others_may_start(
    object_store: FaultProxy, path: ObjectPath
) -> None:
    with hold_lease(path, "one", length_s=LENGTH_S) as lease:
        object_store.fault = lambda _: "deny"
        started = time.monotonic()
        with pytest.raises(LeaseLostError, match=r"was not renewed in time \(2 s\); run again, which resumes"):
            require_for(lease, 10 * LENGTH_S)
        assert time.monotonic() - started < LENGTH_S
        object_store.fault = lambda _: None
        time.sleep(LENGTH_S)
        with pytest.raises(LeaseLostError):  # for good
            lease.require()


def test_a_holder_outlives_a_store_that_is_away_for_a_moment(object_store: FaultProxy, path: ObjectPath) -> None:
    def fail(request: Any) -> str | None:
        return "deny" if time.monotonic() - started < 1.5 else None

    with hold_lease(path, "one", length_s=3.0) as lease:
        started = time.monotonic()
        object_store.fault = fail
        time.sleep(3.5)
        lease.require()


def test_a_lease_whose_object_was_taken_is_lost(object_store: FaultProxy, path: ObjectPath) -> None:
    with hold_lease(path, "one", length_s=LENGTH_S) as lease:
        data, version = objects.read_version(path) or (b"", "")
        assert objects.swap(path, json.dumps({**json.loads(data), "token": "other", "fence": 9}).encode(), version)
        time.sleep(LENGTH_S / 2)
        with pytest.raises(LeaseLostError, match="another process took it"):
            lease.require()
    assert json.loads(objects.read(path) or b"")["token"] == "other"  # which the release leaves alone


def test_another_object_in_its_place_is_named(object_store: FaultProxy, path: ObjectPath) -> None:
    objects.write(path, b"{}")
    with pytest.raises(StorageError, match=r"\.lock is no lease of this version"), hold_lease(path, "one"):
        pass
