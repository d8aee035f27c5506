"""Times written as text: numbers, ISO 8601, and the form that ``input.timestamp_format`` names."""

from collections.abc import Callable, Mapping
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config.time_layout import MONTHS, ZONE, TimeLayout
from pipeline.ingest.rejected import mask_of

_CLOCK = r"(?:[01]\d|2[0-3])(?::[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?)?"
#: RFC 3339, a blank for the T allowed, and one before the zone; parts may be left out from the right.
_ISO = rf"^\d{{4}}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:[ T]{_CLOCK}(?: ?{ZONE})?)?$"
_ZONED = rf"[ T]{_CLOCK} ?{ZONE}$"

_INTEGER = r"^-?(?:\d{1,18}|[1-8]\d{18})$"  # what int64 holds for certain: nanoseconds until the year 2255
_EXPONENT = r"[eE]\+?(?:\d|1[0-8])"
NUMBER = rf"[+-]?\d+(?:\.\d*)?(?:{_EXPONENT})?"
#: Below 10**19, and of a width that decimal128(38, 18) holds.
_SMALL = rf"^\+?(?:\d{{1,19}}(?:\.\d*)?|\d(?:\.\d{{0,17}})?{_EXPONENT})$"
_DECIMAL = pa.decimal128(38, 18)

#: Text of one form and the unit of numbers -> int64 and the unit it is in.
Reader = Callable[[pa.Array, str], tuple[NDArray[np.int64], str]]


def written_forms(text: pa.Array) -> Mapping[Reader, NDArray[np.bool_]]:
    """Return by reader, which rows it is for, (n,) each; a date that is not in the calendar is for none."""
    is_integer = _matches(text, _INTEGER)
    is_iso = _matches(text, _ISO)
    if is_iso.any():
        dates = text.filter(pa.array(is_iso))
        parts = ((0, 4), (5, 7), (8, 10))
        is_iso[is_iso] = _days(*(_numbers(pc.utf8_slice_codeunits(dates, *part)) for part in parts))[1]
    rest = ~(is_integer | is_iso)
    is_number = rest & _matches(text, f"^{NUMBER}$") if rest.any() else rest
    return {read_integers: is_integer, read_decimals: is_number, read_iso: is_iso}


def read_integers(text: pa.Array, unit: str) -> tuple[NDArray[np.int64], str]:
    """Return integers."""
    return pc.cast(text, pa.int64()).to_numpy(), unit


def read_decimals(text: pa.Array, unit: str) -> tuple[NDArray[np.int64], str]:
    """Return numbers with a fraction or an exponent, rounded down to microseconds; -1 for negative and huge ones."""
    digits = {"s": 6, "ms": 3}.get(unit, 0)
    is_small = pc.match_substring_regex(text, _SMALL)
    cut = pc.replace_substring_regex(pc.if_else(is_small, text, "0"), r"(\.\d{18})\d+", r"\1")
    value = pc.cast(cut, _DECIMAL)
    is_small = pc.and_(is_small, pc.less(value, pa.scalar(Decimal(9 * 10 ** (18 - digits)), _DECIMAL)))
    value = pc.round(pc.if_else(is_small, value, pa.scalar(Decimal(0), _DECIMAL)), digits, round_mode="down")
    whole = pc.multiply(pc.cast(value, pa.decimal128(20 + digits, digits)), pa.scalar(Decimal(10**digits)))
    return pc.if_else(is_small, pc.cast(whole, pa.int64()), -1).to_numpy(), "us" if digits else unit


