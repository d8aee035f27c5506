"""Find the release that an address means: of a workspace, a published name, CURRENT.json, a release or its table."""

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from graphquilt import files
from graphquilt.ancestry import trace
from graphquilt.errors import TableError
from graphquilt.locations import AddressError, Location, ObjectPath, parse_location
from graphquilt.masking import secret_in
from graphquilt.own_files import describe_foreign
from graphquilt.pointers import CURRENT, HISTORY, MANIFEST, RELEASES, PointerError, Swap, read_pointers
from graphquilt.releases import (
    describe_pointer_remedy,
    describe_remedy,
    find_problems,
    join_problems,
    read_manifest,
)
from graphquilt.rights import describe_denial

log = logging.getLogger(__name__)

#: The tables that have readers.
TABLE, LISTS, FOLD_IN, COMPACT = "node_embeddings", "ppr_neighbors", "fold_in", "node_embeddings_int8"
CODES, INTERESTS = "node_codes", "user_interests"
#: Lists by another filter of the graph than PageRank; a release has lists of one kind.
FILTERED_LISTS = "neighbors"
LIST_TABLES = (LISTS, FILTERED_LISTS)
#: The walk index: the graph that walks go over, and where they were.
WALK_GRAPH, WALKS = "ppr_graph", "ppr_walks"

OpenTable = TypeVar("OpenTable")

#: By table, what to do if a release lacks it.
_ADVICE = {
    TABLE: f'embedding.method = "none" makes no vectors, any other does; graphquilt.NeighborTable reads {LISTS}',
    LISTS: "set ppr.neighbors = true in the config and run again",
    FILTERED_LISTS: "set lists.filter in the config and run again",
    FOLD_IN: "set publish.fold_in = true in the config and run again",
    CODES: "set codes.enabled = true in the config and run again",
    INTERESTS: "set interests.clusters in the config, such as 100, and run again",
    WALK_GRAPH: "set ppr.walk_index = true in the config and run again",
    COMPACT: 'set publish.compact = "int8" in the config and run again',
}


