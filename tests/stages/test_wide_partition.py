"""Graphs over the memory bound of one task: the same promises as of those below it."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from pipeline.embedding.methods import CONFIG
from pipeline.errors import ConfigError, PartitionError
from pipeline.partitioning.wide.top_levels import cut_bytes
from pipeline.stages import partition
from pipeline.stages.chain import MAKER, STAGE_NAMES, fingerprints
from pipeline.tasks import Task, TaskFunction, TaskRecord
from pipeline.workspace import Workspace
from tests.stages.test_partition import (
    Graph,
    InProcess,
    Result,
    check,
    check_bound,
    cut,
    graphs,
    largest_whole_degree,
    write_index,
)

#: Enough for the largest node of the graphs drawn here, and several blocks for most of them. A config can't say less
#: than 2**20.
TINY = 3_000
#: With more leaves, what merging them takes is over TINY, and they keep the numbers they were cut with.
MOST_MERGED = 6


def cut_or_refuse(graph: Graph, **options: Any) -> Result | PartitionError:
    """Cut a graph, or return the refusal of one whose clusters fit no task.

    Clusters are at most half as large as a part, so that all their edges may still be too many for a tiny bound.
    """
    try:
        return cut(graph, **options)
    except PartitionError as error:
        stopped = re.search(r"stopped at ([\d,]+) clusters, which take a task ([\d,]+) bytes.*raise it", str(error))
        if stopped is None:
            raise
        clusters, size = (int(number.replace(",", "")) for number in stopped.groups())
        assert options["worker_bytes"] < size <= cut_bytes(clusters, clusters * (clusters + 1) // 2)
        event("clusters fit no task")
        return error


@settings(max_examples=15)
@given(graphs(), st.sampled_from(["auto", "hash"]), st.integers(2, 12), st.none() | st.integers(1, 6), st.randoms())
@example(Graph(9, 0, tuple(itertools.combinations(range(9), 2))[:21]), "auto", 9, None, random.Random(0))
def test_a_cut_in_levels_keeps_every_promise_in_any_order_of_edges(
    graph: Graph, method: str, parts: int, hub_degree: int | None, order: random.Random
) -> None:
    options = {"method": method, "parts": parts, "hub_degree": hub_degree, "worker_bytes": TINY}
    shuffled = Graph(graph.nodes, graph.items, tuple(order.sample(graph.pairs, len(graph.pairs))))
    result, again = cut_or_refuse(graph, **options), cut_or_refuse(shuffled, files=3, **options)
    if isinstance(result, PartitionError) or isinstance(again, PartitionError):
        assert str(result) == str(again)
        return
    check(graph, result)
    assert len(result.leaves) + result.outcome.figures["empty_parts_dropped"] == parts
    assert (again.part_id, again.is_split, again.tree) == (result.part_id, result.is_split, result.tree)


@settings(max_examples=15)
@given(graphs(), st.integers(1, 30), st.none() | st.integers(1, 6))
@example(Graph(10, 0, tuple(itertools.combinations_with_replacement(range(10), 2))), 28, 1)
@example(Graph(4, 0, ((0, 1), (0, 2), (1, 3))), 1, 1)
def test_children_go_down_to_the_bound_of_leaves(graph: Graph, max_edges: int, hub_degree: int | None) -> None:
    options: dict[str, Any] = {"max_edges": max_edges, "hub_degree": hub_degree, "worker_bytes": 5_000}
    if graph.is_plain and hub_degree is None:
        hub_degree = max_edges  # hubs that fit no leaf are split
    if len(graph.pairs) > max_edges and largest_whole_degree(graph, hub_degree) > max_edges:
        with pytest.raises(PartitionError, match=f"partition.max_edges is {max_edges}: "):
            cut(graph, **options)
        return
    result = cut_or_refuse(graph, **options)
    if isinstance(result, Result):
        check(graph, result)
        check_bound(graph, result, max_edges, options["hub_degree"])


@settings(max_examples=15)
@given(graphs(), st.integers(2, 9), st.none() | st.integers(1, 6))
def test_the_same_labels_make_the_same_tables_in_blocks_as_in_one_task(
    graph: Graph, parts: int, hub_degree: int | None
) -> None:
    options: dict[str, Any] = {"method": "hash", "parts": parts, "hub_degree": hub_degree}
    wide, narrow = cut(graph, worker_bytes=TINY, **options), cut(graph, **options)
    if parts > MOST_MERGED:
        assert (by_first(wide.part_id), wide.is_split) == (by_first(narrow.part_id), narrow.is_split)
        return
    assert (wide.part_id, wide.is_split, wide.tree) == (narrow.part_id, narrow.is_split, narrow.tree)
    assert wide.outcome.figures == narrow.outcome.figures


def by_first(part_id: Sequence[int]) -> list[int]:
    """Parts by their first nodes: the same for the same parts under other numbers. Nodes in no part stay -1."""
    first: dict[int, int] = {}
    return [-1 if part < 0 else first.setdefault(part, node) for node, part in enumerate(part_id)]


def test_ties_are_evened_out_over_all_blocks_as_in_one_task() -> None:
    # Every item has two users: wherever they are in two parts, both store one edge, and either may be its home.
    rng = np.random.default_rng(3)
    users, items = 40, 90
    pairs = sorted({(items + int(u), item) for item in range(items) for u in rng.choice(users, 2, replace=False)})
    graph = Graph(items + users, items, tuple(pairs))
    for parts in (2, 5):
        options: dict[str, Any] = {"method": "hash", "parts": parts}
        wide, narrow = cut(graph, worker_bytes=TINY, **options), cut(graph, **options)
        assert used(wide, "homes-") > 3  # ties are evened out across blocks
        check(graph, wide)
        assert (wide.part_id, wide.is_split) == (narrow.part_id, narrow.is_split)
        homes = [home for home, is_split in zip(wide.part_id, wide.is_split, strict=True) if is_split]
        assert len(homes) > 30
        if parts == 2:  # with the lowest part as the home of all ties, the other one would have none
            assert abs(2 * homes.count(wide.leaves[0]) - len(homes)) <= 1


def test_the_same_hubs_are_split_where_costs_decide() -> None:
    ring = {tuple(sorted((2 + here, 2 + (here + 1) % 400))) for here in range(400)}
    pairs = {(0, node) for node in range(2, 402)} | {(1, node) for node in range(2, 252)} | ring
    graph = Graph(402, 0, tuple(sorted(pairs)))
    for worker_bytes in (None, 60_000):
        result = cut(graph, worker_bytes=worker_bytes, max_edges=300)
        check(graph, result)
        check_bound(graph, result, 300, None)
        assert np.flatnonzero(result.is_split).tolist() == [0, 1]


def planted(groups: int, users: int, items: int, edges: int, seed: int = 0) -> Graph:
    """Users of groups with items of their own, and some of others."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, edges)
    user = group * users + rng.integers(0, users, edges)
    there = np.where(rng.random(edges) < 0.8, group, rng.integers(0, groups, edges))
    item = there * items + rng.integers(0, items, edges)
    pairs = set(zip((user + groups * items).tolist(), item.tolist(), strict=True))
    return Graph(groups * (users + items), groups * items, tuple(sorted(pairs)))


