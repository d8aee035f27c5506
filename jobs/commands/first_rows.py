"""The first rows of an input as they stand, of any format: what a guess about its columns is made from."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from jobs.commands.text_look import look_at_text
from pipeline.errors import InputError
from pipeline.ingest.addresses import naming
from pipeline.ingest.pieces import FilePiece
from pipeline.ingest.readers import column_names, read
from pipeline.ingest.sources import SourceFile, list_sources
from pipeline.ingest.text.formats import BY_NAME, TextFormat
from pipeline.ingest.text.json_rows import json_lines

_ROWS = 2_000
QUOTES_MAY_BE_TEXT = "input.quote = ''"  # what the reader advises where quotes don't pair


@dataclass(frozen=True)
class FirstRows:
    """``columns`` by name, a few thousand values at most, in the types that ingest will see them in.

    ``text`` is how text files were read.
    """

    sources: tuple[SourceFile, ...]
    columns: Mapping[str, pa.Array]
    text: TextFormat


def first_rows(path: str) -> FirstRows:
    """Read the first rows of the first file that has any; the first lines of text show how it is written.

    Raises
    ------
    InputError : nothing there, unreadable, or no rows at all.
    """
    sources = list_sources(path)
    for source in sources:
        piece = FilePiece(source.relative, source.address, source.format, snapshot=source.snapshot)
        text = look_at_text(piece) if source.format == "csv" else BY_NAME
        read_rows = _read_json if source.format == "json" else _read_columns
        with naming(source.address, source.format):
            try:
                table = read_rows(piece, text)
            except InputError as error:
                if QUOTES_MAY_BE_TEXT not in str(error):
                    raise
                text = replace(text, quote="")
                table = read_rows(piece, text)
        if not table.num_rows:
            continue
        columns = {name: table[name].combine_chunks() for name in dict.fromkeys(table.column_names)}
        for name, value in piece.folder_values.items():
            columns.setdefault(name, pa.array([value] * table.num_rows, pa.string()))
        return FirstRows(tuple(sources), columns, text)
    raise InputError(f"the input {path} has no rows; check the path and the files it names")


def _read_columns(piece: FilePiece, text: TextFormat) -> pa.Table:
    header = column_names(piece, text)
    names = [name for name, columns in Counter(header).items() if columns == 1]
    batch = next(read(piece, {name: name for name in names}, text), None)
    if batch is None:
        return pa.table({})
    if batch.unreadable and not len(batch.rows):
        why = batch.unreadable[0].why
        raise InputError(f"{piece.address} has no row that can be read: the first has {why}; the header is {header}")
    return pa.table({name: batch.values[name].slice(0, _ROWS) for name in names})


def _read_json(piece: FilePiece, text: TextFormat) -> pa.Table:
    rows = []
    for line in next(json_lines(piece, text), b"").split(b"\n", _ROWS)[:_ROWS]:
        try:
            row = json.loads(line, parse_int=_Digits)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _json_column(row.get(name) for row in rows) for name in names})


class _Digits(str):
    """The digits of a JSON integer, of any size."""

    __slots__ = ()


def _json_column(values: Iterable[Any]) -> pa.Array:
    cells = list(values)
    kinds = {type(value) for value in cells if value is not None}
    if kinds <= {_Digits, float} and float in kinds:
        return pa.array([None if value is None else float(value) for value in cells], pa.float64())
    if kinds <= {_Digits, str}:
        if kinds == {_Digits}:
            try:
                return pa.array([None if value is None else int(value) for value in cells], pa.int64())
            except (OverflowError, ValueError):  # beyond 64 bits; beyond what Python converts
                pass
        # Half a surrogate pair, which JSON can hold and UTF-8 can't, is ingest's to judge.
        return pa.array([value and value.encode(errors="replace").decode() for value in cells], pa.string())
    # Lists, objects and flags are no ids, weights or times: a type that says so.
    return pa.array([None if value is None else True for value in cells], pa.bool_())
