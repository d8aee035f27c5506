"""Files to batches of raw columns: Parquet, CSV and JSON lines, each in its own way, none judged here.

Text formats give text: a 20-digit id is no double, and "NA" is an id, not a null.
"""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.json as pajson
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest import lake
from pipeline.ingest.sources import FORMAT_NAMES, Piece, filesystem_of, naming

if TYPE_CHECKING:
    from pipeline.ingest.delta import DeltaFile

_BATCH_ROWS = 262_144
_BATCH_BYTES = 64 * 2**20
_TEXT_BLOCK = 8 * 2**20
_IDS = ("source", "target")


def attribute_role(node_type: str, kind: str, name: str = "") -> str:
    """Return the role of a column of [attributes.<node type>]: its id, or one of numbers, categories and lists."""
    return f"attributes.{node_type}\0{kind}" + (f".{name}" if name else "")


def _kind(role: str) -> str:
    """What a column is to be read as: its role or, of attributes, "id", "numbers", "categories" or "lists"."""
    if role in _IDS:
        return "id"
    return role.partition("\0")[2].partition(".")[0] if "\0" in role else role


@dataclass
class RawBatch:
    """Rows as they stand in a file: ``values`` by role ("source", "weight", ...), of any Arrow type."""

    rows: NDArray[np.int64]  # number of each row in its file, from 0, headers and blank lines not counted
    values: dict[str, pa.Array]
    wrong_type: NDArray[np.bool_] | None = None  # rows with a value that its column can't hold, such as an id [1]
    broken: list[tuple[int, str]] = field(default_factory=list)  # (row, text) of lines that are no rows at all


def read(piece: Piece, columns: Mapping[str, str]) -> Iterator[RawBatch]:
    """Yield a piece of a file in batches.

    A column told by the path (``event=click/``) is taken from there, as Spark does.

    Parameters
    ----------
    columns : role -> the column's name in the input.

    Raises
    ------
    InputError : a missing column, or a file that can't be read.
    """
    told = {role: piece.folder_values[name] for role, name in columns.items() if name in piece.folder_values}
    inside = {role: name for role, name in columns.items() if role not in told}
    reader = {"parquet": _read_parquet, "csv": _read_csv, "json": _read_json}[piece.format]
    if piece.snapshot is not None:
        reader = _read_lake
    for batch in reader(piece, inside):
        n = len(batch.rows)
        for role, value in told.items():
            batch.values[role] = pa.array([value], pa.string()).take(pa.array(np.zeros(n, np.int64)))
        yield batch


def _read_parquet(piece: Piece, columns: Mapping[str, str]) -> Iterator[RawBatch]:
    with _parquet_file(piece) as file:
        _refuse_missing(piece, columns, file.schema_arrow.names)
        for rows, batch in _batches(piece, file, list(dict.fromkeys(columns.values()))):
            yield RawBatch(rows, {role: batch.column(name) for role, name in columns.items()})


def _parquet_file(piece: Piece) -> pq.ParquetFile:
    filesystem, path = filesystem_of(piece.address)
    is_remote = not isinstance(filesystem, pafs.LocalFileSystem)
    with naming(piece.address, "parquet"):
        return pq.ParquetFile(path, filesystem=filesystem, pre_buffer=is_remote)


def _batches(
    piece: Piece, file: pq.ParquetFile, names: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Yield columns of a piece's row groups, with the numbers of the rows in the file."""
    groups = range(*(piece.row_groups or (0, file.num_row_groups)))
    batches = file.iter_batches(_batch_rows(file, groups, names), list(groups), names, use_threads=False)
    row = piece.first_row
    while True:
        with naming(piece.address, "parquet"):
            batch = next(batches, None)
        if batch is None:
            return
        rows = np.arange(row, row + batch.num_rows)
        row += batch.num_rows
        yield rows, batch


def _read_lake(piece: Piece, columns: Mapping[str, str]) -> Iterator[RawBatch]:
    """Read a file of a lake table as the table has it: its columns, without the rows that were deleted."""
    snapshot = piece.snapshot
    if snapshot is None:
        raise ValueError(f"{piece.address} is of no lake table")
    _refuse_missing(piece, columns, lake.columns_of(snapshot))
    names = list(dict.fromkeys(columns.values()))
    batches = (
        _read_delta(piece, lake.delta_file(snapshot, piece.relative), names)
        if snapshot.kind == "Delta"
        else lake.read(snapshot, piece.relative, names)
    )
    for rows, values in batches:
        yield RawBatch(rows, {role: values[name] for role, name in columns.items()})


def _read_delta(
    piece: Piece, view: DeltaFile, names: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], dict[str, pa.Array]]]:
    with _parquet_file(piece) as file:
        stored = view.stored(names, file.schema_arrow.names)
        for rows, batch in _batches(piece, file, stored):
            with naming(piece.address, "parquet"):  # a value that the table's type can't hold
                left, values = view.complete(rows, batch, names)
            yield left, values


