"""Tables of personalised PageRank through the whole chain: both forms, any cut, one node's row alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphquilt import EmbeddingTable
from graphquilt.errors import TableError
from pipeline.errors import ConfigError, InputError, StorageError
from pipeline.queries.one_row import row_alone
from tests.stages.chains import Chain, Published, config_for, friends, users_and_items, with_changes, write_rows

HASHED = {"method": "ppr", "form": "hashed"}
FACTORISED = {"method": "ppr"}


def about(made: Published) -> dict[str, Any]:
    return json.loads(made.table.schema.metadata[b"graphquilt"])


def weighted(plain: bool) -> dict[str, Any]:
    rows: dict[str, Any] = friends() if plain else users_and_items()
    return {**rows, "w": 0.25 + np.arange(len(rows["source"])) % 7}


def with_text_ids(rows: dict[str, Any]) -> dict[str, Any]:
    return {**rows, **{end: [f"n-{one}" for one in rows[end]] for end in ("source", "target")}}


def config(path: Path, plain: bool, parts: int = 1, embedding: Any = None, **sections: Any) -> dict[str, Any]:
    made = config_for(path, plain=plain, parts=parts, embedding=embedding or HASHED, **sections)
    return with_changes(made, input={"weight": "w"})


@pytest.mark.parametrize("plain", [False, True])
def test_hashed_rows_are_the_same_bytes_for_any_cut_and_any_number_of_tasks(plain: bool, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", weighted(plain))
    wanted = Chain(tmp_path / "one").publish(config(path, plain))
    assert np.count_nonzero(wanted.rows.any(axis=1)) > 0.9 * len(wanted.rows)
    for parts, shards in ((1, 4), (4, 1), (4, 16)):
        chain = Chain(tmp_path / f"{parts}-{shards}")
        got = chain.publish(config(path, plain, parts, ppr={"shards": shards}))
        assert got.rows.tobytes() == wanted.rows.tobytes()
        assert got.ids == wanted.ids


@pytest.mark.parametrize("plain", [False, True])
def test_factorised_rows_are_the_same_but_for_rounding_for_any_cut(plain: bool, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", weighted(plain))
    sections = {"embedding": {**FACTORISED, "oversampling": 100}}
    one, four = (Chain(tmp_path / f"{parts}").publish(config(path, plain, parts, **sections)) for parts in (1, 4))
    products = [made.rows.astype(np.float64) @ made.rows.T for made in (one, four)]
    np.testing.assert_allclose(*products, atol=2e-4 * np.abs(products[0]).max())
    assert about(one)["found"]["eigenvalues"][0] > 0.5


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("has_text_ids", [False, True])
def test_a_row_made_alone_is_the_tables_own(plain: bool, has_text_ids: bool, tmp_path: Path) -> None:
    rows = weighted(plain)
    path = write_rows(tmp_path / "rows.parquet", with_text_ids(rows) if has_text_ids else rows)
    chain = Chain(tmp_path / "chain")
    types = ("person",) if plain else ("user", "item")
    ids = ["alone", "n-1", "n-2"] if has_text_ids else [999, 1, 2]
    attributes = write_rows(tmp_path / "about.parquet", {"id": ids, "size": [1.0, 2.0, 3.0]})
    given = {types[-1]: {"path": str(attributes), "numbers": ["size"]}}
    made = chain.publish(config(path, plain, 3, attributes=given))
    lone = (types[-1], "alone" if has_text_ids else 999)
    assert lone in made.of  # known by its attributes only
    assert not made.of[lone].any()
    assert about(made)["attributes_without_effect"] == [types[-1]]
    assert {kind for kind, _ in made.ids} == set(types)
    for (node_type, node_id), row in made.of.items():
        assert row_alone(made.folder, node_type, node_id).tobytes() == row.tobytes()


def test_an_unknown_node_is_named_and_one_left_out_stays_so(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", weighted(True))
    made = Chain(tmp_path / "chain").publish(config(path, True, publish={"exclude_ids": {"person": [3]}}))
    for node_type, node_id in (("person", "4711"), ("person", "03"), ("person", 3), ("dog", 1)):
        with pytest.raises(InputError, match=f"no {node_type} with the id '{node_id}'"):
            row_alone(made.folder, node_type, node_id)


def test_without_the_graph_of_the_run_it_says_so(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", weighted(True))
    chain = Chain(tmp_path / "chain")
    made = chain.publish(config(path, True))
    (chain.root / "runs").rename(chain.root / "gone")
    with pytest.raises(StorageError, match=r"is gone \(looked in .*keep_runs.*Run that date again"):
        row_alone(made.folder, "person", 1)


@pytest.mark.parametrize("embedding", [FACTORISED, {"method": "fastrp"}, {"method": "spectral"}])
def test_rows_made_of_other_rows_are_refused_alone(embedding: dict[str, Any], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", weighted(True))
    made = Chain(tmp_path / "chain").publish(config(path, True, embedding=embedding))
    with pytest.raises(ConfigError, match="made of other nodes' rows, so that none can be made alone"):
        row_alone(made.folder, "person", 1)


def test_the_space_is_set_by_what_sets_vectors(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", weighted(True))
    chain = Chain(tmp_path / "chain")
    given = config(path, True)
    seen = {about(chain.publish(given))["space_id"]}
    changes: list[dict[str, Any]] = [
        {"ppr": {"restart": 0.3}},
        {"ppr": {"hash_columns": 3}},
        {"ppr": {"push_threshold": 1e-4}},
        {"embedding": {"seed": 1}},
        {"embedding": {"norm_degree_power": 0.2}},
    ]
    for change in changes:
        seen.add(about(chain.publish(with_changes(given, **change)))["space_id"])
    assert len(seen) == 1 + len(changes)
    # What sets no vector: tasks, lists.
    same = about(chain.publish(with_changes(given, ppr={"shards": 3, "tolerance": 0.2})))
    assert same["space_id"] in seen
    assert same["parameters"] == {
        "norm_degree_power": 0.0,
        "restart": 0.15,
        "push_threshold": None,
        "hash_columns": 2,
        "nodes": len(chain.published().rows),
    }
    rows = weighted(True)
    write_rows(tmp_path / "rows.parquet", {name: [*column, column[0] + 1_000] for name, column in rows.items()})
    assert about(chain.publish(given))["space_id"] not in seen  # the logarithms stand on the number of nodes


def test_a_factorised_table_is_turned_into_its_parents_coordinates(tmp_path: Path) -> None:
    rows = {**users_and_items(1, 2_000, 80, 50)}
    day = np.datetime64("2024-06-01", "us").astype(np.int64)
    rows["ts"] = day + 86_400_000_000 * (np.arange(2_000) >= 1_990)
    path = write_rows(tmp_path / "rows.parquet", rows)
    given = config_for(
        path, dim=8, input={"timestamp": "ts", "timestamp_unit": "us"}, embedding={**FACTORISED, "iterations": 8}
    )
    chain = Chain(tmp_path / "chain")
    former, made = (chain.publish(given, date=date) for date in ("2024-06-01", "2024-06-02"))
    alignment = about(made)["alignment"]
    assert alignment["rotated"]
    assert alignment["parent"] == former.folder.name
    assert about(made)["space_id"] == about(former)["space_id"]
    other = chain.publish(with_changes(given, ppr={"restart": 0.5}), date="2024-06-02")
    assert about(other)["alignment"]["parent"] is None


@pytest.mark.parametrize("embedding", [HASHED, FACTORISED])
@pytest.mark.parametrize("rows", [[(1, 2)], [(1, 2), (2, 3)], [(1, 2), (3, 4), (5, 6)]])
@pytest.mark.parametrize("plain", [False, True])
def test_tiny_graphs(embedding: dict[str, Any], rows: list[tuple[int, int]], plain: bool, tmp_path: Path) -> None:
    source, target = zip(*rows, strict=True)
    path = write_rows(tmp_path / "rows.parquet", {"source": source, "target": target})
    made = Chain(tmp_path / "chain").publish(config_for(path, plain=plain, embedding=embedding))
    assert np.isfinite(made.rows).all()
    assert len(made.rows) == len({*source, *target}) if plain else len({*source}) + len({*target})


def test_readers_are_told_what_products_mean(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", weighted(False))
    for embedding in (HASHED, FACTORISED):
        made = Chain(tmp_path / str(len(embedding))).publish(config(path, False, embedding=embedding))
        with EmbeddingTable.open(made.folder) as table:
            assert table.similarity["retrieval"] == "dot"
            assert len(table.neighbors(1, "user", 5, "item")) == 5
            with pytest.raises(TableError, match="can't fold in new nodes of type 'user'"):
                table.fold_in({1: 1.0}, "user")


def test_factorised_users_fold_in_as_spectral_ones(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", weighted(False))
    made = Chain(tmp_path / "chain").publish(config(path, False, embedding=FACTORISED, publish={"fold_in": True}))
    edges = pq.read_table(path)
    given: dict[int, float] = {}
    for source, target, weight in zip(*(edges[name].to_pylist() for name in ("source", "target", "w")), strict=True):
        if source == 7:
            given[target] = given.get(target, 0.0) + weight
    with EmbeddingTable.open(made.folder) as table:
        folded = table.fold_in(given, "user")
    own = made.of["user", 7]
    np.testing.assert_allclose(folded, own, atol=1e-5 * np.abs(own).max())
