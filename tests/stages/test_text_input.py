"""Text input through the stages: the same edges whatever the rows were written as, and counts that add up."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import StorageError
from pipeline.ingest.odd_ids import OddIdCount, warnings_of
from pipeline.stages.relation_pairs import _refuse_loss
from tests.stages.chains import Chain, config_for, users_and_items, write_rows

ROWS = users_and_items(rows=200)
PAIRS = [(int(a), int(b)) for a, b in zip(ROWS["source"], ROWS["target"], strict=True)]


def joined(sign: str, *, header: bool = True, end: str = "\n") -> str:
    lines = [sign.join(("source", "target"))] if header else []
    return end.join([*lines, *(f"{a}{sign}{b}" for a, b in PAIRS)])


NO_HEADER: Mapping[str, Any] = {"header": False, "columns": ["source", "target"]}
FORMS: Mapping[str, tuple[bytes, Mapping[str, Any]]] = {
    "a.tsv": (joined("\t").encode(), {}),
    "b.dat": (joined("::", header=False).encode(), {"delimiter": "::", **NO_HEADER}),
    "c.txt": (joined(" \t ", header=False, end=" \r\n ").encode(), {"delimiter": "whitespace", **NO_HEADER}),
    "d.csv.bz2": (bz2.compress(joined(";", end="\r").encode("utf-16")), {"delimiter": ";"}),
    "e.csv.zst": (pa.Codec("zstd").compress(joined("|").encode("cp1252")).to_pybytes(), {"delimiter": "|"}),
    "f.inter.gz": (gzip.compress(joined("\t").replace("source\ttarget", "source:token\ttarget:token").encode()), {}),
    "h.txt.gz": (
        gzip.compress(f'# Nodes: "many\n# source\ttarget\n{joined(chr(9), header=False)}\n#'.encode()),
        {"delimiter": "\t", "comment": "#", **NO_HEADER},
    ),
    "i.txt": (
        f"%%MatrixMarket matrix coordinate pattern general\n% a\n99 99 200\n{joined(' ', header=False)}".encode(),
        {"delimiter": "whitespace", "comment": "%", **NO_HEADER},
    ),
    "g.json": (str([{"source": a, "target": b} for a, b in PAIRS]).replace("'", '"').encode(), {}),
}


def ingested(folder: Path, name: str, keys: Mapping[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    chain, config = Chain(folder), config_for(folder / name, input=keys)
    ended = chain.run(config, ["ingest"])
    assert ended.code == 0, ended.error
    files = chain.workspace(config).files("edges")
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    return ended.figures("ingest"), sorted(rows, key=lambda row: (row["src_id"], row["dst_id"]))


@pytest.mark.parametrize("name", FORMS)
def test_the_same_rows_in_any_form_are_the_same_edges(name: str, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    write_rows(tmp_path / "one" / "in.parquet", ROWS)
    data, keys = FORMS[name]
    (tmp_path / name).write_bytes(data)
    figures, edges = ingested(tmp_path, name, keys)
    assert (figures["read"], figures["kept"], figures["rejected"], figures["id_type"]) == (200, 200, {}, "int64")
    assert edges == ingested(tmp_path / "one", "in.parquet", {})[1]


def test_ids_that_turn_all_ids_to_text_are_counted_and_shown_without_saying_whose_they_are(tmp_path: Path) -> None:
    odd = ["\u00a07\ufeff", "17850.0", "1.23E+11", "NULL", " 7", "007", "Ann-1", "1" * 20, "\\N", ""]
    rows = [*PAIRS, *((value, 1) for value in odd)]
    (tmp_path / "a.csv").write_text("source,target\n" + "".join(f"{a},{b}\n" for a, b in rows))
    figures, _ = ingested(tmp_path, "a.csv", {"max_rejected_share": 0.1})
    assert figures["rejected"] == {"null id": 1}
    assert figures["id_type"] == "string"
    assert figures["odd_ids"] == {
        "source": {
            "text": {"rows": 1, "shape": "Aaa-9"},
            "like decimals": {"rows": 1, "shape": "99999.9"},
            "like exponents": {"rows": 1, "shape": "9.99A+99"},
            "with leading zeros or a sign": {"rows": 1, "shape": "999"},
            "beyond 64 bits": {"rows": 1, "shape": "9" * 20},
            "with blanks around": {"rows": 2, "shape": "\u00a09\ufeff"},
            "words for no value": {"rows": 2, "shape": "NULL"},
        }
    }
    figures, _ = ingested(tmp_path, "a.csv", {"max_rejected_share": 0.1, "null_values": ["NULL", "\\N"]})
    assert figures["rejected"] == {"null id": 3}
    assert "words for no value" not in figures["odd_ids"]["source"]


@pytest.mark.parametrize(("integers", "warns"), [(199, True), (1, False), (0, False)])
def test_few_texts_among_integers_are_a_slip_and_ids_that_are_texts_are_none(integers: int, warns: bool) -> None:
    texts = {"text": OddIdCount(200 - integers, "a9")}
    assert any("no canonical integers" in line for line in warnings_of("source", texts, rows=200)) is warns


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_null_values_count_in_every_format_and_column(file_format: str, tmp_path: Path) -> None:
    rows = {
        "source": ["1", "NULL", "2", "3"],
        "target": ["4", "5", "6", "7"],
        "weight": ["1", "1", "NULL", "2"],
    }
    path = write_rows(tmp_path / f"a.{file_format}", rows)
    keys = {"weight": "weight", "null_values": ["NULL"], "max_rejected_share": 0.5}
    figures, _ = ingested(tmp_path, path.name, keys)
    assert (figures["kept"], figures["rejected"]) == (2, {"null id": 1, "null weight": 1})


def test_an_unclosed_quote_ends_the_run_with_its_line(tmp_path: Path) -> None:
    lines = [f"{a},{b},x" for a, b in PAIRS]
    lines[7] = '"' + lines[7]
    (tmp_path / "a.csv").write_text("source,target,kind\n" + "\n".join(lines))
    ended = Chain(tmp_path).run(config_for(tmp_path / "a.csv"), ["ingest"])
    assert ended.code == 4
    assert "a.csv line 9: a quote opens a value that no quote closes" in ended.error
    assert "input.quote" in ended.error


def test_blank_lines_headers_and_bad_rows_are_all_accounted_for(tmp_path: Path) -> None:
    folder = tmp_path / "days"
    folder.mkdir()
    for day in range(3):
        text = (
            "#\nsource,target\n\n# a,b\n"
            + "".join(f"{a},{b}\n" for a, b in PAIRS)
            + "1\n1,2,3\n\xe9,1\nsource,target\n"
        )
        (folder / f"{day}.csv").write_text(text, encoding="latin-1")
    figures, _ = ingested(tmp_path, "days", {"max_rejected_share": 0.1, "comment": "#"})
    assert figures["read"] == 3 * 204
    assert figures["kept"] == 600
    assert figures["rejected"] == {"unreadable line": 6, "unreadable id": 3, "repeated header": 3}
    assert (figures["blank_lines"], figures["comment_lines"], figures["header_lines"]) == (3, 6, 3)


def test_comments_that_nobody_named_are_rejected_with_the_key(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# Nodes: 9\n" * 3 + joined("\t", header=False))
    config = config_for(tmp_path / "a.txt", input={"delimiter": "\t", **NO_HEADER})
    ended = Chain(tmp_path).run(config, ["ingest"])
    assert ended.code == 4
    assert "3 of 203 rows" in ended.error
    assert "set input.comment = '#'" in ended.error


def test_pairs_that_hold_fewer_events_than_rows_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"events": np.array([2, 3])}), tmp_path / "a.parquet")
    _refuse_loss(5, [tmp_path / "a.parquet"])
    with pytest.raises(StorageError, match="6 rows were kept, and the pairs made of them hold 5"):
        _refuse_loss(6, [tmp_path / "a.parquet"])


def test_test_pairs_and_sources_are_read_with_the_keys_of_the_input(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(joined(";"))
    (tmp_path / "pairs.txt").write_text("% a;b\ntarget;source\n" + "".join(f"{b};{a}\n" for a, b in PAIRS[:50]))
    (tmp_path / "who.csv").write_text("node_type;node_id\n% c\nuser;1\nuser;2\n")
    config = config_for(
        tmp_path / "in.csv",
        input={"delimiter": ";", "comment": "%"},
        evaluate={"source": "file", "path": str(tmp_path / "pairs.txt")},
        ppr={"neighbors": True, "top_k": 5, "sources": str(tmp_path / "who.csv")},
    )
    made = Chain(tmp_path).publish(config)
    assert made.metrics["ranking"]["users"] > 0
    lists = pq.read_table(made.folder / "ppr_neighbors")
    assert sorted(lists["node_id"].to_pylist()) == [1, 2]


def test_attributes_have_text_keys_of_their_own(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.parquet", ROWS)
    items = sorted({b for _, b in PAIRS})
    lines = [f"{item};{'k.A.' if item % 2 else 'Käse'};{item}" for item in items]
    lines[3] += ";too much"
    (tmp_path / "items.dat").write_bytes("\n".join(lines).encode("cp1252"))
    about = {
        "path": str(tmp_path / "items.dat"),
        "id": "id",
        "categories": ["kind"],
        "numbers": ["size"],
        "delimiter": ";",
        "encoding": "cp1252",
        "header": False,
        "columns": ["id", "kind", "size"],
        "null_values": ["k.A."],
    }
    config = config_for(
        tmp_path / "in.parquet",
        input={"max_rejected_share": 0.1},
        attributes={"item": about},
        embedding={"attribute_share": 0.5},
    )
    chain = Chain(tmp_path)
    ended = chain.run(config, ["ingest"])
    assert ended.code == 0, ended.error
    found = ended.figures("ingest")["attributes"]["item"]
    assert (found["read"], found["nodes"], found["rejected"]) == (len(items), len(items) - 1, {"unreadable line": 1})
    assert found["odd_ids"] == {}
    with_kind = sum(item % 2 == 0 for place, item in enumerate(items) if place != 3)
    (features,) = chain.workspace(config).files("attribute_features")
    rows = pa.ipc.open_file(features).read_all().num_rows
    assert rows == with_kind + len(items) - 1  # a kind where it is known, and a size


@pytest.mark.parametrize(("bad", "code"), [(0, 0), (1, 0), (9, 4)])
def test_rows_of_test_pairs_are_not_left_out_in_silence(bad: int, code: int, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.parquet", ROWS)
    lines = [f"{a},{b}" for a, b in PAIRS]
    lines[:bad] = ["1,2,3"] * bad
    (tmp_path / "pairs.csv").write_text("\n".join(["source,target", *lines]))
    config = config_for(
        tmp_path / "in.parquet",
        input={"max_rejected_share": 0.02},
        evaluate={"source": "file", "path": str(tmp_path / "pairs.csv")},
    )
    ended = Chain(tmp_path / "chain").run(config)
    assert ended.code == code
    if code:
        assert "9 of 200 rows of pairs in" in ended.error
        assert "unreadable line: 9, such as 3 of 2 columns" in ended.error
        assert "input.max_rejected_share is 0.02" in ended.error
    else:
        told = "of evaluate.path, 1 of 200 rows are left out: unreadable line: 1" in ended.answer["metrics"]["warning"]
        assert told == bool(bad)


def test_rejected_rows_of_attributes_come_with_an_example(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.parquet", ROWS)
    rows = ['{"id": 1, "x": 1}', "{", '{"id": 2, "x": 2}', '{"id": 2, "x": 3}', '{"id": 3, "x": [4]}']
    (tmp_path / "items.jsonl").write_text("\n".join(rows))
    about = {"path": str(tmp_path / "items.jsonl"), "numbers": ["x"]}
    ended = Chain(tmp_path).run(
        config_for(tmp_path / "in.parquet", attributes={"item": about}, embedding={"attribute_share": 0.5}), ["ingest"]
    )
    assert ended.code == 4
    assert "unreadable line: 1, such as no JSON object (one over several lines?" in ended.error
    assert "same id with other values: 2, such as row 2 of items.jsonl and row 3 of items.jsonl" in ended.error
    assert "wrong type: 1, such as some value (row 4 of items.jsonl)" in ended.error
