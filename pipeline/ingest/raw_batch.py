"""Rows as they stand in a file, before any check, and errors about missing columns."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.file_formats import FORMAT_NAMES
from pipeline.ingest.pieces import FilePiece

_IDS = ("source", "target")


class BrokenLine(NamedTuple):
    """A line that is no row: its number among the rows of its file, its text, and what is wrong with it."""

    row: int
    text: str
    why: str


@dataclass
class RawBatch:
    """Rows as they stand in a file: ``values`` by role ("source", "weight", ...), of any Arrow type."""

    rows: NDArray[np.int64]  # number of each row in its file, from 0, headers, comments and blank lines not counted
    values: dict[str, pa.Array]
    wrong_type: NDArray[np.bool_] | None = None  # rows with a value that its column can't hold, such as an id [1]
    is_header: NDArray[np.bool_] | None = None  # rows that are the header again: files were joined
    unreadable: list[BrokenLine] = field(default_factory=list)
    blank_lines: int = 0
    comment_lines: int = 0
    header_lines: int = 0


def attribute_role(node_type: str, kind: str, name: str = "") -> str:
    """Return the role of a column of [attributes.<node type>]: its id, or one of numbers, categories and lists."""
    return f"attributes.{node_type}\0{kind}" + (f".{name}" if name else "")


def kind_of(role: str) -> str:
    """Return what a column is read as: its role or, of attributes, "id", "numbers", "categories" or "lists"."""
    if role in _IDS:
        return "id"
    return role.partition("\0")[2].partition(".")[0] if "\0" in role else role


def refuse_missing(piece: FilePiece, columns: Mapping[str, str], names: Sequence[str], advice: str = "") -> None:
    """Refuse a column that is not among the file's ``names``, or is there twice."""
    for role, name in columns.items():
        if names.count(name) == 1:
            continue
        where = f"{piece.address} ({FORMAT_NAMES[piece.format]})"
        if name in names:
            raise InputError(f"{where} has {names.count(name)} columns named '{name}'; give each its own name")
        by_case = {spelling.strip().casefold(): spelling for spelling in names}
        near = [] if advice else difflib.get_close_matches(name.casefold(), by_case, n=1)
        hint = f" Did you mean {by_case[near[0]]!r}?" if near else advice
        if f"/{name}=" in piece.address:
            hint = f" The path has it: name the folder above '{name}=...', whose folders are read as columns."
        key = role.replace("\0", ".") if "\0" in role else f"input.{role}"
        raise InputError(f"{where} has no column '{name}' ({key}); it has {list(names)}.{hint}")


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)
