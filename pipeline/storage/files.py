"""Verbs over files wherever they are: a location says which store does them."""

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from graphquilt.rights import describe_denial, is_denied
from pipeline.errors import StorageError
from pipeline.locations import Location
from pipeline.storage import objects, posix
from pipeline.storage.backend import Backend, StoredFile
from pipeline.storage.leases import fence_of, forget_below, require_leases

#: Folder of a date in which stages' tasks write.
WORK = "_work"
#: Suffix of files whose batches are read, and checked, alone: see :mod:`pipeline.storage.batch_files`.
BATCHES = "batches"


def backend_of(location: Location) -> Backend[Any]:
    """Return the store of a location."""
    return posix if isinstance(location, Path) else objects


def _writable(location: Location) -> Backend[Any]:
    """Return the store of a location that this process is about to change: not if it has lost a lease."""
    if not isinstance(location, Path):
        require_leases(location)
        forget_below(location)
    return backend_of(location)


def open_root(root: Location) -> Location:
    """Return a workspace's location: a folder is made if it is missing, a store is asked whether it will do.

    Raises
    ------
    StorageError : no folder can be made there; the store can't be reached, refuses, or lacks what runs need.
    """
    if not isinstance(root, Path):
        objects.require_conditional_puts(root)
        return root
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next((path for path in (root, *root.parents) if os.path.lexists(path) and not path.is_dir()), root)
        kind = "a link to nothing" if file.is_symlink() else "a file"
        raise StorageError(
            f"workspace {root} can't be made: {file} is {kind}, and a workspace is a folder; choose another"
        ) from error
    except OSError as error:
        if is_denied(error):
            raise StorageError(f"workspace {root} can't be made: {describe_denial(error)}") from error
        raise StorageError(
            f"workspace {root} can't be made: {error.strerror}; choose a folder you can write"
        ) from error
    return root


def read(location: Location) -> bytes | None:
    """Return the bytes of a file; None if there is none."""
    return backend_of(location).read(location)


def size(location: Location) -> int | None:
    """Return how many bytes a file has; None if there is none."""
    return backend_of(location).size(location)


def write(location: Location, data: bytes) -> None:
    """Make or replace a file as a whole; it is durable then."""
    _writable(location).write(location, data)


def read_version(location: Location) -> tuple[bytes, str] | None:
    """Return the bytes of a file, and their version for :func:`swap`; None if there is none."""
    return backend_of(location).read_version(location)


def swap(location: Location, data: bytes, version: str | None) -> bool:
    """Replace a file if it still has a version, or make it if that is None; return whether it was done."""
    if isinstance(location, Path):
        return posix.swap(location, data, version)
    forget_below(location)
    return objects.swap(location, data, version, partial(require_leases, location))


def write_if_absent(location: Location, data: bytes) -> bool:
    """Make a file unless there is one; return whether it was made."""
    return _writable(location).write_if_absent(location, data)


def move_in(file: Path, target: Location) -> None:
    """Put a file of this machine in its place as a whole; it is gone from where it was."""
    _writable(target).move_in(file, target)


def staging_folder(folder: Location) -> Path:
    """Return a folder of this machine for files that are to be moved in there once they are written."""
    return backend_of(folder).staging_folder(folder)


def copy(source: Location, target: Location) -> None:
    """Give a file that never changes a second name; in another store, bytes of its own."""
    is_elsewhere = backend_of(source) is not backend_of(target)
    _writable(target).copy(local_file(source) if is_elsewhere else source, target)


def names_in(folder: Location) -> list[str]:
    """Return the names of files and folders in a folder, sorted; none if there is no folder."""
    return backend_of(folder).names_in(folder)


def has_folder(folder: Location) -> bool:
    """Whether there is a folder; in an object store, whether there is anything in it."""
    return folder.is_dir() if isinstance(folder, Path) else bool(objects.names_in(folder))


def files_below(folder: Location) -> list[StoredFile]:
    """Return the files in a folder and in those below it, sorted by name."""
    return backend_of(folder).files_below(folder)


def remove(location: Location) -> None:
    """Remove a file; one that is gone already is fine."""
    _writable(location).remove(location)


def remove_tree(folder: Location) -> None:
    """Remove a folder and all in it; one that is gone already is fine."""
    if isinstance(folder, Path):
        posix.remove_tree(folder)
    else:
        forget_below(folder)
        objects.remove_tree(folder, before_batch=partial(require_leases, folder), highest_fence=fence_of(folder))


def open_ranges(location: Location) -> pa.NativeFile:
    """Open a file for reading a little of it."""
    return backend_of(location).open_ranges(location)


def local_file(location: Location) -> Path:
    """Return a file of this machine with the bytes of a file that never changes: for reading and mapping only.

    Raises
    ------
    DamagedFileError : it is missing, or its bytes are not those that its name states.
    """
    return backend_of(location).local_file(location)


def require_own(location: Location, kind: Literal["file", "folder"]) -> None:
    """Refuse what was put in the place of a file or folder of ours, which in an object store nothing can be."""
    if isinstance(location, Path):
        posix.require_own(location, kind)


def require_own_tree(folder: Location) -> None:
    """Refuse whatever was put in the place of a file or folder of ours anywhere below a folder."""
    if isinstance(folder, Path):
        posix.require_own_tree(folder)


def make_folder(folder: Location) -> None:
    """Make a folder and those above it; an object store has none."""
    if isinstance(folder, Path):
        posix.make_folder(folder)


def fsync_folder(folder: Location) -> None:
    """Make the names in a folder durable; in an object store they are."""
    if isinstance(folder, Path):
        posix.fsync_folder(folder)


def free_bytes(folder: Location) -> int | None:
    """Return how many bytes are free on the disk of a folder that may yet be made; None of an object store."""
    if not isinstance(folder, Path):
        return None
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.is_dir())).free


def new_folder(folder: Location) -> None:
    """Make a folder anew, without what a killed process left there.

    An object store has no folders, and nothing is removed from it: names say their bytes, and what no record or
    manifest names does not count. So a process that slept through its lease can't remove what its successor made.
    """
    if isinstance(folder, Path):
        posix.remove_tree(folder)
        posix.make_folder(folder)


def require_free_space(folder: Location, needed_bytes: int, step: str) -> None:
    """Refuse to start what can't be finished; an object store has no end."""
    if isinstance(folder, Path):
        posix.require_free_space(folder, needed_bytes, step)
