"""The first rows of an input as they stand, of any format: what a guess about its columns is made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.ingest.lake import columns_of
from pipeline.ingest.readers import read
from pipeline.ingest.sources import Piece, SourceFile, filesystem_of, list_sources, naming

_ROWS = 2_000
_BYTES = 2**20


@dataclass(frozen=True)
class FirstRows:
    """``columns`` by name, a few thousand values at most, in the types that ingest will see them in."""

    sources: tuple[SourceFile, ...]
    columns: Mapping[str, pa.Array]


def first_rows(path: str) -> FirstRows:
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
            table = first(piece) if source.snapshot is None else _of_lake(piece, columns_of(source.snapshot))
        if not table.num_rows:
            continue
        found = {name: table[name].combine_chunks() for name in dict.fromkeys(table.column_names)}
        for name, value in piece.folder_values.items():
            found.setdefault(name, pa.array([value] * table.num_rows, pa.string()))
        return FirstRows(tuple(sources), found)
    raise InputError(f"the input {path} has no rows; check the path and the files it names")


def _of_parquet(piece: Piece) -> pa.Table:
    filesystem, path = filesystem_of(piece.address)
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        batch = next(file.iter_batches(_ROWS), None)
        return file.schema_arrow.empty_table() if batch is None else pa.Table.from_batches([batch])


def _of_lake(piece: Piece, names: Sequence[str]) -> pa.Table:
    batch = next(read(piece, {name: name for name in names}), None)
    return pa.table({} if batch is None else {name: batch.values[name].slice(0, _ROWS) for name in names})


def _of_csv(piece: Piece) -> pa.Table:
    lines, is_whole = _first_lines(piece)
    if not lines:
        return pa.table({})
    data = b"\n".join(lines) + b"\n"

    def skip(row: Any) -> str:  # noqa: ARG001  (broken lines are ingest's to judge)
        return "skip"

    parse = pacsv.ParseOptions(newlines_in_values=is_whole, invalid_row_handler=skip)
    with pacsv.open_csv(pa.BufferReader(data), parse_options=parse) as reader:
        names = reader.schema.names
    if len(names) == 1 and (mark := next((mark for mark in ";\t|" if mark in names[0]), None)):
        raise InputError(f"{piece.address} has columns parted by {mark!r}; CSV here means commas: write it again")
    # As ingest reads them: text, since 20 digits are no double and "NA" is an id.
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True, check_utf8=False
    )
    return pacsv.read_csv(pa.BufferReader(data), parse_options=parse, convert_options=convert).slice(0, _ROWS)


def _of_json(piece: Piece) -> pa.Table:
    rows = []
    for line in _first_lines(piece)[0][:_ROWS]:
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


def _first_lines(piece: Piece) -> tuple[list[bytes], bool]:
    """Return whole lines from the start of a text file, and whether they are all of it."""
    filesystem, path = filesystem_of(piece.address)
    with filesystem.open_input_stream(path, compression="gzip" if piece.is_gzipped else None) as stream:
        data = stream.read(_BYTES).removeprefix(b"\xef\xbb\xbf")
        is_whole = not stream.read(1)
    if not is_whole:
        data = data[: data.rfind(b"\n") + 1]
    return [line.removesuffix(b"\r") for line in data.split(b"\n") if line.strip()], is_whole
