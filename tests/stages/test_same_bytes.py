"""The published bytes depend on what the input says, and on nothing of how it is written or computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest.held_pairs import MOST_SLOTS
from tests.oracles.dense_powers import UNIT
from tests.stages.chains import Chain, config_for, friends, users_and_items, with_changes, write_rows

WEIGHTED = {**users_and_items(1), "weight": np.random.default_rng(1).integers(1, 9, 500) / 4}
SHARE = {"input": {"weight": "weight"}}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("reference")
    path = write_rows(folder / "in.parquet", WEIGHTED)
    return Chain(folder / "chain").publish(config_for(path, parts=4, **SHARE)).data


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_any_format_row_order_and_split_over_files(suffix: str, reference: dict[str, bytes], tmp_path: Path) -> None:
    table = pa.table(WEIGHTED).take(np.random.default_rng(2).permutation(500))
    for number, (first, stop) in enumerate([(0, 10), (10, 400), (400, 500)]):
        write_rows(tmp_path / "in" / f"{number}.{suffix}", table.slice(first, stop - first))
    config = config_for(tmp_path / "in", parts=4, **SHARE)
    assert Chain(tmp_path / "chain").publish(config).data == reference


def test_small_row_groups_and_events_that_are_summed(reference: dict[str, bytes], tmp_path: Path) -> None:
    # Each event in two halves: the sums of the pairs are the same.
    table = pa.table({**WEIGHTED, "weight": WEIGHTED["weight"] / 2})
    pq.write_table(pa.concat_tables([table, table]), tmp_path / "in.parquet", row_group_size=7)
    config = config_for(tmp_path / "in.parquet", parts=4, **SHARE)
    assert Chain(tmp_path / "chain").publish(config).data == reference


def test_the_other_way_round_is_the_same_plain_graph(tmp_path: Path) -> None:
    rows = friends(3)
    turned = {"source": rows["target"][::-1], "target": rows["source"][::-1]}
    made = [
        Chain(tmp_path / name).publish(config_for(write_rows(tmp_path / f"{name}.csv", given), plain=True, parts=3))
        for name, given in (("there", rows), ("back", turned))
    ]
    assert made[0].data == made[1].data


@pytest.mark.slow
def test_two_dask_workers(reference: dict[str, bytes], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", WEIGHTED)
    chain = Chain(tmp_path / "chain")
    made = chain.publish(config_for(path, parts=4, **SHARE), workers=2)
    assert made.data == reference


@pytest.mark.spark
@pytest.mark.parametrize("slots", [None, MOST_SLOTS + 1])  # None: the session's two, where one task adds up all pairs
def test_spark(slots: int | None, reference: dict[str, bytes], tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    path = write_rows(tmp_path / "in.parquet", WEIGHTED)
    chain = Chain(tmp_path / "chain", SparkEngine(spark_session, slots))
    assert chain.publish(config_for(path, parts=4, **SHARE)).data == reference


@pytest.mark.parametrize("plain", [False, True])
def test_the_cut_moves_rows_by_rounding_only(plain: bool, tmp_path: Path) -> None:
    rows = friends(4) if plain else users_and_items(4)
    path = write_rows(tmp_path / "in.parquet", rows)
    # Unit rows of few, clear terms: the promise on rows before normalisation becomes one on published rows.
    exact = {"embedding": {"normalize_rows": True}} if plain else {}
    cuts: list[dict[str, Any]] = [
        {"parts": 1},
        {"parts": 5, "method": "hash"},
        {"parts": 4, "method": "metis"},
        {"max_edges": 60, "method": "metis"},
        {"parts": 4, "method": "hash", "hub_degree": 6},
    ]
    chain = Chain(tmp_path / "chain")
    want = None
    for cut in cuts:
        config = with_changes(config_for(path, plain=plain, dim=64, **exact), partition={"parts": None, **cut})
        config["partition"] = {key: value for key, value in config["partition"].items() if value is not None}
        made = chain.publish(config)
        want = want or made
        assert made.ids == want.ids
        off = np.linalg.norm(made.rows.astype(np.float64) - want.rows, axis=1)
        norm = np.linalg.norm(want.rows.astype(np.float64), axis=1)
        assert (off <= 2e-5 * norm).all()
        assert ((norm == 0) == (np.linalg.norm(made.rows, axis=1) == 0)).all()
        paths = set(made.column("cluster_path").values())
        assert len(paths) > 1 or cut == {"parts": 1}


def test_many_files_hold_the_rows_of_one(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(5))
    chain = Chain(tmp_path / "chain")
    one = chain.publish(config_for(path))
    many = chain.publish(config_for(path, publish={"rows_per_file": 17}))
    assert len(one.data) == 1
    assert len(many.data) == -(-len(one.ids) // 17)
    assert many.table.equals(one.table)
    for file in sorted((many.folder / "node_embeddings").iterdir()):
        assert pq.read_metadata(file).num_rows <= 17
    texts = {pq.read_metadata(file).metadata[b"graphquilt"] for file in (many.folder / "node_embeddings").iterdir()}
    assert len(texts) == 1
    means = json.loads(texts.pop())["mean_vectors"]
    for node_type, mean in means.items():
        of_type = [row for (found, _), row in many.of.items() if found == node_type]
        np.testing.assert_allclose(mean, np.mean(of_type, axis=0, dtype=np.float64), atol=64 * UNIT)
