"""Connected components of a graph in blocks, and the clusters to start from: small components packed together.

A component's number is that of its least node, as with GraphFrames. Every round, the task of a block links the
labels that its edges connect to the least of them, and one pass in ascending order resolves all links: chains
of any length take a single pass. The next round finds the links that were lost because a label had several.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.sent_rows import FileBatch, SentRows, batches_for, read_columns, write_by_receiver
from pipeline.errors import PartitionError
from pipeline.kernels.component_links import least_links, pack_small, resolve_links, split_large
from pipeline.locations import Location
from pipeline.partitioning.wide.node_blocks import BlockGraph, NodeBlockFiles
from pipeline.partitioning.wide.propagation import NodeLabels
from pipeline.partitioning.wide.vectors import (
    CHUNK_ROWS,
    VectorWriter,
    map_vector,
    ranges,
    read_range,
    receivers_of,
)
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder


def find_components(tasks: TaskFolder, graph: BlockGraph) -> Location:
    """Return a vector of the component of every node."""
    component = tasks.run(start_components, "start", StartPayload(graph.nodes)).file("component")
    starts, number = graph.starts, 0
    while True:
        level = tasks.below(f"round-{number}")
        records = level.run_each(link_block, "link", [LinkPayload(block, component, starts) for block in graph.blocks])
        if not any(record.rows("links") for record in records):
            return component
        batches = tuple(batches_for(i, records, "links") for i in range(len(starts)))
        payload = ResolvePayload(component, graph.nodes, starts, batches)
        component, number = level.run(resolve_components, "resolve", payload).file("component"), number + 1


@dataclass(frozen=True)
class StartPayload:
    nodes: int


def start_components(payload: StartPayload, attempt: Attempt) -> None:
    """Task: make every node its own component."""
    with VectorWriter(attempt.path("component", "npy"), np.int32, payload.nodes) as writer:
        for first, stop in ranges(payload.nodes):
            writer.append(np.arange(first, stop, dtype=np.int32))


@dataclass(frozen=True)
class LinkPayload:
    block: NodeBlockFiles
    component: Location
    starts: tuple[int, ...]  # of the ranges that links are sent to


def link_block(payload: LinkPayload, attempt: Attempt) -> SentRows:
    """Task: link the components that the edges of a block connect."""
    block = payload.block.map()
    component = map_vector(payload.component)
    node = block.node_of_entries()
    once = block.neighbor < node  # the other entry of an edge says nothing new
    left, right = component[node[once]], component[block.neighbor[once]]
    del node, once
    label, least = least_links(left, right, component.size)
    receiver = receivers_of(label, payload.starts)
    slices = write_by_receiver(attempt.path("links", BATCHES), receiver, {"label": label, "least": least})
    return SentRows({"links": slices})


@dataclass(frozen=True)
class ResolvePayload:
    component: Location
    nodes: int
    starts: tuple[int, ...]
    batches: tuple[tuple[FileBatch, ...], ...]  # links, by range of starts


def resolve_components(payload: ResolvePayload, attempt: Attempt) -> None:
    """Task: follow all links to their ends, range by range, and relabel the nodes."""
    nodes, starts = payload.nodes, payload.starts
    root_file = attempt.path("root", "npy")
    with VectorWriter(root_file, np.int32, nodes) as writer:
        for first, stop, batches in zip(starts, (*starts[1:], nodes), payload.batches, strict=True):
            label, least = read_columns(batches, (np.int32, np.int32))
            lower = map_vector(root_file)[:first] if first else np.empty(0, np.int32)
            writer.append(resolve_links(first, label, least, lower, stop - first))
    root = map_vector(root_file)
    with VectorWriter(attempt.path("component", "npy"), np.int32, nodes) as writer:
        for first, stop in ranges(nodes):
            writer.append(root[read_range(payload.component, first, stop)])


@dataclass(frozen=True)
class PackPayload:
    """Input of the task that packs components.

    ``seeds`` is a vector of labels in 0 <= label < nodes that nodes of components over ``max_volume`` start with.
    """

    nodes: int
    rows: tuple[Location, ...]
    component: Location
    max_volume: int
    seeds: Location | None


def first_clusters(
    tasks: TaskFolder, graph: BlockGraph, component: Location, max_volume: int, seeds: Location | None = None
) -> NodeLabels:
    """Pack the components up to ``max_volume`` together, up to that volume; every other node is for itself.

    ``seeds``: vector of labels that these other nodes start with instead, split where they have more than
    ``max_volume``.
    """
    record = tasks.run(pack_components, "pack", PackPayload(graph.nodes, graph.rows, component, max_volume, seeds))
    return NodeLabels(record.file("labels"), record.file("load"), graph.nodes)


def pack_components(payload: PackPayload, attempt: Attempt) -> None:
    """Task: label every node by the bin of its component, or by itself or its seed where this is large."""
    nodes, max_volume = payload.nodes, payload.max_volume
    scratch = _Scratch(attempt, nodes)
    total, bins = scratch.vector("total", np.int64, 0), scratch.vector("bins", np.int32, -1)
    for first, stop, volume in _volumes(payload.rows):
        np.add.at(total, read_range(payload.component, first, stop), volume)
    state = np.array([-1, 0], np.int64)
    for first, stop in ranges(nodes):
        pack_small(read_range(payload.component, first, stop), total, first, max_volume, bins, state)
    load = total  # used up by now, and of the same shape
    load[:] = 0
    if payload.seeds:
        current, volumes = scratch.vector("current", np.int32, -1), scratch.vector("filled", np.int64, 0)
    with VectorWriter(attempt.path("labels", "npy"), np.int32, nodes) as writer:
        for first, stop, volume in _volumes(payload.rows):
            component = read_range(payload.component, first, stop)
            own = np.arange(first, stop, dtype=np.int32)
            if payload.seeds:
                # A node of a packed component must not name a bin of its seed: that name is one of packed ones.
                seed = np.where(bins[component] >= 0, np.int32(-1), read_range(payload.seeds, first, stop))
                split_large(seed, volume, first, max_volume, current, volumes, own)
            label = np.where(bins[component] >= 0, bins[component], own)
            np.add.at(load, label, volume)
            writer.append(label)
    with VectorWriter(attempt.path("load", "npy"), np.int64, nodes) as writer:
        for first, stop in ranges(nodes):
            writer.append(load[first:stop])


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


def _volumes(rows: Sequence[Location]) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yield (first, stop, volumes) of consecutive ranges of nodes."""
    first = 0
    for file in rows:
        volume = storage.column(storage.map_arrow(file), "volume")
        for start, stop in ranges(volume.size):
            yield first + start, first + stop, volume[start:stop]
        first += volume.size


