"""Delta tables: the files of a version, and each file as the table has it.

Values of partition columns stand in the log only, columns that came later are null in older files, and a deletion
vector names rows of a file that are gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.addresses import endpoint_of, split_options
from pipeline.ingest.lake.snapshot import LakeFile, Snapshot

#: Reader features under which a file holds what the table holds, after what is done here.
_FEATURES = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "typeWidening", "deletionVectors"}
_PARTITION = "partition."


@dataclass(frozen=True)
class DeltaFile:
    """How a file's columns become the table's."""

    schema: pa.Schema  # of the table
    constants: Mapping[str, pa.Scalar]  # partition columns
    is_left: NDArray[np.bool_] | None  # by row of the file; None where none was deleted

    def columns_in_file(self, names: Sequence[str], in_file: Sequence[str]) -> list[str]:
        """Return which of the file's columns are needed for columns of the table; Delta ignores case."""
        spelt = {name.lower(): name for name in in_file}
        return [spelt[name.lower()] for name in names if name not in self.constants and name.lower() in spelt]

    def complete(
        self, rows: NDArray[np.int64], batch: pa.RecordBatch, names: Sequence[str]
    ) -> tuple[NDArray[np.int64], dict[str, pa.Array]]:
        """Return the rows of a batch that are left, and their columns in the table's types."""
        columns_in_file = {name.lower(): batch.column(place) for place, name in enumerate(batch.schema.names)}
        keep = None if self.is_left is None else self.is_left[rows]
        rows = rows if keep is None else rows[keep]
        columns: dict[str, pa.Array] = {}
        for name in names:
            kind = self.schema.field(name).type
            if name in self.constants:
                columns[name] = pa.repeat(self.constants[name], len(rows))
            elif name.lower() in columns_in_file:
                column = columns_in_file[name.lower()]
                columns[name] = pc.cast(column if keep is None else column.filter(pa.array(keep)), kind)
            else:
                columns[name] = pa.nulls(len(rows), kind)
        return rows, columns


@dataclass(frozen=True)
class DeltaVersion:
    """A version of a table: its columns, and its files by name."""

    columns: list[str]
    files: list[LakeFile]
    views: Mapping[str, DeltaFile]


def newest_snapshot(address: str, metadata: str | None = None) -> Snapshot:  # noqa: ARG001  (Iceberg's)
    """Return a table's newest version."""
    return Snapshot("Delta", address, str(_table(address).version()), address)


@lru_cache(maxsize=8)  # a process reads many files of one version
def open_snapshot(snapshot: Snapshot) -> DeltaVersion:
    """Read the log up to a version.

    Raises
    ------
    InputError : the table asks of its readers what isn't done here.
    """
    table = _table(snapshot.opened, int(snapshot.version))
    features = set(table.protocol().reader_features or ())
    _refuse(features, table.metadata().configuration, snapshot)
    schema = pa.schema(table.schema().to_arrow())
    actions = pa.table(table.get_add_actions(flatten=True))
    partitions = [name for name in table.metadata().partition_columns if _PARTITION + name in actions.column_names]
    left = _rows_left(table) if "deletionVectors" in features else {}
    files, views = [], {}
    for row, url_path in enumerate(actions["path"].to_pylist()):
        name = unquote(url_path)
        constants = {column: actions[_PARTITION + column][row].cast(schema.field(column).type) for column in partitions}
        size = actions["size_bytes"][row].as_py()
        files.append(LakeFile(name, size, name if "://" in name else None))  # a clone names files of another table
        views[name] = DeltaFile(schema, constants, left.get(name))
    return DeltaVersion(list(schema.names), sorted(files, key=lambda file: file.name.encode()), views)


def _refuse(features: set[str], configuration: Mapping[str, str], snapshot: Snapshot) -> None:
    where = f"the Delta table {snapshot.table}, version {snapshot.version},"
    mapping = configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none":
        raise InputError(
            f"{where} maps its columns to other names in its files (delta.columnMapping.mode = {mapping}), which is "
            "not read here. Remove it, in Spark: ALTER TABLE ... SET TBLPROPERTIES ('delta.columnMapping.mode' = "
            "'none'), or export a snapshot as Parquet and name that folder"
        )
    if unknown := sorted(features - _FEATURES - {"columnMapping"}):
        raise InputError(
            f"{where} asks its readers for {', '.join(unknown)}, which is not read here. Drop the feature, in Spark: "
            f"ALTER TABLE ... DROP FEATURE {unknown[0]}, or export a snapshot as Parquet and name that folder"
        )


def _rows_left(table: DeltaTable) -> dict[str, NDArray[np.bool_]]:
    """Rows that deletion vectors leave, by file."""
    root = str(table.table_uri).rstrip("/") + "/"
    left = {}
    for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()):
        for uri, rows in zip(batch.column("filepath").to_pylist(), batch.column("selection_vector"), strict=True):
            left[unquote(uri.removeprefix(root))] = np.asarray(rows.values, bool)
    return left


def _table(address: str, version: int | None = None) -> DeltaTable:
    place, options = split_options(address)
    return DeltaTable(place, version=version, storage_options=_storage_options(options) or None)


def _storage_options(options: Mapping[str, str]) -> dict[str, str]:
    """Options of a pyarrow address in the words of deltalake; credentials come from the environment in both."""
    words = {"AWS_REGION": options["region"]} if "region" in options else {}
    if endpoint := endpoint_of(options):
        words |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": str(endpoint.startswith("http://")).lower()}
    return words
