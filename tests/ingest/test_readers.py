from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet import encryption

from pipeline.errors import InputError
from pipeline.ingest.counts import Counts, total
from pipeline.ingest.parse import ParseRules
from pipeline.ingest.text import stream as text_stream
from pipeline.ingest.text.formats import TextFormat
from tests.ingest.parsing import from_table, ids_in, kept_rows, parse_all, write
from tests.ingest.row_by_row import EVENTS


def test_columns_are_found_by_their_configured_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,item,who\n9,1,2\n")
    (parsed,) = parse_all(tmp_path, ParseRules(source="who", target="item"))
    assert (parsed.rows.column("src_id").to_pylist(), parsed.rows.column("dst_id").to_pylist()) == ([2], [1])


@pytest.mark.parametrize("text", ["user,target\n1,2\n", "user;target\n1;2\n"])
def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(
        InputError,
        match=r"a\.csv \(CSV\) has no column 'user_id' \(input.source\); it has \['user.*(Did|input.delimiter)",
    ):
        parse_all(tmp_path, ParseRules(source="user_id"))


def test_a_missing_key_is_named_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"user": 1, "target": 2}\n{"target": 3}\n')
    with pytest.raises(InputError, match=r"no column 'users' .* it has \['user', 'target'\]. Did you mean 'user'"):
        parse_all(tmp_path, ParseRules(source="users"))


def test_a_missing_parquet_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no column 'source'"):
        from_table(tmp_path, pa.table({"target": pa.array([], pa.int64())}), ParseRules())


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.json.gz"])
def test_a_text_file_without_bytes_has_no_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    assert total(one.counts for one in parse_all(tmp_path, ParseRules())) == Counts()


def test_csv_lines_of_the_wrong_width_are_rejected_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('source,target\n1,2\n3\n\n"x\ny",4\n5,6,7\n,8\n9,10\n11\n')
    parsed = parse_all(tmp_path, ParseRules())
    rejected = [(row["row"], row["source"], row["reason"]) for one in parsed for row in one.rejections.to_pylist()]
    lines = [(1, "3", "unreadable line"), (3, "5,6,7", "unreadable line"), (6, "11", "unreadable line")]
    assert sorted(rejected) == sorted([*lines, (4, None, "null id")])
    assert [row[:2] for row in kept_rows(parsed)] == [("1", "2"), ("x\ny", "4"), ("9", "10")]
    assert total(one.counts for one in parsed).read == 7


def test_json_lines_that_are_no_objects_are_rejected(tmp_path: Path) -> None:
    lines = [
        '{"source": 1, "target": 2}',
        "",
        "{",
        "[1]",
        '{"source": 3, "target": 4}{"source": 5, "target": 6}',
        "7",
        '{"source": 12345678901234567890123, "target": "é"}',
        '{"source": -0, "target": "\\ud800"}',
    ]
    (tmp_path / "a.jsonl").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    parsed = parse_all(tmp_path, ParseRules())
    rejected = sorted((row["row"], row["reason"]) for one in parsed for row in one.rejections.to_pylist())
    assert rejected == [
        (1, "unreadable line"),
        (2, "unreadable line"),
        (3, "unreadable line"),
        (4, "unreadable line"),
        (6, "unreadable id"),
    ]
    assert [row[:2] for row in kept_rows(parsed)] == [("1", "2"), ("12345678901234567890123", "é")]