def _batch_rows(file: pq.ParquetFile, groups: Sequence[int], names: Sequence[str]) -> int:
    """Rows a batch, fewer where they are wide: ids may be 4 KiB each."""
    rows = size = 0
    for number in groups:
        group = file.metadata.row_group(number)
        rows += group.num_rows
        chunks = (group.column(column) for column in range(group.num_columns))
        size += sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in names)
    return max(1_024, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(size, 1)))


def _read_csv(piece: Piece, columns: Mapping[str, str]) -> Iterator[RawBatch]:
    broken: list[tuple[int, str]] = []

    def set_aside(row: pacsv.InvalidRow) -> str:
        broken.append((row.number - 2, row.text))  # numbered from 1, and the header is 1
        return "skip"

    names = list(dict.fromkeys(columns.values()))
    with _text_stream(piece) as stream, naming(piece.address, "csv"):
        try:
            reader = pacsv.open_csv(
                stream,
                # One thread: row numbers are known only there. The tasks run side by side.
                read_options=pacsv.ReadOptions(use_threads=False, block_size=_TEXT_BLOCK),
                parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=set_aside),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    include_columns=names,
                    null_values=[""],
                    strings_can_be_null=True,
                    check_utf8=False,  # row by row later: one bad byte must not refuse the file
                ),
            )
        except KeyError:
            reader = None
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):  # Spark writes a part without rows as no bytes at all
                return
            raise
        if reader is None:
            _refuse_missing(piece, columns, _csv_header(piece))
            raise InputError(f"{piece.address} has a header that can't be read; write one line of column names")
        row = told = 0
        while True:
            with naming(piece.address, "csv"):
                batch = next(iter(reader), None)
            if batch is None:
                break
            # Rows set aside keep their number: good row g is the g-th that is not among them.
            gaps = np.array([number for number, _ in broken], np.int64) - np.arange(len(broken))
            rows = np.arange(row, row + batch.num_rows)
            row += batch.num_rows
            rows += np.searchsorted(gaps, rows, side="right")
            values = {role: batch.column(batch.schema.get_field_index(name)) for role, name in columns.items()}
            ahead = len(broken)
            yield RawBatch(rows, values, broken=broken[told:ahead])
            told = ahead
        if broken[told:]:
            none = {role: pa.nulls(0, pa.string()) for role in columns}
            yield RawBatch(np.empty(0, np.int64), none, broken=broken[told:])


def _csv_header(piece: Piece) -> list[str]:
    with _text_stream(piece) as stream:
        line = stream.read(2**16).decode("utf-8-sig", errors="replace").splitlines()[0]
    return next(csv.reader([line]), [])


def _text_stream(piece: Piece) -> pa.NativeFile:
    filesystem, path = filesystem_of(piece.address)
    with naming(piece.address, piece.format):
        return filesystem.open_input_stream(path, compression="gzip" if piece.is_gzipped else None)


def _read_json(piece: Piece, columns: Mapping[str, str]) -> Iterator[RawBatch]:
    row = 0
    with _text_stream(piece) as stream:
        for block in _blocks_of_lines(piece, stream):
            if row == 0:
                block = block.removeprefix(b"\xef\xbb\xbf")
                _refuse_array(piece, block)
            batch = _json_by_arrow(block, columns) or _json_by_python(block, columns)
            if row == 0:
                _refuse_missing_keys(piece, columns, batch, block)
            batch.broken = [(row + number, text) for number, text in batch.broken]
            batch.rows += row
            row += len(batch.rows) + len(batch.broken)
            yield batch


