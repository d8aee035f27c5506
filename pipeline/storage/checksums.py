"""Checksums of files, in their names where the files are ours, and hashes of small values."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import xxhash

from pipeline.errors import DamagedFileError, StorageError
from pipeline.locations import Location
from pipeline.storage import files
from pipeline.storage.digests import checksum_of, sealed_checksum
from pipeline.storage.files import BATCHES, WORK
from pipeline.storage.posix import require_own

_TABLE_FILE = re.compile(r"/part-\d{5,}\.xxh3-[0-9a-f]{32}\.[a-z]+$")


def checksum_of_bytes(data: bytes) -> str:
    """Return what :func:`checksum_of` returns of a file with these bytes."""
    return xxhash.xxh3_128_hexdigest(data)


def problem_of(location: Location, size: int, checksum: str) -> str | None:
    """Say how a file is not what it was when it was written, as the rest of a sentence; None if it is.

    An object is hashed as it enters the cache, so its size alone is compared here.

    Raises
    ------
    StorageError : this user may not read it, or what stands there is no file of ours.
    """
    if not isinstance(location, Path):
        actual = files.size(location)
        return None if actual == size else "is missing" if actual is None else f"has {actual:,} bytes of {size:,}"
    try:
        require_own(location, "file")
        looks = _looks_of(location)
        if looks[0] != size:
            return f"has {looks[0]:,} bytes of {size:,}"
        if _whole.get(str(location)) != (checksum, looks) and checksum_of(location) != checksum:
            return "has other bytes than were written"
    except OSError as error:
        return unreadable(location, error)
    _remember(location, checksum, looks)
    return None


#: Files that this process has hashed, and what they looked like then: not hashed again until they change.
_whole: dict[str, tuple[str, tuple[int, ...]]] = {}
_MOST_REMEMBERED = 8_192


def _remember(location: Path, checksum: str, looks: tuple[int, ...]) -> None:
    if len(_whole) >= _MOST_REMEMBERED:
        _whole.clear()
    _whole[str(location)] = checksum, looks


def _looks_of(path: Path | str) -> tuple[int, ...]:
    """Return what changes with a file: its size first."""
    about = os.stat(path)
    return about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns


def unreadable(path: Location, error: OSError) -> str:
    """Say why a file can't be read, as the rest of a sentence.

    Raises
    ------
    StorageError : this user may not read it.
    """
    if isinstance(error, PermissionError):
        raise StorageError(
            f"{path} can't be read: permission denied; let this user read the workspace, or run as its owner"
        ) from error
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "is missing"
    return f"can't be read ({error.strerror})"


def seal(path: Path, folder: Location, stem: str) -> Location:
    """Bring a file to its folder, durable, as ``<stem>.xxh3-<checksum>.<suffix>``: its name says what its bytes are.

    Who names it in a task then also says which bytes are meant; see :func:`check_sealed`.
    """
    checksum = checksum_of(path)
    target = folder / f"{stem}.xxh3-{checksum}{path.suffix}"
    files.move_in(path, target)
    if isinstance(target, Path):
        _remember(target, checksum, _looks_of(target))
    return target


def copy_sealed(source: Location, target: Location, checksum: str) -> None:
    """Give a file with a checksum a second name; by that it is hashed again only if it had to be by the first."""
    was_whole = isinstance(source, Path) and _whole.get(str(source)) == (checksum, _looks_of(source))
    files.copy(source, target)
    if was_whole and isinstance(target, Path) and target.samefile(str(source)):
        _remember(target, checksum, _looks_of(target))  # a link changes the time of the last change


def table_file(folder: Location, number: int, checksum: str, suffix: str) -> Location:
    """Return where a file of a table belongs, named after its bytes as tasks' files are."""
    return folder / f"part-{number:05d}.xxh3-{checksum}.{suffix}"


def is_of_table(location: Location | str) -> bool:
    """Whether a file is one of :func:`table_file`: no task's, and no input's."""
    return _TABLE_FILE.search(str(location)) is not None and f"/{WORK}/" not in str(location)


def check_sealed(location: Location) -> None:
    """Refuse a file whose bytes are not those that its name states. A process hashes a file once, until it changes.

    Files whose name states nothing pass, and so do files of batches: whoever reads a batch checks it. Objects pass:
    they are hashed as they enter the cache.

    Raises
    ------
    DamagedFileError : it has other bytes, or is missing.
    """
    checksum = sealed_checksum(location)
    if checksum is None or not isinstance(location, Path) or location.suffix == f".{BATCHES}":
        return
    try:
        looks = _looks_of(location)
    except OSError as error:
        raise DamagedFileError(f"{location} {unreadable(location, error)}") from error
    if _whole.get(str(location)) != (checksum, looks) and (problem := problem_of(location, looks[0], checksum)):
        raise DamagedFileError(f"{location} {problem}")


def fingerprint_of(value: Any) -> str:
    """Return 16 hex digits for a JSON value, keys in any order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
