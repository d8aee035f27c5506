"""Contraction of a graph in blocks: clusters become nodes, and the edges between two of them become one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.sent_rows import FileBatch, SentRows, batches_for, write_by_receiver
from pipeline.locations import Location
from pipeline.partitioning.pieces import Role
from pipeline.partitioning.wide.node_blocks import (
    BlockGraph,
    NodeBlockFiles,
    entries_a_block,
    open_ranges,
    write_ends,
    write_rows,
)
from pipeline.partitioning.wide.propagation import NodeLabels
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, ranges, read_range, receivers_of
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder


def contract(
    tasks: TaskFolder, graph: BlockGraph, labels: NodeLabels, worker_bytes: int
) -> tuple[BlockGraph, Location]:
    """Return the graph of clusters, and a vector of the cluster of every node."""
    payload = NumberClustersPayload(graph.nodes, graph.rows, labels, entries_a_block(worker_bytes))
    numbering = tasks.run(number_clusters, "number", payload)
    cluster, starts, clusters = numbering.file("cluster"), numbering.result.starts, numbering.result.clusters
    sums = tasks.run_each(sum_between_clusters, "sum", [SumPayload(block, cluster, starts) for block in graph.blocks])
    vectors = numbering.file("volume"), numbering.file("node_key")
    blocks = tasks.run_each(
        merge_clusters,
        "merge",
        [
            MergeClustersPayload(first, stop, batches_for(number, sums, "edges"), *vectors)
            for number, (first, stop) in enumerate(zip(starts, (*starts[1:], clusters), strict=True))
        ],
    )
    coarse = BlockGraph(
        nodes=clusters,
        entries=sum(record.rows("ends") for record in blocks),
        volume=graph.volume,
        blocks=tuple(
            NodeBlockFiles(first, record.file("rows"), record.file("ends"), None)
            for first, record in zip(starts, blocks, strict=True)
        ),
    )
    return coarse, cluster


@dataclass(frozen=True)
class NumberClustersPayload:
    nodes: int
    rows: tuple[Location, ...]  # files of the blocks
    labels: NodeLabels
    block_entries: int  # at most


@dataclass(frozen=True)
class NumberClustersResult:
    """Number of clusters, and the first of each range."""

    clusters: int
    starts: tuple[int, ...]


def number_clusters(payload: NumberClustersPayload, attempt: Attempt) -> NumberClustersResult:
    """Task: number the labels in use in ascending order; cut the clusters into ranges that a task can hold.

    A cluster has the key of the node it is named after.
    """
    nodes = payload.nodes
    is_used = np.zeros(nodes, np.bool_)  # a byte a node: a tenth of what their edges take in the blocks
    for first, stop in ranges(nodes):
        is_used[read_range(payload.labels.labels, first, stop)] = True
    clusters = int(np.count_nonzero(is_used))
    rank_file = attempt.path("rank", "npy")
    with VectorWriter(rank_file, np.int32, nodes) as writer:
        count = 0
        for first, stop in ranges(nodes):
            rank = np.cumsum(is_used[first:stop]) + (count - 1)
            writer.append(rank)
            count = int(rank[-1]) + 1
    rank = map_vector(rank_file)
    entries = np.zeros(clusters, np.int64)
    with (
        VectorWriter(attempt.path("cluster", "npy"), np.int32, nodes) as members,
        VectorWriter(attempt.path("volume", "npy"), np.int64, clusters) as volumes,
        VectorWriter(attempt.path("node_key", "npy"), np.int64, clusters) as keys,
    ):
        first = 0
        for file in payload.rows:
            table = storage.map_arrow(file)
            for start, stop in ranges(table.num_rows):
                chunk = table.slice(start, stop - start)
                nodes_here = slice(first + start, first + stop)
                cluster = rank[read_range(payload.labels.labels, nodes_here.start, nodes_here.stop)]
                members.append(cluster)
                np.add.at(entries, cluster, storage.column(chunk, "entries"))
                volumes.append(read_range(payload.labels.load, nodes_here.start, nodes_here.stop)[is_used[nodes_here]])
                keys.append(storage.column(chunk, "node_key")[is_used[nodes_here]])
            first += table.num_rows
    # Edges between two clusters are at most those of their nodes: a range of clusters never turns out larger.
    starts = [0]
    open_ranges(starts, 0, 0, np.cumsum(entries), payload.block_entries)
    return NumberClustersResult(clusters, tuple(starts))


@dataclass(frozen=True)
class SumPayload:
    block: NodeBlockFiles
    cluster: Location
    starts: tuple[int, ...]


def sum_between_clusters(payload: SumPayload, attempt: Attempt) -> SentRows:
    """Task: sum the edges of a block by the clusters of their ends, and send them to the first one's range."""
    block = payload.block.map()
    cluster = map_vector(payload.cluster)
    node = block.node_of_entries()
    left, right = cluster[node], cluster[block.neighbor]
    counts = left != right
    if block.role.size:
        counts &= (block.role[node] != Role.SHARED) | (block.role[block.neighbor] != Role.SHARED)
    del node
    words = left[counts].astype(np.int64) << 32 | right[counts]
    words, weight = _sum_up(words, block.edge_weight[counts] if block.edge_weight.size else None)
    receiver = receivers_of(words >> 32, payload.starts)
    slices = write_by_receiver(attempt.path("edges", BATCHES), receiver, {"ends": words, "weight": weight})
    return SentRows({"edges": slices})


