"""A table of embeddings in memory, and pairs of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.link_prediction import Nodes, distinct, pair_codes
from pipeline.evaluation.ranking import unit_rows


@dataclass(frozen=True, eq=False)
class Table:
    """A table in memory; a position is a row of all arrays.

    rows : (n, dim) float32. node_key : (n,) uint64. degree : (n,) int64.
    ranges : positions of each type. source, target : the types that pairs join.
    similarity : "dot" or "cosine", what the table's metadata names for retrieval.
    feature, classifier : the same for likeness within a type, and for a linear model over rows.
    part : (n,) int64, which part of the graph each node was at home in, -1: in none; None: not known.
    """

    rows: NDArray[np.float32]
    node_key: NDArray[np.uint64]
    degree: NDArray[np.int64]
    ranges: Mapping[str, tuple[int, int]]
    source: str
    target: str
    similarity: str
    feature: str = "cosine"
    classifier: str = "dot"
    part: NDArray[np.int64] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether both ends of a pair have one type."""
        return self.source == self.target

    @property
    def nodes(self) -> Nodes:
        """Return the nodes as the negatives' draw wants them."""
        node_type = np.zeros(len(self.rows), np.int32)
        for number, (first, stop) in enumerate(self.ranges.values()):
            node_type[first:stop] = number
        return Nodes(self.node_key, node_type, self.degree)

    def rows_for(self, similarity: str) -> NDArray[np.float32]:
        """Return rows whose dot product is the similarity: unit rows for "cosine"."""
        return unit_rows(self.rows) if similarity == "cosine" else self.rows


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs by position in the table: (pairs,) int64 each, -1 for an end that the table does not have."""

    src: NDArray[np.int64]
    dst: NDArray[np.int64]

    @classmethod
    def none(cls) -> Pairs:
        """No pairs."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def among(self, is_source: NDArray[np.bool_]) -> Pairs:
        """Pairs whose known source is chosen."""
        chosen = self.src >= 0
        chosen[chosen] = is_source[self.src[chosen]]  # strangers have numbers below -1, as many as there are of them
        return Pairs(self.src[chosen], self.dst[chosen])

    def with_rows(self, table: Table) -> Pairs:
        """Distinct pairs of which both ends have a row; on a plain graph without loops, each edge once."""
        n = len(table.rows)
        has_rows = (self.src >= 0) & (self.dst >= 0)
        src, dst = self.src[has_rows], self.dst[has_rows]
        if table.is_plain:
            src, dst = np.minimum(src, dst), np.maximum(src, dst)
            src, dst = src[src != dst], dst[src != dst]
        src, dst = np.divmod(distinct(src * n + dst), n)
        return Pairs(src, dst)


def known_codes(table: Table, *some: Pairs) -> NDArray[np.int64]:
    """Sorted codes of all pairs whose ends have rows; in both directions on a plain graph."""
    n = len(table.rows)
    src, dst = (np.concatenate([getattr(pairs, end) for pairs in some]) for end in ("src", "dst"))
    has_rows = (src >= 0) & (dst >= 0)
    return pair_codes(src[has_rows], dst[has_rows], n, undirected=table.is_plain)
