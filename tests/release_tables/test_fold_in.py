"""New nodes from their neighbours: what a published table says of them against what a run gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphquilt import EmbeddingTable
from schemas.published_tables import fold_in, node_embeddings
from tests.stages.chains import Chain, config_for, friends, users_and_items, with_changes, write_rows

EPS = 2.0**-24
FORMS: Mapping[str, dict[str, Any]] = {
    "two_tower": {"form": "two_tower"},
    "low_pass": {"form": "low_pass", "filter_degree": 4},
    # Without oversampling the rows that are multiplied are a rotation of the published ones, and as long.
    "truncated": {"method": "spectral", "oversampling": 0},
    "theta_1": {"method": "spectral", "oversampling": 0, "item_row_power": 1.0},
    "rotated": {"method": "spectral", "oversampling": 0, "rank": 24},
}


def weighted(seed: int = 1) -> dict[str, Any]:
    """Rows of a graph with uneven weights and pairs that come several times."""
    rows: dict[str, Any] = users_and_items(seed, 1_500, 80, 50)
    rows["w"] = np.random.default_rng(seed).integers(1, 8, 1_500) / 4.0
    return rows


def config_of(path: Path, form: str, **sections: Any) -> dict[str, Any]:
    given = config_for(path, dim=16, input={"weight": "w"}, embedding=FORMS[form], publish={"fold_in": True})
    return with_changes(given, **sections)


def own_edges(rows: Mapping[str, Any], own: str, other: str, node_id: int) -> dict[int, float]:
    found: dict[int, float] = {}
    for neighbor, weight in zip(rows[other][rows[own] == node_id], rows["w"][rows[own] == node_id], strict=True):
        found[int(neighbor)] = found.get(int(neighbor), 0.0) + float(weight)
    return found


def lengths(table: EmbeddingTable) -> dict[int, float]:
    """‖z‖ by item, of the rows that users' rows are sums of."""
    files = sorted((table.path / "fold_in").iterdir())
    whole = pq.ParquetDataset(files, partitioning=None).read()
    vectors = whole["row"].combine_chunks()
    norms = np.linalg.norm(vectors.flatten().to_numpy().reshape(-1, table.dim).astype(np.float64), axis=1)
    return dict(zip(whole["node_id"].to_pylist(), norms.tolist(), strict=True))


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("form", FORMS)
def test_a_user_of_the_table_folded_in_is_its_own_row(form: str, parts: int, tmp_path: Path) -> None:
    rows = weighted()
    config = config_of(write_rows(tmp_path / "in.parquet", rows), form, partition={"parts": parts})
    chain = Chain(tmp_path)
    with EmbeddingTable.open(chain.publish(config).folder) as table:
        long = lengths(table)
        for user in np.unique(rows["source"]).tolist():
            edges = own_edges(rows, "source", "target", user)
            (own,), _ = table.lookup([user], "user")
            size = sum(edges.values()) ** -0.4 * sum(weight * long[item] for item, weight in edges.items())
            # Rounded in float32: the products of a sum (each partial sum: EPS of what it adds up), z, the scalings, and
            # where columns are reduced both the rows that go in and those that come out. What goes into a rotation is
            # 24 columns wide: the matrix stretches by at most 1 + sqrt(24 / 16), and shrinks no row of these to half.
            bound = (len(edges) + 8) * EPS * size * (6 if form == "rotated" else 1)
            assert np.linalg.norm(table.fold_in(edges) - own.astype(np.float64)) <= bound


@pytest.mark.parametrize("theta", [0.0, 0.5, 0.9])
def test_truncated_spectral_rows_need_no_table(theta: float, tmp_path: Path) -> None:
    rows = weighted()
    path = write_rows(tmp_path / "in.parquet", rows)
    chain = Chain(tmp_path)
    both = [
        chain.publish(config_of(path, "truncated", embedding={"item_row_power": theta}, publish={"fold_in": keeps}))
        for keeps in (True, False)
    ]
    with EmbeddingTable.open(both[0].folder) as with_table, EmbeddingTable.open(both[1].folder) as without:
        assert not (both[1].folder / "fold_in").exists()
        long = lengths(with_table)
        (recipe,) = without.metadata["fold_in"].values()
        for user in np.unique(rows["source"]).tolist():
            edges = own_edges(rows, "source", "target", user)
            size = sum(edges.values()) ** -0.4 * sum(weight * long[item] for item, weight in edges.items())
            # |i| is known to EPS, d to EPS, i itself to EPS; the powers multiply what their bases are wrong by. z is
            # rounded twice.
            bound = (6 + recipe["norm_power"] + abs(recipe["weight_power"])) * EPS * size
            assert np.linalg.norm(with_table.fold_in(edges).astype(np.float64) - without.fold_in(edges)) <= bound


@pytest.mark.parametrize("form", ["two_tower", "low_pass"])
def test_an_item_of_the_table_folded_in_is_its_own_row(form: str, tmp_path: Path) -> None:
    rows = weighted()
    path = write_rows(tmp_path / "in.parquet", rows)
    made = Chain(tmp_path).publish(config_of(path, form, partition={"parts": 3}, publish={"fold_in": False}))
    power = 0.12 if form == "two_tower" else 0.25
    with EmbeddingTable.open(made.folder) as table:
        strength = made.column("weight")
        for item in np.unique(rows["target"]).tolist():
            edges = own_edges(rows, "target", "source", item)
            (own,), _ = table.lookup([item], "item")
            users, _ = table.lookup(list(edges), "user")
            factor = np.array([weight * strength["user", user] ** -0.4 for user, weight in edges.items()])
            terms = factor * np.linalg.norm(users.astype(np.float64), axis=1)
            length = np.linalg.norm(factor @ users.astype(np.float64))
            # The direction is wrong by at most twice what the sum is, as a share of its length.
            bound = 2 * (len(edges) + 8) * EPS * terms.sum() / length * sum(edges.values()) ** power
            assert np.linalg.norm(table.fold_in(edges, "item") - own.astype(np.float64)) <= bound


