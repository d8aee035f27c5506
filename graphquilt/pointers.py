"""Which release readers get: CURRENT.json, and the history of its swaps that it can be restored from.

    published/<name>/CURRENT.json            the last swap
    published/<name>/CURRENT.history.jsonl   one swap a line, in order, each with its own checksum; only appended to

A line is durable before CURRENT is replaced, so a swap counts from its line on: **of all sound swaps in the two
files, the one with the highest sequence counts**. A kill between the two leaves a CURRENT that is one swap behind;
readers follow the line, and the next writer repeats the swap. The first line, of sequence 0, points at nothing. It
is written before the first release, so that its being alone means a first night and an empty folder with releases
does not. Standard library only.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from graphquilt.own_files import foreign
from graphquilt.sealed import SEAL, is_sealed, sealed

CURRENT = "CURRENT.json"
HISTORY = "CURRENT.history.jsonl"
RELEASES = "releases"


class PointerError(ValueError):
    """Nothing says for sure which release readers get."""


@dataclass(frozen=True)
class Swap:
    """One move of CURRENT.

    ``path`` is relative to the pointer's folder. ``why``: "publish", "force" (an older date, as asked), "rollback",
    "found" (a pointer from before there was a history) or "opened" (sequence 0, pointing at nothing).
    """

    sequence: int
    at: str  # UTC, ISO 8601
    why: str
    release: str
    path: str
    data_date: str
    contract_version: int
    manifest_sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the object that both files hold, with its checksum."""
        return sealed(asdict(self))

    @property
    def target(self) -> tuple[Any, ...]:
        """What it points at: two swaps to one release differ in nothing of this."""
        return self.release, self.path, self.data_date, self.contract_version, self.manifest_sha256


@dataclass(frozen=True)
class Pointers:
    """What the two files of a published name say.

    Attributes
    ----------
    at : the swap that counts; None before the first one.
    in_file : what CURRENT.json holds; None where it is missing or damaged.
    history : the sound lines, in their order.
    problem : a sentence where a file is not what ``at`` says it should be; a swap under way is none.
    """

    at: Swap | None
    in_file: Swap | None
    history: Sequence[Swap]
    problem: str | None


def read_pointers(folder: Path) -> Pointers:
    """Read the pointer of ``published/<name>`` and its history.

    Raises
    ------
    PointerError : CURRENT is damaged or gone and the history does not hold what it said, or something else stands
        in the place of one of them. Which command helps is for the caller to say.
    """
    while True:
        raw = _read(folder / CURRENT)
        lines = _read(folder / HISTORY)
        if _read(folder / CURRENT) == raw:  # else a swap came in between, and the two don't belong together
            return _judge(folder, raw, lines)


def last_sequence(folder: Path) -> int:
    """Return the highest sequence that the history of a name holds, 0 if it holds none.

    Raises
    ------
    PointerError : something else stands in its place.
    """
    return max((swap.sequence for swap in _lines(_read(folder / HISTORY) or b"")[0]), default=0)


def withdrawn_releases(history: Sequence[Swap]) -> set[str]:
    """Return the releases that readers were rolled back from and have not been given again."""
    withdrawn: set[str] = set()
    for before, after in pairwise(history):
        if after.why == "rollback" and after.data_date <= before.data_date:
            withdrawn.add(before.release)
        withdrawn.discard(after.release)
    return withdrawn


def release_names(folder: Path) -> list[str]:
    """Return the names of the folders that are or were releases, sorted."""
    try:
        return sorted(path.name for path in (folder / RELEASES).iterdir() if not path.name.startswith(("_", ".")))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(path: Path) -> bytes | None:
    if reason := foreign(path, "file"):
        raise PointerError(reason)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except OSError as error:
        raise PointerError(f"{path} can't be read: {error.strerror}") from error


def _judge(folder: Path, raw: bytes | None, lines: bytes | None) -> Pointers:
    in_file = None if raw is None else _swap_of(raw)
    history, is_tail_sound = _lines(lines or b"")
    moves = [swap for swap in history if swap.release]
    last = max(moves, key=lambda swap: swap.sequence, default=None)
    state = "is missing" if raw is None else "is damaged" if in_file is None else "is sound"
    if in_file is not None and (last is None or _is_ahead(folder, in_file, last)):
        lost = f"{folder / HISTORY} lacks the last swap" if lines is not None else f"{folder / HISTORY} is missing"
        return Pointers(in_file, in_file, history, None if in_file.sequence == 0 and last is None else lost)
    if last is None:
        is_first_night = raw is None and is_tail_sound and (bool(history) or not release_names(folder))
        if is_first_night:
            return Pointers(None, None, history, None)
        raise PointerError(f"{folder / CURRENT} {state}, and {folder / HISTORY} holds no swap that it can be read from")
    if in_file is not None and (in_file == last or in_file.target == last.target):
        return Pointers(last, in_file, history, None)
    if in_file is None and not is_tail_sound:
        raise PointerError(f"{folder / CURRENT} {state}, and the last line of {folder / HISTORY} is damaged too")
    if in_file is not None and in_file.sequence == last.sequence - 1:
        return Pointers(last, in_file, history, None)
    said = state if in_file is None else "is not what it was last swapped to"
    return Pointers(
        last, in_file, history, f"{folder / CURRENT} {said}; the last swap in {HISTORY} is to {last.release}"
    )


def _is_ahead(folder: Path, in_file: Swap, last: Swap) -> bool:
    """Whether the history has lost its end: CURRENT is of a later swap, to a release that is here."""
    return in_file.sequence > last.sequence and (folder / in_file.path).is_dir()


def _lines(data: bytes) -> tuple[list[Swap], bool]:
    """Return the sound lines; and whether no whole line that follows them is damaged.

    A last line without its end was never finished: a kill's, and no swap followed it.
    """
    found: list[Swap] = []
    is_tail_sound = True
    *whole, rest = data.split(b"\n")
    for line in (*whole, rest):
        swap = _swap_of(line) if line.strip() else None
        if swap is not None and (not found or swap.sequence > found[-1].sequence):
            found.append(swap)
            is_tail_sound = True
        elif line.strip() and line is not rest:
            is_tail_sound = False
    return found, is_tail_sound


def _swap_of(data: bytes) -> Swap | None:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict):
        return None
    swap = _sealed_swap(raw) if SEAL in raw else _unsealed_swap(raw)
    if swap is None or not swap.release:
        return swap
    is_name = Path(swap.release).name == swap.release and not swap.release.startswith((".", "_"))
    return swap if is_name and swap.path == f"{RELEASES}/{swap.release}" else None


def _sealed_swap(raw: Mapping[str, Any]) -> Swap | None:
    names = {field.name for field in fields(Swap)}
    return Swap(**{name: raw[name] for name in names}) if is_sealed(raw) and set(raw) == {*names, SEAL} else None


def _unsealed_swap(raw: Mapping[str, Any]) -> Swap | None:
    """Read a pointer from before there was a history; its manifest's digest is what holds it together."""
    texts = ("release", "path", "data_date", "manifest_sha256")
    if set(raw) != {*texts, "contract_version"} or not all(raw[name] and isinstance(raw[name], str) for name in texts):
        return None
    try:
        dt.date.fromisoformat(raw["data_date"])
    except ValueError:
        return None
    return Swap(0, "", "found", **raw) if isinstance(raw["contract_version"], int) else None
