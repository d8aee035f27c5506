"""Copies of working files into a release: bytes of their own, hashed as they are written or as they are read back."""

import contextlib
import fcntl
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from graphquilt import files
from pipeline import storage
from pipeline.errors import StorageError
from pipeline.locations import Location

#: Stays in the cache while it is written and hashed. For writes of a MiB, Linux may look long for free memory in one
#: piece: .6 s a GiB at times, instead of .15 s for half of one [kernel 6.18, ext4].
_CHUNK = 2**18
#: Linux: make a file of another's blocks, which are copied once one of the two is written to (btrfs, XFS, bcachefs).
_FICLONE = 0x40049409


@dataclass(frozen=True)
class WorkingFile:
    """A finished file of a run: ``name`` is its name in the release, bytes and checksum are the run's manifest's."""

    path: Location
    name: str  # <table>/part-00000.parquet
    bytes: int
    checksum: str  # see storage.checksum_of

    @property
    def table(self) -> str:
        """The table it is a file of."""
        return self.name.split("/")[0]


@dataclass(frozen=True)
class Digests:
    """Of the bytes of a file: how many, their xxh3-128 and their sha256."""

    bytes: int
    checksum: str
    sha256: str


def copy_file(source: Location, target: Location, room_bytes: int) -> Digests:
    """Copy a file so that the two share nothing that can be damaged, make it durable, and hash its bytes.

    In a folder, what is written is hashed. Where the file system can, the copy is a clone: the blocks are shared until
    one of the two files is written to. A clone is read back for its digests. A disk that flips a bit in a shared block
    flips it in both; ``check --deep`` finds that, as it finds any other.

    An object is copied inside of its store where that can be. Whether it was or was uploaded, the new object is read
    back once, and its digests are those of the bytes that the store returns.

    Parameters
    ----------
    room_bytes : bytes that must be free if files can't be cloned, for this file and those that follow it.

    Raises
    ------
    StorageError : not enough space. OSError : the source can't be read.
    """
    if isinstance(target, Path):
        return _copy_to_folder(storage.local_file(source), target, room_bytes)
    storage.copy(source, target)
    return digests_of(target)


def digests_of(location: Location) -> Digests:
    """Read a file once and hash its bytes."""
    return _digests(files.read_chunks(location))


def copy_working_file(source: WorkingFile, target: Location, room_bytes: int) -> Digests:
    """Copy a working file that must have the bytes of its run's manifest.

    Raises
    ------
    StorageError : it has not, or there is not enough space.
    """
    storage.require_own(source.path, "file")
    try:
        digests = copy_file(source.path, target, room_bytes)
    except FileNotFoundError as error:
        raise StorageError(f"{source.path} of table {source.table} is missing. {_MAKE_AGAIN}") from error
    if (digests.bytes, digests.checksum) != (source.bytes, source.checksum):
        raise StorageError(
            f"{source.path} of table {source.table} has {digests.bytes:,} bytes with checksum {digests.checksum}; the "
            f"run's manifest says {source.bytes:,} with {source.checksum}. {_MAKE_AGAIN}"
        )
    return digests


_MAKE_AGAIN = "Nothing was published; 'graphquilt run' with the same options makes the table again and publishes it"


def _copy_to_folder(source: Path, target: Path, room_bytes: int) -> Digests:
    with source.open("rb", buffering=0) as reader, target.open("x+b", buffering=0) as writer:
        if _clone(reader, writer):
            digests = _digests(_chunks(writer))
        else:
            storage.require_free_space(target.parent, room_bytes, "the copy of the tables into the release")
            digests = _digests(_write_chunks(reader, writer))
        os.fsync(writer.fileno())
    return digests


def _clone(reader: io.FileIO, writer: io.FileIO) -> bool:
    with contextlib.suppress(OSError):  # another file system, or one that can't
        fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        return True
    return False


def _chunks(file: io.FileIO) -> Iterator[memoryview]:
    """Yield a file's bytes, in a buffer that the next ones overwrite."""
    file.seek(0)
    buffer = memoryview(bytearray(_CHUNK))
    while size := file.readinto(buffer):
        yield buffer[:size]


def _write_chunks(reader: io.FileIO, writer: io.FileIO) -> Iterator[memoryview]:
    for chunk in _chunks(reader):
        rest = chunk
        while rest:  # an unbuffered file may take less than it is given
            rest = rest[writer.write(rest) :]
        yield chunk


def _digests(chunks: Iterable[bytes | memoryview]) -> Digests:
    size, checksum, sha256 = 0, xxhash.xxh3_128(), hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        checksum.update(chunk)
        sha256.update(chunk)
    return Digests(size, checksum.hexdigest(), sha256.hexdigest())
