"""What a plan says of a cut, against the cut itself: whether one task makes it, in how many blocks, bytes on disk."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG
from pipeline.partitioning.wide.node_blocks import blocks_of_cut
from pipeline.partitioning.wide.top_levels import cut_bytes
from pipeline.planning.cuts import Cut
from pipeline.planning.sizes import GraphCounts, disk_bytes, is_cut_wide
from tests.benchmarks.planted_bipartite import planted_pairs
from tests.stages.test_partition import Graph, Result, cut

EDGES, PARTS = 60_000, 4


@cache
def planted() -> Graph:
    user, item = planted_pairs(EDGES, nodes=6_000, communities=30)
    nodes, pairs = np.unique(np.concatenate([item, user + 1_000_000]), return_inverse=True)
    item, user = pairs.reshape(2, -1).tolist()
    return Graph(nodes.size, int(np.count_nonzero(nodes < 1_000_000)), tuple(zip(user, item, strict=True)))


def cut_and_plan(method: str, worker_bytes: int) -> tuple[Result, PipelineConfig, GraphCounts]:
    graph = planted()
    config = CONFIG.model_validate({"input": {"path": "x"}, "partition": {"parts": PARTS, "method": method}})
    smaller = config.partition.model_copy(update={"worker_bytes": worker_bytes})  # below what a config may say
    counts = GraphCounts(graph.nodes, EDGES, graph.items, is_exact=True)
    result = cut(graph, parts=PARTS, method=method, worker_bytes=worker_bytes)
    return result, config.model_copy(update={"partition": smaller}), counts


@pytest.mark.parametrize("missing", [0, 1])
def test_a_plan_knows_whether_one_task_cuts_the_graph(missing: int) -> None:
    bytes_of_task = cut_bytes(planted().nodes, EDGES)
    result, config, graph = cut_and_plan("auto", bytes_of_task - missing)
    by_many = any("wide" in record.folder.parts for record in result.outcome.records)
    assert by_many is bool(missing)
    assert is_cut_wide(config, graph) is by_many


@pytest.mark.parametrize("method", ["auto", "hash"])
def test_blocks_and_bytes_on_disk_of_a_cut_by_many_tasks_are_about_what_a_plan_says(method: str) -> None:
    result, config, graph = cut_and_plan(method, cut_bytes(planted().nodes, EDGES) // 4)
    records = result.outcome.records
    blocks = sum(record.task.startswith("weigh-") for record in records)
    said = blocks_of_cut(graph.nodes, graph.edges, config.partition.worker_bytes)
    assert said <= blocks <= said + 2  # the last node of a block doesn't always fit
    written = sum(file.bytes for record in records for file in record.files)
    cut_in_parts = Cut([1] * PARTS, [1] * PARTS, 0, 0, 0)
    planned = disk_bytes(config, graph, cut_in_parts)["partition"]
    assert 0.6 * planned <= written <= 1.5 * planned
