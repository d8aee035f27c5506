"""JSON files, replaced as a whole; checked ones begin with the checksum of the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from graphquilt.masking import mask_secrets
from pipeline.errors import DamagedFileError, StorageError
from pipeline.locations import Location
from pipeline.storage import files
from pipeline.storage.checksums import unreadable
from pipeline.storage.leases import memory_of

_READS = 3  # of an object whose bytes come out wrong


def put_json_if_absent(location: Location, value: Mapping[str, Any]) -> None:
    """Write a JSON file as a whole, unless there is one: of several processes, the first one's stands."""
    files.write_if_absent(location, json_bytes(value))


def write_json(location: Location, value: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole; secrets that an error may quote are masked."""
    files.write(location, json_bytes(value))


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return what :func:`write_json` writes."""
    return (mask_secrets(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + "\n").encode()


def read_json(location: Location) -> dict[str, Any] | None:
    """Return the object in a JSON file; None if there is no such file.

    Raises
    ------
    StorageError : if the file is not a JSON object. Files here are moved in whole, so it was damaged later.
        Or something else stands in its place.
    """
    try:
        data = files.read(location)
        if data is None:
            return None
        value = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{location} can't be read as JSON ({error}); remove it and run the stage again") from error
    if not isinstance(value, dict):
        raise StorageError(f"{location} holds {type(value).__name__}, not an object; remove it and run the stage again")
    return value


def write_checked_json(location: Location, value: Mapping[str, Any], indent: int | None = None) -> None:
    """Replace a JSON file as a whole; it begins with the checksum of all that follows."""
    body = json.dumps(value, indent=indent, allow_nan=False)[1:].encode() + b"\n"
    files.write(location, _checksum_header(body) + body)


def read_checked_json(location: Location) -> dict[str, Any] | None:
    """Return what :func:`write_checked_json` wrote; None if there is no such file.

    Raises
    ------
    DamagedFileError : the file is not what was written. StorageError : this user may not read it, or it is no file.
    """
    return _parse(_read_checked(location))


def read_own_json(location: Location) -> dict[str, Any] | None:
    """Return what :func:`read_checked_json` does. Only who holds the lock of its folder may write the file.

    In an object store it is read once while this process holds that lease.
    """
    memory = memory_of(location)
    if memory is None or isinstance(location, Path):
        return read_checked_json(location)
    if location not in memory:
        memory[location] = _read_checked(location)
    return _parse(memory[location])


def _read_checked(location: Location) -> bytes | None:
    """Return the bytes of a file, which are those of its checksum. A store is asked again where they are not."""
    for _ in range(1 if isinstance(location, Path) else _READS):
        try:
            data = files.read(location)
        except OSError as error:
            raise DamagedFileError(f"{location} {unreadable(location, error)}") from error
        if data is None:
            return None
        head, body = data[: len(_checksum_header(b""))], data[len(_checksum_header(b"")) :]
        if head == _checksum_header(body):
            return data
    what = "is empty" if not data else "was cut short, changed, or written by another version"
    raise DamagedFileError(f"{location} {what}: its bytes are not those of its checksum")


def _parse(data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    value: dict[str, Any] = json.loads(data)
    del value["checksum"]
    return value


def _checksum_header(body: bytes) -> bytes:
    return b'{"checksum": "%s",' % xxhash.xxh3_128_hexdigest(body).encode()
