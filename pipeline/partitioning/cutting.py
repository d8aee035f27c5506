"""The task that cuts a piece into children, and the bounds under which a piece is left whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeArrays
from pipeline.errors import PartitionError
from pipeline.partitioning import pieces
from pipeline.partitioning.homes import hubs_by_cost, splittable_hubs
from pipeline.partitioning.partitioners import PARTITIONERS
from pipeline.partitioning.pieces import GraphPiece, PieceFiles, PieceSize, Role
from pipeline.tasks import Attempt

#: Largest over mean volume that is worth a warning; also the room that counts of children leave.
IMBALANCE = 1.10

#: A part is cut into at most this many: few wide cuts find more structure than repeated halving.
_MOST_CHILDREN = 8
#: What a task holds of a row (its own, the sum, what arrives) and of an entry (neighbour, weight, room).
ROW_BUFFERS, _ENTRY_BYTES = 3, 12


@dataclass(frozen=True)
class Bounds:
    """What a leaf may hold."""

    max_edges: int | None
    max_bytes: int
    dim: int

    def bytes_of(self, rows: int, edges: int) -> int:
        """Bytes of rows and entries that a task holds for a leaf; every edge counts as two entries."""
        return rows * self.dim * 4 * ROW_BUFFERS + 2 * edges * _ENTRY_BYTES

    def excess(self, rows: int, edges: int) -> float:
        """How many times too large a leaf is: 1 or less if it fits."""
        by_edges = edges / self.max_edges if self.max_edges else 0.0
        return max(by_edges, self.bytes_of(rows, edges) / self.max_bytes)

    def most_whole(self) -> int:
        """Return the most edges of a node that fits a leaf with all of them and its neighbours."""
        row, edge = self.bytes_of(1, 0), self.bytes_of(0, 1)
        most = (self.max_bytes - row) // (row + edge)
        return min(most, self.max_edges) if self.max_edges else most

    def children(self, rows: int, edges: int) -> int:
        """How many children a piece that does not fit is cut into."""
        return min(_MOST_CHILDREN, max(2, math.ceil(IMBALANCE * self.excess(rows, edges))))


@dataclass(frozen=True)
class RootTables:
    """What the root's piece is made of."""

    edges: tuple[Path, ...]  # files of indexed_edges
    shared: tuple[int, int] | None  # node numbers of the type whose nodes are split
    hub_degree: int | None


@dataclass(frozen=True)
class PieceToCut:
    """Where a piece comes from, and into how many children it is cut."""

    source: RootTables | PieceFiles
    parts: int


@dataclass(frozen=True)
class CutPayload:
    """Input of the task that cuts a piece; ``arrays`` are files of node_arrays."""

    piece: PieceToCut
    method: str
    arrays: tuple[Path, ...]
    bounds: Bounds | None
    seed: int


@dataclass(frozen=True)
class CutResult:
    """Children with edges; the files of child i have the roles ``nodes<i>`` and ``pairs<i>``."""

    children: tuple[PieceSize, ...]


def cut_piece(payload: CutPayload, attempt: Attempt) -> CutResult:
    """Task: cut a piece and write its children, without those that got no edges.

    The root's task also writes the edges between two nodes that may be split.
    """
    source, parts = payload.piece.source, payload.piece.parts
    arrays = NodeArrays(payload.arrays)
    if isinstance(source, RootTables):
        piece = _root_piece(source, payload, arrays, attempt)
        degree, node_key = arrays.all("degree"), arrays.all("node_key")
        if payload.bounds:
            hub = int(np.max(degree, where=piece.role == Role.WHOLE, initial=0))
            refuse_indivisible(hub, piece.left.size, payload.bounds, source.shared is None)
    else:
        piece = source.map()
        degree, node_key = (arrays.take(name, piece.node_ix) for name in ("degree", "node_key"))
    graph = piece.cut_graph(degree, node_key.view(np.uint64))
    labels = PARTITIONERS[payload.method](graph, parts, payload.seed)
    children: list[PieceSize] = []
    for child in piece.children(labels, parts):
        if child.left.size:
            number = len(children)
            child.write(attempt.path(f"nodes{number}", "arrow"), attempt.path(f"pairs{number}", "arrow"))
            children.append(PieceSize(child.node_ix.size, child.left.size))
    return CutResult(tuple(children))


