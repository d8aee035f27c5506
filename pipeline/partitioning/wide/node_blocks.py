"""The graph in ranges of nodes with their adjacency, each small enough for a task: made once by an exchange.

What all tasks look up at random (labels, roles) lies in vectors over all nodes; what a task passes over lies in
its block. Ranges depend on degrees and on the memory bound alone, never on workers or on files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import NodeArrays, read_slice, write_slices
from pipeline.blocks.edge_files import slices_for
from pipeline.errors import PartitionError
from pipeline.kernels.array_types import read_only
from pipeline.kernels.node_moves import NodeBlock
from pipeline.partitioning.pieces import MAX_ROWS, Role
from pipeline.partitioning.wide import vectors
from pipeline.partitioning.wide.node_roles import Source, find_roles, sums_of_rows
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, ranges, receivers_of
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing

#: Bytes that a task may need for an entry of its block, a node of its range, and an edge it sends on. Measured at
#: 50 M edges: contraction takes 62 an entry, all else less than 45.
_ENTRY_BYTES, _ROW_BYTES, _EDGE_BYTES = 72, 160, 160

_ENDS = pa.schema({"node": pa.int32(), "neighbor": pa.int32()})
_ROWS = pa.schema({"entries": pa.int32(), "volume": pa.int64(), "node_key": pa.int64()})


@dataclass(frozen=True)
class Graph:
    """A graph in blocks, as files; small enough for the driver and for the payload of a task."""

    nodes: int
    entries: int  # each edge twice
    volume: int
    starts: tuple[int, ...]  # first node of every block
    rows: tuple[str, ...]  # per block: entries, volume and node_key of each row
    ends: tuple[str, ...]  # per block: neighbour, and weight where edges have one
    role: str | None  # vector of roles; None: no edges between shared nodes are left
    largest: int = 0  # edges of the largest node that is not split
    degree: str = ""  # vectors of what a graph of the tables' own nodes has
    node_key: str = ""

    @property
    def stops(self) -> tuple[int, ...]:
        """Node after the last one of every block."""
        return (*self.starts[1:], self.nodes)

    def block(self, number: int) -> dict[str, Any]:
        """Return what a task needs to open a block, as JSON values."""
        return {
            "first": self.starts[number],
            "rows": self.rows[number],
            "ends": self.ends[number],
            "role": self.role,
        }


def map_block(place: Mapping[str, Any]) -> NodeBlock:
    """Map the files that :meth:`Graph.block` names."""
    rows, ends = storage.map_arrow(Path(place["rows"])), storage.map_arrow(Path(place["ends"]))
    indptr = np.zeros(rows.num_rows + 1, np.int64)
    np.cumsum(storage.column(rows, "entries"), out=indptr[1:])
    has_weight = "weight" in ends.column_names
    block = NodeBlock(
        place["first"],
        indptr,
        storage.column(ends, "neighbor"),
        storage.column(ends, "weight") if has_weight else np.empty(0, np.int64),
        storage.column(rows, "volume"),
        storage.column(rows, "node_key").view(np.uint64),
        map_vector(place["role"]) if place["role"] else np.empty(0, np.int8),
    )
    return read_only(block)


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


def make_blocks(
    runner: TaskRunner, source: Source, worker_bytes: int, place: Path
) -> tuple[Graph, list[TaskRecord[Any]]]:
    """Bring the edges of every range of nodes together.

    Raises
    ------
    PartitionError : if there are more nodes than numbers for them, or the edges of one node exceed the bound.
    """
    if source.nodes > MAX_ROWS:
        raise PartitionError(
            f"the graph has {source.nodes:,} nodes, and at most {MAX_ROWS:,} can be cut; shorten "
            "input.window_days, or set partition.method = 'none' if one block of them fits a worker"
        )
    payload = {"arrays": list(source.arrays), "worker_bytes": worker_bytes}
    (ranged,) = run_missing(runner, find_ranges, [Task("ranges", place, payload)])
    starts = ranged.result["starts"]
    rows = max(1, worker_bytes // _EDGE_BYTES)
    scattered = run_missing(
        runner,
        scatter_ends,
        [
            Task(
                f"scatter-{file_number:05d}-{number:05d}",
                place,
                {"file": file, "first": first, "stop": stop, "starts": starts},
            )
            for file_number, file in enumerate(source.edges)
            for number, (first, stop) in enumerate(ranges(storage.rows_in([Path(file)]), rows))
        ],
    )
    stops = [*starts[1:], source.nodes]
    built = run_missing(
        runner,
        build_ends,
        [
            Task(
                f"build-{number:05d}",
                place,
                {"first": starts[number], "stop": stops[number], "slices": slices_for(number, scattered, "ends")},
            )
            for number in range(len(starts))
        ],
    )
    opened = [
        {
            "first": starts[number],
            "stop": stops[number],
            "ends": str(record.file("ends")),
            "counts": str(record.file("counts")),
            **{name: str(ranged.file(name)) for name in ("degree", "node_key")},
        }
        for number, record in enumerate(built)
    ]
    role, found = find_roles(runner, source, opened, place)
    weighed = run_missing(
        runner,
        weigh_rows,
        [Task(f"weigh-{number:05d}", place, {**block, "role": role}) for number, block in enumerate(opened)],
    )
    largest = max(record.result["largest"] for record in weighed)
    most = source.most_whole
    if source.shared is None and source.hub_degree is None and most is not None and largest > most > 0:
        # What fits no leaf has to be split, whatever it costs. All else is found made.
        graph, again = make_blocks(runner, replace(source, hub_degree=most), worker_bytes, place)
        return graph, [*found, *weighed, *again]
    graph = Graph(
        nodes=source.nodes,
        entries=sum(record.result["entries"] for record in built),
        volume=sum(record.result["volume"] for record in weighed),
        starts=tuple(starts),
        rows=tuple(str(record.file("rows")) for record in weighed),
        ends=tuple(str(record.file("ends")) for record in built),
        role=role,
        largest=largest,
        degree=str(ranged.file("degree")),
        node_key=str(ranged.file("node_key")),
    )
    return graph, [ranged, *scattered, *built, *found, *weighed]


def write_by_receiver(
    file: Path, receiver: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]
) -> dict[str, list[int]]:
    """Write rows as slices by receiver (ascending); see :func:`pipeline.blocks.write_slices`."""
    numbers = receiver[np.diff(receiver, prepend=-1) > 0]
    bounds = [*np.searchsorted(receiver, numbers).tolist(), receiver.size]
    arrays = {name: pa.array(values) for name, values in columns.items()}
    schema = pa.schema([(name, values.type) for name, values in arrays.items()])
    whole = pa.record_batch(list(arrays.values()), schema=schema)
    slices = {
        int(number): whole.slice(bounds[i], bounds[i + 1] - bounds[i]) for i, number in enumerate(numbers.tolist())
    }
    return write_slices(file, schema, slices)


def read_columns(slices: Sequence[Sequence[Any]], dtypes: Sequence[Any]) -> list[NDArray[Any]]:
    """Return the columns of slices, one after the other; ``dtypes`` are those of no slices at all."""
    batches = [read_slice(Path(file), number) for file, number in slices]
    if not batches:
        return [np.empty(0, dtype) for dtype in dtypes]
    return [
        np.concatenate([batch.column(i).to_numpy(zero_copy_only=False) for batch in batches])
        for i in range(batches[0].num_columns)
    ]


def find_ranges(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: bring degrees and keys into a vector each, and cut the nodes into ranges that a task can hold."""
    files = [Path(file) for file in payload["arrays"]]
    worker_bytes = payload["worker_bytes"]
    nodes = NodeArrays(files).nodes
    cost, starts, first = 0, [0], 0
    with (
        VectorWriter(attempt.path("degree", "npy"), np.int64, nodes) as degrees,
        VectorWriter(attempt.path("node_key", "npy"), np.int64, nodes) as keys,
    ):
        for file in files:
            table = storage.map_arrow(file)
            for start, stop in ranges(table.num_rows):
                chunk = table.slice(start, stop - start)
                degree = storage.column(chunk, "degree")
                degrees.append(degree)
                keys.append(storage.column(chunk, "node_key"))
                _refuse_too_large(degree, worker_bytes)
                cost = _open_ranges(starts, first, cost, np.cumsum(degree * _ENTRY_BYTES + _ROW_BYTES), worker_bytes)
                first += degree.size
    return {"starts": starts}


