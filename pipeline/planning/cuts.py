"""Cuts of a graph as counts: what the parts of each store, exactly once a partition is made, else at most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Room for parts that never come out equal.
_ROOM = 1.10
#: Columns of ``partition_tree`` that a cut follows from.
TREE_COUNTS = ("parent", "depth", "nodes", "volume", "split_nodes", "ghosts")


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
        split; of a graph of one type, all. All are counted as copies, which travel at least as much as ghosts.
    """
    if parts == 1:
        return one_block(nodes, edges, is_exact=False)
    away = math.ceil(sum(count * (parts - 1) * (1 - (1 - 1 / parts) ** degree) for degree, count in degrees))
    rows = min(nodes, math.ceil(_ROOM * (nodes + away) / parts))
    entries = min(2 * edges, math.ceil(_ROOM * 2 * edges / parts))
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
    found = []
    for level in range(1, max(tree["depth"], default=0) + 1):
        here = [
            part
            for part in range(count)
            if tree["depth"][part] == level or (tree["depth"][part] < level and part not in has_children)
        ]
        rows = [tree["nodes"][part] + tree["split_nodes"][part] + tree["ghosts"][part] for part in here]
        copies = sum(tree["split_nodes"][part] for part in here)
        ghosts = sum(tree["ghosts"][part] for part in here)
        homes = len(here) if copies else 0  # at most: who is at home where stands in no table of counts
        found.append(Cut(rows, [tree["volume"][part] for part in here], copies, ghosts, homes))
    return found
