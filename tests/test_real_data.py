"""Gowalla's check-ins through the whole chain: quality, exactness across cuts, memory of a part."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.embedding import row_files
from pipeline.embedding.methods import CONFIG
from pipeline.embedding.rounds import BlockFiles, Embedded, embed_parts
from pipeline.embedding.rows import Rows
from pipeline.embedding.run_settings import settings_of
from pipeline.engines.local import LocalEngine
from pipeline.kernels.warm import warm_kernels
from pipeline.tasks import Task, TaskFunction, TaskRecord, TaskRunner, run_task
from pipeline.workspace import Workspace
from tests.embedding.graphs_in_parts import written_files
from tests.oracles.simulator import ZERO_BELOW
from tests.stages.chains import Chain, config_for, with_changes

pytestmark = [pytest.mark.data, pytest.mark.slow]

NODES = 29_858 + 40_981
WITHOUT_EMBEDDING = ["ingest", "index", "partition", "layout"]


def gowalla(shared_data: Path, **sections: Any) -> dict[str, Any]:
    config = config_for(shared_data / "gowalla" / "train.parquet", input={"source": "src", "target": "dst"})
    return with_changes(config, **sections)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """One workspace for all tests: they share what ingest and index made."""
    return Chain(tmp_path_factory.mktemp("gowalla"))


def test_quality(chain: Chain, shared_data: Path) -> None:
    test = str(shared_data / "gowalla" / "test.parquet")
    config = gowalla(shared_data, embedding={"dim": 128}, evaluate={"source": "file", "path": test})
    made = chain.publish(config)
    assert len(made.ids) == NODES
    ranking = made.metrics["ranking"]
    assert ranking["users"] == 29_858
    assert ranking["recall@20"] >= 0.154
    assert ranking["ndcg@20"] >= 0.129


def blocks_of(chain: Chain, config: dict[str, Any]) -> tuple[Workspace, list[BlockFiles]]:
    ended = chain.run(config, WITHOUT_EMBEDDING)
    assert ended.code == 0, ended.error
    workspace = chain.workspace(config)
    figures = workspace.manifest("block_nodes").figures
    files = [workspace.files(table) for table in ("block_nodes", "block_edges", "block_routes")]
    blocks = [
        BlockFiles(part, *paths, part in figures["splits"])
        for part, *paths in zip(figures["parts"], *files, strict=True)
    ]
    return workspace, blocks


class InANewProcess:
    """Runs tasks one after the other in one process that has loaded kernels, and done nothing else: no heap is left."""

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        spawned = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawned, initializer=warm_kernels) as pool:
            return list(pool.map(run_task, [function] * len(tasks), tasks))


def embedded(chain: Chain, config: dict[str, Any], place: Path, runner: TaskRunner) -> Embedded:
    workspace, blocks = blocks_of(chain, config)
    settings = settings_of(CONFIG.from_toml(chain.write_config(config)), workspace)
    return embed_parts(runner, blocks, settings, place)


def rows_of(done: Embedded, dim: int) -> Rows:
    rows = Rows.zeros(NODES, dim)
    for file, _, _ in written_files(done):
        for node_ix, some in row_files.read_rows(file):
            rows.values[node_ix], rows.noise_scale[node_ix] = some.values, some.noise_scale
    return rows


ONE_BLOCK = {"method": "none", "parts": 1}
IN_16 = [{"method": method, "parts": 16} for method in ("metis", "hash")]
FORMS: dict[str, dict[str, Any]] = {
    "two_tower": {"powers": 2},
    "classic": {"form": "classic", "iteration_weights": [1.0, 1.0, 1.0], "transition": "symmetric"},
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_before_normalisation_agree_across_cuts(
    form: str, chain: Chain, shared_data: Path, tmp_path: Path
) -> None:
    config = gowalla(shared_data, embedding={"dim": 32, **FORMS[form]})
    want = rows_of(embedded(chain, with_changes(config, partition=ONE_BLOCK), tmp_path / "one", LocalEngine()), 32)
    norm = np.linalg.norm(want.values.astype(np.float64), axis=1)
    assert (norm > 0).all()
    for cut in IN_16:
        done = embedded(chain, with_changes(config, partition=cut), tmp_path / cut["method"], LocalEngine())
        got = rows_of(done, 32)
        off = np.linalg.norm(got.values.astype(np.float64) - want.values, axis=1)
        assert (off <= 1e-5 * norm + 2.0**-22 * want.noise_scale).all(), (off / norm).max()
        np.testing.assert_allclose(got.noise_scale, want.noise_scale, rtol=1e-6)
        certain = np.abs(np.log2(norm / want.noise_scale / ZERO_BELOW)) > 1
        is_zero = np.linalg.norm(got.values.astype(np.float64), axis=1) <= ZERO_BELOW * got.noise_scale
        np.testing.assert_array_equal(is_zero[certain], (norm <= ZERO_BELOW * want.noise_scale)[certain])


def test_a_part_needs_a_share_of_the_memory_of_one_block(chain: Chain, shared_data: Path, tmp_path: Path) -> None:
    config = gowalla(shared_data, embedding={"dim": 1024})
    growth = {}
    for cut in (ONE_BLOCK, *IN_16):
        done = embedded(chain, with_changes(config, partition=cut), tmp_path / str(cut["method"]), InANewProcess())
        growth[cut["method"]] = max(record.growth_bytes for record in done.records)
    assert growth["metis"] <= 0.35 * growth["none"], growth
    assert growth["hash"] <= 0.6 * growth["none"], growth


def test_clusters_of_a_quarter_of_the_rows_keep_twice_what_a_hash_keeps(chain: Chain, shared_data: Path) -> None:
    test = {"source": "file", "path": str(shared_data / "gowalla" / "test.parquet")}
    config = gowalla(shared_data, embedding={"dim": 128}, evaluate=test, codes={"enabled": True})
    once = chain.publish(config).metrics["node_codes"]["once"]
    assert once["rows"] <= NODES / 4
    assert once["clusters"]["recall@20"] >= 2 * once["modulo"]["recall@20"]


def test_modularity_is_within_a_hundredth_of_the_best_that_libraries_reach(chain: Chain, shared_data: Path) -> None:
    config = gowalla(shared_data, codes={"enabled": True, "resolution": 1.0})
    chain.publish(config)
    figures = chain.workspace(config).manifest("node_clusters").figures
    assert figures["modularity"] >= 0.99 * 0.7171  # scikit-network 0.33.5
