"""Rows of nodes without edges by a map of their attributes: what dense least squares gives, at any cut and engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.embedding.methods import CONFIG
from pipeline.errors import ConfigError
from pipeline.release_tables import cold_fits, finished_rows
from pipeline.release_tables.cold_norms import LIST_LENGTH, norm_for
from tests.stages.chains import Chain, Published, friends, users_and_items, with_changes, write_rows
from tests.stages.test_node_attributes import COLD, ITEMS, attributes, config_with, features_by_hand, shop

__all__ = ["shop"]

RIDGE, NORM = 3.0, 1.5
MAP = {"rows": "map", "ridge": RIDGE, "norm": NORM}
FORMS: dict[str, dict[str, Any]] = {
    "two_tower": {},
    "low_pass": {"form": "low_pass", "filter_degree": 4},
    "classic": {"form": "classic", "iteration_weights": [1.0, 1.0], "standardize_columns": True},
    "spectral": {"method": "spectral", "dim": 8},
    "ppr": {"method": "ppr"},
    "plain": {"iteration_weights": [0.0, 1.0]},
    "plain spectral": {"method": "spectral", "dim": 8},
}


def least_squares(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Coefficients of features and of an intercept without a penalty, which is rows of an ordinary regression."""
    n, columns = x.shape
    penalty = np.hstack([np.sqrt(RIDGE) * np.eye(columns), np.zeros((columns, 1))])
    design = np.vstack([np.hstack([x, np.ones((n, 1))]), penalty])
    return np.linalg.lstsq(design, np.vstack([rows, np.zeros((columns, rows.shape[1]))]))[0]


@pytest.mark.parametrize("form", FORMS)
def test_cold_rows_are_those_of_dense_least_squares(form: str, shop: tuple[Path, Path], tmp_path: Path) -> None:
    plain = form.startswith("plain")
    path = write_rows(tmp_path / "in.csv", friends(3, nodes=ITEMS)) if plain else shop[0]
    config = config_with(path, shop[1], plain=plain, parts=2, embedding=FORMS[form])
    chain = Chain(tmp_path / "chain")
    own = chain.publish(config)
    ended = chain.run(with_changes(config, cold_start=MAP))
    assert ended.code == 0, ended.error
    assert "embed" in ended.skipped
    made = chain.published(Path(ended.answer["path"]))
    node_type = "person" if plain else "item"
    about = chain.workspace(config).manifest("edges").figures["attributes"]
    x, degree = feature_matrix(about, node_type), own.column("degree")
    want = mapped_rows(x, own, node_type)
    assert ended.figures("aggregate")["fitted_nodes"] == {node_type: len(warm_nodes(x, own, node_type))}
    assert made.column("degree") == degree
    checked = 0
    for node, row in made.of.items():
        if node[0] == node_type and degree[node] == 0 and x[node[1]].any():
            np.testing.assert_allclose(row, want[node[1]], rtol=1e-5, atol=1e-6 * np.abs(want[node[1]]).max())
            checked += 1
        else:
            np.testing.assert_array_equal(row, own.of[node])
    assert checked >= COLD - 2


def feature_matrix(about: Mapping[str, Any], node_type: str) -> np.ndarray:
    """The features of all nodes of a type, a column each; columns have the order of their keys."""
    features = features_by_hand(attributes(), {"attributes": about}, node_type)
    keys = np.unique(features.key)
    x = np.zeros((ITEMS + COLD, keys.size))
    x[np.repeat(np.arange(len(x)), features.counts), np.searchsorted(keys, features.key)] = features.value
    return x


def warm_nodes(x: np.ndarray, table: Published, node_type: str) -> list[int]:
    degree = table.column("degree")
    return [node for node in range(len(x)) if x[node].any() and degree.get((node_type, node))]


