"""Tables with a compatibility matrix: what it is fitted on, which rows take it up, and who shares a space."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphquilt import EmbeddingTable
from graphquilt.errors import TableError
from tests.stages.chains import Chain, Published, config_for, friends, users_and_items, with_changes, write_rows

EPS = 2.0**-24
FORMS: Mapping[str, dict[str, Any]] = {
    "two_tower": {"form": "two_tower"},
    "classic": {"form": "classic", "norm_degree_power": 0.2},
    "hashed": {"method": "ppr", "form": "hashed"},
    "spectral": {"method": "spectral", "align": False},
}


def about(made: Published) -> dict[str, Any]:
    return json.loads(made.table.schema.metadata[b"graphquilt"])


def matrix_of(made: Published) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(about(made)["compatibility"]["matrix"]), "<f4").astype(np.float64)
    return raw.reshape(made.rows.shape[1], -1)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


def dense_matrix(
    made: Published, rows: Mapping[str, np.ndarray], ridge: float, *, is_plain: bool = False
) -> np.ndarray:
    """H of a table without one, by its definition: pairs once, half of the negatives random, half by degree."""
    of, degree = made.of, made.column("degree")
    types = ("person", "person") if is_plain else ("user", "item")
    events = zip(rows["source"].tolist(), rows["target"].tolist(), strict=True)
    pairs = {tuple(sorted(pair)) if is_plain else pair for pair in events}
    x = unit(np.array([of[types[0], left] for left, _ in pairs], np.float64))
    y = unit(np.array([of[types[1], right] for _, right in pairs], np.float64))
    cross = x.T @ y + (y.T @ x if is_plain else 0)
    grams = []
    for side, name in enumerate(types):
        ids = [one for one in of if one[0] == name]
        d = np.array([degree[one] for one in ids], np.float64)
        weight = 0.5 + 0.5 * d / d.mean() if side or is_plain else np.ones(len(ids))
        some = unit(np.array([of[one] for one in ids], np.float64))
        gram = some.T @ (some * weight[:, None])
        grams.append(gram + np.eye(len(gram)) * ridge * np.trace(gram) / len(gram))
    matrix = np.linalg.inv(grams[0]) @ cross @ np.linalg.inv(grams[1])
    matrix *= np.sqrt(len(matrix)) / np.linalg.norm(matrix)
    if is_plain:
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        matrix = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return matrix


def folded(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return unit(rows @ matrix.T) * np.linalg.norm(rows, axis=1, keepdims=True)


def two_tables(tmp_path: Path, rows: Any, embedding: dict[str, Any], **more: Any) -> tuple[Published, Published]:
    """The table without and with a matrix."""
    config = config_for(write_rows(tmp_path / "in.parquet", rows), dim=8, embedding=embedding, **more)
    chain = Chain(tmp_path)
    return chain.publish(config), chain.publish(with_changes(config, embedding={"compatibility": 0.5}))


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_items_take_up_the_dense_matrix_at_their_norms(form: str, parts: int, tmp_path: Path) -> None:
    rows = users_and_items(1, 900)
    without, made = two_tables(tmp_path, rows, FORMS[form], partition={"parts": parts})
    matrix = dense_matrix(without, rows, 0.5)

    np.testing.assert_allclose(matrix_of(made), matrix, atol=1e-5)
    before, after = without.of, made.of
    for one in before:
        if one[0] == "user":
            np.testing.assert_array_equal(after[one], before[one])
    items = [one for one in before if one[0] == "item"]
    wide = np.array([before[one] for one in items], np.float64)
    np.testing.assert_allclose(
        np.array([after[one] for one in items]), folded(wide, matrix), atol=1e-4 * np.linalg.norm(wide, axis=1).max()
    )
    assert np.abs(np.array([after[one] for one in items]) - wide).max() > 0.01  # else nothing is shown here
    assert about(made)["similarity"]["retrieval"] == "dot"
    assert about(made)["parameters"]["compatibility"] == 0.5
    assert "compatibility" not in about(without)


@pytest.mark.parametrize("embedding", [{"norm_degree_power": 0.3}, {"method": "spectral", "align": False}])
def test_one_type_folds_the_root_into_all_rows(embedding: dict[str, Any], tmp_path: Path) -> None:
    rows = friends(2, 700, 60)
    types = {"source_type": "person", "target_type": "person"}
    without, made = two_tables(tmp_path, rows, embedding, input=types, partition={"parts": 2})
    root = dense_matrix(without, rows, 0.5, is_plain=True)
    np.testing.assert_allclose(matrix_of(made) @ matrix_of(made), root @ root, atol=1e-4)
    wide = without.rows.astype(np.float64)
    np.testing.assert_allclose(made.rows, folded(wide, matrix_of(made)), atol=1e-5 * np.abs(wide).max())


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Published]:
    folder = tmp_path_factory.mktemp("compatibility")
    path = write_rows(folder / "in.parquet", users_and_items(3, 900))
    config = config_for(path, dim=20, parts=3, embedding={"compatibility": 1.0})
    return config, Chain(folder).publish(config)


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.integers(1, 6), method=st.sampled_from(["hash", "ldg", "multilevel"]), rows_per_file=st.integers(7, 60))
def test_any_cut_and_any_files_give_the_same_rows_to_rounding(
    parts: int, method: str, rows_per_file: int, reference: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config, made = reference
    changed = with_changes(
        config, partition={"parts": parts, "method": method}, publish={"rows_per_file": rows_per_file}
    )
    other = Chain(tmp_path_factory.mktemp("cut")).publish(changed)
    np.testing.assert_allclose(other.rows, made.rows, atol=1e-4)


def test_files_change_no_bit(reference: tuple[dict[str, Any], Published], tmp_path: Path) -> None:
    config, made = reference
    other = Chain(tmp_path).publish(with_changes(config, publish={"rows_per_file": 17}))
    assert len(other.data) > 3
    np.testing.assert_array_equal(other.rows, made.rows)
    assert about(other)["space_id"] == about(made)["space_id"]


@pytest.mark.slow
def test_dask_makes_the_same_bytes(reference: tuple[dict[str, Any], Published], tmp_path: Path) -> None:
    config, made = reference
    assert Chain(tmp_path).publish(config, workers=2).data == made.data


@pytest.mark.spark
def test_spark_makes_the_same_bytes(
    reference: tuple[dict[str, Any], Published], tmp_path: Path, spark_session: Any
) -> None:
    from pipeline.engines.spark import SparkEngine

    config, made = reference
    assert Chain(tmp_path, SparkEngine(spark_session)).publish(config).data == made.data


def test_each_matrix_has_a_space_of_its_own(tmp_path: Path) -> None:
    spaces = set()
    for seed in (1, 2):
        path = write_rows(tmp_path / f"{seed}.parquet", users_and_items(seed))
        for ridge in (0.5, 2.0):
            config = config_for(path, dim=8, embedding={"compatibility": ridge})
            spaces.add(about(Chain(tmp_path / f"{seed}-{ridge}").publish(config))["space_id"])
    assert len(spaces) == 4


def test_a_spectral_night_begins_a_space_when_its_matrix_is_new(tmp_path: Path) -> None:
    rows: dict[str, Any] = users_and_items(1, 2_000)
    first = np.datetime64("2024-06-01", "us").astype(np.int64)
    rows["ts"] = first + 86_400_000_000 * (np.arange(2_000) >= 1_990)
    times = {"timestamp": "ts", "timestamp_unit": "us"}
    path = write_rows(tmp_path / "in.parquet", rows)
    for ridge, is_kept in ((None, True), (1.0, False)):
        embedding = {"method": "spectral", "iterations": 8} | ({} if ridge is None else {"compatibility": ridge})
        config, chain = config_for(path, dim=8, input=times, embedding=embedding), Chain(tmp_path / str(ridge))
        before, after = (about(chain.publish(config, date=f"2024-06-0{day}")) for day in (1, 2))
        assert after["alignment"]["rotated"]
        assert (after["space_id"] == before["space_id"]) == is_kept
        assert (after["alignment"]["space_since"] == "2024-06-01") == is_kept


def test_items_and_users_fold_in_as_their_own_rows(tmp_path: Path) -> None:
    rows = users_and_items(4, 900)
    path = write_rows(tmp_path / "in.parquet", rows)
    config = config_for(path, dim=16, embedding={"compatibility": 0.5}, publish={"fold_in": True})
    made = Chain(tmp_path).publish(config)
    with EmbeddingTable.open(made.folder) as table:
        for own, other, name in (("source", "target", "user"), ("target", "source", "item")):
            for node_id in np.unique(rows[own])[:25].tolist():
                neighbors, counts = np.unique(rows[other][rows[own] == node_id], return_counts=True)
                row = table.fold_in(dict(zip(neighbors.tolist(), counts.tolist(), strict=True)), name)
                np.testing.assert_allclose(row, made.of[name, node_id], atol=1e-4)


def test_truncated_rows_need_the_table_once_a_matrix_is_in_them(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(4))
    config = config_for(path, dim=8, embedding={"method": "spectral", "compatibility": 1.0})
    with (
        EmbeddingTable.open(Chain(tmp_path).publish(config).folder) as table,
        pytest.raises(TableError, match="fold_in"),
    ):
        table.fold_in([1, 2])
    with_table = with_changes(config, publish={"fold_in": True})
    made = Chain(tmp_path / "table").publish(with_table)
    rows = pq.read_table(tmp_path / "in.parquet").to_pydict()
    items = [item for user, item in zip(rows["source"], rows["target"], strict=True) if user == 5]
    with EmbeddingTable.open(made.folder) as table:
        np.testing.assert_allclose(table.fold_in(items, "user"), made.of["user", 5], atol=1e-4)


def test_rows_made_alone_and_from_attributes_take_it_up(tmp_path: Path) -> None:
    from pipeline.locations import parse_location
    from pipeline.queries.new_nodes import rows_of_new_nodes
    from pipeline.queries.one_row import row_alone

    path = write_rows(tmp_path / "in.parquet", users_and_items(5))
    hashed = config_for(path, dim=8, embedding={**FORMS["hashed"], "compatibility": 1.0})
    made = Chain(tmp_path / "hashed").publish(hashed)
    for one in (("item", 3), ("user", 3)):
        np.testing.assert_array_equal(row_alone(parse_location(str(made.folder)), *one), made.of[one])

    kinds = {"id": pa.array([*range(30), 1_000]), "kind": pa.array(["a", "b", "c"][n % 3] for n in range(31))}
    of_items = write_rows(tmp_path / "items.parquet", kinds)
    config = config_for(path, dim=8, embedding={"compatibility": 1.0})
    config["attributes"] = {"item": {"path": str(of_items), "id": "id", "categories": ["kind"]}}
    made = Chain(tmp_path / "attributes").publish(config)
    rows = rows_of_new_nodes(parse_location(str(made.folder)), "item", str(of_items))
    position = rows.node_id.index("1000")
    np.testing.assert_array_equal(rows.rows[position], made.of["item", 1_000])


def test_memory_makes_the_rows_of_a_run(reference: tuple[dict[str, Any], Published], tmp_path: Path) -> None:
    """What ``tune`` compares is what a run publishes."""
    from pipeline.blocks.arrays import Block
    from pipeline.embedding.in_memory import embed_in_memory
    from pipeline.embedding.methods import CONFIG
    from pipeline.embedding.run_settings import settings_of

    config, _ = reference
    whole = with_changes(config, partition={"parts": 1})
    chain = Chain(tmp_path)
    made, workspace = chain.publish(whole), chain.workspace(whole)
    nodes, edges = (workspace.files(table) for table in ("block_nodes", "block_edges"))
    block = Block.read(0, nodes[0], edges[0], None)
    read = CONFIG.from_toml(chain.write_config(whole))
    rows = embed_in_memory(block, settings_of(read, workspace))
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(made.rows, axis=0))


def test_interests_are_refused_beside_a_matrix(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(1))
    config = config_for(path, embedding={"compatibility": 1.0}, interests={"clusters": 8})
    ended = Chain(tmp_path).run(config)
    assert ended.code == 2
    assert "embedding.compatibility 1: queries are mixtures" in ended.error
