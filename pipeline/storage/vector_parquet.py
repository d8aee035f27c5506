"""Parquet files with a column of vectors, in the bytes that pyarrow writes and less than half of its time.

To Parquet a vector is a list, and pyarrow encodes two levels for each of its entries. Those of vectors of one length
are alike in row groups of as many rows. So pyarrow encodes them once for each number of rows, and the entries, which
pages hold as they are in memory, are written between them. Columns before and after the vectors are files of pyarrow's
in memory, whose pages are taken over; one footer says where all pages are.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.storage.plain_rows import plain_pages
from pipeline.storage.thrift import Struct, read_struct, write_struct

_MAGIC = b"PAR1"
_I64, _LIST, _STRUCT = 6, 9, 12
#: Numbers of fields in Thrift's structs: of a file's metadata, a row group, a column's chunk, and its metadata.
_ROWS, _GROUPS = 3, 4
_CHUNKS, _GROUP_BYTES, _GROUP_OFFSET, _GROUP_COMPRESSED = 1, 2, 5, 6
_METADATA = 3
_PAGE_OFFSETS = (9, 11)  # of data and of the dictionary


class VectorTableWriter(AbstractContextManager["VectorTableWriter"]):
    """Writes row groups of a table one of whose columns, neither first nor last, holds float32 lists of one length.

    Parameters
    ----------
    schema : of all columns, without nulls in the vectors.
    name : of the vectors. options : pyarrow's; vectors are not compressed.
    """

    def __init__(self, path: Path, schema: pa.Schema, name: str, **options: Any) -> None:
        place = schema.get_field_index(name)
        self._schema, self._field, self._options = schema, schema.field(name), options
        fields = list(schema)
        self._sides = [_Side(pa.schema(some), options) for some in (fields[:place], fields[place + 1 :])]
        self._forms: dict[int, _Form] = {}
        self._pieces: list[tuple[int, list[int]]] = []  # rows of each row group, and where its pieces begin
        self._metadata: dict[Any, Any] = {}
        self._file = path.open("wb")
        self._file.write(_MAGIC)

    def write_group(self, table: pa.Table, vectors: NDArray[np.float32]) -> None:
        """Write a row group: a table of the other columns, and the vectors, (rows, dim) C-contiguous."""
        rows = len(vectors)
        if rows not in self._forms:
            self._forms[rows] = _Form.of(self._field, rows, self._options)
        before, after = self._sides
        starts = [self._file.tell()]
        self._file.write(before.write(table))
        starts.append(self._file.tell())
        flat, first = vectors.reshape(-1), 0
        for head, count in self._forms[rows].pages:
            self._file.write(head)
            self._file.write(flat[first : first + count].data)
            first += count
        starts.append(self._file.tell())
        self._file.write(after.write(table))
        self._pieces.append((rows, starts))

    def add_key_value_metadata(self, metadata: Mapping[Any, Any]) -> None:
        """Add to what the footer states."""
        self._metadata |= metadata

    def __exit__(self, kind: object, *error: object) -> None:
        with self._file:
            if kind is None:
                footer = write_struct(self._footer())
                self._file.write(footer + len(footer).to_bytes(4, "little") + _MAGIC)

    def _footer(self) -> Struct:
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, self._schema, **self._options) as writer:
            writer.add_key_value_metadata(self._metadata)
        footer = _footer_of(sink.getvalue())
        before, after = (side.groups() for side in self._sides)
        groups = []
        for number, (rows, starts) in enumerate(self._pieces):
            pieces = (before[number], self._forms[rows].group, after[number])
            groups.append(_joined(pieces, starts))
        footer[_ROWS] = _I64, sum(rows for rows, _ in self._pieces)
        footer[_GROUPS] = _LIST, (_STRUCT, groups)
        return footer


class _Side:
    """A file of some columns that pyarrow writes in memory; what it has written of a row group is taken from there."""

    def __init__(self, schema: pa.Schema, options: Mapping[str, Any]) -> None:
        self._sink = io.BytesIO()
        self._writer = pq.ParquetWriter(self._sink, schema, **options)
        self._names = schema.names
        self._sink.seek(0)
        self._sink.truncate()

    def write(self, table: pa.Table) -> bytes:
        """Return the pages of a row group's columns."""
        self._writer.write_table(table.select(self._names), row_group_size=table.num_rows)
        return self._taken()

    def groups(self) -> list[Struct]:
        """End the file; return what its footer says of each row group."""
        self._writer.close()
        return list(_groups_of(self._taken()))

    def _taken(self) -> bytes:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return data


class _Form(NamedTuple):
    """What pyarrow writes of vectors beside their entries, for some number of rows."""

    pages: list[tuple[bytes, int]]  # of each page its header and levels, and how many entries follow
    group: Struct

    @classmethod
    def of(cls, field: pa.Field, rows: int, options: Mapping[str, Any]) -> _Form:
        """Let pyarrow write vectors of zeros."""
        zeros = pa.array(np.zeros(rows * field.type.list_size, np.float32))
        sink, schema = io.BytesIO(), pa.schema([field])
        with pq.ParquetWriter(sink, schema, **options) as writer:
            vectors = pa.FixedSizeListArray.from_arrays(zeros, type=field.type)
            writer.write_table(pa.Table.from_arrays([vectors], schema=schema), row_group_size=rows)
        with sink.getbuffer() as data:
            places = plain_pages(data, pq.read_metadata(sink).row_group(0), field.name)
            if places is None:
                raise RuntimeError(
                    f"this pyarrow, {pa.__version__}, does not write pages of {field.name} that are plain"
                )
            ends = [len(_MAGIC), *(start + 4 * count for start, count in places)]
            pages = [(bytes(data[end:start]), count) for end, (start, count) in zip(ends, places, strict=False)]
            (group,) = _groups_of(data)
        return cls(pages, group)


def _footer_of(data: bytes | memoryview) -> Struct:
    size = int.from_bytes(data[-8:-4], "little")
    return read_struct(bytes(data[-8 - size : -8]), 0)[0]


def _groups_of(data: bytes | memoryview) -> list[Struct]:
    groups: list[Struct] = _footer_of(data)[_GROUPS][1][1]
    return groups


def _joined(pieces: tuple[Struct, ...], starts: list[int]) -> Struct:
    """Return the metadata of a row group whose columns were written in pieces, which begin at ``starts``."""
    joined: Struct = dict(pieces[0])
    chunks = []
    for piece, start in zip(pieces, starts, strict=True):
        moved = start - piece[_GROUP_OFFSET][1]
        for chunk in piece[_CHUNKS][1][1]:
            kind, about = chunk[_METADATA]
            offsets = {key: (_I64, about[key][1] + moved) for key in _PAGE_OFFSETS if key in about}
            chunks.append(chunk | {_METADATA: (kind, about | offsets)})
    joined[_CHUNKS] = _LIST, (_STRUCT, chunks)
    for key in (_GROUP_BYTES, _GROUP_COMPRESSED):
        joined[key] = _I64, sum(piece[key][1] for piece in pieces)
    joined[_GROUP_OFFSET] = _I64, starts[0]
    return joined
