"""Releases: staged, checksummed, brought to their place at once, and pointed at by one file.

A release never changes once it is there. CURRENT.json is replaced as a whole, so a reader sees no release or
a whole one, whatever is killed and whenever. Everything that changes ``published/<name>`` holds its lock.
"""

import datetime as dt
import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphquilt import files
from graphquilt.ancestry import trace
from graphquilt.pointers import MANIFEST, RELEASES, Swap, list_releases
from graphquilt.releases import (
    ManifestError,
    describe_remedy,
    describe_way_out,
    find_problems,
    join_problems,
    manifest_sha256_in,
    read_manifest,
)
from pipeline import storage
from pipeline.errors import ConfigError, StorageError
from pipeline.locations import Location
from pipeline.publishing.baseline import refuse_withdrawn
from pipeline.publishing.copies import WorkingFile
from pipeline.publishing.listing import all_releases, read_release
from pipeline.publishing.placement import find_leftovers, is_placed, move_in, names_below, remove_placed, staging_of
from pipeline.publishing.pointer import (
    Reason,
    last_sequence,
    open_history,
    own_folder,
    point_at,
    pointers_of,
    restore_current,
)
from pipeline.publishing.staging import Notes, restage_release, stage_release
from pipeline.storage import lock

log = logging.getLogger(__name__)

LOCK = ".lock"
#: Stands beside the files of the manifest, which does not know it: what is told of a release may be told anew.
REPORT = "report.html"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Publication:
    """What became of a release.

    ``is_new``: its folder was made now. ``current_moved``: readers get it from now on.
    """

    release: str
    path: Location
    is_new: bool
    current_moved: bool


@dataclass(frozen=True)
class ReleaseContents:
    """What a release is made of.

    release : its name.
    files : working files, which must have the bytes of their run's manifest.
    manifest : what the run knows of itself; :func:`publish` adds the other keys.
    metrics, gate : written beside the tables.
    baseline : the release that ``gate`` and ``metrics`` start from.
    """

    release: str
    data_date: dt.date
    contract_version: int
    files: Sequence[WorkingFile]
    manifest: Mapping[str, Any]
    metrics: Mapping[str, Any]
    gate: Mapping[str, Any]
    baseline: str | None = None


def publish(
    root: Location,
    name: str,
    contents: ReleaseContents,
    *,
    force_current: bool = False,
    accepts_drift: bool = False,
    wait_s: float = 60.0,
    now: dt.datetime | None = None,
) -> Publication:
    """Make a release of finished files and point CURRENT at it; done again, it repeats only what is missing.

    A valid release of this name stays as it is, since its name holds the fingerprint of the tables. A damaged one is
    restored to the bytes that its manifest states, or nothing is changed; where the manifest itself is damaged, the
    release is written again from the working files. If CURRENT is at a later ``data_date``, the release is added and
    CURRENT stays, unless ``force_current``.

    Parameters
    ----------
    root : the workspace. name : the published name.
    accepts_drift : publish it although readers were rolled back from it.
    wait_s : how long to wait for another publisher. now : time of publication, for tests.

    Raises
    ------
    LockedError : another publisher is at work for longer than ``wait_s``.
    GateError : readers were rolled back from this release or its baseline.
    StorageError : no space; a working file has other bytes than its manifest says; a release is damaged and can't be
        restored; nothing says where CURRENT is; something foreign stands in the place of a file or folder.
    """
    release, data_date = contents.release, contents.data_date
    if not _NAME.fullmatch(release):
        raise ValueError(
            f"release {release!r} must be letters, digits, '.', '-' and '_', starting with one of the first"
        )
    folder = own_folder(root, name)
    target = folder / RELEASES / release
    with lock(folder / LOCK, f"publish {release}", wait_s) as fence:
        at = restore_current(folder, fence)
        refuse_withdrawn(folder, release, contents.baseline, contents.gate, accepts_drift=accepts_drift)
        for leftover in find_leftovers(folder, at.release if at else None):
            remove_placed(leftover)
        open_history(folder, fence)
        about = {
            **contents.manifest,
            "release": release,
            "name": name,
            "data_date": data_date.isoformat(),
            "contract_version": contents.contract_version,
            "published_at": (now or dt.datetime.now(dt.UTC)).isoformat(timespec="seconds"),
        }
        notes = {"metrics.json": contents.metrics, "gate.json": contents.gate}
        is_new = _ensure_whole(target, at, contents.files, about, notes)
        is_older = at is not None and data_date < dt.date.fromisoformat(at.data_date)
        may_move = force_current or not is_older
        why: Reason = "force" if is_older else "publish"
        has_moved = may_move and _point_at(folder, at, target, why, fence) != at
    return Publication(release, target, is_new, has_moved)


