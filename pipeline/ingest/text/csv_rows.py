"""Delimited text to batches of raw columns: pyarrow parses, and its rows are counted against the bytes.

Lines are framed first (:mod:`pipeline.kernels.text_records`): a block handed to the parser holds whole records of
the header's width and nothing else, so that one bad row is one rejected row. A quote without its partner moves the
ends of all rows after it; what it swallows can't be told from a long value, so the file is refused.
"""

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.addresses import naming
from pipeline.ingest.pieces import FilePiece
from pipeline.ingest.raw_batch import BrokenLine, RawBatch, one_chunk, refuse_missing
from pipeline.ingest.text.formats import COMMENT_MARKS, MATRIX_MARKET, TextFormat
from pipeline.ingest.text.stream import text_blocks, with_last
from pipeline.kernels.text_records import GLUED, SPANS_LINES, Records, find_records

#: A quoted value over more lines, or of more bytes, is one whose closing quote is missing.
MAX_QUOTED_LINES = 10_000
MAX_QUOTED_BYTES = 64 * 2**20

#: Beginnings of first lines that are no header, and what to do about them.
_OTHER_TEXTS: Mapping[str, str] = {
    "{": "It looks like JSON: let the file's name end in .jsonl.",
    "[{": "It looks like JSON: let the file's name end in .json.",
    "sep=": "Its first line is a hint for spreadsheets: set input.comment = 'sep='.",
}


@dataclass(frozen=True)
class _Block:
    """Whole records, the number of their first line, and where they are, or how many if each is a line."""

    data: bytes
    line: int
    records: Records | None
    count: int | None = None


