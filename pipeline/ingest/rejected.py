"""Why a row is not used, and the rejected rows as they stood in the input."""

from collections.abc import Mapping, Sequence
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.ingest.key_names import with_key_names_of
from schemas.tables import REJECTED

#: Columns of the rejected table that hold the row's own values, as text.
VALUES = ("source", "target", "weight", "event", "timestamp")


class RowVerdict(IntEnum):
    """What becomes of a row, as one byte. The first verdict that applies counts, in this order."""

    KEPT = 0
    UNREADABLE_LINE = 1
    NULL_TIMESTAMP = 2
    UNREADABLE_TIMESTAMP = 3
    TIMESTAMP_OUT_OF_RANGE = 4
    LATE = 5  # at or after the end of the date: no fault of the row, counted apart
    EARLY = 6  # before the window: likewise
    WRONG_TYPE = 7
    NULL_ID = 8
    UNREADABLE_ID = 9
    NULL_EVENT = 10
    UNKNOWN_EVENT = 11
    NULL_WEIGHT = 12
    UNREADABLE_WEIGHT = 13
    WEIGHT_NOT_FINITE = 14
    WEIGHT_NOT_POSITIVE = 15
    WEIGHT_OUT_OF_RANGE = 16
    SELF_LOOP = 17
    UNREADABLE_NUMBER = 18
    NUMBER_NOT_FINITE = 19
    UNREADABLE_VALUE = 20
    CONFLICT = 21
    REPEATED_HEADER = 22


_TIMES = (
    "times as 2024-01-31 or 2024-01-31T10:00:00.5+0000 (' UTC', Z, none: UTC) and numbers in input.timestamp_unit; "
    "where input.timestamp_format is set, that form alone"
)
_WEIGHTS = "numbers above 0, at most 1,048,576, as 1.5 or 2e-3; not 1,5"
_KINDS = "the kinds under [input.event_weights]"

#: By verdict: the reason in the rejected table, and which values would be accepted.
_REJECTIONS: Mapping[RowVerdict, tuple[str, str]] = {
    RowVerdict.UNREADABLE_LINE: (
        "unreadable line",
        "lines of as many columns as the header, quotes in values doubled; of JSON, one object each",
    ),
    RowVerdict.NULL_TIMESTAMP: ("null timestamp", _TIMES),
    RowVerdict.UNREADABLE_TIMESTAMP: ("unreadable timestamp", _TIMES),
    RowVerdict.TIMESTAMP_OUT_OF_RANGE: ("timestamp out of range", "times from 1990 to 2100"),
    RowVerdict.WRONG_TYPE: ("wrong type", "ids as text or integers, other values as text or numbers"),
    RowVerdict.NULL_ID: ("null id", "an id at both ends, and not of blanks alone"),
    RowVerdict.UNREADABLE_ID: (
        "unreadable id",
        "ids of characters in input.encoding, without NULs, of at most 16,384 bytes",
    ),
    RowVerdict.NULL_EVENT: ("null event", _KINDS),
    RowVerdict.UNKNOWN_EVENT: ("unknown event", _KINDS),
    RowVerdict.NULL_WEIGHT: ("null weight", _WEIGHTS),
    RowVerdict.UNREADABLE_WEIGHT: ("unreadable weight", _WEIGHTS),
    RowVerdict.WEIGHT_NOT_FINITE: ("non-finite weight", _WEIGHTS),
    RowVerdict.WEIGHT_NOT_POSITIVE: ("non-positive weight", _WEIGHTS),
    RowVerdict.WEIGHT_OUT_OF_RANGE: ("weight out of range", _WEIGHTS),
    RowVerdict.SELF_LOOP: ("self loop", "two different ids, or input.self_loops = 'keep'"),
    RowVerdict.UNREADABLE_NUMBER: ("unreadable number", "numbers"),
    RowVerdict.NUMBER_NOT_FINITE: ("non-finite number", "finite numbers"),
    RowVerdict.UNREADABLE_VALUE: ("unreadable value", "values in UTF-8, of at most some KiB"),
    RowVerdict.CONFLICT: ("same id with other values", "one row a node, or rows that are equal"),
    RowVerdict.REPEATED_HEADER: ("repeated header", "one header, at the top of a file"),
}
REASONS: Mapping[RowVerdict, str] = {verdict: reason for verdict, (reason, _) in _REJECTIONS.items()}
ACCEPTED: Mapping[str, str] = dict(_REJECTIONS.values())
_REASON_OF = np.array([REASONS.get(verdict, "") for verdict in RowVerdict], dtype=object)


