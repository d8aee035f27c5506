"""Connected components of a graph in blocks, and the clusters to start from: small components packed together.

A component's number is that of its least node, as with GraphFrames. Every round, the task of a block links the
labels that its edges connect to the least of them, and one pass in ascending order resolves all links: chains
of any length take a single pass. Links lost because a label had several are found again in the next round.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.edge_files import slices_for
from pipeline.errors import PartitionError
from pipeline.kernels.component_links import least_links, pack_small, resolve_links, split_large
from pipeline.partitioning.wide.node_blocks import Graph, map_block, read_columns, write_by_receiver
from pipeline.partitioning.wide.propagation import Labels
from pipeline.partitioning.wide.vectors import (
    CHUNK_ROWS,
    VectorWriter,
    map_vector,
    ranges,
    read_range,
    receivers_of,
)
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing


def find_components(runner: TaskRunner, graph: Graph, place: Path) -> tuple[str, list[TaskRecord[Any]]]:
    """Return a vector of the component of every node, and the records."""
    (begun,) = run_missing(runner, start_components, [Task("start", place, {"nodes": graph.nodes})])
    component, records, number = str(begun.file("component")), [begun], 0
    while True:
        here = place / f"round-{number}"
        todo = {"component": component, "starts": list(graph.starts), "nodes": graph.nodes}
        linked = run_missing(
            runner,
            link_block,
            [Task(f"link-{i:05d}", here, {**todo, **graph.block(i)}) for i in range(len(graph.starts))],
        )
        records += linked
        if not any(record.result["links"] for record in linked):
            return component, records
        slices = [slices_for(i, linked, "links") for i in range(len(graph.starts))]
        (resolved,) = run_missing(runner, resolve_components, [Task("resolve", here, {**todo, "slices": slices})])
        records.append(resolved)
        component, number = str(resolved.file("component")), number + 1


def start_components(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: make every node its own component."""
    nodes = payload["nodes"]
    with VectorWriter(attempt.path("component", "npy"), np.int32, nodes) as writer:
        for first, stop in ranges(nodes):
            writer.append(np.arange(first, stop, dtype=np.int32))
    return {}