def from_tables(tasks: TaskFolder, files: Sequence[Location], column: str, graph: BlockGraph) -> Location:
    """Return a vector of labels from Parquet files with the columns ``id`` and ``column``, one row a node.

    Labels are node numbers. Each is replaced by the least node that has it, so that the choice among these nodes
    does not matter.

    Raises
    ------
    PartitionError : if a node is missing or there twice, or a label is no node.
    """
    starts = graph.starts
    records = tasks.run_each(send_labels, "send", [SendLabelsPayload(file, column, starts) for file in files])
    batches = tuple(batches_for(i, records, "labels") for i in range(len(starts)))
    return tasks.run(join_labels, "join", JoinLabelsPayload(graph.nodes, starts, batches)).file("least")


@dataclass(frozen=True)
class SendLabelsPayload:
    file: Location
    column: str
    starts: tuple[int, ...]  # of the ranges that labels are sent to


def send_labels(payload: SendLabelsPayload, attempt: Attempt) -> SentRows:
    """Task: sort the labels in a file by the ranges of their nodes."""
    nodes, labels = [], []
    with storage.open_parquet(payload.file) as parquet:
        for batch in parquet.iter_batches(batch_size=CHUNK_ROWS, columns=["id", payload.column], use_threads=False):
            nodes.append(batch.column("id").to_numpy())
            labels.append(batch.column(payload.column).fill_null(-1).to_numpy())
    node = np.concatenate(nodes) if nodes else np.empty(0, np.int64)
    label = np.concatenate(labels) if labels else np.empty(0, np.int64)
    receiver = receivers_of(node, payload.starts)
    slices = write_by_receiver(attempt.path("labels", BATCHES), receiver, {"node": node, "label": label})
    return SentRows({"labels": slices})


@dataclass(frozen=True)
class JoinLabelsPayload:
    nodes: int
    starts: tuple[int, ...]
    batches: tuple[tuple[FileBatch, ...], ...]  # by range of starts


def join_labels(payload: JoinLabelsPayload, attempt: Attempt) -> None:
    """Task: bring labels into node order, and name each by the least node that has it."""
    nodes, starts = payload.nodes, payload.starts
    least_with = _Scratch(attempt, nodes).vector("seen", np.int32, -1)
    with VectorWriter(attempt.path("least", "npy"), np.int32, nodes) as writer:
        for first, stop, batches in zip(starts, (*starts[1:], nodes), payload.batches, strict=True):
            node, label = read_columns(batches, (np.int64, np.int64))
            order = np.argsort(node, kind="stable")
            node, label = node[order], label[order]
            # A node without an answer is its own: GraphFrames gives null to those its messages never reach.
            label = np.where(label < 0, node, label)
            if not np.array_equal(node, np.arange(first, stop)) or label.max(initial=0) >= nodes:
                raise PartitionError(
                    f"labels of the nodes {first:,} to {stop - 1:,} were expected once each and below {nodes:,}, but "
                    f"GraphFrames answered with {node.size:,} rows; set partition.components and "
                    "partition.top_seed to 'own'"
                )
            unseen = least_with[label] < 0
            # Written backwards, so that of several nodes the least is written last.
            least_with[label[unseen][::-1]] = node[unseen][::-1]
            writer.append(least_with[label])