@pytest.fixture(scope="module")
def groups() -> Graph:
    return planted(groups=8, users=60, items=30, edges=5_000)


def used(result: Result, function: str) -> int:
    return sum(record.task.startswith(function) for record in result.outcome.records)


def test_a_cut_in_levels_is_nearly_as_good_as_one_in_a_task_and_balanced(groups: Graph) -> None:
    options: dict[str, Any] = {"method": "multilevel", "parts": 4}
    one = cut(groups, **options)
    many = cut(groups, worker_bytes=150_000, **options)
    assert used(many, "propose") > 10
    assert used(one, "propose") == 0
    check(groups, many)
    one_cut, many_cut = (result.outcome.figures["levels"][-1]["cut_percent"] for result in (one, many))
    assert many_cut <= 1.15 * one_cut
    assert many.outcome.figures["imbalance"] <= 1.10


def test_leaves_under_a_bound_come_from_several_depths(groups: Graph) -> None:
    result = cut(groups, worker_bytes=250_000, max_edges=150, method="metis")
    check(groups, result)
    assert max(row["edges"] for row in result.tree if row["is_leaf"]) <= 150
    assert max(row["depth"] for row in result.tree) >= 2
    assert used(result, "piece-") > 0


@pytest.mark.parametrize("options", [{"parts": 4}, {"max_edges": 40}])
@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("star", nx.star_graph(60)),
        ("path", nx.path_graph(80)),
        ("components", nx.disjoint_union_all([nx.complete_graph(3)] * 40)),
        ("mixed", nx.disjoint_union(nx.path_graph(50), nx.empty_graph(20))),
        ("two nodes", nx.path_graph(2)),
    ],
)
def test_odd_graphs(name: str, plain: nx.Graph, options: dict[str, Any]) -> None:
    graph = Graph(len(plain), 0, tuple(sorted((min(e), max(e)) for e in plain.edges)))
    result = cut(graph, worker_bytes=5_000, hub_degree=30, **options)
    check(graph, result)
    if options.get("parts") and name != "two nodes":
        assert len(result.leaves) > 1