class Verdicts:
    """A verdict for each row of a batch; nothing is allocated until a row fails."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.codes: NDArray[np.uint8] | None = None

    def mark(self, rows: NDArray[np.bool_] | None, verdict: RowVerdict) -> None:
        """Give a verdict to the rows of a mask that have none yet."""
        if rows is None or not rows.any():
            return
        if self.codes is None:
            self.codes = np.zeros(self._rows, np.uint8)
        self.codes[rows & (self.codes == RowVerdict.KEPT)] = verdict

    @property
    def is_kept(self) -> NDArray[np.bool_] | None:
        """The rows without a verdict; None if that is all of them."""
        return None if self.codes is None else self.codes == RowVerdict.KEPT

    def counts(self) -> dict[RowVerdict, int]:
        """Return the number of rows of each verdict that occurs."""
        if self.codes is None:
            return {RowVerdict.KEPT: self._rows} if self._rows else {}
        counts = np.bincount(self.codes, minlength=len(RowVerdict))
        return {verdict: int(counts[verdict]) for verdict in RowVerdict if counts[verdict]}


def shorten(text: str) -> str:
    """Return a text for a log line."""
    return text if len(text) <= 40 else f"{text[:40]}..."


def is_missing(column: pa.Array) -> NDArray[np.bool_] | None:
    """Return where a column has no value (null or the empty text); None if nowhere.

    The two are one in every format. CSV can't tell them apart, and as an id the empty text would make one hub
    of all rows without one.
    """
    absent = column.is_null()
    if is_text(column.type):
        absent = pc.or_kleene(absent, pc.equal(pc.binary_length(column), 0))
    elif not column.null_count:
        return None
    return mask_of(absent)


def mask_of(condition: pa.Array) -> NDArray[np.bool_]:
    """Return a boolean column as an array; null is false."""
    column = pc.fill_null(condition, False) if condition.null_count else condition
    result: NDArray[np.bool_] = column.to_numpy(zero_copy_only=False)
    return result


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds text, in whatever layout."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def rejected_rows(
    place: tuple[str, str], rows: NDArray[np.int64], values: Mapping[str, pa.Array], codes: NDArray[np.uint8]
) -> pa.RecordBatch:
    """Return the rows of a batch whose verdict is a reason, as a batch of the rejected table.

    Parameters
    ----------
    place : section of the config by which the file is read; its path, relative to that section's.
    rows : (n,) numbers of the batch's rows in their file.
    values : column of :data:`VALUES` -> the values read, any type, n each; missing columns become null.
    codes : (n,) verdicts.
    """
    at = np.flatnonzero(np.isin(codes, list(REASONS)))
    texts = {name: to_text(values[name].take(pa.array(at))) for name in VALUES if name in values}
    return _batch(place, rows[at], texts, pa.array(_REASON_OF[codes[at]], pa.string()))


def rejected_lines(place: tuple[str, str], rows: Sequence[int], lines: Sequence[str]) -> pa.RecordBatch:
    """Return lines that could not be split into columns; each stands whole in ``source``."""
    reasons = pa.repeat(REASONS[RowVerdict.UNREADABLE_LINE], len(rows))
    return _batch(place, np.array(rows, np.int64), {"source": pa.array(lines, pa.string())}, reasons)


def _batch(
    place: tuple[str, str], rows: NDArray[np.int64], values: Mapping[str, pa.Array], reasons: pa.Array
) -> pa.RecordBatch:
    section, file = place
    columns = {"section": pa.repeat(section, len(rows)), "file": pa.repeat(file, len(rows)), "row": pa.array(rows)}
    remedies = [with_key_names_of(section, ACCEPTED[reason]) for reason in reasons.to_pylist()]
    columns |= {"reason": reasons, "accepted": pa.array(remedies, pa.string())}
    empty = pa.nulls(len(rows), pa.string())
    return pa.RecordBatch.from_arrays(
        [columns.get(name, values.get(name, empty)) for name in REJECTED.schema.names], schema=REJECTED.schema
    )


def to_text(values: pa.Array) -> pa.Array:
    """Return values of any accepted type as strings; bytes that are not UTF-8 become U+FFFD."""
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))  # the zone may be known elsewhere only
    try:
        text = pc.cast(values, pa.string())
        text.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raw = (values.cast(pa.binary()) if is_text(values.type) else values).to_pylist()
        texts = (value.decode(errors="replace") if isinstance(value, bytes) else value for value in raw)
        return pa.array([None if value is None else str(value) for value in texts], pa.string())
    return text
