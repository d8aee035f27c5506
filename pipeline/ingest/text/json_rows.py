"""JSON lines and JSON arrays to batches of raw columns.

Text stays text: a 20-digit id is no double, and "NA" is an id, not a null. An array is read as its elements, a
line each.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pajson

from pipeline.ingest.pieces import FilePiece
from pipeline.ingest.raw_batch import BrokenLine, RawBatch, kind_of, one_chunk, refuse_missing
from pipeline.ingest.text.formats import TextFormat
from pipeline.ingest.text.json_array import lines_of_array
from pipeline.ingest.text.stream import cut_at_lines, text_chunks

_PRETTY = " (one over several lines? 'jq -c .' writes each on one)"


def read_json(piece: FilePiece, columns: Mapping[str, str], text: TextFormat) -> Iterator[RawBatch]:
    """Yield the objects of a file; a row is a line that is not blank, or an element."""
    row = 0
    absent, keys = dict(columns), list[str]()  # columns that no object has had yet; keys of the first objects
    for block in json_lines(piece, text):
        batch = _json_by_arrow(block, columns) or _json_by_python(block, columns)
        absent = {role: name for role, name in absent.items() if batch.values[role].null_count == len(batch.rows)}
        if absent and not keys:
            keys = json_keys(block)
            absent = {role: name for role, name in absent.items() if name not in keys}
        elif absent:  # parsing every block once more is dear
            absent = {role: name for role, name in absent.items() if f'"{name}"'.encode() not in block}
        batch.blank_lines = len(_lines(block)) - len(batch.rows) - len(batch.unreadable)
        batch.unreadable = [line._replace(row=row + line.row) for line in batch.unreadable]
        batch.rows += row
        row += len(batch.rows) + len(batch.unreadable)
        yield batch
    if keys:  # else no line is an object, and each is rejected
        refuse_missing(piece, absent, keys)


def json_lines(piece: FilePiece, text: TextFormat) -> Iterator[bytes]:
    """Yield blocks of whole lines, an object each if nothing is wrong."""
    chunks = text_chunks(piece, text.encoding)
    start = next((chunk for chunk in chunks if not chunk.isspace()), b"")
    if start.lstrip()[:1] == b"[":
        yield from lines_of_array(piece.address, chain([start], chunks))
        return
    for block in cut_at_lines(piece, chain([start], chunks)):
        # A bare CR ends a line too. It is nothing else in JSON: inside of strings it has to be escaped.
        yield block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block


class _Int(str):
    """The digits of a JSON integer: of any size."""

    __slots__ = ()


class _Float(str):
    """The digits of any other JSON number."""

    __slots__ = ()


def _load(line: bytes) -> Any:
    # surrogateescape: bytes that are no UTF-8 come out as they went in, and are judged with the ids.
    # strict=False: pyarrow takes a bare tab in a string, too.
    return json.loads(
        line.decode("utf-8", "surrogateescape"), parse_int=_Int, parse_float=_Float, parse_constant=_Float, strict=False
    )


def _json_by_arrow(block: bytes, columns: Mapping[str, str]) -> RawBatch | None:
    """Read a block whose columns each hold the kind of value of the first line; None if they don't."""
    if b"\0" in block:  # text has none: a disk or a program wrote over rows
        return None
    first = block.lstrip().partition(b"\n")[0]
    try:
        row = _load(first) if first else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    fields = {}
    for role, name in columns.items():
        value = row.get(name)
        if isinstance(value, (_Int, _Float)) and kind_of(role) in ("weight", "numbers"):
            fields[name] = pa.float64()
        elif isinstance(value, _Int):
            fields[name] = pa.int64()
        elif value is None or type(value) is str:
            fields[name] = pa.string()
        else:
            return None
    try:
        table = pajson.read_json(
            pa.BufferReader(block),
            read_options=pajson.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pajson.ParseOptions(
                explicit_schema=pa.schema(list(fields.items())), unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if table.num_rows != _count_of_objects(block):
        return None  # two objects on a line, or one over two: pyarrow takes them, the other path does not
    values = {role: one_chunk(table.column(name)) for role, name in columns.items()}
    return RawBatch(np.arange(table.num_rows), values)


def _count_of_objects(block: bytes) -> int | None:
    """Return the number of lines that are not blank; None if some don't begin and end as objects do.

    Without this check, an object over two lines, or a blank line, could hide two objects on one line.
    """
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if block.startswith(b"{") and block.rstrip().endswith(b"}") and block.count(b"}\n{") == lines - 1:
        return lines
    objects = [line for line in map(bytes.strip, _lines(block)) if line]
    return len(objects) if all(line.startswith(b"{") and line.endswith(b"}") for line in objects) else None


def _json_by_python(block: bytes, columns: Mapping[str, str]) -> RawBatch:
    """Read a block line by line: kinds may be mixed, integers of any size, lines broken."""
    rows: list[int] = []
    broken_lines: list[BrokenLine] = []
    values: dict[str, list[str | None]] = {role: [] for role in columns}
    wrong: list[bool] = []
    kinds = {role: kind_of(role) for role in columns}
    for number, line in enumerate(line for line in _lines(block) if not line.isspace()):
        try:
            row = _load(line) if b"\0" not in line else None
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            why = "no JSON object" + _PRETTY * (line.strip() == b"{")
            broken_lines.append(BrokenLine(number, line.decode(errors="replace").strip(), why))
            continue
        rows.append(number)
        is_wrong = False
        for role, name in columns.items():
            value, kind = row.get(name), kinds[role]
            if value is not None and not isinstance(value, str):
                # As text no time either.
                is_fine = kind == "timestamp" or (kind, type(value)) in (("categories", bool), ("lists", list))
                value, is_wrong = json.dumps(value), is_wrong or not is_fine
            elif isinstance(value, _Float) and kind in ("id", "categories"):
                is_wrong = True
            elif isinstance(value, _Int) and value == "-0":
                value = "0"  # the number, not the text
            values[role].append(value)
        wrong.append(is_wrong)
    arrays = {role: _strings(column) for role, column in values.items()}
    return RawBatch(np.array(rows, np.int64), arrays, np.array(wrong, np.bool_), unreadable=broken_lines)


def _lines(block: bytes) -> list[bytes]:
    """The lines of a block with their ends, so that none is empty."""
    return [line + b"\n" for line in block.removesuffix(b"\n").split(b"\n")]


def _strings(values: Sequence[str | None]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:  # half a surrogate pair, or bytes that are no UTF-8: kept, and judged later
        raw = [None if value is None else _bytes(value) for value in values]
        return pa.array(raw, pa.binary()).cast(pa.string(), safe=False)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def json_keys(block: bytes) -> list[str]:
    """Return the keys of the objects in some lines, in the order in which they come."""
    keys: dict[str, None] = {}
    for line in _lines(block):
        try:
            row = _load(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            keys.update(dict.fromkeys(row))
    return list(keys)
