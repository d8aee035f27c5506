"""Which release readers get: CURRENT.json, and the history of its swaps, from which it can be restored.

    published/<name>/CURRENT.json            the last swap
    published/<name>/CURRENT.history.jsonl   one swap a line, in order, each with its own checksum; lines only come

A line is durable before CURRENT is replaced, so a swap counts once its line is written: **of all sound swaps in the
two files, the one with the highest sequence counts**. A kill between the two leaves CURRENT one swap behind; readers
follow the line, and the next writer repeats the swap. The first line, of sequence 0, points at nothing. It is written
before the first release: alone, it means a first night. Releases without it mean a lost history. Standard library
only.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePath
from typing import Any

from graphquilt import files
from graphquilt.json_checksum import CHECKSUM, add_checksum, has_valid_checksum
from graphquilt.locations import Location
from graphquilt.own_files import describe_foreign

CURRENT = "CURRENT.json"
HISTORY = "CURRENT.history.jsonl"
RELEASES = "releases"
MANIFEST = "manifest.json"  # of a release


#: Fields of a swap that are written only where they say something: older files lack them.
_OPTIONAL = frozenset({"fence", "reason"})

#: Release, path, data_date, contract_version and manifest_sha256: see :class:`Swap`.
Target = tuple[str, str, str, int, str]


class PointerError(ValueError):
    """The two files do not say which release readers get."""


@dataclass(frozen=True)
class Swap:
    """One move of CURRENT.

    ``path`` is relative to the pointer's folder. ``why``: "publish", "force" (an older date, by ``--force-current``),
    "rollback", "found" (a pointer that is older than its history) or "opened" (sequence 0, pointing at nothing).
    """

    sequence: int
    at: str  # UTC, ISO 8601
    why: str
    release: str
    path: str
    data_date: str
    contract_version: int
    manifest_sha256: str
    fence: int = 0  # of the lease of who made it; 0 where a kernel's lock keeps others out
    reason: str = ""  # of a rollback, as its caller gave it

    def to_json(self) -> dict[str, Any]:
        """Return the object that both files hold, with a checksum."""
        return add_checksum({name: value for name, value in asdict(self).items() if value or name not in _OPTIONAL})

    @property
    def target(self) -> Target:
        """What it points at: equal for all swaps to one release."""
        return self.release, self.path, self.data_date, self.contract_version, self.manifest_sha256


@dataclass(frozen=True)
class Pointers:
    """The content of the two files of a published name.

    Attributes
    ----------
    at : the swap that counts; None before the first one.
    raw : the bytes of CURRENT.json; None where it is missing.
    in_file : the swap in them; None where there is none.
    history : the sound lines, in order.
    problem : a sentence where a file does not agree with ``at``; a swap under way is no problem.
    """

    at: Swap | None
    raw: bytes | None
    in_file: Swap | None
    history: Sequence[Swap]
    problem: str | None


def read_pointers(folder: Location) -> Pointers:
    """Read the pointer of ``published/<name>`` and its history.

    Raises
    ------
    PointerError : CURRENT is damaged or gone and the history lacks its swap, or one of them is no file. The caller
        names the command that helps.
    """
    while True:
        raw = _read(folder / CURRENT)
        lines = _read(folder / HISTORY)
        if _read(folder / CURRENT) == raw:  # else a swap came between the two reads
            return _judge(folder, raw, lines)


def last_sequence_in(content: bytes) -> int:
    """Return the highest sequence in the content of one of the two files, 0 if it holds no sound swap."""
    swap = _swap_of(content)
    return swap.sequence if swap else max((line.sequence for line in _lines(content)[0]), default=0)


def list_releases(folder: Location) -> list[str]:
    """Return the names of the releases, sorted: in a folder all folders, in an object store those with a manifest."""
    names = [name for name in files.names_in(folder / RELEASES) if not name.startswith(("_", "."))]
    if isinstance(folder, Path):  # moved in as a whole: one without a manifest is damaged
        return names
    return [name for name in names if files.has_file(folder / RELEASES / name / MANIFEST)]


def _read(path: Location) -> bytes | None:
    if reason := describe_foreign(path, "file"):
        raise PointerError(reason)
    try:
        return files.read(path)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except OSError as error:
        raise PointerError(f"{path} can't be read: {error.strerror}") from error


def _judge(folder: Location, raw: bytes | None, lines: bytes | None) -> Pointers:
    in_file = None if raw is None else _swap_of(raw)
    history, is_tail_sound = _lines(lines or b"")
    moves = [swap for swap in history if swap.release]
    last = max(moves, key=lambda swap: swap.sequence, default=None)
    state = "is missing" if raw is None else "is damaged" if in_file is None else "is sound"
    if in_file is not None and (last is None or _is_ahead(folder, in_file, last)):
        finding = f"{folder / HISTORY} lacks the last swap" if lines is not None else f"{folder / HISTORY} is missing"
        return Pointers(in_file, raw, in_file, history, None if in_file.sequence == 0 and last is None else finding)
    if last is None:
        is_first_night = raw is None and is_tail_sound and (bool(history) or not list_releases(folder))
        if is_first_night:
            return Pointers(None, None, None, history, None)
        raise PointerError(f"{folder / CURRENT} {state}, and {folder / HISTORY} holds no swap that it can be read from")
    if in_file is not None and (in_file == last or in_file.target == last.target):
        return Pointers(last, raw, in_file, history, None)
    if in_file is None and not is_tail_sound:
        raise PointerError(f"{folder / CURRENT} {state}, and the last line of {folder / HISTORY} is damaged too")
    if in_file is not None and in_file.sequence == last.sequence - 1:
        return Pointers(last, raw, in_file, history, None)
    fault = state if in_file is None else "is not what it was last swapped to"
    problem = f"{folder / CURRENT} {fault}; the last swap in {HISTORY} is to {last.release}"
    return Pointers(last, raw, in_file, history, problem)


def _is_ahead(folder: Location, in_file: Swap, last: Swap) -> bool:
    """Whether the history lacks its end: CURRENT holds a later swap, to a release that exists."""
    return in_file.sequence > last.sequence and files.has_folder(folder / in_file.path)


def _lines(data: bytes) -> tuple[list[Swap], bool]:
    """Return the sound lines, and whether no complete line after them is damaged.

    A last line without a line end was cut by a kill before its swap.
    """
    swaps: list[Swap] = []
    is_tail_sound = True
    *whole, rest = data.split(b"\n")
    for line in (*whole, rest):
        swap = _swap_of(line) if line.strip() else None
        if swap is not None and (not swaps or swap.sequence > swaps[-1].sequence):
            swaps.append(swap)
            is_tail_sound = True
        elif line.strip() and line is not rest:
            is_tail_sound = False
    return swaps, is_tail_sound


def _swap_of(data: bytes) -> Swap | None:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict):
        return None
    swap = _swap_with_checksum(raw) if CHECKSUM in raw else _swap_without_checksum(raw)
    if swap is None or not swap.release:
        return swap
    is_name = PurePath(swap.release).name == swap.release and not swap.release.startswith((".", "_"))
    return swap if is_name and swap.path == f"{RELEASES}/{swap.release}" else None


def _swap_with_checksum(raw: Mapping[str, Any]) -> Swap | None:
    names = {field.name for field in fields(Swap)} - _OPTIONAL
    is_sound = has_valid_checksum(raw) and set(raw) - _OPTIONAL == {*names, CHECKSUM}
    return Swap(**{name: raw[name] for name in raw if name != CHECKSUM}) if is_sound else None


def _swap_without_checksum(raw: Mapping[str, Any]) -> Swap | None:
    """Read a pointer that is older than the history; the digest of its manifest is its only check."""
    texts = ("release", "path", "data_date", "manifest_sha256")
    if set(raw) != {*texts, "contract_version"} or not all(raw[name] and isinstance(raw[name], str) for name in texts):
        return None
    try:
        dt.date.fromisoformat(raw["data_date"])
    except ValueError:
        return None
    return Swap(0, "", "found", **raw) if isinstance(raw["contract_version"], int) else None
