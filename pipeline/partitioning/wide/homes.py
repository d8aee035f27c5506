"""Homes of all nodes and figures of the tree, from blocks: what homes.py and tree.py do with leaves in one task.

Whole nodes know their leaf; the homes of shared nodes follow from the leaves of their neighbours, which the task
of their block looks up. One pass over all blocks then evens out ties and writes the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.blocks.arrays import NodeParts
from pipeline.kernels.edge_cut import even_out_ties, homes_by_most_edges
from pipeline.locations import Location
from pipeline.partitioning.merging import MergedTree, count_borders
from pipeline.partitioning.part_counts import PartCounts
from pipeline.partitioning.pieces import Role
from pipeline.partitioning.placement import NodeHomes
from pipeline.partitioning.tree import ROOT, PartPath, Tree, TreeFigures
from pipeline.partitioning.wide.node_blocks import BlockGraph, NodeBlockFiles, NodeVectors
from pipeline.partitioning.wide.vectors import VectorWriter, add_arrays, map_vector, ranges, read_range
from pipeline.tasks import Attempt, TaskFolder, TaskRecord
from schemas.tables import NODE_PARTS

#: Per pair of leaves: a count in the making, the sum, and its rows and columns summed up.
_PAIR_BYTES = 64


@dataclass(frozen=True)
class LeafFiles:
    """Where whole nodes are: by the labels of a cut in levels, or in the pieces of leaves further down."""

    labels: Location  # vector
    path_of_label: Mapping[int, PartPath]  # of labels that are leaves
    pieces: Mapping[PartPath, Location]  # file with the nodes of every other leaf

    @property
    def paths(self) -> tuple[PartPath, ...]:
        """Paths of all leaves; of a single one, the root's."""
        paths = (*self.path_of_label.values(), *self.pieces)
        return (ROOT,) if len(paths) == 1 else paths


def find_homes_in_blocks(
    tasks: TaskFolder, graph: BlockGraph, leaves: LeafFiles, vectors: NodeVectors, worker_bytes: int
) -> tuple[TaskRecord[MergedHomesResult], TreeFigures]:
    """Give every node a home and merge the leaves bottom-up; return the record with role ``parts``, and the figures."""
    paths, tree = leaves.paths, Tree.of(leaves.paths)
    leaf = _write_leaf_vector(tasks, graph, leaves, tree)
    parts = len(tree.paths)
    records = tasks.run_each(choose_homes, "homes", [ChooseHomesPayload(block, leaf, parts) for block in graph.blocks])
    block_homes = tuple(
        BlockHomes(block.first, *(record.file(role) for role in ("home", "split", "stored", "incoming")))
        for block, record in zip(graph.blocks, records, strict=True)
    )
    final_homes = tasks.run(even_out_homes, "settle", EvenOutPayload(graph.nodes, parts, block_homes))
    homes = HomeVectors(*(final_homes.file(role) for role in ("node_ix", "part_id", "is_split")))
    borders: tuple[Location, ...] = ()
    # The matrix of all pairs of leaves is what merging needs: with very many of them, they stay as they were cut.
    if len(paths) > 1 and _PAIR_BYTES * len(paths) ** 2 <= worker_bytes:
        payloads = [BordersPayload(block, homes.part_id, vectors.degree, paths) for block in graph.blocks]
        borders = tuple(record.file("borders") for record in tasks.run_each(count_block_borders, "borders", payloads))
    merged_homes = tasks.run(write_merged_homes, "homes", MergedHomesPayload(homes, paths, borders))
    merged_paths = merged_homes.result.paths
    count_payloads = [CountPayload(block, merged_homes.file("parts"), merged_paths, vectors) for block in graph.blocks]
    counts = tasks.run_each(count_block, "count", count_payloads)
    sums = SumFiguresPayload(merged_paths, tuple(record.file("counts") for record in counts))
    return merged_homes, tasks.run(sum_figures, "figures", sums).result


def _write_leaf_vector(tasks: TaskFolder, graph: BlockGraph, leaves: LeafFiles, tree: Tree) -> Location:
    part_of = {path: part for part, path in enumerate(tree.paths)}
    payload = LeafVectorPayload(
        graph.nodes,
        leaves.labels,
        tuple((label, part_of.get(path, 0)) for label, path in leaves.path_of_label.items()),
        tuple((file, part_of.get(path, 0)) for path, file in leaves.pieces.items()),
    )
    return tasks.run(write_leaf_vector, "leaves", payload).file("leaf")


