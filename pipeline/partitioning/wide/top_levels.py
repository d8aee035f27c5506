"""Cut a graph that no single task can hold: components, clusters, contraction until it fits, and back.

The levels of a multilevel cut, each made of tasks over blocks; only the coarsest graph is in one task. Labels
lie in vectors in files. The driver sees counts and file names.

Source: Meyerhenke, Sanders & Schulz, "Parallel graph partitioning for complex networks", IPDPS 2015
(arXiv 1404.4797).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.errors import PartitionError
from pipeline.kernels.component_links import pack_small
from pipeline.kernels.neighbor_lists import WeightedGraph
from pipeline.partitioning.multilevel import cut_weighted
from pipeline.partitioning.wide.components import find_components, first_clusters, from_tables
from pipeline.partitioning.wide.contraction import contract, project
from pipeline.partitioning.wide.node_blocks import Graph
from pipeline.partitioning.wide.propagation import Labels, Rounds
from pipeline.partitioning.wide.vectors import write_vector
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing

log = logging.getLogger(__name__)

#: What one task needs to cut a graph, a node and an entry (each edge twice) of it: measured peaks are below.
_CUT_ROW_BYTES, _CUT_ENTRY_BYTES = 96, 56
#: Room for what refinement moves, and for the last node.
IMBALANCE = 1.03
#: Clusters have at most this share of a part's volume; smaller ones on finer levels, so that a level merges
#: nodes of one neighbourhood and not all that is near.
_CLUSTERS_PER_PART = 32
_NODES_A_CLUSTER = 24
_CLUSTER_ROUNDS, _REFINE_ROUNDS = 8, 6
#: A level that leaves more than this share of its nodes is full of clusters that nothing more fits into: larger
#: ones are allowed then, down to this many for a part. Finer levels even out what they cost in balance.
_MOST_LEFT, _FEWEST_CLUSTERS_PER_PART = 0.8, 2


def cut_bytes(nodes: int, edges: int) -> int:
    """Return the bytes that one task takes to cut a graph."""
    return nodes * _CUT_ROW_BYTES + 2 * edges * _CUT_ENTRY_BYTES


@dataclass(frozen=True)
class Seeds:
    """Answers about the whole graph that somebody else can give, as Parquet files; None: not here."""

    components: Callable[[], Sequence[Path] | None]
    labels: Callable[[], Sequence[Path] | None]


@dataclass(frozen=True)
class TopCut:
    """How to cut: all that changes the answer."""

    parts: int
    seed: int
    worker_bytes: int


def cut_in_levels(
    runner: TaskRunner, graph: Graph, wanted: TopCut, seeds: Seeds, place: Path
) -> tuple[Labels, list[TaskRecord[Any]]]:
    """Cut into parts of near-equal volume; return the label of every node, and the records.

    Raises
    ------
    PartitionError : if clustering comes to an end before the graph fits a task.
    """
    records: list[TaskRecord[Any]] = []
    largest = int(IMBALANCE * graph.volume / wanted.parts)
    share = _CLUSTERS_PER_PART
    most = max(1, largest // share)
    component = _components(runner, graph, seeds, place, records)
    seed_files = seeds.labels()
    seed_labels = None
    if seed_files is not None:
        seed_labels, made = from_tables(runner, seed_files, "label", graph, place / "seeds")
        records += made
    labels, made = first_clusters(runner, graph, component, most, place / "clusters", seed_labels)
    records += made
    levels: list[tuple[Graph, str]] = []
    while not levels or cut_bytes(graph.nodes, graph.entries // 2) > wanted.worker_bytes:
        here = place / f"level-{len(levels)}"
        rounds = Rounds(runner, here, wanted.seed + len(levels))
        cap = min(most, max(1, _NODES_A_CLUSTER * math.ceil(graph.volume / graph.nodes)))
        labels = rounds.cluster(graph, labels, cap, _CLUSTER_ROUNDS)
        coarse, cluster, made = contract(runner, graph, labels, wanted.worker_bytes, here / "contract")
        records += [*rounds.records, *made]
        log.info(
            "stage=partition level=%d nodes=%d entries=%d blocks=%d clusters=%d",
            *(len(levels), graph.nodes, graph.entries, len(graph.starts), coarse.nodes),
        )
        levels.append((graph, cluster))
        if coarse.nodes > _MOST_LEFT * graph.nodes and cap == most:
            share //= 2
            most = max(1, largest // max(share, 1))
        if share < _FEWEST_CLUSTERS_PER_PART:
            raise PartitionError(
                f"clustering stopped at {coarse.nodes:,} clusters, which take a task "
                f"{cut_bytes(coarse.nodes, coarse.entries // 2):,} bytes; partition.worker_bytes is "
                f"{wanted.worker_bytes:,}: raise it, or ask for fewer parts"
            )
        graph = coarse
        (named,) = run_missing(
            runner, name_clusters, [Task("next", here, {"rows": list(graph.rows), "max_volume": most})]
        )
        records.append(named)
        labels = Labels(str(named.file("labels")), str(named.file("load")), graph.nodes)
    todo = {"rows": list(graph.rows), "ends": list(graph.ends), "parts": wanted.parts, "seed": wanted.seed}
    (cut,) = run_missing(runner, cut_coarsest, [Task("cut", place, todo)])
    records.append(cut)
    labels = Labels(str(cut.file("labels")), str(cut.file("load")), wanted.parts)
    for number in reversed(range(len(levels))):
        finer, cluster = levels[number]
        here = place / f"refine-{number}"
        labels, made = project(runner, finer.nodes, cluster, labels, here)
        rounds = Rounds(runner, here, wanted.seed + number)
        labels = rounds.refine(finer, labels, largest, _REFINE_ROUNDS)
        records += [*made, *rounds.records]
    return labels, records


def _components(runner: TaskRunner, graph: Graph, seeds: Seeds, place: Path, records: list[TaskRecord[Any]]) -> str:
    files = seeds.components()
    if files is None:
        component, made = find_components(runner, graph, place / "components")
    else:
        component, made = from_tables(runner, files, "component", graph, place / "components")
    records += made
    return component


def name_clusters(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: make every node its own cluster, but pack those without edges, which no neighbour would ever take."""
    rows = [storage.map_arrow(Path(file)) for file in payload["rows"]]
    volume, entries = (
        np.concatenate([storage.column(table, name) for table in rows]) for name in ("volume", "entries")
    )
    labels = np.arange(volume.size, dtype=np.int32)
    bins = np.full(volume.size, -1, np.int32)
    alone = np.where(entries == 0, labels, np.int32(-1))
    pack_small(alone, volume, 0, payload["max_volume"], bins, np.array([-1, 0], np.int64))
    labels = np.where(bins >= 0, bins, labels)
    load = np.zeros(volume.size, np.int64)
    np.add.at(load, labels, volume)
    write_vector(attempt.path("labels", "npy"), labels)
    write_vector(attempt.path("load", "npy"), load)
    return {}


