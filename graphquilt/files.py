"""Reads files wherever they are: in a folder, or in an object store, whose client is loaded when it is needed."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from graphquilt.locations import Location

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 16  # requests to a store
_CHUNK_BYTES = 4 * 2**20


def read(location: Location) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    FileNotFoundError : there is none.
    """
    if isinstance(location, Path):
        return location.read_bytes()
    from graphquilt import objects

    data = objects.read(location)
    if data is None:
        raise FileNotFoundError(2, "No such object", str(location))
    return data


def has_file(location: Location) -> bool:
    """Whether there is a file."""
    if isinstance(location, Path):
        return location.is_file()
    from graphquilt import objects

    return objects.size(location) is not None


def has_folder(location: Location) -> bool:
    """Whether there is a folder; in an object store, whether anything lies below the address."""
    return location.is_dir() if isinstance(location, Path) else bool(names_in(location))


def names_in(folder: Location) -> list[str]:
    """Return the names of files and folders in a folder, sorted; none if there is no folder."""
    if isinstance(folder, Path):
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
    from graphquilt import objects

    return objects.names_in(folder)


def open_file(location: Location) -> io.RawIOBase:
    """Open a file for reading; of an object, what is read is fetched.

    Raises
    ------
    FileNotFoundError : there is none.
    """
    if isinstance(location, Path):
        return location.open("rb", buffering=0)
    from graphquilt import objects

    return objects.ObjectReader(location)


def read_chunks(location: Location) -> Iterator[bytes]:
    """Yield all bytes of a file in order; those of an object in larger pieces, each of which is a request.

    Raises
    ------
    FileNotFoundError : there is none.
    """
    with open_file(location) as file:
        while chunk := file.read(_CHUNK_BYTES if isinstance(location, Path) else 4 * _CHUNK_BYTES):
            yield chunk


def map_files(function: Callable[[T], R], folder: Location, items: Sequence[T]) -> list[R]:
    """Apply a function to files in a folder, in order; in an object store to several at once, since each one waits."""
    if isinstance(folder, Path) or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(len(items), _AT_ONCE)) as pool:
        return list(pool.map(function, items))
