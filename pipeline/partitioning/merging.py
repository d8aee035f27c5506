"""The hierarchy of parts: those with the densest borders are merged first, bottom-up.

The density between two parts is their common edges over the product of their volumes. A cut into many parts at
once says nothing about which belong together; merging upwards from it finds that more reliably than cutting
downwards, whose first cuts are the hardest.

Source: Dreveton, Kuroda, Grossglauser & Thiran, "When does bottom-up beat top-down in hierarchical community
detection?" (arXiv 2306.00833).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.partitioning.tree import PartPath, Tree


@dataclass(frozen=True)
class Merge:
    """One step: parts ``first`` < ``second`` become one that goes on as ``first``."""

    first: int
    second: int
    density: float


def merges(edges: NDArray[np.int64], volume: NDArray[np.int64]) -> Iterator[Merge]:
    """Merge parts until one is left: always the densest pair that fits the cap, ties by the lowest numbers.

    The cap on volume starts at twice the largest part and doubles whenever no pair fits it, so that parts of one
    size are merged into parts of one size, and the tree stays shallow.

    Parameters
    ----------
    edges : (parts, parts) int64, symmetric: edges between parts, or any multiple. The diagonal is ignored.
    volume : (parts,) int64. A part without volume counts as 1.
    """
    between: list[dict[int, int]] = [
        {int(neighbor): int(row[neighbor]) for neighbor in np.flatnonzero(row) if neighbor != part}
        for part, row in enumerate(edges)
    ]
    size = np.maximum(volume, 1).tolist()
    alive = dict.fromkeys(range(len(size)))
    cap = 2 * max(size, default=1)

    def pair(a: int, b: int) -> tuple[float, int, int, int, int]:
        a, b = min(a, b), max(a, b)
        return -between[a].get(b, 0) / (size[a] * size[b]), a, b, size[a], size[b]

    while len(alive) > 1:
        heap = [pair(a, b) for a in alive for b in between[a] if a < b and size[a] + size[b] <= cap]
        heapq.heapify(heap)
        while True:
            while heap and (heap[0][1] not in alive or heap[0][2] not in alive or heap[0] != pair(*heap[0][1:3])):
                heapq.heappop(heap)  # of a part as it was before a merge
            densest = heapq.heappop(heap) if heap else _first_fitting(alive, size, cap, pair)
            if densest is None:
                break
            density, a, b = densest[:3]
            yield Merge(a, b, -density)
            size[a] += size[b]
            del alive[b]
            for neighbor, count in between[b].items():
                del between[neighbor][b]
                if neighbor != a:
                    between[a][neighbor] = between[neighbor][a] = between[a].get(neighbor, 0) + count
            for neighbor in between[a]:
                if size[a] + size[neighbor] <= cap:
                    heapq.heappush(heap, pair(a, neighbor))
        cap *= 2


def hierarchy(edges: NDArray[np.int64], volume: NDArray[np.int64]) -> tuple[list[PartPath], int]:
    """Return the way from the root to each part in a binary tree, and the number of inversions.

    Of two merged parts, the one with the lowest number goes first. An inversion is a merge that is denser than
    one of the merges it is made of: its parts belong together less than with their neighbours.
    """
    members: dict[int, list[int]] = {part: [part] for part in range(volume.size)}
    paths: list[PartPath] = [()] * volume.size
    density: dict[int, float] = {}
    inversions = 0
    for merge in merges(edges, volume):
        for branch, part in enumerate((merge.first, merge.second)):
            for member in members[part]:
                paths[member] = (branch, *paths[member])
        below = [density[part] for part in (merge.first, merge.second) if part in density]
        inversions += any(merge.density > inner for inner in below)
        members[merge.first] += members.pop(merge.second)
        density[merge.first] = merge.density
    return paths, inversions


def merged_paths(
    leaves: Sequence[PartPath], edges: NDArray[np.int64], volume: NDArray[np.int64]
) -> tuple[list[PartPath], int]:
    """Make every cut into three or more a binary hierarchy; return the leaves' new paths and the inversions.

    Parameters
    ----------
    leaves : paths of all leaves, in the order of the rows of ``edges`` (leaves, leaves) and ``volume`` (leaves,).
    """
    below: dict[PartPath, list[int]] = {}
    for leaf, path in enumerate(leaves):
        for depth in range(1, len(path) + 1):
            below.setdefault(path[:depth], []).append(leaf)
    children: dict[PartPath, list[PartPath]] = {}
    for path in sorted(below):
        children.setdefault(path[:-1], []).append(path)
    steps: dict[PartPath, PartPath] = {}  # what takes the place of the last step of a path
    inversions = 0
    for parent, parts in children.items():
        if not parent:
            steps[parts[0]] = (0,)
            continue
        sums = np.array([edges[below[part]].sum(axis=0) for part in parts])
        crossing = np.array([sums[:, below[part]].sum(axis=1) for part in parts])
        child_steps, more = hierarchy(crossing, np.array([volume[below[part]].sum() for part in parts]))
        steps |= dict(zip(parts, child_steps, strict=True))
        inversions += more
    new = [tuple(step for depth in range(1, len(path) + 1) for step in steps[path[:depth]]) for path in leaves]
    return new, inversions


def count_borders(borders: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    """Add edges to a matrix of (leaves, leaves), given the leaves of their ends."""
    np.add.at(borders.reshape(-1), left * len(borders) + right, 1)


@dataclass(frozen=True)
class MergedTree:
    """The tree of merged leaves, and their part_ids in it by those before; -1, of no part, becomes -1."""

    tree: Tree
    new_part: NDArray[np.int32]
    inversions: int

    @classmethod
    def of(cls, tree: Tree, sums: NDArray[np.int64] | None) -> MergedTree:
        """Merge the leaves of a tree bottom-up, inside each of its cuts; without ``sums`` they stay as they are.

        Parameters
        ----------
        sums : (leaves + 1, leaves) edges between leaves, or any multiple, in their order; then their volumes.
        """
        paths, inversions = list(tree.leaves), 0
        if sums is not None:
            paths, inversions = merged_paths(paths, sums[:-1], sums[-1])
        merged_tree = Tree.of(paths)
        part_of = {path: part for part, path in enumerate(merged_tree.paths)}
        new_part = np.full(len(tree.paths) + 1, -1, np.int32)
        new_part[np.flatnonzero(tree.is_leaf)] = [part_of[path] for path in paths]
        return cls(merged_tree, new_part, inversions)


def _first_fitting(
    alive: Mapping[int, None],
    size: Sequence[int],
    cap: int,
    pair: Callable[[int, int], tuple[float, int, int, int, int]],
) -> tuple[float, int, int, int, int] | None:
    """Return the pair of lowest numbers that fits; asked for when all that fit have no edge between them."""
    parts = list(alive)
    for at, a in enumerate(parts):
        for b in parts[at + 1 :]:
            if size[a] + size[b] <= cap:
                return pair(a, b)
    return None