def mapped_rows(x: np.ndarray, table: Published, node_type: str) -> np.ndarray:
    """What the rows of a table say of all nodes with features."""
    warm = warm_nodes(x, table, node_type)
    rows = np.stack([table.of[node_type, node] for node in warm]).astype(np.float64)
    length = np.linalg.norm(rows, axis=1)
    predicted = np.hstack([x, np.ones((len(x), 1))]) @ least_squares(x[warm], rows / length[:, None])
    size = np.sqrt((predicted[warm] ** 2).sum(axis=1).mean())
    return NORM * length.mean() / size * predicted


@pytest.fixture(scope="module")
def mapped(shop: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Chain(tmp_path_factory.mktemp("mapped")).publish(mapped_config(shop))


def mapped_config(shop: tuple[Path, Path], parts: int = 4) -> dict[str, Any]:
    """Both types have attributes and nodes without edges."""
    cold_start = {"rows": "map", "ridge": RIDGE, "list_share": 0.1}
    config = config_with(*shop, parts=parts, embedding={"method": "spectral", "dim": 8}, cold_start=cold_start)
    users = {"id": np.arange(90), "country": [f"c{n % 3}" for n in range(90)]}
    section = {"path": str(write_rows(shop[1].parent / "users.csv", users)), "categories": ["country"]}
    return with_changes(config, attributes={"user": section})


def test_cold_users_have_rows_too(mapped: Published) -> None:
    degree, rows = mapped.column("degree"), mapped.of
    cold = [node for node in degree if node[0] == "user" and degree[node] == 0]
    assert len(cold) >= 20
    assert all(rows[node].any() for node in cold)
    same = [node for node in cold if node[1] % 3 == cold[0][1] % 3]
    for node in same:
        np.testing.assert_array_equal(rows[node], rows[same[0]])


@pytest.mark.parametrize("parts", [1, 7])
def test_any_cut_gives_the_same_rows(
    parts: int, shop: tuple[Path, Path], mapped: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_fits, "RANGE_NODES", 7)
    made = Chain(tmp_path / "chain").publish(mapped_config(shop, parts))
    assert made.ids == mapped.ids
    np.testing.assert_allclose(made.rows @ made.rows.T, mapped.rows @ mapped.rows.T, rtol=1e-3, atol=1e-5)


def test_neither_files_nor_workers_change_a_bit(shop: tuple[Path, Path], mapped: Published, tmp_path: Path) -> None:
    config = with_changes(mapped_config(shop), publish={"rows_per_file": 17})
    made = Chain(tmp_path / "chain").publish(config, workers=2)
    assert len(made.data) > 5
    np.testing.assert_array_equal(made.rows, mapped.rows)


@pytest.mark.spark
def test_spark_gives_the_same_bytes(
    shop: tuple[Path, Path], mapped: Published, spark_session: Any, tmp_path: Path
) -> None:
    from pipeline.engines.spark import SparkEngine

    made = Chain(tmp_path / "chain", SparkEngine(spark_session)).publish(mapped_config(shop))
    assert made.data == mapped.data


def test_a_rotation_turns_cold_rows_with_the_others(shop: tuple[Path, Path], tmp_path: Path) -> None:
    """The regression of turned rows is the turned regression."""
    first, rows = np.datetime64("2024-06-01", "us").astype(np.int64), users_and_items(1)
    times = first + 86_400_000_000 * (np.arange(500) >= 480)
    path = write_rows(tmp_path / "in.parquet", {**rows, "ts": times})
    dated = {"timestamp": "ts", "timestamp_unit": "us"}
    config = with_changes(mapped_config(shop), input={"path": str(path), **dated}, cold_start=MAP)
    chain = Chain(tmp_path / "chain")
    chain.publish(config, date="2024-06-01")
    made = chain.publish(config, date="2024-06-02")
    assert json.loads(made.table.schema.metadata[b"graphquilt"])["alignment"]["rotated"]
    about = chain.workspace(config, "2024-06-02").manifest("edges").figures["attributes"]
    x, degree = feature_matrix(about, "item"), made.column("degree")
    want = mapped_rows(x, made, "item")
    cold = [node for node in range(len(x)) if x[node].any() and degree["item", node] == 0]
    assert len(cold) >= COLD - 2
    for node in cold:
        np.testing.assert_allclose(made.of["item", node], want[node], rtol=1e-4, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attributes": None}, ["cold_start.rows is 'map'", "[attributes.item]"]),
        ({"embedding": {"method": "none"}, "ppr": {"neighbors": True}}, ["cold_start.rows is 'map'", "'none'"]),
        ({"cold_start": {"rows": "map", "norm": 0}}, ["cold_start.norm", "length of their rows"]),
    ],
)
def test_a_map_that_cant_be_is_refused(changes: dict[str, Any], words: list[str], shop: tuple[Path, Path]) -> None:
    config = config_with(*shop, cold_start=MAP)
    merged = {name: one for name, one in with_changes(config, **changes).items() if one is not None}
    with pytest.raises(ConfigError) as refused:
        CONFIG.from_values(merged, (), "config")
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("rows_by", "list_share"), [("map", 0.05), ("scaled", 0.15), ("map", 0.9)])
def test_cold_rows_are_as_long_as_their_places_in_lists_ask(
    rows_by: str,
    list_share: float,
    plain: bool,
    shop: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lists of all sources by sorted scores: cold targets have the places that were asked for."""
    monkeypatch.setattr(finished_rows.row_groups, "__defaults__", (17,))
    rows = friends(3, nodes=ITEMS) if plain else users_and_items(1)
    path = write_rows(tmp_path / "in.csv", {name: np.asarray(ids) for name, ids in rows.items()})
    method = {"method": "spectral", "dim": 8} if rows_by == "map" else {"method": "fastrp"}
    config = config_with(path, shop[1], plain=plain, embedding=method)
    keys = {"rows": rows_by, "list_share": list_share}
    made = Chain(tmp_path / "chain").publish(with_changes(config, cold_start=keys))
    source_type, target_type = ("person", "person") if plain else ("user", "item")
    degree, table = made.column("degree"), made.of
    cold = {node for node in table if node[0] == target_type and degree[node] == 0 and table[node].any()}
    targets = [node for node in table if node[0] == target_type and (degree[node] or node in cold)]
    train_pairs = {(source_type, a, b) for a, b in zip(rows["source"].tolist(), rows["target"].tolist(), strict=True)}
    train_pairs |= {(source_type, b, a) for _, a, b in train_pairs} if plain else set()
    places = cold_places = free = reachable = 0
    for source in (node for node in table if node[0] == source_type and degree[node]):
        new_targets = [node for node in targets if (source_type, source[1], node[1]) not in train_pairs]
        candidates = [node for node in new_targets if node != source]
        scores = np.stack([table[node] for node in candidates]).astype(np.float64) @ table[source].astype(np.float64)
        listed = [candidates[place] for place in np.argsort(-scores)[:LIST_LENGTH] if scores[place] > 0]
        places += LIST_LENGTH
        cold_places += sum(node in cold for node in listed)
        # Any norm lets them in where the others have no positive score, and none where they have none themselves.
        positive = sum(score > 0 for node, score in zip(candidates, scores, strict=True) if node in cold)
        others = sum(score > 0 for node, score in zip(candidates, scores, strict=True) if node not in cold)
        free += min(positive, max(LIST_LENGTH - others, 0))
        reachable += min(positive, LIST_LENGTH)
    wanted = min(list_share, len(cold) / len(targets)) * places
    assert abs(cold_places - min(max(wanted, free), reachable)) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_norms_of_scores_fill_the_places_asked_for(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists, k = int(rng.integers(1, 9)), int(rng.integers(1, 6))
    warm, cold = (-np.sort(-rng.normal(mean, 1, (lists, k)), axis=1) for mean in (0.5, 0.0))
    share = rng.random()
    norm = norm_for(warm, cold, share)

    def places(factor: float) -> int:
        return sum(
            int((np.sort(np.concatenate([w, factor * c]))[-k:][:, None] == factor * c[c > 0]).any(axis=1).sum())
            for w, c in zip(warm, cold, strict=True)
        )

    wanted = round(share * lists * k)
    assert places(norm) == min(max(wanted, places(1e-9)), places(1e9))
