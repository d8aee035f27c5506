"""The recursion tree: numbering, and the figures of every part and every level."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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

    @property
    def leaves(self) -> tuple[PartPath, ...]:
        """Paths of the parts without children."""
        return tuple(itertools.compress(self.paths, self.is_leaf))

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


def one_block_figures(degree: NDArray[np.int64], edges: int) -> TreeFigures:
    """Return the figures of a tree whose root is its leaf."""
    none = (0,)
    return TreeFigures((int(np.count_nonzero(degree)),), (edges,), (int(degree.sum()),), none, none, none, none)


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


def add_up(tree: Tree, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return values of leaves added up over the parts above them."""
    totals, parent = values.copy(), tree.parent
    for part in range(len(tree.paths) - 1, 0, -1):  # children come after their parents
        totals[parent[part]] += totals[part]
    return totals
