"""Lake tables with a past, made by their own libraries, beside the rows that they hold by a plain reading."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from pipeline import codec
from pipeline.ingest.pieces import ParseTask, split_tasks
from pipeline.ingest.readers import read
from pipeline.ingest.sources import list_sources

Rows = list[dict[str, Any]]


def rows_of(path: str | Path, names: Sequence[str], **options: Any) -> Rows:
    """What ingest's readers see of an input, task by task, each through JSON."""
    found: Rows = []
    for task in split_tasks(list_sources(str(path), **options), rows_per_task=3):
        for piece in codec.from_text(ParseTask, codec.to_text(task)).pieces:
            for batch in read(piece, {name: name for name in names}):
                assert len(batch.rows) == len(batch.values[names[0]])
                found += pa.table(batch.values).to_pylist()
    return found


def multiset(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    return Counter(repr(sorted(row.items())) for row in rows)


def add_deletion_vectors(folder: Path, gone: Callable[[str], Sequence[int]]) -> None:
    """Commit to a Delta table that rows of its files are deleted, as engines with deletion vectors do."""
    from deltalake import DeltaTable

    table = DeltaTable(folder)
    log, version = folder / "_delta_log", table.version()
    adds = {}
    for number in range(version + 1):
        for line in (log / f"{number:020}.json").read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                adds[action["add"]["path"]] = action["add"]
    features = ["deletionVectors"]
    lines: list[Mapping[str, Any]] = [
        {
            "protocol": {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": features,
                "writerFeatures": features,
            }
        }
    ]
    for path in pa.table(table.get_add_actions(flatten=True))["path"].to_pylist():
        rows = gone(path)
        if not rows:
            continue
        old = adds[path]
        blob = _roaring(rows)
        vector = {
            "storageType": "i",
            "pathOrInlineDv": _z85(blob),
            "sizeInBytes": len(blob),
            "cardinality": len(rows),
        }
        removed = {"path": path, "dataChange": True, "deletionTimestamp": 1, "partitionValues": old["partitionValues"]}
        lines += [{"remove": removed}, {"add": {**old, "deletionVector": vector}}]
    (log / f"{version + 1:020}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _roaring(rows: Sequence[int]) -> bytes:
    """Numbers below 65,536 as Delta writes them: its magic number, then a portable 64-bit Roaring bitmap."""
    values = sorted(rows)
    header = struct.pack("<IQII", 1681511377, 1, 0, 12346)
    container = struct.pack("<IHHI", 1, 0, len(values) - 1, 16) + struct.pack(f"<{len(values)}H", *values)
    blob = header + container
    return blob + b"\0" * (-len(blob) % 4)


def _z85(data: bytes) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    out = ""
    for (word,) in struct.iter_unpack(">I", data):
        for power in (4, 3, 2, 1, 0):
            out += digits[word // 85**power % 85]
    return out


def iceberg_table(folder: Path, schema: pa.Schema, **options: Any) -> Table:
    folder.mkdir(parents=True, exist_ok=True)
    catalog = SqlCatalog("tests", uri=f"sqlite:///{folder}/catalog.db", warehouse=str(folder / "warehouse"))
    catalog.create_namespace_if_not_exists("lake")
    return catalog.create_table("lake.events", schema=schema, **options)


def add_delete_file(table: Table, data_file: str, rows: Sequence[int], *, equality: bool = False) -> None:
    """Commit to an Iceberg table that rows of a file are deleted: by position, as Spark and Flink do, or by value."""
    path = f"{table.location()}/data/delete-{uuid4()}.parquet"
    ids = {"file_path": b"2147483546", "pos": b"2147483545"}
    fields = [
        pa.field(name, kind, nullable=False, metadata={"PARQUET:field_id": ids[name]})
        for name, kind in (("file_path", pa.string()), ("pos", pa.int64()))
    ]
    columns = pa.table([pa.array([data_file] * len(rows)), pa.array(rows, pa.int64())], schema=pa.schema(fields))
    pq.write_table(columns, path)
    deletes = DataFile.from_args(
        content=DataFileContent.EQUALITY_DELETES if equality else DataFileContent.POSITION_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=len(rows),
        file_size_in_bytes=Path(path).stat().st_size,
        equality_ids=[1] if equality else None,
    )
    deletes.spec_id = 0
    with table.transaction() as change, change.update_snapshot().fast_append() as append:
        append.append_data_file(deletes)