def _blocks_of_lines(piece: Piece, stream: pa.NativeFile) -> Iterator[bytes]:
    """Yield blocks that end where a line ends."""
    parts: list[bytes] = []
    while True:
        with naming(piece.address, "json"):
            chunk = stream.read(_TEXT_BLOCK)
        if not chunk:
            break
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield b"".join([*parts, head, newline])
            parts = []
        if tail:
            parts.append(tail)
    if parts:
        yield b"".join(parts)


def _refuse_array(piece: Piece, block: bytes) -> None:
    if block.lstrip()[:1] == b"[":
        raise InputError(
            f"{piece.address} is one JSON array, not one object a line; convert it: jq -c '.[]' FILE.json > FILE.jsonl"
        )


class _Int(str):
    """The digits of a JSON integer: of any size."""

    __slots__ = ()


class _Float(str):
    """The digits of any other JSON number."""

    __slots__ = ()


def _load(line: bytes) -> Any:
    # surrogateescape: bytes that are no UTF-8 come out as they went in, and are judged with the ids.
    return json.loads(
        line.decode("utf-8", "surrogateescape"), parse_int=_Int, parse_float=_Float, parse_constant=_Float
    )


def _json_by_arrow(block: bytes, columns: Mapping[str, str]) -> RawBatch | None:
    """Read a block whose columns hold one kind of value each, as in its first line; None if they don't."""
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
        if isinstance(value, (_Int, _Float)) and _kind(role) in ("weight", "numbers"):
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
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if table.num_rows != lines and table.num_rows != sum(not line.isspace() for line in _lines(block)):
        return None  # two objects on a line, or one over two: pyarrow takes them, the other path does not
    values = {role: _one_chunk(table.column(name)) for role, name in columns.items()}
    return RawBatch(np.arange(table.num_rows), values)


def _json_by_python(block: bytes, columns: Mapping[str, str]) -> RawBatch:
    """Read a block line by line: kinds may be mixed, integers of any size, lines broken."""
    rows: list[int] = []
    broken: list[tuple[int, str]] = []
    values: dict[str, list[str | None]] = {role: [] for role in columns}
    wrong: list[bool] = []
    kinds = {role: _kind(role) for role in columns}
    for number, line in enumerate(line for line in _lines(block) if not line.isspace()):
        try:
            row = _load(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            broken.append((number, line.decode(errors="replace").strip()))
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
    return RawBatch(np.array(rows, np.int64), arrays, np.array(wrong, np.bool_), broken)


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


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)


def _refuse_missing_keys(piece: Piece, columns: Mapping[str, str], batch: RawBatch, block: bytes) -> None:
    """Refuse a column whose key no object of the first block has: it was misnamed, not left out."""
    doubtful = [role for role, values in batch.values.items() if len(values) and values.null_count == len(values)]
    if not doubtful:
        return
    keys: dict[str, None] = {}
    for line in _lines(block):
        try:
            row = _load(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            keys.update(dict.fromkeys(row))
    _refuse_missing(piece, {role: columns[role] for role in doubtful}, list(keys))


def _refuse_missing(piece: Piece, columns: Mapping[str, str], found: Sequence[str]) -> None:
    for role, name in columns.items():
        if found.count(name) == 1:
            continue
        where = f"{piece.address} ({FORMAT_NAMES[piece.format]})"
        if name in found:
            raise InputError(f"{where} has {found.count(name)} columns named '{name}'; give each its own name")
        near = difflib.get_close_matches(name, found, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        if len(found) == 1 and (other := next((mark for mark in ";\t|" if mark in found[0]), None)):
            hint = f" Its columns are parted by {other!r}; CSV here means commas."
        key = role.replace("\0", ".") if "\0" in role else f"input.{role}"
        raise InputError(f"{where} has no column '{name}' ({key}); it has {list(found)}.{hint}")
