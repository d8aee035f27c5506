"""Leases: locks in an object store, which knows of no process and frees nothing when one dies.

A lease is an object that its holder replaces again and again. Whoever finds that it stayed the same for as long as it
lasts may take it; each taker's fence is one above the last one's. Clocks of two machines are never compared: a holder
counts from before it wrote, an observer from after it read, so the holder gives up first.
"""

import contextlib
import datetime as dt
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

from graphquilt.locations import ObjectPath
from pipeline.errors import LeaseLostError, LockedError, StorageError
from pipeline.locations import Location
from pipeline.storage import objects

log = logging.getLogger(__name__)

LENGTH_S = 60.0
#: Part of a lease that is left for what its holder does between a check and the next one.
_MARGIN = 1 / 6
#: Renewals in the length of a lease: who wants it learns within so little of it whether its holder is at work.
_RENEWALS = 12
#: Goes on while the machine sleeps, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class LeaseState:
    """What the object of a lease holds. ``renewals`` makes the bytes differ, and so the object's version."""

    fence: int
    token: str  # of this holder; "" if it is free
    purpose: str
    host: str
    pid: int
    since: str  # UTC
    length_s: float
    renewals: int = 0

    def to_bytes(self) -> bytes:
        """Return the object's bytes."""
        return (json.dumps(asdict(self)) + "\n").encode()


class Lease:
    """A lease that this process holds; it is renewed by a thread. See :func:`hold_lease`."""

    def __init__(self, path: ObjectPath, state: LeaseState, taken_at: float) -> None:
        self._path, self._state = path, state
        self.memory: dict[ObjectPath, bytes | None] = {}  # see memory_of
        self._until = taken_at + (1 - _MARGIN) * state.length_s
        self._loss: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease of {path}", daemon=True)
        self._thread.start()

    @property
    def folder(self) -> ObjectPath:
        """What it is a lease of."""
        return self._path.parent

    @property
    def fence(self) -> int:
        """The number of this holder: above that of all earlier ones."""
        return self._state.fence

    def require(self) -> None:
        """Check that this process still holds the lease; to be called before each write that counts.

        Raises
        ------
        LeaseLostError : another process may have taken it.
        """
        if self._loss is None and _now() > self._until:
            self._loss = f"it was not renewed in time ({self._state.length_s:g} s)"
        if self._loss is not None:
            raise LeaseLostError(
                f"{self._state.purpose} stops without writing: it has lost {self._path}, since {self._loss}; "
                "run again, which resumes"
            )

    def release(self) -> None:
        """Let others take it at once; one that was lost is theirs, and what lies below it."""
        self._stop.set()
        try:
            self.require()
        except LeaseLostError:
            _lost_leases[self.folder] = self
            return
        self._thread.join(max(0.0, self._until - _now()))
        with contextlib.suppress(StorageError):  # then it expires
            self._replace(replace(self._state, token="", renewals=self._state.renewals + 1))

    def _renew(self) -> None:
        while not self._stop.wait(self._state.length_s / _RENEWALS):
            before = _now()
            state = replace(self._state, renewals=self._state.renewals + 1)
            try:
                self.require()
                if not self._replace(state):
                    self._loss = "another process took it"
            except LeaseLostError:
                return
            except StorageError as error:
                log.warning("lease=%s renewed=false error=%s", self._path, error)
                continue  # until it is too late
            self._state, self._until = state, before + (1 - _MARGIN) * state.length_s

    def _replace(self, state: LeaseState) -> bool:
        """Replace the object if this process still holds it; return whether it does."""
        now = _read(self._path)
        return (
            now is not None and now[0].token == self._state.token and objects.swap(self._path, state.to_bytes(), now[1])
        )


