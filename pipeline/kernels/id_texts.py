"""What ids that are text look like: integers, numbers of another kind, blanks, or just text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InMatrix, Out, inner_kernel, kernel

#: A canonical int64; text; only blanks; blanks around; a NUL inside; other control characters, such as line ends;
#: a quote; "1.0"; "1e3"; "007", "+7", "-0"; an integer beyond 64 bits.
(INTEGER, TEXT, BLANK, PADDED, WITH_NUL, WITH_CONTROL, WITH_QUOTE, DECIMAL, EXPONENT, NOT_CANONICAL, TOO_LARGE) = range(
    11
)

_0, _9, _PLUS, _MINUS, _DOT, _QUOTE, _E, _LOWER_E = (ord(sign) for sign in '09+-."Ee')
_SPACE, _DELETE = 0x20, 0x7F
_MOST = np.frombuffer(b"9223372036854775807", np.uint8)
_DIGITS = _MOST.size


def kinds_of_ids(offsets: NDArray[np.int32], data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what each text looks like, a constant of this module; (n + 1,) offsets as in Arrow -> (n,) uint8.

    Raises ValueError for offsets outside of ``data``.

    Cost: one pass over the bytes.
    """
    if len(offsets) and (offsets[0] < 0 or offsets[-1] > data.size):
        raise ValueError(f"offsets run from {offsets[0]} to {offsets[-1]}, and there are {data.size} bytes")
    kinds = np.empty(max(0, len(offsets) - 1), np.uint8)
    # Of most columns no byte is a blank, a control character or a quote, and their texts need no second look.
    is_clean = bool(data.size) and data.min() > _QUOTE and not (data == _DELETE).any()
    _kinds_of_ids(offsets, data, kinds, is_clean)
    return kinds


def texts_like(
    words: Sequence[bytes], kinds: NDArray[np.uint8], offsets: NDArray[np.int32], data: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Return which texts have the length and the first letter, small or capital, of one of some words.

    ``kinds``, ``offsets`` and ``data`` as of :func:`kinds_of_ids`; only what is TEXT counts.
    """
    begins = np.zeros((max(map(len, words)) + 1, 256), np.uint8)
    for word in words:
        begins[len(word), [ord(word[:1].lower()), ord(word[:1].upper())]] = True
    rows = np.empty(kinds.size, np.int64)
    return rows[: _texts_like(begins, kinds, offsets, data, rows)]


@kernel
def _texts_like(
    begins: InMatrix[np.uint8], kinds: In[np.uint8], offsets: In[np.int32], data: In[np.uint8], rows: Out[np.int64]
) -> int:
    count = 0
    for i in range(kinds.size):
        size = offsets[i + 1] - offsets[i]
        if kinds[i] == TEXT and size < len(begins) and begins[size, data[offsets[i]]]:
            rows[count] = i
            count += 1
    return count


@inner_kernel
def _after_digits(data: In[np.uint8], at: int, stop: int) -> int:
    while at < stop and _0 <= data[at] <= _9:
        at += 1
    return at


@inner_kernel
def _fits(data: In[np.uint8], first: int, stop: int, is_negative: bool) -> bool:
    """Whether digits without leading zeros are an int64."""
    if stop - first != _DIGITS:
        return stop - first < _DIGITS
    for place in range(_DIGITS):
        # The smallest int64 is one further from zero.
        most = _MOST[place] + (1 if is_negative and place == _DIGITS - 1 else 0)
        if data[first + place] != most:
            return data[first + place] < most
    return True


@inner_kernel
def _kind_of_text(data: In[np.uint8], start: int, stop: int, is_clean: bool) -> int:
    if is_clean and start < stop:
        return TEXT
    has_nul = has_control = has_quote = False
    is_blank = True
    for at in range(start, stop):
        byte = data[at]
        is_blank = is_blank and (byte == _SPACE or 9 <= byte <= 13)
        has_nul = has_nul or byte == 0
        has_control = has_control or byte < _SPACE or byte == _DELETE
        has_quote = has_quote or byte == _QUOTE
    if is_blank:
        return BLANK
    if has_nul:
        return WITH_NUL
    if data[start] <= _SPACE or data[stop - 1] <= _SPACE:
        return PADDED
    if has_control:
        return WITH_CONTROL
    return WITH_QUOTE if has_quote else TEXT


@inner_kernel
def _kind_of(data: In[np.uint8], start: int, stop: int, is_clean: bool) -> int:
    has_sign = start < stop and (data[start] == _PLUS or data[start] == _MINUS)
    first = start + 1 if has_sign else start
    at = _after_digits(data, first, stop)
    digits = at - first
    if at == stop and digits > 0:
        if (data[first] == _0 and (digits > 1 or has_sign)) or data[start] == _PLUS:
            return NOT_CANONICAL
        return INTEGER if _fits(data, first, stop, has_sign) else TOO_LARGE
    kind = TEXT
    if at < stop and data[at] == _DOT:
        kind = DECIMAL
        after = _after_digits(data, at + 1, stop)
        digits += after - at - 1
        at = after
    if digits > 0 and at < stop and (data[at] == _E or data[at] == _LOWER_E):
        kind = EXPONENT
        at += 1
        if at < stop and (data[at] == _PLUS or data[at] == _MINUS):
            at += 1
        after = _after_digits(data, at, stop)
        if after == at:
            return TEXT
        at = after
    return kind if kind != TEXT and digits > 0 and at == stop else _kind_of_text(data, start, stop, is_clean)


@kernel
def _kinds_of_ids(offsets: In[np.int32], data: In[np.uint8], kinds: Out[np.uint8], is_clean: bool) -> None:
    for i in range(kinds.size):
        kinds[i] = _kind_of(data, offsets[i], offsets[i + 1], is_clean)
