"""Files of the workspace: written beside their place, made durable, moved in with one rename.

The workspace is a local folder, or one mounted at the same path on every node. Reading the input is a matter
of ``pyarrow.fs`` and of :mod:`pipeline.ingest`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Literal
from uuid import uuid4

from graphquilt.own_files import describe_foreign
from graphquilt.rights import describe_denial, is_denied
from pipeline.errors import DiskFullError, StorageError

#: Folder of a date in which stages' tasks write.
WORK = "_work"
#: Suffix of files whose batches are read, and checked, alone: see :mod:`pipeline.storage.batch_files`.
BATCHES = "batches"


def local_root(address: str | Path) -> Path:
    """Return the workspace folder for an address, made if it is missing.

    Raises
    ------
    StorageError : if the address has a scheme other than ``file``, or no folder can be made there.
    """
    text = str(address)
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "file":
        raise StorageError(
            f"workspace {text} is on '{scheme}'; a workspace is a local folder or one mounted on all nodes. "
            "Object stores are read as input.path, but not yet written."
        )
    root = Path(os.path.expanduser(rest if separator else text)).absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(path for path in (root, *root.parents) if path.exists())
        raise StorageError(
            f"workspace {root} can't be made: {file} is a file, and a workspace is a folder; choose another"
        ) from error
    except OSError as error:
        if is_denied(error):
            raise StorageError(f"workspace {root} can't be made: {describe_denial(error)}") from error
        raise StorageError(
            f"workspace {root} can't be made: {error.strerror}; choose a folder you can write"
        ) from error
    return root


def require_own(path: Path, wanted: Literal["file", "folder"]) -> None:
    """Refuse what was put in the place of a file or folder of ours; nothing there is fine.

    Raises
    ------
    StorageError : a symbolic link, or anything else that is not ``wanted``, naming it and what to do.
    """
    if reason := describe_foreign(path, wanted):
        raise StorageError(reason)


def require_own_tree(folder: Path) -> None:
    """Refuse whatever was put in the place of a file or folder of ours, anywhere below a folder of working tables.

    There, names of files have a suffix and names of folders have none. Links are not followed.

    Raises
    ------
    StorageError : naming the first of them.
    """
    require_own(folder, "folder")
    for place, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            require_own(Path(place) / name, "file" if "." in name else "folder")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; one that is there is fine.

    Raises
    ------
    StorageError : something else stands in the place of one of them.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        for place in (*reversed(folder.parents), folder):
            if not place.is_dir():  # links above the workspace are the user's
                require_own(place, "folder")
        raise
    require_own(folder, "folder")


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is safe only after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file as a whole: temporary file, fsync, rename, fsync of the folder."""
    make_folder(path.parent)
    require_own(path, "file")
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; one that is gone already is fine. Links in it go, what they point at stays.

    Raises
    ------
    StorageError : a link or a file stands in its place.
    """
    require_own(folder, "folder")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def require_free_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to start what can't be finished.

    Raises
    ------
    DiskFullError : naming the bytes needed and the bytes free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        error = DiskFullError(
            f"{what} needs about {needed:,} bytes under {folder}, and {free:,} are free; free some space "
            "(graphquilt clean --dry-run lists what can go) or choose another workspace"
        )
        error.names_bytes = True
        raise error
