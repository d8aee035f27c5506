"""Rows in one or two bytes an entry, for the way between parts, and in one byte for readers.

On the way, columns are taken in fixed groups of 16. A row's group has one scale, a power of two, so that scaling rounds
nothing: an entry is its code times the scale. The codes of a group depend on nothing but its 16 entries.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import InMatrix, OutMatrix, kernel
from pipeline.kernels.vector_tiles import GROUP

DTYPES = ("float16", "int8")

_AT_ONCE = 16_384  # rows of a copy in codes
_NOT_FINITE = 255
_FIRST_INFINITE = np.int32(0x7F800000)
_ABSOLUTE = np.int32(0x7FFFFFFF)
_LARGEST_INT8 = 127.0
_LARGEST_HALF = np.int64(0x77FF)  # the last below 2**15
_HALF_NORMAL = 2.0**-14
_HALF_STEP = 2.0**-24  # between halves below _HALF_NORMAL
_REBIAS = np.int64(112 << 10)
_ROUNDER = 1.5 * 2.0**52  # added and taken off again, it leaves a float64 rounded half to even


class _CodeRange(NamedTuple):
    """Which scale a group gets, by its largest entry."""

    bits: int  # the largest entry has a code from 2**bits on
    lowest: int  # exponents of scales are stored in a byte, from here on
    highest: int
    limit: float  # a largest code from here on takes the next scale


_INT8 = _CodeRange(6, -133, 121, _LARGEST_INT8 + 0.5)  # 127 * 2**121 is a float32, 128 * 2**121 is none
_HALF = _CodeRange(14, -141, 113, 32_760.0)  # a range of 2**38; from the limit on a half is rounded up to 2**15


def groups_of(dim: int) -> int:
    """Number of column groups, the last one maybe shorter."""
    return -(-dim // GROUP)


def encode_rows(x: NDArray[np.float32], dtype: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Codes and scales of rows, rounded half to even.

    int8: the scale is the smallest power of two, from 2**-133 on, with all codes between -127 and 127; an entry
    is off by at most half of it (by all of it within 0.4 % of float32's end). float16: the scale brings the
    group's largest entry to 2**14 or just above; an entry x is off by at most max(2**-11 |x|, 2**-25 scale).
    Decoding and encoding again gives the same codes.

    Parameters
    ----------
    x : (n, dim) float32, C-contiguous. A group that holds an infinite entry or no number has no codes: it is
        decoded as "not a number", so that whoever checks the result sees it.
    dtype : "int8" or "float16".

    Returns
    -------
    codes (n, dim) int8, or uint16 with the bits of halves; scales (n, groups) uint8.
    """
    _check_dtype(dtype)
    if x.dtype != np.float32 or x.ndim != 2 or not x.flags.c_contiguous:
        raise TypeError(f"x is {x.dtype} of shape {x.shape}; it must be a C-contiguous float32 matrix")
    scales = np.empty((len(x), groups_of(x.shape[1])), np.uint8)
    if dtype == "int8":
        int8_codes = np.empty(x.shape, np.int8)
        _encode_int8(x, x.view(np.int32), int8_codes, scales)
        return int8_codes, scales
    half_codes = np.empty(x.shape, np.uint16)
    _encode_half(x, x.view(np.int32), half_codes, scales)
    return half_codes, scales


