"""Timestamps of any kind as int64 microseconds since 1970, UTC. Naive ones are UTC."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.rejected import Verdict, Verdicts, is_text, missing

Unit = Literal["s", "ms", "us", "ns"]

#: Nanoseconds of each unit.
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 1_000, "ns": 1}
_DAY_US = 86_400_000_000

_ZONE = r"(?:Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"
_CLOCK = r"(?:[01]\d|2[0-3])(?::[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?)?"
#: RFC 3339, a blank for the T allowed, parts left out from the right; a date alone is its midnight.
_ISO = rf"^\d{{4}}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:[ T]{_CLOCK}{_ZONE}?)?$"
_ZONED = rf"[ T]{_CLOCK}{_ZONE}$"
_INTEGER = r"^-?(?:\d{1,18}|[1-8]\d{18})$"  # what int64 holds for certain: nanoseconds until the year 2255


def microseconds(column: pa.Array, unit: Unit | None, verdicts: Verdicts, name: str, where: str) -> NDArray[np.int64]:
    """Return a timestamp column as (n,) int64 microseconds; rows marked null or unreadable hold any value.

    Finer units are rounded down. ``unit`` is that of integers, written as numbers or as text.

    Raises
    ------
    InputError : integers without a unit, or a type that is no time, naming the column and what to write.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return microseconds(column.storage, unit, verdicts, name, where)
    if pa.types.is_dictionary(kind):
        return microseconds(column.dictionary_decode(), unit, verdicts, name, where)
    verdicts.mark(missing(column), Verdict.NULL_TIMESTAMP)
    if pa.types.is_null(kind):
        return np.zeros(len(column), np.int64)
    if pa.types.is_timestamp(kind):
        return _scaled(_integers(column, pa.int64()), kind.unit, verdicts)
    if pa.types.is_date32(kind):
        return _integers(column, pa.int32()).astype(np.int64) * _DAY_US
    if pa.types.is_date64(kind):
        return _scaled(_integers(column, pa.int64()), "ms", verdicts)
    if pa.types.is_integer(kind):
        if unit is None:
            raise InputError(_unit_needed(name, where, str(kind)))
        if pa.types.is_uint64(kind):
            too_large = pc.fill_null(pc.greater(column, pa.scalar(2**63 - 1, pa.uint64())), False)
            verdicts.mark(too_large.to_numpy(zero_copy_only=False), Verdict.UNREADABLE_TIMESTAMP)
        return _scaled(_integers(pc.cast(column, pa.int64(), safe=False), pa.int64()), unit, verdicts)
    if is_text(kind):
        return _from_text(pc.cast(column, pa.string(), safe=False), unit, verdicts, name, where)
    raise InputError(
        f"column '{name}' of {where} is {kind}; timestamps are timestamp, date, integers with "
        f"input.timestamp_unit, or ISO 8601 text. Write it as CAST({name} AS TIMESTAMP)."
    )


def _unit_needed(name: str, where: str, found: str) -> str:
    return (
        f"column '{name}' of {where} holds {found}: the unit of an integer can't be seen; "
        "set input.timestamp_unit to 's', 'ms', 'us' or 'ns' since 1970, or write dates as 2024-01-31"
    )


def _integers(column: pa.Array, storage: pa.DataType) -> NDArray[np.int64]:
    """The integers below a column, 0 where null."""
    plain = column.view(storage)
    result: NDArray[np.int64] = (plain.fill_null(0) if plain.null_count else plain).to_numpy()
    return result


def _scaled(value: NDArray[np.int64], unit: str, verdicts: Verdicts) -> NDArray[np.int64]:
    if unit == "us":
        return value
    if unit == "ns":
        return value // 1_000  # floor: a moment before midnight stays before it, in 1969 too
    factor = _NANOSECONDS[unit] // 1_000
    most = (2**63 - 1) // factor
    verdicts.mark((value > most) | (value < -most), Verdict.UNREADABLE_TIMESTAMP)
    return value * factor


def _from_text(text: pa.Array, unit: Unit | None, verdicts: Verdicts, name: str, where: str) -> NDArray[np.int64]:
    text = pc.ascii_trim_whitespace(text)
    result = np.zeros(len(text), np.int64)
    integer = _matches(text, _INTEGER)
    iso = _matches(text, _ISO)
    if integer.any() and unit is None:
        if verdicts.kept is None or integer[verdicts.kept].all():  # all rows that have a timestamp
            raise InputError(_unit_needed(name, where, f"integers as text ({text[int(integer.argmax())]})"))
        integer[:] = False
    if integer.any():
        at = np.flatnonzero(integer)
        digits = pc.cast(text.take(pa.array(at)), pa.int64()).to_numpy()
        inner = Verdicts(len(at))
        result[at] = _scaled(digits, unit or "us", inner)
        if inner.kept is not None:
            integer[at] = inner.kept
    if iso.any():
        iso &= _day_exists(text, iso)
        # Beyond microseconds, digits are cut: that rounds down, as a fraction counts forwards.
        cut = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")
        zoned = iso & _matches(text, _ZONED)
        for rows, kind in ((iso & ~zoned, pa.timestamp("us")), (zoned, pa.timestamp("us", "UTC"))):
            at = np.flatnonzero(rows)
            if len(at):
                result[at] = pc.cast(cut.take(pa.array(at)), kind).view(pa.int64()).to_numpy()
    verdicts.mark(~(integer | iso), Verdict.UNREADABLE_TIMESTAMP)  # after the nulls, which have their verdict
    return result


def _day_exists(text: pa.Array, iso: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a date of the form YYYY-MM-DD is in the calendar (31 April is not)."""
    at = np.flatnonzero(iso)
    dates = text.take(pa.array(at))
    year, month, day = (
        pc.cast(pc.utf8_slice_codeunits(dates, start, stop), pa.int32()).to_numpy()
        for start, stop in ((0, 4), (5, 7), (8, 10))
    )
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[month] + (leap & (month == 2))
    result = np.zeros(len(text), np.bool_)
    result[at] = (day <= days) & (year > 0)  # a year 0 is some system's word for null
    return result


def _matches(text: pa.Array, pattern: str) -> NDArray[np.bool_]:
    found = pc.fill_null(pc.match_substring_regex(text, pattern), False)
    result: NDArray[np.bool_] = found.to_numpy(zero_copy_only=False).copy()  # the caller clears bits of it
    return result
