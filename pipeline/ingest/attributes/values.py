"""Columns of node attributes to numbers, categories and lists: accepted types, and rows that are unsound."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.ids import broken_text
from pipeline.ingest.rejected import RowVerdict, Verdicts, is_missing, is_text
from pipeline.ingest.weights import numbers_from_text

#: Longer texts are rejected: they are descriptions, which no two nodes share.
MAX_VALUE_BYTES = 16_384


def numbers_of(column: pa.Array, verdicts: Verdicts, name: str, where: str) -> pa.Array:
    """Return a column of numbers as float64, null where there is none; rows with a verdict hold any value.

    Raises
    ------
    InputError : for a column that is neither numbers, booleans nor text.
    """
    kind = column.type
    absent = is_missing(column)
    if is_text(kind):
        text = pc.cast(column, pa.string(), safe=False)
        digits = text if absent is None else pc.if_else(pa.array(absent), "0", text)
        values = numbers_from_text(digits, verdicts, RowVerdict.UNREADABLE_NUMBER)
    elif pa.types.is_null(kind):
        return pa.nulls(len(column), pa.float64())
    elif any(holds(kind) for holds in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)):
        values = pc.cast(column, pa.float64(), safe=False).fill_null(0.0).to_numpy()
    elif pa.types.is_boolean(kind):
        values = pc.cast(pc.cast(column, pa.int8()), pa.float64()).fill_null(0.0).to_numpy()
    else:
        raise InputError(
            f"column '{name}' of {where} is {kind}; attributes under numbers are numbers, booleans, or numbers as "
            f"text. Write it as CAST({name} AS DOUBLE), or list it under categories or lists."
        )
    verdicts.mark(~np.isfinite(values), RowVerdict.NUMBER_NOT_FINITE)
    return pa.array(values, mask=absent)


def categories_of(column: pa.Array, verdicts: Verdicts, name: str, where: str) -> pa.Array:
    """Return a column of categories as strings, null where there is none, which the empty text is too.

    Raises
    ------
    InputError : for a column that is neither text, integers nor booleans.
    """
    text = _as_text(column, name, where, "categories")
    verdicts.mark(_unsound(text), RowVerdict.UNREADABLE_VALUE)
    absent = is_missing(text)
    return text if absent is None else pc.if_else(pa.array(absent), None, text)


def lists_of(
    column: pa.Array, separator: str | None, verdicts: Verdicts, name: str, where: str, *, is_json: bool
) -> pa.Array:
    """Return a column of several values each as list<string>: distinct values in the order of their bytes.

    Text is cut at ``separator`` and blanks around the values are dropped; of JSON lines, lists are lists.

    Raises
    ------
    InputError : for a column that is no list of text, integers or booleans, and text without ``separator``.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return _lists(np.empty(0, np.int64), pa.array([], pa.string()), len(column))
    if is_text(kind):
        text = pc.cast(column, pa.string(), safe=False)
        if separator is None and not is_json:
            raise InputError(
                f"column '{name}' of {where} is text; say where its values part (separator = \"|\" in the section of "
                "these attributes), or list it under categories"
            )
        verdicts.mark(broken_text(text), RowVerdict.UNREADABLE_VALUE)
        rows, values = _split_json(text, separator, verdicts) if is_json else _split(text, str(separator))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        # From lengths: parent indices count what may lie under a null, and flattening does not.
        rows = np.repeat(np.arange(len(column)), pc.fill_null(pc.list_value_length(column), 0).to_numpy())
        values = _as_text(pc.list_flatten(column), name, where, "lists")
    else:
        raise InputError(
            f"column '{name}' of {where} is {kind}; attributes under lists are lists, or text with a separator. "
            "List it under categories or numbers."
        )
    unsound = _unsound(values)
    if unsound is not None:
        is_bad = np.zeros(len(column), np.bool_)
        is_bad[rows[unsound]] = True
        verdicts.mark(is_bad, RowVerdict.UNREADABLE_VALUE)
        rows, values = rows[~unsound], values.filter(pa.array(~unsound))
    return _lists(rows, values, len(column))


def _as_text(column: pa.Array, name: str, where: str, key: str) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.dictionary_decode(), name, where, key)
    if is_text(kind) or pa.types.is_null(kind):
        return pc.cast(column, pa.string(), safe=False)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pc.cast(column, pa.string())
    advice = f"Write it as CAST({name} AS BIGINT) or AS STRING" if pa.types.is_floating(kind) else "Leave it out"
    raise InputError(
        f"column '{name}' of {where} is {column.type}; attributes under {key} are text, integers or booleans. "
        f"{advice}, or list it under numbers."
    )


def _unsound(text: pa.Array) -> NDArray[np.bool_] | None:
    """Return which values are too long or no UTF-8, None if all are sound."""
    is_bad = broken_text(text)
    length = pc.fill_null(pc.binary_length(text), 0).to_numpy()
    if length.max(initial=0) <= MAX_VALUE_BYTES:
        return is_bad
    is_long: NDArray[np.bool_] = length > MAX_VALUE_BYTES
    return is_long if is_bad is None else is_long | is_bad


def _split(text: pa.Array, separator: str) -> tuple[NDArray[np.int64], pa.Array]:
    # As bytes: a text that is no UTF-8 has its verdict, and must not end the run.
    parts = pc.split_pattern(text.cast(pa.binary()), separator.encode())
    values = pc.cast(pc.list_flatten(parts), pa.string(), safe=False)
    rows = np.repeat(np.arange(len(text)), pc.fill_null(pc.list_value_length(parts), 0).to_numpy())
    return rows, pc.ascii_trim_whitespace(values)


def _split_json(text: pa.Array, separator: str | None, verdicts: Verdicts) -> tuple[NDArray[np.int64], pa.Array]:
    """Read lists of JSON lines, which come as their text; cut other text at the separator, if there is one."""
    rows: list[int] = []
    values: list[str] = []
    is_wrong = np.zeros(len(text), np.bool_)
    for row, raw in enumerate(text.cast(pa.binary()).to_pylist()):
        if not raw:
            continue
        value = raw.decode(errors="replace")
        entries = _json_list(value)
        if entries is None and separator is not None:
            entries = [entry.strip() for entry in value.split(separator)]
        if entries is None:
            is_wrong[row] = True
            continue
        rows += [row] * len(entries)
        values += entries
    verdicts.mark(is_wrong, RowVerdict.WRONG_TYPE)
    return np.array(rows, np.int64), pa.array(values, pa.string())


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        entries = json.loads(text)
    except ValueError:
        return None
    if any(isinstance(value, (list, dict, float)) for value in entries):
        return None
    return [json.dumps(value) if isinstance(value, bool) else str(value) for value in entries if value is not None]


def _lists(rows: NDArray[np.int64], values: pa.Array, n: int) -> pa.Array:
    """Values with the number of their row -> lists of distinct values, sorted."""
    table = pa.table({"row": rows, "value": values})
    table = table.filter(pc.greater(pc.fill_null(pc.binary_length(table["value"]), 0), 0))
    table = table.group_by(["row", "value"], use_threads=False).aggregate([])
    table = table.sort_by([("row", "ascending"), ("value", "ascending")])
    offsets = np.zeros(n + 1, np.int32)
    np.cumsum(np.bincount(table["row"].to_numpy(), minlength=n), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), table["value"].combine_chunks())
