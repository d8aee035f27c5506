"""How text files are read: delimiter, quotes, header, names of columns, encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pipeline.ingest.file_formats import COMPRESSIONS

#: Usual beginnings of comments.
COMMENT_MARKS = ("#", "%")
#: What a Matrix Market file begins with. Its first line after the comments holds sizes, as its format demands.
MATRIX_MARKET = "%%MatrixMarket"
#: ``delimiter`` for runs of blanks and tabs.
WHITESPACE = "whitespace"
_UNIT = b"\x1f"  # ASCII's own separator stands in for delimiters of several characters while a block is parsed
_NEVER_UTF8 = b"\xff"
_TABS = (".tsv", ".tab", ".inter")
_LF, _CR, _TAB, _BLANK = 10, 13, 9, 32


@dataclass(frozen=True)
class TextFormat:
    """What the config says of text files; ``null_values`` count in files of any format."""

    delimiter: str | None = None  # by the file's ending: a tab in .tsv, .tab and .inter, else a comma
    quote: str = '"'  # empty: quotes are text
    header: bool = True
    columns: tuple[str, ...] = ()  # of files without a header
    encoding: str | None = None  # UTF-8, or what a byte order mark says
    null_values: tuple[str, ...] = ()
    comment: str | None = None  # lines that begin with it are no rows

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> TextFormat:
        """Return the format that a section of the configuration describes; the mapping may hold other keys."""
        values: dict[str, Any] = {field.name: keys[field.name] for field in fields(cls) if field.name in keys}
        for name in ("columns", "null_values"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

    def dialect(self, name: str) -> Dialect:
        """Return how the lines of a file of this name are split."""
        plain = name.lower().rsplit("/", 1)[-1]
        for ending in COMPRESSIONS:
            plain = plain.removesuffix(ending)
        delimiter = self.delimiter or ("\t" if plain.endswith(_TABS) else ",")
        return Dialect(delimiter, self.quote if delimiter != WHITESPACE else "", plain.endswith(".inter"))


#: Commas or tabs by the file's ending, double quotes, a header, UTF-8.
BY_NAME = TextFormat()


@dataclass(frozen=True)
class Dialect:
    """The delimiter and quote of a file. Delimiters of several characters become one byte before parsing."""

    delimiter: str
    quote: str
    has_typed_names: bool = False  # of RecBole's files: user_id:token

    @property
    def byte(self) -> bytes:
        """What parts the columns of rewritten lines."""
        return b"\t" if self.delimiter == WHITESPACE else self.stand_in or self.delimiter.encode()

    @property
    def stand_in(self) -> bytes:
        """The byte that a delimiter of several bytes becomes; none for others."""
        return b"" if self.delimiter == WHITESPACE or len(self.delimiter.encode()) == 1 else _UNIT

    def rewrite(self, lines: bytes) -> bytes:
        """Return whole lines with one byte between their columns."""
        if self.delimiter == WHITESPACE:
            return _one_tab(lines)
        if not self.stand_in:
            return lines
        # A value with the stand-in itself becomes one that is no UTF-8, and is rejected where it is used.
        return lines.replace(_UNIT, _NEVER_UTF8).replace(self.delimiter.encode(), _UNIT)


def _one_tab(lines: bytes) -> bytes:
    """Replace each run of blanks and tabs between two words by one tab; drop those at the ends of lines."""
    data = np.frombuffer(lines, np.uint8)
    is_blank = (data == _BLANK) | (data == _TAB)
    is_end = (data == _LF) | (data == _CR)
    edges = np.flatnonzero(np.diff(is_blank, prepend=False, append=False))
    first, after = edges[0::2], edges[1::2]
    is_inner = (first > 0) & (after < data.size)
    first, after = first[is_inner], after[is_inner]
    parting = first[~is_end[first - 1] & ~is_end[after]]
    out = data.copy()
    out[parting] = _TAB
    is_blank[parting] = False
    return out[~is_blank].tobytes()
