"""Spectral tables from night to night: turned into the coordinates of their baseline, and nothing else changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from pipeline.release_tables.alignment import LARGEST_RESIDUAL, Alignment, RotationResult
from tests.stages.chains import Chain, Published, config_for, users_and_items, with_changes, write_rows

EPS = 2.0**-24
DAYS = ("2024-06-01", "2024-06-02", "2024-06-03")
DAY_US = 86_400_000_000


def two_days(seed: int = 1, rows: int = 3_000, new: float = 0.01) -> dict[str, Any]:
    """Rows of a graph, of which the last few come a day later."""
    made: dict[str, Any] = users_and_items(seed, rows, 150, 90)
    first = np.datetime64(DAYS[0], "us").astype(np.int64)
    made["ts"] = first + DAY_US * (np.arange(rows) >= round(rows * (1 - new)))
    return made


def spectral(path: Path, **sections: Any) -> dict[str, Any]:
    given = config_for(
        path,
        dim=12,
        input={"timestamp": "ts", "timestamp_unit": "us"},
        # Nearly converged, so that what a day changes is the graph's doing and not the iteration's.
        embedding={"method": "spectral", "iterations": 8},
    )
    return with_changes(given, **sections)


def about(made: Published) -> dict[str, Any]:
    return json.loads(made.table.schema.metadata[b"graphquilt"])


def common_rows(made: Published, former: Published) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By type, the rows of the nodes that both tables have, if neither is zero."""
    mine, theirs = made.of, former.of
    found = {}
    for node_type in sorted({one[0] for one in mine}):
        ids = [one for one in mine if one[0] == node_type and one in theirs and mine[one].any() and theirs[one].any()]
        found[node_type] = tuple(np.array([table[one] for one in ids], np.float64) for table in (mine, theirs))
    return found


