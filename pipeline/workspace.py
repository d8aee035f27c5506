"""Where tables are: one folder for all dates, found by fingerprints, made real by manifests.

    WORKSPACE/runs/<date>/<table>/<fingerprint>/     working tables, a manifest each
    WORKSPACE/published/<name>/                      releases and CURRENT.json

Without a manifest a table does not exist; with one it is whole and never changes again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import LockedError, MissingTableError

MANIFEST = "manifest.json"
UNDATED = dt.date(1970, 1, 1)


@dataclass(frozen=True)
class DataFile:
    """A file of a table; ``name`` is relative to the table's folder."""

    name: str
    rows: int
    bytes: int
    checksum: str | None = None  # None where an engine wrote it: same rows, not same bytes


@dataclass(frozen=True)
class Manifest:
    """What a finished table is and what it came from."""

    table: str
    version: int
    stage: str
    fingerprint: str
    files: tuple[DataFile, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)  # counts and measures that people act on
    made_by: Mapping[str, Any] = field(default_factory=dict)  # run, host, clock: nothing that sets the result

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Manifest:
        """Read what :meth:`Workspace.commit` wrote."""
        return cls(**{**raw, "files": tuple(DataFile(**file) for file in raw["files"])})


@dataclass(frozen=True)
class Workspace:
    """The folder of one run date: knows where each table of this run belongs."""

    root: Path
    date: dt.date
    fingerprints: Mapping[str, str]  # by stage; see pipeline.stages.chain
    tables: Mapping[str, str]  # table -> stage that makes it
    run_id: str
    force_current: bool = False  # publish moves CURRENT even to an older date than it has
    parent: str | None = None  # the release whose coordinates this run's table is turned into
    accept_drift: bool = False  # publish whatever the gates say
    baselines: tuple[str, ...] = ()  # the release that this run is judged against, and its ancestors
    today: dt.date | None = None  # UTC, when this run of this input and config first began; None: undated input

    @property
    def run_folder(self) -> Path:
        """Return the folder of this date."""
        return run_folder(self.root, self.date)

    def place(self, table: str) -> Path:
        """Return the folder of a table, whether or not it is made."""
        return self.run_folder / table / self.fingerprints[self.tables[table]]

    def work(self, stage: str) -> Path:
        """Return the folder where a stage's tasks write; it is removed once the stage has committed."""
        return self.run_folder / "_work" / f"{stage}-{self.fingerprints[stage]}"

    def scratch(self, stage: str, name: str) -> Path:
        """Return an empty folder inside :meth:`work` for what a relational verb writes; a killed run's is removed."""
        folder = self.work(stage) / name
        storage.remove_tree(folder)
        folder.mkdir(parents=True)
        return folder

    def finished(self, table: str) -> Manifest | None:
        """Return the manifest of a table, or None if it has not been made."""
        raw = storage.read_json(self.place(table) / MANIFEST)
        return Manifest.from_json(raw) if raw else None

    def manifest(self, table: str) -> Manifest:
        """Return the manifest of a table that must be there.

        Raises
        ------
        MissingTableError : naming the stage to run.
        """
        found = self.finished(table)
        if found is None:
            stage = self.tables[table]
            raise MissingTableError(
                f"{table} for {self.date} has not been made from this input and config "
                f"(looked for {self.place(table) / MANIFEST}); run 'graphquilt {stage}' first, with the same "
                "options. If it did run, the input or the config changed since."
            )
        return found

    def files(self, table: str) -> list[Path]:
        """Return the files of a table that must be there, in the order of its manifest."""
        place = self.place(table)
        return [place / file.name for file in self.manifest(table).files]

    def commit(self, manifest: Manifest) -> None:
        """Make an attempt *the* table.

        Its files are in place and durable. Exclusion is the caller's lock, not this function's.
        """
        place = self.place(manifest.table)
        storage.fsync_folder(place)
        storage.write_json(place / MANIFEST, asdict(manifest))


def run_folder(root: Path, date: dt.date) -> Path:
    """Return the folder of a date's working tables."""
    return root / "runs" / date.isoformat()


def published_folder(root: Path, name: str) -> Path:
    """Return the folder of a published name: its releases and CURRENT.json."""
    return root / "published" / name


@contextlib.contextmanager
def lock(path: Path, purpose: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel frees it when the process dies, however it dies.

    Raises
    ------
    LockedError : after ``wait_s`` seconds, naming holder, pid and start.
    StorageError : something foreign stands in the place of the file, its folder or the one above.
    """
    storage.require_own(path.parent.parent, "folder")
    storage.make_folder(path.parent)
    storage.require_own(path, "file")
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
        yield


def hold(workspace: Workspace, purpose: str, wait_s: float = 0.0) -> contextlib.AbstractContextManager[None]:
    """Hold the lock of a workspace's date, so that no other process makes its tables meanwhile.

    Raises
    ------
    LockedError : after ``wait_s`` seconds, naming holder, pid and start.
    """
    return lock(workspace.run_folder / ".lock", f"{purpose} for {workspace.date}", wait_s)


def _holder(path: Path, purpose: str, wait_s: float) -> str:
    try:
        held = json.loads(path.read_text())
        who = f"{held['purpose']}, pid {held['pid']} on {held['host']}, since {held['since']}"
    except (OSError, ValueError, KeyError):  # it took the lock this moment and has not written its name yet
        who = "a process that has just started"
    return (
        f"{purpose} can't start: {path.parent} is locked by {who}. "
        f"Waited {wait_s:g} s; wait for it to end, or give --wait SECONDS."
    )