def _ensure_whole(
    target: Location,
    at: Swap | None,
    working: Sequence[WorkingFile],
    about: Mapping[str, Any],
    notes: Notes,
) -> bool:
    """Make or restore the release unless it is there and whole; return whether that was needed."""
    staging = staging_of(target)
    storage.require_own(target, "folder")
    sha256 = manifest_sha256_in(at, target.name)
    if not is_placed(target):
        _refuse_strangers(target, [*(file.name for file in working), *notes])
        move_in(stage_release(staging, working, about, notes), target)
        if sha256:
            log.warning("release=%s published=anew reason='it was current, and its folder was gone'", target.name)
        return True
    try:
        manifest = read_manifest(target, sha256)
    except ManifestError as error:
        _refuse_strangers(target, [*(file.name for file in working), *notes])
        # Nothing is left to restore by: the same tables become a release once more, and CURRENT follows it.
        try:
            move_in(stage_release(staging, working, about, notes), target)
        except StorageError as reason:
            raise _not_restored(target, str(error), reason) from reason
        log.warning("release=%s published=anew reason=%r", target.name, str(error))
        return True
    if _restore(target, manifest, sha256, working, notes):
        return True
    run_checksums = {file.name: file.checksum for file in working}
    release_checksums = {entry["name"]: entry["xxh3"] for entry in manifest["files"] if "xxh3" in entry}
    if release_checksums and release_checksums != run_checksums:
        # Same config and input, other bytes: another package set or CPU type. The first one stands.
        log.warning("release=%s kept=earlier reason=same_name_other_bytes", target.name)
    return False


def _restore(
    target: Location,
    manifest: Mapping[str, Any],
    manifest_sha256: str | None,
    working: Sequence[WorkingFile],
    notes: Notes,
) -> bool:
    """Restore a damaged release to the bytes that its manifest states; return whether it was damaged.

    Raises
    ------
    StorageError : nothing has those bytes any more; the release stays as it is.
    """
    problems = find_problems(target, manifest_sha256, deep=True)
    if not problems:
        return False
    _refuse_strangers(target, [entry["name"] for entry in manifest["files"]])
    try:
        move_in(restage_release(staging_of(target), target, manifest, working, notes), target)
    except StorageError as error:
        raise _not_restored(target, join_problems(problems), error) from error
    log.warning("release=%s restored=same_bytes reason=%r", target.name, join_problems(problems))
    return True


def rollback(
    root: Location, name: str, to: str | None = None, *, reason: str = "", wait_s: float = 60.0
) -> tuple[Swap | None, Swap]:
    """Point CURRENT at an earlier release, or at any release by name; return what it said and what it says.

    Without ``to``: the release before the current one, by date of the data, that readers were not rolled back from. It
    lasts until the next publication of the same or a later date. What readers are taken back from is withdrawn, for
    the ``reason``: no run builds on it. With ``to`` it also mends a CURRENT that nothing else can restore.

    Raises
    ------
    ConfigError : nothing is published, there is no earlier release, or none of this name.
    StorageError : the release is damaged and can't be restored; CURRENT stays.
    """
    folder = own_folder(root, name)
    with lock(folder / LOCK, f"rollback of {name}", wait_s) as fence:
        at = _current(folder, fence, is_needed=to is None)
        if to is not None and to not in list_releases(folder):
            raise ConfigError(f"'{name}' has no release '{to}'; it has {list_releases(folder)}")
        if to is None:
            if at is None:
                raise ConfigError(f"nothing is published as '{name}' under {root}, so there is nothing to roll back")
            to = _release_before(root, name, at)
        target = folder / RELEASES / to
        try:
            sha256 = manifest_sha256_in(at, target.name)
            _restore(target, read_manifest(target, sha256), sha256, (), {})
        except (ManifestError, StorageError) as error:
            stays = f"CURRENT stays at {at.release}" if at else "CURRENT stays as it is"
            way = f". {describe_way_out(folder, to, deep=True)}" if isinstance(error, ManifestError) else ""
            raise StorageError(f"{stays}: {error}{way}") from error
        return at, _point_at(folder, at, target, "rollback", fence, reason)


