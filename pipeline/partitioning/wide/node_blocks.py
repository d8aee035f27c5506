"""The graph in ranges of nodes with their adjacency, each small enough for a task: built once by an exchange.

What all tasks look up at random (labels, roles) lies in vectors over all nodes; what a task passes over lies in
its block. Ranges depend on degrees and on the memory bound alone, never on workers or on files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import NodeArrays, offsets_of
from pipeline.blocks.sent_rows import FileBatch, SentRows, batches_for, write_by_receiver
from pipeline.errors import PartitionError
from pipeline.kernels.array_types import read_only
from pipeline.kernels.node_moves import NodeBlock
from pipeline.locations import Location
from pipeline.partitioning.cutting import CutOptions, IndexTables
from pipeline.partitioning.pieces import MAX_ROWS, Role, read_edge_rows
from pipeline.partitioning.wide import vectors
from pipeline.partitioning.wide.node_roles import RangeFiles, find_roles, sums_of_rows
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, ranges, receivers_of
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder

#: Bytes that a task may need for an entry of its block, a node of its range, and an edge it sends on. Measured at
#: 50 M edges: contraction takes 62 an entry, all else less than 45.
_ENTRY_BYTES, _ROW_BYTES, _EDGE_BYTES = 72, 160, 160

_ROWS = pa.schema({"entries": pa.int32(), "volume": pa.int64(), "node_key": pa.int64()})


@dataclass(frozen=True)
class NodeBlockFiles:
    """Files of one block of a graph."""

    first: int  # node of the first row
    rows: Location  # entries, volume and node_key of each row
    ends: Location  # neighbour of each entry, and weight where edges have one
    role: Location | None  # vector of roles; None: no edges between shared nodes are left

    def map(self) -> NodeBlock:
        """Map the files."""
        rows, ends = storage.map_arrow(self.rows), storage.map_arrow(self.ends)
        has_weight = "weight" in ends.column_names
        block = NodeBlock(
            self.first,
            offsets_of(storage.column(rows, "entries")),
            storage.column(ends, "neighbor"),
            storage.column(ends, "weight") if has_weight else np.empty(0, np.int64),
            storage.column(rows, "volume"),
            storage.column(rows, "node_key").view(np.uint64),
            map_vector(self.role) if self.role else np.empty(0, np.int8),
        )
        return read_only(block)


@dataclass(frozen=True)
class BlockGraph:
    """A graph in blocks, as files; small enough for the driver and for the payload of a task."""

    nodes: int
    entries: int  # each edge twice
    volume: int
    blocks: tuple[NodeBlockFiles, ...]
    largest: int = 0  # edges of the largest node that is not split

    @property
    def starts(self) -> tuple[int, ...]:
        """First node of every block."""
        return tuple(block.first for block in self.blocks)

    @property
    def rows(self) -> tuple[Location, ...]:
        """Files of the rows of every block."""
        return tuple(block.rows for block in self.blocks)

    @property
    def role(self) -> Location | None:
        """Vector of roles."""
        return self.blocks[0].role


def write_rows(file: Path, entries: NDArray[np.int64], volume: NDArray[np.int64], node_key: NDArray[np.uint64]) -> None:
    """Write the rows of a block."""
    columns = [pa.array(entries.astype(np.int32)), pa.array(volume), pa.array(node_key.view(np.int64))]
    storage.write_arrow(file, pa.Table.from_arrays(columns, schema=_ROWS))


def write_ends(file: Path, neighbor: NDArray[np.int32], edge_weight: NDArray[np.int64] | None) -> None:
    """Write the entries of a block."""
    columns = {"neighbor": pa.array(neighbor)} | ({} if edge_weight is None else {"weight": pa.array(edge_weight)})
    storage.write_arrow(file, pa.table(columns))


def entries_a_block(worker_bytes: int) -> int:
    """Return how many entries a block may have."""
    return max(1, worker_bytes // _ENTRY_BYTES)


def blocks_of_cut(nodes: int, edges: int, worker_bytes: int) -> int:
    """Return about how many blocks a graph is in."""
    return max(1, math.ceil((nodes * _ROW_BYTES + 2 * edges * _ENTRY_BYTES) / worker_bytes))


def build_blocks(tasks: TaskFolder, tables: IndexTables, options: CutOptions) -> tuple[BlockGraph, NodeVectors]:
    """Bring the edges of every range of nodes together; return the graph, and vectors of degrees and keys.

    Raises
    ------
    PartitionError : if there are more nodes than numbers for them, or the edges of one node exceed the bound.
    """
    if tables.nodes > MAX_ROWS:
        raise PartitionError(
            f"the graph has {tables.nodes:,} nodes, and at most {MAX_ROWS:,} can be cut; shorten "
            "input.window_days, or set partition.method = 'none' if one block of them fits a worker"
        )
    range_record = tasks.run(find_ranges, "ranges", RangesPayload(tables.arrays, options.worker_bytes))
    vectors = NodeVectors(range_record.file("degree"), range_record.file("node_key"))
    starts = range_record.result
    stops = (*starts[1:], tables.nodes)
    rows = max(1, options.worker_bytes // _EDGE_BYTES)
    end_records = tasks.run_each(
        scatter_ends,
        "scatter",
        [
            ScatterEndsPayload(file, first, stop, starts)
            for file in tables.edges
            for first, stop in ranges(storage.rows_in([file]), rows)
        ],
    )
    records = tasks.run_each(
        build_ends,
        "build",
        [
            BuildEndsPayload(first, stop, batches_for(number, end_records, "ends"))
            for number, (first, stop) in enumerate(zip(starts, stops, strict=True))
        ],
    )
    node_ranges = [
        RangeFiles(first, stop, record.file("ends"), record.file("counts"), vectors.degree)
        for first, stop, record in zip(starts, stops, records, strict=True)
    ]
    leaves, hub_degree = options.leaves(tables), options.hub_degree
    role = find_roles(tasks, tables, node_ranges, hub_degree, leaves)
    graph = _weigh(tasks, tables.nodes, node_ranges, vectors.node_key, role)
    most = options.bounds.most_whole()
    if tables.shared_range is None and hub_degree is None and options.parts is None and graph.largest > most > 0:
        # What fits no leaf has to be split, whatever it costs.
        role = find_roles(tasks, tables, node_ranges, most, leaves)
        graph = _weigh(tasks, tables.nodes, node_ranges, vectors.node_key, role)
    return replace(graph, entries=sum(record.rows("ends") for record in records)), vectors


def _weigh(
    tasks: TaskFolder, nodes: int, node_ranges: Sequence[RangeFiles], node_key: Location, role: Location
) -> BlockGraph:
    """Find the volumes of nodes by their roles; the entries are counted by the caller."""
    records = tasks.run_each(weigh_rows, "weigh", [WeighPayload(files, role, node_key) for files in node_ranges])
    return BlockGraph(
        nodes=nodes,
        entries=0,
        volume=sum(record.result.volume for record in records),
        blocks=tuple(
            NodeBlockFiles(files.first, record.file("rows"), files.ends, role)
            for files, record in zip(node_ranges, records, strict=True)
        ),
        largest=max(record.result.largest for record in records),
    )


@dataclass(frozen=True)
class NodeVectors:
    """Vectors over all nodes of the tables."""

    degree: Location
    node_key: Location


@dataclass(frozen=True)
class RangesPayload:
    arrays: tuple[Location, ...]  # files of node_arrays
    worker_bytes: int


def find_ranges(payload: RangesPayload, attempt: Attempt) -> tuple[int, ...]:
    """Task: bring degrees and keys into a vector each, and return the first nodes of ranges that a task can hold."""
    worker_bytes = payload.worker_bytes
    nodes = NodeArrays(payload.arrays).nodes
    cost, starts, first = 0, [0], 0
    with (
        VectorWriter(attempt.path("degree", "npy"), np.int64, nodes) as degrees,
        VectorWriter(attempt.path("node_key", "npy"), np.int64, nodes) as keys,
    ):
        for file in payload.arrays:
            table = storage.map_arrow(file)
            for start, stop in ranges(table.num_rows):
                chunk = table.slice(start, stop - start)
                degree = storage.column(chunk, "degree")
                degrees.append(degree)
                keys.append(storage.column(chunk, "node_key"))
                _refuse_too_large(degree, worker_bytes)
                cost = open_ranges(starts, first, cost, np.cumsum(degree * _ENTRY_BYTES + _ROW_BYTES), worker_bytes)
                first += degree.size
    return tuple(starts)


def open_ranges(starts: list[int], first: int, cost: int, total: NDArray[np.int64], most: int) -> int:
    """Open a range wherever the last one holds ``most``; return what the last one holds. ``total`` is summed up."""
    last, before = 0, 0
    while True:
        row = int(np.searchsorted(total, most - cost + before, side="right"))
        row = max(row, last + (cost == 0))  # a row that is too large by itself is alone
        if row >= total.size:
            return cost + int(total[-1]) - before
        starts.append(first + row)
        last, before, cost = row, int(total[row - 1]), 0


def _refuse_too_large(degree: NDArray[np.int64], worker_bytes: int) -> None:
    most = int(degree.max(initial=0))
    if most * _ENTRY_BYTES > worker_bytes:
        raise PartitionError(
            f"one node has {most:,} edges, which take a task {most * _ENTRY_BYTES:,} bytes; partition.worker_bytes is "
            f"{worker_bytes:,}: raise it above that, or shorten input.window_days"
        )


@dataclass(frozen=True)
class ScatterEndsPayload:
    """Input of the task that sorts rows ``first`` to ``stop`` of a file of edges by range."""

    file: Location
    first: int
    stop: int
    starts: tuple[int, ...]


def scatter_ends(payload: ScatterEndsPayload, attempt: Attempt) -> SentRows:
    """Task: sort both ends of some edges of a file by the ranges they lie in."""
    src, dst = read_edge_rows([payload.file], payload.first, payload.stop)
    is_edge = src != dst  # a self loop is one entry
    node = np.concatenate([src, dst[is_edge]])
    neighbor = np.concatenate([dst, src[is_edge]])
    del src, dst
    receiver = receivers_of(node, payload.starts)
    slices = write_by_receiver(attempt.path("ends", BATCHES), receiver, {"node": node, "neighbor": neighbor})
    return SentRows({"ends": slices})


@dataclass(frozen=True)
class BuildEndsPayload:
    first: int
    stop: int
    batches: tuple[FileBatch, ...]


def build_ends(payload: BuildEndsPayload, attempt: Attempt) -> None:
    """Task: turn what was sent to a range into adjacency, each edge twice."""
    entries = sum(batch.read().num_rows for batch in payload.batches)
    words = np.empty(entries, np.int64)
    at = 0
    for batch in payload.batches:
        node, neighbor = (column.to_numpy() for column in batch.read().columns)
        words[at : at + node.size] = (node.astype(np.int64) - payload.first) << 32 | neighbor
        at += node.size
    words.sort()
    counts = np.bincount(words >> 32, minlength=payload.stop - payload.first)
    neighbor = (words & 0xFFFFFFFF).astype(np.int32)
    del words
    write_ends(attempt.path("ends", "arrow"), neighbor, None)
    np.save(attempt.path("counts", "npy"), counts.astype(np.int32))


@dataclass(frozen=True)
class WeighPayload:
    files: RangeFiles
    role: Location
    node_key: Location


@dataclass(frozen=True)
class WeighResult:
    """Volume of a block, and edges of its largest whole node."""

    volume: int
    largest: int


def weigh_rows(payload: WeighPayload, attempt: Attempt) -> WeighResult:
    """Task: compute what nodes bring to their parts; see :meth:`pipeline.partitioning.pieces.GraphPiece.cut_graph`."""
    files = payload.files
    counts = map_vector(files.counts).astype(np.int64)
    role = map_vector(payload.role)
    around = sums_of_rows(role[files.neighbors()] == Role.SHARED, counts)
    is_whole = role[files.first : files.stop] == Role.WHOLE
    degree, node_key = (
        vectors.read_range(vector, files.first, files.stop) for vector in (files.degree, payload.node_key)
    )
    volume = np.where(is_whole, degree + around, 0)
    write_rows(attempt.path("rows", "arrow"), counts, volume, node_key.view(np.uint64))
    return WeighResult(int(volume.sum()), int(np.max(degree, where=is_whole, initial=0)))
