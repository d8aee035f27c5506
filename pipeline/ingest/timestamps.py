"""Timestamps of any kind as int64 microseconds since 1970, UTC. Naive ones are UTC.

What lies outside the years 1990 to 2100 is no time of an interaction: a number in another unit, or some
system's word for null (0001-01-01, 1970-01-01, 9999-12-31). It is rejected before it is scaled, so that no
number is too large.
"""

import datetime as dt
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config.time_layout import time_layout
from pipeline.errors import InputError
from pipeline.ingest.rejected import RowVerdict, Verdicts, is_missing, is_text, shorten
from pipeline.ingest.written_times import NUMBER, read_decimals, read_integers, read_iso, read_layout, written_forms

DAY_US = 86_400_000_000
Unit = Literal["s", "ms", "us", "ns"]
UNITS: tuple[Unit, ...] = get_args(Unit)

#: Nanoseconds of each unit, and of a day.
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 1_000, "ns": 1, "D": 86_400 * 10**9}
_FIRST_NS = 631_152_000 * 10**9  # 1990-01-01
_END_NS = 4_133_980_800 * 10**9  # 2101-01-01; below 2**63
#: From 1990 on, a double that counts seconds or finer is a multiple of 2**-23.
_FRACTION_BITS = 23
#: Times as the digits of one number, and how many those are.
DIGIT_LAYOUTS = {"%Y%m%d": 8, "%Y%m%d%H": 10, "%Y%m%d%H%M": 12, "%Y%m%d%H%M%S": 14}


@dataclass(frozen=True)
class TimeForm:
    """How times are written: ``unit`` is that of numbers, ``layout`` is ``input.timestamp_format`` of text."""

    unit: Unit | None = None
    layout: str | None = None


def microseconds(column: pa.Array, form: TimeForm, verdicts: Verdicts, name: str, where: str) -> NDArray[np.int64]:
    """Return a timestamp column as (n,) int64 microseconds; rows with a verdict hold any value.

    What is finer is rounded down, exactly.

    Raises
    ------
    InputError : numbers without a unit, or a type that is no time, naming the column and what to write.
    """
    kind = column.type
    verdicts.mark(is_missing(column), RowVerdict.NULL_TIMESTAMP)
    if pa.types.is_null(kind):
        return np.zeros(len(column), np.int64)
    if pa.types.is_timestamp(kind):
        return _to_microseconds(_integers(column, pa.int64()), kind.unit, verdicts)
    if pa.types.is_date32(kind):
        return _to_microseconds(_integers(column, pa.int32()).astype(np.int64), "D", verdicts)
    if pa.types.is_date64(kind):
        return _to_microseconds(_integers(column, pa.int64()), "ms", verdicts)
    if form.layout and pa.types.is_float64(kind):  # integers that once stood beside a null
        verdicts.mark(np.isnan(column.fill_null(0).to_numpy()), RowVerdict.NULL_TIMESTAMP)
        column, kind = _whole_numbers(column), pa.int64()
    if pa.types.is_decimal(kind) or (form.layout and pa.types.is_integer(kind)):  # 20240131 is a date in some layout
        return _from_text(pc.cast(column, pa.string()), form, verdicts, name, where)
    if pa.types.is_integer(kind):
        if pa.types.is_uint64(kind):
            column = pc.min_element_wise(column, pa.scalar(2**63 - 1, pa.uint64()), skip_nulls=False)
        unit = _unit_of(form, column, name, where)
        return _to_microseconds(_integers(pc.cast(column, pa.int64()), pa.int64()), unit, verdicts)
    if pa.types.is_float64(kind):
        return _from_doubles(column, _unit_of(form, column, name, where), verdicts)
    if is_text(kind):
        return _from_text(pc.cast(column, pa.string(), safe=False), form, verdicts, name, where)
    raise InputError(
        f"column '{name}' of {where} is {kind}; timestamps are timestamp, date, integers or doubles with "
        f"input.timestamp_unit, or text. Write it as CAST({name} AS TIMESTAMP)."
    )


