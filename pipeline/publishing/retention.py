"""What may go: old releases, old dates' working tables, and what killed processes left.

Four things always stay: the current release, its baseline (but where ids are purged), a release younger than
``min_age_hours``, and a date that a process is at work on. A folder is renamed before its files are removed: a kill
leaves nothing that looks whole.
"""

import contextlib
import datetime as dt
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from graphquilt.own_files import describe_foreign
from graphquilt.pointers import Swap
from pipeline import storage
from pipeline.config.publish import PublishConfig
from pipeline.errors import LockedError, StorageError
from pipeline.locations import Location
from pipeline.publishing.baseline import find_baselines
from pipeline.publishing.listing import DamagedRelease, Release, all_releases
from pipeline.publishing.placement import find_leftovers, remove_placed
from pipeline.publishing.pointer import own_folder, pointers_of, restore_current
from pipeline.publishing.release import LOCK
from pipeline.storage import lock
from pipeline.workspace import run_dates, run_folder

#: Stays in a date's folder: a lock file that is removed while another process waits for it locks nothing.
_RUN_LOCK = ".lock"


@dataclass(frozen=True)
class Item:
    """A folder, and why it goes or stays. ``bytes`` counts its files' sizes."""

    kind: Literal["release", "run", "leftover"]
    path: Location
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


def clean(
    root: Location,
    rules: PublishConfig,
    now: dt.datetime,
    *,
    dry_run: bool = False,
    purge_ids: bool = False,
    wait_s: float = 60.0,
) -> CleanReport:
    """Remove old releases of a name and old dates' working tables.

    Parameters
    ----------
    root : the workspace; the releases are where ``rules`` say, there or elsewhere.
    rules : the name, and how many releases, of which age, and how many dates' working tables stay. The current release
        stays beside them. Working tables are counted whatever names they were published under.
    now : with a time zone.
    purge_ids : everything that may still hold ids left out by ``publish.exclude_ids`` goes: all releases but
        the current one and all working tables. A release that is too young stays: see ``kept``, and repeat.

    Raises
    ------
    LockedError : a publisher is at work for longer than ``wait_s``.
    StorageError : nothing says which release is the current one, so that it could not be kept.
    """
    if purge_ids:
        rules = rules.model_copy(update={"keep_releases": 0, "keep_runs": 0})
    publish_root = rules.root(root)
    folder = own_folder(publish_root, rules.name)
    with lock(folder / LOCK, f"clean of {rules.name}", wait_s) as fence:
        at = pointers_of(folder).at if dry_run else restore_current(folder, fence)
        to_remove, to_keep = _judge_releases(publish_root, at, rules, now)
        leftovers = find_leftovers(folder, at.release if at else None)
        to_remove += [Item("leftover", path, "left by a killed process", _size(path)) for path in leftovers]
        if not dry_run:
            for item in to_remove:
                remove_placed(item.path)
    storage.require_own(root / "runs", "folder")
    dates = [date for date in run_dates(root) if _has_tables(run_folder(root, date))]
    for date in dates[rules.keep_runs :]:
        try:
            with lock(run_folder(root, date) / _RUN_LOCK, f"clean of {date}"):
                to_remove.append(_clean_run(root, date, rules.keep_runs, dry_run=dry_run))
        except LockedError:
            to_keep.append(Item("run", run_folder(root, date), "a process is at work on it", 0))
        except StorageError as error:  # a link, which is not followed
            to_keep.append(Item("run", run_folder(root, date), str(error), 0))
    return CleanReport(tuple(to_remove), tuple(to_keep), sum(item.bytes for item in to_remove), dry_run)


def _judge_releases(
    root: Location, at: Swap | None, rules: PublishConfig, now: dt.datetime
) -> tuple[list[Item], list[Item]]:
    """Split the releases of a name into those that go and those that stay."""
    to_remove: list[Item] = []
    to_keep: list[Item] = []
    reasons = {at.release: "current"} if at else {}
    if at and rules.keep_releases:
        with contextlib.suppress(StorageError):  # damaged: it stays as any other that is
            baselines = find_baselines(root, rules.name, dt.date.fromisoformat(at.data_date))
            reasons |= {baseline.release: f"the baseline of {at.release}" for baseline in islice(baselines, 1)}
    newer = 0  # sound releases: a damaged one pushes none of them out
    for release in reversed(all_releases(root, rules.name)):
        reason = reasons.get(release.release) or _reason_to_keep(release, newer, rules, now)
        goes = f"{newer} newer releases; {rules.keep_releases} are kept" if rules.keep_releases else "ids are purged"
        (to_keep if reason else to_remove).append(Item("release", release.path, reason or goes, _size(release.path)))
        newer += isinstance(release, Release)
    return to_remove, to_keep


def _reason_to_keep(
    release: Release | DamagedRelease, newer: int, rules: PublishConfig, now: dt.datetime
) -> str | None:
    """Say why a release stays; None: it goes. ``newer`` counts the sound releases after it."""
    if isinstance(release, DamagedRelease):
        # Without a date it may be no release at all. Ids that are to go are a reason to remove it, room is none.
        goes = rules.keep_releases == 0 and release.data_date > dt.date.min
        return None if goes else f"damaged: {release.problem}"
    if newer < rules.keep_releases:
        return f"one of the newest {rules.keep_releases}"
    age_hours = (now - release.published_at).total_seconds() / 3600
    if age_hours < rules.min_age_hours:
        return f"published {age_hours:.1f} hours ago; none younger than {rules.min_age_hours:g} goes"
    return None


def _has_tables(folder: Location) -> bool:
    """Whether a date's folder holds more than its lock; a link or a file in its place counts as well."""
    return describe_foreign(folder, "folder") is not None or storage.names_in(folder) not in ([], [_RUN_LOCK])


def _clean_run(root: Location, date: dt.date, keep_runs: int, *, dry_run: bool) -> Item:
    folder = run_folder(root, date)
    why = f"{keep_runs} newer dates are kept" if keep_runs else "ids are purged"
    item = Item("run", folder, why, _size(folder))
    if not dry_run:
        for name in storage.names_in(folder):
            if name != _RUN_LOCK:
                remove_placed(folder / name)
    return item


def _size(place: Location) -> int:
    """Return the bytes of the files in a folder; links are not followed."""
    return sum(file.bytes for file in storage.files_below(place))