def test_the_table_is_sorted_cut_and_turned_as_the_main_one(tmp_path: Path) -> None:
    rows = weighted()
    rows["ts"] = np.datetime64("2024-06-01", "us").astype(np.int64) + 86_400_000_000 * (np.arange(1_500) >= 1_480)
    config = config_of(
        write_rows(tmp_path / "in.parquet", rows),
        "truncated",
        input={"timestamp": "ts", "timestamp_unit": "us"},
        publish={"rows_per_file": 20, "exclude_ids": {"item": [3, 5]}},
    )
    chain = Chain(tmp_path)
    chain.publish(config, date="2024-06-01")
    made = chain.publish(config, date="2024-06-02")
    files = sorted((made.folder / "fold_in").iterdir())
    assert len(files) > 1
    whole = pq.ParquetDataset(files, partitioning=None).read()
    fold_in(16).check_schema(whole.schema, "here")
    fold_in(16).check_rows(whole, "here")
    items = [node_id for node_type, node_id in made.ids if node_type == "item"]
    assert whole["node_id"].to_pylist() == items
    assert set(whole["node_type"].to_pylist()) == {"item"}
    assert 3 not in items
    metadata = json.loads(made.table.schema.metadata[b"graphquilt"])
    assert metadata["alignment"]["rotated"]
    # Turned as the users are: rows of a former day's coordinates would miss by their whole length.
    user = int(rows["source"][0])
    edges = {item: w for item, w in own_edges(rows, "source", "target", user).items() if item not in (3, 5)}
    with EmbeddingTable.open(made.folder) as table:
        (own,), _ = table.lookup([user], "user")
        folded = table.fold_in(edges)
    assert folded @ own > 0.9 * np.linalg.norm(folded) * np.linalg.norm(own)


def test_metadata_has_the_frozen_keys(tmp_path: Path) -> None:
    made = Chain(tmp_path).publish(config_of(write_rows(tmp_path / "in.parquet", weighted()), "truncated"))
    frozen = Path(__file__).parents[2] / "schemas" / "published" / f"node_embeddings-v{node_embeddings(1).version}.json"
    wanted = json.loads(frozen.read_text())["file_metadata"]["graphquilt"]
    metadata = json.loads(made.table.schema.metadata[b"graphquilt"])
    assert sorted(metadata) == wanted
    assert 0 < metadata["found"]["rank"] == np.count_nonzero(metadata["found"]["eigenvalues"]) <= 16
    assert metadata["found"]["eigenvalues"] == sorted(metadata["found"]["eigenvalues"], reverse=True)
    assert set(metadata["similarity"]) == {"retrieval", "feature", "classifier", "why"}


@pytest.mark.parametrize("embedding", [{}, {"method": "spectral", "eigenvalues": "positive"}, {"form": "low_pass"}])
def test_nodes_of_one_type_fold_in_by_a_step_from_their_neighbors(embedding: dict[str, Any], tmp_path: Path) -> None:
    rows = friends(3, 600, 60)
    path = write_rows(tmp_path / "in.parquet", rows)
    made = Chain(tmp_path).publish(config_for(path, plain=True, embedding={**embedding, "norm_degree_power": 0.3}))
    strength, vectors = made.column("weight"), made.of
    with EmbeddingTable.open(made.folder) as table:
        assert table.metadata["fold_in"]["person"]["is_exact"] is False
        found = table.fold_in({3: 2.0, 7: 1.0}, "person").astype(np.float64)
    want = sum(
        weight * strength["person", node] ** -0.5 * vectors["person", node] / np.linalg.norm(vectors["person", node])
        for node, weight in ((3, 2.0), (7, 1.0))
    )
    norm = 3.0**0.3 * (np.sqrt(16) / 2 if embedding.get("method") else 1)  # as of all rows of the form
    np.testing.assert_allclose(found, want / np.linalg.norm(want) * norm, rtol=1e-5, atol=1e-6)


def test_columns_of_negative_eigenvalues_are_not_folded_in(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", friends(3, 600, 60))
    made = Chain(tmp_path).publish(
        config_for(path, plain=True, embedding={"method": "spectral", "eigenvalues": "both"})
    )
    metadata = json.loads(made.table.schema.metadata[b"graphquilt"])
    assert metadata["fold_in"] == {}
    assert "wrong sign" in metadata["similarity"]["why"]


def test_a_table_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", friends(3))
    ended = Chain(tmp_path).run(config_for(path, plain=True, publish={"fold_in": True}))
    assert ended.code == 2
    assert "publish.fold_in is true" in ended.error


@pytest.mark.spark
def test_engines_agree_on_the_table(tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    config = config_of(write_rows(tmp_path / "in.parquet", weighted()), "rotated", partition={"parts": 3})
    found = []
    for place, engine in (("local", None), ("spark", SparkEngine(spark_session))):
        folder = Chain(tmp_path / place, engine).publish(config).folder
        found.append([path.read_bytes() for path in sorted((folder / "fold_in").iterdir())])
    assert found[0] == found[1]