def require_whole(root: Location, name: str, release: str) -> None:
    """Compare every byte of a release that is to be read with its manifest, and restore what differs.

    Raises
    ------
    StorageError : it is damaged and can't be restored, naming what is wrong and what to do.
    LockedError : a publisher is at work for longer than a minute.
    """
    folder = own_folder(root, name)
    target = folder / RELEASES / release
    sha256 = manifest_sha256_in(pointers_of(folder).at, release)
    if not find_problems(target, sha256, deep=True):
        return
    with lock(folder / LOCK, f"restoring {release}", wait_s=60.0):
        try:
            _restore(target, read_manifest(target, sha256), sha256, (), {})
        except ManifestError as error:
            raise StorageError(f"release {release} is damaged: {error}. {describe_remedy(folder, release)}") from error


def _not_restored(target: Location, problem: str, reason: StorageError) -> StorageError:
    return StorageError(
        f"release {target.name} is damaged and can't be restored: {problem}; {reason}. "
        f"{describe_way_out(target.parent.parent, target.name, deep=True)}"
    )


def _refuse_strangers(folder: Location, names: Sequence[str]) -> None:
    """Refuse to replace a folder that holds anything but files of its release, and links or folders in their place.

    Raises
    ------
    StorageError : naming the first of them.
    """
    files = {MANIFEST, REPORT, *names}
    tables = {name.split("/")[0] for name in names if "/" in name}
    for name in names_below(folder):
        path = folder / name
        if name in files or name in tables:
            storage.require_own(path, "file" if name in files else "folder")
        elif not path.name.startswith("."):
            raise StorageError(
                f"release {folder.name} is damaged, and {path} is no file of it: move that away, and run this again. "
                "Nothing was changed"
            )


def _current(folder: Location, fence: int, *, is_needed: bool) -> Swap | None:
    try:
        return restore_current(folder, fence)
    except StorageError:
        if is_needed:
            raise
        return None  # the release is named, so nobody has to know where CURRENT was


def _release_before(root: Location, name: str, at: Swap) -> str:
    """Return the release before the one that readers get; of one date, the one that came before. Not a withdrawn one.

    Raises
    ------
    ConfigError : there is none. A damaged one is returned like any other: whether it can be restored is seen later.
    """
    releases = all_releases(root, name)
    own = next((release.order for release in releases if release.release == at.release), None)
    bound = own or (dt.date.fromisoformat(at.data_date), dt.datetime.max.replace(tzinfo=dt.UTC), at.release)
    withdrawn = trace(pointers_of(own_folder(root, name))).withdrawn
    before = [entry.release for entry in releases if entry.order < bound and entry.release not in withdrawn]
    if not before:
        names = [f"{entry.release} (withdrawn)" if entry.release in withdrawn else entry.release for entry in releases]
        raise ConfigError(f"'{name}' has no release before {at.release}; name one with --to, of {', '.join(names)}")
    return before[-1]


def _point_at(folder: Location, at: Swap | None, target: Location, why: Reason, fence: int, reason: str = "") -> Swap:
    """Swap CURRENT if it is elsewhere; return the swap that then counts."""
    release = read_release(target)
    destination = (
        release.release,
        f"{RELEASES}/{release.release}",
        release.data_date.isoformat(),
        release.contract_version,
        hashlib.sha256(files.read(target / MANIFEST)).hexdigest(),
    )
    if at is not None and at.target == destination:
        return at
    return point_at(folder, destination, why, at.sequence if at else last_sequence(folder), fence, reason)
