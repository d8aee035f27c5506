"""Contraction of a graph in blocks: clusters become nodes, and the edges between two of them become one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import read_slice
from pipeline.blocks.edge_files import slices_for
from pipeline.partitioning.pieces import Role
from pipeline.partitioning.wide.node_blocks import (
    Graph,
    entries_a_block,
    map_block,
    write_by_receiver,
    write_ends,
    write_rows,
)
from pipeline.partitioning.wide.propagation import Labels
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, ranges, read_range, receivers_of
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing


def contract(
    runner: TaskRunner, graph: Graph, labels: Labels, worker_bytes: int, place: Path
) -> tuple[Graph, str, list[TaskRecord[Any]]]:
    """Return the graph of clusters, a vector of the cluster of every node, and the records."""
    todo = {
        **labels.to_json(),
        "nodes": graph.nodes,
        "rows": list(graph.rows),
        "block_entries": entries_a_block(worker_bytes),
    }
    (numbered,) = run_missing(runner, number_clusters, [Task("number", place, todo)])
    cluster, starts = str(numbered.file("cluster")), numbered.result["starts"]
    summed = run_missing(
        runner,
        sum_between_clusters,
        [
            Task(f"sum-{i:05d}", place, {**graph.block(i), "cluster": cluster, "starts": starts})
            for i in range(len(graph.starts))
        ],
    )
    clusters = numbered.result["clusters"]
    stops = [*starts[1:], clusters]
    merged = run_missing(
        runner,
        merge_clusters,
        [
            Task(
                f"merge-{i:05d}",
                place,
                {
                    "first": starts[i],
                    "stop": stops[i],
                    "slices": slices_for(i, summed, "edges"),
                    "volume": str(numbered.file("volume")),
                    "node_key": str(numbered.file("node_key")),
                },
            )
            for i in range(len(starts))
        ],
    )
    coarse = Graph(
        nodes=clusters,
        entries=sum(record.result["entries"] for record in merged),
        volume=graph.volume,
        starts=tuple(starts),
        rows=tuple(str(record.file("rows")) for record in merged),
        ends=tuple(str(record.file("ends")) for record in merged),
        role=None,
    )
    return coarse, cluster, [numbered, *summed, *merged]


def number_clusters(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: number the labels in use in ascending order; cut the clusters into ranges that a task can hold.

    A cluster has the key of the node it is named after.
    """
    todo = payload
    nodes = todo["nodes"]
    is_used = np.zeros(nodes, np.bool_)  # a byte a node: a tenth of what their edges take in the blocks
    for first, stop in ranges(nodes):
        is_used[read_range(todo["labels"], first, stop)] = True
    clusters = int(np.count_nonzero(is_used))
    rank_file = attempt.path("rank", "npy")
    with VectorWriter(rank_file, np.int32, nodes) as writer:
        used = 0
        for first, stop in ranges(nodes):
            rank = np.cumsum(is_used[first:stop]) + (used - 1)
            writer.append(rank)
            used = int(rank[-1]) + 1
    rank = map_vector(rank_file)
    entries = np.zeros(clusters, np.int64)
    with (
        VectorWriter(attempt.path("cluster", "npy"), np.int32, nodes) as members,
        VectorWriter(attempt.path("volume", "npy"), np.int64, clusters) as volumes,
        VectorWriter(attempt.path("node_key", "npy"), np.int64, clusters) as keys,
    ):
        first = 0
        for file in todo["rows"]:
            table = storage.map_arrow(Path(file))
            for start, stop in ranges(table.num_rows):
                chunk = table.slice(start, stop - start)
                here = slice(first + start, first + stop)
                cluster = rank[read_range(todo["labels"], here.start, here.stop)]
                members.append(cluster)
                np.add.at(entries, cluster, storage.column(chunk, "entries"))
                volumes.append(read_range(todo["load"], here.start, here.stop)[is_used[here]])
                keys.append(storage.column(chunk, "node_key")[is_used[here]])
            first += table.num_rows
    # Edges between two clusters are at most those of their nodes: a range of clusters never turns out larger.
    starts = [0]
    total = np.cumsum(entries)
    while True:
        before = int(total[starts[-1] - 1]) if starts[-1] else 0
        stop = int(np.searchsorted(total, before + todo["block_entries"], side="right"))
        stop = max(stop, starts[-1] + 1)  # a cluster that is too large by itself is alone
        if stop >= clusters:
            break
        starts.append(stop)
    return {"clusters": clusters, "starts": starts}


def sum_between_clusters(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: sum the edges of a block by the clusters of their ends, and send them to the first one's range."""
    block = map_block(payload)
    cluster = map_vector(payload["cluster"])
    node = block.node_of_entries()
    left, right = cluster[node], cluster[block.neighbor]
    counts = left != right
    if block.role.size:
        counts &= (block.role[node] != Role.SHARED) | (block.role[block.neighbor] != Role.SHARED)
    del node
    words = left[counts].astype(np.int64) << 32 | right[counts]
    words, weight = _summed(words, block.edge_weight[counts] if block.edge_weight.size else None)
    receiver = receivers_of(words >> 32, payload["starts"])
    sent = write_by_receiver(attempt.path("edges", BATCHES), receiver, {"ends": words, "weight": weight})
    return {"edges_slices": sent}


def merge_clusters(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: sum what was sent to a range of clusters, and write its block."""
    todo = payload
    first, stop = todo["first"], todo["stop"]
    words, weight = np.empty(0, np.int64), np.empty(0, np.int64)
    waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for file, number in todo["slices"]:
        batch = read_slice(Path(file), number)
        waiting.append((batch.column(0).to_numpy(), batch.column(1).to_numpy()))
        # Now and then, so that a cluster with a part in every block does not wait in all its pieces.
        if sum(part.size for part, _ in waiting) > max(words.size, 65_536):
            words, weight = _merged(words, weight, waiting)
            waiting = []
    words, weight = _merged(words, weight, waiting)
    counts = np.bincount((words >> 32) - first, minlength=stop - first)
    write_ends(attempt.path("ends", "arrow"), (words & 0xFFFFFFFF).astype(np.int32), weight)
    volume, node_key = (read_range(todo[name], first, stop) for name in ("volume", "node_key"))
    write_rows(attempt.path("rows", "arrow"), counts, volume, node_key.view(np.uint64))
    return {"entries": words.size}


def _merged(
    words: NDArray[np.int64],
    weight: NDArray[np.int64],
    waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    parts = [(words, weight), *waiting]
    return _summed(np.concatenate([part for part, _ in parts]), np.concatenate([part for _, part in parts]))


def _summed(words: NDArray[np.int64], weight: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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


def project(
    runner: TaskRunner, nodes: int, cluster: str, labels: Labels, place: Path
) -> tuple[Labels, list[TaskRecord[Any]]]:
    """Give every node the label of its cluster; loads stay what they are."""
    todo = {"nodes": nodes, "cluster": cluster, "labels": labels.labels}
    (projected,) = run_missing(runner, project_labels, [Task("project", place, todo)])
    return Labels(str(projected.file("labels")), labels.load, labels.count), [projected]


def project_labels(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: look up the label of every node's cluster."""
    todo = payload
    labels = map_vector(todo["labels"])
    with VectorWriter(attempt.path("labels", "npy"), np.int32, todo["nodes"]) as writer:
        for first, stop in ranges(todo["nodes"]):
            writer.append(labels[read_range(todo["cluster"], first, stop)])
    return {}
