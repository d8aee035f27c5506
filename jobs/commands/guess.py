"""What the columns of an input mean, guessed from names and values, with the reason for each guess."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.ingest.rejected import Verdicts
from pipeline.ingest.timestamps import microseconds

#: Ends of one pair of columns, of two types: who acts, and on what.
_ACTORS = (
    *("user", "customer", "visitor", "member", "account", "client", "session", "viewer", "listener", "reader"),
    *("person", "author", "buyer", "player", "student", "patient", "reviewer"),
)
_OBJECTS = (
    *("item", "product", "article", "movie", "song", "track", "artist", "video", "book", "paper", "page", "business"),
    *("merchant", "location", "venue", "poi", "place", "ad", "game", "repo", "sku", "asin", "course", "recipe", "tag"),
)
#: Ends of one pair of columns, of one type.
_PLAIN_PAIRS = (
    *(("src", "dst"), ("source", "target"), ("from", "to"), ("head", "tail"), ("package", "needs"), ("u", "v")),
    *(("follower", "followee"), ("citing", "cited"), ("node1", "node2"), ("id1", "id2"), ("left", "right")),
)
_WEIGHTS = ("weight", "strength", "count", "counts", "rating", "score", "quantity", "qty", "plays", "clicks", "freq")
_EVENTS = ("event", "event_type", "action", "interaction", "interaction_type", "kind", "behavior", "behaviour")
_TIMES = ("timestamp", "ts", "time", "datetime", "date", "event_time", "unixtime", "created", "day")

_MAX_KINDS = 20
_MOST_REJECTED = 0.005  # of the first rows; half of what a run allows by default


@dataclass
class Guess:
    """Keys of ``[input]`` with values, what each rests on, and remarks for the config file."""

    values: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)

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
    source, target = _guess_ends(columns, guess)
    rest = {name: column for name, column in columns.items() if name not in (source, target)}
    _guess_timestamp(rest, guess)
    rest.pop(guess.values.get("timestamp", ""), None)
    _guess_weight(rest, guess)
    _guess_event(rest, guess)
    return guess


def _guess_ends(columns: Mapping[str, pa.Array], guess: Guess) -> tuple[str, str]:
    stems = {_stem(name): name for name in reversed(list(columns)) if _is_id_like(columns[name])}
    actor = next((stem for stem in _ACTORS if stem in stems), None)
    thing = next((stem for stem in _OBJECTS if stem in stems), None)
    if actor and thing:
        return _two_types(guess, stems[actor], actor, stems[thing], thing, "by their names")
    for left, right in _PLAIN_PAIRS:
        if left in stems and right in stems:
            node_type = "package" if left == "package" else "node"
            return _one_type(guess, stems[left], stems[right], node_type, "by their names")
    unlikely = {*_WEIGHTS, *_EVENTS, *_TIMES}
    likely = [name for name, column in columns.items() if _is_id_like(column) and name.lower() not in unlikely]
    # A name that ends in "id" says so; among the others, the first in the file.
    likely.sort(key=lambda name: not re.search(r"(?:^|[_\W])(?:id|uuid)$|[a-z]I[dD]$", name))
    if len(likely) < 2:
        found = ", ".join(f"{name} ({column.type})" for name, column in columns.items())
        raise InputError(
            f"two columns of ids are needed, and {len(likely)} can be one; the columns are {found}. Ids are strings, "
            "integers, decimals without a fraction or 16-byte UUIDs; cast float ids where they are written"
        )
    source, target = sorted(likely[:2], key=list(columns).index)
    if _overlap(columns[source], columns[target]):
        return _one_type(guess, source, target, "node", "the first two columns that can be ids; they share values")
    types = [_stem(source) or "source", _stem(target) or "target"]
    if types[0] == types[1]:
        types = ["source", "target"]
    return _two_types(guess, source, types[0], target, types[1], "the first two columns that can be ids")


def _two_types(guess: Guess, source: str, source_type: str, target: str, target_type: str, why: str) -> tuple[str, str]:
    two = f"{why}; two types of nodes ({source_type}, {target_type}) make a bipartite graph"
    for key, value in (("source", source), ("target", target)):
        guess.set(key, value, two)
    for key, value in (("source_type", source_type), ("target_type", target_type)):
        guess.set(key, value, "after its column; vectors of the two types stand in one table")
    return source, target


def _one_type(guess: Guess, source: str, target: str, node_type: str, why: str) -> tuple[str, str]:
    for key, value in (("source", source), ("target", target)):
        guess.set(key, value, f"{why}; both ends are of one type")
    for key in ("source_type", "target_type"):
        guess.set(key, node_type, "equal types mean a plain graph without direction; name two types if the ends differ")
    return source, target


def _guess_timestamp(columns: Mapping[str, pa.Array], guess: Guess) -> None:
    for name in _by_name(columns, _TIMES, r"(?:_at|_time|_ts|_date|_timestamp)$"):
        why = _why_no_time(columns[name], name, guess)
        if why is None:
            return
        guess.leave("timestamp", f"'{name}' looks like a time but {why}")
    for name, column in columns.items():
        is_time = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
        if is_time and _why_no_time(column, name, guess) is None:
            return


def _why_no_time(column: pa.Array, name: str, guess: Guess) -> str | None:
    """Take a column as timestamp, or say why not."""
    integers = _as_integers(column)
    unit = None
    if integers is not None:
        unit = _unit_of(integers)
        if unit is None:
            return f"its integers, such as {_example(column)}, are no seconds, ms, us or ns of our days"
    try:
        verdicts = Verdicts(len(column))
        microseconds(column, unit, verdicts, name, "the input")  # type: ignore[arg-type]
    except InputError:
        return f"ingest reads no {column.type} as a time"
    if verdicts.kept is not None and np.count_nonzero(~verdicts.kept) > _MOST_REJECTED * len(column):
        return f"{np.count_nonzero(~verdicts.kept)} of the first {len(column)} values can't be read as one"
    if unit is None:
        guess.set("timestamp", name, f"by its values ({column.type}); without a zone they are UTC")
    else:
        guess.set("timestamp", name, "by its name and values")
        guess.set("timestamp_unit", unit, f"by magnitude: {_example(column)} is a moment of our days in '{unit}'")
    return None


def _unit_of(values: np.ndarray[Any, np.dtype[np.int64]]) -> str | None:
    """The unit in which all values are moments from 1973 to 2286; units lie three digits apart."""
    for unit, digits in (("s", 8), ("ms", 11), ("us", 14), ("ns", 17)):
        if values.min() >= 10**digits and values.max() < 10 ** (digits + 2):
            return unit
    return None


def _guess_weight(columns: Mapping[str, pa.Array], guess: Guess) -> None:
    for name in _by_name(columns, _WEIGHTS, r"_(?:weight|count|score|rating)$"):
        column = columns[name]
        try:
            numbers = pc.cast(column, pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            guess.leave("weight", f"'{name}' is named like a weight but is not numeric ({_example(column)})")
            continue
        good = pc.and_(pc.is_finite(numbers), pc.greater(numbers, 0.0)).fill_null(False)
        bad = len(column) - int(pc.sum(good).as_py() or 0)
        if bad > _MOST_REJECTED * len(column):
            guess.leave(
                "weight",
                f"'{name}' is named like a weight, but {bad} of the first {len(column)} values are not above 0",
            )
            continue
        guess.set("weight", name, "by its name; its first values are above 0. Without it, every row counts 1")
        return


def _guess_event(columns: Mapping[str, pa.Array], guess: Guess) -> None:
    for name in _by_name(columns, _EVENTS, r"_event$"):
        column = columns[name]
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        kinds = sorted(kind for kind in pc.unique(column).to_pylist() if kind is not None)
        if not 0 < len(kinds) <= _MAX_KINDS:
            continue
        # Not set: a kind that the first rows don't show would be rejected. All at 1 is what leaving it out means.
        weights = ", ".join(f"{_quoted(kind)} = 1.0" for kind in kinds)
        guess.why["event"] = (
            f"'{name}' holds kinds of interactions ({', '.join(kinds)}); all count 1 until you weigh every kind"
        )
        guess.remarks["event"] = [
            guess.why["event"],
            f"event = {_quoted(name)}",
            f"event_weights = {{{weights}}}",
        ]
        return


def _by_name(columns: Mapping[str, pa.Array], names: Sequence[str], ending: str) -> list[str]:
    """Names that are on a list, in its order, then those with a telling ending."""
    lower = {name.lower(): name for name in reversed(list(columns))}
    known = [lower[name] for name in names if name in lower]
    return [*known, *(name for name in columns if re.search(ending, name.lower()) and name not in known)]


def _stem(name: str) -> str:
    """Return "user" for user_id, userId and USER."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    return re.sub(r"[_\W]*(?:_|\b)(?:id|ids|ix|idx|key|uuid|code|name)$", "", words).strip("_ ") or words


def _is_id_like(column: pa.Array) -> bool:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
    is_uuid = pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16
    if not (is_text or is_whole or is_uuid or isinstance(kind, pa.BaseExtensionType)):
        return False
    return bool(column.null_count <= _MOST_REJECTED * len(column))


def _as_integers(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """The values of a column of integers, or of text that holds nothing else; None for others."""
    known = column.drop_null()
    is_text = pa.types.is_string(known.type) or pa.types.is_large_string(known.type)
    if not len(known) or not (is_text or pa.types.is_integer(known.type)):
        return None
    try:
        found: np.ndarray[Any, np.dtype[np.int64]] = pc.cast(known, pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    return found


def _overlap(left: pa.Array, right: pa.Array) -> bool:
    """Whether a tenth of one end's values are among the other's."""
    if left.type != right.type:
        return False
    left, right = (pc.unique(column.drop_null()) for column in (left, right))
    shared = int(pc.sum(pc.is_in(left, value_set=right)).as_py() or 0)
    return shared >= max(1, min(len(left), len(right)) // 10)


def _example(column: pa.Array) -> str:
    known = column.drop_null()
    return str(known[0].as_py()) if len(known) else "nothing"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
