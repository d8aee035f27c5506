"""Checksums of each column of each row group of a Parquet file: what a reader holds the bytes against that it reads.

Parquet's own page checksums would be in the file, and change its bytes; these stand in the release's manifest.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_DIGITS = 8  # of a CRC-32 as hex


def column_sums(path: Path) -> list[str]:
    """Return a text a row group: the CRC-32 of each leaf column's bytes as stored, in the order of the schema."""
    with pa.memory_map(str(path)) as source:
        footer = pq.read_metadata(source)
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        return ["".join(_sum_of(source, start, size) for _, start, size in _columns_of(group)) for group in groups]


def damaged_column(source: pa.NativeFile, group: pq.RowGroupMetaData, sums: str, names: Sequence[str]) -> str | None:
    """Return the first of some columns of a row group whose bytes are not those of its checksum; None if all are.

    Parameters
    ----------
    source : the file. sums : what :func:`column_sums` says of the row group.
    """
    for place, (name, start, size) in enumerate(_columns_of(group)):
        if name in names and _sum_of(source, start, size) != sums[place * _DIGITS : (place + 1) * _DIGITS]:
            return name
    return None


def _columns_of(group: pq.RowGroupMetaData) -> Iterator[tuple[str, int, int]]:
    """Yield the column that each leaf belongs to, and where its bytes begin and how many there are."""
    for number in range(group.num_columns):
        leaf = group.column(number)
        start = leaf.dictionary_page_offset if leaf.has_dictionary_page else leaf.data_page_offset
        yield leaf.path_in_schema.split(".")[0], start, leaf.total_compressed_size


def _sum_of(source: pa.NativeFile, start: int, size: int) -> str:
    return f"{zlib.crc32(source.read_at(size, start)):0{_DIGITS}x}"
