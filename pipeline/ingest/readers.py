"""Files to batches of raw columns, whatever their format; rows are judged elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.addresses import filesystem_of, naming
from pipeline.ingest.lake import tables
from pipeline.ingest.pieces import FilePiece
from pipeline.ingest.raw_batch import RawBatch, refuse_missing
from pipeline.ingest.rejected import is_text
from pipeline.ingest.text.csv_rows import CsvFile
from pipeline.ingest.text.formats import BY_NAME, TextFormat
from pipeline.ingest.text.json_rows import json_keys, json_lines, read_json

if TYPE_CHECKING:
    from pipeline.ingest.lake.delta import DeltaFile, DeltaVersion

_BATCH_ROWS = 262_144
_BATCH_BYTES = 64 * 2**20


def read(piece: FilePiece, columns: Mapping[str, str], text: TextFormat = BY_NAME) -> Iterator[RawBatch]:
    """Yield a piece of a file in batches.

    A column that the path names (``event=click/``) has its value from there, as in Spark.

    Parameters
    ----------
    columns : role -> the column's name in the input.
    text : how text files are read, and which texts stand for no value in files of any format.

    Raises
    ------
    InputError : a missing column, or a file that can't be read or whose rows can't be told apart.
    """
    of_path = {role: piece.folder_values[name] for role, name in columns.items() if name in piece.folder_values}
    inside = {role: name for role, name in columns.items() if role not in of_path}
    for batch in _read_raw(piece, inside, text):
        n = len(batch.rows)
        batch.values = {role: to_plain(values) for role, values in batch.values.items()}
        for role, value in of_path.items():
            batch.values[role] = pa.repeat(pa.scalar(value, pa.string()), n)
        if text.null_values:
            batch.values = {role: _without(values, text.null_values) for role, values in batch.values.items()}
        yield batch


def _read_raw(piece: FilePiece, columns: Mapping[str, str], text: TextFormat) -> Iterator[RawBatch]:
    if piece.snapshot is not None:
        return _read_lake(piece, columns)
    if piece.format == "csv":
        return CsvFile(piece, text).rows(columns)
    return read_json(piece, columns, text) if piece.format == "json" else _read_parquet(piece, columns)


def column_names(piece: FilePiece, text: TextFormat) -> list[str]:
    """Return the names of a file's columns; of JSON, the keys of its first objects.

    Raises
    ------
    InputError : a file that can't be read.
    """
    if piece.snapshot is not None:
        return tables.open_snapshot(piece.snapshot).columns
    if piece.format == "csv":
        return CsvFile(piece, text).names or []
    if piece.format == "json":
        return json_keys(next(json_lines(piece, text), b""))
    filesystem, path = filesystem_of(piece.address)
    with naming(piece.address, "parquet"), pq.ParquetFile(path, filesystem=filesystem) as file:
        return list(file.schema_arrow.names)


def to_plain(values: pa.Array) -> pa.Array:
    """Return a column without dictionaries, views and extensions of types."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return to_plain(values.storage)
    if pa.types.is_dictionary(kind):
        return to_plain(values.dictionary_decode())
    if pa.types.is_list(kind) and kind.value_type in _LAYOUTS:
        return values.cast(pa.list_(_LAYOUTS[kind.value_type]))
    return values.cast(_LAYOUTS[kind]) if kind in _LAYOUTS else values


_LAYOUTS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


def _without(values: pa.Array, null_values: Sequence[str]) -> pa.Array:
    """Return a column with nulls for texts that stand for no value; -999 does so as a number, too."""
    kind = values.type
    if is_text(kind):
        # As bytes: what is no UTF-8 is judged later.
        raw = pa.binary() if pa.types.is_string(kind) else pa.large_binary()
        stands_for_none = pc.is_in(values.cast(raw), value_set=pa.array([text.encode() for text in null_values], raw))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = [number for text in null_values for number in _number_of(text, kind)]
        stands_for_none = pc.is_in(values, value_set=pa.array(numbers, kind))
    else:
        return values
    return pc.if_else(stands_for_none, pa.scalar(None, kind), values)


def _number_of(text: str, kind: pa.DataType) -> Iterator[Any]:
    """Yield the number of a type that is written as a text; nothing where there is none: 007 is not 7."""
    try:
        number = Decimal(text)
        if pa.types.is_floating(kind) and (number.is_nan() or str(number) == text):
            yield float(number)
        elif number.is_finite() and str(number) == text:
            yield pa.array([number]).cast(kind)[0]
    except (InvalidOperation, OverflowError, pa.ArrowInvalid):
        return


def _read_parquet(piece: FilePiece, columns: Mapping[str, str]) -> Iterator[RawBatch]:
    with _parquet_file(piece) as file:
        refuse_missing(piece, columns, file.schema_arrow.names)
        for rows, batch in _batches(piece, file, list(dict.fromkeys(columns.values()))):
            yield RawBatch(rows, {role: batch.column(name) for role, name in columns.items()})


def _parquet_file(piece: FilePiece) -> pq.ParquetFile:
    filesystem, path = filesystem_of(piece.address)
    is_remote = not isinstance(filesystem, pafs.LocalFileSystem)
    with naming(piece.address, "parquet"):
        # INT96 as nanoseconds wraps beyond 1677 to 2262: 9999-12-31 would be a day of 1816.
        # Checksums of pages are there if the writer makes them, as Spark does.
        return pq.ParquetFile(
            path,
            filesystem=filesystem,
            pre_buffer=is_remote,
            coerce_int96_timestamp_unit="us",
            page_checksum_verification=True,
        )


def _batches(
    piece: FilePiece, file: pq.ParquetFile, names: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Yield columns of a piece's row groups, with the numbers of the rows in the file."""
    groups = range(*(piece.row_groups or (0, file.num_row_groups)))
    batches = file.iter_batches(_batch_rows(file, groups, names), list(groups), names, use_threads=False)
    row = piece.first_row
    stop = row + sum(file.metadata.row_group(group).num_rows for group in groups)
    while True:
        with naming(piece.address, "parquet"):
            batch = next(batches, None)
        if batch is None:
            break
        rows = np.arange(row, row + batch.num_rows)
        row += batch.num_rows
        yield rows, batch
    if row != stop:
        raise InputError(
            f"{piece.address} says that it has {stop - piece.first_row:,} rows in row groups {list(groups)}, and "
            f"{row - piece.first_row:,} can be read; write or copy it again"
        )


def _read_lake(piece: FilePiece, columns: Mapping[str, str]) -> Iterator[RawBatch]:
    """Read a file of a lake table as the table has it: its columns, without the rows that were deleted."""
    snapshot = piece.snapshot
    assert snapshot is not None  # of which the piece is a file
    version = tables.open_snapshot(snapshot)
    refuse_missing(piece, columns, version.columns)
    names = list(dict.fromkeys(columns.values()))
    batches = (
        _read_delta(piece, cast("DeltaVersion", version).views[piece.relative], names)
        if snapshot.kind == "Delta"
        else tables.read_iceberg(snapshot, piece.relative, names)
    )
    for rows, values in batches:
        yield RawBatch(rows, {role: values[name] for role, name in columns.items()})


def _read_delta(
    piece: FilePiece, view: DeltaFile, names: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], dict[str, pa.Array]]]:
    with _parquet_file(piece) as file:
        names_in_file = view.columns_in_file(names, file.schema_arrow.names)
        for rows, batch in _batches(piece, file, names_in_file):
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
