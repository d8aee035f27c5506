"""Moving CURRENT: a line in its history first, then the file; and restoring the one from the other.

Everything here that writes holds the lock of the published name. In an object store that lock is a lease, which a
process that was stopped for long can lose without noticing. So a file is replaced only if it is what was read, and
only by a later swap than it holds: who is late changes nothing.
"""

import datetime as dt
import json
import logging
from typing import Literal

from graphquilt.pointers import (
    CURRENT,
    HISTORY,
    RELEASES,
    PointerError,
    Pointers,
    Swap,
    Target,
    last_sequence_in,
    read_pointers,
)
from graphquilt.releases import describe_pointer_remedy
from pipeline import storage
from pipeline.errors import LockedError, StorageError
from pipeline.locations import Location
from pipeline.workspace import published_folder

log = logging.getLogger(__name__)

Reason = Literal["publish", "force", "rollback"]


def own_folder(root: Location, name: str) -> Location:
    """Return the folder of a published name, whether or not it is there.

    Raises
    ------
    StorageError : a link or a file stands in its place, or in that of ``published/`` or ``releases/``.
    """
    folder = published_folder(root, name)
    for path in (folder.parent, folder, folder / RELEASES):
        storage.require_own(path, "folder")
    return folder


def pointers_of(folder: Location) -> Pointers:
    """Read CURRENT and its history, and change nothing.

    Raises
    ------
    StorageError : nothing says which release readers get; the message says what to do.
    """
    try:
        return read_pointers(folder)
    except PointerError as error:
        raise StorageError(f"{error}. {describe_pointer_remedy(folder)}") from error


def restore_current(folder: Location, fence: int) -> Swap | None:
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
        at = at if at.sequence else Swap(1, _now(), "found", *at.target, fence)  # of a time without history
        _append(folder, at)
    if pointers.raw != storage.json_bytes(at.to_json()):
        raw, version = storage.read_version(folder / CURRENT) or (None, None)
        _replace_current(folder, at, version, is_next=raw == pointers.raw)
    return at


def open_history(folder: Location, fence: int) -> None:
    """Start the history of a name, before its first release is moved in."""
    if pointers_of(folder).at is None and storage.read(folder / HISTORY) is None:
        storage.make_folder(folder)
        _append(folder, Swap(0, _now(), "opened", "", "", "", 0, "", fence))


def point_at(folder: Location, target: Target, why: Reason, last: int, fence: int, reason: str = "") -> Swap:
    """Swap CURRENT to a release; return the swap.

    The line is durable before the file is replaced: a kill in between is finished by :func:`restore_current`.

    Parameters
    ----------
    target : see :attr:`graphquilt.pointers.Swap.target`. last : sequence of the swap before.
    fence : of the lock that is held. reason : of a rollback.

    Raises
    ------
    LockedError : another process has swapped since ``last``.
    """
    swap = Swap(last + 1, _now(), why, *target, fence, reason)
    storage.require_own(folder / CURRENT, "file")  # before the line, which would count without it
    _append(folder, swap)
    raw, version = storage.read_version(folder / CURRENT) or (b"", None)
    _replace_current(folder, swap, version, is_next=last_sequence_in(raw) < swap.sequence)
    return swap


def last_sequence(folder: Location) -> int:
    """Return the highest sequence that the history of a name holds, 0 if it holds none."""
    return last_sequence_in(storage.read(folder / HISTORY) or b"")


def _append(folder: Location, swap: Swap) -> None:
    path = folder / HISTORY
    lines, version = storage.read_version(path) or (b"", None)
    is_next = not lines or last_sequence_in(lines) < swap.sequence
    end = b"\n" if lines and not lines.endswith(b"\n") else b""  # of a line that a kill has cut
    line = json.dumps(swap.to_json(), ensure_ascii=False).encode() + b"\n"
    replace_unchanged(path, lines + end + line, version, is_next=is_next)


def _replace_current(folder: Location, swap: Swap, version: str | None, *, is_next: bool) -> None:
    replace_unchanged(folder / CURRENT, storage.json_bytes(swap.to_json()), version, is_next=is_next)


def replace_unchanged(path: Location, data: bytes, version: str | None, *, is_next: bool = True) -> None:
    """Replace a file of a published name if it is what was read; see :func:`pipeline.storage.swap`.

    Raises
    ------
    LockedError : it is not, or was something else already as it was read.
    """
    if not is_next or not storage.swap(path, data, version):
        raise LockedError(
            f"{path} was changed by another process, which took the lock of this name: this process had been stopped, "
            "or cut off from the store, for too long. It has changed nothing there; run again"
        )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