def unit_that_fits(number: int | Fraction) -> Unit | None:
    """Return the unit in which a number is a time from 1990 to 2100; there is one at most."""
    return next((unit for unit in UNITS if _FIRST_NS <= number * _NANOSECONDS[unit] < _END_NS), None)


def reading_of(value: pa.Scalar, form: TimeForm) -> str:
    """Describe a value under its unit, and name the unit in which it would be a time from 1990 to 2100."""
    kind = value.type
    if not value.is_valid:
        return "no value"
    if pa.types.is_temporal(kind):  # a timestamp or a date
        number, unit = value.value, "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
        text, its_number = f"{_moment(number, unit)} ({kind})", f"; its number, {number}, is"
    else:
        text_value = _text_of(value)
        text = repr(shorten(text_value))
        if form.layout is not None:
            return f"{text}, where input.timestamp_format is '{form.layout}'"
        if not re.fullmatch(NUMBER, text_value):
            return text
        number, unit = Fraction(text_value), form.unit
        text, its_number = (f"{text} is {_moment(number, unit)} in '{unit}'", ", and") if unit else (text, ", which is")
    fitting = unit_that_fits(number)
    if fitting is None and not pa.types.is_temporal(kind) and (layout := _layout_of_digits(_text_of(value))):
        return f"{text}; its digits are a date by input.timestamp_format = '{layout}', without a unit"
    if fitting in (None, unit):
        return text
    return f"{text}{its_number} {_moment(number, fitting)} in '{fitting}'"


def _text_of(value: pa.Scalar) -> str:
    if is_text(value.type):
        return bytes(value.as_buffer()).decode(errors="replace").strip()
    return format(value.as_py(), "f") if pa.types.is_float64(value.type) else str(value)


def _layout_of_digits(text: str) -> str | None:
    """Return the format by which digits such as 20240131 are a time from 1990 to 2100."""
    for layout, digits in DIGIT_LAYOUTS.items():
        if re.fullmatch(rf"\d{{{digits}}}(\.0+)?", text):
            verdicts = Verdicts(1)
            _from_text(pa.array([text]), TimeForm(layout=layout), verdicts, "", "")
            return layout if verdicts.codes is None else None
    return None


