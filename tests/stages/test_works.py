"""Awkward inputs that must give a finite table with one row a node, on every engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.published_tables import node_embeddings
from tests.stages.chains import Chain, Published, config_for, friends, users_and_items, with_changes, write_rows

Case = tuple[dict[str, Any], dict[str, dict[str, Any]], bool]


def unicode_and_long_ids() -> Case:
    rng = np.random.default_rng(0)
    names = ["ß", "é", "e\u0301", "日本語", "🦀" * 1024, "x" * 4096, "a\tb", 'quote"', "007", "7", " 7", "nul"]
    ends = rng.integers(0, 12, 60).tolist(), rng.integers(0, 9, 60).tolist()
    return {"source": [names[i] for i in ends[0]], "target": [f"i{i}" for i in ends[1]]}, {}, False


def integers_beyond_64_bits() -> Case:
    source = [str(2**80 + i % 7) for i in range(40)]
    return {"source": source, "target": [i % 5 for i in range(40)]}, {}, False


def partly_text() -> Case:
    target = [str(i % 4) if i % 3 else f"sku-{i % 4}" for i in range(30)]
    return {"source": list(range(30)), "target": target}, {}, False


def extreme_int64() -> Case:
    ends = [2**63 - 1, -(2**63), 0, -1, 1]
    return {"source": [ends[i % 5] for i in range(20)], "target": [ends[i % 4] for i in range(20)]}, {}, False


def a_hub() -> Case:
    target = np.where(np.arange(400) % 2 == 0, 0, users_and_items(1, 400)["target"] + 1)
    return {"source": np.arange(400) % 120, "target": target}, {"partition": {"parts": 4}}, False


def thousands_of_components() -> Case:
    pairs = np.arange(3_000)
    return {"source": 2 * pairs, "target": 2 * pairs + 1}, {"partition": {"parts": 4}}, True


def one_column() -> Case:
    return users_and_items(2, 200), {"embedding": {"dim": 1}, "partition": {"parts": 3}}, False


def wide() -> Case:
    return friends(2, 60, 20), {"embedding": {"dim": 2048}, "partition": {"parts": 3}}, True


def one_node() -> Case:
    return {"source": [5], "target": [5]}, {"input": {"self_loops": "keep"}}, True


def more_parts_than_nodes() -> Case:
    return {"source": [1, 2, 3], "target": [2, 3, 4]}, {"partition": {"parts": 50}}, True


def weights_of_any_size() -> Case:
    rows = friends(3, 100, 20)
    size = len(rows["source"])
    weight = np.resize([2.0**-30, 1.0, 1e6], size)
    return {**rows, "weight": weight}, {"input": {"weight": "weight"}, "partition": {"parts": 2}}, True


CASES: dict[str, Callable[[], Case]] = {
    made.__name__: made
    for made in (
        *(unicode_and_long_ids, integers_beyond_64_bits, partly_text, extreme_int64, a_hub, thousands_of_components),
        *(one_column, wide, one_node, more_parts_than_nodes, weights_of_any_size),
    )
}


def publish(chain: Chain, name: str) -> tuple[Published, Case]:
    rows, changes, plain = CASES[name]()
    path = write_rows(chain.folder / "in.parquet", rows)
    dim = changes.get("embedding", {}).get("dim", 16)
    made = chain.publish(with_changes(config_for(path, plain=plain, dim=dim), **changes))
    check(made, rows, plain, dim)
    return made, (rows, changes, plain)


def check(made: Published, rows: dict[str, Any], plain: bool, dim: int) -> None:
    """Contract, one row a node in the published order, finite, and no zero row, as each node has an edge."""
    contract = node_embeddings(dim)
    contract.check_schema(made.table.schema, "published")
    contract.check_rows(made.table, "published")
    types = ("person", "person") if plain else ("user", "item")
    # Plain lists: numpy would turn integers beyond 64 bits into floats.
    columns = [pa.array(rows[side]).to_pylist() for side in ("source", "target")]
    wanted = {(t, str(i)) for t, column in zip(types, columns, strict=True) for i in column}
    assert {(t, str(i)) for t, i in made.ids} == wanted
    if made.table.schema.field("node_id").type == pa.string():
        assert made.ids == sorted(made.ids, key=lambda one: (one[0], one[1].encode()))
    else:
        assert made.ids == sorted(made.ids)
    norms = np.linalg.norm(made.rows.astype(np.float64), axis=1)
    np.testing.assert_allclose(made.table["norm"].to_numpy(), norms, rtol=1e-6)
    if dim > 4:  # in one column a row cancels now and then
        assert (norms > 0).mean() > 0.95


@pytest.mark.parametrize("name", CASES)
def test_works(name: str, tmp_path: Path) -> None:
    publish(Chain(tmp_path), name)


@pytest.mark.spark
@pytest.mark.parametrize("name", ["unicode_and_long_ids", "partly_text", "more_parts_than_nodes"])
def test_works_on_spark_with_the_same_bytes(name: str, tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    on_spark, _ = publish(Chain(tmp_path / "spark", SparkEngine(spark_session)), name)
    here, _ = publish(Chain(tmp_path / "local"), name)
    assert on_spark.data == here.data


def test_ids_are_integers_only_if_all_of_them_are(tmp_path: Path) -> None:
    made, _ = publish(Chain(tmp_path / "text"), "partly_text")
    assert made.table.schema.field("node_id").type == pa.string()
    made, _ = publish(Chain(tmp_path / "numbers"), "extreme_int64")
    assert made.table.schema.field("node_id").type == pa.int64()


def test_empty_parts_are_dropped_with_one_warning(tmp_path: Path) -> None:
    rows, changes, plain = more_parts_than_nodes()
    path = write_rows(tmp_path / "in.parquet", rows)
    ended = Chain(tmp_path).run(with_changes(config_for(path, plain=plain), **changes))
    figures = ended.figures("partition")
    assert figures["parts"] + figures["empty_parts_dropped"] == 50
    assert sum("got no nodes" in warning for warning in figures["warnings"]) == 1


def test_a_kept_loop_is_the_node_itself(tmp_path: Path) -> None:
    made, _ = publish(Chain(tmp_path), "one_node")
    assert made.column("degree") == {("person", 5): 1}
    assert made.column("weight") == {("person", 5): 1.0}


def test_degrees_and_weights_are_those_of_the_input(tmp_path: Path) -> None:
    rows = users_and_items(4, 300)
    made = Chain(tmp_path).publish(config_for(write_rows(tmp_path / "in.parquet", rows), parts=3))
    pairs = set(zip(rows["source"].tolist(), rows["target"].tolist(), strict=True))
    for node_type, side in (("user", 0), ("item", 1)):
        ids = {pair[side] for pair in pairs}
        for node_id in ids:
            assert made.column("degree")[node_type, node_id] == sum(pair[side] == node_id for pair in pairs)
            events = int((rows["source" if side == 0 else "target"] == node_id).sum())
            assert made.column("weight")[node_type, node_id] == events


def test_published_metadata_says_how_to_use_it(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(4, 300))
    chain = Chain(tmp_path)
    made = chain.publish(config_for(path))
    metadata = json.loads(made.table.schema.metadata[b"graphquilt"])
    assert metadata["similarity"]["retrieval"] == "dot"
    assert (metadata["form"], metadata["dim"], metadata["undated"]) == ("two_tower", 16, True)
    again = Chain(tmp_path / "other").publish(config_for(path, parts=3))
    same = json.loads(again.table.schema.metadata[b"graphquilt"])
    assert same["space_id"] == metadata["space_id"]
    other = Chain(tmp_path / "third").publish(config_for(path, embedding={"seed": 1}))
    assert json.loads(other.table.schema.metadata[b"graphquilt"])["space_id"] != metadata["space_id"]


@pytest.mark.parametrize(("norm_degree_power", "retrieval"), [(0.0, "cosine"), (0.3, "dot")])
def test_norms_that_were_set_rank(norm_degree_power: float, retrieval: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", friends(4))
    embedding = {"norm_degree_power": norm_degree_power}
    made = Chain(tmp_path).publish(config_for(path, plain=True, embedding=embedding))
    assert json.loads(made.table.schema.metadata[b"graphquilt"])["similarity"]["retrieval"] == retrieval
