"""Some rows of a column of vectors in Parquet files, copied from where they lie.

To Parquet a vector is a list, and a reader decodes two levels of each of its entries. Where pages are plain and not
compressed, as in published tables, the place of a vector follows from its number; then only chosen rows are touched.
"""

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.locations import Location
from pipeline.storage import files

#: Thrift's compact protocol: what a field is, by the lower half of its first byte.
_TRUE, _FALSE, _NUMBERS, _TEXT, _STRUCT = 1, 2, (4, 5, 6), 8, 12
_DATA_PAGE, _PLAIN = 0, 0


def take_vectors(locations: Sequence[Location], name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return rows of a column of float32 lists of one length, without nulls.

    Parameters
    ----------
    rows : (n,) int64, ascending, each once: numbers of rows over all files.

    Cost
    ----
    What the rows take, of pages as they are written; of others, their row groups, decoded.
    """
    first = 0
    pieces = []
    for path in map(files.local_file, locations):
        with pq.ParquetFile(path, pre_buffer=False) as file:
            stop = first + file.metadata.num_rows
            pieces.append(_take(path, file, name, rows[slice(*np.searchsorted(rows, (first, stop)))] - first))
            first = stop
    return np.concatenate(pieces)


def _take(path: Path, file: pq.ParquetFile, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    dim = file.schema_arrow.field(name).type.list_size
    vectors = np.empty((rows.size, dim), np.float32)
    first = 0
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as data:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            span = slice(*np.searchsorted(rows, (first, first + group.num_rows)))
            local_rows, out = rows[span] - first, vectors[span]
            first += group.num_rows
            if not local_rows.size:
                continue
            pages = _plain_pages(data, group, name)
            if pages is None:
                column = file.read_row_group(number, columns=[name])[name].combine_chunks()
                out[:] = column.flatten().to_numpy().reshape(-1, dim)[local_rows]
            else:
                _copy(data, pages, local_rows, out)
    return vectors


def _copy(data: mmap.mmap, pages: list[tuple[int, int]], rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    """Copy rows of a row group from its pages, each given by where its values begin and how many there are."""
    dim = out.shape[1]
    vectors, flat = out.view(np.uint8), out.reshape(-1)
    first = 0  # value of the page among those of the row group
    for start, count in pages:
        stop = first + count
        skip = -first % dim  # of a row that began in the page before
        whole = max(count - skip, 0) // dim
        span = slice(*np.searchsorted(rows, ((first + skip) // dim, (first + skip) // dim + whole)))
        # As bytes: values may lie at any address, and numpy would copy all of them to take some.
        of_page = np.frombuffer(data, np.uint8, whole * dim * 4, start + skip * 4 * (whole > 0)).reshape(-1, dim * 4)
        np.take(of_page, rows[span] - (first + skip) // dim, axis=0, out=vectors[span])
        for at in {max(span.start - 1, 0), min(span.stop, rows.size - 1)}:  # rows that lie in two pages
            begin, end = max(first, int(rows[at]) * dim), min(stop, (int(rows[at]) + 1) * dim)
            if begin < end:
                shift = (at - int(rows[at])) * dim
                flat[begin + shift : end + shift] = np.frombuffer(data, "<f4", count, start)[
                    begin - first : end - first
                ]
        first = stop


def _plain_pages(data: mmap.mmap, group: pq.RowGroupMetaData, name: str) -> list[tuple[int, int]] | None:
    """Return of each page of a column where its values begin and how many there are; None: they must be decoded."""
    columns = (group.column(number) for number in range(group.num_columns))
    chunk = next(column for column in columns if column.path_in_schema.split(".")[0] == name)
    if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page or chunk.physical_type != "FLOAT":
        return None
    position, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    pages = []
    while position < end:
        header, position = _read_struct(data, position)
        size, about = header.get(3), header.get(5)
        if header.get(1) != _DATA_PAGE or not isinstance(size, int) or not isinstance(about, dict):
            return None
        count, levels = about[1], 0
        for _ in range(2):  # of repetition, then of definition: a length, and as many bytes
            levels += 4 + struct.unpack_from("<I", data, position + levels)[0]
        if about[2] != _PLAIN or size - levels != 4 * count:  # else some are null
            return None
        pages.append((position + levels, count))
        position += size
    return pages


def _read_struct(data: mmap.mmap, position: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct in Thrift's compact protocol, by number, and where it ends; of texts the length.

    Raises
    ------
    ValueError : a field that no header of a page has.
    """
    fields: dict[int, Any] = {}
    number = 0
    while head := data[position]:
        number, kind, position = number + (head >> 4), head & 15, position + 1
        if not head >> 4:
            raise ValueError(f"field of type {kind} without a step")
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        elif kind in _NUMBERS:
            value, position = _read_varint(data, position)
            fields[number] = value >> 1 ^ -(value & 1)
        elif kind == _TEXT:
            fields[number], position = _read_varint(data, position)
            position += fields[number]
        elif kind == _STRUCT:
            fields[number], position = _read_struct(data, position)
        else:
            raise ValueError(f"field {number} of type {kind}")
    return fields, position + 1


def _read_varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
