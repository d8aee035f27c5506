"""The first rows of an input as they stand, of any format: what a guess about its columns is made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.ingest.csv_rows import CsvFile
from pipeline.ingest.json_rows import json_lines
from pipeline.ingest.readers import column_names, read
from pipeline.ingest.sources import Piece, SourceFile, filesystem_of, list_sources, naming
from pipeline.ingest.text_format import BY_NAME, TextFormat

_ROWS = 2_000


@dataclass(frozen=True)
class FirstRows:
    """``columns`` by name, a few thousand values at most, in the types that ingest will see them in."""

    sources: tuple[SourceFile, ...]
    columns: Mapping[str, pa.Array]


def first_rows(path: str, text: TextFormat = BY_NAME) -> FirstRows:
    """Read the first rows of the first file that has any.

    Raises
    ------
    InputError : nothing there, unreadable, or no rows at all.
    """
    sources = list_sources(path)
    for source in sources:
        piece = Piece(source.relative, source.address, source.format, snapshot=source.snapshot)
        first = {"parquet": _of_parquet, "csv": _of_csv, "json": _of_json}[source.format]
        with naming(source.address, source.format):
            table = (first if source.snapshot is None else _of_lake)(piece, text)
        if not table.num_rows:
            continue
        found = {name: table[name].combine_chunks() for name in dict.fromkeys(table.column_names)}
        for name, value in piece.folder_values.items():
            found.setdefault(name, pa.array([value] * table.num_rows, pa.string()))
        return FirstRows(tuple(sources), found)
    raise InputError(f"the input {path} has no rows; check the path and the files it names")


def _of_parquet(piece: Piece, text: TextFormat) -> pa.Table:  # noqa: ARG001
    filesystem, path = filesystem_of(piece.address)
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        batch = next(file.iter_batches(_ROWS), None)
        return file.schema_arrow.empty_table() if batch is None else pa.Table.from_batches([batch])


def _of_lake(piece: Piece, text: TextFormat) -> pa.Table:
    names = column_names(piece, text)
    batch = next(read(piece, {name: name for name in names}, text), None)
    return pa.table({} if batch is None else {name: batch.values[name].slice(0, _ROWS) for name in names})


def _of_csv(piece: Piece, text: TextFormat) -> pa.Table:
    file = CsvFile(piece, text)
    known = file.names or []
    if len(known) == 1 and (mark := next((mark for mark in ("::", ";", "\t", "|") if mark in known[0]), None)):
        raise InputError(f"{piece.address} has columns parted by {mark!r}; set input.delimiter")
    names = [name for name in known if known.count(name) == 1]
    batches = file.rows({name: name for name in names})
    tables = [pa.table({name: batch.values[name].slice(0, _ROWS) for name in names}) for batch in islice(batches, 1)]
    return tables[0] if tables else pa.table({})


def _of_json(piece: Piece, text: TextFormat) -> pa.Table:
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
    known = list(values)
    kinds = {type(value) for value in known if value is not None}
    if kinds <= {_Digits, float} and float in kinds:
        return pa.array([None if value is None else float(value) for value in known], pa.float64())
    if kinds <= {_Digits, str}:
        if kinds == {_Digits}:
            try:
                return pa.array([None if value is None else int(value) for value in known], pa.int64())
            except OverflowError:
                pass
        return pa.array(known, pa.string())
    # Lists, objects and flags are no ids, weights or times: a type that says so.
    return pa.array([None if value is None else True for value in known], pa.bool_())
