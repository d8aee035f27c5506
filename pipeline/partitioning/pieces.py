"""A piece of the graph on its way down the tree, and how it falls apart into children.

The nodes of a piece have one of three roles. WHOLE nodes are what is cut: each goes to one child, with all
its edges. SHARED nodes are split if their edges end up in several parts: items, or the hubs of a plain graph.
OUTSIDE nodes are whole in another piece, and stand here only because a whole node of this one is their
neighbour. Every edge of a piece has a WHOLE end; edges between two SHARED nodes wait until homes are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import PartitionError
from pipeline.kernels.edge_cut import (
    add_shared_neighbors,
    compact_rows,
    count_edges_by_child,
    edges_by_child,
)
from pipeline.locations import Location
from pipeline.tasks import TaskRecord

#: Local rows are int32, and sums of edge weights in a task too.
MAX_ROWS = 2**31 - 1
MAX_EDGES = 2**30

_NODES = pa.schema({"node_ix": pa.int64(), "role": pa.int8()})
_EDGES = pa.schema({"left": pa.int32(), "right": pa.int32()})


class Role(IntEnum):
    """What a row is to its piece."""

    WHOLE = 0
    SHARED = 1
    OUTSIDE = 2


@dataclass(frozen=True)
class CutGraph:
    """What a partitioner sees. Nodes of volume 0 need no label, but show which others belong together."""

    left: NDArray[np.int32]  # (edges,) rows, each edge once
    right: NDArray[np.int32]
    volume: NDArray[np.int64]  # (rows,) what a row brings to its part; 0: it is not cut
    node_key: NDArray[np.uint64]  # (rows,)


@dataclass(frozen=True)
class GraphPiece:
    """A piece as arrays: local rows ascending by node_ix, edges as pairs of rows, each edge once."""

    node_ix: NDArray[np.int64]  # (rows,)
    role: NDArray[np.int8]  # (rows,) Role
    left: NDArray[np.int32]  # (edges,)
    right: NDArray[np.int32]

    def write(self, nodes: Path, edges: Path) -> None:
        """Write the two files of a piece."""
        columns = [pa.array(self.node_ix), pa.array(self.role)]
        storage.write_arrow(nodes, pa.Table.from_arrays(columns, schema=_NODES))
        write_pairs(edges, self.left, self.right)

    def cut_graph(self, degree: NDArray[np.int64], node_key: NDArray[np.uint64]) -> CutGraph:
        """Return what a partitioner needs; ``degree`` and ``node_key`` are those of the piece's rows.

        The volume of a whole node is the number of edge ends it brings to its part: its own neighbours, and
        itself as a neighbour of shared nodes. So balanced volumes are balanced work.
        """
        volume = np.where(self.role == Role.WHOLE, degree, 0)
        add_shared_neighbors(self.left, self.right, self.role, volume)
        if not (self.role == Role.OUTSIDE).any():
            return CutGraph(self.left, self.right, volume, node_key)
        inside = (self.role[self.left] != Role.OUTSIDE) & (self.role[self.right] != Role.OUTSIDE)
        return CutGraph(self.left[inside], self.right[inside], volume, node_key)

    def children(self, labels: NDArray[np.int32], parts: int) -> Iterator[GraphPiece]:
        """Cut the piece; yield ``parts`` children in label order, those without edges too.

        ``labels`` (rows,) int32; only those of WHOLE rows count.
        """
        starts = np.zeros(parts + 1, np.int64)
        count_edges_by_child(self.left, self.right, self.role, labels, starts)
        np.cumsum(starts, out=starts)
        edge = np.empty(starts[-1], np.int32)
        edges_by_child(self.left, self.right, self.role, labels, starts, edge)
        row_of = np.full(self.node_ix.size, -1, np.int32)  # used up and restored by each child
        for child in range(parts):
            entries = edge[starts[child] : starts[child + 1]]
            left, right = self.left[entries], self.right[entries]
            rows = compact_rows(left, right, row_of)
            role = self.role[rows]
            role[(role == Role.WHOLE) & (labels[rows] != child)] = Role.OUTSIDE
            yield GraphPiece(self.node_ix[rows], role, left, right)


@dataclass(frozen=True)
class PieceFiles:
    """Files of a piece: its rows, and its edges as pairs of rows."""

    nodes: Location
    pairs: Location

    @classmethod
    def of(cls, record: TaskRecord[Any], number: str = "") -> PieceFiles:
        """Return the files that a task wrote; ``number`` ends the names of their roles."""
        return cls(record.file(f"nodes{number}"), record.file(f"pairs{number}"))

    def map(self) -> GraphPiece:
        """Map the piece."""
        table = storage.map_arrow(self.nodes)
        return GraphPiece(storage.column(table, "node_ix"), storage.column(table, "role"), *read_pairs(self.pairs))


@dataclass(frozen=True)
class PieceSize:
    """How large a piece is."""

    rows: int
    edges: int


def read_edges(files: Sequence[Location]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Read the ends of all edges of ``indexed_edges`` as int32.

    Raises
    ------
    PartitionError : if there are more edges than one task can cut.
    """
    edges = storage.rows_in(files)
    if edges > MAX_EDGES:
        raise PartitionError(
            f"the graph has {edges:,} edges, and one task cuts at most {MAX_EDGES:,}; shorten "
            "input.window_days, or set partition.method = 'none' if one block of them fits a worker"
        )
    return read_edge_rows(files, 0, edges)


def read_edge_rows(files: Sequence[Location], first: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Read the ends of edges ``first`` to ``stop``, counted through the files, column by column and batch by batch."""
    ends = []
    for name in ("src_ix", "dst_ix"):
        column = np.empty(stop - first, np.int32)
        for row, values in _batches(files, name, first, stop):
            column[row - first : row - first + values.size] = values
        ends.append(column)
    return ends[0], ends[1]


def _batches(files: Sequence[Location], name: str, first: int, stop: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    row = 0
    for file in files:
        with storage.open_parquet(file) as parquet:
            for group in range(parquet.num_row_groups):
                end = row + parquet.metadata.row_group(group).num_rows
                if first < end:
                    for batch in parquet.iter_batches(row_groups=[group], columns=[name], use_threads=False):
                        yield max(row, first), batch.column(0).to_numpy()[max(first - row, 0) : stop - row]
                        row += batch.num_rows
                        if row >= stop:
                            return
                row = end


def write_pairs(file: Path, left: NDArray[np.int32], right: NDArray[np.int32]) -> None:
    """Write edges as pairs of rows."""
    storage.write_arrow(file, pa.Table.from_arrays([pa.array(left), pa.array(right)], schema=_EDGES))


def read_pairs(file: Location) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Map what :func:`write_pairs` wrote."""
    table = storage.map_arrow(file)
    return storage.column(table, "left"), storage.column(table, "right")