@dataclass(frozen=True)
class MergeClustersPayload:
    first: int
    stop: int
    batches: tuple[FileBatch, ...]
    volume: Location
    node_key: Location


def merge_clusters(payload: MergeClustersPayload, attempt: Attempt) -> None:
    """Task: sum what was sent to a range of clusters, and write its block."""
    first, stop = payload.first, payload.stop
    words, weight = np.empty(0, np.int64), np.empty(0, np.int64)
    waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for batch in payload.batches:
        new_words, new_weight = (column.to_numpy() for column in batch.read().columns)
        waiting.append((new_words, new_weight))
        # Now and then, so that a cluster with a part in every block does not wait in all its pieces.
        if sum(part.size for part, _ in waiting) > max(words.size, 65_536):
            words, weight = _merge(words, weight, waiting)
            waiting = []
    words, weight = _merge(words, weight, waiting)
    counts = np.bincount((words >> 32) - first, minlength=stop - first)
    write_ends(attempt.path("ends", "arrow"), (words & 0xFFFFFFFF).astype(np.int32), weight)
    volume, node_key = (read_range(vector, first, stop) for vector in (payload.volume, payload.node_key))
    write_rows(attempt.path("rows", "arrow"), counts, volume, node_key.view(np.uint64))


def _merge(
    words: NDArray[np.int64],
    weight: NDArray[np.int64],
    waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    parts = [(words, weight), *waiting]
    return _sum_up(np.concatenate([part for part, _ in parts]), np.concatenate([part for _, part in parts]))


def _sum_up(words: NDArray[np.int64], weight: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the words that differ, ascending, and the sum of the weights of each."""
    if words.size == 0:
        return words, np.empty(0, np.int64)
    if weight is None:
        words.sort()
    else:
        order = np.argsort(words)
        words, weight = words[order], weight[order]
    starts = np.flatnonzero(np.diff(words, prepend=words[0] - 1))
    sums = np.diff(starts, append=words.size) if weight is None else np.add.reduceat(weight, starts)
    return words[starts], sums.astype(np.int64)


def project(tasks: TaskFolder, nodes: int, cluster: Location, labels: NodeLabels) -> NodeLabels:
    """Give every node the label of its cluster; loads stay what they are."""
    record = tasks.run(project_labels, "project", ProjectPayload(nodes, cluster, labels.labels))
    return NodeLabels(record.file("labels"), labels.load, labels.count)


@dataclass(frozen=True)
class ProjectPayload:
    nodes: int
    cluster: Location
    labels: Location


def project_labels(payload: ProjectPayload, attempt: Attempt) -> None:
    """Task: look up the label of every node's cluster."""
    labels = map_vector(payload.labels)
    with VectorWriter(attempt.path("labels", "npy"), np.int32, payload.nodes) as writer:
        for first, stop in ranges(payload.nodes):
            writer.append(labels[read_range(payload.cluster, first, stop)])
