"""Cut a graph that no single task can hold: components, clusters, contraction until it fits, and back.

The levels of a multilevel cut, each made of tasks over blocks; only the coarsest graph is in one task. Labels
lie in vectors in files. The driver sees counts and file names.

Source: Meyerhenke, Sanders & Schulz, "Parallel graph partitioning for complex networks", IPDPS 2015
(arXiv 1404.4797).
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import PartitionError
from pipeline.kernels.component_links import pack_small
from pipeline.kernels.neighbor_lists import WeightedGraph
from pipeline.locations import Location
from pipeline.partitioning.multilevel import cut_weighted
from pipeline.partitioning.wide.components import find_components, first_clusters, from_tables
from pipeline.partitioning.wide.contraction import contract, project
from pipeline.partitioning.wide.node_blocks import BlockGraph, NodeBlockFiles
from pipeline.partitioning.wide.propagation import LabelPropagation, NodeLabels
from pipeline.tasks import Attempt, P, TaskFolder

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
class GraphSeeds:
    """Answers about the whole graph that an engine's library is asked for, as Parquet files; None: it is not."""

    components: Callable[[], Sequence[Location]] | None
    labels: Callable[[], Sequence[Location]] | None


@dataclass(frozen=True)
class LevelsCut:
    """How to cut: all that changes the answer."""

    parts: int
    seed: int
    worker_bytes: int


@dataclass(frozen=True)
class Level:
    """A graph, and the vector of the cluster of each of its nodes in the next coarser one."""

    graph: BlockGraph
    cluster: Location


def cut_in_levels(tasks: TaskFolder, graph: BlockGraph, options: LevelsCut, seeds: GraphSeeds) -> NodeLabels:
    """Cut into parts of near-equal volume; return the label of every node.

    Raises
    ------
    PartitionError : if clustering comes to an end before the graph fits a task.
    """
    largest = int(IMBALANCE * graph.volume / options.parts)
    coarsest, levels = _coarsen(tasks, graph, options, seeds, largest)
    payload = CoarsestPayload(coarsest.blocks, options.parts, options.seed)
    labels = _labels(tasks, cut_coarsest, "cut", payload, options.parts)
    for number, level in reversed(list(enumerate(levels))):
        refining = tasks.below(f"refine-{number}")
        labels = project(refining, level.graph.nodes, level.cluster, labels)
        propagation = LabelPropagation(refining, options.seed + number)
        labels = propagation.refine(level.graph, labels, largest, _REFINE_ROUNDS)
    return labels