class CsvFile:
    """A piece of delimited text: the names of its columns, which are read at once, and its rows."""

    def __init__(self, piece: FilePiece, text: TextFormat) -> None:
        """Read the header; of a Matrix Market file whose comments are left out, the line of sizes."""
        self._piece, self._dialect = piece, text.dialect(piece.relative)
        self._quote = ord(self._dialect.quote) if self._dialect.quote else -1
        self._stand_in = self._dialect.stand_in
        self._comment = (text.comment or "").encode()
        self._titles: list[bytes] = []  # the names as they stand in the file
        self._line, self._blanks, self._comments = 1, 0, 0
        blocks = map(self._dialect.rewrite, text_blocks(piece, text.encoding))
        first = next(blocks, b"")
        self._rest: Iterator[bytes] = chain([first], blocks)
        has_sizes = first.startswith(MATRIX_MARKET.encode()) and self._has_comments(first[: len(MATRIX_MARKET)])
        line = self._read_header() if text.header or has_sizes else None
        self._header_lines = 1 if line else 0
        self.names: list[str] | None = line if text.header else list(text.columns)
        if not text.header:
            self._titles = [name.encode() for name in text.columns]

    def _read_header(self) -> list[str] | None:
        """The names, None of a file without a record: Spark writes a part without rows as no bytes at all."""
        data, is_last = b"", False
        while True:
            block = next(self._rest, None)
            is_last = block is None
            data += block or b""
            records = self._find(data, is_last=is_last, most=1)
            self._line = 1 + records.lines
            self._refuse_open(records, len(data), is_last)
            if len(records.start) or is_last:
                break
        if not len(records.start):
            return None
        header = data[records.start[0] : records.stop[0]]
        self._blanks, self._comments = records.blanks, records.comments
        self._rest = chain([data[records.consumed_bytes :]], self._rest)
        with naming(self._piece.address, "csv"):
            (row,) = self._parse(header, int(records.fields[0]), range(int(records.fields[0]))).to_pylist()
        self._titles = [value or b"" for value in row.values()]
        names = [title.decode(errors="replace") for title in self._titles]
        return [name.partition(":")[0] for name in names] if self._dialect.has_typed_names else names

    def rows(self, columns: Mapping[str, str]) -> Iterator[RawBatch]:
        """Yield the rows; ``columns`` is role -> name.

        Raises
        ------
        InputError : a missing column, one that is there twice, rows whose ends are in doubt.
        """
        if self.names is None:
            return
        refuse_missing(self._piece, columns, self.names, self._advice(self.names))
        row = 0
        for block in self._blocks():
            batch, count = self._batch(block, columns, row)
            batch.blank_lines, self._blanks = batch.blank_lines + self._blanks, 0
            batch.comment_lines, self._comments = batch.comment_lines + self._comments, 0
            batch.header_lines, self._header_lines = self._header_lines, 0
            row += count
            yield batch

    def _has_quotes(self, data: bytes) -> bool:
        return self._quote >= 0 and self._dialect.quote.encode() in data

    def _has_comments(self, data: bytes) -> bool:
        """Whether a line begins with the mark of comments. Those after a bare CR are looked at one by one anyway."""
        mark = self._comment
        return bool(mark) and mark in data and (data.startswith(mark) or b"\n" + mark in data)

    def _find(self, data: bytes, *, is_last: bool, most: int = -1) -> Records:
        signs = np.frombuffer(data, np.uint8)
        return find_records(signs, self._dialect.byte[0], self._quote, is_last, most, self._comment)

    def _blocks(self) -> Iterator[_Block]:
        """Cut the text where a record ends: where a line does, unless it is within quotes."""
        rest, line = b"", self._line
        for block, is_last in with_last(self._rest):
            data = rest + block if rest else block
            rest = b""
            if not self._has_quotes(data):
                count, ends = _count_of_lines(data)
                is_plain = b"\0" not in data and not self._has_comments(data)
                yield _Block(data, line, None, count if is_plain else None)
                line += ends
                continue
            records = self._find(data, is_last=is_last)
            self._line = line + records.lines
            self._refuse_open(records, len(data) - records.consumed_bytes, is_last)
            rest = data[records.consumed_bytes :]
            yield _Block(data[: records.consumed_bytes], line, records)
            line += records.lines

    def _batch(self, block: _Block, columns: Mapping[str, str], first: int) -> tuple[RawBatch, int]:
        """Parse a block; return its rows and the number of its records, which the parser does not count."""
        width = len(self.names or ())
        positions = sorted({(self.names or []).index(name) for name in columns.values()})
        count = block.count
        if count is not None:
            try:
                table = self._parse(block.data, width, positions)
            except pa.ArrowInvalid:
                table = None  # some row is of another width
            if table is not None and table.num_rows == count:
                return self._raw(np.arange(first, first + count), table, columns, block.data), count
        records = block.records or self._find(block.data, is_last=True)
        count = len(records.start)
        is_whole = (records.fields == width) & (records.flags & GLUED == 0)
        self._refuse_doubtful(block, records, is_whole)
        is_whole &= ~_has_nul(block.data, records)  # text has none: a disk or a program wrote over rows
        bad = np.flatnonzero(~is_whole)
        with naming(self._piece.address, "csv"):
            table = self._parse(_only(block.data, records, is_whole), width, positions)
        if table.num_rows != count - len(bad):
            raise InputError(
                f"{self._piece.address}: {count - len(bad):,} rows stand in lines {block.line:,} to "
                f"{block.line + records.lines:,}, and the parser finds {table.num_rows:,}; look there for quotes and "
                f"line ends out of place, or set input.quote = '' if quotes are text"
            )
        batch = self._raw(first + np.flatnonzero(is_whole), table, columns, block.data)
        batch.unreadable = [self._broken_line(first, block.data, records, int(at)) for at in bad]
        batch.blank_lines, batch.comment_lines = records.blanks, records.comments
        return batch, count

    def _parse(self, data: bytes, width: int, positions: Iterable[int]) -> pa.Table:
        """Some columns of whole records as bytes; they are named by their positions, since names may repeat."""
        names = [str(position) for position in positions] or ["0"]
        if not data:
            return pa.table({position: pa.array([], pa.binary()) for position in names})
        if data.startswith(BOM_UTF8):  # within a file a mark is text, and the parser would drop it
            data = b"\n" + data
        return pacsv.read_csv(
            pa.BufferReader(data),
            read_options=pacsv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=[str(position) for position in range(width)]
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self._dialect.byte.decode(),
                quote_char=self._dialect.quote or False,
                newlines_in_values=self._has_quotes(data),
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),
                include_columns=names,
                null_values=[""],
                strings_can_be_null=True,
            ),
        )

    def _raw(self, rows: NDArray[np.int64], table: pa.Table, columns: Mapping[str, str], data: bytes) -> RawBatch:
        names = self.names or []
        arrays = {names[int(position)]: one_chunk(table.column(position)) for position in table.column_names}
        is_header = self._headers_among(arrays, data)
        if self._stand_in and self._has_quotes(data):  # values may hold the delimiter
            delimiter, stand_in = self._dialect.delimiter.encode(), self._stand_in
            arrays = {name: pc.replace_substring(array, stand_in, delimiter) for name, array in arrays.items()}
        # As strings, unchecked: UTF-8 is checked row by row, where values are judged.
        values = {role: arrays[name].view(pa.string()) for role, name in columns.items()}
        return RawBatch(rows, values, is_header=is_header)

    def _headers_among(self, arrays: Mapping[str, pa.Array], data: bytes) -> NDArray[np.bool_] | None:
        """Return which rows repeat the header, however it is quoted; None if the bytes show that none does.

        A row that is the header in another order is an error: below it, values stand in the wrong columns.
        """
        own = [self._titles[(self.names or []).index(name)] for name in arrays]
        if not all(title and title in data for title in own):
            return None
        titles = [title for title in self._titles if title]
        # After a byte order mark as well, of files joined bytewise.
        all_titles = pa.array([*titles, *(BOM_UTF8 + title for title in titles)])
        rows = np.arange(len(next(iter(arrays.values()))))
        positions = np.empty((rows.size, 0), np.int64)  # of titles, in rows that have nothing but titles
        for array in arrays.values():
            at = pc.index_in(array.take(pa.array(rows)), value_set=all_titles).fill_null(-1).to_numpy().astype(np.int64)
            rows, positions = rows[at >= 0], np.column_stack([positions, at % len(titles)])[at >= 0]
        is_own = (positions == [titles.index(title) for title in own]).all(axis=1)
        is_other = ~is_own & (np.diff(np.sort(positions, axis=1), axis=1) > 0).all(axis=1)
        if is_other.any() and len(own) > 1:
            names = [titles[position].decode(errors="replace") for position in positions[is_other][0]]
            raise InputError(
                f"{self._piece.address}: within the file, a row names the columns {list(arrays)} as {names}: files "
                "whose columns differ in order were joined, and below that row each value would be taken for another. "
                "Put the files into one folder as they are; if it is a row like others, rename the columns"
            )
        is_header = np.zeros(len(next(iter(arrays.values()))), np.bool_)
        is_header[rows[is_own]] = True
        return is_header

    def _broken_line(self, first: int, data: bytes, records: Records, at: int) -> BrokenLine:
        raw = data[records.start[at] : records.stop[at]]
        if self._stand_in:
            raw = raw.replace(self._stand_in, self._dialect.delimiter.encode())
        fields, width = int(records.fields[at]), len(self.names or ())
        why = "text after a closing quote" if records.flags[at] & GLUED else "a NUL byte"
        why = why if fields == width else f"{fields:,} of {width:,} columns"
        mark = raw[:1].decode(errors="replace")
        if mark in COMMENT_MARKS and not self._comment:
            why += f" (a comment? set input.comment = '{mark}')"
        return BrokenLine(first + at, raw.decode(errors="replace"), why)

    def _refuse_open(self, records: Records, size: int, is_last: bool) -> None:
        if records.is_open and (is_last or records.open_lines > MAX_QUOTED_LINES or size > MAX_QUOTED_BYTES):
            how_far = "before the file ends" if is_last else f"within {records.open_lines:,} lines"
            self._refuse_quote(self._line, f"opens a value that no quote closes {how_far}")

    def _refuse_doubtful(self, block: _Block, records: Records, is_whole: NDArray[np.bool_]) -> None:
        doubtful = np.flatnonzero(~is_whole & (records.flags & SPANS_LINES != 0))
        if doubtful.size:
            at = int(doubtful[0])
            start, stop = int(records.start[at]), int(records.stop[at])
            line = block.line + _line_ends(block.data[:start])
            over = _line_ends(block.data[start:stop])
            self._refuse_quote(line, f"opens a value over {over + 1:,} lines that ends in the middle of a row")

    def _refuse_quote(self, line: int, fault: str) -> None:
        raise InputError(
            f"{self._piece.address} line {line:,}: a quote {fault}. A quote is missing or one too many: repair the "
            "line (quotes inside values are doubled), or set input.quote = '' if quotes are text in this file"
        )

    def _advice(self, names: Sequence[str]) -> str:
        if "\0" in "".join(names):
            return (
                " It holds NULs: of UTF-16 or UTF-32 without a mark, set input.encoding, such as 'utf-16-le' or "
                "'utf-16-be'; else it is no text."
            )
        if names and (kind := next((kind for sign, kind in _OTHER_TEXTS.items() if names[0].startswith(sign)), None)):
            return f" {kind}"
        if not self._comment and names and names[0].startswith(COMMENT_MARKS):
            mark = names[0][0]
            return (
                f" If lines that begin with '{mark}' are comments, set input.comment = '{mark}', and input.header = "
                "false with input.columns where no other line names the columns."
            )
        marks = [mark for mark in ("::", "\t", ";", "|", ",", " ") if mark != self._dialect.delimiter]
        if len(names) == 1 and (delimiter := next((mark for mark in marks if mark in names[0]), None)):
            return f" Its columns seem to be parted by {delimiter!r}: set input.delimiter."
        if sum(name.replace(".", "", 1).isdigit() for name in names) > len(names) / 2:
            return " It seems to have no header: set input.header = false and name its columns in input.columns."
        return ""


