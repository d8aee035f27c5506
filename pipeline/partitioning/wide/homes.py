"""Homes of all nodes and figures of the tree, from blocks: what homes.py and tree.py do with leaves in one task.

Whole nodes know their leaf; the homes of shared nodes follow from the leaves of their neighbours, which the task
of their block looks up. One pass over all blocks then evens out ties and writes the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import NodeParts
from pipeline.kernels.edge_cut import count_by_level, even_out_ties, homes_by_most_edges
from pipeline.kernels.node_moves import NodeBlock
from pipeline.partitioning.merging import merged_paths
from pipeline.partitioning.pieces import Role
from pipeline.partitioning.placement import stored_at
from pipeline.partitioning.tree import ROOT, PartPath, Tree, TreeFigures, rows_away, summed_up
from pipeline.partitioning.wide.node_blocks import Graph, map_block
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, ranges, read_range, write_vector
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing
from schemas.tables import NODE_PARTS

#: Per pair of leaves: a count in the making, the sum, and its rows and columns summed up.
_PAIR_BYTES = 64


@dataclass(frozen=True)
class Leaves:
    """Where whole nodes are: by the labels of a cut in levels, or in the pieces of leaves further down."""

    labels: str  # vector
    path_of_label: Mapping[int, PartPath]  # of labels that are leaves
    pieces: Mapping[PartPath, str]  # file with the nodes of every other leaf

    @property
    def paths(self) -> list[PartPath]:
        """Paths of all leaves; of a single one, the root's."""
        found = [*self.path_of_label.values(), *self.pieces]
        return [ROOT] if len(found) == 1 else found


def place_in_blocks(
    runner: TaskRunner, graph: Graph, leaves: Leaves, vectors: Mapping[str, str], worker_bytes: int, place: Path
) -> tuple[TaskRecord[Any], TreeFigures, list[TaskRecord[Any]]]:
    """Give every node a home and merge the leaves bottom-up; return the table's record, the figures and all records.

    The record has the table with role ``parts``, the paths of the leaves as ``paths``, and the inversions.

    ``vectors``: files of the vectors ``degree`` and ``node_key``.
    """
    tree = Tree.of(leaves.paths)
    number = {path: part for part, path in enumerate(tree.paths)}
    here = place
    blocks = range(len(graph.starts))
    todo: dict[str, Any] = {
        "nodes": graph.nodes,
        "labels": leaves.labels,
        "parts": [[label, number.get(path, 0)] for label, path in leaves.path_of_label.items()],
        "pieces": [[file, number.get(path, 0)] for path, file in leaves.pieces.items()],
    }
    (told,) = run_missing(runner, tell_leaves, [Task("leaves", here, todo)])
    todo = {"leaf": str(told.file("leaf")), "parts": len(tree.paths)}
    found = run_missing(
        runner,
        find_homes_in_block,
        [Task(f"homes-{i:05d}", here, {**todo, **graph.block(i)}) for i in blocks],
    )
    todo = {
        "nodes": graph.nodes,
        "parts": len(tree.paths),
        "blocks": [
            {
                "first": graph.starts[i],
                **{role: str(found[i].file(role)) for role in ("home", "split", "stored", "incoming")},
            }
            for i in blocks
        ],
    }
    (settled,) = run_missing(runner, settle_homes, [Task("settle", here, todo)])
    homes = {name: str(settled.file(name)) for name in ("node_ix", "part_id", "is_split")}
    paths = [list(path) for path in leaves.paths]
    crossed: list[TaskRecord[Any]] = []
    # The matrix of all pairs of leaves is what merging needs: with very many of them, they stay as they were cut.
    if len(paths) > 1 and _PAIR_BYTES * len(paths) ** 2 <= worker_bytes:
        todo = {"part_id": homes["part_id"], "degree": vectors["degree"], "leaves": paths}
        crossed = run_missing(
            runner, count_borders, [Task(f"borders-{i:05d}", here, {**todo, **graph.block(i)}) for i in blocks]
        )
    todo = {**homes, "leaves": paths, "borders": [str(record.file("borders")) for record in crossed]}
    (written,) = run_missing(runner, write_homes, [Task("homes", here, todo)])
    todo = {"parts": str(written.file("parts")), "leaves": written.result["paths"], **vectors}
    counted = run_missing(
        runner, count_block, [Task(f"count-{i:05d}", here, {**todo, **graph.block(i)}) for i in blocks]
    )
    todo = {"leaves": written.result["paths"], "counts": [str(record.file("counts")) for record in counted]}
    (summed,) = run_missing(runner, sum_figures, [Task("figures", here, todo)])
    records = [told, *found, settled, *crossed, written, *counted, summed]
    return written, TreeFigures.from_json(summed.result["figures"]), records


