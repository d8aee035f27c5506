"""Iceberg tables: the files of a snapshot, read by pyiceberg, which knows columns by number and applies deletes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.manifest import FileFormat
from pyiceberg.table import FileScanTask, StaticTable

from pipeline.errors import InputError
from pipeline.ingest.addresses import endpoint_of, split_options
from pipeline.ingest.lake.snapshot import LakeFile, Snapshot

NO_SNAPSHOT = "none"  # of a table that was made and never written to


@dataclass(frozen=True)
class IcebergPlan:
    """A snapshot: its columns, and its files by name."""

    table: StaticTable
    columns: list[str]
    files: list[LakeFile]
    tasks: Mapping[str, FileScanTask]


def newest_snapshot(address: str, metadata: str) -> Snapshot:
    """Return the snapshot that a metadata file calls the current one."""
    current = _table(metadata).current_snapshot()
    return Snapshot("Iceberg", address, NO_SNAPSHOT if current is None else str(current.snapshot_id), metadata)


@lru_cache(maxsize=8)  # a process reads many files of one snapshot
def open_snapshot(snapshot: Snapshot) -> IcebergPlan:
    """Read the manifests of a snapshot.

    Raises
    ------
    InputError : rows were deleted in a way, or files written in a format, that isn't read here.
    """
    table = _table(snapshot.opened)
    root = str(table.location()).rstrip("/") + "/"
    tasks = {task.file.file_path.removeprefix(root): task for task in _tasks(table, snapshot)}
    for name, task in tasks.items():
        if task.file.file_format != FileFormat.PARQUET:
            raise InputError(
                f"{name} of the Iceberg table {snapshot.table} is {task.file.file_format.value}; only data files in "
                "Parquet are read. Rewrite them, in Spark: CALL system.rewrite_data_files(table => '...', options => "
                "map('rewrite-all', 'true')) after setting write.format.default = 'parquet'"
            )
    files = [
        LakeFile(name, tasks[name].file.file_size_in_bytes, address_of(tasks[name].file.file_path))
        for name in sorted(tasks, key=str.encode)
    ]
    return IcebergPlan(table, [field.name for field in table.schema().fields], files, tasks)


def read(snapshot: Snapshot, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file that are left, with the table's columns in the table's types."""
    plan = open_snapshot(snapshot)
    task = plan.tasks[name]
    schema = plan.table.schema().select(*dict.fromkeys(columns))
    yield from ArrowScan(plan.table.metadata, plan.table.io, schema, AlwaysTrue()).to_record_batches([task])


def address_of(path: str) -> str:
    """Return an address for pyarrow.fs of a path as Iceberg tables have them (file:/x, s3a://...)."""
    scheme, colon, rest = path.partition(":")
    if not colon or "/" in scheme:
        return path
    if scheme == "file":
        return "/" + rest.lstrip("/")
    return path.replace(scheme, "s3", 1) if scheme in ("s3a", "s3n") else path


def _tasks(table: StaticTable, snapshot: Snapshot) -> list[FileScanTask]:
    try:
        return list(table.scan().plan_files())
    except FileNotFoundError as error:
        raise InputError(
            f"the Iceberg table {snapshot.table} says of itself that it lies at {table.location()}, and a file that it "
            f"names isn't there: {error}. Was it moved or copied? Its metadata has whole paths: copy it with "
            "system.rewrite_table_path, or export a snapshot as Parquet and name that folder"
        ) from error
    except (ValueError, NotImplementedError) as error:
        if "equality delete" not in str(error):
            raise
        raise InputError(
            f"the Iceberg table {snapshot.table}, snapshot {snapshot.version}, has equality deletes, which pyiceberg "
            "can't apply: rows that were deleted would be read. Rewrite its files, in Spark: CALL "
            "system.rewrite_data_files(table => '...', options => map('delete-file-threshold', '1')), or export a "
            "snapshot as Parquet and name that folder"
        ) from error


def _table(metadata: str) -> StaticTable:
    place, options = split_options(metadata)
    return StaticTable.from_metadata(place, _properties(options))


def _properties(options: Mapping[str, str]) -> dict[str, str]:
    """Options of a pyarrow address in the words of pyiceberg; credentials come from the environment in both."""
    words = {"s3.region": options["region"]} if "region" in options else {}
    if endpoint := endpoint_of(options):
        words["s3.endpoint"] = endpoint
    return words
