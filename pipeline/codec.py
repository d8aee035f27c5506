"""Dataclasses <-> JSON: what crosses a process or a night is a frozen dataclass, and this is the only way through.

Fields are numbers, texts, paths, enumerations, pydantic sections, vectors, other dataclasses, and tuples and mappings
of these. What is read must be what would be written: unknown and missing fields are refused, and so are values of
another type. Numbers that JSON has no word for (NaN, infinity) are refused too.
"""

import json
import math
from functools import cache
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, GetPydanticSchema, TypeAdapter, ValidationError
from pydantic_core import SchemaSerializer, core_schema

T = TypeVar("T")

#: A field that holds an (n,) float64 array; it is written as a list of numbers, and read back to the last bit.
Vector = Annotated[
    NDArray[np.float64],
    GetPydanticSchema(
        lambda _, __: core_schema.no_info_after_validator_function(
            lambda numbers: np.array(numbers, np.float64),
            core_schema.list_schema(core_schema.float_schema()),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda vector: vector.tolist()),
        )
    ),
]

#: Marks a pydantic section, as ``Annotated[EmbeddingConfig, SECTION]``, that reads lists as tuples by itself: a section
#: with validators before its fields can't be read strictly.
SECTION = GetPydanticSchema(
    lambda section, _: core_schema.no_info_plain_validator_function(
        section.model_validate,
        serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.model_dump(mode="json")),
    )
)

#: Marks a field, as ``Annotated[Kind, NOT_WRITTEN]``, that stays in its process; it needs a default.
NOT_WRITTEN = (Field(exclude=True), GetPydanticSchema(lambda _, __: core_schema.any_schema()))


class CodecError(ValueError):
    """JSON values are not those of the class that they are read as."""


def to_values(value: Any, kind: Any = None) -> Any:
    """Return the JSON values of a dataclass; ``kind`` is its type, by default its class.

    Raises
    ------
    pydantic_core.PydanticSerializationError : a field holds another type than it declares.
    CodecError : a number is NaN or infinite.
    """
    value_type: Any = kind or type(value)
    values = _serializer(value_type).to_python(value, mode="json", warnings="error")
    try:
        json.dumps(values, allow_nan=False)
    except ValueError as error:
        raise CodecError(f"{_first_not_finite(values, _name_of(value_type))}, which JSON can't hold") from error
    return values


def from_values(kind: type[T], values: Any) -> T:
    """Return the ``kind`` that :func:`to_values` made JSON values of.

    Raises
    ------
    CodecError : naming the class, the first field that differs, and how.
    """
    value_type: Any = kind  # which mypy doesn't hold for hashable as a type
    adapter = _adapter(value_type)
    try:
        value: T = adapter.validate_json(json.dumps(values, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the value"
        raise CodecError(f"{_name_of(kind)}: {where}: {first['msg']}") from error
    output = to_values(value, kind)
    if output != values:
        raise CodecError(f"{_name_of(kind)}: {_first_difference(output, values)}")
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


@cache
def _serializer(kind: Any) -> SchemaSerializer:
    """Return what leaves NaN and infinity as they are: an adapter's own writes them as null in fields of type Any."""
    return SchemaSerializer(_adapter(kind).core_schema, {"ser_json_inf_nan": "constants"})


def _name_of(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


def _first_not_finite(values: Any, where: str) -> str:
    """Name the first number that is NaN or infinite; "" where there is none."""
    if isinstance(values, float) and not math.isfinite(values):
        return f"{where} is {values}"
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return next((text for name, item in items if (text := _first_not_finite(item, f"{where}.{name}"))), "")


def _first_difference(output: Any, values: Any, where: str = "") -> str:
    """Name the first place where two JSON values differ."""
    if isinstance(output, dict) and isinstance(values, dict):
        for name in sorted({*output, *values}):
            place = f"{where}.{name}".removeprefix(".")
            if name not in values:
                return f"{place} is missing"
            if name not in output:
                return f"{place} is not a field"
            if output[name] != values[name]:
                return _first_difference(output[name], values[name], place)
    if isinstance(output, list) and isinstance(values, list) and len(output) == len(values):
        for number, (item, value) in enumerate(zip(output, values, strict=True)):
            if item != value:
                return _first_difference(item, value, f"{where}[{number}]")
    return f"{where or 'the value'} is {values!r}, which would be written as {output!r}"
