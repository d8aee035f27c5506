"""Pairs added up and numbered in one task are those that the engine's verbs give."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engines.local import LocalEngine
from pipeline.ingest.held_pairs import MOST_SLOTS
from tests.stages.chains import EPOCH, Chain, config_for, write_rows

_TABLES = ("edges", "decayed", "node_index", "indexed_edges", "holdout")
#: Rows in whatever order they come.
_UNORDERED = ("edges", "decayed", "indexed_edges", "holdout")


class _ManySlots(LocalEngine):
    """An engine on which many other tasks could run beside one; they don't."""

    @property
    def slots(self) -> int:
        return MOST_SLOTS + 1


def _tables(chain: Chain, config: Any, **changes: Any) -> dict[str, list[dict[str, Any]]]:
    ended = chain.run(config, ("ingest", "index"), **changes)
    assert not ended.code, ended.error
    rows = {}
    for name in _TABLES:
        files = sorted(chain.root.glob(f"runs/*/{name}/*/*.parquet"))
        table = pa.concat_tables([pq.read_table(file, partitioning=None) for file in files]) if files else pa.table({})
        order = [(column, "ascending") for column in table.column_names]
        rows[name] = (table.sort_by(order) if name in _UNORDERED and files else table).to_pylist()
    return rows


def _rows(seed: int, *, plain: bool, first_id: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    source, target = rng.integers(0, 40, 600), rng.integers(0, 30, 600) ** 2 // 20
    # Some pairs have only rows that are so old that they weigh nothing.
    times = EPOCH + 86_400 * np.where(source % 5 == 0, 0, rng.integers(380, 400, 600))
    return {
        "source": source + first_id,
        "target": target + (first_id if plain else 0),
        "weight": rng.integers(1, 9, 600) / 4,
        "timestamp": times,
    }


@pytest.mark.parametrize(
    ("plain", "columns", "text"),
    list(itertools.product([False, True], [(), ("weight",), ("timestamp",), ("weight", "timestamp")], [False, True])),
)
def test_as_the_verbs_give_them(*, plain: bool, columns: tuple[str, ...], text: bool, tmp_path: Path) -> None:
    rows = _rows(len(columns) + 7 * plain, plain=plain, first_id=-17)
    if text:  # of several words of eight bytes, and of more than ASCII
        for end in ("source", "target"):
            rows[end] = [f"{number}{'-é' * (number % 7)}" for number in rows[end].tolist()]
    path = write_rows(tmp_path / "in.parquet", rows)
    about: dict[str, Any] = {name: name for name in columns}
    if plain:
        about["self_loops"] = "keep"
    if "timestamp" in columns:
        about |= {"timestamp_unit": "s", "half_life_days": 5.0}
    config = config_for(path, plain=plain, input=about, evaluate={"source": "holdout"})
    whole = _tables(Chain(tmp_path / "whole"), config)
    assert whole == _tables(Chain(tmp_path / "verbs", engine=_ManySlots(workers=1)), config)
    assert bool(whole["decayed"]) == ("timestamp" in columns)


@pytest.mark.parametrize(("late_text", "worker_bytes"), [(False, 2**20), (True, 2**33), (True, 2**20)])
def test_more_than_a_task_holds_and_ids_that_turn_out_to_be_text(
    *, late_text: bool, worker_bytes: int, tmp_path: Path
) -> None:
    ids = np.arange(40_000)
    rows = {"source": list(map(str, ids % 5_000)), "target": list(map(str, ids * 7 % 3_000))}
    if late_text:
        rows["source"][-1] = "007"
    path = write_rows(tmp_path / "in.csv", rows)
    # 1 MiB holds 32,768 rows of two ids, and all pairs but not the 8,000 texts.
    config = config_for(path, partition={"worker_bytes": worker_bytes})
    whole = _tables(Chain(tmp_path / "whole"), config)
    assert whole == _tables(Chain(tmp_path / "verbs", engine=_ManySlots(workers=1)), config)
    assert sum(row["events"] for row in whole["edges"]) == 40_000


@pytest.mark.parametrize("far", [2**40, 2**63 - 1])
def test_ids_far_apart(far: int, tmp_path: Path) -> None:
    rows = {"source": [5, 5, far, -far, 7], "target": [1, -far, 1, far, 1]}
    config = config_for(write_rows(tmp_path / "in.parquet", rows))
    whole = _tables(Chain(tmp_path / "whole"), config)
    assert whole == _tables(Chain(tmp_path / "verbs", engine=_ManySlots(workers=1)), config)
    assert [row["node_id"] for row in whole["node_index"]] == [-far, 1, far, -far, 5, 7, far]
