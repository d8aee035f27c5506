"""Reasons of rejection in words: an example of each, which is never an id, and what would be accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.ingest.ids import MAX_ID_BYTES
from pipeline.ingest.raw_batch import RawBatch
from pipeline.ingest.rejected import REASONS, Verdict, Verdicts, is_text, shortened, to_text
from pipeline.ingest.timestamps import TimeForm, reading_of
from pipeline.ingest.weights import MAX_WEIGHT

_TIMES = (
    "times as 2024-01-31 or 2024-01-31T10:00:00.5+0000 (' UTC', Z, none: UTC), numbers in input.timestamp_unit, "
    "or the one form that input.timestamp_format names"
)
_WEIGHTS = f"numbers above 0, at most {MAX_WEIGHT:,.0f}, as 1.5 or 2e-3; not 1,5"
_KINDS = "the kinds under [input.event_weights]"

#: What would not have been rejected, by reason.
ACCEPTED: Mapping[str, str] = {
    REASONS[verdict]: words
    for verdict, words in {
        Verdict.UNREADABLE_LINE: "lines of as many columns as the header, quotes in values doubled; one JSON object",
        Verdict.NULL_TIMESTAMP: _TIMES,
        Verdict.UNREADABLE_TIMESTAMP: _TIMES,
        Verdict.TIMESTAMP_OUT_OF_RANGE: "times from 1990 to 2100",
        Verdict.WRONG_TYPE: "ids as text or integers, other values as text or numbers",
        Verdict.NULL_ID: "an id at both ends, and not of blanks alone",
        Verdict.UNREADABLE_ID: f"ids of characters in input.encoding, without NULs, of at most {MAX_ID_BYTES:,} bytes",
        Verdict.NULL_EVENT: _KINDS,
        Verdict.UNKNOWN_EVENT: _KINDS,
        Verdict.NULL_WEIGHT: _WEIGHTS,
        Verdict.UNREADABLE_WEIGHT: _WEIGHTS,
        Verdict.WEIGHT_NOT_FINITE: _WEIGHTS,
        Verdict.WEIGHT_NOT_POSITIVE: _WEIGHTS,
        Verdict.WEIGHT_OUT_OF_RANGE: _WEIGHTS,
        Verdict.SELF_LOOP: "two different ids, or input.self_loops = 'keep'",
        Verdict.UNREADABLE_NUMBER: "numbers",
        Verdict.NUMBER_NOT_FINITE: "finite numbers",
        Verdict.UNREADABLE_VALUE: "values in UTF-8, of at most some KiB",
        Verdict.CONFLICT: "one row a node, or rows that are equal",
        Verdict.REPEATED_HEADER: "one header, at the top of a file",
    }.items()
}
#: The field that a reason is about, where its value may be shown.
_FIELD = {
    **dict.fromkeys((Verdict.UNREADABLE_TIMESTAMP, Verdict.TIMESTAMP_OUT_OF_RANGE, Verdict.LATE), "timestamp"),
    Verdict.UNKNOWN_EVENT: "event",
    **dict.fromkeys((Verdict.UNREADABLE_WEIGHT, Verdict.WEIGHT_NOT_FINITE), "weight"),
    **dict.fromkeys((Verdict.WEIGHT_NOT_POSITIVE, Verdict.WEIGHT_OUT_OF_RANGE), "weight"),
}
_TRIED = 100  # rows of one reason, in search of one that says which unit was meant


def examples_of(raw: RawBatch, verdicts: Verdicts, file: str, form: TimeForm) -> dict[Verdict, str]:
    """Return by verdict what one row of it holds, and which row of which file that is."""
    found: dict[Verdict, str] = {}
    for verdict in Verdict if verdicts.codes is not None else ():
        at = np.flatnonzero(verdicts.codes == verdict)
        if verdict != Verdict.KEPT and verdict != Verdict.EARLY and len(at):
            place, words = _example(raw, verdict, at, form)
            found[verdict] = f"{words} (row {raw.rows[place]} of {file})"
    if raw.broken:
        line = raw.broken[0]
        found[Verdict.UNREADABLE_LINE] = f"{line.why}, {len(line.text):,} characters (row {line.row} of {file})"
    return found


def _example(raw: RawBatch, verdict: Verdict, at: NDArray[np.int64], form: TimeForm) -> tuple[int, str]:
    role = _FIELD.get(verdict)
    if role is None or role not in raw.values:
        return int(at[0]), _about_ids(raw, verdict, int(at[0]))
    if role != "timestamp":
        return int(at[0]), repr(shortened(str(to_text(raw.values[role].slice(at[0], 1))[0])))
    readings = [(int(place), reading_of(raw.values[role][int(place)], form)) for place in at[:_TRIED]]
    return next((one for one in readings if " in '" in one[1]), readings[0])


def _about_ids(raw: RawBatch, verdict: Verdict, place: int) -> str:
    """What may be said of a row whose offending value is an id: its kind and size."""
    shapes = {role: _shape(raw.values[role].slice(place, 1)) for role in ("source", "target") if role in raw.values}
    if verdict == Verdict.SELF_LOOP:
        return f"both ends are one id, {shapes.get('source')}"
    return ", ".join(f"{role}: {shape}" for role, shape in shapes.items()) or "empty"


def _shape(value: pa.Array) -> str:
    if value.null_count:
        return "empty"
    if not is_text(value.type):
        return str(value.type)
    raw = bytes(value[0].as_buffer())
    if not raw:
        return "empty"
    try:
        kind = {"[": "a list", "{": "an object"}.get(raw.decode()[0], "text")
    except UnicodeDecodeError:
        kind = "no UTF-8"
    return f"{kind} of {len(raw):,} bytes"


def in_words(rejected: Mapping[str, int], examples: Mapping[str, str]) -> str:
    """Say how many rows were rejected for each reason, with an example and what would be accepted."""
    such_as = {reason: f", such as {example}" for reason, example in examples.items()}
    return "; ".join(
        f"{reason}: {count:,}{such_as.get(reason, '')} (accepted: {ACCEPTED[reason]})"
        for reason, count in rejected.items()
    )


def as_figures(rejected: Mapping[str, int], examples: Mapping[str, str]) -> dict[str, Any]:
    """Return the reasons as JSON values, for manifests."""
    return {
        reason: {"rows": count, "example": examples.get(reason), "accepted": ACCEPTED[reason]}
        for reason, count in rejected.items()
    }
