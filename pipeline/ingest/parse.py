"""Rows of the input to clean edges: the only code that decides which rows are good, on every engine.

What a row has to pass, in order: it can be split into columns; its timestamp can be read; it lies before the
end of the date and inside the window (else it is set aside and not looked at any further, so that a bad row
of next week does not change today's run); its ids, its event and its weight are sound; it is not a self loop.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.counts import CheckedRows, Counts
from pipeline.ingest.decay import decay_weights
from pipeline.ingest.ids import ids_of, judge_ids, judge_self_loops, one_type
from pipeline.ingest.odd_ids import odd_ids
from pipeline.ingest.pieces import FilePiece, ParseTask
from pipeline.ingest.raw_batch import RawBatch
from pipeline.ingest.readers import read
from pipeline.ingest.reasons import examples_of
from pipeline.ingest.rejected import REASONS, VALUES, RowVerdict, Verdicts, rejected_lines, rejected_rows
from pipeline.ingest.side_ids import TARGETS, as_numbers, one_target_a_row
from pipeline.ingest.text.formats import TextFormat
from pipeline.ingest.timestamps import DAY_US, TimeForm, Unit, microseconds
from pipeline.ingest.weights import ONE, judge_events, judge_weights, weight_total
from schemas.tables import REJECTED

_HELD_ROW_BYTES, _HELD_VALUE_BYTES = 32, 20


@dataclass(frozen=True)
class ParseRules:
    """What the columns are called and which rows count."""

    section: str = "input"  # of the config, that says it
    source: str = "source"
    target: str = "target"
    weight: str | None = None
    event: str | None = None
    event_weights: Mapping[str, float] = field(default_factory=dict)
    timestamp: str | None = None
    timestamp_unit: Unit | None = None
    timestamp_format: str | None = None
    start_us: int | None = None  # the window's first microsecond
    end_us: int | None = None  # the end of the date, exclusive
    counted_until_us: int | None = None  # rows before it have been counted, but those of
    days_again: tuple[int, ...] = ()  # these days, since 1970-01-01
    future_us: int | None = None  # from here on times are in the future: the end of the day the run began on
    is_plain: bool = False  # both ends have one type, so that equal ids are one node
    is_undirected: bool = False  # and a pair is the same from both ends
    has_many_targets: bool = False  # a row holds any number of targets, which separator parts in text
    separator: str | None = None
    numbered_ends: tuple[str, ...] = ()  # "source" or "target", whose texts turn into numbers
    keeps_self_loops: bool = False
    half_life_us: int | None = None  # with it, weights are as of epoch_us
    epoch_us: int | None = None
    text: TextFormat = field(default_factory=TextFormat)

    def __post_init__(self) -> None:
        if self.half_life_us is not None and (self.epoch_us is None or self.timestamp is None):
            raise ValueError("half_life_us needs epoch_us and timestamp")

    @property
    def columns(self) -> dict[str, str]:
        """Role -> name, of the columns to read."""
        names = {role: getattr(self, role) for role in VALUES}
        if self.has_many_targets:
            names[TARGETS] = names.pop("target")
        return {role: name for role, name in names.items() if name is not None}

    @property
    def time_form(self) -> TimeForm:
        """How timestamps are written."""
        return TimeForm(self.timestamp_unit, self.timestamp_format)


@dataclass(frozen=True)
class HeldColumns:
    """What a task needs to write the rows that it holds as edges of a relation.

    has_weights, has_times : whether rows differ in them. most_bytes : that may be held.
    """

    src_type: str
    dst_type: str
    relation: int
    has_weights: bool
    has_times: bool
    most_bytes: int

    @property
    def most_rows(self) -> int:
        """Rows that may be held."""
        return min(2**32 - 1, self.most_bytes // self.bytes_of(1))

    def bytes_of(self, rows: int) -> int:
        """Return what rows take: two ids, and a word twice while words are sorted; a value twice, and its number."""
        return rows * (_HELD_ROW_BYTES + _HELD_VALUE_BYTES * (self.has_weights + self.has_times))


@dataclass(frozen=True)
class ParsePayload:
    """Input of a task that parses files: which, and by which rules; and which days get files of rows of their own."""

    task: ParseTask
    rules: ParseRules
    own_days: tuple[int, ...] | None = None  # None: all rows go together
    held_columns: HeldColumns | None = None  # the task has all rows of a relation, and adds them up if it can hold them


def rows_schema(id_type: pa.DataType) -> pa.Schema:
    """Return the schema of clean rows, for ids of ``pa.int64()`` or ``pa.string()``."""
    return pa.schema(
        [
            pa.field("src_id", id_type, nullable=False),
            pa.field("dst_id", id_type, nullable=False),
            pa.field("weight", pa.int64(), nullable=False),  # units of 2**-32
            pa.field("events", pa.int64(), nullable=False),  # 1: the sum over a pair is its number of events
            pa.field("last_ts", pa.int64()),  # microseconds, UTC; null in undated input
        ]
    )


def parse(task: ParseTask, rules: ParseRules) -> Iterator[CheckedRows]:
    """Read and check a task's rows, in the order of its pieces, in batches of bounded size.

    Ids of a batch are int64 as long as every id so far was canonical; from the first batch with another one
    on they are string, so a task's batches change type at most once. Ends are as in the input: those of a plain
    graph are ordered once the id type of the run is decided, by :func:`pipeline.ingest.ids.order_ends`.
    """
    as_text = False
    for piece in task.pieces:
        for raw in read(piece, rules.columns, rules.text):
            if rules.has_many_targets:
                raw = one_target_a_row(raw, rules.separator, rules.target, piece)
            rows = check(raw, rules, piece, as_text)
            as_text = as_text or not rows.counts.has_int64_ids
            yield rows


def newest_timestamp(task: ParseTask, rules: ParseRules) -> Counts:
    """Return the newest time before the end of the date; reads no other column.

    Of the counts, ``newest_us`` is that time, ``kept`` the rows with a time, late ones apart, and ``examples``
    may say "late".
    """
    counts = Counts()
    for piece in task.pieces:
        for raw in read(piece, {"timestamp": rules.timestamp or ""}, rules.text):
            verdicts = Verdicts(len(raw.rows))
            verdicts.mark(raw.is_header, RowVerdict.REPEATED_HEADER)
            ts, future = _judge_times(raw, rules, verdicts, piece)
            counts += _counts_of(raw, verdicts, rules, piece, future=future, newest_us=_newest(ts, verdicts.is_kept))
    return counts


def _judge_times(
    raw: RawBatch, rules: ParseRules, verdicts: Verdicts, piece: FilePiece
) -> tuple[NDArray[np.int64], int]:
    """Return times in microseconds, and how many are in the future; give verdicts on late and early ones."""
    ts = microseconds(raw.values["timestamp"], rules.time_form, verdicts, rules.timestamp or "", piece.address)
    future = 0
    if rules.future_us is not None and len(ts) and ts.max() >= rules.future_us:
        is_future = ts >= rules.future_us
        future = int(np.count_nonzero(is_future if verdicts.is_kept is None else is_future & verdicts.is_kept))
    if rules.end_us is not None:
        verdicts.mark(ts >= rules.end_us, RowVerdict.LATE)
    if rules.start_us is not None:
        verdicts.mark(ts < rules.start_us, RowVerdict.EARLY)
    if rules.counted_until_us is not None:
        is_counted = ts < rules.counted_until_us
        if rules.days_again:
            is_counted &= ~np.isin(ts // DAY_US, rules.days_again)
        verdicts.mark(is_counted, RowVerdict.EARLY)
    return ts, future


def _newest(ts: NDArray[np.int64], is_kept: NDArray[np.bool_] | None) -> int | None:
    ts = ts if is_kept is None else ts[is_kept]
    return int(ts.max()) if len(ts) else None


def _counts_of(raw: RawBatch, verdicts: Verdicts, rules: ParseRules, piece: FilePiece, **figures: Any) -> Counts:
    """Return what became of a batch's rows."""
    rows = verdicts.counts()
    if raw.unreadable:
        rows[RowVerdict.UNREADABLE_LINE] = rows.get(RowVerdict.UNREADABLE_LINE, 0) + len(raw.unreadable)
    examples = examples_of(raw, verdicts, piece.relative, rules.time_form)
    return Counts(
        read=len(raw.rows) + len(raw.unreadable),
        kept=rows.get(RowVerdict.KEPT, 0),
        late=rows.get(RowVerdict.LATE, 0),
        early=rows.get(RowVerdict.EARLY, 0),
        rejected={REASONS[verdict]: rows[verdict] for verdict in RowVerdict if verdict in rows and verdict in REASONS},
        examples={REASONS.get(verdict, "late"): words for verdict, words in examples.items()},
        **figures,
    )


