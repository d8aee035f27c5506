"""Digests of files' bytes, and the digest that the name of a sealed file states."""

import hashlib
import re
from pathlib import Path

import xxhash

from pipeline.locations import Location

_SEALED = re.compile(r"\.xxh3-([0-9a-f]{32})\.[a-z]+$")  # the end of a name that says what the bytes hash to


def checksum_of(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes as hex, by which two attempts of one task are compared.

    Working files are checked against accidents only, at 40 times the speed of sha256, which half the CPU time
    of a night would go into; published files carry their sha256.
    """
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def sealed_checksum(location: Location | str) -> str | None:
    """Return the checksum in a file's name; None if there is none."""
    checksum = _SEALED.search(str(location))
    return checksum.group(1) if checksum else None


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
