"""Whether a folder can be a workspace: writing, links, locks and fsync, tried out in a folder that goes again."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from jobs.answers import amount
from jobs.commands.existing import folder_of
from jobs.commands.finding import Finding


def probe(address: str) -> list[Finding]:
    """Try a workspace, or the nearest folder above it that is there.

    Raises
    ------
    ConfigError : an address with a scheme.
    """
    root = folder_of(address)
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
            _fsync(trial),
            _locks(trial),
            _links(trial),
        ]
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _fsync(folder: Path) -> Finding:
    advice = "a crash could leave half a table that looks whole: use a file system with fsync for files and folders"
    try:
        with (folder / "file").open("wb") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return Finding("fsync", f"refused: {error.strerror}", is_fine=False, advice=advice)
    return Finding("fsync", "works", is_fine=True)


def _locks(folder: Path) -> Finding:
    advice = (
        "two runs of one date would not see each other (on NFS, mount with lockd or version 4): use another file "
        "system, or make sure that only one run is started at a time"
    )
    try:
        with (folder / "lock").open("w") as one, (folder / "lock").open("w") as other:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Finding("locks", "work", is_fine=True)
    except OSError as error:
        return Finding("locks", f"refused: {error.strerror}", is_fine=False, advice=advice)
    return Finding("locks", "have no effect", is_fine=False, advice=advice)


def _links(folder: Path) -> Finding:
    advice = "what tasks wrote is copied into tables instead of linked: that takes its size twice for a while, and time"
    try:
        (folder / "linked").write_bytes(b"x")
        (folder / "link").hardlink_to(folder / "linked")
    except OSError as error:
        return Finding("hard links", f"refused: {error.strerror}", is_fine=False, is_needed=False, advice=advice)
    return Finding("hard links", "work", is_fine=True)
