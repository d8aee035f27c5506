"""Objects in a store: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage."""

import hashlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from graphquilt.errors import StoreError
from graphquilt.locations import ObjectPath
from graphquilt.store_clients import client_of, explain_errors, obstore, repeat_request
from graphquilt.store_errors import status_of

#: The least that a reader of ranges fetches at once: the footer of a usual Parquet file.
_BLOCK_BYTES = 64 << 10
#: Between ranges that are fetched at once: what a store sends in the time of a request.
_GAP_BYTES = 256 << 10
_DIGEST = "sha256"  # name of an attribute
_READS = 3  # of an object whose bytes come out wrong


@dataclass(frozen=True)
class ObjectVersion:
    """What an object is now: equal versions are equal bytes."""

    size: int
    version: str  # the ETag; on Google Cloud Storage the generation
    attributes: dict[str, str]


def require_reachable(folder: ObjectPath) -> None:
    """Ask for a list of nothing, to learn within seconds what a request that is repeated says after minutes.

    Raises
    ------
    StoreError : there is no such bucket, it may not be listed, or the store can't be reached.
    """
    client, deadline = client_of(folder, repeats=False), time.monotonic() + 3.0
    while True:
        try:
            with explain_errors(folder):
                obstore().list_with_delimiter(client, str((folder / ".none").key))
            return
        except StoreError as error:
            if error.is_busy:
                return
            if not error.is_repeatable or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def read(path: ObjectPath) -> bytes | None:
    """Return the bytes of an object; None if there is none."""
    version = read_version(path)
    return None if version is None else version[0]


def read_version(path: ObjectPath) -> tuple[bytes, str] | None:
    """Return the bytes of an object and their version; None if there is none.

    Where :func:`digest_attributes` were stored with it, other bytes are asked for again.

    Raises
    ------
    StoreError : they came out wrong each time.
    """

    def get() -> tuple[bytes, str, str | None]:
        result = obstore().get(client_of(path), str(path.key))
        return bytes(result.bytes()), version_of(path, result.meta), result.attributes.get(_DIGEST)

    for _ in range(_READS):
        try:
            data, version, digest = repeat_request(path, get)
        except FileNotFoundError:
            return None
        sha256 = hashlib.sha256(data).hexdigest()
        if digest in (None, sha256):
            return data, version
    raise StoreError(
        f"{path} is damaged, or the way to it is: read {_READS} times, the last {len(data)} bytes have the sha256 "
        f"{sha256}, and {digest} was written; check the store's network and memory, then restore or remove the object"
    )


def digest_attributes(data: bytes) -> dict[str, str]:
    """Return what is stored with an object that is read whole, so that who reads it can check its bytes."""
    return {_DIGEST: hashlib.sha256(data).hexdigest()}


def read_range(path: ObjectPath, start: int, length: int, version: str | None = None) -> bytes:
    """Return some bytes of an object, fewer where it ends; of a version, if it is still that one.

    Raises
    ------
    FileNotFoundError : there is no such object. StoreError : it has another version.
    """
    if length <= 0:
        return b""
    message = f"{path} was replaced while it was read; read it again"
    options: dict[str, Any] = {"range": (start, start + length)}
    if version is not None:
        options |= {"version": version} if path.bucket.startswith("gs:") else {"if_match": version}

    def get() -> bytes:
        try:
            return bytes(obstore().get(client_of(path), str(path.key), options=options).bytes())
        except obstore().exceptions.PreconditionError:
            raise StoreError(message) from None
        except FileNotFoundError:
            if version is not None:  # of Google's generations, each is an object of its own
                raise StoreError(message) from None
            raise
        except obstore().exceptions.GenericError as error:
            if status_of(error) == 416:  # it starts behind the end
                return b""
            raise

    return repeat_request(path, get)


def read_start(path: ObjectPath, length: int) -> tuple[bytes, ObjectVersion] | None:
    """Return the first bytes of an object, all if it has fewer, and what it is; None if there is none."""

    def get() -> tuple[bytes, ObjectVersion] | None:
        try:
            result = obstore().get(client_of(path), str(path.key), options={"range": (0, length)})
            return bytes(result.bytes()), _object_version(path, result)
        except obstore().exceptions.GenericError as error:
            if status_of(error) != 416:
                raise
            return None

    try:
        start = repeat_request(path, get)
    except FileNotFoundError:
        return None
    if start is None and (about := find_version(path)):  # an empty object has no first byte
        return b"", about
    return start


