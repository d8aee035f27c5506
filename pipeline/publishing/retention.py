"""What may go: old releases, old dates' working tables, and what killed processes left.

Kept whatever else is asked: the current release, a release younger than ``min_age_hours``, a date that a
process is at work on. A folder loses its name before its files: a kill leaves nothing that looks whole.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline import storage
from pipeline.errors import LockedError
from pipeline.publishing.release import (
    LOCK,
    REMOVED,
    Release,
    current,
    leftovers,
    move_aside,
    releases,
)
from pipeline.workspace import lock, published_folder, run_folder

#: Stays in a date's folder: a lock file that is removed while another process waits for it locks nothing.
_RUN_LOCK = ".lock"


@dataclass(frozen=True)
class Item:
    """A folder, and why it goes or stays. ``bytes`` counts its files' sizes, linked elsewhere or not."""

    kind: Literal["release", "run", "leftover"]
    path: Path
    why: str
    bytes: int


@dataclass(frozen=True)
class CleanReport:
    """What a cleaning removed, or with ``dry_run`` would remove.

    ``freed_bytes`` counts files whose last name goes: a release's files are often links to a run's.
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
    """
    folder, freed = published_folder(root, name), _Freed()
    with lock(folder / LOCK, f"clean of {name}", wait_s):
        going, staying = _judge_releases(root, name, 0 if purge_ids else keep_releases, min_age_hours, now)
        going += [Item("leftover", path, "left by a killed process", _size(path)) for path in leftovers(folder)]
        freed.count(item.path for item in going)
        if not dry_run:
            for item in going:
                _remove(item.path)
    for date in _run_dates(root)[0 if purge_ids else keep_runs :]:
        try:
            with lock(run_folder(root, date) / _RUN_LOCK, f"clean of {date}"):
                going.append(_clean_run(root, date, purge_ids, keep_runs, dry_run, freed))
        except LockedError:
            staying.append(Item("run", run_folder(root, date), "a process is at work on it", 0))
    return CleanReport(tuple(going), tuple(staying), freed.bytes, dry_run)


def _judge_releases(
    root: Path, name: str, keep: int, min_age_hours: float, now: dt.datetime
) -> tuple[list[Item], list[Item]]:
    """Split the releases of a name into those that go and those that stay."""
    pointer = current(root, name)
    known = releases(root, name)[::-1]
    going: list[Item] = []
    staying: list[Item] = []
    for place, release in enumerate(known):
        why = _why_kept(release, place, pointer["release"] if pointer else None, keep, min_age_hours, now)
        goes = f"{place} newer releases; {keep} are kept" if keep else "ids are purged"
        (staying if why else going).append(Item("release", release.path, why or goes, _size(release.path)))
    return going, staying


def _why_kept(
    release: Release, place: int, at: str | None, keep: int, min_age_hours: float, now: dt.datetime
) -> str | None:
    if release.release == at:
        return "current"
    if place < keep:
        return f"one of the newest {keep}"
    age_hours = (now - release.published_at).total_seconds() / 3600
    if age_hours < min_age_hours:
        return f"published {age_hours:.1f} hours ago; none younger than {min_age_hours:g} goes"
    return None


def _run_dates(root: Path) -> list[dt.date]:
    """Return the dates with working tables, newest first."""
    found = []
    for folder in (root / "runs").glob("*"):
        try:
            date = dt.date.fromisoformat(folder.name)
        except ValueError:  # not ours
            continue
        if any(child.name != _RUN_LOCK for child in folder.iterdir()):
            found.append(date)
    return sorted(found, reverse=True)


def _clean_run(root: Path, date: dt.date, purge_ids: bool, keep_runs: int, dry_run: bool, freed: _Freed) -> Item:
    folder = run_folder(root, date)
    why = "ids are purged" if purge_ids else f"{keep_runs} newer dates are kept"
    item = Item("run", folder, why, _size(folder))
    children = [child for child in sorted(folder.iterdir()) if child.name != _RUN_LOCK]
    freed.count(children)
    if not dry_run:
        for child in children:
            _remove(child)
    return item


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
    elif path.name.startswith(REMOVED):
        storage.remove_tree(path)
    else:
        storage.remove_tree(move_aside(path))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())
    elif path.exists():
        yield path


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


class _Freed:
    """Bytes of files all of whose names go; names are counted before they go."""

    def __init__(self) -> None:
        self._names: Counter[tuple[int, int]] = Counter()
        self._files: dict[tuple[int, int], tuple[int, int]] = {}  # inode: names it had at first, bytes

    def count(self, paths: Iterable[Path]) -> None:
        """Count the files under paths that are about to go."""
        for path in paths:
            for file in _files(path):
                about = file.stat()
                inode = about.st_dev, about.st_ino
                self._names[inode] += 1
                self._files.setdefault(inode, (about.st_nlink, about.st_size))

    @property
    def bytes(self) -> int:
        """Return the bytes that the disk gets back."""
        return sum(size for inode, (links, size) in self._files.items() if self._names[inode] >= links)
