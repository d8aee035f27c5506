"""How a release comes to its place and leaves it, so that nobody takes a part of it for the whole.

In a folder, a release is written beside its place and renamed, and a rename takes it away. An object store renames
nothing. There a release is written in its place, its manifest last, and its manifest goes first: **in a folder a
release is there once its name is, in an object store once its manifest is.**
"""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from graphquilt.pointers import CURRENT, HISTORY, MANIFEST, RELEASES
from pipeline import storage
from pipeline.locations import Location

#: Folders that are no releases: being written, or about to go. Found under the lock, they are a kill's.
STAGING = "_staging-"
REMOVED = "_removed-"


def is_placed(target: Location) -> bool:
    """Whether there is a release, or anything else, in the place of one."""
    if isinstance(target, Path):
        return target.exists()
    return storage.size(target / MANIFEST) is not None


def staging_of(target: Location) -> Location:
    """Return where the files of a release are written."""
    return target.with_name(f"{STAGING}{target.name}") if isinstance(target, Path) else target


def move_in(staging: Location, target: Location) -> None:
    """Bring what was written in :func:`staging_of` to its place; a damaged release there goes first."""
    if not isinstance(staging, Path) or not isinstance(target, Path):
        return  # its manifest, written last, has made it a release
    aside = _move_aside(target) if target.exists() else None
    staging.rename(target)
    for folder in target.parents[:4]:  # releases, the name's, published, the workspace: all may be new
        storage.fsync_folder(folder)
    if aside:
        storage.remove_tree(aside)


def remove_placed(place: Location) -> None:
    """Remove a release or a working table, so that a kill leaves nothing that looks whole; of a link, the link."""
    if not isinstance(place, Path):
        for file in storage.files_below(place):
            if file.name.rpartition("/")[2] == MANIFEST:
                storage.remove(place / file.name)
        storage.remove_tree(place)
    elif place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
    else:
        storage.remove_tree(place if place.name.startswith(REMOVED) else _move_aside(place))


def names_below(place: Location) -> list[str]:
    """Return the names of all that lies below a place, as seen from there."""
    if isinstance(place, Path):
        return sorted(path.relative_to(place).as_posix() for path in place.rglob("*"))
    return [file.name for file in storage.files_below(place)]


def find_leftovers(folder: Location, current: str | None) -> list[Location]:
    """Return what killed publishers and cleaners left under a published name: no releases, and unfinished pointers.

    The current release is none of them, whatever is left of it.
    """
    names = storage.names_in(folder / RELEASES)
    pointers: Sequence[str] = ()
    if isinstance(folder, Path):
        left = [name for name in names if name.startswith((STAGING, REMOVED))]
        pointers = [name for name in storage.names_in(folder) if name.startswith((f".{CURRENT}.", f".{HISTORY}."))]
    else:
        left = [name for name in names if name != current and not is_placed(folder / RELEASES / name)]
    return [*(folder / RELEASES / name for name in left), *(folder / name for name in pointers)]


def _move_aside(place: Path) -> Path:
    aside = place.with_name(f"{REMOVED}{place.name}.{uuid4().hex[:8]}")
    place.rename(aside)
    storage.fsync_folder(place.parent)
    return aside
