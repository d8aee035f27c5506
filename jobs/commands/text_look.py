"""How a text file is written, as its first lines show it: encoding, delimiter, header, and names where it has none."""

import codecs
import csv
import re
from collections.abc import Sequence
from itertools import takewhile

import pyarrow as pa

from jobs.commands.column_names import ACTORS, DIRECTIONS, OBJECTS, OCCASIONS, parse_name
from jobs.commands.guess_ends import share_text
from pipeline.ingest.addresses import filesystem_of, naming
from pipeline.ingest.pieces import FilePiece
from pipeline.ingest.text.formats import COMMENT_MARKS, MATRIX_MARKET, WHITESPACE, TextFormat

_BYTES = 256 * 1024
_LINES = 300
_FEW = 30  # rows, in which most values come once
_MOST_OF = 0.9  # of the lines have to agree
_DELIMITERS = ("::", "\t", ";", "|", ",", WHITESPACE)
_NUMBER = re.compile(
    r"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?\s*", re.ASCII
)  # no blanks but those that float() takes
_DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?")
_EPOCH = re.compile(r"\s*(6[3-9]|[7-9]\d|[123]\d\d|4[01]\d)\d{7}(\d{3}){0,3}(\.\d*)?\s*")  # 1990 to 2100, s to ns
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def look_at_text(piece: FilePiece) -> TextFormat:
    """Return what readers need to know of a file; what they see by themselves stays unset.

    Raises
    ------
    InputError : the file can't be read.
    """
    filesystem, path = filesystem_of(piece.address)
    with (
        naming(piece.address, "csv"),
        filesystem.open_input_stream(path, compression=piece.compression) as stream,
    ):
        data: bytes = stream.read(_BYTES)
    encoding = _encoding_of(data)
    text = data.decode(encoding or _mark_encoding(data), errors="replace").lstrip("\ufeff")
    lines = [line for line in text.splitlines() if line.strip()]
    if len(data) == _BYTES:
        lines = lines[:-1]
    usual = TextFormat().dialect(piece.relative).delimiter
    comment = _comment_of(lines, usual)
    delimiter, rows = _delimiter_of(_without_comments(lines, comment), usual)
    unusual = None if delimiter == usual else delimiter
    if not rows or _has_header(rows):
        return TextFormat(delimiter=unusual, encoding=encoding, comment=comment)
    names = _names_in_comments(lines, comment, delimiter, len(rows[0]))
    names = names or _names_for(rows, _is_one_set(lines) if comment else None)
    return TextFormat(delimiter=unusual, encoding=encoding, comment=comment, header=False, columns=names)


def _mark_encoding(data: bytes) -> str:
    return "utf-16" if data.startswith(_MARKS[1:]) else "utf-8"


def _encoding_of(data: bytes) -> str | None:
    """An encoding that has to be named, None for UTF-8 and for what a mark says."""
    if not data or data.startswith(_MARKS):
        return None
    for zeros, name in ((data[1::2], "utf-16-le"), (data[0::2], "utf-16-be")):
        if zeros.count(0) > 0.4 * len(zeros):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # which may end within a character
    except UnicodeDecodeError:
        return "cp1252" if not any(byte in data for byte in b"\x81\x8d\x8f\x90\x9d") else "latin-1"
    return None


def _comment_of(lines: Sequence[str], usual: str) -> str | None:
    """The mark of the comments that a file begins with; None if its first lines are a header or rows."""
    mark = next((mark for mark in COMMENT_MARKS if lines and lines[0].startswith(mark)), None)
    if mark is None:
        return None
    delimiter, rows = _delimiter_of(_without_comments(lines, mark) or lines, usual)
    # "#user,item" above "1,2" is a header, and "#cats,1" may be a row.
    is_prose = any(
        line[1:2] in ("", " ", "\t", mark) or len(_split_lines([line], delimiter)[0]) != len(rows[0])
        for line in takewhile(lambda line: line.startswith(mark), lines)
    )
    return mark if is_prose else None


def _without_comments(lines: Sequence[str], comment: str | None) -> Sequence[str]:
    """As many rows as are looked at."""
    if comment is None:
        return lines[:_LINES]
    rows = [line for line in lines if not line.startswith(comment)]
    return rows[lines[0].startswith(MATRIX_MARKET) :][:_LINES]


def _names_in_comments(lines: Sequence[str], comment: str | None, delimiter: str, width: int) -> tuple[str, ...] | None:
    """The words of the last comment above the rows, if they are as many as the columns and name them."""
    if comment is None:
        return None
    last = [*takewhile(lambda line: line.startswith(comment), lines)][-1].lstrip(comment).strip()
    for parting in (delimiter, WHITESPACE):
        names = tuple(cell.strip() for row in _split_lines([last], parting) for cell in row)
        # Between blanks stands prose, too: "# my graph", KONECT's "% sym unweighted".
        is_likely = len({*names} - {""}) == width and not any(map(_is_value, names))
        if is_likely and len(names) == width and (parting != WHITESPACE or _names_ends(names)):
            return names
    return None


def _is_one_set(lines: Sequence[str]) -> bool | None:
    """Whether both ends are nodes of one type, as the comments of KONECT and the sizes of Matrix Market tell."""
    if lines[0].startswith(MATRIX_MARKET):
        sizes = next(line for line in lines if not line.startswith("%")).split()
        return sizes[:1] == sizes[1:2]
    return {"sym": True, "asym": True, "bip": False}.get(lines[0].lstrip("% ").partition(" ")[0])


