"""Which releases a name has, and in which order."""

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphquilt import files
from graphquilt.pointers import RELEASES, Swap, list_releases
from graphquilt.releases import ManifestError, describe_remedy, find_file_problem, manifest_sha256_in, read_manifest
from pipeline.errors import StorageError
from pipeline.locations import Location
from pipeline.publishing.pointer import own_folder, pointers_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """A release on disk, whose manifest is sound."""

    release: str
    path: Location
    data_date: dt.date
    published_at: dt.datetime
    contract_version: int
    manifest: Mapping[str, Any]

    @property
    def order(self) -> tuple[dt.date, dt.datetime, str]:
        """Releases are ordered by date of the data, then by time of publication."""
        return self.data_date, self.published_at, self.release


@dataclass(frozen=True)
class DamagedRelease:
    """A release whose manifest is missing or damaged; its date is from the history, else from its name."""

    release: str
    path: Location
    data_date: dt.date
    problem: str

    @property
    def order(self) -> tuple[dt.date, dt.datetime, str]:
        """It comes after those of its date, since its time of publication is not known."""
        return self.data_date, dt.datetime.max.replace(tzinfo=dt.UTC), self.release


def read_current(root: Location, name: str) -> dict[str, Any] | None:
    """Return the swap that counts as a JSON object, or None if nothing has been published.

    Raises
    ------
    StorageError : nothing says for sure which release readers get.
    """
    pointers = pointers_of(own_folder(root, name))
    if pointers.problem:
        log.warning("name=%s current=%s reason=%r", name, pointers.at and pointers.at.release, pointers.problem)
    return asdict(pointers.at) if pointers.at else None


def releases(root: Location, name: str) -> list[Release]:
    """Return the releases of a name, oldest data first. Folders without a sound manifest are none."""
    folder = own_folder(root, name)
    entries = [_read_entry(folder / RELEASES / release, ()) for release in list_releases(folder)]
    return sorted((entry for entry in entries if isinstance(entry, Release)), key=lambda release: release.order)


def all_releases(root: Location, name: str) -> list[Release | DamagedRelease]:
    """Return the releases of a name, oldest data first, with those whose manifest is damaged in their place.

    Raises
    ------
    StorageError : nothing says for sure which release readers get.
    """
    folder = own_folder(root, name)
    pointers = pointers_of(folder)
    last = [pointers.at] if pointers.at else []
    swaps = [*pointers.history, *last]
    names = {*list_releases(folder), *(swap.release for swap in last)}  # the current one also where it is gone
    return sorted((_read_entry(folder / RELEASES / name, swaps) for name in names), key=lambda release: release.order)


def read_release(path: Location, manifest_sha256: str | None = None) -> Release:
    """Read a release's manifest.

    Raises
    ------
    ManifestError : it is missing or damaged.
    """
    manifest = read_manifest(path, manifest_sha256)
    return Release(
        release=path.name,
        path=path,
        data_date=dt.date.fromisoformat(manifest["data_date"]),
        published_at=dt.datetime.fromisoformat(manifest["published_at"]),
        contract_version=int(manifest["contract_version"]),
        manifest=manifest,
    )


def manifest_of(folder: Location) -> Mapping[str, Any]:
    """Return the manifest of a release in its folder.

    Raises
    ------
    StorageError : it is missing or damaged; the message says what to do.
    """
    try:
        return read_manifest(folder)
    except ManifestError as error:
        remedy = describe_remedy(folder.parent.parent, folder.name)
        raise StorageError(f"release {folder.name} is damaged: {error}. {remedy}") from error


def note_of(folder: Location, name: str) -> Mapping[str, Any]:
    """Return a small JSON file beside a release's tables; of a damaged one nothing, and a warning."""
    try:
        entry = next((entry for entry in read_manifest(folder)["files"] if entry["name"] == name), None)
        problem = find_file_problem(folder, entry, deep=True) if entry else None
    except ManifestError as error:
        entry, problem = None, str(error)
    if problem:
        log.warning("release=%s left_out=%s reason=%r", folder.name, name, problem)
    return {} if problem or entry is None else dict(json.loads(files.read(folder / name)))


def _read_entry(path: Location, swaps: Sequence[Swap]) -> Release | DamagedRelease:
    last = swaps[-1] if swaps else None
    try:
        return read_release(path, manifest_sha256_in(last, path.name))
    except ManifestError as error:
        dates = [swap.data_date for swap in swaps if swap.release == path.name] or [path.name[:10]]
        return DamagedRelease(path.name, path, _date_of(dates[-1]), str(error))


def _date_of(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return dt.date.min