@dataclass(frozen=True)
class LocatedRelease:
    """The folder of a release, its manifest, and the swap to it where CURRENT named it."""

    folder: Location
    manifest: Mapping[str, Any]
    pointer: Swap | None

    @property
    def release(self) -> str:
        """Return the release's name."""
        return str(self.manifest.get("release", self.folder.name))

    @property
    def withdrawal(self) -> Swap | None:
        """Return the rollback that took readers back from the release, as far as its published name knows one."""
        if self.pointer is not None or self.folder.parent.name != RELEASES:
            return None
        with contextlib.suppress(PointerError):  # a copy of a release has no pointer
            return trace(read_pointers(self.folder.parent.parent)).withdrawn.get(self.folder.name)
        return None

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of the release, sorted."""
        names = (entry["name"] for entry in self.manifest["files"])
        return tuple(sorted({name.split("/")[0] for name in names if "/" in name}))

    @property
    def list_table(self) -> str | None:
        """The table of lists of the release; None where it has none."""
        return next((table for table in LIST_TABLES if table in self.tables), None)

    def file_entries(self, table: str = TABLE) -> list[Mapping[str, Any]]:
        """Return the manifest's entries of a table's files, in order."""
        return [entry for entry in self.manifest["files"] if entry["name"].startswith(f"{table}/")]

    def files(self, table: str = TABLE) -> list[Location]:
        """Return the files of a table, in order.

        Raises
        ------
        TableError : the release has no such table.
        """
        files = [self.folder / entry["name"] for entry in self.file_entries(table)]
        if not files:
            problem = f"release {self.release} has no table '{table}'; it has {list(self.tables)}"
            raise TableError(f"{problem}. {_ADVICE[table]}" if table in _ADVICE else problem)
        return files


def locate(path: str | os.PathLike[str] | ObjectPath, name: str = "default", *, deep: bool = False) -> LocatedRelease:
    """Find the release that an address means, and compare its files with its manifest.

    It compares names, sizes and footers of the files, and every byte of small ones; with ``deep`` every byte of all.

    Raises
    ------
    TableError : nothing is published there, the release or its pointer is damaged, or access is refused.
    """
    if secret_in(str(path)):
        raise TableError("the address holds a secret; keys of a store belong into the environment, or a profile")
    try:
        return _locate(parse_location(path), name, deep=deep)
    except AddressError as error:
        raise TableError(str(error)) from error
    except PermissionError as error:
        raise TableError(describe_denial(error)) from error


def _locate(path: Location, name: str, *, deep: bool) -> LocatedRelease:
    while True:
        folder, pointer = _folder_of(path, name)
        problems = find_problems(folder, pointer.manifest_sha256 if pointer else None, deep=deep)
        if not problems:
            return LocatedRelease(folder, read_manifest(folder), pointer)
        # CURRENT may have moved on, and the old release may be gone: then the new one is read.
        if pointer is None or _folder_of(path, name)[1] == pointer:
            raise TableError(f"release {folder.name} is damaged: {join_problems(problems)}. {_remedy(folder)}")


def open_located(
    path: str | os.PathLike[str] | ObjectPath, name: str, open_at: Callable[[LocatedRelease], OpenTable]
) -> OpenTable:
    """Open the release that an address means; where it is removed meanwhile, open the one after it."""
    while True:
        location = locate(path, name)
        try:
            return open_at(location)
        except PermissionError as error:
            raise TableError(describe_denial(error, str(location.folder))) from error
        except FileNotFoundError:  # removed after it was checked: CURRENT has moved on
            continue


def _folder_of(path: Location, name: str) -> tuple[Location, Swap | None]:
    """Return the release's folder, and the swap to it where CURRENT names it."""
    if path.name in (CURRENT, HISTORY):
        return _follow(path.parent)
    names = files.names_in(path)
    if not {CURRENT, HISTORY, RELEASES}.isdisjoint(names):
        return _follow(path)
    if MANIFEST in names or path.parent.name == RELEASES:
        return path, None
    if path.parent.parent.name == RELEASES and files.has_file(path.parent / MANIFEST):
        return path.parent, None  # a table's folder: what 'graphquilt current' prints
    if "published" in names:
        names_folder = path / "published"
        _refuse_foreign(names_folder, names_folder / name)
        if files.has_folder(names_folder / name):
            return _follow(names_folder / name)
        published_names = [entry for entry in files.names_in(names_folder) if files.has_folder(names_folder / entry)]
        raise TableError(f"nothing is published as '{name}' in workspace {path}; published there: {published_names}")
    if not names and not files.has_folder(path):
        raise TableError(f"{path} does not exist; give a workspace, published/<name>, a release or {CURRENT}")
    raise TableError(
        f"nothing has been published in {path}: it is no workspace with a published table, "
        "no published/<name>, and no release"
    )


def _follow(folder: Location) -> tuple[Location, Swap]:
    """Return the release that the pointer of ``published/<name>`` names, and the swap to it."""
    _refuse_foreign(folder / RELEASES)
    try:
        pointers = read_pointers(folder)
    except PointerError as error:
        raise TableError(f"{error}. {describe_pointer_remedy(folder)}") from error
    if pointers.at is None:
        raise TableError(f"nothing has been published in {folder} yet: it has no {CURRENT}")
    if pointers.problem:
        log.warning("%s. Reading %s; the next publication restores %s", pointers.problem, pointers.at.release, CURRENT)
    return folder / pointers.at.path, pointers.at


def _refuse_foreign(*folders: Location) -> None:
    for folder in folders:
        if reason := describe_foreign(folder, "folder"):
            raise TableError(reason)


def _remedy(folder: Location) -> str:
    if folder.parent.name == RELEASES:
        return describe_remedy(folder.parent.parent, folder.name)
    return "It is a copy: copy the release once more"
