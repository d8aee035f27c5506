"""From a path to one release: a workspace, a published name, CURRENT.json, a release's folder or a table's in it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from graphquilt.errors import TableError
from graphquilt.masking import secret_in
from graphquilt.own_files import foreign
from graphquilt.pointers import CURRENT, HISTORY, RELEASES, PointerError, Swap, read_pointers
from graphquilt.releases import (
    MANIFEST,
    problems_of,
    read_manifest,
    remedy_for,
    remedy_for_pointer,
    sentences,
)
from graphquilt.rights import denied

log = logging.getLogger(__name__)

#: The tables that have readers.
TABLE, LISTS, FOLD_IN = "node_embeddings", "ppr_neighbors", "fold_in"

Opened = TypeVar("Opened")

#: By table, what to do about a release without it.
_ADVICE = {
    TABLE: f'embedding.method = "none" makes no vectors, any other does; graphquilt.NeighborTable reads {LISTS}',
    LISTS: "set ppr.neighbors = true in the config and run again",
    FOLD_IN: "set publish.fold_in = true in the config and run again",
}


@dataclass(frozen=True)
class Location:
    """A release's folder, what its manifest says, and the swap to it if CURRENT was asked for it."""

    folder: Path
    manifest: Mapping[str, Any]
    pointer: Swap | None

    @property
    def release(self) -> str:
        """Return the release's name."""
        return str(self.manifest.get("release", self.folder.name))

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of the release, sorted."""
        names = (entry["name"] for entry in self.manifest["files"])
        return tuple(sorted({name.split("/")[0] for name in names if "/" in name}))

    def said_of_files(self, table: str = TABLE) -> list[Mapping[str, Any]]:
        """Return the manifest's entries of a table's files, in order."""
        return [entry for entry in self.manifest["files"] if entry["name"].startswith(f"{table}/")]

    def files(self, table: str = TABLE) -> list[Path]:
        """Return the files of a table, in order.

        Raises
        ------
        TableError : the release has no such table.
        """
        found = [self.folder / entry["name"] for entry in self.said_of_files(table)]
        if not found:
            said = f"release {self.release} has no table '{table}'; it has {list(self.tables)}"
            raise TableError(f"{said}. {_ADVICE[table]}" if table in _ADVICE else said)
        return found


def locate(path: str | os.PathLike[str], name: str = "default", *, deep: bool = False) -> Location:
    """Find the release that a path stands for, and check that its files are the manifest's.

    The manifest is checked, and of the files names, sizes, footers and the small ones; with ``deep`` every byte.

    Raises
    ------
    TableError : nothing is published there, the release is damaged, nothing says which one is current, or there is
        no right to look.
    """
    if secret_in(os.fspath(path)):
        raise TableError("the path holds a secret; a table is opened from a folder of this machine")
    place = Path(os.path.expanduser(path)).absolute()
    try:
        return _located(place, name, deep=deep)
    except PermissionError as error:
        raise TableError(denied(error)) from error


def _located(place: Path, name: str, *, deep: bool) -> Location:
    while True:
        folder, pointer = _folder_of(place, name)
        problems = problems_of(folder, pointer.manifest_sha256 if pointer else None, deep=deep)
        if not problems:
            return Location(folder, read_manifest(folder), pointer)
        # A release may go right after CURRENT has moved on: then the new one is meant.
        if pointer is None or _folder_of(place, name)[1] == pointer:
            raise TableError(f"release {folder.name} is damaged: {sentences(problems)}. {_remedy(folder)}")


def open_located(path: str | os.PathLike[str], name: str, open_at: Callable[[Location], Opened]) -> Opened:
    """Open the release that a path stands for; a release that goes meanwhile is followed by the one after it."""
    while True:
        location = locate(path, name)
        try:
            return open_at(location)
        except PermissionError as error:
            raise TableError(denied(error, str(location.folder))) from error
        except FileNotFoundError:  # removed since it was checked: CURRENT has moved on
            continue


def _folder_of(place: Path, name: str) -> tuple[Path, Swap | None]:
    """Return the release's folder, and the swap to it where CURRENT was asked."""
    if place.name in (CURRENT, HISTORY):
        return _follow(place.parent)
    if any(os.path.lexists(place / there) for there in (CURRENT, HISTORY, RELEASES)):
        return _follow(place)
    if (place / MANIFEST).is_file() or place.parent.name == RELEASES:
        return place, None
    if place.parent.parent.name == RELEASES and (place.parent / MANIFEST).is_file():
        return place.parent, None  # a table's folder: what 'graphquilt current' prints
    published = place / "published"
    if os.path.lexists(published):
        _refuse_foreign(published, published / name)
        if (published / name).is_dir():
            return _follow(published / name)
        names = sorted(path.name for path in published.iterdir() if path.is_dir())
        raise TableError(f"nothing is published as '{name}' in workspace {place}; published there: {names}")
    if not place.exists():
        raise TableError(f"{place} does not exist; give a workspace, published/<name>, a release or {CURRENT}")
    raise TableError(
        f"nothing has been published in {place}: it is no workspace with a published table, "
        "no published/<name>, and no release"
    )


def _follow(folder: Path) -> tuple[Path, Swap]:
    """Return what readers of ``published/<name>`` get."""
    _refuse_foreign(folder / RELEASES)
    try:
        found = read_pointers(folder)
    except PointerError as error:
        raise TableError(f"{error}. {remedy_for_pointer(folder)}") from error
    if found.at is None:
        raise TableError(f"nothing has been published in {folder} yet: it has no {CURRENT}")
    if found.problem:
        log.warning("%s. Reading %s; the next publication restores %s", found.problem, found.at.release, CURRENT)
    return folder / found.at.path, found.at


def _refuse_foreign(*folders: Path) -> None:
    for folder in folders:
        if reason := foreign(folder, "folder"):
            raise TableError(reason)


def _remedy(folder: Path) -> str:
    is_inside = folder.parent.name == RELEASES
    return remedy_for(folder.parent.parent, folder.name) if is_inside else "It is a copy: copy the release once more"
