"""Examples of rejected rows, in words that never hold an id."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.ingest.raw_batch import RawBatch
from pipeline.ingest.rejected import RowVerdict, Verdicts, is_text, shorten, to_text
from pipeline.ingest.timestamps import TimeForm, reading_of

#: The field of a reason, where its value may be shown.
_FIELD = {
    **dict.fromkeys((RowVerdict.UNREADABLE_TIMESTAMP, RowVerdict.TIMESTAMP_OUT_OF_RANGE, RowVerdict.LATE), "timestamp"),
    RowVerdict.UNKNOWN_EVENT: "event",
    **dict.fromkeys((RowVerdict.UNREADABLE_WEIGHT, RowVerdict.WEIGHT_NOT_FINITE), "weight"),
    **dict.fromkeys((RowVerdict.WEIGHT_NOT_POSITIVE, RowVerdict.WEIGHT_OUT_OF_RANGE), "weight"),
}
_TRIED = 100  # rows of one reason, in search of one that says which unit was meant


def examples_of(raw: RawBatch, verdicts: Verdicts, file: str, form: TimeForm) -> dict[RowVerdict, str]:
    """Return an example by verdict: what one row holds, and which row of which file it is."""
    examples: dict[RowVerdict, str] = {}
    for verdict in RowVerdict if verdicts.codes is not None else ():
        at = np.flatnonzero(verdicts.codes == verdict)
        if verdict != RowVerdict.KEPT and verdict != RowVerdict.EARLY and len(at):
            position, words = _example(raw, verdict, at, form)
            examples[verdict] = f"{words} (row {raw.rows[position]} of {file})"
    if raw.unreadable:
        examples[RowVerdict.UNREADABLE_LINE] = about_line(raw, file)
    return examples


def about_line(raw: RawBatch, file: str) -> str:
    """Describe the first line that is no row: what is wrong with it, its length, number and file."""
    line = raw.unreadable[0]
    return f"{line.why}, {len(line.text):,} characters (row {line.row} of {file})"


def _example(raw: RawBatch, verdict: RowVerdict, at: NDArray[np.int64], form: TimeForm) -> tuple[int, str]:
    role = _FIELD.get(verdict)
    if role is None or role not in raw.values:
        return int(at[0]), _about_ids(raw, verdict, int(at[0]))
    if role != "timestamp":
        return int(at[0]), repr(shorten(str(to_text(raw.values[role].slice(at[0], 1))[0])))
    readings = [(int(position), reading_of(raw.values[role][int(position)], form)) for position in at[:_TRIED]]
    return next((reading for reading in readings if " in '" in reading[1]), readings[0])


def _about_ids(raw: RawBatch, verdict: RowVerdict, position: int) -> str:
    """Describe a row whose offending value is an id, by kind and size only."""
    ends = [role for role in ("source", "target") if role in raw.values]
    shapes = {role: kind_and_size(raw.values[role].slice(position, 1)) for role in ends}
    if verdict == RowVerdict.SELF_LOOP:
        return f"both ends are one id, {shapes.get('source')}"
    return ", ".join(f"{role}: {shape}" for role, shape in shapes.items()) or "empty"


def kind_and_size(value: pa.Array) -> str:
    """Return kind and size of the one value of an array."""
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
