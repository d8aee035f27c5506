"""Text as people write it, whole and damaged, against Python's own csv and json."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.readers import read
from pipeline.ingest.sources import list_sources
from pipeline.ingest.text import stream as text_stream
from pipeline.ingest.text.csv_rows import MAX_QUOTED_LINES
from pipeline.ingest.text.formats import TextFormat
from tests.csv_oracle import rows_and_comments

NAMES = ["who", "what", "kind"]
PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.Codec("zstd").compress(data).to_pybytes(),
}
# With marks (utf-16, utf-8-sig) and without, of one byte and of several; all but the last are told to the reader.
ENCODINGS = ["utf-8", "latin-1", "cp1252", "utf-16-le", "utf-16-be", "shift_jis", "gbk", "utf-16", "utf-8-sig"]
WITH_A_MARK = {"utf-16", "utf-8-sig"}

Row = list[str | None]


class Readback:
    """What the reader makes of a file: rows by their number, broken lines, and counts."""

    def __init__(self, path: Path, text: TextFormat, names: Sequence[str] = NAMES) -> None:
        self.rows: dict[int, Row] = {}
        self.broken: dict[int, str] = {}
        self.headers: set[int] = set()
        self.blank_lines = self.header_lines = self.comment_lines = 0
        for task in split_tasks(list_sources(str(path))):
            for piece in task.pieces:
                for batch in read(piece, {name: name for name in names}, text):
                    columns = [batch.values[name].cast(pa.string()).cast(pa.binary()).to_pylist() for name in names]
                    values = [list(map(_text, row)) for row in zip(*columns, strict=True)]
                    self.rows |= dict(zip(batch.rows.tolist(), values, strict=True))
                    self.broken |= {line.row: line.text for line in batch.unreadable}
                    if batch.is_header is not None:
                        self.headers |= set(batch.rows[batch.is_header].tolist())
                    self.blank_lines += batch.blank_lines
                    self.header_lines += batch.header_lines
                    self.comment_lines += batch.comment_lines

    @property
    def read(self) -> int:
        assert sorted([*self.rows, *self.broken]) == list(range(len(self.rows) + len(self.broken)))
        return len(self.rows) + len(self.broken)


def _text(value: bytes | None) -> str | None:
    return value.decode("utf-8", "surrogateescape") if value else None  # of CSV, an empty value is none


def in_blocks_of(size: int, action: Callable[[], Any]) -> Any:
    before, text_stream.BLOCK = text_stream.BLOCK, size
    try:
        return action()
    finally:
        text_stream.BLOCK = before


def read_or_refusal(path: Path, text: TextFormat) -> Readback | str:
    try:
        return Readback(path, text)
    except InputError as error:
        return str(error)


cells = st.one_of(
    st.text(max_size=5),
    st.text(st.sampled_from("ab1 ,;|\t:\"'\n\r"), max_size=6),
    st.integers(0, 10**6).map(str),
    st.sampled_from(["", "é", "日本", "🙂", '5" disk', '"', "NULL", " a ", "who", "x" * 300]),
)
block_sizes = st.sampled_from([1, 7, 64, 1000, 2**23])


@st.composite
def dialects(draw: st.DrawFn) -> dict[str, Any]:
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", " ", "¦"]))
    return {
        "delimiter": delimiter,
        "quotechar": draw(st.sampled_from(['"', "'"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])),
        "lineterminator": draw(st.sampled_from(["\n", "\r\n", "\r"])),
    }


def written(rows: Sequence[Sequence[str]], dialect: Mapping[str, Any]) -> str:
    if any(sign in cell for row in rows for cell in row for sign in "\r\n"):
        dialect = {**dialect, "quoting": csv.QUOTE_ALL}  # before 3.13 the writer leaves some of them bare
    out = io.StringIO(newline="")
    csv.writer(out, **dialect).writerows(rows)
    return out.getvalue()


@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), max_size=12),
    dialects(),
    st.sampled_from(ENCODINGS),
    st.sampled_from(sorted(PACKED)),
    st.booleans(),
    st.booleans(),
    block_sizes,
)
def test_what_the_csv_module_writes_is_read_back(
    rows: list[list[str]],
    dialect: dict[str, Any],
    encoding: str,
    packed: str,
    has_header: bool,
    ends_in_a_line: bool,
    size: int,
) -> None:
    raw = written([NAMES, *rows] if has_header else rows, dialect)
    assume("\0" not in raw)
    assume("\x1f" not in raw or dialect["delimiter"].isascii())  # it stands in for delimiters of several bytes
    if not ends_in_a_line:
        raw = raw.removesuffix(dialect["lineterminator"])
    try:
        data = raw.encode(encoding)
    except UnicodeEncodeError:
        assume(False)
    assume(data.decode(encoding) == raw)  # a few signs of Shift-JIS don't come back
    text = TextFormat(
        delimiter=dialect["delimiter"],
        quote=dialect["quotechar"],
        header=has_header,
        columns=() if has_header else NAMES,
        encoding=None if encoding in WITH_A_MARK else encoding,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.txt{packed}"
        path.write_bytes(PACKED[packed](data))
        back = in_blocks_of(size, lambda: Readback(path, text))
    assert back.broken == {}
    assert list(back.rows.values()) == [[cell or None for cell in row] for row in rows]
    assert back.read == len(rows)
    assert back.header_lines == has_header
    assert back.headers == {number for number, row in enumerate(rows) if row == NAMES}


comments = st.tuples(st.integers(0, 12), st.text(st.sampled_from("ab1 ,;|\t:\"'\0"), max_size=8))
marked = st.one_of(cells, st.sampled_from(["#", "# a", "x\n#y,z", "%\r\n%% '", "//\n//", "§ 1", 'a\n§"']))


@given(
    st.lists(st.lists(marked, min_size=3, max_size=3), max_size=12),
    st.lists(comments, max_size=8),
    st.sampled_from(["#", "%", "%%", "//", "§"]),
    dialects(),
    st.sampled_from(sorted(PACKED)),
    st.booleans(),
    st.booleans(),
    block_sizes,
)
def test_comments_are_left_out_as_if_they_were_not_there(
    rows: list[list[str]],
    remarks: list[tuple[int, str]],
    mark: str,
    dialect: dict[str, Any],
    packed: str,
    has_header: bool,
    ends_in_a_line: bool,
    size: int,
) -> None:
    end = dialect["lineterminator"]
    lines = [written([row], dialect) for row in ([NAMES, *rows] if has_header else rows)]
    for place, remark in remarks:
        lines.insert(place, f"{mark}{remark}{end}")
    raw = "".join(lines) if ends_in_a_line else "".join(lines).removesuffix(end)
    assume("\0" not in "".join(cell for row in rows for cell in row))
    assume("\x1f" not in raw or dialect["delimiter"].isascii())
    oracle, count = rows_and_comments(raw, mark, delimiter=dialect["delimiter"], quotechar=dialect["quotechar"])
    assert count >= len(remarks)  # and rows that begin with an unquoted mark
    text = TextFormat(
        delimiter=dialect["delimiter"],
        quote=dialect["quotechar"],
        header=has_header,
        columns=() if has_header else NAMES,
        comment=mark,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.txt{packed}"
        path.write_bytes(PACKED[packed](raw.encode()))
        back = in_blocks_of(size, lambda: Readback(path, text))
    assert back.broken == {}
    assert list(back.rows.values()) == [[cell or None for cell in row] for row in oracle[has_header:]]
    assert back.read == len(oracle) - has_header
    assert (back.comment_lines, back.header_lines, back.blank_lines) == (count, has_header, 0)


simple = st.lists(
    st.tuples(st.integers(0, 99).map(str), st.sampled_from(["7", "a b", "a,b", "", 'x"y', "l1\nl2"]), st.just("k")),
    min_size=1,
    max_size=8,
)


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    kind = draw(st.sampled_from(["drop a quote", "put", "cut", "flip", "swap", "nothing"]))
    where, what = (
        draw(st.floats(0, 1, exclude_max=True)),
        draw(st.sampled_from([b'"', b"\r", b"\n", b",", b"\0", b" "])),
    )
    bit = draw(st.integers(0, 7))

    def damage(data: bytes) -> bytes:
        at = int(where * len(data))
        if kind == "drop a quote":
            quotes = [place for place, byte in enumerate(data) if byte == ord('"')]
            at = quotes[int(where * len(quotes))] if quotes else at
            return data[:at] + data[at + 1 :]
        if kind == "put":
            return data[:at] + what + data[at:]
        if kind == "cut":
            return data[:at]
        if kind == "flip":
            return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
        return data[at:] + data[:at] if kind == "swap" else data

    return damage


@given(
    simple,
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(damages(), min_size=1, max_size=3),
    st.sampled_from([None, "1", "2,"]),  # what some rows begin with
    block_sizes,
)
def test_damage_is_refused_or_counted_and_no_row_is_read_in_another_way(
    rows: list[tuple[str, ...]],
    quotes_all: bool,
    end: str,
    harm: list[Callable[[bytes], bytes]],
    comment: str | None,
    size: int,
) -> None:
    quoting = csv.QUOTE_ALL if quotes_all else csv.QUOTE_MINIMAL
    data = written(rows, {"quoting": quoting, "lineterminator": end}).encode()
    for damage in harm:
        data = damage(data) or b"\n"
    text = TextFormat(header=False, columns=NAMES, comment=comment)
    # Latin-1, so that bytes come back as they are.
    oracle, comment_lines = rows_and_comments(data.decode("latin-1"), comment or "")
    records = [row for row in oracle if row]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.csv"
        path.write_bytes(data)
        back = in_blocks_of(size, lambda: read_or_refusal(path, text))
    if isinstance(back, str):
        assert "damaged.csv" in back
        assert "quote" in back
        assert b'"' in data
        return
    data = data.removeprefix(b"\xef\xbb\xbf")
    assert back.read == len(records)
    assert (back.blank_lines, back.comment_lines) == (len(oracle) - len(records), comment_lines)
    for number, row in back.rows.items():
        wanted = [cell.encode("latin-1").decode("utf-8", "surrogateescape") or None for cell in records[number]]
        assert row == wanted
    for number, line in back.broken.items():
        assert len(records[number]) != len(NAMES) or '"' in line or "\0" in line


def test_the_counts_tell_an_unclosed_quote_from_a_long_value(tmp_path: Path) -> None:
    lines = [f"{n},{n + 1},k" for n in range(1000)]
    path = tmp_path / "a.csv"
    for at in (1, 500, 999):
        broken = [*lines]
        broken[at] = f'"{at},2,k'
        path.write_text("\n".join(["who,what,kind", *broken]))
        with pytest.raises(InputError, match=rf"a\.csv line {at + 2:,}: a quote opens .* before the file ends"):
            Readback(path, TextFormat())
        assert Readback(path, TextFormat(quote="")).rows[at][0] == f'"{at}'
    # Another quote further down would close it in the middle of a row.
    broken[5] = '5,"6,k'
    broken[700] = '700,"x, y",k'
    broken[999] = lines[999]
    path.write_text("\n".join(["who,what,kind", *broken]))
    with pytest.raises(InputError, match=r"line 7: a quote opens a value over 696 lines"):
        Readback(path, TextFormat())


def test_a_quote_that_stays_open_is_refused_before_all_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('who,what,kind\n1,"2,k\n' + "1,2,k\n" * (3 * MAX_QUOTED_LINES))
    with pytest.raises(InputError, match=r"line 2: a quote opens a value that no quote closes within 1\d,\d\d\d lines"):
        in_blocks_of(20_000, lambda: Readback(path, TextFormat()))


@pytest.mark.parametrize("size", [5, 2**23])
def test_every_kind_of_odd_line_is_one_rejected_row_or_a_blank(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbf\r\n\nwho,what,kind\r\n1,2,3\r\n\r\n1,2\n1,2,3,4\n1,2,\n"a\nb","c""d",e\n\xff\xfe,2,3\n\xe9\n'
        b'who,what,kind\n\0,\0,\0\n,,\n 1,2 ,3\r\xef\xbb\xbfwho,what,kind\n\'5" x\',2,3\n"a"b,2,3\n\n'
        + b"y" * 100_000
        + b",2,3"
    )
    back = in_blocks_of(size, lambda: Readback(path, TextFormat()))
    assert back.broken == {1: "1,2", 2: "1,2,3,4", 6: "\ufffd", 8: "\0,\0,\0", 13: '"a"b,2,3'}
    assert back.rows == {
        0: ["1", "2", "3"],
        3: ["1", "2", None],
        4: ["a\nb", 'c"d', "e"],
        5: ["\udcff\udcfe", "2", "3"],
        7: NAMES,
        9: [None, None, None],
        10: [" 1", "2 ", "3"],
        11: ["\ufeffwho", "what", "kind"],
        12: ["'5\" x'", "2", "3"],
        14: ["y" * 100_000, "2", "3"],
    }
    assert back.headers == {7, 11}
    assert (back.blank_lines, back.header_lines) == (4, 1)


@pytest.mark.parametrize("packed", [".gz", ""])
@pytest.mark.parametrize("size", [5, 2**23])
def test_comments_stand_anywhere_but_in_quotes(tmp_path: Path, packed: str, size: int) -> None:
    path = tmp_path / f"a.csv{packed}"
    data = (
        b'\xef\xbb\xbf# by "someone\r\n#,"\r\n\r\nwho,what,kind\r\n1,2,3\r\n#\0\xff\r\n"#4","a\r\n#b",c\r\n'
        b' #5,6,7\n#\r##\n8,#,9\n1,2\n"#"x,2,3\r\0,2,3\n"1","2","3"\n#end'
    )
    path.write_bytes(PACKED[packed](data))
    back = in_blocks_of(size, lambda: Readback(path, TextFormat(comment="#")))
    assert back.rows == {
        0: ["1", "2", "3"],
        1: ["#4", "a\r\n#b", "c"],
        2: [" #5", "6", "7"],
        3: ["8", "#", "9"],
        7: ["1", "2", "3"],
    }
    assert back.broken == {4: "1,2", 5: '"#"x,2,3', 6: "\0,2,3"}
    assert (back.comment_lines, back.blank_lines, back.header_lines) == (6, 1, 1)
    path.write_bytes(PACKED[packed](data.replace(b'"3"', b'"3')))
    with pytest.raises(InputError, match=r"line 16: a quote opens"):  # comments are lines of the file
        in_blocks_of(size, lambda: Readback(path, TextFormat(comment="#")))


@pytest.mark.parametrize("size", [3, 2**23])
@pytest.mark.parametrize(
    ("data", "delimiter", "comments", "headers"),
    [
        (b"# Nodes: 3\n# who\twhat\tkind\n1\t2\t3\n4\t5\t6\n#", "\t", 3, 0),
        (b"  # a b c\n1 2\t 3 \n#\n\t4 5 6", "whitespace", 2, 0),
        (b"#::a\n1::2::3\n#4::5::6\n4::5::6\n", "::", 2, 0),
        (b"%%MatrixMarket matrix coordinate real general\n%\n9 9 2\n1 2 3\n4 5 6\n", "whitespace", 2, 1),
        (b"%%MatrixMarket matrix coordinate pattern general\r\n9 9\r\n1\t2\t3\r\n4\t5\t6", "\t", 1, 1),
    ],
)
def test_comments_in_other_forms_of_text(
    tmp_path: Path, data: bytes, delimiter: str, comments: int, headers: int, size: int
) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    mark = "%" if data.startswith(b"%") else "#"
    text = TextFormat(delimiter, header=False, columns=NAMES, comment=mark)
    back = in_blocks_of(size, lambda: Readback(tmp_path / "a.txt", text))
    assert back.rows == {0: ["1", "2", "3"], 1: ["4", "5", "6"]}
    assert (back.broken, back.comment_lines, back.header_lines) == ({}, comments, headers)


def test_nothing_but_comments_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"# a\n#\0")
    assert Readback(tmp_path / "a.csv", TextFormat(comment="#")).read == 0
    back = Readback(tmp_path / "a.csv", TextFormat(header=False, columns=NAMES, comment="#"))
    assert (back.read, back.comment_lines) == (0, 2)


@pytest.mark.parametrize("size", [3, 2**23])
def test_delimiters_of_several_characters_and_runs_of_blanks(tmp_path: Path, size: int) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text('1::a:b::"x::y"\n2::c:::d\n\n3::4\n5\x1f::6::7')
    back = in_blocks_of(size, lambda: Readback(path, TextFormat("::", header=False, columns=NAMES)))
    assert back.rows == {0: ["1", "a:b", "x::y"], 1: ["2", "c", ":d"], 3: ["5\udcff", "6", "7"]}
    assert back.broken == {2: "3::4"}
    path.write_text(' 1 \t a  "x\n2\tb c\t \n\n  \t \n3 4\n5  6 7 8\r\n9 9 9')
    back = in_blocks_of(size, lambda: Readback(path, TextFormat("whitespace", header=False, columns=NAMES)))
    assert back.rows == {0: ["1", "a", '"x'], 1: ["2", "b", "c"], 4: ["9", "9", "9"]}
    assert (len(back.broken), back.blank_lines) == (2, 2)


def test_recbole_files_have_typed_names(tmp_path: Path) -> None:
    (tmp_path / "ml.inter").write_text("user_id:token\titem_id:token\trating:float\n1\t2\t3\n")
    assert Readback(tmp_path / "ml.inter", TextFormat(), ["user_id", "item_id"]).rows == {0: ["1", "2"]}


@pytest.mark.parametrize(
    ("data", "name", "text", "sentence"),
    [
        (b"who,what,what,kind\n", "a.csv", TextFormat(), "2 columns named 'what'"),
        (b"who;what;kind\n", "a.csv", TextFormat(), "parted by ';': set input.delimiter"),
        (b"1::2::3\n", "a.dat", TextFormat(), "parted by '::': set input.delimiter"),
        (b"1,2,3\n", "a.csv", TextFormat(), "set input.header = false"),
        (b"# Nodes: 3\n1,2,3\n", "a.csv", TextFormat(), r"set input\.comment = '#'"),
        (b"% 3\n1,2,3\n", "a.csv", TextFormat(), r"set input\.comment = '%'"),
        ("who,what,kind\n".encode("utf-16-le"), "a.csv", TextFormat(), "utf-16-le"),
        (b"who,what,kind\n", "a.csv", TextFormat(encoding="utf-16"), "does not start with BOM.*utf-16-le"),
        (gzip.compress(b"who,what,kind\n", mtime=0), "a.csv", TextFormat(), "its bytes are gzip data"),
        (b"PK\x03\x04....", "a.csv", TextFormat(), "spreadsheet"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "a.csv", TextFormat(), "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>\n", "a.csv", TextFormat(), "a page of HTML"),
        (b"SQLite format 3\0\x10\0", "a.tsv", TextFormat(), "a SQLite database"),
        (b"\x93NUMPY\x01\0v\0", "a.csv", TextFormat(), "an array of numpy"),
        (bz2.compress(b"who,what,kind\n", 1), "a.csv", TextFormat(), "its bytes are bzip2 data"),
        (lzma.compress(b"who,what,kind\n"), "a.csv", TextFormat(), "its bytes are xz data"),
        (b"ARROW1\0\0who,what,kind\n", "a.csv", TextFormat(), "its bytes are Arrow"),
        (b"who\0,what,kind\n", "a.csv", TextFormat(), "else it is no text"),
        (b'{"who": 1, "what": 2}\n', "a.csv", TextFormat(), "looks like JSON: let the file's name end in .jsonl"),
        (b'[{"who": 1}]', "a.txt", TextFormat(), "looks like JSON: let the file's name end in .json"),
        (b"sep=;\nwho;what;kind\n", "a.csv", TextFormat(";"), "set input.comment = 'sep='"),
        (b"WHO,What ,kind\n", "a.csv", TextFormat(), "Did you mean 'WHO'"),
        (b"who,what,kind\n", "a.csv.gz", TextFormat(), r"a\.csv\.gz can't be read as CSV"),
        (b'who,"what,kind\n1,2,3\n', "a.csv", TextFormat(), "line 1: a quote opens"),
        (gzip.compress(b"who,what,kind\n1,2,3\n" * 999, mtime=0)[:-9], "a.csv.gz", TextFormat(), "Truncated"),
        (bz2.compress(b"who,what,kind\n1,2,3\n" * 999)[:-9], "a.csv.bz2", TextFormat(), "Truncated"),
        (PACKED[".zst"](b"who,what,kind\n1,2,3\n" * 999)[:-2], "a.csv.zst", TextFormat(), "Truncated"),
    ],
)
def test_what_is_no_such_file_is_refused_by_name(
    tmp_path: Path, data: bytes, name: str, text: TextFormat, sentence: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=sentence) as caught:
        Readback(tmp_path / name, text)
    assert name in str(caught.value)


@pytest.mark.parametrize("size", [1, 2**23])
@pytest.mark.parametrize(
    ("name", "header", "again"),
    [
        ("a.csv", "who,what,kind", ["who,what,kind", '"who","what","kind"', 'who,"what",kind', "\ufeffwho,what,kind"]),
        ("a.csv", '"who","what",kind,', ['who,"what","kind",']),
        ("a.inter", "who:token\twhat:token\tkind:float", ["who:token\twhat:token\tkind:float"]),
    ],
)
def test_a_header_within_a_file_is_no_row_however_it_is_written(
    tmp_path: Path, name: str, header: str, again: Sequence[str], size: int
) -> None:
    sign = "\t" if name.endswith("inter") else ","
    row = sign.join(["who", "1", "2", ""][: header.count(sign) + 1])  # a node may be called like a column
    lines = [header, *(line for other in again for line in (row, other)), row]
    (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    found = in_blocks_of(size, lambda: Readback(tmp_path / name, TextFormat()))
    assert found.headers == {2 * place + 1 for place in range(len(again))}
    assert found.rows[0] == found.rows[2 * len(again)] == ["who", "1", "2"]


@pytest.mark.parametrize("text", [TextFormat(), TextFormat(header=False, columns=NAMES)])
def test_rows_below_a_header_in_another_order_are_not_taken_for_others(tmp_path: Path, text: TextFormat) -> None:
    (tmp_path / "a.csv").write_text("who,what,kind\n1,2,3\nwhat,who,kind\n2,1,3\n")
    with pytest.raises(InputError, match=r"a\.csv: within the file, a row names .* as \['what', 'who', 'kind'"):
        Readback(tmp_path / "a.csv", text)


def test_a_column_that_is_there_twice_does_no_harm_unless_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,who,what,x,kind,\n0,1,2,0,3,\n")
    assert Readback(tmp_path / "a.csv", TextFormat()).rows == {0: ["1", "2", "3"]}


def test_members_of_gzip_one_after_another_are_one_file(tmp_path: Path) -> None:
    parts = [b"who,what,kind\n1,2,3\n", b"", b"4,5,6\n"]
    (tmp_path / "a.csv.gz").write_bytes(b"".join(map(gzip.compress, parts)))
    assert Readback(tmp_path / "a.csv.gz", TextFormat()).rows == {0: ["1", "2", "3"], 1: ["4", "5", "6"]}


def test_a_file_without_line_ends_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_stream, "MAX_LINE", 5_000)
    (tmp_path / "a.csv").write_text("who,what,kind\n" + "x" * 10_000)
    with pytest.raises(InputError, match=r"a\.csv has a line of more than 5,000 bytes"):
        in_blocks_of(100, lambda: Readback(tmp_path / "a.csv", TextFormat()))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_line_longer_than_blocks_is_one_row(tmp_path: Path, name: str) -> None:
    long = "x" * 20_000_000
    if name == "a.csv":
        (tmp_path / name).write_text(f'who,what,kind\n1,2,{long}\n"1","{long}",3\n1,2,3\n')
    else:
        (tmp_path / name).write_text(
            "".join(
                json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ([1, 2, long], [1, long, 3], [1, 2, 3])
            )
        )
    rows = Readback(tmp_path / name, TextFormat()).rows
    assert [[len(value or "") for value in row] for row in rows.values()] == [
        [1, 1, 20_000_000],
        [1, 20_000_000, 1],
        [1, 1, 1],
    ]


values = st.one_of(st.none(), st.text(max_size=5), st.integers(-(10**25), 10**25), st.sampled_from(["", "🙂", "a\nb"]))
objects = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, values)), min_size=1, max_size=8)


@given(
    objects,
    st.sampled_from(["lines", "array", "pretty array"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-16", "utf-8-sig", "utf-16-be"]),
    st.sampled_from(sorted(PACKED)),
    st.booleans(),
    block_sizes,
)
def test_json_in_any_form_is_read_back(
    rows: list[dict[str, Any]], form: str, end: str, encoding: str, packed: str, escapes: bool, size: int
) -> None:
    if form == "lines":
        raw = "".join(json.dumps(row, ensure_ascii=escapes) + end for row in rows)
    else:
        raw = json.dumps(rows, ensure_ascii=escapes, indent=1 if form == "pretty array" else None).replace("\n", end)
    text = TextFormat(encoding=None if encoding in WITH_A_MARK else encoding)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.json{packed}"
        path.write_bytes(PACKED[packed](raw.encode(encoding, "surrogatepass")))
        back = in_blocks_of(size, lambda: Readback(path, text))
    assert back.broken == {}
    wanted = [[None if row[name] in (None, "") else str(row[name]) for name in NAMES] for row in rows]
    assert list(back.rows.values()) == wanted


@given(objects, damages(), st.booleans(), block_sizes)
@example([{"who": 1, "what": 2, "kind": "x"}], lambda data: data[:-1], True, 1)
def test_damaged_json_is_refused_or_counted(
    rows: list[dict[str, Any]], damage: Callable[[bytes], bytes], is_array: bool, size: int
) -> None:
    raw = json.dumps(rows) if is_array else "".join(json.dumps(row) + "\n" for row in rows)
    data = damage(raw.encode()) or b"\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.json"
        path.write_bytes(data)
        back = in_blocks_of(size, lambda: read_or_refusal(path, TextFormat()))
    if isinstance(back, str):
        assert "damaged.json" in back
        return
    if data.lstrip()[:1] == b"[":
        assert back.read == len(json.loads(data.decode(errors="replace"), strict=False))
    else:
        lines = [line for line in data.replace(b"\r", b"\n").split(b"\n") if line.strip()]
        assert back.read == len(lines)
        for number, row in back.rows.items():
            found = json.loads(lines[number].decode("utf-8", "surrogateescape"), strict=False)
            assert row == [None if found.get(name) in (None, "") else _as_bytes(str(found[name])) for name in NAMES]


def _as_bytes(text: str) -> str:
    """The text of bytes; damage makes halves of surrogate pairs, which have bytes, too."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "surrogateescape")
