from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG
from pipeline.ingest.run_date import end_of
from pipeline.tuning.pair_weights import PairWeights, split_changes
from pipeline.tuning.search import Candidate
from pipeline.tuning.training_graph import TrainingGraph, history_of, read_training_graph
from pipeline.workspace import Workspace
from tests.stages.chains import Chain, config_for, with_changes

DAY = dt.date(2024, 3, 30)


def best_with(changes: Mapping[str, Any], name: str = "best") -> Candidate:
    return Candidate(name, "", changes)


def opened(folder: Path, **given: Any) -> tuple[PipelineConfig, Workspace, TrainingGraph]:
    """400 pairs, each seen once, with weights and times in March; ``given`` are keys of [input]."""
    rng = np.random.default_rng(0)
    user, item = np.divmod(rng.permutation(50 * 30)[:400], 30)
    at = [dt.datetime(2024, 3, 1, tzinfo=dt.UTC) + dt.timedelta(hours=int(n)) for n in rng.integers(0, 700, 400)]
    columns = {"source": user, "target": item, "strength": rng.uniform(0.5, 9.0, 400), "at": at}
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "in.parquet")
    chain = Chain(folder)
    raw = with_changes(config_for(folder / "in.parquet"), input=given)
    ended = chain.run(raw, ["ingest", "index"], date=DAY.isoformat())
    assert ended.code == 0, ended.error
    config, workspace = CONFIG.from_toml(chain.write_config(raw)), chain.workspace(raw, DAY.isoformat())
    return config, workspace, read_training_graph(config, workspace, 10**9, 0)


def weights_of(folder: Path, until_us: int | None, **given: Any) -> tuple[PairWeights, TrainingGraph]:
    config, workspace, graph = opened(folder, **given)
    history = history_of(graph, workspace)
    stays = np.ones(graph.src.size, np.bool_)
    return PairWeights(config, graph, stays, history, until_us), graph


def test_other_weights_are_those_that_ingest_would_make(tmp_path: Path) -> None:
    weighted = {"weight": "strength", "timestamp": "at"}
    made, graph = weights_of(tmp_path / "one", end_of(DAY), **weighted)
    np.testing.assert_array_equal(made.weights({"dim": 8}), graph.weight)
    for other, changes in (
        ({**weighted, "half_life_days": 3.0}, {"input.half_life_days": 3.0}),
        ({"timestamp": "at"}, {"input.weight": None}),
        ({"timestamp": "at", "half_life_days": 3.0}, {"input.weight": None, "input.half_life_days": 3.0}),
    ):
        _, _, run = opened(tmp_path / f"other-{len(changes)}-{len(other)}", **other)
        here, there = np.lexsort((graph.dst, graph.src)), np.lexsort((run.dst, run.src))
        np.testing.assert_array_equal(run.src[there], graph.src[here])
        np.testing.assert_array_equal(made.weights(changes)[here], run.weight[there])


def test_a_decay_is_offered_where_the_future_is_asked_for_and_nowhere_else(tmp_path: Path) -> None:
    best = best_with({"dim": 8})
    at, _ = weights_of(tmp_path / "a", end_of(DAY), timestamp="at")
    (first,) = at.variants(best)
    days = first.changes["input.half_life_days"]
    assert 30 / 8 * 0.9 < days < 30 / 8 * 1.1  # the pairs span about 30 days
    following = at.variants(first)
    assert [one.changes["input.half_life_days"] for one in following] == [
        pytest.approx(days / 2, rel=0.01),
        pytest.approx(days * 2, rel=0.01),
    ]
    assert all(one.name.count("half-life") == 1 for one in following)
    by_user, _ = weights_of(tmp_path / "b", None, timestamp="at")
    assert by_user.variants(best) == []
    has_one, _ = weights_of(tmp_path / "c", end_of(DAY), timestamp="at", half_life_days=5.0)
    assert has_one.variants(best) == []


def test_a_weight_column_may_be_left_out(tmp_path: Path) -> None:
    made, _ = weights_of(tmp_path, None, weight="strength")
    (one,) = made.variants(best_with({"dim": 8}))
    assert split_changes(one.changes) == ({"dim": 8}, {"input": {"weight": None}})
    assert made.variants(one) == []
