"""The row groups of a published table: which nodes each one holds, and its columns, read as needed.

Rows are sorted by (node_type, node_id) and no row group mixes types, so the statistics of a footer tell which row
group could hold a node. Files are mapped when the table is opened: it stays readable after its release is removed.
The footer of an object is read then, its columns where they are asked for: a release must stay while it is read.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from graphquilt.column_checksums import columns_of, find_damaged_column
from graphquilt.errors import TableError
from graphquilt.files import map_files
from graphquilt.locations import Location
from graphquilt.ranged_object import Range, RangedObject

#: Key of the JSON in the metadata of a published table.
METADATA_KEY = b"graphquilt"
#: Bytes of one read: enough to keep all cores busy. A row group that is larger is read alone.
_BATCH_BYTES = 2**28
#: One read a column: these are the ranges that are fetched of an object.
_FORMAT = ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False))
#: Of types of one width, as Parquet names them.
_VALUE_BYTES = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}

_ADVICE = "'graphquilt check --deep' compares every byte and says what to do"


@dataclass(frozen=True)
class NodeRowGroup:
    """A row group of nodes of one type; ``first_row`` counts from the first node of the type."""

    file: int
    number: int
    rows: int
    first_row: int


class RowGroups:
    """The row groups of a table's files, in order, and a bounded cache of their columns.

    ``entries``: of each file its entry in the manifest, with its rows and the checksums of its columns.
    """

    def __init__(self, paths: Sequence[Location], cache_bytes: int, entries: Sequence[Mapping[str, Any]]) -> None:
        self._paths = list(paths)
        self._sources: list[pa.NativeFile] = []
        self._objects: list[RangedObject | None] = []  # by file; None: it is mapped
        self._fragments: list[Any] = []
        self._footers: list[pq.FileMetaData] = []
        self._checksums: list[Sequence[str] | None] = [entry.get("columns_crc32") for entry in entries]
        self._intact: set[tuple[NodeRowGroup, str]] = set()
        self._types: dict[str, list[NodeRowGroup]] = {}
        self._firsts: dict[str, list[Any]] = {}
        self._leaves: dict[str, int] = {}  # of each column the position of its values, which lists hold inside
        self._cache: OrderedDict[tuple[NodeRowGroup, str], Any] = OrderedDict()
        self._cache_bytes, self._cached_bytes = cache_bytes, 0
        self._lock = threading.Lock()
        self.schema: pa.Schema = pa.schema([])
        try:
            self._objects = _open_objects(paths, entries)
            for path, entry, ranged_object in zip(paths, entries, self._objects, strict=True):
                self._add_file(path, ranged_object, entry.get("rows"))
        except BaseException:
            self.close()
            raise

    @property
    def types(self) -> tuple[str, ...]:
        """The node types, in the table's order; of a table without ids "", which all its row groups are of."""
        return tuple(self._types)

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return not self._sources

    def of(self, node_type: str) -> list[NodeRowGroup]:
        """Return a type's row groups.

        Raises
        ------
        ValueError : no such type in the table.
        """
        if node_type not in self._types:
            raise ValueError(f"the table has no nodes of type '{node_type}'; its types are {list(self._types)}")
        return self._types[node_type]

    def rows(self, node_type: str) -> int:
        """Return the number of nodes of a type."""
        return sum(group.rows for group in self.of(node_type))

    def first_ids(self, node_type: str) -> list[Any]:
        """Return the first id of each of a type's row groups."""
        firsts = self._firsts[node_type]
        for position, (group, first) in enumerate(zip(self.of(node_type), firsts, strict=True)):
            if first is None:  # writers omit statistics of ids above 4 KiB
                firsts[position] = self.column(group, "node_id")[0].as_py()
        return firsts

    def column(self, group: NodeRowGroup, name: str) -> pa.Array:
        """Return one column of one row group."""
        return next(self.columns([group], [name]))[1][name]

    def columns(
        self, groups: Sequence[NodeRowGroup], names: Sequence[str], *, remember: bool = True
    ) -> Iterator[tuple[NodeRowGroup, Mapping[str, pa.Array]]]:
        """Read columns of row groups, in order; columns in the cache are not read.

        Columns that exceed the cache together are not kept: a scan would only evict the others.
        """
        sizes = [sum(self._bytes_of(group, name) for name in names) for group in groups]
        remember = remember and sum(sizes) <= self._cache_bytes
        for batch in _batches(groups, sizes):
            columns_of = {group: columns for group in batch if (columns := self._recall(group, names)) is not None}
            missing = [group for group in batch if group not in columns_of]
            for group, table in self._read(missing, names):
                columns_of[group] = {name: _one_array(table.column(name)) for name in names}
                if remember:
                    self._remember(group, columns_of[group])
            for group in batch:
                yield group, columns_of.pop(group)  # no reference stays here

    def table(self, groups: Sequence[NodeRowGroup], names: Sequence[str]) -> pa.Table:
        """Read columns of row groups as one table, without the cache."""
        return pa.concat_tables(
            [self._decode(file, members, names) for file, members in _by_file(groups)]
            or [self.schema.empty_table().select(list(names))]
        )

    def batches(self, groups: Sequence[NodeRowGroup], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield columns of one row group after the other, without the cache."""
        for group in groups:
            yield from self._decode(group.file, [group], names).combine_chunks().to_batches()

    def close(self) -> None:
        """Close the files. Arrays that were returned stay valid."""
        with self._lock:
            for source in self._sources:
                source.close()
            self._sources, self._fragments = [], []
            self._cache.clear()

    def _add_file(self, path: Location, ranged_object: RangedObject | None, rows: int | None) -> None:
        try:
            source = pa.memory_map(str(path)) if ranged_object is None else ranged_object.open()
            self._sources.append(source)
            footer = pq.ParquetFile(source)
        except (pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            raise TableError(f"{path} is not a Parquet file: {error}. {_ADVICE}") from error
        if rows is not None and footer.metadata.num_rows != rows:
            raise TableError(f"{path} has {footer.metadata.num_rows:,} rows, the manifest says {rows:,}. {_ADVICE}")
        if not self._fragments:
            # From the footer: a writer may know some of it only after the last row.
            metadata = (footer.metadata.metadata or {}).get(METADATA_KEY)
            self.schema = footer.schema_arrow.with_metadata(metadata and {METADATA_KEY: metadata})
        elif footer.schema_arrow != self.schema:
            raise TableError(f"{path} has other columns than the first file of its table")
        self._fragments.append(_FORMAT.make_fragment(source))
        self._footers.append(footer.metadata)
        leaves = [footer.metadata.schema.column(i).path.split(".")[0] for i in range(footer.metadata.num_columns)]
        self._leaves = {name: position for position, name in enumerate(leaves)}
        for number in range(footer.metadata.num_row_groups):
            group = footer.metadata.row_group(number)
            if not group.num_rows:
                continue
            if "node_type" in self._leaves and "node_id" in self._leaves:
                types, ids = (group.column(self._leaves[name]).statistics for name in ("node_type", "node_id"))
                self._add_group(path, number, group.num_rows, types, ids)
            else:
                self._append("", number, group.num_rows)

    def _add_group(self, path: Location, number: int, rows: int, types: Any, ids: Any) -> None:
        where = f"row group {number} of {path}"
        if types is None or not types.has_min_max or types.min != types.max:
            raise TableError(f"{where} does not hold nodes of one type; was the file written by another tool?")
        node_type = types.min
        firsts = self._firsts.setdefault(node_type, [])
        first = ids.min if ids is not None and ids.has_min_max else None
        if node_type < max(self._types, default="") or (
            firsts and None not in (first, firsts[-1]) and first <= firsts[-1]
        ):
            raise TableError(f"{where} is out of order: a table is sorted by node_type and node_id")
        self._append(node_type, number, rows)
        firsts.append(first)

    def _append(self, node_type: str, number: int, rows: int) -> None:
        groups = self._types.setdefault(node_type, [])
        first_row = groups[-1].first_row + groups[-1].rows if groups else 0
        groups.append(NodeRowGroup(len(self._fragments) - 1, number, rows, first_row))

    def _decode(self, file: int, groups: Sequence[NodeRowGroup], names: Sequence[str]) -> pa.Table:
        """Read columns of row groups of one file; compare their bytes with the manifest the first time."""
        if self.is_closed:
            raise ValueError("the table is closed; open it again")
        try:
            source, fragment = self._sources[file], self._fragments[file]
            if (ranged_object := self._objects[file]) is not None:
                source = ranged_object.open(self._ranges_of(file, groups, names))
                fragment = _FORMAT.make_fragment(source)
            for group in groups:
                self._check(source, group, [name for name in names if (group, name) not in self._intact])
            subset = fragment.subset(row_group_ids=[group.number for group in groups])
            return subset.to_table(schema=self.schema, columns=list(names))
        except FileNotFoundError as error:
            raise TableError(f"{self._paths[file]} is gone: its release was removed; open the table again") from error
        except (OSError, pa.ArrowInvalid) as error:
            raise TableError(f"{self._paths[file]} can't be read: {error}. {_ADVICE}") from error

    def _ranges_of(self, file: int, groups: Sequence[NodeRowGroup], names: Sequence[str]) -> list[Range]:
        columns = [chunk for group in groups for chunk in columns_of(self._footers[file].row_group(group.number))]
        return [(start, count) for name, start, count in columns if name in names]

    def _check(self, source: pa.NativeFile, group: NodeRowGroup, names: Sequence[str]) -> None:
        checksums = self._checksums[group.file]
        if checksums is None or not names:
            return
        metadata = self._footers[group.file].row_group(group.number)
        if name := find_damaged_column(source, metadata, checksums[group.number], names):
            where = f"column {name} of row group {group.number} in {self._paths[group.file]}"
            raise TableError(f"{where} has other bytes than the manifest says. {_ADVICE}")
        self._intact.update((group, name) for name in names)

    def _read(self, groups: Sequence[NodeRowGroup], names: Sequence[str]) -> Iterator[tuple[NodeRowGroup, pa.Table]]:
        for file, members in _by_file(groups):
            table = self._decode(file, members, names)
            start = 0
            for group in members:
                yield group, table.slice(start, group.rows)
                start += group.rows

    def _bytes_of(self, group: NodeRowGroup, name: str) -> int:
        """Return the bytes in memory of the values of a column; an estimate for text in a dictionary."""
        leaf = self._footers[group.file].row_group(group.number).column(self._leaves[name])
        size = _VALUE_BYTES.get(leaf.physical_type)
        if size is None and not any("DICTIONARY" in encoding for encoding in leaf.encodings):
            return int(leaf.total_uncompressed_size)  # the length and the bytes of each text, as in memory
        return int(leaf.num_values) * (size or 32)

    def _recall(self, group: NodeRowGroup, names: Sequence[str]) -> Mapping[str, pa.Array] | None:
        with self._lock:
            if any((group, name) not in self._cache for name in names):
                return None
            for name in names:
                self._cache.move_to_end((group, name))
            return {name: self._cache[group, name] for name in names}

    def _remember(self, group: NodeRowGroup, columns: Mapping[str, pa.Array]) -> None:
        with self._lock:
            for name, array in columns.items():
                if (group, name) not in self._cache:
                    self._cache[group, name] = array
                    self._cached_bytes += array.nbytes
            while self._cached_bytes > self._cache_bytes:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes


def _open_objects(paths: Sequence[Location], entries: Sequence[Mapping[str, Any]]) -> list[RangedObject | None]:
    def open_object(file: tuple[Location, Mapping[str, Any]]) -> RangedObject | None:
        path, entry = file
        return None if isinstance(path, Path) else RangedObject(path, int(entry["bytes"]))

    return map_files(open_object, paths[0].parent, list(zip(paths, entries, strict=True))) if paths else []


def _batches(groups: Sequence[NodeRowGroup], sizes: Sequence[int]) -> Iterator[list[NodeRowGroup]]:
    """Yield runs of row groups of at most ``_BATCH_BYTES`` bytes together, or of one row group."""
    batch: list[NodeRowGroup] = []
    batch_bytes = 0
    for group, size in zip(groups, sizes, strict=True):
        if batch and batch_bytes + size > _BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(group)
        batch_bytes += size
    if batch:
        yield batch


def _by_file(groups: Sequence[NodeRowGroup]) -> Iterator[tuple[int, list[NodeRowGroup]]]:
    files: dict[int, list[NodeRowGroup]] = {}
    for group in groups:
        files.setdefault(group.file, []).append(group)
    yield from files.items()


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it has one chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
