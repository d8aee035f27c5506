"""Hashed PPR by tasks over the whole graph: the same rows from every engine, and tasks that are done stay done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.model import PipelineConfig
from pipeline.config.ppr import PprConfig
from pipeline.config.sections import InputConfig
from pipeline.embedding.methods import CONFIG, EMBEDDING
from pipeline.embedding.run_settings import settings_of
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.planning.hashed_costs import estimate_push_seconds, price_hashed_rows, shards_of_rows
from pipeline.stages.chain import STAGE_NAMES
from pipeline.stages.ppr_rows import make_rows
from pipeline.workspace import Workspace
from tests.embedding.graphs_in_parts import DiesAfter, InThisProcess, KilledError
from tests.stages.chains import Chain, config_for, users_and_items, write_rows


def config(folder: Path, **ppr: Any) -> dict[str, Any]:
    path = write_rows(folder / "rows.parquet", users_and_items())
    return config_for(path, parts=3, embedding={"method": "ppr", "form": "hashed"}, ppr={"shards": 5, **ppr})


def test_engines_write_the_same_table(engine: Any, tmp_path: Path) -> None:
    given = config(tmp_path)
    wanted = Chain(tmp_path / "here").publish(given)
    got = Chain(tmp_path / "there", engine).publish(given)
    assert got.data == wanted.data


def laid_out(chain: Chain, given: dict[str, Any]) -> tuple[PipelineConfig, Workspace, Settings]:
    assert chain.run(given, STAGE_NAMES[:4]).code == 0
    read, workspace = CONFIG.from_toml(chain.write_config(given)), chain.workspace(given)
    return read, workspace, settings_of(read, workspace)


def test_a_killed_run_does_again_only_what_was_not_done(tmp_path: Path) -> None:
    given = config(tmp_path)
    wanted = make_rows(InThisProcess(), *laid_out(Chain(tmp_path / "undisturbed"), given))  # type: ignore[arg-type]
    asked, engine = laid_out(Chain(tmp_path / "chain"), given), InThisProcess()
    with pytest.raises(KilledError):
        make_rows(DiesAfter(4), *asked)  # type: ignore[arg-type]
    got = make_rows(engine, *asked)  # type: ignore[arg-type]
    assert engine.ran == ["rows-00003", "rows-00004"]  # before it died: the graph, and three of the rows
    files = [[(file.rows, file.checksum) for file in made.tables["part_rows"]] for made in (got, wanted)]
    assert files[0] == files[1]
    assert sum(rows for rows, _ in files[0]) == asked[2].graph.nodes


def test_without_shards_tasks_follow_from_the_work_alone() -> None:
    every = (0, 10_000_000)
    embedding = EMBEDDING(method="ppr", form="hashed", dim=128)
    settings = Settings(GraphSummary(10_000_000, every, every, mean_strength=20.0), embedding, "plain_hashed")
    asked = CONFIG(input=InputConfig(path="-", source_type="n", target_type="n"), embedding=embedding)
    seconds = estimate_push_seconds(settings, 100_000_000)
    shards = shards_of_rows(asked, settings, 100_000_000, seconds)
    priced = price_hashed_rows(asked, settings, 100_000_000, slots=shards, is_exact=True)
    assert priced.tasks == shards > 1_000
    # A task's own work is worth opening the graph for, and its rows fit.
    assert priced.cpu_seconds < 1.2 * seconds
    assert 10_000_000 * 512 / shards <= 2**26
    tenth = estimate_push_seconds(replace(settings, ppr=PprConfig(push_threshold=1e-4 / 20)), 100_000_000)
    assert tenth == pytest.approx(seconds / 10)
    assert estimate_push_seconds(settings, 0) == 0.0
    assert shards_of_rows(asked, replace(settings, graph=replace(settings.graph, nodes=3)), 2, 0.0) == 1