@pytest.mark.parametrize("first", ['"a"', "1"])
def test_json_of_one_kind_and_of_mixed_kinds_give_the_same_ids(tmp_path: Path, first: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"source": {first}, "target": 7}}\n' * 3 + '{"source": "1", "target": 8}\n')
    parsed = parse_all(tmp_path, ParseRules())
    assert [row[0] for row in kept_rows(parsed)] == [first.strip('"')] * 3 + ["1"]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_as_its_elements(tmp_path: Path, indent: int | None) -> None:
    rows = [{"source": 1, "target": 2}, [1], {"source": "[{", "target": 3}, {"source": "a\nb", "target": 4}]
    (tmp_path / "a.json").write_text("\ufeff \n" + json.dumps(rows, indent=indent) + "\n", "utf-8")
    parsed = parse_all(tmp_path, ParseRules())
    assert [row[:2] for row in kept_rows(parsed)] == [("1", "2"), ("[{", "3"), ("a\nb", "4")]
    assert total(one.counts for one in parsed).rejected == {"unreadable line": 1}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('[{"source": 1, "target": 2},\n{"source": 1,, "target": 2}' + " " * 40 + "]", 2, "no JSON"),
        ('[{"source": 1, "target": 2}\n{"source": 1, "target": 2}]', 2, "comma"),
        ('[{"source": 1, "target": 2},\n\n{"source": 1, "tar', 3, "no JSON"),
        ('[{"source": 1, "target": 2}\n', 2, "file ends"),
        ('[{"source": 1, "target": 2},\n', 2, "file ends"),
        ('[{"source": 1, "target": 2}]\n[{"source": 1, "target": 2}]', 2, "after the end"),
    ],
)
def test_a_json_array_that_breaks_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json").write_text(text)
    for block in (7, 2**20):
        monkeypatch.setattr("pipeline.ingest.text.stream.BLOCK", block)
        with pytest.raises(InputError, match=rf"a\.json line {line}: .*{what}"):
            parse_all(tmp_path, ParseRules())


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_ids_that_are_no_utf8_are_rejected_row_by_row(tmp_path: Path, name: str) -> None:
    good, bad = "é".encode(), b"\xff\xfe"
    if name == "a.csv":
        (tmp_path / name).write_bytes(b"source,target\n" + good + b",1\n" + bad + b",1\n")
    elif name == "a.jsonl":
        (tmp_path / name).write_bytes(b"".join(b'{"source": "%s", "target": 1}\n' % value for value in (good, bad)))
    else:
        raw = pa.array([good, bad]).cast(pa.string(), safe=False)
        pq.write_table(pa.table({"source": raw, "target": [1, 1]}), tmp_path / name)
    parsed = parse_all(tmp_path, ParseRules())
    assert ids_in(parsed) == ["é"]
    (row,) = [row for one in parsed for row in one.rejections.to_pylist()]
    assert (row["row"], row["reason"], row["source"]) == (1, "unreadable id", "\ufffd\ufffd")


@pytest.mark.parametrize("file_format", ["csv", "parquet", "jsonl"])
def test_columns_are_told_by_the_path(tmp_path: Path, file_format: str) -> None:
    for kind in ("view", "buy"):
        folder = tmp_path / f"event={kind}"
        folder.mkdir()
        write(
            folder,
            [{"source": "1", "target": kind, "weight": None, "timestamp": None, "event": None}],
            file_format,
        )
    rules = ParseRules(event="event", event_weights=EVENTS)
    assert sorted(row[1:3] for row in kept_rows(parse_all(tmp_path, rules))) == [
        ("buy", 5 * 2**31),
        ("view", 2**32),
    ]


def test_a_damaged_page_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"source": np.arange(10_000), "target": np.arange(10_000)}), path)
    raw = bytearray(path.read_bytes())
    raw[4:2_000] = b"\xff" * 1_996
    path.write_bytes(bytes(raw))
    with pytest.raises(InputError, match=r"bad\.parquet can't be read as Parquet"):
        parse_all(path, ParseRules())


