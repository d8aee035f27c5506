"""What the columns of an input mean, guessed from names and values, with the reason for each guess."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.commands.column_names import ACTORS, OBJECTS, OCCASIONS, parse_name, split_words
from jobs.commands.guess_ends import (
    Ends,
    as_integers,
    can_be_id,
    find_ends,
    looks_like_a_measure,
    numbers_rows,
    words_for_none,
)
from pipeline.errors import InputError
from pipeline.ingest.rejected import Verdicts, is_text, to_text
from pipeline.ingest.timestamps import DIGIT_LAYOUTS, TimeForm, microseconds, unit_that_fits
from pipeline.ingest.weights import MAX_WEIGHT

_WEIGHTS = split_words(
    """
    weight strength count rating score stars quantity qty plays clicks freq frequency amount hours playtime
    times cantidad anzahl quantite menge betrag overall cnt click play visits views listens playcount n nota
    note voto puntuacion valoracion bewertung ocena ilosc aantal quantita quantidade hoeveelheid оценка рейтинг
    количество 评分 数量 評価 평점 수량
    """
)
_EVENTS = split_words(
    """
    event action interaction behavior behaviour engagement feedback activity kind type relation btag evento
    evenement ereignis aktion accion acao azione событие действие 行为 行为类型 事件 事件类型 操作
    """
)
_HAPPENINGS = frozenset(_EVENTS) - {"kind", "type", "relation"}
_TIMES = split_words(
    """
    timestamp ts time datetime unixtime date created day dat dt stamp at when t fecha datum data zeit
    zeitstempel zeitpunkt hora moment tijd heure tarih czas дата время
    时间 时间戳 日期 日時 日付 時刻 시간 날짜 일시 sent
    """
)
#: What a name of a time says beyond that: time_ms, created_utc. With a stem of their own these would be no heads.
_UNITS = frozenset(("utc", "gmt", "ms", "us", "ns", "sec", "seconds", "millis", "micros", "epoch", "unix", "iso"))
_WRITTEN_UNIT = re.compile(r"(utc|gmt|[mun]s)$")  # eventtimems
#: When a row was handled, which is later than what it tells of.
_HANDLED = frozenset(
    ("etl", "load", "loaded", "ingested", "inserted", "processed", "updated", "modified", "received", "sent", "upload")
)

_NO_ENDS = frozenset((*_WEIGHTS, *_EVENTS, *_TIMES))

_HEAD = 100  # rows that rule out most forms
_DAYS = (
    *("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%m-%d-%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y.%m.%d", "%m/%d/%y", "%d/%m/%y"),
    *("%d %b %Y", "%b %d, %Y", "%d-%b-%Y"),
)
_HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_LAYOUTS = (*(day + time for day in _DAYS for time in _HOURS), "%a %b %d %H:%M:%S %z %Y")
_MAX_KINDS = 20
_MOST_REJECTED = 0.005  # of the first rows; half of what a run allows by default


@dataclass
class Guess:
    """Keys of ``[input]`` with values, what each rests on, remarks for the config file, and columns without a part."""

    values: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)  # column -> why

    def set(self, key: str, value: Any, why: str) -> None:
        """Take a value for a key."""
        self.values[key], self.why[key] = value, why

    def leave(self, key: str, why: str) -> None:
        """Leave a key out, and say why it might have been expected."""
        self.why[key] = why
        self.remarks.setdefault(key, []).append(why)


def guess_columns(columns: Mapping[str, pa.Array]) -> Guess:
    """Guess source, target, their types, weight, event and timestamp.

    A guess is only taken if the first rows pass the checks of ingest with it.

    Raises
    ------
    InputError : fewer than two columns can be ids.
    """
    guess = Guess()
    unlikely = [name for name in columns if not parse_name(name).is_id and parse_name(name).head in _NO_ENDS]
    ends = find_ends(columns, unlikely)
    _set_ends(ends, columns, guess)
    rest = {name: column for name, column in columns.items() if name not in (ends.source, ends.target)}
    _guess_timestamp(rest, guess)
    rest.pop(guess.values.get("timestamp", ""), None)
    _guess_weight({name: column for name, column in rest.items() if not _is_of_one_end(name, ends)}, guess)
    rest.pop(guess.values.get("weight", ""), None)
    event = _guess_event(rest, guess)
    rest.pop(event or "", None)
    refusals = {name: why for name in rest for why in guess.why.values() if why.startswith(f"'{name}' ")}
    guess.unused = {name: refusals.get(name) or _why_unused(name, columns, ends) for name in rest}
    return guess


def _set_ends(ends: Ends, columns: Mapping[str, pa.Array], guess: Guess) -> None:
    why_types = "equal types mean a plain graph without direction; name two types if the ends differ"
    if not ends.is_plain:
        why_types = "after its column; vectors of the two types stand in one table"
    for key in ("source", "target"):
        guess.set(key, getattr(ends, key), ends.why)
    for key in ("source_type", "target_type"):
        guess.set(key, getattr(ends, key), why_types)
    loops = _self_loops(ends, columns)
    if loops > _MOST_REJECTED:
        guess.set(
            "self_loops", "keep", f"{loops:.1%} of the first rows are of a node with itself; rejecting more fails a run"
        )
    words = [word for name in (ends.source, ends.target) for word in words_for_none(columns[name])]
    if len(words) > _MOST_REJECTED * len(columns[ends.source]):
        guess.set(
            "null_values", sorted(set(words)), "in columns of ids they stand for no id, not for one that many share"
        )
    if ends.null_share > _MOST_REJECTED:
        bound = min(1.0, math.ceil(150 * ends.null_share) / 100)
        why = f"{ends.null_share:.0%} of the first rows lack an end and are rejected; without them a run would fail"
        guess.set("max_rejected_share", bound, why)


def _is_of_one_end(name: str, ends: Ends) -> bool:
    """Whether a column tells of one end of a pair of one type: white_rating of white_id and black_id."""
    source, target = (set(parse_name(end).words) for end in (ends.source, ends.target))
    return ends.is_plain and not (source ^ target).isdisjoint(parse_name(name).words)


def _self_loops(ends: Ends, columns: Mapping[str, pa.Array]) -> float:
    """Share of rows with one id at both ends, of a plain graph."""
    source, target = columns[ends.source], columns[ends.target]
    if not ends.is_plain or source.type != target.type:
        return 0.0
    return float(pc.mean(pc.equal(source, target)).as_py() or 0.0)


def _why_unused(name: str, columns: Mapping[str, pa.Array], ends: Ends) -> str:
    """Why a column is no part of the interactions."""
    column, column_name = columns[name], parse_name(name)
    if numbers_rows(name, columns):
        return "it numbers the rows"
    if column_name.rank_in(OCCASIONS) is not None:
        return "it says in what an interaction took place, and no end is that"
    if pa.types.is_nested(column.type):
        return f"{column.type}: no id, number or time"
    if not can_be_id(column) or looks_like_a_measure(column):
        return "no id by its type or values; what describes a node can be one of its attributes"
    if column_name.is_id or column_name.rank_in(ACTORS) is not None or column_name.rank_in(OBJECTS) is not None:
        return f"may be an end too: {ends.source} and {ends.target} are likelier by their names"
    return "nothing that is looked for; what describes a node can be one of its attributes"


def _guess_timestamp(columns: Mapping[str, pa.Array], guess: Guess) -> None:
    for name in _by_name(columns, _TIMES):
        why = _why_no_time(columns[name], name, guess)
        if why is None:
            return
        guess.leave("timestamp", f"'{name}' looks like a time but {why}")
    for name, column in columns.items():
        is_time = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
        is_time = is_time or (is_text(column.type) and as_integers(column) is None and looks_like_a_measure(column))
        if is_time and _why_no_time(column, name, guess) is None:
            return


def _why_no_time(column: pa.Array, name: str, guess: Guess) -> str | None:
    """Take a column as timestamp, or say why not."""
    number, forms = _middle(column), [TimeForm()]
    if number is not None:
        unit = unit_that_fits(number)
        forms = [TimeForm(unit)] if unit else [TimeForm(layout=layout) for layout in DIGIT_LAYOUTS]
    elif is_text(column.type):
        forms += [TimeForm(layout=layout) for layout in _LAYOUTS]
    fitting = [form for form in forms if _reads(column.slice(0, _HEAD), form) and _reads(column, form)]
    if not fitting:
        why = (
            "none of the forms tried reads them" if is_text(column.type) else f"ingest reads no {column.type} as a time"
        )
        if number is not None:
            why = "they are no seconds, ms, us or ns of our days"
        return f"its values are such as {_example(column)}, and {why}"
    form, *rest = fitting
    if form.layout is not None and rest:
        return f"its values, such as {_example(column)}, fit both '{form.layout}' and '{rest[0].layout}': say which"
    guess.set("timestamp", name, f"by its name and values ({column.type}); without a zone they are UTC")
    if form.unit is not None:
        guess.set("timestamp_unit", form.unit, f"by magnitude: {_example(column)} is a moment of our days so")
    if form.layout is not None:
        guess.set(
            "timestamp_format", form.layout, f"the only form tried that all of the first rows have: {_example(column)}"
        )
    return None


def _reads(column: pa.Array, form: TimeForm) -> bool:
    """Whether ingest takes (almost) all values as times."""
    verdicts = Verdicts(len(column))
    try:
        microseconds(column, form, verdicts, "it", "the input")
    except InputError:
        return False
    return verdicts.is_kept is None or int(np.count_nonzero(~verdicts.is_kept)) <= _MOST_REJECTED * len(column)


def _middle(column: pa.Array) -> int | None:
    """The median of a column of numbers, or of text that holds nothing else; None for others."""
    integers = as_integers(column)  # which a double may not hold
    if integers is not None:
        return int(np.sort(integers.to_numpy())[len(integers) // 2])
    if not (is_text(column.type) or pa.types.is_floating(column.type)):
        return None
    try:
        numbers = pc.cast(column.drop_null(), pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    numbers = np.sort(numbers[np.isfinite(numbers)])
    return int(numbers[numbers.size // 2]) if numbers.size else None


def _guess_weight(columns: Mapping[str, pa.Array], guess: Guess) -> None:
    for name in _by_name(columns, _WEIGHTS):
        column = columns[name]
        try:
            numbers = pc.cast(column, pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            guess.leave("weight", f"'{name}' is named like a weight but is not numeric ({_example(column)})")
            continue
        good = pc.and_(pc.is_finite(numbers), pc.greater(numbers, 0.0)).fill_null(False)
        good = pc.and_(good, pc.less_equal(numbers, MAX_WEIGHT).fill_null(False))
        bad = len(column) - int(pc.sum(good).as_py() or 0)
        if bad > _MOST_REJECTED * len(column):
            guess.leave(
                "weight",
                f"'{name}' is named like a weight, but {bad} of the first {len(column)} values are not above 0 "
                f"and at most {MAX_WEIGHT:,.0f}",
            )
            continue
        guess.set("weight", name, "by its name; its first values are above 0. Without it, every row counts 1")
        return


def _guess_event(columns: Mapping[str, pa.Array], guess: Guess) -> str | None:
    """Return the column that holds kinds of interactions, and add a remark on it; None if there is none."""
    for name in _by_name(columns, _EVENTS):
        column, words = columns[name], parse_name(name).words
        if len(words) > 1 and _HAPPENINGS.isdisjoint(words):  # the type of what else?
            continue
        if not (is_text(column.type) or pa.types.is_integer(column.type)):
            continue
        different = pc.cast(pc.unique(column.drop_null()), pa.string(), safe=False)
        kinds = sorted(different.to_pylist()) if len(different) <= _MAX_KINDS else []
        if not kinds:
            continue
        # Not set: a kind that the first rows don't show would be rejected. All at 1 is what leaving it out means.
        weights = ", ".join(f"{_toml_text(kind)} = 1.0" for kind in kinds)
        guess.why["event"] = (
            f"'{name}' holds kinds of interactions ({', '.join(kinds)}); all count 1 until you weigh every kind"
        )
        guess.remarks["event"] = [
            guess.why["event"],
            f"event = {_toml_text(name)}",
            f"event_weights = {{{weights}}}",
        ]
        return name
    return None


def _by_name(columns: Mapping[str, pa.Array], words: Sequence[str]) -> list[str]:
    """Columns that are called so, in the list's order, then those whose last word is on it, then written as one."""
    candidates = []
    for position, name in enumerate(columns):
        column_name = parse_name(name)
        # A key of dates, 20240131, is a time where there is no better one.
        if column_name.is_id and (words is not _TIMES or column_name.head not in words):
            continue
        name_words = column_name.words
        if words is _TIMES:
            name_words = tuple(word for word in name_words if word not in _UNITS) or name_words
        head = name_words[-1] if name_words else ""
        forms = [head, head.removesuffix("s")]
        rank = next((words.index(form) for form in forms if form in words), None)
        is_late = words is _TIMES and not _HANDLED.isdisjoint(name_words)
        if rank is not None:
            candidates.append((is_late, column_name.is_id, len(name_words) > 1, rank, position, name))
        elif words is not _EVENTS and _WRITTEN_UNIT.sub("", head).endswith(tuple(filter(_is_long, words))):
            candidates.append((is_late, column_name.is_id, True, len(words), position, name))
    return [name for *_, name in sorted(candidates)]


def _is_long(word: str) -> bool:
    """Whether a word is long enough to be recognised within another."""
    return len(word) > (3 if word.isascii() else 1)


def _example(column: pa.Array) -> str:
    values = column.drop_null()
    return str(to_text(values.slice(0, 1))[0]) if len(values) else "nothing"


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
