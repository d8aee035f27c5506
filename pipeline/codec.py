"""Dataclasses <-> JSON: what crosses a process or a night is a frozen dataclass, and this is the only way through.

Fields are numbers, texts, paths, enumerations, pydantic sections, other dataclasses, and tuples and mappings of
these. What is read must be what would be written: unknown and missing fields are refused, and so are values of
another type.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class CodecError(ValueError):
    """JSON values are not those of the class that they are read as."""


def to_values(value: Any, kind: Any = None) -> Any:
    """Return the JSON values of a dataclass; ``kind`` is its type, by default its class.

    Raises
    ------
    pydantic_core.PydanticSerializationError : a field holds another type than it declares.
    """
    declared: Any = kind or type(value)
    return _adapter(declared).dump_python(value, mode="json", warnings="error")


def from_values(kind: type[T], values: Any) -> T:
    """Return the ``kind`` that :func:`to_values` made JSON values of.

    Raises
    ------
    CodecError : naming the class, the first field that differs, and how.
    """
    declared: Any = kind  # which mypy doesn't hold for hashable as a type
    adapter = _adapter(declared)
    try:
        value: T = adapter.validate_json(json.dumps(values, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the value"
        raise CodecError(f"{_name_of(kind)}: {where}: {first['msg']}") from error
    written = adapter.dump_python(value, mode="json", warnings="error")
    if written != values:
        raise CodecError(f"{_name_of(kind)}: {_first_difference(written, values)}")
    return value


def to_text(value: Any, kind: Any = None) -> str:
    """Return a dataclass as one line of JSON."""
    return json.dumps(to_values(value, kind), allow_nan=False)


def from_text(kind: type[T], text: str | bytes) -> T:
    """Return the ``kind`` that :func:`to_text` wrote; CodecError as :func:`from_values` raises it."""
    return from_values(kind, json.loads(text))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _name_of(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


def _first_difference(written: Any, values: Any, where: str = "") -> str:
    """Name the first place where two JSON values differ."""
    if isinstance(written, dict) and isinstance(values, dict):
        for name in sorted({*written, *values}):
            place = f"{where}.{name}".removeprefix(".")
            if name not in values:
                return f"{place} is missing"
            if name not in written:
                return f"{place} is not a field"
            if written[name] != values[name]:
                return _first_difference(written[name], values[name], place)
    if isinstance(written, list) and isinstance(values, list) and len(written) == len(values):
        for number, (one, other) in enumerate(zip(written, values, strict=True)):
            if one != other:
                return _first_difference(one, other, f"{where}[{number}]")
    return f"{where or 'the value'} is {values!r}, which would be written as {written!r}"