def check(raw: RawBatch, rules: ParseRules, piece: FilePiece, as_text: bool) -> CheckedRows:
    """Judge the rows of a batch; ``as_text`` asks for string ids whatever they are."""
    verdicts = Verdicts(len(raw.rows))
    verdicts.mark(raw.is_header, RowVerdict.REPEATED_HEADER)
    ts, future = _judge_times(raw, rules, verdicts, piece) if rules.timestamp is not None else (None, 0)
    verdicts.mark(raw.wrong_type, RowVerdict.WRONG_TYPE)
    source = ids_of(raw.values["source"], rules.source, piece.address)
    target = ids_of(raw.values["target"], rules.target, piece.address)
    judge_ids((source, target), verdicts)
    units = _judge_weights(raw, rules, verdicts, piece)
    loops = judge_self_loops(source, target, verdicts, rules.keeps_self_loops) if rules.is_plain else 0

    is_kept = verdicts.is_kept
    if is_kept is not None:
        mask = pa.array(is_kept)
        source, target = source.filter(mask), target.filter(mask)
        units = None if units is None else units[is_kept]
        ts = None if ts is None else ts[is_kept]
    source, target = (
        as_numbers(ids) if end in rules.numbered_ends else ids for end, ids in (("source", source), ("target", target))
    )
    source, target = one_type(source, target, as_text)
    units = _decay(units, ts, rules, piece)
    rows = _edge_rows(source, target, units, ts)
    counts = _counts_of(
        raw,
        verdicts,
        rules,
        piece,
        future=future,
        self_loops=loops,
        newest_us=None if ts is None else _newest(ts, None),
        weight_total=len(source) * ONE if units is None else weight_total(units),
        has_int64_ids=pa.types.is_int64(source.type),
        blank_lines=raw.blank_lines,
        comment_lines=raw.comment_lines,
        header_lines=raw.header_lines,
        odd_ids={end: odd for end, ids in (("source", source), ("target", target)) if (odd := odd_ids(ids))},
    )
    return CheckedRows(rows, _rejections(raw, verdicts, rules, piece), counts, piece.relative)


