"""Ids: which columns can hold them, when they are integers, how they turn into text.

An id is a text. Where every id of a run is the canonical decimal of an int64 ("7", "-3", "0"; not "007",
"+7", "-0", " 7"), all tables hold int64 instead, and nothing is lost either way.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.odd_ids import codes_of, may_have_blanks, wide_blanks
from pipeline.ingest.rejected import RowVerdict, Verdicts, is_missing, is_text, mask_of
from pipeline.kernels.id_texts import BLANK, WITH_NUL
from pipeline.kernels.node_keys import keys_of_integers, keys_of_texts

#: 4,096 characters of four bytes. Longer ones are rejected: they are some other column's text.
MAX_ID_BYTES = 16_384
_TRIED_FIRST = 64

_ACCEPTED = "integers, decimal(p, 0), strings, or 16-byte UUIDs"


def ids_of(column: pa.Array, name: str, where: str) -> pa.Array:
    """Return an id column as int64 or string, with its nulls; strings stay as they are, canonical or not.

    Raises
    ------
    InputError : for a type that can't hold ids, naming the column, the type and the cast to use.
    """
    kind = column.type
    if pa.types.is_int64(kind) or pa.types.is_string(kind):
        return column
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        try:
            return pc.cast(column, pa.int64())
        except pa.ArrowInvalid:  # beyond 64 bits: the digits are the id
            return pc.cast(column, pa.string())
    if is_text(kind) or pa.types.is_null(kind):
        return pc.cast(column, pa.string(), safe=False)  # UTF-8 is checked row by row later
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return _uuid_text(column)
    raise InputError(f"column '{name}' of {where} is {kind}; ids are {_ACCEPTED}. {_advice(kind, name)}")


def _advice(kind: pa.DataType, name: str) -> str:
    if pa.types.is_floating(kind):
        return (
            f"Floats can't tell integers above 2**53 apart: write the column as CAST({name} AS BIGINT) "
            "(in pandas astype('Int64'), which keeps missing values)."
        )
    if pa.types.is_decimal(kind):
        return f"Write it as CAST({name} AS DECIMAL({kind.precision - kind.scale}, 0))."
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return f"Write it as CAST({name} AS STRING), or as hexadecimal text if the bytes are no text."
    return f"Write it as CAST({name} AS STRING), or map another column in [input]."


def _uuid_text(column: pa.Array) -> pa.Array:
    """16 bytes -> "01234567-89ab-cdef-0123-456789abcdef"."""
    n = len(column)
    raw = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * 16 : (column.offset + n) * 16]
    if not len(raw):  # all null: there may be no buffer
        return pa.nulls(n, pa.string())
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.full((n, 36), ord("-"), np.uint8)
    at = np.array([i for i in range(36) if i not in (8, 13, 18, 23)])
    text[:, at[0::2]] = digits[raw.reshape(n, 16) >> 4]
    text[:, at[1::2]] = digits[raw.reshape(n, 16) & 15]
    offsets = np.arange(n + 1, dtype=np.int32) * 36
    whole = pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text))
    return pc.if_else(column.is_valid(), whole, None) if column.null_count else whole


def judge_ids(ends: Sequence[pa.Array], verdicts: Verdicts) -> None:
    """Give verdicts on ids that are missing or blank, then on those too long, not UTF-8, or with a NUL."""
    codes = [codes_of(ids) if pa.types.is_string(ids.type) and may_have_blanks(ids) else None for ids in ends]
    for ids, looks in zip(ends, codes, strict=True):
        verdicts.mark(is_missing(ids), RowVerdict.NULL_ID)
        verdicts.mark(None if looks is None else looks == BLANK, RowVerdict.NULL_ID)
        verdicts.mark(wide_blanks(ids) if pa.types.is_string(ids.type) else None, RowVerdict.NULL_ID)
    for ids, looks in zip(ends, codes, strict=True):
        if not pa.types.is_string(ids.type):
            continue
        verdicts.mark(None if looks is None else looks == WITH_NUL, RowVerdict.UNREADABLE_ID)
        length = pc.binary_length(ids)
        if (pc.max(length).as_py() or 0) > MAX_ID_BYTES:
            verdicts.mark(mask_of(pc.greater(length, MAX_ID_BYTES)), RowVerdict.UNREADABLE_ID)
        is_bad = broken_text(ids)
        if is_bad is not None:
            verdicts.mark(is_bad, RowVerdict.UNREADABLE_ID)


def broken_text(text: pa.Array) -> NDArray[np.bool_] | None:
    """Return which strings are no UTF-8, None if all are."""
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        values = (value or b"" for value in text.cast(pa.binary()).to_pylist())
        return np.array([value.decode(errors="ignore").encode() != value for value in values])
    return None


def judge_self_loops(source: pa.Array, target: pa.Array, verdicts: Verdicts, keep: bool) -> int:
    """Return how many rows without a verdict have two equal ids; refuse them unless ``keep``."""
    if source.type != target.type:
        source, target = pc.cast(source, pa.string()), pc.cast(target, pa.string())
    loops = mask_of(pc.equal(source, target))
    if verdicts.is_kept is not None:
        loops &= verdicts.is_kept
    if not keep:
        verdicts.mark(loops, RowVerdict.SELF_LOOP)
    return int(np.count_nonzero(loops))


def one_type(source: pa.Array, target: pa.Array, as_text: bool) -> tuple[pa.Array, pa.Array]:
    """Return both columns as int64 if all ids are canonical and text is not asked for, else as string."""
    columns = (source, target)
    if not as_text:
        numbers = [canonical_int64(column) for column in columns]
        if numbers[0] is not None and numbers[1] is not None:
            return numbers[0], numbers[1]
    return pc.cast(source, pa.string()), pc.cast(target, pa.string())


def canonical_int64(ids: pa.Array) -> pa.Array | None:
    """Return ids as int64 if each is the canonical decimal of one, else None."""
    if pa.types.is_int64(ids.type):
        return ids
    try:
        pc.cast(ids[:_TRIED_FIRST], pa.int64())  # a cast makes a message for every text that it refuses
        numbers = pc.cast(ids, pa.int64())
    except pa.ArrowInvalid:
        return None
    # The cast also takes "007", "-0" and "0x1F": what does not come back the same is not canonical.
    same = pc.equal(pc.cast(numbers, pa.string()), ids)
    return numbers if pc.all(same, min_count=0).as_py() else None


def keys_of(node_type: str, ids: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """Return the keys of nodes of one type by their ids without nulls, (n,) uint64: equal for 7 and "7"."""
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    return np.concatenate([np.empty(0, np.uint64), *(_keys_of(node_type, chunk) for chunk in chunks)])


def _keys_of(node_type: str, ids: pa.Array) -> NDArray[np.uint64]:
    if pa.types.is_int64(ids.type):
        return keys_of_integers(node_type, ids.to_numpy())
    texts = ids.cast(pa.string()).cast(pa.large_binary())
    _, offsets, data = texts.buffers()
    offset = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return keys_of_texts(node_type, offset, np.frombuffer(data or b"", np.uint8))


def order_ends(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return a plain graph's edges with ``src_id <= dst_id``: int64 by value, strings by their UTF-8 bytes.

    The two orders differ (9 < 10, "10" < "9"), so this is applied once, after the id type of the run is
    decided: batches as :func:`pipeline.ingest.parse.parse` yields them are not ordered.
    """
    source, target, *rest = rows.columns
    swap = pc.greater(source, target)
    if not pc.any(swap, min_count=0).as_py():
        return rows
    ends = pc.if_else(swap, target, source), pc.if_else(swap, source, target)
    return pa.RecordBatch.from_arrays([*ends, *rest], schema=rows.schema)
