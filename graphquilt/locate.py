"""From a path to one release: a workspace, a published name, CURRENT.json, a release's folder or a table's in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from graphquilt.errors import TableError
from graphquilt.masking import secret_in
from schemas.releases import CURRENT, MANIFEST, RELEASES, problems_of, read_object

#: The tables that have readers.
TABLE, LISTS = "node_embeddings", "ppr_neighbors"

Opened = TypeVar("Opened")

#: By table, what to do about a release without it.
_ADVICE = {
    TABLE: f'embedding.method = "none" makes no vectors, any other does; graphquilt.NeighborTable reads {LISTS}',
    LISTS: "set ppr.neighbors = true in the config and run again",
    "fold_in": "set publish.fold_in = true in the config and run again",
}


@dataclass(frozen=True)
class Location:
    """A release's folder, what its manifest says, and what CURRENT said if that is how it was found."""

    folder: Path
    manifest: Mapping[str, Any]
    pointer: Mapping[str, Any] | None

    @property
    def release(self) -> str:
        """Return the release's name."""
        return str(self.manifest.get("release", self.folder.name))

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of the release, sorted."""
        names = (entry["name"] for entry in self.manifest["files"])
        return tuple(sorted({name.split("/")[0] for name in names if "/" in name}))

    def files(self, table: str = TABLE) -> list[Path]:
        """Return the files of a table, in order.

        Raises
        ------
        TableError : the release has no such table.
        """
        names = [entry["name"] for entry in self.manifest["files"]]
        found = [self.folder / name for name in names if name.startswith(f"{table}/")]
        if not found:
            said = f"release {self.release} has no table '{table}'; it has {list(self.tables)}"
            raise TableError(f"{said}. {_ADVICE[table]}" if table in _ADVICE else said)
        return found


def locate(path: str | os.PathLike[str], name: str = "default", *, deep: bool = False) -> Location:
    """Find the release that a path stands for, and check that its files are the manifest's.

    Names and sizes are checked; with ``deep`` every byte.

    Raises
    ------
    TableError : nothing is published there, or the release is damaged.
    """
    if secret_in(os.fspath(path)):
        raise TableError("the path holds a secret; a table is opened from a folder of this machine")
    place = Path(os.path.expanduser(path)).absolute()
    while True:
        folder, pointer = _folder_of(place, name)
        problems = problems_of(folder, pointer["manifest_sha256"] if pointer else None, deep=deep)
        if not problems:
            return Location(folder, read_object(folder / MANIFEST), pointer)
        # A release may go right after CURRENT has moved on: then the new one is meant.
        if pointer is None or _folder_of(place, name)[1] == pointer:
            raise TableError(
                f"release {folder.name} is damaged: {'; '.join(problems)}. "
                "Run 'graphquilt publish' again, which repairs it, or 'graphquilt rollback'"
            )


def open_located(path: str | os.PathLike[str], name: str, open_at: Callable[[Location], Opened]) -> Opened:
    """Open the release that a path stands for; a release that goes meanwhile is followed by the one after it."""
    while True:
        location = locate(path, name)
        try:
            return open_at(location)
        except FileNotFoundError:  # removed since it was checked: CURRENT has moved on
            continue


def _folder_of(place: Path, name: str) -> tuple[Path, Mapping[str, Any] | None]:
    """Return the release's folder, and what CURRENT says where it was asked."""
    if place.name == CURRENT:
        return _follow(place)
    if (place / CURRENT).is_file():
        return _follow(place / CURRENT)
    if (place / MANIFEST).is_file():
        return place, None
    if place.parent.parent.name == RELEASES and (place.parent / MANIFEST).is_file():
        return place.parent, None  # a table's folder: what 'graphquilt current' prints
    if (place / RELEASES).is_dir():
        raise TableError(f"nothing has been published in {place} yet: it has no {CURRENT}")
    if (place / "published").is_dir():
        published = place / "published" / name
        if (published / CURRENT).is_file():
            return _follow(published / CURRENT)
        names = sorted(pointer.parent.name for pointer in (place / "published").glob(f"*/{CURRENT}"))
        raise TableError(f"nothing is published as '{name}' in workspace {place}; published there: {names}")
    if not place.exists():
        raise TableError(f"{place} does not exist; give a workspace, published/<name>, a release or {CURRENT}")
    raise TableError(
        f"nothing has been published in {place}: it is no workspace with a published table, "
        "no published/<name>, and no release"
    )


def _follow(pointer: Path) -> tuple[Path, Mapping[str, Any]]:
    try:
        current = read_object(pointer)
        return pointer.parent / current["path"], {"manifest_sha256": None, **current}
    except FileNotFoundError:
        raise TableError(f"nothing has been published: {pointer} does not exist") from None
    except (OSError, ValueError, KeyError) as error:
        raise TableError(f"{pointer} can't be read ({error}); publishing again rewrites it") from error
