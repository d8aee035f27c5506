"""Rows on their way through Spark: pieces of Arrow data as binary values, by bucket, numbered in their order.

An error of :mod:`pipeline.errors` travels the same way, before all pieces of its bucket: raised, Spark would try the
task again, and the data would be as bad as before.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import errors
from pipeline.errors import GraphquiltError, TaskError

#: The columns of a piece. ``source`` is the partition that made it; ``number`` counts the pieces of a source.
COLUMNS = "bucket int, source int, number int, payload binary"
#: Of a piece, unless one row takes more. G1 keeps arrays of half a region, 512 KiB at least, apart from all others.
PIECE_BYTES = 2**18


class Piece(NamedTuple):
    """A row of :data:`COLUMNS`."""

    bucket: int
    source: int
    number: int
    payload: bytes


_BATCH_BYTES = 16 * 2**20  # of pieces that Spark is handed together
_SCHEMA = pa.schema([("bucket", pa.int32()), ("source", pa.int32()), ("number", pa.int32()), ("payload", pa.binary())])
_CONSTANTS = b"constants"
_ERROR = -1  # as the source of a piece
#: Here rather than in the JVM, which then copies and sorts a quarter of the bytes.
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


def pack_pieces(tables: Iterable[tuple[int, pa.Table]], source: int) -> Iterator[pa.RecordBatch]:
    """Yield rows of :data:`COLUMNS` for tables by bucket, which are of one chunk each."""
    buckets: list[int] = []
    ends, count, buffer = [0], 0, pa.BufferOutputStream()
    for bucket, table in tables:
        for piece in _cut(_without_constants(table)):
            with pa.ipc.new_stream(buffer, piece.schema, options=_COMPRESSED) as stream:
                stream.write_table(piece)
            buckets.append(bucket)
            ends.append(buffer.tell())
            if ends[-1] >= _BATCH_BYTES:
                yield _rows(buckets, source, count, ends, buffer.getvalue())
                count += len(buckets)
                buckets, ends, buffer = [], [0], pa.BufferOutputStream()
    if buckets:
        yield _rows(buckets, source, count, ends, buffer.getvalue())


def unpack_pieces(rows: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
    """Yield source and rows of each piece; raise the error that a task before this one met."""
    for batch in rows:
        for source, payload in zip(batch.column("source").to_pylist(), batch.column("payload"), strict=True):
            raise_error(source, payload.as_buffer())
            yield source, open_payload(payload.as_buffer())


def open_payload(payload: bytes | pa.Buffer) -> pa.Table:
    """Return the rows of a piece."""
    table = pa.ipc.open_stream(payload).read_all()
    metadata = table.schema.metadata or {}
    if _CONSTANTS not in metadata:
        return table
    facts = json.loads(metadata[_CONSTANTS])
    columns = {
        name: pa.repeat(pa.scalar(value, pa.int64()), table.num_rows) for name, value in facts["constants"].items()
    }
    return pa.table({name: columns[name] if name in columns else table[name] for name in facts["names"]})


def pieces_of(batch: pa.RecordBatch) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield the rows of a batch of :data:`COLUMNS`."""
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def batch_of(piece: Sequence[Any]) -> pa.RecordBatch:
    """Return the batch of one row of :data:`COLUMNS`."""
    bucket, source, number, payload = piece
    return _rows([bucket], source, number, [0, len(payload)], pa.py_buffer(payload))


def pack_payload(payload: bytes, source: int) -> pa.RecordBatch:
    """Return the row of :data:`COLUMNS` of something that only the driver reads."""
    return batch_of((0, source, 0, payload))


def pack_error(error: GraphquiltError) -> pa.RecordBatch:
    """Return the row of :data:`COLUMNS` of an error."""
    return pack_payload(json.dumps([type(error).__name__, str(error)]).encode(), _ERROR)


def raise_error(source: int, payload: bytes | pa.Buffer) -> None:
    """Raise the error that a row of :data:`COLUMNS` is, if it is one."""
    if source == _ERROR:
        name, message = json.loads(bytes(payload))
        raise getattr(errors, name, TaskError)(message)


def _without_constants(table: pa.Table) -> pa.Table:
    """Leave out columns of one integer, or of nulls, which the schema says instead: weights are often all alike."""
    constants: dict[str, int | None] = {}
    for name, column in zip(table.column_names[1:], table.columns[1:], strict=True):  # one stays, for the rows
        if column.type == pa.int64() and column.null_count in (0, len(column)):
            ends = pc.min_max(column)
            if ends["min"] == ends["max"]:
                constants[name] = ends["min"].as_py()
    if not constants:
        return table
    facts = json.dumps({"names": table.column_names, "constants": constants})
    return table.drop_columns(list(constants)).replace_schema_metadata({_CONSTANTS: facts})


def _cut(table: pa.Table) -> Iterator[pa.Table]:
    """Halve a table until a piece is small enough."""
    if table.nbytes > PIECE_BYTES and table.num_rows > 1:
        half = table.num_rows // 2
        yield from _cut(table.slice(0, half))
        yield from _cut(table.slice(half))
    elif table.num_rows:
        yield table


def _rows(buckets: list[int], source: int, first: int, ends: list[int], payloads: pa.Buffer) -> pa.RecordBatch:
    count = len(buckets)
    offsets = pa.array(ends, pa.int32()).buffers()[1]
    columns = [
        pa.array(buckets, pa.int32()),
        pa.array([source] * count, pa.int32()),
        pa.array(range(first, first + count), pa.int32()),
        pa.Array.from_buffers(pa.binary(), count, [None, offsets, payloads]),  # none of the bytes is copied
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)