def cut_coarsest(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: cut the coarsest graph, which fits."""
    todo = payload
    rows = [storage.map_arrow(Path(file)) for file in todo["rows"]]
    entries, volume, node_key = (
        np.concatenate([storage.column(table, name) for table in rows]) for name in ("entries", "volume", "node_key")
    )
    indptr = np.zeros(entries.size + 1, np.int64)
    np.cumsum(entries, out=indptr[1:])
    neighbor, weight = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int64)
    first = 0
    for file in todo["ends"]:
        ends = storage.map_arrow(Path(file))
        neighbor[first : first + ends.num_rows] = storage.column(ends, "neighbor")
        weight[first : first + ends.num_rows] = storage.column(ends, "weight")
        first += ends.num_rows
    # Weights are summed as int32 from here on.
    unit = 1 + int(weight.sum()) // 2**31
    weight = (-(-weight // unit)).astype(np.int32)
    graph = WeightedGraph(indptr, neighbor, weight, volume)
    labels = cut_weighted(graph, node_key.view(np.uint64), todo["parts"], todo["seed"])
    load = np.zeros(todo["parts"], np.int64)
    np.add.at(load, labels, volume)
    write_vector(attempt.path("labels", "npy"), labels)
    write_vector(attempt.path("load", "npy"), load)
    return {"most": int(load.max())}
