"""Convert ids of callers to those of a table, and find them in it.

Whether a table stores ids as int64 or as strings depends on all ids of a run together, and may change from one
night to the next; so 7 and "7" mean the same node in either. A string that is no canonical decimal ("007", "a7") is
in no int64 table.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ids: TypeAlias = "Iterable[int] | Iterable[str] | NDArray[Any] | pa.Array | pa.ChunkedArray"

_CANONICAL = r"^(0|-?[1-9][0-9]{0,18})$"
#: Above this many ids, a hash table of a row group's ids costs less than a binary search for each id.
_FEW = 64


def convert_ids(ids: Ids, id_type: pa.DataType) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Convert ids to a table's own type, int64 or string.

    Returns
    -------
    (n,) array without nulls, and (n,) bool: False where the id can't be in such a table (its value is 0).

    Raises
    ------
    TypeError : for a single id, None, floats, booleans, bytes, or integers and strings in one list.
    """
    array = _as_array(ids)
    fits = np.ones(len(array), np.bool_)
    if pa.types.is_integer(array.type):
        if id_type != pa.int64():
            return pc.cast(array, pa.string()), fits
        if array.type == pa.uint64():
            fits = array.to_numpy() <= np.uint64(2**63 - 1)
            array = pc.if_else(pa.array(fits), array, pa.scalar(0, pa.uint64()))
        return pc.cast(array, pa.int64()), fits
    text = pc.cast(array, pa.string())
    if id_type != pa.int64():
        return text, fits
    canonical = pc.match_substring_regex(text, _CANONICAL)
    # Nineteen digits may exceed int64; decimals can be compared with its limits.
    wide = pc.cast(pc.if_else(canonical, text, "0"), pa.decimal128(38, 0))
    limits = [pa.scalar(limit, pa.int64()).cast(pa.decimal128(38, 0)) for limit in (-(2**63), 2**63 - 1)]
    inside = pc.and_(pc.greater_equal(wide, limits[0]), pc.less_equal(wide, limits[1]))
    narrow = pc.cast(pc.if_else(inside, wide, pa.scalar(0, pa.int64()).cast(wide.type)), pa.int64())
    return narrow, pc.and_(canonical, inside).to_numpy(zero_copy_only=False)


def sort_order(ids: pa.Array) -> NDArray[np.int64]:
    """Return the positions that put ids in a table's order: by value, or bytewise."""
    if ids.type == pa.int64():
        return np.argsort(ids.to_numpy(), kind="stable")
    return pc.array_sort_indices(ids).to_numpy().astype(np.int64)


def assign_groups(ids: pa.Array, firsts: Sequence[Any]) -> NDArray[np.int64]:
    """Return for each sorted id the last position in ``firsts`` whose value is not above it; -1 if there is none."""
    if ids.type == pa.int64():
        return np.searchsorted(np.asarray(firsts, np.int64), ids.to_numpy(), side="right") - 1
    # Code points sort like their UTF-8 bytes, so Python compares strings as the table does.
    if len(ids) < len(firsts):
        return np.array([bisect_right(firsts, value.as_py()) for value in ids], np.int64) - 1
    starts = [_bisect(ids, first) for first in firsts]
    return np.repeat(np.arange(-1, len(firsts)), np.diff([0, *starts, len(ids)]))


def find_positions(ids: pa.Array, within: pa.Array) -> NDArray[np.int64]:
    """Return the position of each id in a sorted array; -1 for ids that are not in it."""
    if not len(within):
        return np.full(len(ids), -1, np.int64)
    if ids.type == pa.int64():
        values, table = ids.to_numpy(), within.to_numpy()
        position = np.minimum(np.searchsorted(table, values), table.size - 1)
        return np.where(table[position] == values, position, -1)
    if len(ids) <= _FEW:
        return np.array([_exact(within, value.as_py()) for value in ids], np.int64)
    return pc.fill_null(pc.index_in(ids, value_set=within), -1).to_numpy().astype(np.int64)


def _exact(within: pa.Array, value: str) -> int:
    position = _bisect(within, value)
    return position if position < len(within) and within[position].as_py() == value else -1


def _bisect(within: pa.Array, value: str) -> int:
    return bisect_left(range(len(within)), value, key=lambda position: within[position].as_py())


def _as_array(ids: Ids) -> pa.Array:
    if isinstance(ids, (str, bytes, int, float)) or ids is None:
        raise TypeError(f"ids is one {type(ids).__name__}; give a list or an array of ids")
    if not isinstance(ids, (pa.Array, pa.ChunkedArray)):
        ids = _from_python(ids if isinstance(ids, (np.ndarray, list)) else list(ids))
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if isinstance(ids, pa.DictionaryArray):
        ids = ids.dictionary_decode()
    if ids.null_count:
        raise TypeError(f"{ids.null_count} of {len(ids)} ids are null; every id is an integer or a string")
    is_text = pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type) or ids.type == pa.string_view()
    if not is_text and not pa.types.is_integer(ids.type):
        if not len(ids):
            return pa.array([], pa.string())
        hint = "cast whole numbers to int64 first" if pa.types.is_floating(ids.type) else "every id is one or the other"
        raise TypeError(f"ids are {ids.type}; they must be integers or strings ({hint})")
    return ids


def _from_python(ids: NDArray[Any] | list[Any]) -> pa.Array:
    try:
        return pa.array(ids)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        values = list(ids)
        # Integers beyond 64 bits are stored as their decimals.
        if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            return pa.array([str(value) for value in values], pa.string())
        if all(isinstance(value, str) for value in values):  # numpy's variable-width strings
            return pa.array(values, pa.string())
        kinds = sorted({type(value).__name__ for value in values})
        raise TypeError(f"ids are of types {kinds}; they must be all integers or all strings") from error