@dataclass(frozen=True)
class LeafVectorPayload:
    nodes: int
    labels: Location
    part_of_label: tuple[tuple[int, int], ...]
    part_of_piece: tuple[tuple[Location, int], ...]


def write_leaf_vector(payload: LeafVectorPayload, attempt: Attempt) -> None:
    """Task: write the leaf of every whole node into one vector."""
    part_of = np.full(1 + max((label for label, _ in payload.part_of_label), default=0), -1, np.int32)
    for label, part in payload.part_of_label:
        part_of[label] = part
    pieces = [(storage.map_arrow(file), part) for file, part in payload.part_of_piece]
    with VectorWriter(attempt.path("leaf", "npy"), np.int32, payload.nodes) as writer:
        for first, stop in ranges(payload.nodes):
            labels = read_range(payload.labels, first, stop)
            leaf = np.where(labels < part_of.size, part_of[np.minimum(labels, part_of.size - 1)], -1)
            for table, part in pieces:
                node_ix = storage.column(table, "node_ix")
                rows = slice(*np.searchsorted(node_ix, [first, stop]))
                is_whole = storage.column(table, "role")[rows] == Role.WHOLE
                leaf[node_ix[rows][is_whole] - first] = part
            writer.append(leaf)


@dataclass(frozen=True)
class ChooseHomesPayload:
    block: NodeBlockFiles
    leaf: Location  # vector over all nodes
    parts: int


def choose_homes(payload: ChooseHomesPayload, attempt: Attempt) -> None:
    """Task: choose the homes of a block's nodes, ties by the lowest part; see :mod:`pipeline.partitioning.homes`."""
    block, leaf = payload.block.map(), map_vector(payload.leaf)
    block_nodes = slice(block.first, block.first + block.rows)
    home = np.where(np.diff(block.indptr) > 0, leaf[block_nodes], -1).astype(np.int32)
    is_split = np.zeros(block.rows, np.bool_)
    role = block.role[block_nodes]
    home[role == Role.SHARED] = -1
    row = block.node_of_entries() - np.int32(block.first)
    counts = (role[row] == Role.SHARED) & (block.role[block.neighbor] == Role.WHOLE)
    words = np.sort(row[counts].astype(np.int64) << 32 | leaf[block.neighbor[counts]])
    starts = np.flatnonzero(np.diff(words, prepend=-1))
    row_of, part = words[starts] >> 32, (words[starts] & 0xFFFFFFFF).astype(np.int32)
    edges = np.diff(starts, append=words.size)
    incoming = np.zeros(payload.parts, np.int64)
    homes_by_most_edges(row_of, part, edges, home, is_split, incoming)
    np.save(attempt.path("home", "npy"), home)
    np.save(attempt.path("split", "npy"), is_split)
    np.save(attempt.path("incoming", "npy"), incoming)
    columns = {"row": pa.array(row_of), "part": pa.array(part), "edges": pa.array(edges)}
    storage.write_arrow(attempt.path("stored", "arrow"), pa.table(columns))


@dataclass(frozen=True)
class BlockHomes:
    """Files of a block's homes, before ties are evened out."""

    first: int
    home: Location
    split: Location
    part_edges: Location  # table of the edges that each part stores
    incoming: Location  # rows that come into each part


@dataclass(frozen=True)
class EvenOutPayload:
    nodes: int
    parts: int
    blocks: tuple[BlockHomes, ...]


@dataclass(frozen=True)
class HomeVectors:
    """Columns of node_parts, with the numbers of leaves before they are merged."""

    node_ix: Location
    part_id: Location
    is_split: Location


def even_out_homes(payload: EvenOutPayload, attempt: Attempt) -> None:
    """Task: even out ties over all blocks, in the order of the nodes."""
    incoming = np.zeros(payload.parts, np.int64)
    for block in payload.blocks:
        incoming += map_vector(block.incoming)
    nodes = payload.nodes
    files = {name: attempt.path(name, "npy") for name in ("node_ix", "part_id", "is_split")}
    with (
        VectorWriter(files["node_ix"], np.int64, nodes) as numbers,
        VectorWriter(files["part_id"], np.int32, nodes) as homes,
        VectorWriter(files["is_split"], np.bool_, nodes) as splits,
    ):
        for block in payload.blocks:
            home, counts = np.array(map_vector(block.home)), storage.map_arrow(block.part_edges)
            row, part, edges = (storage.column(counts, name) for name in ("row", "part", "edges"))
            even_out_ties(row, part, edges, home, incoming)
            numbers.append(np.arange(block.first, block.first + home.size))
            homes.append(home)
            splits.append(map_vector(block.split))


