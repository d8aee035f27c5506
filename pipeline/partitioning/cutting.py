"""The task that cuts a piece into children, and the bounds under which a piece is left whole."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeArrays, NodeParts
from pipeline.errors import PartitionError
from pipeline.locations import Location
from pipeline.partitioning import pieces
from pipeline.partitioning.homes import hubs_by_cost, splittable_hubs
from pipeline.partitioning.kept_labels import join_neighbors, keep_labels
from pipeline.partitioning.partitioners import PARTITIONERS
from pipeline.partitioning.pieces import GraphPiece, PieceFiles, PieceSize, Role
from pipeline.partitioning.tree import PartPath, TreeFigures
from pipeline.tasks import Attempt, TaskRecord

#: Largest over mean volume that is worth a warning; also the room that counts of children leave.
IMBALANCE = 1.10

#: A part is cut into at most this many: few wide cuts find more structure than repeated halving.
_MOST_CHILDREN = 8
#: What a task holds of a row (itself, the sum, what arrives), beside that (the node's columns, row starts, strengths,
#: noise scales), and of an entry (neighbour, weight): measured.
ROW_BUFFERS, ROW_BYTES, ENTRY_BYTES = 3, 80, 8


@dataclass(frozen=True)
class Bounds:
    """What a leaf may hold."""

    max_edges: int | None
    max_bytes: int
    columns: int  # of a row, that one task holds

    def bytes_of(self, rows: int, edges: int) -> int:
        """Bytes of rows and entries that a task holds for a leaf; every edge counts as two entries."""
        return rows * (ROW_BYTES + 4 * ROW_BUFFERS * self.columns) + 2 * edges * ENTRY_BYTES

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
class IndexTables:
    """The tables of a graph, and which of its nodes may be split."""

    arrays: tuple[Location, ...]  # files of node_arrays
    edges: tuple[Location, ...]  # files of indexed_edges
    nodes: int
    edge_count: int
    shared_range: tuple[int, int] | None  # numbers of the type whose nodes are split; None: a plain graph


@dataclass(frozen=True)
class CutOptions:
    """How to cut: into ``parts`` leaves at once, or into leaves under ``bounds``."""

    method: str
    parts: int | None
    bounds: Bounds
    hub_degree: int | None  # plain graphs: nodes with more neighbours are split; None: those that cost less so
    seed: int
    worker_bytes: int

    def fits_leaf(self, rows: int, edges: int) -> bool:
        """Whether a piece is not cut any further."""
        return self.parts is not None or self.bounds.excess(rows, edges) <= 1

    def leaves(self, tables: IndexTables) -> int:
        """Return how many leaves there will be, as far as one can tell."""
        return max(2, self.parts or math.ceil(self.bounds.excess(tables.nodes, tables.edge_count)))


@dataclass(frozen=True)
class GraphCut:
    """A cut of a whole graph: the leaves, the record of the table of homes (role ``parts``), and the figures."""

    paths: tuple[PartPath, ...]
    homes: TaskRecord[Any]
    figures: TreeFigures
    inversions: int
    empty_parts: int


@dataclass(frozen=True)
class PieceToCut:
    """Where a piece comes from, and into how many children it is cut."""

    source: IndexTables | PieceFiles
    parts: int


@dataclass(frozen=True)
class EarlierTree:
    """The tree that a night goes on with: its leaves by part_id, and files of the earlier night's nodes and homes."""

    leaves: tuple[tuple[int, PartPath], ...]  # ascending
    arrays: tuple[Location, ...]
    parts: Location

    def labels(self, node_key: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the leaves of nodes, counted from 0; -1 of nodes that had none."""
        part_id = NodeParts.map(self.parts).part_id
        leaf = np.searchsorted([part for part, _ in self.leaves], part_id).astype(np.int32)
        keys = NodeArrays(self.arrays).all("node_key").view(np.uint64)
        return keep_labels(node_key, keys, np.where(part_id < 0, np.int32(-1), leaf))


@dataclass(frozen=True)
class CutPayload:
    """Input of the task that cuts a piece; ``arrays`` are files of node_arrays, ``seed`` is that of its depth.

    ``earlier`` : the tree whose leaves are the children; None where a partitioner chooses them.
    """

    piece: PieceToCut
    arrays: tuple[Location, ...]
    options: CutOptions
    seed: int
    earlier: EarlierTree | None = None


@dataclass(frozen=True)
class CutResult:
    """Children with edges, and their labels; the files of child i have the roles ``nodes<i>`` and ``pairs<i>``."""

    children: tuple[PieceSize, ...]
    labels: tuple[int, ...]


def cut_piece(payload: CutPayload, attempt: Attempt) -> CutResult:
    """Task: cut a piece and write its children, without those that got no edges."""
    source, parts, options = payload.piece.source, payload.piece.parts, payload.options
    arrays = NodeArrays(payload.arrays)
    if isinstance(source, IndexTables):
        piece = _root_piece(source, arrays, options)
        degree, node_key = arrays.all("degree"), arrays.all("node_key")
        if options.parts is None:
            hub = int(np.max(degree, where=piece.role == Role.WHOLE, initial=0))
            refuse_indivisible(hub, piece.left.size, options.bounds, source.shared_range is None)
    else:
        piece = source.map()
        degree, node_key = (arrays.take(name, piece.node_ix) for name in ("degree", "node_key"))
    graph = piece.cut_graph(degree, node_key.view(np.uint64))
    if payload.earlier:
        labels = join_neighbors(graph, degree, payload.earlier.labels(graph.node_key), parts)
    else:
        labels = PARTITIONERS[options.method](graph, parts, payload.seed)
    children: dict[int, PieceSize] = {}
    for label, child in enumerate(piece.children(labels, parts)):
        if child.left.size:
            number = len(children)
            child.write(attempt.path(f"nodes{number}", "arrow"), attempt.path(f"pairs{number}", "arrow"))
            children[label] = PieceSize(child.node_ix.size, child.left.size)
    return CutResult(tuple(children.values()), tuple(children))


def _root_piece(tables: IndexTables, arrays: NodeArrays, options: CutOptions) -> GraphPiece:
    """Read all edges and decide who may be split; edges between two of these wait until homes are known."""
    if arrays.nodes > pieces.MAX_ROWS:
        raise PartitionError(
            f"the graph has {arrays.nodes:,} nodes, and one task cuts at most {pieces.MAX_ROWS:,}; shorten "
            "input.window_days, or set partition.method = 'none' if one block of them fits a worker"
        )
    left, right = pieces.read_edges(tables.edges)
    role = np.full(arrays.nodes, Role.WHOLE, np.int8)
    if tables.shared_range:
        # Sources are cut with all their edges, targets are split: of the two sides, that is the one with many
        # nodes of few edges each, in every interaction table we know.
        role[slice(*tables.shared_range)] = Role.SHARED
    else:
        role[_split_hubs(left, right, arrays.all("degree"), options, options.leaves(tables))] = Role.SHARED
        is_late = (role[left] == Role.SHARED) & (role[right] == Role.SHARED)
        if is_late.any():
            left, right = left[~is_late], right[~is_late]
    return GraphPiece(np.arange(arrays.nodes, dtype=np.int64), role, left, right)


def _split_hubs(
    left: NDArray[np.int32], right: NDArray[np.int32], degree: NDArray[np.int64], options: CutOptions, leaves: int
) -> NDArray[np.bool_]:
    """Return which nodes of a plain graph are split."""
    if options.hub_degree is not None:
        return splittable_hubs(left, right, degree > options.hub_degree)
    is_hub = hubs_by_cost(left, right, degree, leaves)
    is_too_large = np.zeros(degree.size, np.bool_)
    if options.parts is None:  # what fits no leaf has to be split, whatever it costs
        sizes, size_of = np.unique(degree, return_inverse=True)
        is_too_large = np.array([options.bounds.excess(size + 1, size) > 1 for size in sizes.tolist()])[size_of]
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