def _delimiter_of(lines: Sequence[str], usual: str) -> tuple[str, list[list[str]]]:
    """The delimiter that parts most lines into the same number of columns, and the cells of the lines."""
    best, best_rows = usual, [[line] for line in lines]
    best_width = 1
    for delimiter in _DELIMITERS:
        rows = _split_lines(lines, delimiter)
        widths = [len(row) for row in rows]
        width = max(set(widths), key=widths.count, default=1)
        agree = widths.count(width) >= _MOST_OF * len(widths) and widths[0] == width if widths else False
        is_better = best_width == 1 or (delimiter == usual and width >= best_width)
        if delimiter == WHITESPACE and best == "\t" != usual and width > best_width:
            is_better = all(_NUMBER.fullmatch(cell) for row in rows for cell in row)  # "1 2\t3": KONECT has both
        if agree and width > 1 and is_better:
            best, best_rows, best_width = delimiter, [row for row in rows if len(row) == width], width
    return best, best_rows


def _split_lines(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == WHITESPACE:
        return [line.split() for line in lines]
    if len(delimiter) > 1:
        return [line.split(delimiter) for line in lines]
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:  # a value of more than 128 KiB
        return [line.split(delimiter) for line in lines]


def _is_value(text: str) -> bool:
    """Whether a text is a number or a date: no name of a column."""
    return bool(_NUMBER.fullmatch(text) or _DATE.fullmatch(text))


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds names: no values, above columns of values, or words that name ends."""
    first, rest = rows[0], rows[1:]
    if any(_is_value(cell) for cell in first):
        return False
    if not rest:
        return True
    columns = list(zip(*rest, strict=True))
    if any(_is_like(cell, column) for cell, column in zip(first, columns, strict=True)) and not _names_ends(first):
        return False
    if any(sum(map(_is_value, column)) >= _MOST_OF * len(column) for column in columns):
        return True
    return _names_ends(first) or not any(cell in column for cell, column in zip(first, columns, strict=True))


def _is_like(cell: str, column: Sequence[str]) -> bool:
    """Whether a text with digits is as long as all others of its column, which have some, too: a hash."""
    texts = (cell, *column)
    return len({*map(len, texts)}) == 1 and all(any(map(str.isdigit, text)) for text in texts)


def _names_ends(cells: Sequence[str]) -> bool:
    """Whether one of some words is such as name ends."""
    words = {word for pair in DIRECTIONS for word in pair if len(word) > 1}
    for cell in cells:
        name = parse_name(cell)
        if name.is_id or words & {*name.words} or any(name.rank_in(vocabulary) is not None for vocabulary in _KNOWN):
            return True
    return False


_KNOWN = (ACTORS, OBJECTS, OCCASIONS)


def _names_for(rows: Sequence[Sequence[str]], is_one_set: bool | None) -> tuple[str, ...]:
    """Names for the columns of a file without a header: what their values look like."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    looks = [_look_of(column, is_late=number > 1) for number, column in enumerate(columns)]
    ends = [number for number, look in enumerate(looks) if look == "id"][:2]
    names = [f"column_{number + 1}" for number in range(len(columns))]
    for look in ("timestamp", "rating", "event"):
        if looks.count(look) == 1 or (look in looks and look != "rating"):  # of two ratings, neither is the weight
            names[looks.index(look)] = look
    if len(ends) == 2:
        left, right = (columns[number] for number in ends)
        is_plain = set(looks) <= {"id", "number"} and len(columns) <= 3
        if len(left) > _FEW and not any(map(_NUMBER.fullmatch, (*left, *right))):
            is_plain = False  # texts of one kind would come at both ends
        # Two nodes, a sign or strength, and when: SNAP's networks in time.
        in_time = set(looks) <= {"id", "number", "timestamp"} and looks.count("id") == 2 and len(columns) <= 4
        is_plain = is_plain or (in_time and len({*left} & {*right}) >= max(2, min(len({*left}), len({*right})) // 10))
        is_plain = is_plain or share_text(pa.array(left), pa.array(right))
        is_plain = is_plain if is_one_set is None else is_one_set
        for number, name in zip(ends, ("source", "target") if is_plain else ("user", "item"), strict=True):
            names[number] = name
        if is_plain and len(columns) <= 4 and looks[2:3] == ["number"]:
            names[2] = "weight"
    return tuple(names)


def _look_of(column: Sequence[str], *, is_late: bool) -> str:
    """What a column's values look like; ``is_late``: after two others, so that few values in few rows are no ids."""
    cells = [cell for cell in column if cell.strip()]
    if not cells:
        return "nothing"
    if all(map(_EPOCH.fullmatch, cells)) or all(map(_DATE.fullmatch, cells)):
        return "timestamp"
    kinds = set(cells)
    is_small = len(kinds) <= min(20, len(cells) // (1 if is_late and len(cells) < _FEW else 3))
    if all(map(_NUMBER.fullmatch, cells)):
        numbers = [float(cell.replace(",", ".")) for cell in cells]
        if is_small and all(0 <= number <= 10 and (2 * number).is_integer() for number in numbers):
            return "rating" if len(kinds) > 1 else "number"
        if min(numbers) < 0 and max(map(abs, numbers)) <= 100:  # trust, votes
            return "number"
        return (
            "id"
            if all(number.is_integer() and "." not in cell for number, cell in zip(numbers, cells, strict=True))
            else "number"
        )
    if is_small and len(cells) < _FEW:
        is_small = 2 * len(kinds) <= len(cells) or (len({*map(len, kinds)}) > 1 and all(map(str.isalpha, kinds)))
    return "event" if is_small and len(kinds) <= 10 else "id"
