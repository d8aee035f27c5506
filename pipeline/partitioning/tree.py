"""The recursion tree: numbering, and the figures of every part and every level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeParts
from pipeline.kernels.edge_cut import count_by_level
from pipeline.partitioning.pieces import GraphPiece
from pipeline.partitioning.placement import stored_at
from schemas.tables import PARTITION_TREE

#: The way from the root: (0,), (0, 3), (0, 3, 12).
PartPath = tuple[int, ...]
ROOT: PartPath = (0,)


def path_text(path: PartPath, separator: str = "/") -> str:
    """Return a path as tables and messages show it: "0/3/12"."""
    return separator.join(map(str, path))


@dataclass(frozen=True)
class Tree:
    """Paths of all parts in depth-first preorder: the index of a path is its part_id."""

    paths: tuple[PartPath, ...]

    @classmethod
    def of(cls, leaves: Iterable[PartPath]) -> Tree:
        """Build the tree of its leaves, in any order."""
        paths = {leaf[:depth] for leaf in leaves for depth in range(1, len(leaf) + 1)}
        # A path sorts before those that it begins, and these before its next sibling: that is the preorder.
        return cls(tuple(sorted(paths)))

    @property
    def parent(self) -> NDArray[np.int32]:
        """(parts,) part_id of each parent; -1 at the root."""
        number = {path: part for part, path in enumerate(self.paths)}
        return np.array([number.get(path[:-1], -1) for path in self.paths], np.int32)

    @property
    def depth(self) -> NDArray[np.int32]:
        """(parts,) 0 at the root."""
        return np.array([len(path) - 1 for path in self.paths], np.int32)

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """(parts,) which parts have no children."""
        is_leaf = np.ones(len(self.paths), np.bool_)
        is_leaf[self.parent[1:]] = False
        return is_leaf

    def ancestors(self, depth: int) -> NDArray[np.int32]:
        """(parts,) part_id of each part's ancestor at a depth; parts above it stand for themselves."""
        number = {path: part for part, path in enumerate(self.paths)}
        return np.array([number[path[: depth + 1]] for path in self.paths], np.int32)

    def all_ancestors(self) -> NDArray[np.int32]:
        """(depths, parts) ancestors at every depth."""
        return np.stack([self.ancestors(depth) for depth in range(int(self.depth.max()) + 1)])


@dataclass(frozen=True)
class TreeFigures:
    """Figures by part_id, of inner parts as if their leaves were one; PARTITION_TREE says what they mean."""

    nodes: tuple[int, ...]
    edges: tuple[int, ...]
    volume: tuple[int, ...]
    cut: tuple[int, ...]
    split_nodes: tuple[int, ...]
    ghosts: tuple[int, ...]
    level_cut: tuple[int, ...]  # by depth: edges whose ends are at home in different parts

    @property
    def rows_away(self) -> NDArray[np.int64]:
        """(parts,) copies and ghosts."""
        return np.array(self.split_nodes) + np.array(self.ghosts)


def figures_of(
    tree: Tree,
    nodes: NDArray[np.int64],
    edges: NDArray[np.int64],
    volume: NDArray[np.int64],
    cut: NDArray[np.int64],
    away: tuple[NDArray[np.int64], NDArray[np.int64]],
    level_cut: NDArray[np.int64],
) -> TreeFigures:
    """Return the figures of all parts.

    Parameters
    ----------
    nodes, volume : (parts,) of the leaves alone.
    edges, cut : (depths, parts).
    away : copies and ghosts of every part, see :func:`rows_away`.
    level_cut : (depths,).
    """
    by_part = (tree.depth, np.arange(len(tree.paths)))
    split_nodes, ghosts = away
    columns = (summed_up(tree, nodes), edges[by_part], summed_up(tree, volume), cut[by_part], split_nodes, ghosts)
    return TreeFigures(*(tuple(column.tolist()) for column in (*columns, level_cut)))


def one_block_figures(degree: NDArray[np.int64], edges: int) -> TreeFigures:
    """Return the figures of a tree whose root is its leaf."""
    none = (0,)
    return TreeFigures((int(np.count_nonzero(degree)),), (edges,), (int(degree.sum()),), none, none, none, none)


