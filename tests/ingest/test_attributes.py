"""Rows of attributes: which are good, in every format; and what they come to, against plain Python."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.ingest.attributes.features import (
    Spread,
    features_of,
    means_of,
    one_row_a_node,
    spreads_of,
    squares_of_numbers,
    sums_of_numbers,
)
from pipeline.ingest.attributes.rows import AttributeRules, parse_attributes
from pipeline.ingest.counts import Counts
from pipeline.ingest.odd_ids import OddIdCount
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.rejected import ACCEPTED
from pipeline.ingest.sources import list_sources
from pipeline.ingest.text.formats import TextFormat

RULES = AttributeRules("item", "id", ["price"], ["brand"], ["tags"], separator="|")

GOOD = [
    {"id": "a", "price": 1.5, "brand": "x", "tags": ["t", "s", "t"]},
    {"id": "b", "price": None, "brand": None, "tags": None},
    {"id": "c", "price": -2.0, "brand": "y", "tags": []},
    {"id": "7", "price": 0.0, "brand": "", "tags": ["", "ü"]},
]
CLEAN = [
    ("a", 1.5, "x", ["s", "t"]),
    ("b", None, None, []),
    ("c", -2.0, "y", []),
    ("7", 0.0, None, ["ü"]),
]


def parsed(path: Path, rules: AttributeRules = RULES) -> tuple[pa.Table, list[dict[str, Any]], Counts]:
    batches = [batch for task in split_tasks(list_sources(str(path))) for batch in parse_attributes(task, rules)]
    rows = pa.Table.from_batches([batch.rows for batch in batches], rules.schema)
    rejected = [row for batch in batches for row in batch.rejections.to_pylist()]
    return rows, rejected, sum((batch.counts for batch in batches), Counts())


def values(rows: pa.Table) -> list[tuple[Any, ...]]:
    names = ["node_id", "numbers.price", "categories.brand", "lists.tags"]
    return list(zip(*(rows[name].to_pylist() for name in names), strict=True))


def text_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "tags": None if row["tags"] is None else " | ".join(row["tags"])} for row in rows]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".csv":
        lines = [",".join("" if row[name] is None else str(row[name]) for name in row) for row in text_rows(rows)]
        path.write_text("\n".join([",".join(rows[0]), *lines]) + "\n", encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.jsonl"])
def test_the_same_rows_in_every_format(name: str, tmp_path: Path) -> None:
    rows, rejected, counts = parsed(write(tmp_path / name, GOOD))
    assert values(rows) == CLEAN
    assert rejected == []
    assert (counts.read, counts.kept, counts.has_int64_ids) == (4, 4, False)


def test_comments_are_no_rows_of_attributes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", GOOD)
    path.write_text('# price, in "EUR\n' + path.read_text().replace("\n", "\n#\n") + "# end")
    rows, rejected, counts = parsed(path, replace(RULES, text=TextFormat(comment="#")))
    assert values(rows) == CLEAN
    assert (rejected, counts.read) == ([], len(GOOD))


def test_lists_as_text_in_parquet_and_json(tmp_path: Path) -> None:
    for name in ("text.parquet", "text.jsonl"):
        rows, rejected, _ = parsed(write(tmp_path / name, text_rows(GOOD)))
        assert values(rows) == CLEAN
        assert not rejected


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2], None, [2]], pa.list_(pa.int32())),
        pa.array([["1", "2"], None, ["2"]], pa.large_list(pa.large_string())),
        pa.array([["1", "2"], None, ["2"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        pa.array(["2|1", "", "2"]),
        pa.array([["1", "2"], None, ["2", None]], pa.list_(pa.string(), 2)),
    ],
    ids=str,
)
def test_types_that_hold_lists(column: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2, 3], "tags": column}), tmp_path / "a.parquet")
    rows, rejected, counts = parsed(tmp_path, AttributeRules("item", "id", lists=["tags"], separator="|"))
    assert rows["lists.tags"].to_pylist() == [["1", "2"], [], ["2"]]
    assert not rejected
    assert counts.has_int64_ids


BAD = [
    ({"id": None}, "null id"),
    ({"id": ""}, "null id"),
    ({"price": "NaN"}, "non-finite number"),
    ({"price": "-inf"}, "non-finite number"),
    ({"price": "1e999"}, "non-finite number"),
    ({"price": "cheap"}, "unreadable number"),
    ({"brand": "x" * 20_000}, "unreadable value"),
    ({"tags": "x" * 20_000}, "unreadable value"),
]


@pytest.mark.parametrize(("change", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_bad_rows_stand_aside_with_their_reason(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    text = [{name: None if value is None else str(value) for name, value in row.items()} for row in text_rows(GOOD)]
    text[1] |= {"brand": "z", **change}
    pq.write_table(pa.Table.from_pylist(text), tmp_path / "a.parquet")
    rows, rejected, counts = parsed(tmp_path)
    assert [row["node_id"] for row in rows.to_pylist()] == ["a", "c", "7"]
    (found,) = rejected
    assert (found["node_type"], found["file"], found["row"], found["reason"]) == ("item", "a.parquet", 1, reason)
    assert found["node_id"] == text[1]["id"]
    assert json.loads(found["values"])["brand"] == text[1]["brand"]
    assert set(counts.examples) == {reason}
    assert replace(counts, examples={}) == Counts(
        4, 3, rejected={reason: 1}, has_int64_ids=False, odd_ids={"id": {"text": OddIdCount(2, "a")}}
    )


def test_numbers_of_parquet_that_are_not_finite(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2, 3], "price": [1.0, math.nan, math.inf]}), tmp_path / "a.parquet")
    rows, rejected, _ = parsed(tmp_path, AttributeRules("item", "id", ["price"]))
    assert rows["numbers.price"].to_pylist() == [1.0]
    assert [row["reason"] for row in rejected] == ["non-finite number"] * 2


@pytest.mark.parametrize("line", ['{"id": 1.5, "price": 1}', '{"id": [1], "price": 1}', '{"id": 1, "price": [1]}', "{"])
def test_json_of_the_wrong_kind(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "price": 1, "tags": [1, true, null, "1"]}\n' + line + "\n")
    rows, rejected, counts = parsed(tmp_path, AttributeRules("item", "id", ["price"], lists=["tags"]))
    assert rows["lists.tags"].to_pylist() == [["1", "true"]]
    assert [row["reason"] for row in rejected] == ["unreadable line" if line == "{" else "wrong type"]
    assert (counts.read, counts.kept) == (2, 1)


@pytest.mark.parametrize("tags", ['"t"', '{"a": 1}', "3", '[["t"]]'])
def test_json_that_is_no_list(tags: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"id": "a", "tags": ["t"]}}\n{{"id": "b", "tags": {tags}}}\n')
    rows, rejected, _ = parsed(tmp_path, AttributeRules("item", "id", lists=["tags"]))
    assert rows["node_id"].to_pylist() == ["a"]
    assert [row["reason"] for row in rejected] == ["wrong type"]


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,price,brand,tags\na,1,\xff,\nb,1,x,\xff|t\nc,1,x,t\n")
    rows, rejected, _ = parsed(tmp_path)
    assert rows["node_id"].to_pylist() == ["c"]
    assert [row["reason"] for row in rejected] == ["unreadable value"] * 2


@pytest.mark.parametrize(
    ("column", "rules", "words"),
    [
        (pa.array([[1.0]]), AttributeRules("item", "id", ["x"]), ["'x'", "under numbers are", "CAST(x AS DOUBLE)"]),
        (pa.array([1.5]), AttributeRules("item", "id", categories=["x"]), ["double", "CAST(x AS BIGINT)"]),
        (pa.array(["a b"]), AttributeRules("item", "id", lists=["x"]), ["'x'", "is text", "separator"]),
        (pa.array([[1.5]]), AttributeRules("item", "id", lists=["x"]), ["under lists are text"]),
        (pa.array([1]), AttributeRules("item", "id", lists=["x"]), ["under lists are lists"]),
        (
            pa.array([1]),
            AttributeRules("item", "id", ["y"]),
            ["no column 'y'", "attributes.item.numbers.y", "['id', 'x']"],
        ),
        (pa.array([1]), AttributeRules("item", "ix", ["x"]), ["no column 'ix'", "(attributes.item.id)"]),
    ],
)
def test_columns_that_cant_be_used(column: pa.Array, rules: AttributeRules, words: list[str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "x": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError) as caught:
        parsed(tmp_path, rules)
    for word in words:
        assert word in str(caught.value)


def table_of(rows: Sequence[Mapping[str, Any]], rules: AttributeRules = RULES) -> pa.Table:
    kinds = {name: kind for kind, name in rules.columns}
    return pa.Table.from_pylist(
        [
            {
                "node_id": row["id"],
                "file": str(row.get("file", "f")),
                "row": number,
                **{f"{kinds[name]}.{name}": row.get(name) for name in kinds},
            }
            for number, row in enumerate(rows)
        ],
        schema=rules.schema,
    )


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([1.0, 2.0, None])), max_size=9),
    st.randoms(use_true_random=False),
)
def test_conflicts_dont_depend_on_order(pairs: list[tuple[str, float | None]], random: Any) -> None:
    expected = {}
    for node in sorted({node for node, _ in pairs}):
        told = [price for other, price in pairs if other == node]
        if len(set(told)) == 1:
            expected[node] = told[0]
    shuffled = random.sample(pairs, len(pairs))
    rows, rejected = one_row_a_node(
        table_of([{"id": node, "price": price, "tags": []} for node, price in shuffled]), RULES
    )
    assert dict(zip(rows["node_id"].to_pylist(), rows["numbers.price"].to_pylist(), strict=True)) == expected
    assert len(rejected) == sum(node not in expected for node, _ in pairs)
    assert {row["reason"] for row in rejected} <= {"same id with other values"}


NUMBERS = st.floats(-1e300, 1e300, allow_subnormal=False)


@given(st.lists(st.one_of(st.none(), NUMBERS), min_size=1, max_size=30), st.integers(0, 30))
def test_statistics_of_any_pieces_are_those_of_all(prices: list[float | None], cut: int) -> None:
    rules = AttributeRules("item", "id", ["price"])
    whole = table_of([{"id": str(n), "price": price} for n, price in enumerate(prices)], rules)
    pieces = [whole.slice(0, cut), whole.slice(cut)]

    def spread(tables: Sequence[pa.Table]) -> Spread:
        means = means_of([sums_of_numbers(table, rules) for table in tables], rules)
        return spreads_of([squares_of_numbers(table, rules, means) for table in tables], means)["price"]

    found = spread(pieces)
    assert found == spread([whole])
    known = [price for price in prices if price is not None]
    assert found.count == len(known)
    if known:
        assert found.mean == pytest.approx(statistics.mean(known), rel=1e-15, abs=0)
        exact = statistics.pstdev(known)
        # Below, the rounded mean says nothing yet, or a square is no normal number any more.
        if exact > max(1e-9 * max(map(abs, known)), 1e-150):
            assert found.deviation == pytest.approx(exact, rel=1e-6)
        if len(set(known)) == 1:
            assert found.deviation == 1.0


def test_numbers_at_the_ends_of_the_range() -> None:
    rules = AttributeRules("item", "id", ["price"])
    rows = table_of(
        [{"id": "a", "price": 1.7e308}, {"id": "b", "price": -1.7e308}, {"id": "c", "price": 1.7e308}], rules
    )
    means = means_of([sums_of_numbers(rows, rules)], rules)
    found = spreads_of([squares_of_numbers(rows, rules, means)], means)
    features = features_of(rows, rules, {}, found)
    assert np.isfinite(features.value).all()
    assert math.isfinite(found["price"].deviation)


def key(column: str, value: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{column}\0{value}".encode())


def expected_features(row: Mapping[str, Any], weights: Mapping[str, float], spread: Spread) -> dict[int, float]:
    """The definition in plain Python."""
    found: dict[int, float] = {}
    wanted = 0.0
    w = {name: weights.get(name, 1.0) for name in ("price", "brand", "tags")}
    if row["price"] is not None:
        found[key("price", "")] = w["price"] * (row["price"] - spread.mean) / spread.deviation
        wanted += w["price"] ** 2
    if row["brand"] is not None:
        found[key("brand", row["brand"])] = w["brand"]
        wanted += w["brand"] ** 2
    for tag in set(row["tags"]):
        found[key("tags", tag)] = w["tags"] / math.sqrt(len(set(row["tags"])))
    wanted += w["tags"] ** 2 * bool(row["tags"])
    length = math.sqrt(max(wanted, sum(value**2 for value in found.values())))
    return {key: value / length for key, value in found.items() if value}


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "price": st.one_of(st.none(), st.sampled_from([0.0, 1.0, 5.0, -40.0])),
                "brand": st.one_of(st.none(), st.sampled_from(["x", "y", "ü"])),
                "tags": st.lists(st.sampled_from(["s", "t", "x"]), max_size=3, unique=True).map(sorted),
            }
        ),
        max_size=8,
    ),
    st.sampled_from([{}, {"brand": 3.0, "tags": 0.25}]),
)
def test_features_are_what_their_definition_says(rows: list[dict[str, Any]], weights: dict[str, float]) -> None:
    spread = Spread(1, 1.0, 2.0)
    table = table_of([{"id": str(n), **row} for n, row in enumerate(rows)])
    got = features_of(table, RULES, weights, {"price": spread})
    assert len(got.counts) == len(rows)
    for number, row in enumerate(rows):
        here = slice(int(got.indptr[number]), int(got.indptr[number + 1]))
        want = expected_features(row, weights, spread)
        assert got.key[here].tolist() == sorted(want)
        np.testing.assert_allclose(got.value[here], [want[k] for k in sorted(want)], rtol=1e-6)
        assert (got.value[here].astype(np.float64) ** 2).sum() <= 1 + 1e-6


def test_reasons_of_attributes_carry_an_example_and_never_an_id(tmp_path: Path) -> None:
    rows = {
        "id": ["SECRET-1", "", "SECRET-2", "SECRET-3", "S" * 20_000],
        "price": ["1", "2", "many", "nan", "3"],
        "kind": ["a", "b", "c", "d", "e"],
    }
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    rules = AttributeRules("item", numbers=("price",), categories=("kind",))
    (task,) = split_tasks(list_sources(str(tmp_path / "t.parquet")))
    (parsed,) = parse_attributes(task, rules)
    assert parsed.counts.examples == {
        "null id": "empty in column 'id' (row 1 of t.parquet)",
        "unreadable id": "text of 20,000 bytes in column 'id' (row 4 of t.parquet)",
        "unreadable number": "'many' in column 'price' (row 2 of t.parquet)",
        "non-finite number": "'nan' in column 'price' (row 3 of t.parquet)",
    }
    assert {row["accepted"] for row in parsed.rejections.to_pylist()} == {
        ACCEPTED[reason] for reason in parsed.counts.rejected
    }