def _count_of_lines(data: bytes) -> tuple[int | None, int]:
    """The number of records of a text without quotes, and of its line ends.

    The first is None where lines have to be looked at one by one: some are blank, or end in several ways.
    """
    signs = np.frombuffer(data, np.uint8)
    is_end = signs == ord("\n")
    ends = int(np.count_nonzero(is_end))
    if data.startswith((b"\n", b"\r")) or bool((is_end[1:] & is_end[:-1]).any()):
        return None, _line_ends(data)
    if b"\r" in data:
        is_return = signs == ord("\r")
        pairs = int(np.count_nonzero(is_return[:-1] & is_end[1:]))
        if not pairs == ends == int(np.count_nonzero(is_return)) or bool((is_end[:-1] & is_return[1:]).any()):
            return None, _line_ends(data)
    return ends + (bool(data) and not data.endswith(b"\n")), ends


def _has_nul(data: bytes, records: Records) -> NDArray[np.bool_]:
    """Which records hold a NUL."""
    if b"\0" not in data:
        return np.zeros(len(records.start), np.bool_)
    positions = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)  # in a comment they do no harm
    has_nul: NDArray[np.bool_] = np.searchsorted(positions, records.stop) > np.searchsorted(positions, records.start)
    return has_nul


def _only(data: bytes, records: Records, is_wanted: NDArray[np.bool_]) -> bytes:
    """The bytes of some of a block's records, each with its line end (of CR LF, the CR)."""
    if is_wanted.all() and not records.comments:
        return data[: records.consumed_bytes]
    steps = np.zeros(len(data) + 2, np.int8)
    steps[records.start[is_wanted]] += 1
    steps[records.stop[is_wanted] + 1] -= 1  # where the next record may start
    is_kept = np.cumsum(steps[: len(data)], dtype=np.int8).view(np.bool_)
    return np.frombuffer(data, np.uint8)[is_kept].tobytes()


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
