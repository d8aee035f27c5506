"""What the parts of a tree store, counted over edges that may come in any pieces."""

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeParts
from pipeline.kernels.edge_cut import count_stored_edges
from pipeline.partitioning.placement import NodeHomes, stored_at
from pipeline.partitioning.tree import Tree, TreeFigures, add_up


class PartCounts:
    """Counts by part, which add up over edges and ranges of nodes.

    ``table`` (3 depths + 4, parts) has by depth the edges that a part stores, those of them that are cut, and the
    same where only the first of two parts counts an edge; then volume, nodes, copies and ghosts. Edges and cut count
    at the depth of the part; volume and nodes of inner parts are left to :meth:`figures`.
    """

    def __init__(self, tree: Tree, table: NDArray[np.int64] | None = None) -> None:
        self._tree, self._ancestors = tree, tree.all_ancestors()
        shape = 3 * len(self._ancestors) + 4, len(tree.paths)
        self.table = np.zeros(shape, np.int64) if table is None else table
        self._away: list[NDArray[np.int64]] = [np.empty(0, np.int64)]

    def add_edges(self, left: NDArray[np.int64], right: NDArray[np.int64], nodes: NodeHomes) -> None:
        """Count edges, each given once."""
        first, second = stored_at(left, right, nodes)
        parts = nodes.parts
        count_stored_edges(left, right, first, second, parts.part_id, parts.is_split, self._ancestors, self.table)

    def add_rows(self, node: NDArray[np.int64], neighbor: NDArray[np.int64], nodes: NodeHomes) -> None:
        """Note where nodes have rows away from home, by their edges; all edges of a node come to one PartCounts."""
        for part in stored_at(node, neighbor, nodes):
            self.add_rows_of(node[part >= 0], part[part >= 0], nodes.parts)

    def add_rows_of(self, node: NDArray[np.int64], part: NDArray[np.int32], parts: NodeParts) -> None:
        """Note parts that store edges of nodes."""
        is_away = part != parts.part_id[node]
        self._away.append(_distinct(node[is_away] << 32 | part[is_away]))

    def count_rows(self, parts: NodeParts, first: int, stop: int) -> None:
        """Count the rows of a range of nodes, all of whose edges have come."""
        nodes, split_nodes, ghosts = self.table[-3:]
        home = parts.part_id[first:stop]
        nodes += np.bincount(home[home >= 0], minlength=nodes.size)
        away = _distinct(np.concatenate(self._away))
        node, leaf = away >> 32, away & 0xFFFFFFFF
        for depth, ancestor in enumerate(self._ancestors):
            part = ancestor[leaf].astype(np.int64)
            # Parts below another have consecutive numbers, so that (node, part) ascends at every depth.
            pairs = node * nodes.size + part
            counts = (part != ancestor[parts.part_id[node]]) & (np.diff(pairs, prepend=-1) > 0)
            counts &= self._tree.depth[part] == depth
            is_split = parts.is_split[node]
            split_nodes += np.bincount(part[counts & is_split], minlength=nodes.size)
            ghosts += np.bincount(part[counts & ~is_split], minlength=nodes.size)

    def figures(self) -> TreeFigures:
        """Return the figures of all parts."""
        depths, tree = len(self._ancestors), self._tree
        by_part = (tree.depth, np.arange(len(tree.paths)))
        edges, cut, first_cut = self.table[: 3 * depths].reshape(3, depths, -1)
        volume, nodes, split_nodes, ghosts = self.table[3 * depths :]
        columns = (add_up(tree, nodes), edges[by_part], add_up(tree, volume), cut[by_part], split_nodes, ghosts)
        return TreeFigures(*(tuple(column.tolist()) for column in (*columns, first_cut.sum(axis=1))))


def _distinct(words: NDArray[np.int64]) -> NDArray[np.int64]:
    words = np.sort(words)
    return words[np.diff(words, prepend=-1) > 0]