def decode_rows(codes: NDArray[Any], scales: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows of codes and scales; (n, dim) int8 or uint16, (n, groups) uint8 -> (n, dim) float32."""
    rows, dim = codes.shape
    if scales.dtype != np.uint8 or scales.shape != (rows, groups_of(dim)):
        raise ValueError(f"scales are {scales.dtype} of {scales.shape}; wanted: uint8 of {(rows, groups_of(dim))}")
    x = np.empty((rows, dim), np.float32)
    if codes.dtype == np.int8:
        _decode_int8(codes, scales, x)
    elif codes.dtype == np.uint16:
        _decode_half(codes, scales, x)
    else:
        raise TypeError(f"codes are {codes.dtype}; they must be int8, or uint16 with the bits of halves")
    return x


def round_rows(x: NDArray[np.float32], dtype: str) -> None:
    """Replace rows by what their codes decode to, in place; "float32" leaves them as they are."""
    if dtype == "float32":
        return
    for first in range(0, len(x), _AT_ONCE):
        batch = x[first : first + _AT_ONCE]
        batch[:] = decode_rows(*encode_rows(batch, dtype))


def _check_dtype(dtype: str) -> None:
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; rows can be narrowed to one of {list(DTYPES)}")


@kernel
def _power_of_two(exponent: int) -> float:
    return np.float64(np.int64((exponent + 1023) << 52).view(np.float64))


@kernel
def _exponent(value: float) -> int:
    """k with 2**k <= value < 2**(k + 1); a float32 that is subnormal is normal as a float64."""
    return int(np.float64(value).view(np.int64) >> 52) - 1023


@kernel
def _float_of(bits: int) -> float:
    return np.float64(np.int32(bits).view(np.float32))


@kernel
def _group_exponent(bits: InMatrix[np.int32], row: int, first: int, stop: int, codes: _CodeRange) -> int:
    """Exponent of the scale of columns ``first`` to ``stop``; above the highest where an entry is not finite."""
    largest_bits = np.int32(0)
    for col in range(first, stop):
        largest_bits = max(largest_bits, np.int32(bits[row, col] & _ABSOLUTE))
    if largest_bits >= _FIRST_INFINITE:
        return codes.highest + 1
    largest = _float_of(int(largest_bits))
    exponent = max(_exponent(largest) - codes.bits, codes.lowest)
    if largest * _power_of_two(-exponent) >= codes.limit:
        exponent += 1
    return min(exponent, codes.highest)


@kernel
def _scale_of(byte: np.uint8, codes: _CodeRange) -> float:
    return np.nan if byte == _NOT_FINITE else _power_of_two(int(byte) + codes.lowest)


@kernel
def _encode_int8(
    x: InMatrix[np.float32], bits: InMatrix[np.int32], codes: OutMatrix[np.int8], scales: OutMatrix[np.uint8]
) -> None:
    for i in range(len(x)):
        for group in range(scales.shape[1]):
            first, stop = group * GROUP, min(group * GROUP + GROUP, x.shape[1])
            exponent = _group_exponent(bits, i, first, stop, _INT8)
            if exponent > _INT8.highest:
                scales[i, group] = _NOT_FINITE
                codes[i, first:stop] = 0
                continue
            scales[i, group] = exponent - _INT8.lowest
            inverse = _power_of_two(-exponent)
            for col in range(first, stop):
                code = (np.float64(x[i, col]) * inverse + _ROUNDER) - _ROUNDER
                codes[i, col] = np.int8(np.int32(min(max(code, -_LARGEST_INT8), _LARGEST_INT8)))


@kernel
def _decode_int8(codes: InMatrix[np.int8], scales: InMatrix[np.uint8], x: OutMatrix[np.float32]) -> None:
    for i in range(len(x)):
        for group in range(scales.shape[1]):
            scale = _scale_of(scales[i, group], _INT8)
            for col in range(group * GROUP, min(group * GROUP + GROUP, x.shape[1])):
                x[i, col] = np.float32(np.float64(codes[i, col]) * scale)


@kernel
def _half_of(value: float) -> np.uint16:
    """Bits of the nearest half, even at a tie, at most the last below 2**15."""
    bits = np.int64(np.float32(value).view(np.int32))
    sign = (bits >> 16) & 0x8000
    if abs(value) < _HALF_NORMAL:
        code = np.int64((abs(value) / _HALF_STEP + _ROUNDER) - _ROUNDER)
    else:
        absolute = bits & np.int64(_ABSOLUTE)
        code = ((absolute + 0xFFF + ((absolute >> 13) & 1)) >> 13) - _REBIAS
    return np.uint16(sign | min(code, _LARGEST_HALF))


@kernel
def _value_of_half(code: np.uint16) -> float:
    absolute = np.int64(code) & 0x7FFF
    value = absolute * _HALF_STEP if absolute < 0x400 else _float_of(int((absolute + _REBIAS) << 13))
    return -value if np.int64(code) & 0x8000 else value


@kernel
def _encode_half(
    x: InMatrix[np.float32], bits: InMatrix[np.int32], codes: OutMatrix[np.uint16], scales: OutMatrix[np.uint8]
) -> None:
    for i in range(len(x)):
        for group in range(scales.shape[1]):
            first, stop = group * GROUP, min(group * GROUP + GROUP, x.shape[1])
            exponent = _group_exponent(bits, i, first, stop, _HALF)
            if exponent > _HALF.highest:
                scales[i, group] = _NOT_FINITE
                codes[i, first:stop] = 0
                continue
            scales[i, group] = exponent - _HALF.lowest
            inverse = _power_of_two(-exponent)
            for col in range(first, stop):
                codes[i, col] = _half_of(np.float64(x[i, col]) * inverse)


@kernel
def _decode_half(codes: InMatrix[np.uint16], scales: InMatrix[np.uint8], x: OutMatrix[np.float32]) -> None:
    for i in range(len(x)):
        for group in range(scales.shape[1]):
            scale = _scale_of(scales[i, group], _HALF)
            for col in range(group * GROUP, min(group * GROUP + GROUP, x.shape[1])):
                x[i, col] = np.float32(_value_of_half(codes[i, col]) * scale)


def compact_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return codes and scales: an entry is its code times its row's scale, off by at most half of the scale.

    The scale is the row's largest entry over 127; a zero row has scale 0. Codes are rounded half to even. (Rows without
    an entry above 2**-119 are further off: their scale is no normal float32.)

    Parameters
    ----------
    rows : (n, dim) float32, finite.

    Returns
    -------
    (n, dim) int8, from -127 to 127, and (n,) float32.
    """
    largest = np.abs(rows).max(axis=1, initial=0.0)
    scale = largest / np.float32(_LARGEST_INT8)
    # In float64: a quotient that float32 rounds to a half would get the wrong code.
    codes = np.rint(rows / np.where(scale > 0, scale, 1.0).astype(np.float64)[:, None])
    return np.clip(codes, -127, 127).astype(np.int8), scale
