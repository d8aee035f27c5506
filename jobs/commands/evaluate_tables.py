"""Where the table of a report is, what it says of itself, and its rows in memory."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from graphquilt import files
from graphquilt.errors import TableError
from graphquilt.locate import LIST_TABLES, TABLE, LocatedRelease, locate
from graphquilt.locations import Location
from graphquilt.pointers import MANIFEST
from graphquilt.row_groups import METADATA_KEY
from jobs.commands.existing import folder_of, require_name, workspace_at
from pipeline import storage
from pipeline.errors import ConfigError, DamagedFileError, InputError
from pipeline.metrics.scored_tables import PART, ScoredTable, VectorFiles, read_scored_table
from pipeline.publishing.listing import releases

_COLUMNS = {"node_type": pa.types.is_string, "node_id": None, "degree": pa.types.is_int64}
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class TableFiles:
    """A table on disk: its files, its metadata, and the manifest of its release if it is of one.

    address : the release, or the path. root : the workspace that its run may still be in.
    """

    address: str
    files: list[Location]
    metadata: Mapping[str, Any]
    manifest: Mapping[str, Any] | None
    root: Location | None

    @property
    def config(self) -> Mapping[str, Any]:
        """The config of its run as JSON values; empty where none is stored."""
        config: Mapping[str, Any] = (self.manifest or {}).get("config", {})
        return config


def find_tables(options: argparse.Namespace) -> dict[str, TableFiles]:
    """Find node_embeddings and a table of lists in what the options name.

    What is neither counts as node_embeddings, which :func:`read_table` refuses.

    Raises
    ------
    ConfigError : options that don't fit each other, no such release. InputError : no sound table there.
    """
    tables: dict[str, TableFiles] = {}
    errors = []
    for name in (TABLE, *LIST_TABLES):
        column = "embedding" if name == TABLE else "neighbor_ids"
        if name != TABLE and not tables.keys().isdisjoint(LIST_TABLES):
            continue  # a release has lists of one kind
        try:
            table = _find_table(options, name)
        except InputError as error:
            errors.append(error)
            continue
        if column in storage.read_schema(table.files[0]).names:
            tables[name] = table
    if errors and not tables:
        raise errors[0]
    return tables or {TABLE: _find_table(options, TABLE)}


def _find_table(options: argparse.Namespace, table: str) -> TableFiles:
    if options.table is not None:
        if options.release is not None or options.name is not None:
            raise ConfigError("--table is a path; --release and --name choose one of a workspace: give one of the two")
        return table_at(folder_of(options.table), "--table", table)
    if options.workspace is None:
        raise ConfigError("there is no table: give --workspace, or --table with the path of node_embeddings")
    root, name = workspace_at(options.workspace), options.name or "default"
    require_name(root, name)
    try:
        if options.release is None:
            return _table_of(locate(root, name, deep=True), root, table)
        folders = {release.release: release.path for release in releases(root, name)}
        if options.release not in folders:
            raise ConfigError(
                f"--release is '{options.release}'; published as '{name}' there are {', '.join(folders) or 'none'}"
            )
        return _table_of(locate(folders[options.release], deep=True), root, table)
    except TableError as error:
        raise InputError(str(error)) from error


def _table_of(location: LocatedRelease, root: Location | None, table: str) -> TableFiles:
    parts = location.files(table)
    return TableFiles(location.release, parts, _metadata(parts[0]), location.manifest, root)


def table_at(path: Location, option: str, table: str = TABLE) -> TableFiles:
    """A table outside of what a workspace points to: a release's folder, a folder of Parquet, or one file.

    That of a release is compared with the manifest byte by byte: figures of damaged rows look like any others.
    """
    try:
        if files.has_file(path / MANIFEST):
            location = locate(path, deep=True)
            inside = location.folder.parts[-4:-3] == ("published",)
            return _table_of(location, location.folder.parents[3] if inside else None, table)
        # What 'graphquilt current' prints.
        if path.name in (TABLE, *LIST_TABLES) and files.has_file(path.parent / MANIFEST):
            locate(path.parent, deep=True)
    except TableError as error:
        raise InputError(str(error)) from error
    is_file = files.has_file(path)
    if not is_file and not files.has_folder(path):
        raise InputError(f"{option} is {path}, which does not exist; give a Parquet file or a folder of them")
    parts = [path] if is_file else _parquet_files(path) or _parquet_files(path / table)
    if not parts:
        raise InputError(f"{option} is {path}, which holds no *.parquet; give the folder of {table} or one file")
    return TableFiles(str(path), parts, _metadata(parts[0]), None, None)


def _parquet_files(folder: Location) -> list[Location]:
    return [folder / name for name in files.names_in(folder) if name.endswith(".parquet")]


def _metadata(file: Location) -> Mapping[str, Any]:
    """What a table says of itself; nothing where it does not."""
    try:
        raw = (storage.footer_of(file).metadata or {}).get(METADATA_KEY)
        metadata = json.loads(raw) if raw else {}
    except (DamagedFileError, OSError, ValueError) as error:
        raise InputError(f"{file} can't be read as Parquet: {error}") from error
    return metadata if isinstance(metadata, dict) else {}


def read_table(table: TableFiles, config: Mapping[str, Any], similarity: str | None) -> ScoredTable:
    """Read a table; ``config`` (JSON values) has the types where the table does not say them.

    Raises
    ------
    ConfigError : no similarity, or another than the table's own. InputError : the files hold something else.
    """
    for file in table.files:
        _check_columns(file, storage.read_schema(file))
    own = table.metadata.get("similarity")
    if own is None and similarity is None:
        raise ConfigError(f"{table.address} does not say which similarity its rows are for; give --similarity")
    if own is not None and similarity not in (None, own["retrieval"]):
        raise ConfigError(
            f"--similarity is {similarity}, and the table's metadata say {own['retrieval']} for retrieval: "
            f"{own.get('why', '')}"
        )
    section = config.get("input", {})
    types = [table.metadata.get(f"{end}_type", section.get(f"{end}_type")) for end in ("source", "target")]
    try:
        scored_table = read_scored_table(
            VectorFiles(tuple(table.files), str(types[0]), str(types[1]), own or {"retrieval": str(similarity)}),
            with_parts=PART in storage.read_schema(table.files[0]).names,
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{table.address} can't be read: {error}") from error
    ranges = scored_table.table.ranges
    if types == [None, None] and len(ranges) == 1:
        (only,) = ranges
        scored_table = scored_table.between(only, only)
    elif missing := [str(name) for name in types if name not in ranges]:
        raise InputError(
            f"{table.address} has nodes of type {', '.join(ranges) or 'none'}, and pairs join {missing[0]}: give the "
            "--config that it was made with"
        )
    if sum(stop - first for first, stop in ranges.values()) != len(scored_table.table.rows):
        raise InputError(f"{table.address} is not sorted by node_type; write its rows in the order of the contract")
    rows = scored_table.table.rows
    if not all(np.isfinite(rows[start : start + _ROWS_AT_ONCE]).all() for start in range(0, len(rows), _ROWS_AT_ONCE)):
        raise InputError(f"{table.address} holds a vector that is not finite; a table's rows always are")
    return scored_table


def _check_columns(file: Location, schema: pa.Schema) -> None:
    missing = [name for name in (*_COLUMNS, "embedding") if name not in schema.names]
    if missing:
        raise InputError(f"{file} has no column '{missing[0]}'; it has {schema.names}, and {TABLE} was wanted")
    embedding = schema.field("embedding").type
    is_rows = pa.types.is_fixed_size_list(embedding) and embedding.value_type == pa.float32()
    if not is_rows:
        raise InputError(f"{file}: embedding is {embedding}; fixed_size_list<float32> was wanted")
    for name, is_right in _COLUMNS.items():
        kind = schema.field(name).type
        if is_right is not None and not is_right(kind):
            raise InputError(f"{file}: {name} is {kind}; {TABLE} keeps {'string' if name == 'node_type' else 'int64'}")


def about_table(files: TableFiles, scored_table: ScoredTable) -> dict[str, Any]:
    """Return what the report says of its table."""
    table, metadata = scored_table.table, files.metadata
    return {
        "release": files.address,
        **{key: metadata.get(key) for key in ("data_date", "method", "form", "space_id")},
        "rows": len(table.rows),
        "dim": int(table.rows.shape[1]),
        "nodes": {name: stop - first for name, (first, stop) in table.ranges.items()},
        "source_type": table.source,
        "target_type": table.target,
        "similarity": {
            "retrieval": table.similarity,
            "feature": table.feature,
            "classifier": table.classifier,
            "is_said_by_table": "similarity" in metadata,
        },
    }
