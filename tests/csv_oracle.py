"""Python's csv over text with comments: what the reader of delimited text is compared with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any


def rows_and_comments(text: str, comment: str, **dialect: Any) -> tuple[list[list[str]], int]:
    """Return the rows, blank lines as empty ones, and how many lines between rows begin with ``comment``."""
    rows: list[list[str]] = []
    comments, is_between_rows = 0, True

    def lines() -> Iterator[str]:
        nonlocal comments, is_between_rows
        for line in io.StringIO(text, newline=""):
            if comment and is_between_rows and line.startswith(comment):
                comments += 1
            else:
                is_between_rows = False
                yield line

    for row in csv.reader(lines(), **dialect):
        rows.append(row)
        is_between_rows = True
    return rows, comments