@dataclass(frozen=True)
class BordersPayload:
    block: NodeBlockFiles
    part_id: Location
    degree: Location
    leaves: tuple[PartPath, ...]


def count_block_borders(payload: BordersPayload, attempt: Attempt) -> None:
    """Task: count a block's edges between leaves, except those between two shared nodes; add up volumes by leaf."""
    block, part_id = payload.block.map(), map_vector(payload.part_id)
    leaf_of = np.cumsum(Tree.of(payload.leaves).is_leaf) - 1  # leaves in the order of their numbers
    borders = np.zeros((len(payload.leaves), len(payload.leaves)), np.int64)
    node = block.node_of_entries()
    for first, stop in ranges(node.size):
        left, right = node[first:stop], block.neighbor[first:stop]
        counts = (block.role[left] == Role.WHOLE) | (block.role[right] == Role.WHOLE)
        count_borders(borders, *(leaf_of[part_id[ends[counts]]] for ends in (left, right)))
    home = part_id[block.first : block.first + block.rows]
    degree = read_range(payload.degree, block.first, block.first + block.rows)
    volume = np.zeros(len(payload.leaves), np.int64)
    np.add.at(volume, leaf_of[home[home >= 0]], degree[home >= 0])
    np.save(attempt.path("borders", "npy"), np.vstack([borders, volume]))


@dataclass(frozen=True)
class MergedHomesPayload:
    homes: HomeVectors
    leaves: tuple[PartPath, ...]
    borders: tuple[Location, ...]  # none: leaves stay as they are


@dataclass(frozen=True)
class MergedHomesResult:
    """The merged leaves."""

    paths: tuple[PartPath, ...]
    inversions: int


def write_merged_homes(payload: MergedHomesPayload, attempt: Attempt) -> MergedHomesResult:
    """Task: merge the leaves bottom-up, and write the table of homes with their new numbers."""
    homes = payload.homes
    tree = Tree.of(payload.leaves)
    sums = add_arrays(payload.borders) if payload.borders else None
    merged_tree = MergedTree.of(tree, sums)
    nodes = map_vector(homes.part_id).size
    part_file = attempt.path("part_id", "npy")
    with VectorWriter(part_file, np.int32, nodes) as writer:
        for first, stop in ranges(nodes):
            writer.append(merged_tree.new_part[read_range(homes.part_id, first, stop)])
    # From maps: an Arrow file that can be mapped as a whole has a single batch.
    columns = [pa.array(map_vector(file)) for file in (homes.node_ix, part_file, homes.is_split)]
    storage.write_arrow(attempt.path("parts", "arrow"), pa.Table.from_arrays(columns, schema=NODE_PARTS.schema))
    return MergedHomesResult(merged_tree.tree.leaves, merged_tree.inversions)


@dataclass(frozen=True)
class CountPayload:
    block: NodeBlockFiles
    parts: Location  # the table of homes
    leaves: tuple[PartPath, ...]
    vectors: NodeVectors


def count_block(payload: CountPayload, attempt: Attempt) -> None:
    """Task: count what every part stores of a block's edges and nodes: the figures of the tree."""
    counts, block = PartCounts(Tree.of(payload.leaves)), payload.block.map()
    nodes = NodeHomes(
        NodeParts.map(payload.parts),
        map_vector(payload.vectors.degree),
        map_vector(payload.vectors.node_key).view(np.uint64),
    )
    node = block.node_of_entries()
    for first, stop in ranges(node.size):
        left, right = (ends[first:stop].astype(np.int64) for ends in (node, block.neighbor))
        counts.add_rows(left, right, nodes)
        once = left <= right  # the others are counted where they come from
        counts.add_edges(left[once], right[once], nodes)
    counts.count_rows(nodes.parts, block.first, block.first + block.rows)
    np.save(attempt.path("counts", "npy"), counts.table)


@dataclass(frozen=True)
class SumFiguresPayload:
    leaves: tuple[PartPath, ...]
    counts: tuple[Location, ...]


def sum_figures(payload: SumFiguresPayload, attempt: Attempt) -> TreeFigures:  # noqa: ARG001
    """Task: add up what the blocks have counted."""
    return PartCounts(Tree.of(payload.leaves), add_arrays(payload.counts)).figures()