def test_components_stay_whole_where_they_fit() -> None:
    plain = nx.disjoint_union_all([nx.path_graph(5)] * 60)
    graph = Graph(len(plain), 0, tuple(sorted(plain.edges)))
    result = cut(graph, worker_bytes=4_000, parts=3)
    check(graph, result)
    assert result.outcome.figures["levels"][0]["cut_percent"] == 0


def test_the_files_that_edges_come_in_change_nothing(groups: Graph) -> None:
    one, other = (cut(groups, worker_bytes=200_000, files=files, parts=4) for files in (1, 5))
    assert (one.part_id, one.is_split, one.tree) == (other.part_id, other.is_split, other.tree)


def test_a_node_over_the_bound_is_named() -> None:
    graph = Graph(200, 1, tuple((user, 0) for user in range(1, 200)))
    with pytest.raises(PartitionError, match=r"one node has 199 edges.*partition.worker_bytes is 5,000: raise it"):
        cut(graph, worker_bytes=5_000, parts=2)


@pytest.mark.parametrize("key", ["components", "top_seed"])
def test_graphframes_needs_an_engine_that_has_it(groups: Graph, key: str) -> None:
    refusal = r"components or .*top_seed is 'graphframes'.*engine 'in process'.*graphframes-spark4_2\.13.*'own'"
    with pytest.raises(ConfigError, match=refusal):
        cut(groups, parts=2, **{key: "graphframes"})


def test_own_components_need_no_engine_that_has_graphframes_and_the_log_says_so(
    groups: Graph, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        cut(groups, parts=2, worker_bytes=300_000)
    assert "stage=partition components=own top_seed=own" in caplog.messages


def test_who_finds_the_components_is_part_of_no_fingerprint() -> None:
    sections = {"input": {"path": "unused", "source_type": "user", "target_type": "item"}}
    own, theirs, seeded = (
        fingerprints(CONFIG.model_validate({**sections, "partition": partition}), "2024-01-01", {})
        for partition in ({}, {"components": "graphframes"}, {"top_seed": "graphframes"})
    )
    assert theirs == own
    assert seeded["partition"] != own["partition"]  # other clusters to start from cut otherwise


@pytest.mark.slow
def test_the_table_is_the_same_with_two_workers(groups: Graph) -> None:
    from pipeline.engines.local import LocalEngine

    options: dict[str, Any] = {"worker_bytes": 300_000, "parts": 4}
    here = cut(groups, **options)
    with LocalEngine(workers=2) as engine:
        there = cut(groups, engine=engine, files=3, **options)
    assert checksum(there) == checksum(here)


@pytest.mark.slow
@pytest.mark.spark
def test_the_table_is_the_same_on_spark(groups: Graph, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    options: dict[str, Any] = {"worker_bytes": 300_000, "parts": 4}
    assert checksum(cut(groups, engine=SparkEngine(spark_session), **options)) == checksum(cut(groups, **options))


def checksum(result: Result) -> list[str | None]:
    return [file.checksum for table in ("partition_tree", "node_parts") for file in result.outcome.tables[table]]


class Dying(InProcess):
    """An engine that ends after some tasks, as a driver does that is killed."""

    def __init__(self, tasks: int) -> None:
        self.left, self.done = tasks, 0

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        records = []
        for task in tasks:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.done += 1
            records += super().map_tasks(function, [task])
        return records


def test_a_killed_cut_goes_on_where_it_was(groups: Graph, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, dt.date(2024, 1, 1), dict.fromkeys(STAGE_NAMES, "f"), MAKER, "test")
    write_index(workspace, groups, 2)
    config = CONFIG.model_validate({"input": {"path": "unused"}, "partition": {"parts": 4}})
    smaller = config.partition.model_copy(update={"worker_bytes": 250_000})
    config = config.model_copy(update={"partition": smaller})
    through, runs = 0, 0
    while True:
        engine: Any = Dying(40)
        runs += 1
        try:
            outcome = partition.run(engine, config, workspace)
        except KeyboardInterrupt:
            through += engine.done
            continue
        through += engine.done
        break
    assert runs > 2
    assert through == len(outcome.records)  # no task was done twice
    (parts,) = outcome.tables["node_parts"]
    result = cut(groups, worker_bytes=250_000, parts=4)
    (expected,) = result.outcome.tables["node_parts"]
    assert parts.checksum == expected.checksum
