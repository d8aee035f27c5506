"""Rows of equal integer keys as groups, and what is summed over them: hash tables that hold row numbers alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel
from pipeline.kernels.hashing import mix

_EMPTY = np.uint32(2**32 - 1)
_ONE = np.uint64(1)
_SMALLEST = np.iinfo(np.int64).min


def number_groups(keys: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Number the groups of rows with equal keys in the order of their first rows.

    Parameters
    ----------
    keys : one or two columns of (n,) int64.

    Returns
    -------
    group : (n,) uint32, the group of each row.
    first : (groups,) uint32, ascending: the first row of each.

    Raises
    ------
    ValueError : no column, or more than two; columns of different lengths; 2**32 - 1 rows.

    Cost: one pass; 8 bytes a row, and a table of up to 16.
    """
    if not 1 <= len(keys) <= 2 or len(keys[0]) != len(keys[-1]):
        raise ValueError(f"keys of {[len(key) for key in keys]} rows; one column or two of a length are needed")
    rows = len(keys[0])
    if rows >= 2**32 - 1:
        raise ValueError(f"{rows} rows can't be grouped at once; 2**32 - 2 can")
    first_key, last_key = (np.ascontiguousarray(key) for key in (keys[0], keys[-1]))
    group, first = np.empty(rows, np.uint32), np.empty(rows, np.uint32)
    low, high = (int(first_key.min()), int(first_key.max())) if rows and len(keys) == 1 else (0, 4 * rows)
    if high - low < 2 * rows:  # close together
        groups = _number_by_place(first_key, low, np.full(high - low + 1, _EMPTY), group, first)
    else:
        groups = _number_groups(first_key, last_key, np.full(1 << (2 * rows).bit_length(), _EMPTY), group, first)
    return group, first[:groups]


def sum_groups(group: NDArray[np.uint32], groups: int, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums of values by group, (groups,) int64, which wrap where they leave int64."""
    totals = np.zeros(groups, np.int64)
    _sum_groups(group, np.ascontiguousarray(values), totals)
    return totals


def largest_of_groups(group: NDArray[np.uint32], groups: int, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the largest value of each group, (groups,) int64."""
    largest = np.full(groups, _SMALLEST)
    _largest_of_groups(group, np.ascontiguousarray(values), largest)
    return largest


@kernel
def _number_groups(
    first_key: In[np.int64], last_key: In[np.int64], table: Out[np.uint32], group: Out[np.uint32], first: Out[np.uint32]
) -> int:
    mask = np.uint64(len(table) - 1)
    groups = 0
    for row in range(len(first_key)):
        place = mix(mix(np.uint64(first_key[row])) ^ np.uint64(last_key[row])) & mask
        while True:
            before = table[place]
            if before == _EMPTY:
                table[place] = np.uint32(row)
                first[groups] = np.uint32(row)
                group[row] = np.uint32(groups)
                groups += 1
                break
            if first_key[before] == first_key[row] and last_key[before] == last_key[row]:
                group[row] = group[before]
                break
            place = (place + _ONE) & mask
    return groups


@kernel
def _number_by_place(
    keys: In[np.int64], low: int, number_of: Out[np.uint32], group: Out[np.uint32], first: Out[np.uint32]
) -> int:
    groups = 0
    for row in range(len(keys)):
        place = keys[row] - low
        if number_of[place] == _EMPTY:
            number_of[place] = np.uint32(groups)
            first[groups] = np.uint32(row)
            groups += 1
        group[row] = number_of[place]
    return groups


@kernel
def _sum_groups(group: In[np.uint32], values: In[np.int64], totals: Out[np.int64]) -> None:
    for row in range(len(group)):
        totals[group[row]] += values[row]


@kernel
def _largest_of_groups(group: In[np.uint32], values: In[np.int64], largest: Out[np.int64]) -> None:
    for row in range(len(group)):
        largest[group[row]] = max(largest[group[row]], values[row])
