"""Structs in Thrift's compact protocol, as Parquet has them, read and written without a description of their fields."""

from __future__ import annotations

import mmap
from typing import Any, TypeAlias

#: What a value is, by the lower half of a field's first byte.
_TRUE, _FALSE, _BYTE, _NUMBERS, _DOUBLE, _TEXT, _LIST, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, 9, 12
_SHORT = 15  # lists of fewer values say so in their first byte

#: A field's kind and value, by its number. Structs are structs again, lists (kind, values).
Struct: TypeAlias = dict[int, tuple[int, Any]]


def read_struct(data: bytes | mmap.mmap | memoryview, position: int) -> tuple[Struct, int]:
    """Return the struct that begins at a position, and where it ends.

    Raises
    ------
    ValueError : a field that no struct of Parquet has.
    """
    fields: Struct = {}
    number = 0
    while head := data[position]:
        number, kind, position = number + (head >> 4), head & 15, position + 1
        if not head >> 4:
            raise ValueError(f"field of type {kind} without a step")
        if kind in (_TRUE, _FALSE):
            fields[number] = kind, kind == _TRUE
        else:
            value, position = _read_value(data, position, kind)
            fields[number] = kind, value
    return fields, position + 1


def _read_value(data: bytes | mmap.mmap | memoryview, position: int, kind: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE, _BYTE):  # of lists
        return data[position], position + 1
    if kind in _NUMBERS:
        value, position = _read_varint(data, position)
        return value >> 1 ^ -(value & 1), position
    if kind == _DOUBLE:
        return bytes(data[position : position + 8]), position + 8
    if kind == _TEXT:
        size, position = _read_varint(data, position)
        return bytes(data[position : position + size]), position + size
    if kind == _STRUCT:
        return read_struct(data, position)
    if kind != _LIST:
        raise ValueError(f"value of type {kind}")
    size, of_values, position = data[position] >> 4, data[position] & 15, position + 1
    if size == _SHORT:
        size, position = _read_varint(data, position)
    values = []
    for _ in range(size):
        value, position = _read_value(data, position, of_values)
        values.append(value)
    return (of_values, values), position


def _read_varint(data: bytes | mmap.mmap | memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


def write_struct(fields: Struct) -> bytes:
    """Return the bytes of a struct; its fields are at most 15 numbers apart."""
    data = bytearray()
    before = 0
    for number, (kind, value) in sorted(fields.items()):
        data.append(number - before << 4 | kind)
        data += b"" if kind in (_TRUE, _FALSE) else _write_value(kind, value)
        before = number
    return bytes(data) + b"\0"


def _write_value(kind: int, value: Any) -> bytes:
    if kind in (_TRUE, _FALSE, _BYTE):
        return bytes([value])
    if kind in _NUMBERS:
        return _write_varint(value << 1 if value >= 0 else ~value << 1 | 1)
    if kind == _DOUBLE:
        return bytes(value)
    if kind == _TEXT:
        return _write_varint(len(value)) + value
    if kind == _STRUCT:
        return write_struct(value)
    of_values, values = value
    is_short = len(values) < _SHORT
    head = bytes([(len(values) if is_short else _SHORT) << 4 | of_values])
    size = b"" if is_short else _write_varint(len(values))
    return head + size + b"".join(_write_value(of_values, one) for one in values)


def _write_varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)