def test_a_flipped_bit_is_refused_where_pages_have_checksums(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    table = pa.table({"source": np.arange(10_000), "target": np.arange(10_000)})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    raw = bytearray(path.read_bytes())
    raw[raw.index(np.int64(5_000).tobytes())] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(InputError, match=r"bad\.parquet can't be read as Parquet"):
        parse_all(path, ParseRules())


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_a_truncated_gzip_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    lines = [
        f"{a},{b}" if "csv" in name else f'{{"source":{a},"target":{b}}}' for a, b in rng.integers(0, 10**9, (9999, 2))
    ]
    body = "\n".join((["source,target"] if "csv" in name else []) + lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(body)[:-2000])
    with pytest.raises(InputError, match=r"a\..*gz can't be read as"):
        parse_all(tmp_path, ParseRules())


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_blocks_are_cut_where_lines_end(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ingest.text.stream.BLOCK", 300)
    ids = [f"{'é' * (i % 40)}{i}" for i in range(500)]
    if name == "a.csv":
        (tmp_path / name).write_text("source,target\n" + "".join(f'"{i}",{n}\n' for n, i in enumerate(ids)), "utf-8")
    else:
        lines = (json.dumps({"source": i, "target": n}, ensure_ascii=False) for n, i in enumerate(ids))
        (tmp_path / name).write_text("\n".join(lines), "utf-8")
    parsed = parse_all(tmp_path, ParseRules())
    assert len(parsed) > 10
    assert [row[0] for row in kept_rows(parsed)] == ids


_LAYOUTS = [
    pa.string_view(),
    pa.large_string(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]


@pytest.mark.parametrize("layout", _LAYOUTS, ids=str)
@pytest.mark.parametrize("role", ["source", "weight", "event", "timestamp"])
def test_text_is_read_in_whatever_layout_its_writer_chose(tmp_path: Path, role: str, layout: pa.DataType) -> None:
    columns = {"source": ["a", "b"], "target": ["1", "2"], "weight": ["1", "2"], "event": ["buy", "view"]}
    columns["timestamp"] = ["2024-01-01", "2024-01-02"]
    plain = pa.table({**columns, role: [*columns[role][:1], "none"]})
    rules = ParseRules(
        weight="weight",
        event="event",
        event_weights=EVENTS,
        timestamp="timestamp",
        text=TextFormat(null_values=("none",)),
    )
    place = plain.schema.get_field_index(role)
    other = plain.set_column(place, role, pa.chunked_array([pa.array(plain[role].to_pylist()).cast(layout)]))
    wanted, found = (from_table(tmp_path, table, rules) for table in (plain, other))
    assert total(one.counts for one in found).rejected == {f"null {'id' if role == 'source' else role}": 1}
    assert kept_rows(found) == kept_rows(wanted)
    assert [one.rejections.to_pylist() for one in found] == [one.rejections.to_pylist() for one in wanted]


_NO_VALUE = TextFormat(null_values=("-999", "0999", "NULL", "1e400", "inf", "nan"))
_KINDS = [pa.int16(), pa.int64(), pa.float32(), pa.float64(), pa.decimal128(9, 2), pa.string()]


@pytest.mark.parametrize("kind", _KINDS, ids=str)
def test_a_number_that_stands_for_no_value_does_so_in_every_type(tmp_path: Path, kind: pa.DataType) -> None:
    weights = pa.array(["1", "-999", "2", "999"]).cast(kind)
    table = pa.table({"source": [1, 2, 3, 4], "target": [5, 6, 7, 8], "weight": weights})
    counts = total(one.counts for one in from_table(tmp_path, table, ParseRules(weight="weight", text=_NO_VALUE)))
    assert (counts.kept, counts.rejected) == (3, {"null weight": 1})


@pytest.mark.parametrize("last", ["999", '"999"'])  # numbers alone are read in another way than numbers and texts
def test_a_number_that_stands_for_no_value_does_so_in_json(tmp_path: Path, last: str) -> None:
    weights = ["1", "-999", "2", last]
    lines = [f'{{"source": {n}, "target": 9, "weight": {weight}}}\n' for n, weight in enumerate(weights)]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    parsed = parse_all(tmp_path / "a.jsonl", ParseRules(weight="weight", text=_NO_VALUE))
    assert total(one.counts for one in parsed).rejected == {"null weight": 1}


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_integer_ids_that_stand_for_no_value_are_none(tmp_path: Path, file_format: str) -> None:
    rules = ParseRules(text=TextFormat(null_values=("-1", "007", "1.5", "inf", "99999999999999999999")))
    ids = [-1, 7, 1, -1]
    if file_format == "parquet":
        parsed = from_table(tmp_path, pa.table({"source": ids, "target": [1, 2, 3, 4]}), rules)
    else:
        lines = [json.dumps({"source": one, "target": place}) for place, one in enumerate(ids)]
        (tmp_path / "a.jsonl").write_text("\n".join(lines))
        parsed = parse_all(tmp_path / "a.jsonl", rules)
    assert ids_in(parsed) == [7, 1]


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\ufeff", "\u200b", " \u00a0\t\u3000"])
def test_blanks_beyond_ascii_are_no_id_either(tmp_path: Path, blank: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"source,target\n1,{blank}\n{blank},2\n{blank}x,3\n".encode() + b"\xc2,4\n")
    parsed = parse_all(tmp_path / "a.csv", ParseRules())
    assert total(one.counts for one in parsed).rejected == {"null id": 2, "unreadable id": 1}
    assert ids_in(parsed) == [f"{blank}x"]


@pytest.mark.parametrize("is_plain_footer", [True, False])
@pytest.mark.parametrize("column", ["source", "other"])
def test_an_encrypted_file_is_refused_by_name(tmp_path: Path, column: str, is_plain_footer: bool) -> None:
    """In a process of its own, which pyarrow ends where it is asked what lies in an encrypted column."""
    file = tmp_path / "a.parquet"
    factory = encryption.CryptoFactory(lambda _: _Keys())
    settings = encryption.EncryptionConfiguration(
        footer_key="f", plaintext_footer=is_plain_footer, column_keys={"c": [column]}
    )
    table = pa.table({"source": [1, 2], "target": [3, 4], "other": [5, 6]})
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), settings)
    with pq.ParquetWriter(file, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    code = f"from tests.ingest.parsing import ParseRules, parse_all; parse_all({str(file)!r}, ParseRules())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "a.parquet can't be read as Parquet" in ended.stderr
    assert "write it again without encryption" in ended.stderr


class _Keys(encryption.KmsClient):  # type: ignore[misc]
    """Keys that are only coded."""

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64decode(key)


@pytest.mark.parametrize("is_array", [True, False])
@pytest.mark.parametrize("last", ["", "\n"])
@pytest.mark.parametrize("size", [1, 50, 2**23])
def test_a_key_that_only_late_objects_have_is_a_column(
    tmp_path: Path, size: int, last: str, is_array: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_stream, "BLOCK", size)
    rows = [*({"source": n, "target": 7} for n in range(5)), {"source": 5, "target": 8, "w": 3}]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "a.json").write_text(f"[{','.join(lines)}]" if is_array else "\n".join(lines) + last)
    parsed = parse_all(tmp_path / "a.json", ParseRules(weight="w"))
    assert total(one.counts for one in parsed).rejected == {"null weight": 5}
    assert ids_in(parsed) == [5]
    with pytest.raises(InputError, match=r"has no column 'v' \(input.weight\); it has \['source', 'target'"):
        parse_all(tmp_path / "a.json", ParseRules(weight="v"))


@pytest.mark.parametrize("size", [1, 2**23])
@pytest.mark.parametrize("also", ["", "null", '{"source": 8,\n"target": 9}', '{"source": 8, "x": {}\n, "target": 9}'])
def test_two_objects_on_a_line_are_no_row_whatever_other_lines_make_up_for(
    tmp_path: Path, also: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_stream, "BLOCK", size)
    good = '{"source": 1, "target": 2}'
    (tmp_path / "a.jsonl").write_text("\n".join([good, good + " " + good, also, good, ""]))
    counts = total(one.counts for one in parse_all(tmp_path / "a.jsonl", ParseRules()))
    assert (counts.kept, counts.rejected) == (2, {"unreadable line": 1 + len(also.splitlines())})
    assert counts.blank_lines == (not also)
