from __future__ import annotations

import pyarrow as pa
import pytest

from graphquilt.contracts import ContractViolationError
from schemas import published_tables, tables
from schemas.contracts import Rule, TableContract

THINGS = TableContract(
    "things",
    2,
    pa.schema([("node_id", pa.string()), ("weight", pa.int64())]),
    ("node_id",),
    (Rule("every weight is above zero", lambda table: sum(w <= 0 for w in table["weight"].to_pylist())),),
)


def test_a_table_that_keeps_its_contract() -> None:
    for ids in (pa.array(["a", "b"]), pa.array([1, 2])):  # ids: whichever the run has
        table = pa.table({"node_id": ids, "weight": [1, 2], "more": [0, 0]})
        THINGS.check_schema(table.schema, "here")
        THINGS.check_rows(table, "here")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"node_id": ["a"]}, ["things at here", "no column 'weight'", "version 2"]),
        ({"node_id": ["a"], "weight": [1.0]}, ["things.weight at here is double", "expected int64"]),
        ({"node_id": [1.0], "weight": [1]}, ["things.node_id", "int64 or string"]),
    ],
)
def test_wrong_columns(columns: dict[str, list[object]], words: list[str]) -> None:
    with pytest.raises(ContractViolationError) as caught:
        THINGS.check_schema(pa.table(columns).schema, "here")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"node_id": ["a", None], "weight": [1, 1]}, "null in 1 rows"),
        ({"node_id": ["a", "a", "a"], "weight": [1, 1, 1]}, "2 rows too many"),
        ({"node_id": ["a", "b"], "weight": [1, 0]}, "every weight is above zero, but 1 of 2"),
    ],
)
def test_wrong_rows(columns: dict[str, list[object]], words: str) -> None:
    with pytest.raises(ContractViolationError, match=words):
        THINGS.check_rows(pa.table(columns), "here")


def test_the_schema_of_a_run_has_its_id_type() -> None:
    of_numbers = tables.EDGES.schema_for(pa.int64())
    assert [of_numbers.field(name).type for name in ("src_id", "dst_id", "src_type")] == [
        *(pa.int64(), pa.int64(), pa.string())
    ]
    assert not of_numbers.field("src_id").nullable


def test_published_rows_that_are_not_finite_are_found() -> None:
    contract = published_tables.node_embeddings(2)

    def rows(values: list[list[float]], norm: list[float], degree: list[int]) -> pa.Table:
        n = len(values)
        embedding = pa.array(values, contract.schema.field("embedding").type)
        ids = {"node_type": ["user"] * n, "node_id": list(map(str, range(n)))}
        return pa.table({**ids, "embedding": embedding, "norm": pa.array(norm, pa.float32()), "degree": degree})

    contract.check_rows(rows([[0.0, 0.0], [1.0, 2.0]], [0.0, 2.2], [0, 3]), "here")
    for values, norm, degree in (
        ([[0.0, float("nan")]], [1.0], [1]),
        ([[0.0, float("inf")]], [1.0], [1]),
        ([[0.0, 1.0]], [float("nan")], [1]),
        ([[0.0, 1.0]], [-1.0], [1]),
        ([[0.0, 1.0]], [1.0], [-1]),
    ):
        with pytest.raises(ContractViolationError, match="but 1 of 1 rows do not"):
            contract.check_rows(rows(values, norm, degree), "here")