def _open_ranges(starts: list[int], first: int, cost: int, total: NDArray[np.int64], worker_bytes: int) -> int:
    """Open a range wherever the last one is full; return what the last one holds. ``total`` is summed up."""
    done, before = 0, 0
    while True:
        row = int(np.searchsorted(total, worker_bytes - cost + before, side="right"))
        row = max(row, done + (cost == 0))  # a row that is too large by itself is alone
        if row >= total.size:
            return cost + int(total[-1]) - before
        starts.append(first + row)
        done, before, cost = row, int(total[row - 1]), 0


def _refuse_too_large(degree: NDArray[np.int64], worker_bytes: int) -> None:
    most = int(degree.max(initial=0))
    if most * _ENTRY_BYTES > worker_bytes:
        raise PartitionError(
            f"one node has {most:,} edges, which take a task {most * _ENTRY_BYTES:,} bytes; partition.worker_bytes is "
            f"{worker_bytes:,}: raise it above that, or shorten input.window_days"
        )


def scatter_ends(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: sort both ends of some edges of a file by the ranges they lie in."""
    todo = payload
    src, dst = _read_rows(Path(todo["file"]), todo["first"], todo["stop"])
    is_edge = src != dst  # a self loop is one entry
    node = np.concatenate([src, dst[is_edge]])
    neighbor = np.concatenate([dst, src[is_edge]])
    del src, dst
    receiver = receivers_of(node, todo["starts"]).astype(np.int32)
    order = np.argsort(receiver, kind="stable")
    columns = {"node": node[order], "neighbor": neighbor[order]}
    del node, neighbor
    return {"ends_slices": write_by_receiver(attempt.path("ends", BATCHES), receiver[order].astype(np.int64), columns)}


def _read_rows(file: Path, first: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Read a range of rows of ``indexed_edges``, a column and a batch at a time."""
    ends = []
    for name in ("src_ix", "dst_ix"):
        column = np.empty(stop - first, np.int32)
        for at, values in _batches(file, name, first, stop):
            column[at - first : at - first + values.size] = values
        ends.append(column)
    return ends[0], ends[1]


def _batches(file: Path, name: str, first: int, stop: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    with pq.ParquetFile(file, memory_map=True) as parquet:
        at = 0
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if at < stop and first < at + rows:
                start = at
                for batch in parquet.iter_batches(
                    batch_size=vectors.CHUNK_ROWS, row_groups=[group], columns=[name], use_threads=False
                ):
                    here, there = max(first, start), min(stop, start + batch.num_rows)
                    if here < there:
                        yield here, batch.column(0).to_numpy()[here - start : there - start]
                    start += batch.num_rows
                    if start >= stop:
                        break
            at += rows


def build_ends(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: turn what was sent to a range into adjacency."""
    todo = payload
    first, stop = todo["first"], todo["stop"]
    entries = sum(_slice_rows(todo["slices"]))
    words = np.empty(entries, np.int64)
    at = 0
    for file, number in todo["slices"]:
        batch = read_slice(Path(file), number)
        node, neighbor = (batch.column(i).to_numpy() for i in (0, 1))
        words[at : at + node.size] = (node.astype(np.int64) - first) << 32 | neighbor
        at += node.size
    words.sort()
    counts = np.bincount(words >> 32, minlength=stop - first)
    neighbor = (words & 0xFFFFFFFF).astype(np.int32)
    del words
    write_ends(attempt.path("ends", "arrow"), neighbor, None)
    vectors.write_vector(attempt.path("counts", "npy"), counts.astype(np.int32))
    return {"entries": entries}


def _slice_rows(slices: Sequence[Sequence[Any]]) -> Iterator[int]:
    for file, number in slices:
        yield read_slice(Path(file), number).num_rows


def weigh_rows(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: find what every node brings to its part; see :meth:`pipeline.partitioning.pieces.Piece.cut_graph`."""
    todo = payload
    first, stop = todo["first"], todo["stop"]
    counts = map_vector(todo["counts"]).astype(np.int64)
    role = map_vector(todo["role"])
    neighbor = storage.column(storage.map_arrow(Path(todo["ends"])), "neighbor")
    around = sums_of_rows(role[neighbor] == Role.SHARED, counts)
    is_whole = role[first:stop] == Role.WHOLE
    degree = vectors.read_range(todo["degree"], first, stop)
    volume = np.where(is_whole, degree + around, 0)
    write_rows(
        attempt.path("rows", "arrow"), counts, volume, vectors.read_range(todo["node_key"], first, stop).view(np.uint64)
    )
    return {"volume": int(volume.sum()), "largest": int(np.max(degree, where=is_whole, initial=0))}
