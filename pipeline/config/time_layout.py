"""``input.timestamp_format``: what a written time looks like, as one regular expression with a group a field."""

import re
from dataclasses import dataclass

#: Months by their English names, as %b and %B read them.
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in MONTHS)
#: A time zone as a time of ISO 8601 may carry it: UTC under its three names, or an offset.
ZONE = r"(?:Z|UTC|GMT|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"

#: Field -> its expression beside a sign or a letter, where one digit may do as two.
_FIELDS = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"1[0-2]|0?[1-9]",
    "b": f"(?i:{_MONTH})",
    "d": r"3[01]|[12]\d|0?[1-9]",
    "j": r"36[0-6]|3[0-5]\d|[12]\d\d|0?[1-9]\d|0?0?[1-9]",
    "H": r"2[0-3]|[01]?\d",
    "I": r"1[0-2]|0?[1-9]",
    "p": "(?i:[ap]m)",
    "M": r"[0-5]?\d",
    "S": r"[0-5]?\d",
    "f": r"\d{1,9}",
    "z": ZONE,
}
#: Where no sign stands between two numbers, each has all its digits.
_ADJACENT = {
    "m": r"0[1-9]|1[0-2]",
    "d": r"0[1-9]|[12]\d|3[01]",
    "j": r"36[0-6]|3[0-5]\d|[12]\d\d|0[1-9]\d|00[1-9]",
    "H": r"[01]\d|2[0-3]",
    "I": r"0[1-9]|1[0-2]",
    "M": r"[0-5]\d",
    "S": r"[0-5]\d",
}
_SAME = {"B": "b", "e": "d", "Z": "z"}
_SHORT = {"F": "%Y-%m-%d", "D": "%m/%d/%y", "T": "%H:%M:%S", "R": "%H:%M"}
_UNREAD = {"a": "[A-Za-z]+", "A": "[A-Za-z]+", "%": "%"}
#: A field means something only below these.
_NEEDS = {
    **{"m": "Yy", "b": "Yy", "j": "Yy", "d": "mb", "H": "dj", "I": "dj"},
    **{"p": "I", "M": "HI", "S": "M", "f": "S", "z": "HI"},
}
_EXCLUSIVE = ("Yy", "mbj", "dj", "HI")


@dataclass(frozen=True)
class TimeLayout:
    """The form of a written time. Each group of ``pattern`` is named after a letter of ``fields``."""

    pattern: str
    fields: tuple[str, ...]


def time_layout(text: str) -> TimeLayout:
    """Return what a format such as ``%m/%d/%Y %H:%M`` matches: the letters are those of strptime.

    Raises
    ------
    ValueError : a letter that is none, a field that stands twice or without the one it belongs to, or no year.
    """
    spelt = re.sub("%([FDTR])", lambda match: _SHORT[match[1]], text)
    parts = re.findall("%.?|[^%]", spelt, re.DOTALL)
    fields: list[str] = []
    pattern = ""
    for place, part in enumerate(parts):
        if part[0] != "%":
            pattern += re.escape(part)
            continue
        letter = _SAME.get(part[1:], part[1:])
        if letter in _UNREAD:
            pattern += _UNREAD[letter]
            continue
        if letter not in _FIELDS:
            raise ValueError(f"timestamp_format is '{text}': '{part}' is none of {_letters()}")
        beside = parts[max(0, place - 1)], parts[min(place + 1, len(parts) - 1)]
        is_adjacent = any(neighbor != part and re.fullmatch(r"%[a-zA-Z]|\d", neighbor) for neighbor in beside)
        patterns = _ADJACENT if is_adjacent and letter in _ADJACENT else _FIELDS
        pattern += f"(?P<{letter}>{patterns[letter]})"
        fields.append(letter)
    _refuse_incomplete(text, fields)
    return TimeLayout(f"^{pattern}$", tuple(fields))


def _refuse_incomplete(text: str, fields: list[str]) -> None:
    if not {"Y", "y"} & set(fields):
        raise ValueError(f"timestamp_format is '{text}': it has no year; write it as '%m/%d/%Y', of {_letters()}")
    for group in _EXCLUSIVE:
        if sum(fields.count(letter) for letter in group) > 1:
            raise ValueError(f"timestamp_format is '{text}': it says one thing twice, of {_with_signs(group)}")
    for letter in fields:
        if fields.count(letter) > 1:
            raise ValueError(f"timestamp_format is '{text}': %{letter} stands twice")
        if letter in _NEEDS and not set(_NEEDS[letter]) & set(fields):
            raise ValueError(f"timestamp_format is '{text}': %{letter} needs {_with_signs(_NEEDS[letter])}")
    if "I" in fields and "p" not in fields:
        raise ValueError(f"timestamp_format is '{text}': %I needs %p, which half of the day it is; or write %H")


def _letters() -> str:
    return _with_signs("".join([*_FIELDS, *_SAME, *_SHORT, *_UNREAD]))


def _with_signs(letters: str) -> str:
    return " ".join(f"%{letter}" for letter in letters)
