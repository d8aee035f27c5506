"""JSON files, replaced as a whole; checked ones begin with the checksum of the rest."""

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
        return None if data is None else _parse_object(data)
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{location} can't be read as JSON ({error}); remove it and run the stage again") from error


def _parse_object(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"it holds {type(value).__name__}, not an object")
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
    try:
        data = files.read(location)
        return None if data is None else _require_checksum(data)
    except OSError as error:
        raise DamagedFileError(f"{location} {unreadable(location, error)}") from error
    except ValueError as error:
        raise DamagedFileError(f"{location} {error}: its bytes are not those of its checksum") from None


def _require_checksum(data: bytes) -> bytes:
    head, body = data[: len(_checksum_header(b""))], data[len(_checksum_header(b"")) :]
    if head != _checksum_header(body):
        raise ValueError("is empty" if not data else "was cut short, changed, or written by another version")
    return data


def _parse(data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    value: dict[str, Any] = json.loads(data)
    del value["checksum"]
    return value


def _checksum_header(body: bytes) -> bytes:
    return b'{"checksum": "%s",' % xxhash.xxh3_128_hexdigest(body).encode()
