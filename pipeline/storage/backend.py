"""What a store can do. A folder of this machine and an object store do it each in their own way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

Place = TypeVar("Place", contravariant=True)


@dataclass(frozen=True)
class StoredFile:
    """A file below a folder: its name as seen from there, and its bytes."""

    name: str
    bytes: int


class Backend(Protocol[Place]):
    """Verbs over whole files. A file is there as a whole or not at all; only pointers and records are ever replaced.

    Raises
    ------
    StorageError : the store can't be reached, refuses, or holds something else in the place of a file.
    """

    def read(self, path: Place, /) -> bytes | None:
        """Return the bytes of a file; None if there is none."""

    def size(self, path: Place, /) -> int | None:
        """Return how many bytes a file has; None if there is none."""

    def write(self, path: Place, data: bytes, /) -> None:
        """Make or replace a file as a whole; it is durable then."""

    def read_version(self, path: Place, /) -> tuple[bytes, str] | None:
        """Return the bytes of a file, and their version for :meth:`swap`; None if there is none."""

    def swap(self, path: Place, data: bytes, version: str | None, /) -> bool:
        """Replace a file if it still has a version, or make it if that is None; return whether it was done."""

    def write_if_absent(self, path: Place, data: bytes, /) -> bool:
        """Make a file unless there is one; return whether it was made."""

    def move_in(self, file: Path, target: Place, /) -> None:
        """Put a file of this machine in its place as a whole; it is gone from where it was."""

    def staging_folder(self, folder: Place, /) -> Path:
        """Return a folder of this machine for files that are to be moved in there once they are written."""

    def copy(self, source: Place, target: Place, /) -> None:
        """Give a file that never changes a second name; an object store takes files of this machine as well."""

    def names_in(self, folder: Place, /) -> list[str]:
        """Return the names of files and folders in a folder, sorted; none if there is no folder."""

    def files_below(self, folder: Place, /) -> list[StoredFile]:
        """Return the files in a folder and in those below it, sorted by name."""

    def remove(self, path: Place, /) -> None:
        """Remove a file; one that is gone already is fine."""

    def remove_tree(self, folder: Place, /) -> None:
        """Remove all files below a folder; one that is gone already is fine."""

    def open_ranges(self, path: Place, /) -> pa.NativeFile:
        """Open a file for reading a little of it."""

    def local_file(self, path: Place, /) -> Path:
        """Return a file of this machine with the bytes of a file that never changes: for reading and mapping only.

        Raises
        ------
        DamagedFileError : it is missing, or its bytes are not those that its name states.
        """