def tree_figures(
    tree: Tree,
    leaves: Sequence[tuple[int, GraphPiece]],
    shared_pairs: tuple[NDArray[np.int32], NDArray[np.int32]],
    parts: NodeParts,
    degree: NDArray[np.int64],
    node_key: NDArray[np.uint64],
) -> TreeFigures:
    """Count what every part stores, by the rule of :func:`pipeline.partitioning.placement.stored_at`.

    Parameters
    ----------
    leaves : part_id and piece of every leaf; pieces are read one at a time.
    shared_pairs : ends (node numbers) of the edges between two splittable nodes, which no piece holds.
    parts, degree, node_key : of all nodes, by node_ix.
    """
    count = len(tree.paths)
    ancestors = tree.all_ancestors()
    volume = np.zeros(count, np.int64)
    edges = np.zeros(ancestors.shape, np.int64)
    cut = np.zeros(ancestors.shape, np.int64)
    level_cut = np.zeros(len(ancestors), np.int64)
    away_ix, away_part = [], []
    for part, rows, left, right in _stored_edges(leaves, shared_pairs, parts, degree, node_key):
        first, second = stored_at(left, right, parts, degree, node_key)
        home_left, home_right = parts.part_id[left], parts.part_id[right]
        is_ghost_left = ~parts.is_split[left] & (home_left != part)
        is_ghost_right = ~parts.is_split[right] & (home_right != part)
        volume[part] = np.count_nonzero(~is_ghost_left) + np.count_nonzero(~is_ghost_right & (left != right))
        away = rows[parts.part_id[rows] != part]
        away_ix.append(away)
        away_part.append(np.full(away.size, part, np.int32))
        counted = first == part  # an edge stored twice is counted where its first end is at home
        first, second, home_left, home_right = (column[counted] for column in (first, second, home_left, home_right))
        count_by_level(first, second, home_left, home_right, ancestors, edges, cut, level_cut)
    at_home = parts.part_id[parts.part_id >= 0]
    nodes = np.bincount(at_home, minlength=count).astype(np.int64)
    away_rows = np.concatenate(away_ix), np.concatenate(away_part)
    away_by_part = rows_away(tree, ancestors, *away_rows, parts)
    return figures_of(tree, nodes, edges, volume, cut, away_by_part, level_cut)


def tree_table(tree: Tree, figures: TreeFigures) -> pa.Table:
    """Return the rows of ``partition_tree``."""
    columns: dict[str, Any] = {
        "part_id": np.arange(len(tree.paths), dtype=np.int32),
        "part_path": [path_text(path) for path in tree.paths],
        "parent": tree.parent,
        "depth": tree.depth,
        "is_leaf": tree.is_leaf,
    }
    columns |= {name: getattr(figures, name) for name in PARTITION_TREE.schema.names if name not in columns}
    return pa.table(columns, schema=PARTITION_TREE.schema)


def _stored_edges(
    leaves: Sequence[tuple[int, GraphPiece]],
    shared_pairs: tuple[NDArray[np.int32], NDArray[np.int32]],
    parts: NodeParts,
    degree: NDArray[np.int64],
    node_key: NDArray[np.uint64],
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Each leaf's part_id, nodes with edges stored there, and both ends of these edges as node numbers."""
    pair_left, pair_right = (ends.astype(np.int64) for ends in shared_pairs)
    pair_home, pair_other = stored_at(pair_left, pair_right, parts, degree, node_key)
    for part, piece in leaves:
        rows, left, right = piece.node_ix, piece.node_ix[piece.left], piece.node_ix[piece.right]
        stored = np.flatnonzero((pair_home == part) | (pair_other == part))
        if stored.size:
            left = np.concatenate([left, pair_left[stored]])
            right = np.concatenate([right, pair_right[stored]])
            rows = np.union1d(rows, np.concatenate([pair_left[stored], pair_right[stored]]))
        yield part, rows, left, right


def rows_away(
    tree: Tree,
    ancestors: NDArray[np.int32],
    node_ix: NDArray[np.int64],
    part_id: NDArray[np.int32],
    parts: NodeParts,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Copies and ghosts of every part, from the rows of leaves that are at home elsewhere."""
    count = len(tree.paths)
    split_nodes, ghosts = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for depth, ancestor in enumerate(ancestors):
        here = ancestor[part_id]
        away = here != ancestor[parts.part_id[node_ix]]
        pairs = np.sort(node_ix[away] * count + here[away])
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # a node once, in however many leaves below
        node, part = pairs // count, pairs % count
        is_split = parts.is_split[node]
        level = tree.depth == depth
        split_nodes[level] = np.bincount(part[is_split], minlength=count)[level]
        ghosts[level] = np.bincount(part[~is_split], minlength=count)[level]
    return split_nodes, ghosts


def summed_up(tree: Tree, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return values of leaves added up over the parts above them."""
    summed, parent = values.copy(), tree.parent
    for part in range(len(tree.paths) - 1, 0, -1):  # children come after their parents
        summed[parent[part]] += summed[part]
    return summed
