"""Files in folders of this machine: written beside their place, made durable, moved in with one rename."""

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pyarrow as pa

from graphquilt.output import amount
from graphquilt.own_files import describe_foreign
from pipeline.errors import DiskFullError, StorageError
from pipeline.storage.backend import StoredFile


def require_own(path: Path, kind: Literal["file", "folder"]) -> None:
    """Refuse what was put in the place of a file or folder of ours; nothing there is fine.

    Raises
    ------
    StorageError : a symbolic link, or anything else that is not ``kind``, naming it and what to do.
    """
    if reason := describe_foreign(path, kind):
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


def read(path: Path) -> bytes | None:
    require_own(path, "file")
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(path: Path, data: bytes) -> None:
    """Replace a file as a whole: temporary file, fsync, rename, fsync of the folder."""
    make_folder(path.parent)
    require_own(path, "file")
    with _durable_temporary(path, data) as temporary:
        temporary.replace(path)
    fsync_folder(path.parent)


def read_version(path: Path) -> tuple[bytes, str] | None:
    """Return the bytes of a file; its version is empty: who replaces a file here holds a lock that the kernel keeps."""
    data = read(path)
    return None if data is None else (data, "")


def swap(path: Path, data: bytes, version: str | None) -> bool:  # noqa: ARG001
    """Replace a file as a whole, which only the holder of its lock does."""
    write(path, data)
    return True


def write_if_absent(path: Path, data: bytes) -> bool:
    """Write a file as a whole, unless there is one; return whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _durable_temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    fsync_folder(path.parent)
    return True


@contextlib.contextmanager
def _durable_temporary(path: Path, data: bytes) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def move_in(file: Path, target: Path) -> None:
    """Make a file durable, then rename it; the rename itself is durable after :func:`fsync_folder`."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    file.rename(target)


def staging_folder(folder: Path) -> Path:
    """Return the folder itself, made if it is missing: a rename stays on one file system."""
    make_folder(folder)
    return folder


def copy(source: Path, target: Path) -> None:
    """Give a file that never changes a second name: a hard link where the file system has them."""
    with contextlib.suppress(OSError):
        target.hardlink_to(source)
    if not target.exists():
        shutil.copyfile(source, target)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())


def names_in(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def files_below(folder: Path) -> list[StoredFile]:
    """Return the files in a folder and in those below it, sorted by name; links are not followed."""
    if not folder.is_dir() or folder.is_symlink():
        return []
    stats = ((path, path.lstat()) for path in folder.rglob("*"))
    files = [
        StoredFile(path.relative_to(folder).as_posix(), about.st_size)
        for path, about in stats
        if stat.S_ISREG(about.st_mode)
    ]
    return sorted(files, key=lambda file: file.name)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; one that is gone already is fine. Links in it go, what they point at stays.

    Raises
    ------
    StorageError : a link or a file stands in its place.
    """
    require_own(folder, "folder")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def open_ranges(path: Path) -> pa.NativeFile:
    return pa.OSFile(str(path))


def local_file(path: Path) -> Path:
    """Return the file itself."""
    return path


def require_free_space(folder: Path, needed_bytes: int, step: str) -> None:
    """Refuse to start what can't be finished.

    Raises
    ------
    DiskFullError : naming the bytes needed and the bytes free.
    """
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        error = DiskFullError(
            f"{step} needs about {amount(needed_bytes)} under {folder}, and {amount(free)} are free; free some space "
            "(graphquilt clean --dry-run lists what can go) or choose another workspace"
        )
        error.names_bytes = True
        raise error