def tell_leaves(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: bring the leaf of every whole node into one vector."""
    todo = payload
    part_of = np.full(1 + max((label for label, _ in todo["parts"]), default=0), -1, np.int32)
    for label, part in todo["parts"]:
        part_of[label] = part
    pieces = [(storage.map_arrow(Path(file)), part) for file, part in todo["pieces"]]
    with VectorWriter(attempt.path("leaf", "npy"), np.int32, todo["nodes"]) as writer:
        for first, stop in ranges(todo["nodes"]):
            labels = read_range(todo["labels"], first, stop)
            leaf = np.where(labels < part_of.size, part_of[np.minimum(labels, part_of.size - 1)], -1)
            for table, part in pieces:
                node_ix = storage.column(table, "node_ix")
                rows = slice(*np.searchsorted(node_ix, [first, stop]))
                is_whole = storage.column(table, "role")[rows] == Role.WHOLE
                leaf[node_ix[rows][is_whole] - first] = part
            writer.append(leaf)
    return {}


def find_homes_in_block(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: find the homes of a block's nodes, ties by the lowest part; see :mod:`pipeline.partitioning.homes`."""
    todo = payload
    block, leaf = map_block(todo), map_vector(todo["leaf"])
    here = slice(block.first, block.first + block.rows)
    home = np.where(np.diff(block.indptr) > 0, leaf[here], -1).astype(np.int32)
    is_split = np.zeros(block.rows, np.bool_)
    role = block.role[here]
    home[role == Role.SHARED] = -1
    row = block.node_of_entries() - np.int32(block.first)
    counts = (role[row] == Role.SHARED) & (block.role[block.neighbor] == Role.WHOLE)
    words = np.sort(row[counts].astype(np.int64) << 32 | leaf[block.neighbor[counts]])
    starts = np.flatnonzero(np.diff(words, prepend=-1))
    row_of, part = words[starts] >> 32, (words[starts] & 0xFFFFFFFF).astype(np.int32)
    edges = np.diff(starts, append=words.size)
    incoming = np.zeros(todo["parts"], np.int64)
    homes_by_most_edges(row_of, part, edges, home, is_split, incoming)
    write_vector(attempt.path("home", "npy"), home)
    write_vector(attempt.path("split", "npy"), is_split)
    write_vector(attempt.path("incoming", "npy"), incoming)
    columns = {"row": pa.array(row_of), "part": pa.array(part), "edges": pa.array(edges)}
    storage.write_arrow(attempt.path("stored", "arrow"), pa.table(columns))
    return {}


def settle_homes(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: even out ties over all blocks, in the order of the nodes."""
    todo = payload
    incoming = np.zeros(todo["parts"], np.int64)
    for block in todo["blocks"]:
        incoming += map_vector(block["incoming"])
    nodes = todo["nodes"]
    files = {name: attempt.path(name, "npy") for name in ("node_ix", "part_id", "is_split")}
    with (
        VectorWriter(files["node_ix"], np.int64, nodes) as numbers,
        VectorWriter(files["part_id"], np.int32, nodes) as homes,
        VectorWriter(files["is_split"], np.bool_, nodes) as splits,
    ):
        for block in todo["blocks"]:
            home, stored = np.array(map_vector(block["home"])), storage.map_arrow(Path(block["stored"]))
            row, part, edges = (storage.column(stored, name) for name in ("row", "part", "edges"))
            even_out_ties(row, part, edges, home, incoming)
            numbers.append(np.arange(block["first"], block["first"] + home.size))
            homes.append(home)
            splits.append(map_vector(block["split"]))
    return {}


def count_borders(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: count a block's edges between leaves, and what its nodes bring to theirs.

    As :func:`pipeline.partitioning.merging.merge_leaves` does: edges between two shared nodes don't count.
    """
    todo = payload
    block, part_id = map_block(todo), map_vector(todo["part_id"])
    tree = Tree.of(tuple(path) for path in todo["leaves"])
    leaf_of = np.cumsum(tree.is_leaf) - 1  # leaves in the order of their numbers
    leaves = int(tree.is_leaf.sum())
    borders = np.zeros((leaves + 1, leaves), np.int64)
    node = block.node_of_entries()
    for first, stop in ranges(node.size):
        left, right = node[first:stop], block.neighbor[first:stop]
        counts = (block.role[left] == Role.WHOLE) | (block.role[right] == Role.WHOLE)
        pairs = leaf_of[part_id[left[counts]]] * leaves + leaf_of[part_id[right[counts]]]
        borders[:leaves] += np.bincount(pairs, minlength=leaves**2).reshape(leaves, leaves)
    home = part_id[block.first : block.first + block.rows]
    degree = read_range(todo["degree"], block.first, block.first + block.rows)
    np.add.at(borders[leaves], leaf_of[home[home >= 0]], degree[home >= 0])
    np.save(attempt.path("borders", "npy"), borders)
    return {}


def write_homes(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: merge the leaves bottom-up, and write the table of homes with their new numbers."""
    todo = payload
    tree = Tree.of(tuple(path) for path in todo["leaves"])
    old = [path for path, is_leaf in zip(tree.paths, tree.is_leaf, strict=True) if is_leaf]
    paths, inversions = old, 0
    if todo["borders"]:
        borders = sum(np.load(file) for file in todo["borders"])
        paths, inversions = merged_paths(old, borders[:-1], borders[-1])
    part_of = {path: part for part, path in enumerate(Tree.of(paths).paths)}
    new_part = np.full(len(tree.paths) + 1, -1, np.int32)  # the last for nodes without a home
    new_part[:-1][tree.is_leaf] = [part_of[path] for path in paths]
    nodes = map_vector(todo["part_id"]).size
    renumbered = attempt.path("part_id", "npy")
    with VectorWriter(renumbered, np.int32, nodes) as writer:
        for first, stop in ranges(nodes):
            writer.append(new_part[read_range(todo["part_id"], first, stop)])
    # From maps: an Arrow file that can be mapped as a whole has a single batch.
    columns = [pa.array(map_vector(file)) for file in (todo["node_ix"], renumbered, todo["is_split"])]
    storage.write_arrow(attempt.path("parts", "arrow"), pa.Table.from_arrays(columns, schema=NODE_PARTS.schema))
    return {"parts_rows": nodes, "paths": [list(path) for path in sorted(paths)], "inversions": inversions}


def count_block(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: count what every part stores of a block's edges and nodes: the figures of the tree."""
    todo = payload
    tree = Tree.of(tuple(path) for path in todo["leaves"])
    block, parts = map_block(todo), NodeParts.map(Path(todo["parts"]))
    degree, node_key = map_vector(todo["degree"]), map_vector(todo["node_key"]).view(np.uint64)
    count, deepest = len(tree.paths), int(tree.depth.max())
    ancestors = np.stack([tree.ancestors(depth) for depth in range(deepest + 1)])
    totals = _Counts.zero(deepest, count)
    node = block.node_of_entries()
    for first, stop in ranges(node.size):
        left, right = (ends[first:stop].astype(np.int64) for ends in (node, block.neighbor))
        _count_edges(totals, left, right, parts, degree, node_key, ancestors)
    away = _rows_stored(block, node, parts, degree, node_key)
    split_nodes, ghosts = rows_away(tree, ancestors, *away, parts)
    home = parts.part_id[block.first : block.first + block.rows]
    nodes = np.bincount(home[home >= 0], minlength=count)
    np.save(attempt.path("counts", "npy"), np.concatenate([totals.stacked, [nodes, split_nodes, ghosts]]))
    return {}


@dataclass(frozen=True)
class _Counts:
    """Counts by depth and part in the rows of one array: edges, cut, edges cut at a depth (column 0), volume."""

    stacked: NDArray[np.int64]
    depths: int

    @classmethod
    def zero(cls, deepest: int, parts: int) -> _Counts:
        return cls(np.zeros((3 * (deepest + 1) + 1, parts), np.int64), deepest + 1)

    @property
    def edges(self) -> NDArray[np.int64]:
        return self.stacked[: self.depths]

    @property
    def cut(self) -> NDArray[np.int64]:
        return self.stacked[self.depths : 2 * self.depths]

    @property
    def level_cut(self) -> NDArray[np.int64]:
        return self.stacked[2 * self.depths : 3 * self.depths, 0]

    @property
    def volume(self) -> NDArray[np.int64]:
        return self.stacked[3 * self.depths]


def _count_edges(
    totals: _Counts,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    parts: NodeParts,
    degree: NDArray[np.int64],
    node_key: NDArray[np.uint64],
    ancestors: NDArray[np.int32],
) -> None:
    """Add the edges whose first end is the smaller one: the others are counted where they come from."""
    once = left <= right
    left, right = left[once], right[once]
    first, second = stored_at(left, right, parts, degree, node_key)
    home_left, home_right = parts.part_id[left], parts.part_id[right]
    level_cut = np.zeros(totals.depths, np.int64)
    count_by_level(first, second, home_left, home_right, ancestors, totals.edges, totals.cut, level_cut)
    totals.level_cut[:] += level_cut
    volume, size = totals.volume, totals.volume.size
    for part in (first, second):
        is_stored = part >= 0
        for node, home, is_end in ((left, home_left, is_stored), (right, home_right, is_stored & (left != right))):
            is_counted = is_end & (parts.is_split[node] | (home == part))
            volume += np.bincount(part[is_counted], minlength=size)


def _rows_stored(
    block: NodeBlock, node: NDArray[np.int32], parts: NodeParts, degree: NDArray[np.int64], node_key: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Nodes of the block and the parts that store edges of theirs without being their home; each pair once."""
    found = []
    for start, stop in ranges(node.size):
        left, right = (ends[start:stop].astype(np.int64) for ends in (node, block.neighbor))
        for part in stored_at(left, right, parts, degree, node_key):
            away = (part >= 0) & (part != parts.part_id[left])
            words = np.sort(left[away] << 32 | part[away])
            found.append(words[np.diff(words, prepend=-1) > 0])
    words = np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)
    words = words[np.diff(words, prepend=-1) > 0]
    return words >> 32, (words & 0xFFFFFFFF).astype(np.int32)


def sum_figures(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: add up what the blocks have counted."""
    tree = Tree.of(tuple(path) for path in payload["leaves"])
    deepest = int(tree.depth.max())
    total = sum(np.load(file) for file in payload["counts"])
    counts = _Counts(total, deepest + 1)
    nodes, split_nodes, ghosts = total[-3:]
    by_part = (tree.depth, np.arange(len(tree.paths)))
    figures = TreeFigures(
        nodes=summed_up(tree, nodes),
        edges=counts.edges[by_part],
        volume=summed_up(tree, counts.volume),
        cut=counts.cut[by_part],
        split_nodes=split_nodes,
        ghosts=ghosts,
        level_cut=counts.level_cut,
    )
    return {"figures": figures.to_json()}
