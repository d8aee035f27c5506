"""The boundary modes through all stages: the same bytes on both engines, and what a table says of its mode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stages.chains import Chain, Published, config_for, friends, users_and_items, with_changes, write_rows

MODES: dict[str, dict[str, Any]] = {
    "halo": {"boundary": "halo", "halo_hops": 1},
    "border": {"boundary": "border"},
    "border added": {"boundary": "border", "border_join": "add"},
    "quotient": {"boundary": "quotient"},
    "drop": {"boundary": "drop"},
}


def told(made: Published) -> dict[str, Any]:
    return dict(json.loads(made.table.schema.metadata[b"graphquilt"]))


@pytest.fixture(scope="module", params=[False, True], ids=["two_types", "plain"])
def local(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, Any]:
    folder = tmp_path_factory.mktemp("modes")
    path = write_rows(folder / "in.parquet", friends(2) if request.param else users_and_items(2, 300))
    # Leaves of at most 60 edges: border graphs are cut again.
    given = {"method": "hash", "max_edges": 60} if request.param else {"method": "hash", "max_edges": 80}
    config = config_for(path, plain=request.param, dim=48)
    return Chain(folder / "local"), {**config, "partition": given}


@pytest.mark.spark
@pytest.mark.parametrize("mode", MODES)
def test_both_engines_write_the_same_bytes(mode: str, local: tuple[Chain, Any], spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    chain, config = local
    given = with_changes(config, embedding={**config["embedding"], **MODES[mode]})
    here = chain.publish(given)
    there = Chain(chain.folder.parent / f"spark-{mode.replace(' ', '-')}", SparkEngine(spark_session)).publish(given)
    assert here.data == there.data
    assert told(here)["boundary"] == MODES[mode]["boundary"]


@pytest.mark.parametrize("mode", MODES)
def test_standardised_columns_are_those_of_the_combined_rows(mode: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", friends(4))
    embedding = {**MODES[mode], "dim": 48, "standardize_columns": True}
    config = config_for(path, plain=True, parts=3, embedding=embedding, partition={"method": "hash", "parts": 3})
    made = Chain(tmp_path / "chain").publish(with_changes(config, publish={"rows_per_file": 20}))
    rows = made.rows[np.linalg.norm(made.rows, axis=1) > 0].astype(np.float64)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_nodes_without_edges_left_are_zero_rows_and_keep_their_degree(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", friends(5, 120, 60))
    config = config_for(path, plain=True, partition={"method": "hash", "parts": 8}, embedding={"boundary": "drop"})
    chain = Chain(tmp_path / "chain")
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    layout, aggregate = ended.figures("layout"), ended.figures("aggregate")
    made = chain.published()
    is_zero = np.linalg.norm(made.rows, axis=1) == 0
    assert 0 < layout["nodes_without_edges_left"] == aggregate["zero_rows"] == is_zero.sum()
    assert min(made.table["degree"].to_pylist()) > 0
    whole = chain.publish(with_changes(config, embedding={"boundary": "exchange"}))
    for column in ("degree", "weight", "node_id"):
        assert whole.table[column] == made.table[column]


@pytest.mark.parametrize("mode", MODES)
def test_more_parts_than_nodes(mode: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.csv", {"source": [1, 1, 2], "target": [7, 8, 8]})
    given = {**MODES[mode], "dim": 16}
    made = Chain(tmp_path).publish(config_for(path, partition={"method": "hash", "parts": 50}, embedding=given))
    assert len(made.rows) == 4
    assert np.isfinite(made.rows).all()


def test_what_a_table_says_of_its_mode(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(6))
    chain = Chain(tmp_path / "chain")
    found = {}
    for parts in (2, 3):
        for mode, given in {"exchange": {"boundary": "exchange"}, **MODES}.items():
            config = config_for(path, partition={"method": "hash", "parts": parts}, embedding={**given, "dim": 32})
            found[mode, parts] = told(chain.publish(config))
    spaces = {key: metadata["space_id"] for key, metadata in found.items()}
    of_one_tree = {mode for mode in ("exchange", *MODES) if spaces[mode, 2] != spaces[mode, 3]}
    assert of_one_tree == {"border", "border added", "quotient"}
    assert len({space for (_, parts), space in spaces.items() if parts == 2}) == 6
    assert found["exchange", 2]["boundary_parameters"] == {}
    assert found["halo", 2]["boundary_parameters"] == {"halo_hops": 1}
    assert found["quotient", 2]["boundary_parameters"] == {"quotient_weight": 0.3}
    border = found["border", 2]["boundary_parameters"]
    assert (border["border_join"], sum(border["widths"])) == ("concatenate", 32)