def _coarsen(
    tasks: TaskFolder, graph: BlockGraph, options: LevelsCut, seeds: GraphSeeds, largest: int
) -> tuple[BlockGraph, list[Level]]:
    """Contract clusters until the graph fits a task; return it, and the finer levels. ``largest``: volume of a part."""
    share = _CLUSTERS_PER_PART
    most = max(1, largest // share)
    labels = _seeded_clusters(tasks, graph, seeds, most)
    levels: list[Level] = []
    while not levels or cut_bytes(graph.nodes, graph.entries // 2) > options.worker_bytes:
        number = len(levels)
        level_tasks = tasks.below(f"level-{number}")
        cap = min(most, max(1, _NODES_A_CLUSTER * math.ceil(graph.volume / graph.nodes)))
        labels = LabelPropagation(level_tasks, options.seed + number).cluster(graph, labels, cap, _CLUSTER_ROUNDS)
        coarse, cluster = contract(level_tasks.below("contract"), graph, labels, options.worker_bytes)
        log.info(
            "stage=partition level=%d nodes=%d entries=%d blocks=%d clusters=%d",
            *(number, graph.nodes, graph.entries, len(graph.blocks), coarse.nodes),
        )
        levels.append(Level(graph, cluster))
        if coarse.nodes > _MOST_LEFT * graph.nodes and cap == most:
            share //= 2
            most = max(1, largest // max(share, 1))
        if share < _FEWEST_CLUSTERS_PER_PART:
            raise PartitionError(
                f"clustering stopped at {coarse.nodes:,} clusters, which take a task "
                f"{cut_bytes(coarse.nodes, coarse.entries // 2):,} bytes; partition.worker_bytes is "
                f"{options.worker_bytes:,}: raise it, or ask for fewer parts"
            )
        graph = coarse
        labels = _labels(level_tasks, name_clusters, "next", NameClustersPayload(graph.rows, most), graph.nodes)
    return graph, levels


def _labels(tasks: TaskFolder, function: Callable[[P, Attempt], None], name: str, payload: P, count: int) -> NodeLabels:
    """Run a task that writes labels and their loads."""
    record = tasks.run(function, name, payload)
    return NodeLabels(record.file("labels"), record.file("load"), count)


def _seeded_clusters(tasks: TaskFolder, graph: BlockGraph, seeds: GraphSeeds, max_volume: int) -> NodeLabels:
    """Return the clusters to start from; components and labels come from ``seeds`` where it has them."""
    folder = tasks.below("components")
    if seeds.components is None:
        component = find_components(folder, graph)
    else:
        component = from_tables(folder, seeds.components(), "component", graph)
    labels = None if seeds.labels is None else from_tables(tasks.below("seeds"), seeds.labels(), "label", graph)
    return first_clusters(tasks.below("clusters"), graph, component, max_volume, labels)


@dataclass(frozen=True)
class NameClustersPayload:
    rows: tuple[Location, ...]  # files of the blocks
    max_volume: int


def name_clusters(payload: NameClustersPayload, attempt: Attempt) -> None:
    """Task: make every node its own cluster, but pack those without edges, which no neighbour would ever take."""
    rows = [storage.map_arrow(file) for file in payload.rows]
    volume, entries = (
        np.concatenate([storage.column(table, name) for table in rows]) for name in ("volume", "entries")
    )
    labels = np.arange(volume.size, dtype=np.int32)
    bins = np.full(volume.size, -1, np.int32)
    alone = np.where(entries == 0, labels, np.int32(-1))
    pack_small(alone, volume, 0, payload.max_volume, bins, np.array([-1, 0], np.int64))
    labels = np.where(bins >= 0, bins, labels)
    _write_labels(attempt, labels, volume, volume.size)


@dataclass(frozen=True)
class CoarsestPayload:
    blocks: tuple[NodeBlockFiles, ...]
    parts: int
    seed: int


def cut_coarsest(payload: CoarsestPayload, attempt: Attempt) -> None:
    """Task: cut the coarsest graph, which fits."""
    rows = [storage.map_arrow(block.rows) for block in payload.blocks]
    entries, volume, node_key = (
        np.concatenate([storage.column(table, name) for table in rows]) for name in ("entries", "volume", "node_key")
    )
    indptr = np.zeros(entries.size + 1, np.int64)
    np.cumsum(entries, out=indptr[1:])
    neighbor, weight = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int64)
    first = 0
    for block in payload.blocks:
        ends = storage.map_arrow(block.ends)
        neighbor[first : first + ends.num_rows] = storage.column(ends, "neighbor")
        weight[first : first + ends.num_rows] = storage.column(ends, "weight")
        first += ends.num_rows
    # Weights are summed as int32 from here on.
    unit = 1 + int(weight.sum()) // 2**31
    weight = (-(-weight // unit)).astype(np.int32)
    graph = WeightedGraph(indptr, neighbor, weight, volume)
    labels = cut_weighted(graph, node_key.view(np.uint64), payload.parts, payload.seed)
    _write_labels(attempt, labels, volume, payload.parts)


def _write_labels(attempt: Attempt, labels: NDArray[np.int32], volume: NDArray[np.int64], count: int) -> None:
    load = np.zeros(count, np.int64)
    np.add.at(load, labels, volume)
    np.save(attempt.path("labels", "npy"), labels)
    np.save(attempt.path("load", "npy"), load)
