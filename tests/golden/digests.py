"""Digests of published tables: of the values that a column holds, not of how a file stores them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: Keys of the schema metadata that name releases.
_MAY_CHANGE = frozenset({"lineage"})

#: Modes whose columns mean something of one cut only: their space is named by fingerprints of working tables, which
#: may change, as is that of tables whose axes are the data's own, which have an alignment.
_OF_ONE_CUT = frozenset({"border", "quotient"})


def release_digests(folder: Path) -> dict[str, Any]:
    """Digests of each published table of a release, by the table's name."""
    return {path.name: table_digests(path) for path in sorted(folder.iterdir()) if path.is_dir()}


def table_digests(folder: Path) -> dict[str, Any]:
    """Rows of each row group of each file, what is not compressed, and digests by column and key of the metadata."""
    files = [pq.ParquetFile(path) for path in sorted(folder.iterdir())]
    table = pa.concat_tables([file.read() for file in files])
    texts = {(file.schema_arrow.metadata or {}).get(b"graphquilt", b"{}") for file in files}
    (text,) = texts
    metadata = json.loads(text)
    if metadata.get("alignment") or metadata.get("boundary") in _OF_ONE_CUT:
        del metadata["space_id"]
    return {
        "row_groups": [
            [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)] for file in files
        ],
        "uncompressed": sorted({leaf.path_in_schema for file in files for leaf in _leaves(file) if _is_plain(leaf)}),
        "columns": {name: column_digest(table[name]) for name in table.column_names},
        "metadata": {
            key: value if key == "space_id" else _digest(json.dumps(value, sort_keys=True).encode())
            for key, value in metadata.items()
            if key not in _MAY_CHANGE
        },
    }


def _leaves(file: pq.ParquetFile) -> Iterator[pq.ColumnChunkMetaData]:
    about = file.metadata
    return (
        about.row_group(group).column(leaf)
        for group in range(about.num_row_groups)
        for leaf in range(about.num_columns)
    )


def _is_plain(leaf: pq.ColumnChunkMetaData) -> bool:
    return str(leaf.compression) == "UNCOMPRESSED"


def column_digest(column: pa.ChunkedArray) -> str:
    """A digest of type, nulls and values in order: equal for any chunking, offset or version of pyarrow."""
    parts: list[bytes] = []
    _add_array(pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type), parts)
    return _digest(b"".join(parts))


def _add_array(array: pa.Array, parts: list[bytes]) -> None:
    """Append type, length, nulls and values; the values of nulls, which mean nothing, are left out."""
    kind = array.type
    parts += [_name_of(kind).encode(), len(array).to_bytes(8, "little")]
    parts.append(np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes() if array.null_count else b"")
    values = array.drop_null()
    if pa.types.is_fixed_size_list(kind):
        _add_array(values.flatten(), parts)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        parts.append(np.asarray(values.value_lengths(), dtype="<i8").tobytes())
        _add_array(values.flatten(), parts)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = values.cast(pa.large_binary())
        parts.append(np.asarray(pc.binary_length(texts), dtype="<i8").tobytes())
        parts.append(b"".join(texts.to_pylist()))
    else:
        numbers = values.to_numpy(zero_copy_only=False)
        parts.append(numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).tobytes())


def _name_of(kind: pa.DataType) -> str:
    """The type's name, the same for lists whose entries' field is called "item" or "element"."""
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list[{kind.list_size}]"
    if pa.types.is_list(kind):
        return "list"
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(kind)
    raise ValueError(f"a column of type {kind} has no canonical bytes yet; give it a branch in _add_array")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