def _root_piece(tables: RootTables, payload: CutPayload, arrays: NodeArrays, attempt: Attempt) -> GraphPiece:
    """Read all edges; decide who may be split; write the edges between two of these, as node numbers."""
    if arrays.nodes > pieces.MAX_ROWS:
        raise PartitionError(
            f"the graph has {arrays.nodes:,} nodes, and one task cuts at most {pieces.MAX_ROWS:,}; shorten "
            "input.window_days, or set partition.method = 'none' if one block of them fits a worker"
        )
    left, right = pieces.read_edges(tables.edges)
    role = np.full(arrays.nodes, Role.WHOLE, np.int8)
    between = np.empty(0, np.int64)
    if tables.shared:
        # Sources are cut with all their edges, targets are split: of the two sides, that is the one with many
        # nodes of few edges each, in every interaction table we know.
        role[slice(*tables.shared)] = Role.SHARED
    else:
        role[_split_hubs(left, right, arrays.all("degree"), tables.hub_degree, payload)] = Role.SHARED
        between = np.flatnonzero((role[left] == Role.SHARED) & (role[right] == Role.SHARED))
    pieces.write_pairs(attempt.path("between", "arrow"), left[between], right[between])
    if between.size:
        left, right = np.delete(left, between), np.delete(right, between)
    return GraphPiece(np.arange(arrays.nodes, dtype=np.int64), role, left, right)


def _split_hubs(
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    degree: NDArray[np.int64],
    hub_degree: int | None,
    payload: CutPayload,
) -> NDArray[np.bool_]:
    """Return which nodes of a plain graph are split."""
    if hub_degree is not None:
        return splittable_hubs(left, right, degree > hub_degree)
    bounds = payload.bounds
    leaves = payload.piece.parts if bounds is None else math.ceil(bounds.excess(degree.size, left.size))
    is_hub = hubs_by_cost(left, right, degree, max(2, leaves))
    is_too_large = np.zeros(degree.size, np.bool_)
    if bounds is not None:  # what fits no leaf has to be split, whatever it costs
        sizes, size_of = np.unique(degree, return_inverse=True)
        is_too_large = np.array([bounds.excess(size + 1, size) > 1 for size in sizes.tolist()])[size_of]
    is_split = splittable_hubs(left, right, is_hub | is_too_large)
    if (is_too_large & ~is_split).any():  # for want of a neighbour that stays whole
        is_split = splittable_hubs(left, right, is_too_large)
    return is_split


def refuse_indivisible(hub: int, edges: int, bounds: Bounds, is_plain: bool) -> None:
    """Refuse a node that fits no leaf. All others do, alone if need be, so that cutting comes to an end.

    Parameters
    ----------
    hub : edges of the largest node that is not split.
    edges : of the whole graph.

    Raises
    ------
    PartitionError : naming the key to change.
    """
    if bounds.excess(hub + 1, hub) <= 1:
        return
    if bounds.max_edges and hub > bounds.max_edges:
        excess, key, way_out = f"{hub:,} edges", f"max_edges is {bounds.max_edges:,}", "raise it"
    else:
        excess = f"{bounds.bytes_of(hub + 1, hub):,} bytes of rows and entries"
        key, way_out = f"max_bytes is {bounds.max_bytes:,}", "raise it, or lower embedding.dim"
    if is_plain:
        way_out = f"set partition.hub_degree below {hub:,} so that the hub is split, or {way_out}"
    raise PartitionError(
        f"part 0 can't be cut into leaves that fit: it has {edges:,} edges, and the {hub:,} of its "
        f"largest hub stay together, which makes {excess}; partition.{key}: {way_out}"
    )
