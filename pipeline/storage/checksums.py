"""Checksums of files, in their names where the files are ours, and hashes of small values."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import xxhash

from pipeline.errors import DamagedFileError, StorageError
from pipeline.storage.files import BATCHES, WORK, require_own

_SEALED = re.compile(r"\.xxh3-([0-9a-f]{32})\.[a-z]+$")  # the end of a name that says what the bytes hash to
_TABLE_FILE = re.compile(r"/part-\d{5,}\.xxh3-[0-9a-f]{32}\.[a-z]+$")


def checksum_of(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes as hex, by which two attempts of one task are compared.

    Working files are checked against accidents only, at 40 times the speed of sha256, which half the CPU time
    of a night would go into; published files carry their sha256.
    """
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def problem_of(path: Path, size: int, checksum: str) -> str | None:
    """Say how a file is not what it was when it was written, as the rest of a sentence; None if it is.

    Raises
    ------
    StorageError : this user may not read it, or what stands there is no file of ours.
    """
    try:
        require_own(path, "file")
        looks = _looks_of(path)
        if looks[0] != size:
            return f"has {looks[0]:,} bytes of {size:,}"
        if checksum_of(path) != checksum:
            return "has other bytes than were written"
    except OSError as error:
        return unreadable(path, error)
    if len(_whole) >= _MOST_REMEMBERED:
        _whole.clear()
    _whole[str(path)] = checksum, looks
    return None


#: Files that this process has found whole, and what they looked like then: not hashed again until they change.
_whole: dict[str, tuple[str, tuple[int, ...]]] = {}
_MOST_REMEMBERED = 8_192


def _looks_of(path: Path | str) -> tuple[int, ...]:
    """Return what changes with a file: its size first."""
    about = os.stat(path)
    return about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns


def unreadable(path: Path, error: OSError) -> str:
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


def seal(path: Path, stem: str) -> Path:
    """Make a file durable and name it ``<stem>.xxh3-<checksum>.<suffix>``: its name says what its bytes are.

    Who names it in a task then also says which bytes are meant; see :func:`check_sealed`.
    """
    checksum = checksum_of(path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path.rename(path.with_name(f"{stem}.xxh3-{checksum}{path.suffix}"))


def sealed_checksum(path: Path | str) -> str | None:
    """Return the checksum in a file's name; None if there is none."""
    checksum = _SEALED.search(str(path))
    return checksum.group(1) if checksum else None


def table_file(folder: Path, number: int, checksum: str, suffix: str) -> Path:
    """Return where a file of a table belongs, named after its bytes as tasks' files are."""
    return folder / f"part-{number:05d}.xxh3-{checksum}.{suffix}"


def is_of_table(path: Path | str) -> bool:
    """Whether a path is one of :func:`table_file`: no task's, and no input's."""
    return _TABLE_FILE.search(str(path)) is not None and f"/{WORK}/" not in str(path)


def check_sealed(path: Path | str) -> None:
    """Refuse a file whose bytes are not those that its name states. A process hashes a file once, until it changes.

    Files whose name states nothing pass, and so do files of batches: whoever reads a batch checks it.

    Raises
    ------
    DamagedFileError : it has other bytes, or is missing.
    """
    checksum = sealed_checksum(path)
    if checksum is None or str(path).endswith(f".{BATCHES}"):
        return
    try:
        looks = _looks_of(path)
    except OSError as error:
        raise DamagedFileError(f"{path} {unreadable(Path(path), error)}") from error
    if _whole.get(str(path)) != (checksum, looks) and (problem := problem_of(Path(path), looks[0], checksum)):
        raise DamagedFileError(f"{path} {problem}")


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_of(value: Any) -> str:
    """Return 16 hex digits for a JSON value, keys in any order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
