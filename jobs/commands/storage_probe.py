"""Whether an address can be a workspace: what runs do there is tried out, and nothing of it stays."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from graphquilt.output import amount
from jobs.commands.existing import folder_of
from jobs.commands.installed import Finding
from pipeline import storage

_FSYNC = "a crash could leave half a table that looks whole: use a file system with fsync for files and folders"
_LOCKS = (
    "two runs of one date would not see each other (on NFS, mount with lockd or version 4): use another file "
    "system, or make sure that only one run is started at a time"
)
_LINKS = "what tasks wrote is copied into tables instead of linked: that takes its size twice for a while, and time"


def probe(address: str) -> list[Finding]:
    """Try a workspace; of one that is not there yet, the nearest folder above it.

    Raises
    ------
    ConfigError : no workspace can be at this address. StorageError : a store can't be reached, or lacks what runs need.
    """
    root = folder_of(address)
    if not isinstance(root, Path):
        storage.open_root(root)
        return [Finding("workspace", f"{root} can be written, and the store heeds conditions of puts", is_fine=True)]
    folder = next(path for path in (root, *root.parents) if path.exists())
    try:
        trial = Path(tempfile.mkdtemp(prefix=".doctor-", dir=folder))
    except OSError as error:
        advice = f"runs write there ({error.strerror}): choose a folder that this user can write, or mount it so"
        return [Finding("workspace", f"{folder} can't be written", is_fine=False, advice=advice)]
    try:
        free = shutil.disk_usage(folder).free
        return [
            Finding("workspace", f"{root} can be written, {amount(free)} free", is_fine=True),
            _try("fsync", lambda: storage.write(trial / "file", b"x"), _FSYNC),
            _try("locks", lambda: _lock_twice(trial / "lock"), _LOCKS),
            _try("hard links", lambda: (trial / "link").hardlink_to(trial / "file"), _LINKS, is_needed=False),
        ]
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _try(subject: str, action: Callable[[], str | None], advice: str, *, is_needed: bool = True) -> Finding:
    """Return whether an action works; it returns what is wrong, or raises."""
    try:
        problem = action()
    except OSError as error:
        problem = f"refused: {error.strerror}"
    return Finding(subject, problem or "works", problem is None, is_needed, advice if problem else "")


def _lock_twice(path: Path) -> str | None:
    with path.open("w") as first, path.open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
    return "have no effect"
