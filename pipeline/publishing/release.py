"""Releases: staged, checksummed, moved in by one rename, and pointed at by one file.

A release never changes once it is there. CURRENT.json is replaced as a whole, so a reader sees no release or
a whole one, whatever is killed and whenever. Everything that changes ``published/<name>`` holds its lock.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline import storage
from pipeline.errors import ConfigError, StorageError
from pipeline.workspace import lock, published_folder
from schemas.releases import CURRENT, MANIFEST, RELEASES, problems_of

log = logging.getLogger(__name__)

LOCK = ".lock"
#: Folders that are no releases: being written, or about to go. Found under the lock, they are a kill's.
STAGING = "_staging-"
REMOVED = "_removed-"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Published:
    """What became of a release.

    ``is_new``: its folder was made now. ``current_moved``: readers get it from now on.
    """

    release: str
    path: Path
    is_new: bool
    current_moved: bool


@dataclass(frozen=True)
class Release:
    """A release on disk."""

    release: str
    path: Path
    data_date: dt.date
    published_at: dt.datetime
    contract_version: int
    manifest: Mapping[str, Any]

    @property
    def order(self) -> tuple[dt.date, dt.datetime, str]:
        """By date of the data; two of one date by the time they came."""
        return self.data_date, self.published_at, self.release


@dataclass(frozen=True)
class _Source:
    path: Path
    name: str  # in the release
    bytes: int
    sha256: str

    def entry(self) -> dict[str, Any]:
        rows = {"rows": storage.rows_in([self.path])} if self.path.suffix == ".parquet" else {}
        return {"name": self.name, "bytes": self.bytes, "sha256": self.sha256, **rows}


def publish(
    root: Path,
    name: str,
    release: str,
    tables: Mapping[str, Sequence[tuple[Path, str]]],
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Any],
    gate: Mapping[str, Any],
    *,
    data_date: dt.date,
    contract_version: int,
    force_current: bool = False,
    wait_s: float = 60.0,
    now: dt.datetime | None = None,
) -> Published:
    """Make a release of finished files and point CURRENT at it; done again, it repeats only what is missing.

    A valid release of this name is kept as it is: names are made of the fingerprint of the tables. A damaged
    one is replaced. If CURRENT is at a later ``data_date``, the release is added and CURRENT stays, unless
    ``force_current``.

    Parameters
    ----------
    root : the workspace. name : the published name.
    tables : by table, source file and its final name, such as ``part-00000.parquet``.
    manifest : what the caller knows of the run; the names of the files, their digests and the keys that this
        function owns (release, name, data_date, contract_version, published_at, files) are added.
    wait_s : how long to wait for another publisher. now : time of publication, for tests.

    Raises
    ------
    LockedError : another publisher is at work for longer than ``wait_s``.
    StorageError : no space, or a copy does not have the bytes of its source.
    """
    if not _NAME.fullmatch(release):
        raise ValueError(
            f"release {release!r} must be letters, digits, '.', '-' and '_', starting with one of the first"
        )
    # Read before the lock is taken: hashing is the slow part, and nothing here changes any more.
    sources = [
        _Source(path, f"{table}/{final}", path.stat().st_size, storage.sha256_of(path))
        for table, files in tables.items()
        for path, final in files
    ]
    folder = published_folder(root, name)
    target = folder / RELEASES / release
    with lock(folder / LOCK, f"publish {release}", wait_s):
        remove_leftovers(folder)
        is_new = bool(problems_of(target, deep=True))
        if is_new:
            about = {
                **manifest,
                "release": release,
                "name": name,
                "data_date": data_date.isoformat(),
                "contract_version": contract_version,
                "published_at": (now or dt.datetime.now(dt.UTC)).isoformat(timespec="seconds"),
            }
            staged = _stage(folder / RELEASES / f"{STAGING}{release}", sources, about, metrics, gate)
            _move_in(staged, target)
        elif _digests(target, tables) != {source.name: source.sha256 for source in sources}:
            # Same config and input, other bytes: another package set or CPU type. The first one stands.
            log.warning("release=%s kept=earlier reason=same_name_other_bytes", release)
        now_current = current(root, name)
        may_move = now_current is None or force_current or data_date >= dt.date.fromisoformat(now_current["data_date"])
        moved = may_move and _point_at(folder, target)
    return Published(release, target, is_new, moved)


def current(root: Path, name: str) -> dict[str, Any] | None:
    """Return what CURRENT.json of a name says, or None if nothing has been published.

    Raises
    ------
    StorageError : the file was damaged.
    """
    return storage.read_json(published_folder(root, name) / CURRENT)


def releases(root: Path, name: str) -> list[Release]:
    """Return the releases of a name, oldest data first. Folders without a sound manifest are none."""
    folder = published_folder(root, name) / RELEASES
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith("_"):
            continue
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append(_read_release(path))
    return sorted(found, key=lambda release: release.order)


def rollback(root: Path, name: str, to: str | None = None, *, wait_s: float = 60.0) -> dict[str, Any]:
    """Point CURRENT at an earlier release, or at any release by name; return what CURRENT then says.

    Without ``to``: the release before the current one, by date of the data. It lasts until the next
    publication of the same or a later date.

    Raises
    ------
    ConfigError : nothing is published, there is no earlier release, or none of this name.
    StorageError : the release is damaged; CURRENT stays.
    """
    folder = published_folder(root, name)
    with lock(folder / LOCK, f"rollback of {name}", wait_s):
        at = current(root, name)
        if at is None:
            raise ConfigError(f"nothing is published as '{name}' under {root}, so there is nothing to roll back")
        target = _rollback_target(releases(root, name), at["release"], to, name)
        if problems := problems_of(target.path, deep=True):
            raise StorageError(
                f"release {target.release} is damaged, CURRENT stays at {at['release']}: "
                f"{'; '.join(problems)}. Choose another one with --to"
            )
        _point_at(folder, target.path)
        return current(root, name) or {}


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what killed publishers and cleaners left under a published name. The caller holds its lock."""
    removed = leftovers(folder)
    for path in removed:
        if path.is_dir():
            storage.remove_tree(path)
        else:
            path.unlink()
    return removed


