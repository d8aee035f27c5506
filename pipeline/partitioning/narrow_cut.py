"""Cut a graph that fits a task into leaves, and give its nodes homes: every cut is a task, and so are all homes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeArrays, NodeParts
from pipeline.locations import Location
from pipeline.partitioning.cutting import (
    CutOptions,
    CutPayload,
    EarlierTree,
    GraphCut,
    IndexTables,
    PieceToCut,
    cut_piece,
)
from pipeline.partitioning.homes import find_homes
from pipeline.partitioning.merging import MergedTree, count_borders
from pipeline.partitioning.part_counts import PartCounts
from pipeline.partitioning.pieces import GraphPiece, PieceFiles, Role, read_edges
from pipeline.partitioning.placement import NodeHomes
from pipeline.partitioning.tree import ROOT, PartPath, Tree, TreeFigures, one_block_figures, path_text
from pipeline.tasks import Attempt, TaskFolder

log = logging.getLogger(__name__)

#: Edges that are counted at once.
_CHUNK_EDGES = 2**18


def keep_whole(tasks: TaskFolder, tables: IndexTables) -> GraphCut:
    """Make the root the only leaf."""
    return _find_homes(tasks, tables, {}, 0)


def cut_narrow(tasks: TaskFolder, tables: IndexTables, options: CutOptions) -> GraphCut:
    """Cut a graph that fits a task: the root first, whose piece is read from the tables."""
    parts = options.parts or options.bounds.children(tables.nodes, tables.edge_count)
    leaves, empty_parts = cut_down(tasks, tables.arrays, options, {ROOT: PieceToCut(tables, parts)})
    return _find_homes(tasks, tables, leaves, empty_parts)


def keep_cut(tasks: TaskFolder, tables: IndexTables, options: CutOptions, earlier: EarlierTree) -> GraphCut:
    """Cut a graph that fits a task along an earlier night's tree, and leaves that have outgrown their bounds again.

    Leaves that lost all of their edges are dropped.
    """
    paths = [path for _, path in earlier.leaves]
    record = tasks.run(
        cut_piece, "keep", CutPayload(PieceToCut(tables, len(paths)), tables.arrays, options, options.seed, earlier)
    )
    leaves: dict[PartPath, PieceFiles] = {}
    outgrown: dict[PartPath, PieceToCut] = {}
    for number, (label, size) in enumerate(zip(record.result.labels, record.result.children, strict=True)):
        files = PieceFiles.of(record, str(number))
        if options.fits_leaf(size.rows, size.edges):
            leaves[paths[label]] = files
        else:
            outgrown[paths[label]] = PieceToCut(files, options.bounds.children(size.rows, size.edges))
    below, empty_parts = cut_down(tasks, tables.arrays, options, outgrown)
    return _find_homes(tasks, tables, {**leaves, **below}, empty_parts + len(paths) - len(record.result.labels))


def cut_down(
    tasks: TaskFolder, arrays: tuple[Location, ...], options: CutOptions, level: Mapping[PartPath, PieceToCut]
) -> tuple[Mapping[PartPath, PieceFiles], int]:
    """Cut level by level, all pieces of a level at once; return the leaves, and the number of empty parts."""
    leaves: dict[PartPath, PieceFiles] = {}
    empty_parts = 0
    while level:
        payloads = {
            # Another seed at each depth: nodes of one child of a hash cut agree in the old hash.
            "cut-" + path_text(path, "-"): CutPayload(piece, arrays, options, (options.seed + len(path) - 1) % 2**31)
            for path, piece in level.items()
        }
        next_level: dict[PartPath, PieceToCut] = {}
        for (path, piece), record in zip(level.items(), tasks.run_named(cut_piece, payloads), strict=True):
            sizes = record.result.children
            empty_parts += piece.parts - len(sizes)
            for number, size in enumerate(sizes):
                child, files = (*path, number), PieceFiles.of(record, str(number))
                if options.fits_leaf(size.rows, size.edges):
                    leaves[child] = files
                else:
                    next_level[child] = PieceToCut(files, options.bounds.children(size.rows, size.edges))
        log.info("stage=partition depth=%d cut=%d leaves=%d", len(path), len(level), len(leaves))
        level = next_level
    return leaves, empty_parts


@dataclass(frozen=True)
class HomesPayload:
    """Input of the task that finds all homes; without ``leaves`` the root is the only one."""

    tables: IndexTables
    leaves: tuple[tuple[PartPath, PieceFiles], ...]


@dataclass(frozen=True)
class HomesResult:
    """The leaves after merging."""

    paths: tuple[PartPath, ...]
    figures: TreeFigures
    inversions: int


def _find_homes(
    tasks: TaskFolder, tables: IndexTables, leaves: Mapping[PartPath, PieceFiles], empty_parts: int
) -> GraphCut:
    """Give all nodes homes in one task."""
    if len(leaves) == 1:  # nothing is cut: all nodes are whole, in the root
        leaves = {}
    homes = tasks.run(find_all_homes, "homes", HomesPayload(tables, tuple(leaves.items())))
    return GraphCut(homes.result.paths, homes, homes.result.figures, homes.result.inversions, empty_parts)


def find_all_homes(payload: HomesPayload, attempt: Attempt) -> HomesResult:
    """Task: find the homes of all nodes, write them, and count what every part stores."""
    tables, arrays = payload.tables, NodeArrays(payload.tables.arrays)
    degree = arrays.all("degree")
    if not payload.leaves:
        parts = NodeParts(np.where(degree > 0, 0, -1).astype(np.int32), np.zeros(degree.size, np.bool_))
        parts.write(attempt.path("parts", "arrow"))
        return HomesResult((ROOT,), one_block_figures(degree, tables.edge_count), 0)
    files = dict(payload.leaves)
    tree = Tree.of(files)
    leaves = [(part, files[path].map()) for part, path in enumerate(tree.paths) if path in files]
    parts, edges = find_homes(arrays.nodes, leaves), RootEdges.read(tables, leaves)
    merged_tree = MergedTree.of(tree, _border_sums(tree, edges, parts, degree))
    parts = NodeParts(merged_tree.new_part[parts.part_id], parts.is_split)
    parts.write(attempt.path("parts", "arrow"))
    homes = NodeHomes(parts, degree, arrays.all("node_key").view(np.uint64))
    counts = PartCounts(merged_tree.tree)
    for part, piece in leaves:
        counts.add_rows_of(piece.node_ix, np.full(piece.node_ix.size, merged_tree.new_part[part]), parts)
    for left, right, has_whole_end in edges.chunks():
        counts.add_edges(left, right, homes)
        left, right = left[~has_whole_end], right[~has_whole_end]  # which no leaf's piece holds
        counts.add_rows(left, right, homes)
        counts.add_rows(right, left, homes)
    counts.count_rows(parts, 0, arrays.nodes)
    return HomesResult(merged_tree.tree.leaves, counts.figures(), merged_tree.inversions)


@dataclass(frozen=True)
class RootEdges:
    """All edges of a graph, and which nodes are whole: those that no leaf shares with others."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    is_whole: NDArray[np.bool_]

    @classmethod
    def read(cls, tables: IndexTables, leaves: Sequence[tuple[int, GraphPiece]]) -> RootEdges:
        """Read the edges."""
        is_whole = np.zeros(tables.nodes, np.bool_)
        for _, piece in leaves:
            is_whole[piece.node_ix[piece.role == Role.WHOLE]] = True
        return cls(*read_edges(tables.edges), is_whole)

    def chunks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield both ends of some edges after the other, and which of these have a whole end."""
        for first in range(0, self.left.size, _CHUNK_EDGES):
            left, right = (side[first : first + _CHUNK_EDGES].astype(np.int64) for side in (self.left, self.right))
            yield left, right, self.is_whole[left] | self.is_whole[right]


def _border_sums(tree: Tree, edges: RootEdges, parts: NodeParts, degree: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the edges between leaves, except those between two shared nodes, and below them the leaves' volumes."""
    leaf_of = np.cumsum(tree.is_leaf) - 1
    leaves = len(tree.leaves)
    sums = np.zeros((leaves + 1, leaves), np.int64)
    for left, right, counts in edges.chunks():
        count_borders(sums[:-1], *(leaf_of[parts.part_id[side[counts]]] for side in (left, right)))
    sums[:-1] += sums[:-1].T.copy()
    at_home = parts.part_id >= 0
    np.add.at(sums[-1], leaf_of[parts.part_id[at_home]], degree[at_home])
    return sums
