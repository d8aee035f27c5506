from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.ingest.parse import Counts, ParseRules, total
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
    rejected = [(row["row"], row["source"], row["reason"]) for one in parsed for row in one.rejected.to_pylist()]
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
    rejected = sorted((row["row"], row["reason"]) for one in parsed for row in one.rejected.to_pylist())
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
        monkeypatch.setattr("pipeline.ingest.text_stream.BLOCK", block)
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
    (row,) = [row for one in parsed for row in one.rejected.to_pylist()]
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
    monkeypatch.setattr("pipeline.ingest.text_stream.BLOCK", 300)
    ids = [f"{'é' * (i % 40)}{i}" for i in range(500)]
    if name == "a.csv":
        (tmp_path / name).write_text("source,target\n" + "".join(f'"{i}",{n}\n' for n, i in enumerate(ids)), "utf-8")
    else:
        lines = (json.dumps({"source": i, "target": n}, ensure_ascii=False) for n, i in enumerate(ids))
        (tmp_path / name).write_text("\n".join(lines), "utf-8")
    parsed = parse_all(tmp_path, ParseRules())
    assert len(parsed) > 10
    assert [row[0] for row in kept_rows(parsed)] == ids