def leftovers(folder: Path) -> list[Path]:
    """Return the folders under ``releases/`` that are no releases, and pointers that were never moved in."""
    return sorted(
        path
        for pattern in (f"{RELEASES}/{STAGING}*", f"{RELEASES}/{REMOVED}*", f".{CURRENT}.*")
        for path in folder.glob(pattern)
    )


def move_aside(path: Path) -> Path:
    """Take a folder's name away at once, so that what is left of it after a kill is not taken for whole."""
    aside = path.with_name(f"{REMOVED}{path.name}.{uuid4().hex[:8]}")
    path.rename(aside)
    storage.fsync_folder(path.parent)
    return aside


def _rollback_target(known: Sequence[Release], at: str, to: str | None, name: str) -> Release:
    if to is not None:
        for release in known:
            if release.release == to:
                return release
        raise ConfigError(f"'{name}' has no release '{to}'; it has {[release.release for release in known]}")
    names = [release.release for release in known]
    # A current release whose manifest is damaged is not among the known: then the newest of them is meant.
    before = known[: names.index(at)] if at in names else known
    if not before:
        raise ConfigError(f"'{name}' has no release before {at}; name one with --to, of {names}")
    return before[-1]


def _read_release(path: Path) -> Release:
    manifest = json.loads((path / MANIFEST).read_bytes())
    return Release(
        release=path.name,
        path=path,
        data_date=dt.date.fromisoformat(manifest["data_date"]),
        published_at=dt.datetime.fromisoformat(manifest["published_at"]),
        contract_version=int(manifest["contract_version"]),
        manifest=manifest,
    )


def _digests(target: Path, tables: Mapping[str, Any]) -> dict[str, str]:
    files = json.loads((target / MANIFEST).read_bytes())["files"]
    return {entry["name"]: entry["sha256"] for entry in files if entry["name"].split("/")[0] in tables}


def _stage(
    staging: Path,
    sources: Sequence[_Source],
    about: Mapping[str, Any],
    metrics: Mapping[str, Any],
    gate: Mapping[str, Any],
) -> Path:
    """Write a whole release at ``staging``, durable down to the last name in it."""
    staging.mkdir(parents=True)
    for source in sources:
        path = staging / source.name
        path.parent.mkdir(exist_ok=True)
        _link_or_copy(source, path)
    entries = [source.entry() for source in sources]
    for file_name, value in (("metrics.json", metrics), ("gate.json", gate)):
        path = staging / file_name
        storage.write_json(path, value)
        entries.append({"name": file_name, "bytes": path.stat().st_size, "sha256": storage.sha256_of(path)})
    for folder in {(staging / source.name).parent for source in sources}:
        storage.fsync_folder(folder)
    storage.write_json(staging / MANIFEST, {**about, "files": entries})
    return staging


def _link_or_copy(source: _Source, path: Path) -> None:
    """Give a file a second name, or a second copy where the file system has no links between the two."""
    try:
        os.link(source.path, path)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, one without links, or a file of another user
        storage.require_free_space(path.parent, source.bytes, f"the copy of {source.path.name} to the release")
        shutil.copyfile(source.path, path)
        if storage.sha256_of(path) != source.sha256:
            raise StorageError(
                f"{path} is a copy of {source.path} and has other bytes; storage or memory is faulty. "
                "Nothing was published; run publish again"
            ) from None
    with path.open("rb") as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    if size != source.bytes:
        raise StorageError(f"{source.path} changed from {source.bytes:,} to {size:,} bytes while it was published")


def _move_in(staged: Path, target: Path) -> None:
    """Rename a staged release to its name; a damaged one of that name goes first."""
    damaged = move_aside(target) if target.exists() else None
    staged.rename(target)
    for folder in target.parents[:4]:  # releases, the name's, published, the workspace: all may be new
        storage.fsync_folder(folder)
    if damaged:
        log.warning("release=%s replaced=damaged", target.name)
        storage.remove_tree(damaged)


def _point_at(folder: Path, target: Path) -> bool:
    """Swap CURRENT; return whether it changed."""
    release = _read_release(target)
    wanted = {
        "release": release.release,
        "path": str(target.relative_to(folder)),
        "data_date": release.data_date.isoformat(),
        "contract_version": release.contract_version,
        "manifest_sha256": storage.sha256_of(target / MANIFEST),
    }
    if storage.read_json(folder / CURRENT) == wanted:
        return False
    storage.write_json(folder / CURRENT, wanted)
    return True
