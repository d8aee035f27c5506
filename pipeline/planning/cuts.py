"""Cuts of a graph as counts: what the parts of each store, exactly once a partition is made, else at most."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline import storage
from pipeline.blocks.arrays import NodeArrays
from pipeline.config.graph_sides import span_of
from pipeline.config.model import PipelineConfig
from pipeline.ingest.figures import IndexFigures
from pipeline.workspace import Workspace

#: Room for parts that never come out equal.
ROOM = 1.10
#: Columns of ``partition_tree`` that a cut follows from.
_TREE_COUNTS = ("parent", "depth", "nodes", "volume", "split_nodes", "ghosts")


@dataclass(frozen=True)
class Cut:
    """A graph in parts: what each part stores."""

    rows: Sequence[int]  # at home, copies and ghosts
    entries: Sequence[int]  # edge ends whose node is computed here
    copies: int  # rows of split nodes away from home, of all parts
    ghosts: int
    homes: int  # parts that are the home of split nodes, whose partial rows they add
    is_exact: bool = True  # else upper bounds

    @property
    def parts(self) -> int:
        """Number of parts."""
        return len(self.rows)


def one_block(nodes: int, edges: int, *, is_exact: bool = True) -> Cut:
    """Return the graph in one part, which exchanges nothing."""
    return Cut([nodes], [2 * edges], 0, 0, 0, is_exact)


def hash_cut(nodes: int, edges: int, degrees: Iterable[tuple[float, int]], parts: int) -> Cut:
    """Bound what any partitioner that beats chance leaves: the expected cut of homes drawn at random.

    A node with d edges has none of them in a given part with chance (1 - 1/parts)**d. That is convex in d: the mean
    degree in place of all bounds it as well, and so do more nodes or more edges than there are.

    Parameters
    ----------
    degrees : (degree, nodes with it) of the nodes that may be needed away from home: the target type's, which are
        split; of a graph of one type, all. All are counted as copies, which exchange at least as many rows as ghosts.
    """
    if parts == 1:
        return one_block(nodes, edges, is_exact=False)
    away = math.ceil(sum(count * (parts - 1) * (1 - (1 - 1 / parts) ** degree) for degree, count in degrees))
    rows = min(nodes, math.ceil(ROOM * (nodes + away) / parts))
    entries = min(2 * edges, math.ceil(ROOM * 2 * edges / parts))
    return Cut([rows] * parts, [entries] * parts, away, 0, parts, is_exact=False)


def cuts_by_level(tree: Mapping[str, Sequence[int]]) -> list[Cut]:
    """Return the cut that each level of a partition tree would be, from the top; the last is that of its leaves.

    The table ``partition_tree`` counts what every inner part stores as if its leaves were one. Leaves above a level
    stand for themselves.

    Parameters
    ----------
    tree : the table's columns by name, in its order: parts after their parents.
    """
    count = len(tree["parent"])
    has_children = {parent for parent in tree["parent"] if parent >= 0}
    levels = []
    for level in range(1, max(tree["depth"], default=0) + 1):
        leaves = [
            part
            for part in range(count)
            if tree["depth"][part] == level or (tree["depth"][part] < level and part not in has_children)
        ]
        rows = [tree["nodes"][part] + tree["split_nodes"][part] + tree["ghosts"][part] for part in leaves]
        copies = sum(tree["split_nodes"][part] for part in leaves)
        ghosts = sum(tree["ghosts"][part] for part in leaves)
        homes = len(leaves) if copies else 0  # at most: no table of counts says which parts are homes
        levels.append(Cut(rows, [tree["volume"][part] for part in leaves], copies, ghosts, homes))
    return levels


def cuts_of_tree(workspace: Workspace) -> list[Cut]:
    """Return the cut of every level of the partition tree, the last that of its leaves; none of one block."""
    tree = storage.read_parquet([workspace.files("partition_tree")[0]])
    return cuts_by_level({name: tree[name].to_pylist() for name in _TREE_COUNTS})


def cut_of_layout(workspace: Workspace) -> Cut:
    """Return what the blocks store, all of them; the rows between them are known where they exchange any."""
    layout = workspace.manifest("block_nodes").figures
    rows, entries = (
        [count for blocks in layout["sets"] for count in blocks[name].values()] for name in ("rows", "entries")
    )
    if layout["boundary"] != "exchange" or len(rows) < 2:
        return Cut(rows, entries, copies=0, ghosts=0, homes=0)
    leaves = cuts_of_tree(workspace)[-1]
    return Cut(rows, entries, leaves.copies, leaves.ghosts, len(layout["splits"]))


def degrees_of(config: PipelineConfig, workspace: Workspace) -> list[tuple[int, int]]:
    """Return (degree, nodes with it) of the nodes that may be needed away from home: targets, or all of one type."""
    degree = NodeArrays(workspace.files("node_arrays")).all("degree")
    if not config.input.is_plain:
        first, stop = span_of(config.sides.columns, workspace.figures("node_index", IndexFigures).types)
        degree = degree[first:stop]
    counts = np.bincount(degree)
    return [(int(value), int(counts[value])) for value in np.flatnonzero(counts)]


def crossing_share(workspace: Workspace, edges: int) -> float:
    """Return the share of the edges whose ends are at home in different parts; 0 of one block."""
    tree = storage.read_parquet([workspace.files("partition_tree")[0]])
    leaves = tree.filter(tree["is_leaf"])
    edges_of_parts, cut = (int(sum(leaves[name].to_pylist())) for name in ("edges", "cut"))
    # Of two whole nodes both parts store the edge, and both count it as cut.
    return (cut - (edges_of_parts - edges)) / max(edges, 1)