def _judge_weights(raw: RawBatch, rules: ParseRules, verdicts: Verdicts, piece: FilePiece) -> NDArray[np.int64] | None:
    """Return the weights of events times those of rows; None where neither is named, so that each row weighs 1."""
    factor = None
    if rules.event is not None:
        factor = judge_events(raw.values["event"], rules.event_weights, verdicts, rules.event, piece.address)
    if rules.weight is None and factor is None:
        return None
    return judge_weights(raw.values.get("weight"), factor, verdicts, rules.weight or "", piece.address)


def _decay(
    units: NDArray[np.int64] | None, ts: NDArray[np.int64] | None, rules: ParseRules, piece: FilePiece
) -> NDArray[np.int64] | None:
    """Return weights as of the epoch, where weights decay."""
    if rules.half_life_us is None or rules.epoch_us is None or ts is None:
        return units
    try:
        return decay_weights(np.full(len(ts), ONE) if units is None else units, ts, rules.epoch_us, rules.half_life_us)
    except InputError as error:
        raise InputError(f"{piece.address}: {error}") from error


def _edge_rows(
    source: pa.Array, target: pa.Array, units: NDArray[np.int64] | None, ts: NDArray[np.int64] | None
) -> pa.RecordBatch:
    n = len(source)
    columns = [
        source,
        target,
        constant_column(ONE, n) if units is None else pa.array(units),
        constant_column(1, n),
        pa.nulls(n, pa.int64()) if ts is None else pa.array(ts),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=rows_schema(source.type))


def _rejections(raw: RawBatch, verdicts: Verdicts, rules: ParseRules, piece: FilePiece) -> pa.RecordBatch:
    batches, place = [], (rules.section, piece.relative)
    if verdicts.codes is not None:
        batches.append(rejected_rows(place, raw.rows, raw.values, verdicts.codes))
    if lines := raw.unreadable:
        batches.append(rejected_lines(place, [line.row for line in lines], [line.text for line in lines]))
    if len(batches) == 1:
        return batches[0]
    return pa.concat_batches(batches) if batches else _NONE_REJECTED


_NONE_REJECTED = pa.RecordBatch.from_pylist([], schema=REJECTED.schema)


@lru_cache(maxsize=8)
def _constant(value: int, n: int) -> pa.Array:
    return pa.array(np.full(n, value, np.int64))


def constant_column(value: int, n: int) -> pa.Array:
    """Return a column of one value: a slice of a cached array, since most batches have the same size."""
    return _constant(value, max(1, 1 << (n - 1).bit_length()) if n else 1).slice(0, n)