def best_residual(pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> float:
    """The least that any rotation leaves, each type counting the same, by scipy."""
    mine, theirs = (
        np.concatenate([pair[side] / np.linalg.norm(pair[1]) for pair in pairs.values()]) for side in (0, 1)
    )
    turned, _ = orthogonal_procrustes(mine, theirs)
    return float(np.linalg.norm(mine @ turned - theirs) / np.sqrt(len(pairs)))


@dataclass(frozen=True)
class Nights:
    chain: Chain
    config: dict[str, Any]
    first: Published
    second: Published


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """Two nights of one table."""
    folder = tmp_path_factory.mktemp("nights")
    chain, config = Chain(folder), spectral(write_rows(folder / "in.parquet", two_days()))
    return Nights(chain, config, *(chain.publish(config, date=day) for day in DAYS[:2]))


def test_a_new_night_is_turned_to_its_baseline(nights: Nights) -> None:
    first, second = nights.first, nights.second
    assert about(first)["alignment"]["parent"] is None
    assert about(first)["lineage"]["parent"] is None
    facts, pairs = about(second)["alignment"], common_rows(second, first)

    assert facts["parent"] == about(second)["lineage"]["parent"] == first.folder.name
    assert facts["rotated"]
    assert facts["common_rows"] == sum(len(mine) for mine, _ in pairs.values())
    # The published rows are the rotated ones: no rotation brings them nearer, and this near they are.
    left = np.sqrt(np.mean([np.sum((x - y) ** 2) / np.sum(y**2) for x, y in pairs.values()]))
    assert facts["residual"] == pytest.approx(left, abs=1e-6)
    assert best_residual(pairs) == pytest.approx(left, rel=1e-6)
    assert facts["residual"] < 0.25
    assert about(second)["space_id"] == about(first)["space_id"]
    assert facts["space_since"] == DAYS[0]


def test_turning_changes_no_product_and_the_means_turn_along(nights: Nights) -> None:
    turned = nights.second
    unaligned = with_changes(nights.config, embedding={"align": False})
    as_it_is = nights.chain.publish(unaligned, date=DAYS[1])

    assert about(as_it_is)["alignment"]["rotated"] is False
    assert about(as_it_is)["space_id"] != about(turned)["space_id"]
    assert np.abs(turned.rows - as_it_is.rows).max() > 0.01  # else nothing is shown here
    x, y = turned.rows.astype(np.float64), as_it_is.rows.astype(np.float64)
    length = np.linalg.norm(y, axis=1)
    # Each entry of a turned row is rounded once: by at most EPS of its length; so is the product, from both sides.
    bound = 2.1 * EPS * np.outer(length, length) * np.sqrt(x.shape[1])
    assert (np.abs(x @ x.T - y @ y.T) <= bound).all()
    for node_type, mean in about(turned)["mean_vectors"].items():
        mine = np.array([row for one, row in turned.of.items() if one[0] == node_type], np.float64)
        np.testing.assert_allclose(mean, mine.mean(axis=0), atol=2 * EPS * length.max())


def test_running_again_is_the_same_table_and_never_its_own_baseline(nights: Nights) -> None:
    chain, config = nights.chain, nights.config
    again = chain.run(config, date=DAYS[1])
    assert again.code == 0
    assert "aggregate" in again.skipped
    assert again.answer["release"] == nights.second.folder.name
    for folder in (chain.root / "runs").iterdir():
        for table in ("node_embeddings", "part_rows"):
            for made in (folder / table).iterdir():
                (made / "manifest.json").unlink()
    assert chain.run(config, date=DAYS[1]).answer["release"] == nights.second.folder.name
    assert [file.read_bytes() for file in chain.workspace(config, DAYS[1]).files("node_embeddings")] == list(
        nights.second.data.values()
    )
    earlier = chain.run(config, date=DAYS[0])  # there is nothing before it, whatever came after it
    assert earlier.answer["release"] == nights.first.folder.name


def test_a_table_is_turned_to_what_readers_had_and_to_nothing_older(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", two_days())
    chain = Chain(tmp_path)
    first = chain.publish(spectral(path), date=DAYS[0])
    other = chain.publish(spectral(path, embedding={"item_norm_power": 0.1}), date=DAYS[1])
    assert about(other)["alignment"]["parent"] is None
    hashed = chain.publish(spectral(path, embedding={"method": "fastrp"}), date=DAYS[1])
    assert json.loads((hashed.folder / "manifest.json").read_text())["baseline"] == first.folder.name
    third = chain.publish(spectral(path), date=DAYS[2])
    assert about(third)["alignment"]["parent"] is None
    assert about(third)["space_id"] != about(first)["space_id"]


def test_another_graph_is_another_space(tmp_path: Path) -> None:
    rows = two_days()
    path = write_rows(tmp_path / "in.parquet", rows)
    chain = Chain(tmp_path)
    first = chain.publish(spectral(path), date=DAYS[0])
    rng = np.random.default_rng(9)
    write_rows(path, {**rows, "source": rng.permutation(rows["source"]), "target": rng.permutation(rows["target"])})

    second = chain.publish(spectral(path), date=DAYS[1], accept_drift=True)

    facts = about(second)["alignment"]
    assert facts["residual"] > LARGEST_RESIDUAL
    assert facts["residual"] == pytest.approx(best_residual(common_rows(second, first)), rel=1e-6)
    assert about(second)["space_id"] != about(first)["space_id"]
    assert facts["space_since"] == DAYS[1]


@pytest.mark.parametrize(
    ("residual", "common_rows", "stays"),
    [(LARGEST_RESIDUAL, 8, True), (LARGEST_RESIDUAL * 1.001, 8, False), (0.01, 7, False), (0.01, 8, True)],
)
def test_a_space_is_left_with_a_word(
    residual: float, common_rows: int, stays: bool, caplog: pytest.LogCaptureFixture
) -> None:
    fit = RotationResult(common_rows, residual, {}, rotated=True)
    with caplog.at_level("INFO"):
        assert Alignment("p", fit).stays_in_space(dim=8) is stays
    (line,) = caplog.messages
    assert ("must be trained again" in line) is not stays
    assert f"residual={residual:.4f}" in line


def test_ids_that_became_text_are_the_same_nodes(tmp_path: Path) -> None:
    rows = two_days()
    path = write_rows(tmp_path / "in.parquet", rows)
    chain = Chain(tmp_path)
    first = chain.publish(spectral(path), date=DAYS[0])
    texts = {name: [str(value) for value in rows[name]] for name in ("source", "target")}
    texts["source"][-1] = "a guest"
    write_rows(path, {**rows, **texts})
    second = chain.publish(spectral(path, publish={"gates": {"same_id_type": False}}), date=DAYS[1])
    facts = about(second)["alignment"]
    assert facts["common_rows"] >= len(first.rows) - 5
    assert facts["residual"] < 0.25


def test_ranges_and_files_change_nothing_but_rounding(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", two_days())
    found = []
    for rows_per_file in (17, 100_000):
        chain = Chain(tmp_path / str(rows_per_file))
        config = spectral(path, publish={"rows_per_file": rows_per_file})
        chain.publish(config, date=DAYS[0])
        found.append(chain.publish(config, date=DAYS[1]))
    cut, whole = found
    assert len(cut.data) > 5
    assert about(cut)["alignment"]["residual"] == pytest.approx(about(whole)["alignment"]["residual"], rel=1e-9)
    # The float64 sums differ by their order, and the matrix by what that is worth: far below float32.
    np.testing.assert_allclose(cut.rows, whole.rows, atol=4 * EPS * np.abs(whole.rows).max())


def test_a_damaged_parent_is_restored_before_it_is_read(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", two_days())
    undisturbed, chain = Chain(tmp_path / "undisturbed"), Chain(tmp_path)
    for one in (undisturbed, chain):
        first = one.publish(spectral(path), date=DAYS[0])
    part = next((first.folder / "node_embeddings").iterdir())
    data = bytearray(part.read_bytes())
    data[200] ^= 1  # in a column's bytes: no size and no footer tells
    part.write_bytes(data)
    assert chain.publish(spectral(path), date=DAYS[1]).data == undisturbed.publish(spectral(path), date=DAYS[1]).data


def test_a_damaged_baseline_is_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", two_days())
    chain = Chain(tmp_path)
    first = chain.publish(spectral(path), date=DAYS[0])
    part = next((first.folder / "node_embeddings").iterdir())
    part.unlink()
    shutil.rmtree(chain.root / "runs" / DAYS[0])
    ended = chain.run(spectral(path), date=DAYS[1])
    assert ended.code == 1
    assert f"{part} is missing" in ended.error
    assert f"release {first.folder.name} is damaged and can't be restored" in ended.error
    assert chain.run(spectral(path, embedding={"align": False}), date=DAYS[1]).code == 0


def test_one_type_is_aligned_too(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", two_days())
    chain = Chain(tmp_path)
    config = spectral(path, input={"source_type": "node", "target_type": "node"})
    first = chain.publish(config, date=DAYS[0])
    second = chain.publish(config, date=DAYS[1])
    pairs = common_rows(second, first)
    assert about(second)["alignment"]["residual"] == pytest.approx(best_residual(pairs), rel=1e-6)
    assert about(second)["alignment"]["parent"] == first.folder.name


@pytest.mark.spark
def test_engines_agree_on_the_rotation(tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    path = write_rows(tmp_path / "in.parquet", two_days(rows=1_000))
    config = spectral(path, publish={"rows_per_file": 100}, partition={"parts": 3})
    found = []
    for place, engine in (("local", None), ("spark", SparkEngine(spark_session))):
        chain = Chain(tmp_path / place, engine)
        found.append([chain.publish(config, date=day).data for day in DAYS[:2]])
    assert found[0] == found[1]