def read_ranges(path: ObjectPath, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
    """Return parts of an object, each by its first byte and number of bytes: fetched together, near ones at once.

    Raises
    ------
    FileNotFoundError : there is no such object.
    """
    starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
    client = client_of(path)

    def get() -> Sequence[Any]:
        return obstore().get_ranges(client, str(path.key), starts=starts, lengths=lengths, coalesce=_GAP_BYTES)

    parts = repeat_request(path, get)
    return [memoryview(part) for part in parts]


def find_version(path: ObjectPath) -> ObjectVersion | None:
    """Return size, version and attributes of an object; None if there is none."""
    client = client_of(path)
    try:
        result = repeat_request(path, lambda: obstore().get(client, str(path.key), options={"head": True}))
    except FileNotFoundError:
        return None
    return _object_version(path, result)


def version_of(path: ObjectPath, meta: Any) -> str:
    """Return the version in what obstore says of an object."""
    tag = meta["version"] if path.bucket.startswith("gs:") else meta["e_tag"]
    if not tag:
        raise StoreError(f"the store of {path.bucket} gives no ETags, by which its users agree on an object's version")
    return str(tag)


def size(path: ObjectPath) -> int | None:
    """Return how many bytes an object has; None if there is none."""
    current = find_version(path)
    return current.size if current else None


def version(path: ObjectPath) -> str | None:
    """Return the version of an object; None if there is none."""
    current = find_version(path)
    return current.version if current else None


def names_in(folder: ObjectPath) -> list[str]:
    """Return the names of objects and prefixes right below a prefix, sorted."""
    listing = repeat_request(folder, lambda: obstore().list_with_delimiter(client_of(folder), _prefix(folder)))
    keys = [*listing["common_prefixes"], *(meta["path"] for meta in listing["objects"])]
    return sorted({key.rpartition("/")[2] for key in keys})


def files_below(folder: ObjectPath) -> list[tuple[str, int]]:
    """Return the name, as seen from a prefix, and the bytes of each object below it, sorted by name."""
    skip = len(str(folder.key)) + 1 if folder.name else 0
    listing = repeat_request(folder, lambda: obstore().list(client_of(folder), _prefix(folder)).collect())
    return sorted((meta["path"][skip:], meta["size"]) for meta in listing)


def open_ranges(path: ObjectPath) -> pa.NativeFile:
    """Open an object for pyarrow, which reads the ranges that it needs.

    Raises
    ------
    FileNotFoundError : there is no such object.
    """
    return pa.PythonFile(ObjectReader(path), mode="r")


class ObjectFile(io.RawIOBase):
    """An object of a known size as a file; who reads it says how."""

    def __init__(self, path: ObjectPath, size: int) -> None:
        self._path, self._size, self._at = path, size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position; nothing is fetched."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at


class ObjectReader(ObjectFile):
    """Reads an object by ranges, all of one version."""

    def __init__(self, path: ObjectPath) -> None:
        current = find_version(path)
        if current is None:
            raise FileNotFoundError(2, "No such object", str(path))
        super().__init__(path, current.size)
        self._version, self._start, self._block = current.version, 0, b""

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the object goes."""
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._at))
        if not self._start <= self._at <= self._at + length <= self._start + len(self._block):
            self._start = max(0, min(self._at, self._size - _BLOCK_BYTES))
            count = self._at + length - self._start
            self._block = read_range(self._path, self._start, max(count, _BLOCK_BYTES), self._version)
        first = self._at - self._start
        view[:length] = self._block[first : first + length]
        self._at += length
        return length


def _prefix(folder: ObjectPath) -> str | None:
    return str(folder.key) if folder.name else None


def _object_version(path: ObjectPath, result: Any) -> ObjectVersion:
    return ObjectVersion(result.meta["size"], version_of(path, result.meta), dict(result.attributes))