def link_block(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: link the components that the edges of a block connect."""
    block = map_block(payload)
    component = map_vector(payload["component"])
    node = block.node_of_entries()
    once = block.neighbor < node  # the other entry of an edge says nothing new
    left, right = component[node[once]], component[block.neighbor[once]]
    del node, once
    label, least = least_links(left, right, component.size)
    receiver = receivers_of(label, payload["starts"])
    sent = write_by_receiver(attempt.path("links", BATCHES), receiver, {"label": label, "least": least})
    return {"links": label.size, "links_slices": sent}


def resolve_components(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: follow all links to their ends, range by range, and relabel the nodes."""
    todo = payload
    starts, nodes = todo["starts"], todo["nodes"]
    root_file = attempt.path("root", "npy")
    with VectorWriter(root_file, np.int32, nodes) as writer:
        for number, first in enumerate(starts):
            stop = starts[number + 1] if number + 1 < len(starts) else nodes
            label, least = read_columns(todo["slices"][number], (np.int32, np.int32))
            lower = map_vector(root_file)[:first] if first else np.empty(0, np.int32)
            writer.append(resolve_links(first, label, least, lower, stop - first))
    root = map_vector(root_file)
    with VectorWriter(attempt.path("component", "npy"), np.int32, nodes) as writer:
        for first, stop in ranges(nodes):
            writer.append(root[read_range(todo["component"], first, stop)])
    return {}


def first_clusters(
    runner: TaskRunner, graph: Graph, component: str, max_volume: int, place: Path, seeds: str | None = None
) -> tuple[Labels, list[TaskRecord[Any]]]:
    """Pack the components up to ``max_volume`` together, up to that volume; every other node is for itself.

    ``seeds``: vector of labels in 0 <= label < nodes that these other nodes start with instead, split where they
    have more than ``max_volume``.
    """
    todo = {"nodes": graph.nodes, "rows": list(graph.rows), "component": component, "max_volume": max_volume}
    (packed,) = run_missing(runner, pack_components, [Task("pack", place, {**todo, "seeds": seeds})])
    return Labels(str(packed.file("labels")), str(packed.file("load")), graph.nodes), [packed]


def pack_components(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: label every node by the bin of its component, or by itself or its seed where this is large."""
    todo = payload
    nodes, max_volume = todo["nodes"], todo["max_volume"]
    work = _Scratch(attempt, nodes)
    total, bins = work.vector("total", np.int64, 0), work.vector("bins", np.int32, -1)
    for first, stop, volume in _volumes(todo["rows"]):
        np.add.at(total, read_range(todo["component"], first, stop), volume)
    state = np.array([-1, 0], np.int64)
    large = 0
    for first, stop in ranges(nodes):
        component = read_range(todo["component"], first, stop)
        pack_small(component, total, first, max_volume, bins, state)
        is_root = component == np.arange(first, stop)
        large += int(np.count_nonzero(is_root & (bins[component] < 0)))
    load = total  # used up by now, and of the same shape
    load[:] = 0
    if todo["seeds"]:
        current, filled = work.vector("current", np.int32, -1), work.vector("filled", np.int64, 0)
    with VectorWriter(attempt.path("labels", "npy"), np.int32, nodes) as writer:
        for first, stop, volume in _volumes(todo["rows"]):
            component = read_range(todo["component"], first, stop)
            own = np.arange(first, stop, dtype=np.int32)
            if todo["seeds"]:
                split_large(read_range(todo["seeds"], first, stop), volume, first, max_volume, current, filled, own)
            label = np.where(bins[component] >= 0, bins[component], own)
            np.add.at(load, label, volume)
            writer.append(label)
    with VectorWriter(attempt.path("load", "npy"), np.int64, nodes) as writer:
        for first, stop in ranges(nodes):
            writer.append(load[first:stop])
    return {"large_components": large}


class _Scratch:
    """Vectors over all nodes that a task fills at random: mapped from files, which the system may write out."""

    def __init__(self, attempt: Attempt, nodes: int) -> None:
        self._attempt, self._nodes = attempt, nodes

    def vector(self, role: str, dtype: Any, value: int) -> NDArray[Any]:
        path = self._attempt.scratch(role)
        with path.open("xb") as file:
            # Now, with an error: a page that finds no room once it is mapped kills the process.
            os.posix_fallocate(file.fileno(), 0, max(1, self._nodes) * np.dtype(dtype).itemsize)
        array = np.memmap(path, dtype, "r+", shape=(self._nodes,))
        array[:] = value
        return np.asarray(array)


def _volumes(rows: Sequence[str]) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yield (first, stop, volumes) of consecutive ranges of nodes."""
    first = 0
    for file in rows:
        volume = storage.column(storage.map_arrow(Path(file)), "volume")
        for start, stop in ranges(volume.size):
            yield first + start, first + stop, volume[start:stop]
        first += volume.size


def from_tables(
    runner: TaskRunner, files: Sequence[Path], column: str, graph: Graph, place: Path
) -> tuple[str, list[TaskRecord[Any]]]:
    """Return a vector of labels from Parquet files with the columns ``id`` and ``column``, one row a node.

    Labels are node numbers; each is replaced by the least node that has it, so that it does not matter how whoever
    made them chose among these.

    Raises
    ------
    PartitionError : if a node is missing or there twice, or a label is no node.
    """
    here = place
    sent = run_missing(
        runner,
        send_labels,
        [
            Task(f"send-{i:05d}", here, {"file": str(file), "column": column, "starts": list(graph.starts)})
            for i, file in enumerate(files)
        ],
    )
    todo = {
        "nodes": graph.nodes,
        "starts": list(graph.starts),
        "slices": [slices_for(i, sent, "labels") for i in range(len(graph.starts))],
    }
    (joined,) = run_missing(runner, join_labels, [Task("join", here, todo)])
    return str(joined.file("least")), [*sent, joined]


def send_labels(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: sort the labels in a file by the ranges of their nodes."""
    todo = payload
    nodes, labels = [], []
    with pq.ParquetFile(todo["file"]) as parquet:
        for batch in parquet.iter_batches(batch_size=CHUNK_ROWS, columns=["id", todo["column"]], use_threads=False):
            nodes.append(batch.column("id").to_numpy())
            labels.append(batch.column(todo["column"]).fill_null(-1).to_numpy())
    node = np.concatenate(nodes) if nodes else np.empty(0, np.int64)
    label = np.concatenate(labels) if labels else np.empty(0, np.int64)
    order = np.argsort(node, kind="stable")
    node, label = node[order], label[order]
    columns = {"node": node, "label": label}
    return {
        "labels_slices": write_by_receiver(attempt.path("labels", BATCHES), receivers_of(node, todo["starts"]), columns)
    }


def join_labels(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: bring labels into node order, and name each by the least node that has it."""
    todo = payload
    nodes, starts = todo["nodes"], todo["starts"]
    least_with = _Scratch(attempt, nodes).vector("seen", np.int32, -1)
    with VectorWriter(attempt.path("least", "npy"), np.int32, nodes) as writer:
        for number, first in enumerate(starts):
            stop = starts[number + 1] if number + 1 < len(starts) else nodes
            node, label = read_columns(todo["slices"][number], (np.int64, np.int64))
            order = np.argsort(node, kind="stable")
            node, label = node[order], label[order]
            # A node without an answer is its own: GraphFrames gives null to those its messages never reach.
            label = np.where(label < 0, node, label)
            if not np.array_equal(node, np.arange(first, stop)) or label.max(initial=0) >= nodes:
                raise PartitionError(
                    f"labels of the nodes {first:,} to {stop - 1:,} were expected once each and below {nodes:,}, but "
                    f"GraphFrames answered with {node.size:,} rows; set partition.top_seed = 'own', and leave "
                    "partition.graphframes_jar and GRAPHFRAMES_JAR unset"
                )
            unseen = least_with[label] < 0
            # Written backwards, so that of several nodes the least is written last.
            least_with[label[unseen][::-1]] = node[unseen][::-1]
            writer.append(least_with[label])
    return {}
