"""Checksums of each column of each row group of a Parquet file. Readers compare them with the bytes that they read.

They stand in the release's manifest: Parquet's own page checksums would change the bytes of the file.
"""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_DIGITS = 8  # of a CRC-32 as hex
_CHUNK = 2**20  # read at once where files are mapped: stays in the cache


def checksum_columns(path: Path) -> list[str]:
    """Return one text per row group: the CRC-32 of the stored bytes of each leaf column, in the schema's order."""
    with pa.memory_map(str(path)) as source:
        footer = pq.read_metadata(source)
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        return ["".join(_crc32_of(source, start, size) for _, start, size in columns_of(group)) for group in groups]


def find_damaged_column(
    source: pa.NativeFile, group: pq.RowGroupMetaData, checksums: str, names: Sequence[str]
) -> str | None:
    """Return the first of some columns of a row group whose bytes differ from its checksum; None if there is none.

    Parameters
    ----------
    source : the file. checksums : what :func:`checksum_columns` returned for the row group.
    """
    for leaf, (name, start, size) in enumerate(columns_of(group)):
        if name in names and _crc32_of(source, start, size) != checksums[leaf * _DIGITS : (leaf + 1) * _DIGITS]:
            return name
    return None


def columns_of(group: pq.RowGroupMetaData) -> Iterator[tuple[str, int, int]]:
    """Yield of each leaf the name of its column, and the position and number of its bytes."""
    for number in range(group.num_columns):
        leaf = group.column(number)
        start = leaf.dictionary_page_offset if leaf.has_dictionary_page else leaf.data_page_offset
        yield leaf.path_in_schema.split(".")[0], start, leaf.total_compressed_size


def _crc32_of(source: pa.NativeFile, start: int, size: int) -> str:
    crc = 0
    for position in range(start, start + size, _CHUNK):
        crc = zlib.crc32(source.read_at(min(_CHUNK, start + size - position), position), crc)
    return f"{crc:0{_DIGITS}x}"
