"""Locks of dates and of published names: one process at a time makes what lies below them."""

import contextlib
import datetime as dt
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import LockedError
from pipeline.locations import Location
from pipeline.storage import posix
from pipeline.storage.leases import hold_lease


@contextlib.contextmanager
def lock(path: Location, purpose: str, wait_s: float = 0.0) -> Iterator[int]:
    """Hold an exclusive lock: on a file of this machine, or a lease in an object store. Yield its fence.

    The fence of a lease grows with every holder. That of a file is 0: the kernel keeps others out.

    The kernel frees the first when the process dies, however it dies; the second ends when it is not renewed.

    Raises
    ------
    LockedError : after ``wait_s`` seconds, naming holder, pid and start.
    StorageError : something foreign stands in the place of the file, its folder or the one above.
    """
    if not isinstance(path, Path):
        with hold_lease(path, purpose, wait_s) as lease:
            yield lease.fence
        return
    posix.require_own(path.parent.parent, "folder")
    posix.make_folder(path.parent)
    posix.require_own(path, "file")
    deadline = time.monotonic() + wait_s
    with path.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LockedError(_holder(path, purpose, wait_s)) from None
                time.sleep(min(0.2, max(0.01, deadline - time.monotonic())))
        file.truncate(0)
        holder = {
            "purpose": purpose,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        }
        file.write(json.dumps(holder))
        file.flush()
        yield 0


def _holder(path: Path, purpose: str, wait_s: float) -> str:
    try:
        holder = json.loads(path.read_text())
        description = f"{holder['purpose']}, pid {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # It took the lock this moment, and has not written its name yet.
        description = "a process that has just started"
    return (
        f"{purpose} can't start: {path.parent} is locked by {description}. "
        f"Waited {wait_s:g} s; wait for it to end, or give --wait SECONDS."
    )