def read_iso(text: pa.Array, unit: str) -> tuple[NDArray[np.int64], str]:  # noqa: ARG001  (it has its own)
    """Return dates and times of ISO 8601, whose days are in the calendar, as microseconds."""
    result = np.empty(len(text), np.int64)
    # Beyond microseconds, digits are cut: that rounds down, as a fraction counts forwards.
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")
    has_zone = _matches(text, _ZONED)
    if has_zone.any():
        zone = pc.replace_substring_regex(text.filter(pa.array(has_zone)), " ?(?:UTC|GMT)$", "Z")
        zone = pc.replace_substring_regex(zone, r" (Z|[+-][\d:]+)$", r"\1")
        result[has_zone] = pc.cast(zone, pa.timestamp("us", "UTC")).view(pa.int64()).to_numpy()
    if not has_zone.all():
        naive = text.filter(pa.array(~has_zone))
        result[~has_zone] = pc.cast(naive, pa.timestamp("us")).view(pa.int64()).to_numpy()
    return result, "us"


def read_layout(text: pa.Array, layout: TimeLayout) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return texts of one layout as (n,) int64 microseconds, and which have its form and a day of the calendar."""
    fields = pc.extract_regex(text, layout.pattern)
    is_read = fields.is_valid().to_numpy(zero_copy_only=False)
    matches = fields.filter(pa.array(is_read))
    part = dict(zip(layout.fields, matches.flatten(), strict=True))
    number = {letter: _numbers(part[letter]) for letter in part if letter not in "bpfz"}
    n = len(matches)
    zeros, ones = np.zeros(n, np.int64), np.ones(n, np.int64)
    year = number["Y"] if "Y" in part else number["y"] + np.where(number["y"] < 69, 2000, 1900)  # POSIX
    month = _month_of(part["b"]) if "b" in part else number.get("m", ones)
    days, exists = _days(year, month, number.get("d", ones))
    if "j" in part:
        days, exists = days + number["j"] - 1, number["j"] <= _days(year + 1, ones, ones)[0] - days
    hours = number.get("H", zeros)
    if "I" in part:
        is_afternoon = pc.equal(pc.ascii_lower(part["p"]), "pm").to_numpy(zero_copy_only=False)
        hours = number["I"] % 12 + 12 * is_afternoon
    seconds = ((days * 24 + hours) * 60 + number.get("M", zeros)) * 60 + number.get("S", zeros)
    if "z" in part:
        seconds -= _offset_of(part["z"])
    micros = _numbers(pc.utf8_slice_codeunits(pc.ascii_rpad(part["f"], 6, "0"), 0, 6)) if "f" in part else zeros
    result = np.zeros(len(text), np.int64)
    result[is_read] = seconds * 1_000_000 + micros
    is_read[is_read] = exists
    return result, is_read


def _month_of(text: pa.Array) -> NDArray[np.int64]:
    names = pa.array([name[:3] for name in MONTHS])
    return _numbers(pc.index_in(pc.ascii_lower(pc.utf8_slice_codeunits(text, 0, 3)), names)) + 1


def _offset_of(zone: pa.Array) -> NDArray[np.int64]:
    """Seconds that clocks of a zone are ahead of UTC."""
    offset = pc.if_else(pc.match_substring_regex(zone, "^[+-]"), pc.replace_substring(zone, ":", ""), "+0000")
    hhmm = pc.ascii_rpad(offset, 5, "0")
    hours, minutes = (_numbers(pc.utf8_slice_codeunits(hhmm, start, start + 2)) for start in (1, 3))
    return np.where(_matches(hhmm, "^-"), -1, 1) * (hours * 3600 + minutes * 60)


def _days(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return days since 1970, and whether each is in the calendar (31 April is not, nor is a year 0)."""
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    first, after = (start.astype("datetime64[D]").astype(np.int64) for start in (months, months + 1))
    return first + day - 1, (day <= after - first) & (year > 0)  # a year 0 is some system's word for null


def _numbers(column: pa.Array) -> NDArray[np.int64]:
    result: NDArray[np.int64] = pc.cast(column, pa.int64()).to_numpy()
    return result


def _matches(text: pa.Array, pattern: str) -> NDArray[np.bool_]:
    return mask_of(pc.match_substring_regex(text, pattern)).copy()  # the caller clears bits of it
