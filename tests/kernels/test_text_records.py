from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.text_records import GLUED, SPANS_LINES, Records, find_records
from tests.csv_oracle import rows_and_comments

texts = st.text(st.sampled_from('ab," \n\r'), max_size=30)
marks = st.sampled_from(["", "a", "ab", "aa "])


def find(text: str, *, is_last: bool = True, most: int = -1, quote: str = '"', comment: str = "") -> Records:
    data = np.frombuffer(text.encode(), np.uint8)
    return find_records(data, ord(","), ord(quote) if quote else -1, is_last, most, comment.encode())


@given(texts, st.booleans(), marks)
def test_records_are_those_of_the_csv_module(text: str, has_quotes: bool, comment: str) -> None:
    found = find(text, quote='"' if has_quotes else "", comment=comment)
    quoting = csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE
    rows, comments = rows_and_comments(text, comment, quoting=quoting)
    if found.is_open:  # what it holds is given up, which the module keeps
        rows.pop()
    records = [row for row in rows if row]
    assert found.fields.tolist() == [len(row) for row in records]
    assert (found.blanks, found.comments) == (len(rows) - len(records), comments)
    for start, stop, flags, row in zip(found.start, found.stop, found.flags, records, strict=True):
        raw = text[start:stop]
        assert next(csv.reader(io.StringIO(raw, newline=""), quoting=quoting)) == row
        assert bool(flags & SPANS_LINES) == (has_quotes and bool({"\n", "\r"} & {*raw}))


@given(texts, st.integers(0, 30), st.integers(0, 5), marks)
def test_cut_anywhere_the_records_are_the_same(text: str, cut: int, most: int, comment: str) -> None:
    whole, head = find(text, comment=comment), find(text[:cut], is_last=False, comment=comment)
    rest = find(text[head.consumed_bytes :], comment=comment)
    assert [*head.fields, *rest.fields] == whole.fields.tolist()
    assert [*head.flags, *rest.flags] == whole.flags.tolist()
    assert [*head.start, *(rest.start + head.consumed_bytes)] == whole.start.tolist()
    assert (head.blanks + rest.blanks, head.lines + rest.lines) == (whole.blanks, whole.lines)
    assert head.comments + rest.comments == whole.comments
    assert find(text, most=most, comment=comment).start.tolist() == whole.start[:most].tolist()


@pytest.mark.parametrize(
    ("text", "is_glued"),
    [
        ('"a"b,c', True),
        ('"a""b",c', False),
        ('a"b",c', False),
        ('"a" ,c', True),
        ('"a",""', False),
        ('"a"b"c",d', True),
    ],
)
def test_text_after_a_closing_quote_is_flagged(text: str, is_glued: bool) -> None:
    assert bool(find(text).flags[0] & GLUED) == is_glued


def test_line_ends_within_an_open_quote_are_counted() -> None:
    found = find('a,b\r\n"c\n\nd\r', is_last=False)
    assert (found.is_open, found.open_lines, found.lines, found.consumed_bytes) == (True, 2, 1, 5)
