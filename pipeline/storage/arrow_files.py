"""Working tables as Arrow files, mapped from disk, and as Parquet files; and arrays in files."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import DamagedFileError
from pipeline.locations import Location
from pipeline.storage import files
from pipeline.storage.cache import scratch_folder
from pipeline.storage.checksums import check_sealed, is_of_table
from pipeline.storage.files import BATCHES

#: Suffixes of files whose rows :func:`rows_in` counts.
TABLE_SUFFIXES = (".parquet", ".arrow", f".{BATCHES}")
_ARROW_SUFFIXES = TABLE_SUFFIXES[1:]


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write an uncompressed Arrow IPC file with a single batch, so that it can be memory-mapped whole."""
    batches = table.combine_chunks().to_batches(max_chunksize=max(1, table.num_rows))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def map_arrow(location: Location) -> pa.Table:
    """Memory-map an Arrow IPC file: columns are views of the file, read when touched.

    Raises
    ------
    DamagedFileError : it is no table's, and not what its name says; see :func:`check_sealed`.
    """
    if not is_of_table(location):  # of which a task may read a little
        check_sealed(location)
    return _open_arrow(location)


def _open_arrow(location: Location) -> pa.Table:
    with pa.memory_map(str(files.local_file(location))) as source:
        return pa.ipc.open_file(source).read_all()


def column(table: pa.Table, name: str) -> NDArray[Any]:
    """Return a column without nulls as an array, a view where the table is in one chunk."""
    chunks = table.column(name).chunks
    if len(chunks) == 1:
        return chunks[0].to_numpy(zero_copy_only=False)
    return table.column(name).to_numpy() if chunks else np.empty(0, table.schema.field(name).type.to_pandas_dtype())


def write_parquet(path: Path, table: pa.Table, row_group_size: int = 1_048_576) -> None:
    """Write a Parquet file as all working tables here are written."""
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table, row_group_size=row_group_size)


def _with_bounds(schema: pa.Schema, constant: Sequence[str]) -> list[str] | bool:
    """Return the columns whose bounds are written: of texts that come as numbers they cost more than the rest."""
    left_out = {*constant, *(field.name for field in schema if field.type == pa.dictionary(pa.int32(), pa.string()))}
    return [name for name in schema.names if name not in left_out] if left_out else True


@contextlib.contextmanager
def parquet_writer(path: Path, schema: pa.Schema, constant: Sequence[str] = ()) -> Iterator[pq.ParquetWriter]:
    """Open a Parquet file for a schema; its bytes depend on nothing but rows and row groups.

    ``constant`` are columns of one value, or of nulls: a dictionary of it and no statistics cost the least.
    """
    # Ids and numbers don't repeat, and a dictionary that overflows costs its build; names of types do nothing else.
    # zstd would save a fifth of the bytes for 2.5 times the CPU seconds, on tables that live for a few nights.
    type_names = [field.name for field in schema if field.name.endswith("_type") or pa.types.is_dictionary(field.type)]
    # Integers as packed differences take fewer bytes than lz4 makes of them, and half the time.
    delta_names = [field.name for field in schema if field.type == pa.int64() and field.name not in constant]
    # Without Arrow's own schema in the footer: dictionaries are a matter of this file, and are read as strings.
    with pq.ParquetWriter(
        path,
        schema,
        compression={name: "none" if name in delta_names else "lz4" for name in schema.names},
        column_encoding=dict.fromkeys(delta_names, "DELTA_BINARY_PACKED"),
        use_dictionary=[*type_names, *constant] or False,
        dictionary_pagesize_limit=2**30,  # what comes as numbers of texts is written so
        write_statistics=_with_bounds(schema, constant),
        store_schema=False,
    ) as writer:
        yield writer


def read_parquet(locations: Sequence[Location], columns: Sequence[str] | None = None) -> pa.Table:
    """Return columns of a table of Parquet files; folders named key=value add none."""
    names = None if columns is None else list(columns)
    local = map(files.local_file, locations)
    return pa.concat_tables([pq.read_table(file, columns=names, partitioning=None) for file in local])


def open_parquet(location: Location) -> pq.ParquetFile:
    """Open a Parquet file, to be read by row groups."""
    return pq.ParquetFile(files.local_file(location))


def read_schema(location: Location) -> pa.Schema:
    """Return the schema of a Parquet file."""
    return footer_of(location).schema.to_arrow_schema()


def load_array(location: Location, *, is_mapped: bool = False) -> NDArray[Any]:
    """Return the array in a file of numpy's; with ``is_mapped`` a view of the file, read where touched."""
    return np.asarray(np.load(files.local_file(location), mmap_mode="r" if is_mapped else None))


def scratch_array(rows: int, columns: int) -> NDArray[np.float32]:
    """Return zeros, (rows, columns) float32, in a mapped file: the system keeps in memory what there is room for.

    The file has no name, lies in the scratch folder, and goes with the array.

    Raises
    ------
    OSError : the disk has no room for it.
    """
    size = rows * columns * 4
    if not size:
        return np.zeros((rows, columns), np.float32)
    folder = scratch_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size)  # a hole that can't be filled later would kill the process
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(rows, columns)))


def read_batches(
    locations: Sequence[Location], columns: Sequence[str], rows: int, *, as_numbers: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Yield columns of a table of Parquet files, at most so many rows at a time.

    Texts of the columns ``as_numbers`` come as numbers of distinct ones.
    """
    for file in map(files.local_file, locations):
        # Else all of the file stays in memory until its end.
        with pq.ParquetFile(file, pre_buffer=False, read_dictionary=list(as_numbers)) as source:
            yield from source.iter_batches(rows, columns=list(columns))


def rows_in(locations: Sequence[Location]) -> int:
    """Return the number of rows of Parquet and Arrow files; no row is read."""
    return sum(
        _open_arrow(file).num_rows if file.suffix in _ARROW_SUFFIXES else footer_of(file).num_rows for file in locations
    )


def bounds_of(location: Location, name: str) -> list[int]:
    """Return the smallest and the largest value of an integer column's row groups, as the footer has them."""
    footer = footer_of(location)
    number = footer.schema.names.index(name)
    groups = (footer.row_group(group).column(number).statistics for group in range(footer.num_row_groups))
    return [bound for group in groups for bound in (group.min, group.max)]


def footer_of(location: Location) -> pq.FileMetaData:
    """Return the footer of a Parquet file.

    Raises
    ------
    DamagedFileError : there is none.
    """
    try:
        return pq.read_metadata(files.open_ranges(location))
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError(f"{location} has no footer of Parquet ({error})") from error
