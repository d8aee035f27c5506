"""Rows in which the right products count: a matrix fitted on pairs, folded into the rows that edges point to.

With ``compatibility``, a target's row i becomes H i at its own length, so that degree powers keep their meaning, and
readers still take dot products with sources, whose rows stay. On one type H is positive semidefinite, and its root is
folded into all rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.kernels.compatibility import compatibility_matrix, fold_matrix, nearest_root
from pipeline.kernels.hashing import hash_nodes, hash_pairs

#: Pairs and, of each side, nodes that H is fitted on, about: chosen by hash, all where there are fewer.
MOST_PAIRS, MOST_NODES = 2**20, 2**18
_SALT_OF_PAIRS, _SALT_OF_NODES = 2**34, 2**35

#: Both ends of pairs, (m,) int64 each.
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
#: The ranges of node numbers in which the ends of pairs are.
Sides = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class FitSample:
    """What H is fitted on.

    node_ix : (n,) int64 ascending, whose rows it takes. src, dst : (m,) int64 positions in it, of pairs in the order
    of their ends. left_weight, right_weight : (n,) float64, of a node among the negatives of each side, 0: none.
    """

    node_ix: NDArray[np.int64]
    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    left_weight: NDArray[np.float64]
    right_weight: NDArray[np.float64]

    def fit(self, rows: NDArray[np.float32], settings: Settings) -> NDArray[np.float32]:
        """Return H, or its root on one type, from the finished rows of ``node_ix``."""
        is_plain = settings.graph.is_plain
        matrix = compatibility_matrix(
            rows,
            (self.src, self.dst),
            (self.left_weight, self.right_weight),
            float(settings.embedding.compatibility or 0.0),
            is_symmetric=is_plain,
        )
        # Rounded here, so that all who fold it in have the same numbers.
        return (nearest_root(matrix) if is_plain else matrix).astype(np.float32)


def choose_pairs(pairs: Pairs, all_pairs: int, node_key: NDArray[np.uint64], seed: int) -> NDArray[np.bool_]:
    """Return which pairs of node numbers H is fitted on. The ends of a pair of one type ascend."""
    word = hash_pairs(node_key[pairs[0]], node_key[pairs[1]], seed ^ _SALT_OF_PAIRS)
    return (pairs[0] != pairs[1]) & _are_below(word, MOST_PAIRS / max(all_pairs, 1))


def sample_around(
    pairs: Pairs, node_key: NDArray[np.uint64], degree: NDArray[np.int64], sides: Sides, seed: int
) -> FitSample:
    """Return the chosen pairs with nodes of both sides: half of the negatives are random, half match degrees.

    A node of the right side weighs 1/2 as a random negative, and d / 2 mean(d) as one that stands for an end of a
    random pair, which has the same degree. ``node_key`` and ``degree`` are by node number.
    """
    order = np.lexsort((pairs[1], pairs[0]))
    src, dst = pairs[0][order], pairs[1][order]
    left, right = (_some_nodes(side, node_key, degree, seed) for side in sides)
    node_ix = np.unique(np.concatenate((src, dst, left, right)))
    left_weight, right_weight = np.zeros(node_ix.size), np.zeros(node_ix.size)
    right_degree = degree[right].astype(np.float64)
    right_weight[np.searchsorted(node_ix, right)] = 0.5 + 0.5 * right_degree / max(right_degree.sum() / right.size, 1.0)
    if sides[0] == sides[1]:
        left_weight = right_weight
    else:
        left_weight[np.searchsorted(node_ix, left)] = 1.0
    places = [np.searchsorted(node_ix, end).astype(np.int64) for end in (src, dst)]
    return FitSample(node_ix, places[0], places[1], left_weight, right_weight)


def fold_in_place(
    rows: NDArray[np.float32], node_ix: NDArray[np.int64], matrix: NDArray[np.floating], graph: GraphSummary
) -> None:
    """Fold H into the finished rows of the targets among ascending nodes, or on one type into all."""
    first, stop = np.searchsorted(node_ix, graph.target)
    fold_matrix(rows[first:stop], matrix.astype(np.float64))


def fold_fitted(rows: NDArray[np.float32], block: Block, settings: Settings, sides: Sides) -> None:
    """Fit H on the edges between two sides of a block that is the whole graph, and fold it into its finished rows."""
    graph, seed = settings.graph, settings.embedding.seed
    node_key, degree = np.zeros(graph.nodes, np.uint64), np.zeros(graph.nodes, np.int64)
    node_key[block.node_ix], degree[block.node_ix] = block.node_key, block.degree
    src = np.repeat(block.node_ix, np.diff(block.indptr))
    dst = block.node_ix[block.neighbor]
    # Each edge is there from both ends.
    is_pair = (src >= sides[0][0]) & (src < sides[0][1]) & (dst >= sides[1][0]) & (dst < sides[1][1])
    if graph.is_plain:
        is_pair &= src <= dst
    src, dst = src[is_pair], dst[is_pair]
    is_chosen = choose_pairs((src, dst), src.size, node_key, seed)
    sample = sample_around((src[is_chosen], dst[is_chosen]), node_key, degree, sides, seed)
    matrix = sample.fit(rows[sample.node_ix], settings)
    fold_in_place(rows, np.arange(graph.nodes), matrix, graph)


def _some_nodes(
    side: tuple[int, int], node_key: NDArray[np.uint64], degree: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    nodes = side[0] + np.flatnonzero(degree[slice(*side)])
    word = hash_nodes(node_key[nodes], seed ^ _SALT_OF_NODES)
    return nodes[_are_below(word, MOST_NODES / max(nodes.size, 1))]


def _are_below(word: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    return np.ones(word.size, np.bool_) if share >= 1 else word < np.uint64(int(share * 2.0**64))
