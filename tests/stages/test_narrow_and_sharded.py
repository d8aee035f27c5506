"""Narrow rows and column shards through the whole chain: published bytes, figures, and both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stages.chains import Chain, config_for, friends, users_and_items, with_changes, write_rows

NORMALIZED = {"normalize_rows": True, "standardize_columns": True}


def config(folder: Path, *, plain: bool, parts: int, **embedding: Any) -> dict[str, Any]:
    path = write_rows(folder / "in.parquet", friends(7) if plain else users_and_items(7))
    made = config_for(path, plain=plain, parts=parts)
    made = with_changes(made, partition={"method": "hash"}) if parts > 1 else made
    return with_changes(made, embedding={**(NORMALIZED if plain else {}), **embedding})


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("plain", [False, True])
def test_the_published_files_do_not_depend_on_shards(plain: bool, parts: int, dtype: str, tmp_path: Path) -> None:
    made = []
    for shards in (None, 3):
        asked = config(tmp_path, plain=plain, parts=parts, dim=100, boundary_dtype=dtype)
        if shards:
            asked["embedding"]["shards"] = shards
        made.append(Chain(tmp_path / f"chain-{shards}").publish(asked))
    assert np.abs(made[0].rows).max() > 0
    assert made[1].data == made[0].data


def test_figures_of_embed_count_what_travelled(tmp_path: Path) -> None:
    found = {}
    for dtype in ("float32", "int8"):
        chain = Chain(tmp_path / dtype)
        ended = chain.run(config(tmp_path, plain=False, parts=3, dim=64, boundary_dtype=dtype))
        assert ended.code == 0
        found[dtype] = ended.figures("embed")
        schema = chain.published(Path(ended.answer["path"])).table.schema
        stated = json.loads(schema.metadata[b"graphquilt"])["boundary_parameters"]
        assert stated == ({} if dtype == "float32" else {"dtype": dtype})
    assert found["float32"]["rows_moved"] == found["int8"]["rows_moved"]
    rows = found["int8"]["rows_moved"]
    # One step of P: partial rows of two rounds, the last with noise scales, and totals of one.
    assert rows["partials"] == 2 * rows["totals"] > 0
    floats = {dtype: figures["floats_moved_per_node"] for dtype, figures in found.items()}
    nodes = rows["totals"] * (3 * 64 + 2) / floats["float32"]
    assert nodes == pytest.approx(round(nodes))
    assert floats["int8"] * nodes == pytest.approx(rows["totals"] * (3 * (64 + 4) + 2) / 4)


@pytest.mark.spark
@pytest.mark.parametrize("plain", [False, True])
def test_spark_publishes_the_same_bytes(plain: bool, tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    asked = config(tmp_path, plain=plain, parts=3, dim=40, boundary_dtype="int8", shards=2)
    want = Chain(tmp_path / "local").publish(asked)
    assert Chain(tmp_path / "spark", SparkEngine(spark_session)).publish(asked).data == want.data