def _moment(number: int | Fraction, unit: str) -> str:
    seconds = int(number * _NANOSECONDS[unit] // 10**9)
    try:
        return (dt.date(1970, 1, 1) + dt.timedelta(days=seconds // 86_400)).isoformat()
    except OverflowError:
        return f"the year {1970 + seconds // 31_556_952}"


def _unit_of(form: TimeForm, column: pa.Array, name: str, where: str) -> Unit:
    if form.unit is not None:
        return form.unit
    values = column.drop_null()
    raise InputError(_unit_needed(name, where, f"{column.type}", values[0] if len(values) else None))


def _unit_needed(name: str, where: str, values: str, example: pa.Scalar | None) -> str:
    such_as = "" if example is None else f", such as {reading_of(example, TimeForm())}"
    return (
        f"column '{name}' of {where} holds {values}{such_as}: the unit of a number can't be seen; "
        "set input.timestamp_unit to 's', 'ms', 'us' or 'ns' since 1970, or write dates as 2024-01-31"
    )


def _whole_numbers(column: pa.Array) -> pa.Array:
    """Doubles as int64; null where they are none, and where int64 can't hold them."""
    value = column.fill_null(np.nan).to_numpy()
    is_whole = (np.abs(value) < 2.0**63) & (value == np.floor(value))
    return pa.array(np.where(is_whole, value, 0).astype(np.int64), mask=~is_whole)


def _integers(column: pa.Array, storage: pa.DataType) -> NDArray[np.int64]:
    """The integers below a column, 0 where null."""
    plain = column.view(storage)
    result: NDArray[np.int64] = (plain.fill_null(0) if plain.null_count else plain).to_numpy()
    return result


def _bounds(unit: str) -> tuple[int, int]:
    return _FIRST_NS // _NANOSECONDS[unit], _END_NS // _NANOSECONDS[unit]


def _outside(value: NDArray[np.int64], unit: str) -> NDArray[np.bool_] | None:
    """Where numbers of a unit are no times from 1990 to 2100; None if nowhere."""
    first, end = _bounds(unit)
    if not len(value) or (first <= value.min() and value.max() < end):
        return None
    return (value < first) | (value >= end)


def _in_microseconds(value: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    """Numbers of a unit, rounded down; those that are :func:`_outside` may overflow."""
    return value // 1_000 if unit == "ns" else value * (_NANOSECONDS[unit] // 1_000)


def _to_microseconds(value: NDArray[np.int64], unit: str, verdicts: Verdicts) -> NDArray[np.int64]:
    verdicts.mark(_outside(value, unit), RowVerdict.TIMESTAMP_OUT_OF_RANGE)
    return _in_microseconds(value, unit)


def _from_doubles(column: pa.Array, unit: Unit, verdicts: Verdicts) -> NDArray[np.int64]:
    value = column.fill_null(np.nan).to_numpy()
    verdicts.mark(np.isnan(value), RowVerdict.NULL_TIMESTAMP)  # what pandas makes of null
    verdicts.mark(np.isinf(value), RowVerdict.UNREADABLE_TIMESTAMP)
    first, end = _bounds(unit)
    is_inside = (value >= first) & (value < end)
    verdicts.mark(~is_inside, RowVerdict.TIMESTAMP_OUT_OF_RANGE)
    value = np.where(is_inside, value, first)
    whole = np.floor(value)
    # Integers from here on: a product of doubles could round up, into the next second or day.
    fraction = ((value - whole) * 2.0**_FRACTION_BITS).astype(np.int64)
    if unit == "ns":
        return whole.astype(np.int64) // 1_000
    factor = _NANOSECONDS[unit] // 1_000
    result: NDArray[np.int64] = whole.astype(np.int64) * factor + (fraction * factor >> _FRACTION_BITS)
    return result


def _from_text(text: pa.Array, form: TimeForm, verdicts: Verdicts, name: str, where: str) -> NDArray[np.int64]:
    text = pc.ascii_trim_whitespace(text)
    if form.layout is not None:
        if "." not in form.layout:  # 20240131.0: an integer that once stood beside a null
            text = pc.replace_substring_regex(text, r"^(\d+)\.0+$", r"\1")
        result, is_read = read_layout(text, time_layout(form.layout))
        verdicts.mark(~is_read, RowVerdict.UNREADABLE_TIMESTAMP)
        return _to_microseconds(result, "us", verdicts)
    forms = written_forms(text)
    is_number = forms[read_integers] | forms[read_decimals]
    if form.unit is None and is_number.any():
        if verdicts.is_kept is None or is_number[verdicts.is_kept].all():  # all rows that have a timestamp
            raise InputError(_unit_needed(name, where, "numbers as text", text[int(is_number.argmax())]))
        forms = {read_iso: forms[read_iso]}
    result = np.zeros(len(text), np.int64)
    is_read, is_outside = np.zeros(len(text), np.bool_), np.zeros(len(text), np.bool_)
    for read, rows in forms.items():
        if rows.any():
            value, unit = read(text.filter(pa.array(rows)), form.unit or "us")
            result[rows], is_read[rows] = _in_microseconds(value, unit), True
            if (outside := _outside(value, unit)) is not None:
                is_outside[rows] = outside
    verdicts.mark(~is_read, RowVerdict.UNREADABLE_TIMESTAMP)  # after the nulls, which have their verdict
    verdicts.mark(is_outside, RowVerdict.TIMESTAMP_OUT_OF_RANGE)
    return result
