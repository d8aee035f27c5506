"""Where the records of delimited text begin and end, counted from its bytes: quotes as RFC 4180 has them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel, read_only

#: Bits of ``flags``: text stands after a closing quote; line ends stand inside quotes.
GLUED, SPANS_LINES = 1, 2

_AT_START, _AT_FIELD, _PLAIN, _QUOTED, _CLOSED, _COMMENT = range(6)
_LF, _CR = ord("\n"), ord("\r")


@dataclass(frozen=True, eq=False)
class Records:
    """Records found in some bytes; record i is ``data[start[i]:stop[i]]``, without its line end."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    fields: NDArray[np.int64]
    flags: NDArray[np.uint8]
    blanks: int  # lines without any byte, which are no records
    comments: int  # lines that are none either
    consumed_bytes: int  # bytes up to the end of the last whole record, blank line or comment
    lines: int  # line ends in those bytes
    is_open: bool  # the bytes end inside quotes
    open_lines: int  # line ends inside the quotes of a record that is not whole


def find_records(
    data: NDArray[np.uint8], delimiter: int, quote: int, is_last: bool, most: int = -1, comment: bytes = b""
) -> Records:
    """Find the records of ``data``, which begins where a record begins.

    A line ends at LF, CR, or CR LF. A quote opens a quoted field only at its start, two inside are one; elsewhere
    it is a byte like others, as in pyarrow's parser and Python's ``csv``.

    Parameters
    ----------
    data : (n,) uint8.
    delimiter, quote : bytes; a quote of -1 means that there are none.
    is_last : nothing comes after ``data``, so that its last record needs no line end.
    most : stop after so many records; -1 for all.
    comment : lines that begin with it, outside quotes, are no records, and quotes in them are bytes like others;
        none if empty.

    Cost: one pass, a step a byte.
    """
    if most < 0:
        most = int(np.count_nonzero(data == _LF)) + int(np.count_nonzero(data == _CR)) + 1
    start, stop, fields = (np.empty(most, np.int64) for _ in range(3))
    flags = np.empty(most, np.uint8)
    count, blanks, comments, consumed_bytes, lines, is_open, open_lines = _find_records(
        data,
        read_only(_Signs(delimiter, quote, np.frombuffer(comment, np.uint8))),
        is_last,
        _RecordArrays(start, stop, fields, flags),
    )
    places = (start[:count], stop[:count], fields[:count], flags[:count])
    return Records(*places, blanks, comments, consumed_bytes, lines, bool(is_open), open_lines)


class _Signs(NamedTuple):
    """Bytes that records are told apart by, as in :func:`find_records`."""

    delimiter: int
    quote: int
    comment: In[np.uint8]


class _RecordArrays(NamedTuple):
    """The arrays of `Records`, as far as there is room."""

    start: Out[np.int64]
    stop: Out[np.int64]
    fields: Out[np.int64]
    flags: Out[np.uint8]


@kernel
def _begins_with(data: In[np.uint8], at: int, start: In[np.uint8]) -> bool:
    if at + start.size > data.size:
        return False
    for i in range(start.size):  # noqa: SIM110
        if data[at + i] != start[i]:
            return False
    return True


@kernel
def _find_records(
    data: In[np.uint8], signs: _Signs, is_last: bool, records: _RecordArrays
) -> tuple[int, int, int, int, int, int, int]:
    delimiter, quote, comment = signs
    start, stop, fields, flags = records
    n, most = data.size, start.size
    count = blanks = comments = consumed_bytes = lines = inner = 0
    state, width, flag, i = _AT_START, 1, 0, 0
    while i < n and count < most:
        c = data[i]
        if state == _AT_START and comment.size and _begins_with(data, i, comment):
            state = _COMMENT
        if state in (_QUOTED, _PLAIN):  # most bytes are inside of values
            while c not in (quote, delimiter, _LF, _CR) and i + 1 < n:
                i += 1
                c = data[i]
        is_end = c in (_LF, _CR)
        if c == _CR and i + 1 == n and not is_last:
            break  # perhaps half of CR LF
        step = 2 if c == _CR and i + 1 < n and data[i + 1] == _LF else 1
        if state == _COMMENT:
            if is_end:
                comments += 1
                lines += 1
                consumed_bytes = i + step
                state = _AT_START
        elif state == _QUOTED:
            if c == quote:
                state = _CLOSED
            elif is_end:
                inner += 1
                flag |= SPANS_LINES
        elif c == quote and state in (_AT_START, _AT_FIELD, _CLOSED):
            state = _QUOTED
        elif c == delimiter:
            width += 1
            state = _AT_FIELD
        elif is_end:
            if state == _AT_START:
                blanks += 1
            else:
                start[count], stop[count], fields[count], flags[count] = consumed_bytes, i, width, flag
                count += 1
            lines += inner + 1
            consumed_bytes = i + step
            state, width, flag, inner = _AT_START, 1, 0, 0
        else:
            if state == _CLOSED:
                flag |= GLUED
            state = _PLAIN
        i += step
    if is_last and state == _COMMENT:
        comments += 1
        consumed_bytes = n
    elif is_last and count < most and state != _AT_START and state != _QUOTED:
        start[count], stop[count], fields[count], flags[count] = consumed_bytes, n, width, flag
        count += 1
        lines += inner
        consumed_bytes = n
    return count, blanks, comments, consumed_bytes, lines, 1 if state == _QUOTED else 0, inner
