"""Lazy frames: what is to be read and done, as a tree that nothing has run yet.

Row-wise verbs (:class:`Step`) are done wherever the rows are. Sums and look-ups need the rows of a key in one place:
:mod:`pipeline.engines.exchange` brings them there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

# Frames are told apart by identity: a frame that is used twice is exchanged once.


class ExchangeFrame(Protocol):
    """What every kind of frame can say of itself."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns, in order."""
        ...


@dataclass(frozen=True, eq=False)
class Read:
    """Columns of Parquet files."""

    files: Sequence[Path]
    columns: Sequence[str]


@dataclass(frozen=True, eq=False)
class Step:
    """A row-wise verb of :mod:`pipeline.engines.verbs`, with the arguments that follow the frame."""

    frame: ExchangeFrame
    verb: str
    arguments: Mapping[str, Any]
    columns: Sequence[str]
    reads: Sequence[str] = ()  # columns that the verb looks at


@dataclass(frozen=True, eq=False)
class Union:
    """All rows of frames with the same columns."""

    frames: Sequence[ExchangeFrame]

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns, in order."""
        return self.frames[0].columns


@dataclass(frozen=True, eq=False)
class Sum:
    """One row a key."""

    frame: ExchangeFrame
    keys: Sequence[str]
    sums: Sequence[str]
    newest: Sequence[str]
    keys_repeat: bool
    may_overflow: bool

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns, in order."""
        return [*self.keys, *self.sums, *self.newest]


@dataclass(frozen=True, eq=False)
class Match:
    """Rows of a frame, matched with those of a table: the verbs ``look_up`` and ``without``."""

    frame: ExchangeFrame
    table: ExchangeFrame
    verb: str
    arguments: Mapping[str, Any]
    on: Mapping[str, str]  # {column of the frame: column of the table}
    take: Mapping[str, str]  # {new column: column of the table}
    columns: Sequence[str]


def rename(frame: ExchangeFrame, columns: Mapping[str, str], constants: Mapping[str, int | str]) -> Step:
    """Columns by new name ({new: old}), and constant columns."""
    arguments = {"columns": dict(columns), "constants": dict(constants)}
    return Step(frame, "rename", arguments, [*columns, *constants])


def where(frame: ExchangeFrame, verb: str, reads: Sequence[str], **arguments: Any) -> Step:
    """Some rows of a frame."""
    return Step(frame, verb, arguments, frame.columns, reads)


def look_up(frame: ExchangeFrame, table: ExchangeFrame, on: Mapping[str, str], take: Mapping[str, str]) -> Match:
    """Replace key columns by what a table says of them."""
    columns = [*(name for name in frame.columns if name not in on), *take]
    return Match(frame, table, "look_up", {"on": dict(on), "take": dict(take)}, on, take, columns)


def without(frame: ExchangeFrame, table: ExchangeFrame, keys: Sequence[str]) -> Match:
    """Rows of a frame whose keys are not in a table."""
    arguments = {"keys": list(keys)}
    return Match(frame, table, "without", arguments, {name: name for name in keys}, {}, frame.columns)
