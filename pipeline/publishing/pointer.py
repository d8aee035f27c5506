"""Moving CURRENT: a line in its history first, then the file; and restoring the one from the other.

Everything here that writes holds the lock of the published name.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from pathlib import Path
from typing import Any, Literal

from graphquilt.pointers import CURRENT, HISTORY, RELEASES, PointerError, Pointers, Swap, read_pointers
from graphquilt.releases import describe_pointer_remedy
from pipeline import storage
from pipeline.errors import StorageError
from pipeline.workspace import published_folder

log = logging.getLogger(__name__)

Reason = Literal["publish", "force", "rollback"]


def own_folder(root: Path, name: str) -> Path:
    """Return the folder of a published name, whether or not it is there.

    Raises
    ------
    StorageError : a link or a file stands in its place, or in that of ``published/`` or ``releases/``.
    """
    folder = published_folder(root, name)
    for path in (folder.parent, folder, folder / RELEASES):
        storage.require_own(path, "folder")
    return folder


def pointers_of(folder: Path) -> Pointers:
    """Read CURRENT and its history, and change nothing.

    Raises
    ------
    StorageError : nothing says which release readers get; the message says what to do.
    """
    try:
        return read_pointers(folder)
    except PointerError as error:
        raise StorageError(f"{error}. {describe_pointer_remedy(folder)}") from error


def restore_current(folder: Path) -> Swap | None:
    """Make CURRENT and its history agree; return the swap that counts, None before the first.

    A swap that a kill cut short is finished. A damaged or missing CURRENT is written from the history; a swap that
    the history lacks is added to it.

    Raises
    ------
    StorageError : nothing says which release readers get; nothing was changed.
    """
    pointers = pointers_of(folder)
    at = pointers.at
    if at is None:
        return None
    if pointers.problem:
        log.warning("name=%s current=restored release=%s reason=%r", folder.name, at.release, pointers.problem)
    if at not in pointers.history:
        at = at if at.sequence else Swap(1, _now(), "found", *at.target)  # of a time without history
        _append(folder, at)
    content = storage.json_bytes(at.to_json())
    if pointers.in_file is None or (folder / CURRENT).read_bytes() != content:
        storage.write_bytes(folder / CURRENT, content)
    return at


def open_history(folder: Path) -> None:
    """Start the history of a name, before its first release is moved in."""
    if pointers_of(folder).at is None and not (folder / HISTORY).exists():
        storage.make_folder(folder)
        _append(folder, Swap(0, _now(), "opened", "", "", "", 0, ""))


def point_at(folder: Path, target: tuple[Any, ...], why: Reason, last: int) -> Swap:
    """Swap CURRENT to a release; return the swap.

    The line is durable before the file is replaced: a kill in between is finished by :func:`restore_current`.

    Parameters
    ----------
    target : see :attr:`graphquilt.pointers.Swap.target`. last : sequence of the swap before.
    """
    swap = Swap(last + 1, _now(), why, *target)
    storage.require_own(folder / CURRENT, "file")  # before the line, which would count without it
    _append(folder, swap)
    storage.write_json(folder / CURRENT, swap.to_json())
    return swap


def _append(folder: Path, swap: Swap) -> None:
    path = folder / HISTORY
    storage.require_own(path, "file")
    line = json.dumps(swap.to_json(), ensure_ascii=False).encode() + b"\n"
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # what a kill left of a line
                line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    storage.fsync_folder(folder)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
