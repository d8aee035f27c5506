"""What may go: old releases, old dates' working tables, and what killed processes left.

Kept whatever else is asked: the current release, a release younger than ``min_age_hours``, a date that a
process is at work on. A folder loses its name before its files: a kill leaves nothing that looks whole.
"""

from __future__ import annotations

import datetime as dt
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline import storage
from pipeline.errors import LockedError, StorageError
from pipeline.publishing.listing import DamagedRelease, Release, all_releases
from pipeline.publishing.pointer import own_folder, pointers_of, settle
from pipeline.publishing.release import LOCK, leftovers, move_aside
from pipeline.publishing.staging import REMOVED
from pipeline.workspace import lock, run_folder

#: Stays in a date's folder: a lock file that is removed while another process waits for it locks nothing.
_RUN_LOCK = ".lock"


@dataclass(frozen=True)
class Item:
    """A folder, and why it goes or stays. ``bytes`` counts its files' sizes."""

    kind: Literal["release", "run", "leftover"]
    path: Path
    why: str
    bytes: int


@dataclass(frozen=True)
class CleanReport:
    """What a cleaning removed, or with ``dry_run`` would remove.

    ``freed_bytes`` is the sum of the files' sizes: where the file system clones files, the disk gets back less until
    release and run are both gone.
    """

    removed: tuple[Item, ...]
    kept: tuple[Item, ...]
    freed_bytes: int
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        plain = asdict(self)
        for items in (plain["removed"], plain["kept"]):
            for item in items:
                item["path"] = str(item["path"])
        return plain


def clean(
    root: Path,
    name: str,
    *,
    keep_releases: int,
    keep_runs: int,
    min_age_hours: float,
    now: dt.datetime,
    dry_run: bool = False,
    purge_ids: bool = False,
    wait_s: float = 60.0,
) -> CleanReport:
    """Remove old releases of a name and old dates' working tables.

    Parameters
    ----------
    keep_releases : newest releases that stay, by date of the data; the current one stays beside them.
    keep_runs : newest dates whose working tables stay, whatever names they were published under.
    min_age_hours : a release published less than this before ``now`` stays.
    now : with a time zone.
    purge_ids : everything that may still hold ids left out by ``publish.exclude_ids`` goes: all releases but
        the current one and all working tables. A release that is too young stays: see ``kept``, and repeat.

    Raises
    ------
    LockedError : a publisher is at work for longer than ``wait_s``.
    StorageError : nothing says which release is the current one, so that it could not be kept.
    """
    folder = own_folder(root, name)
    with lock(folder / LOCK, f"clean of {name}", wait_s):
        at = pointers_of(folder).at if dry_run else settle(folder)
        kept = 0 if purge_ids else keep_releases
        going, staying = _judge_releases(root, name, at.release if at else None, kept, min_age_hours, now)
        going += [Item("leftover", path, "left by a killed process", _size(path)) for path in leftovers(folder)]
        if not dry_run:
            for item in going:
                _remove(item.path)
    for date in _run_dates(root)[0 if purge_ids else keep_runs :]:
        try:
            with lock(run_folder(root, date) / _RUN_LOCK, f"clean of {date}"):
                going.append(_clean_run(root, date, purge_ids, keep_runs, dry_run))
        except LockedError:
            staying.append(Item("run", run_folder(root, date), "a process is at work on it", 0))
        except StorageError as error:  # a link, which is not followed
            staying.append(Item("run", run_folder(root, date), str(error), 0))
    return CleanReport(tuple(going), tuple(staying), sum(item.bytes for item in going), dry_run)


def _judge_releases(
    root: Path, name: str, at: str | None, keep: int, min_age_hours: float, now: dt.datetime
) -> tuple[list[Item], list[Item]]:
    """Split the releases of a name into those that go and those that stay."""
    going: list[Item] = []
    staying: list[Item] = []
    place = 0  # among the sound ones: a damaged release pushes none of them out
    for release in reversed(all_releases(root, name)):
        why = _why_kept(release, place, at, keep, min_age_hours, now)
        goes = f"{place} newer releases; {keep} are kept" if keep else "ids are purged"
        (staying if why else going).append(Item("release", release.path, why or goes, _size(release.path)))
        place += isinstance(release, Release)
    return going, staying


def _why_kept(
    release: Release | DamagedRelease, place: int, at: str | None, keep: int, min_age_hours: float, now: dt.datetime
) -> str | None:
    if release.release == at:
        return "current"
    if isinstance(release, DamagedRelease):
        # Without a date it may be no release at all. Ids that are to go are a reason to remove it, room is none.
        return None if keep == 0 and release.data_date > dt.date.min else f"damaged: {release.problem}"
    if place < keep:
        return f"one of the newest {keep}"
    age_hours = (now - release.published_at).total_seconds() / 3600
    if age_hours < min_age_hours:
        return f"published {age_hours:.1f} hours ago; none younger than {min_age_hours:g} goes"
    return None


def _run_dates(root: Path) -> list[dt.date]:
    """Return the dates with working tables, newest first."""
    storage.require_own(root / "runs", "folder")
    found = []
    for folder in (root / "runs").glob("*"):
        try:
            date = dt.date.fromisoformat(folder.name)
        except ValueError:  # not ours
            continue
        if folder.is_symlink() or not folder.is_dir() or any(child.name != _RUN_LOCK for child in folder.iterdir()):
            found.append(date)
    return sorted(found, reverse=True)


def _clean_run(root: Path, date: dt.date, purge_ids: bool, keep_runs: int, dry_run: bool) -> Item:
    folder = run_folder(root, date)
    why = "ids are purged" if purge_ids else f"{keep_runs} newer dates are kept"
    item = Item("run", folder, why, _size(folder))
    if not dry_run:
        for child in sorted(folder.iterdir()):
            if child.name != _RUN_LOCK:
                _remove(child)
    return item


def _remove(path: Path) -> None:
    """Remove a folder, or a name that is none: of a link, the link."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    elif path.name.startswith(REMOVED):
        storage.remove_tree(path)
    else:
        storage.remove_tree(move_aside(path))


def _size(path: Path) -> int:
    """Return the bytes of the files in a folder, or of a file; links are not followed."""
    if not os.path.lexists(path):
        return 0
    paths = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(about.st_size for about in (found.lstat() for found in paths) if stat.S_ISREG(about.st_mode))
