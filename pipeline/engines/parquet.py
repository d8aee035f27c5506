"""Batches of rows into Parquet files of a wanted schema and size; sizes of Parquet files from their footers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.locations import Location

ROWS_PER_FILE = 4_000_000
ROWS_PER_FILE_OF_STRINGS = 1_000_000


def rows_per_file(schema: pa.Schema) -> int:
    """Return the rows of a full file: who reads one holds all of it."""
    return ROWS_PER_FILE_OF_STRINGS if pa.string() in schema.types else ROWS_PER_FILE


def ready_to_write(frame: pl.LazyFrame, schema: pa.Schema) -> pl.LazyFrame:
    """Select the columns of a schema, in the form that :func:`write_files` takes."""
    # The names of types repeat in every row: as categories they are written once a file, not once a row.
    return frame.select(schema.names).with_columns(pl.col(_repeated_names(schema)).cast(pl.Categorical))


def write_files(
    batches: Iterable[pl.DataFrame], schema: pa.Schema, rows: int, path_of: Callable[[int], Path]
) -> list[Path]:
    """Write batches one after the other into files of ``rows`` rows; no rows give no files.

    ``path_of`` is given the number of each file, from 0.
    """
    category = pa.dictionary(pa.uint32(), pa.string())
    repeated_names = _repeated_names(schema)
    schema = pa.schema([field.with_type(category) if field.name in repeated_names else field for field in schema])
    cut = _Cut(batches, schema)
    files: list[Path] = []
    while cut.any_left():
        path = path_of(len(files))
        with storage.parquet_writer(path, schema) as writer:
            for table in cut.take(rows):
                writer.write_table(table)
        files.append(path)
    return files


def _repeated_names(schema: pa.Schema) -> list[str]:
    return [name for name in schema.names if name.endswith("_type")]


class _Cut:
    """A stream of batches, taken in pieces of a wanted number of rows."""

    def __init__(self, batches: Iterable[pl.DataFrame], schema: pa.Schema) -> None:
        # Polars' own strings are views or 64-bit; the cast is to what the contract says.
        self._tables = (batch.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema) for batch in batches)
        self._rest = schema.empty_table()

    def any_left(self) -> bool:
        while not self._rest.num_rows:
            table = next(self._tables, None)
            if table is None:
                return False
            self._rest = table
        return True

    def take(self, rows: int) -> Iterator[pa.Table]:
        while rows and self.any_left():
            piece, self._rest = self._rest.slice(0, rows), self._rest.slice(rows)
            rows -= piece.num_rows
            yield piece


@dataclass(frozen=True)
class ParquetRowGroup:
    """A row group of a Parquet file."""

    file: Location
    first: int
    rows: int
    column_bytes: Mapping[str, int]  # decoded, of the wanted columns

    @property
    def bytes(self) -> int:
        """Decoded bytes of the wanted columns."""
        return sum(self.column_bytes.values())


def row_groups(files: Sequence[Location], columns: Sequence[str]) -> Iterator[ParquetRowGroup]:
    """Yield the row groups of files in order, those without rows left out."""
    names = set(columns)
    for file in files:
        footer = storage.footer_of(file)
        first = 0
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            chunks = (group.column(ix) for ix in range(group.num_columns))
            sizes = {chunk.path_in_schema: _decoded_bytes(chunk) for chunk in chunks if chunk.path_in_schema in names}
            if group.num_rows:
                yield ParquetRowGroup(file, first, group.num_rows, sizes)
            first += group.num_rows


def _decoded_bytes(chunk: pq.ColumnChunkMetaData) -> int:
    width = {"INT64": 8, "DOUBLE": 8, "INT32": 4, "FLOAT": 4, "BOOLEAN": 1}.get(chunk.physical_type)
    # A text takes 16 bytes for where it is, and its own.
    return chunk.num_values * width if width else chunk.num_values * 16 + chunk.total_uncompressed_size