@contextlib.contextmanager
def hold_lease(path: ObjectPath, purpose: str, wait_s: float = 0.0, length_s: float = LENGTH_S) -> Iterator[Lease]:
    """Hold a lease. Where another process holds it, this one watches until that one renews it, even without a wait.

    Nothing else tells a holder at work from one that was killed this moment, and after a kill the same command is to go
    on by itself. So a caller that does not wait is refused after a twelfth of the lease's length, at the next renewal,
    and takes the lease of a dead holder after its whole length.

    Raises
    ------
    LockedError : its holder is at work, and was for ``wait_s`` seconds.
    """
    lease = _take(path, purpose, wait_s, length_s)
    _lost_leases.pop(lease.folder, None)
    _leases.append(lease)
    try:
        yield lease
    finally:
        _leases.remove(lease)
        lease.release()


#: The leases that this process holds.
_leases: list[Lease] = []
#: Those that it has lost, by their folder, and has not taken again.
_lost_leases: dict[ObjectPath, Lease] = {}


def fence_of(folder: Location) -> int:
    """Return the fence of the lease that this process holds on a folder or one above it; 0 if there is none."""
    if isinstance(folder, Path):
        return 0
    return max((lease.fence for lease in _leases if folder.is_relative_to(lease.folder)), default=0)


def memory_of(location: Location) -> dict[ObjectPath, bytes | None] | None:
    """Return what this process remembers of files that only the holder of a lease writes; None: it holds none there.

    None in the place of a file's bytes says that there is no such file.
    """
    if isinstance(location, Path):
        return None
    return next((lease.memory for lease in _leases if location.is_relative_to(lease.folder)), None)


def forget_below(location: Location) -> None:
    """Forget what this process remembers of a file, or of all files in a folder: they are about to change."""
    for lease in _leases:
        for path in [path for path in lease.memory if path.is_relative_to(location)]:
            del lease.memory[path]


def require_leases(location: ObjectPath) -> None:
    """Check that this process still holds all leases that it took, and has lost none on a folder of this location.

    Storage asks before it writes or removes objects.

    Raises
    ------
    LeaseLostError : another process may have taken one of them.
    """
    for lease in (*_leases, *(lease for folder, lease in _lost_leases.items() if location.is_relative_to(folder))):
        lease.require()


def _take(path: ObjectPath, purpose: str, wait_s: float, length_s: float) -> Lease:
    start = _now()
    first: tuple[str, float] | None = None  # a version, and when it was first read
    is_alive = False
    while True:
        before = _now()
        now = _read(path)
        if now is None or not now[0].token or (first and first[0] == now[1] and before - first[1] > now[0].length_s):
            state = _new_state(purpose, length_s, fence=now[0].fence + 1 if now else 1)
            taken_at = _now()
            if objects.swap(path, state.to_bytes(), now[1] if now else None):
                return Lease(path, state, taken_at)
            is_alive = True  # whoever was faster
            continue
        if first is None:
            log.info("lease=%s event=watched length_s=%g holder=%r", path, now[0].length_s, _describe_holder(now[0]))
        if first is None or first[0] != now[1]:
            is_alive = first is not None
            first = now[1], _now()
        if is_alive and _now() - start >= wait_s:
            raise LockedError(
                f"{purpose} can't start: {path.parent} is locked by {_describe_holder(now[0])}, which is at work. "
                f"Waited {_now() - start:.0f} s; wait for it to end, or give --wait SECONDS."
            )
        time.sleep(min(1.0, now[0].length_s / 20))


def _read(path: ObjectPath) -> tuple[LeaseState, str] | None:
    now = objects.read_version(path)
    try:
        return now and (LeaseState(**json.loads(now[0])), now[1])
    except (ValueError, TypeError) as error:
        raise StorageError(f"{path} is no lease of this version ({error}); remove it if nothing runs there") from error


def _new_state(purpose: str, length_s: float, fence: int) -> LeaseState:
    since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return LeaseState(fence, uuid4().hex, purpose, socket.gethostname(), os.getpid(), since, length_s)


def _describe_holder(state: LeaseState) -> str:
    return f"{state.purpose}, pid {state.pid} on {state.host}, since {state.since}"


def _now() -> float:
    return time.clock_gettime(_CLOCK)
