"""A table of embeddings in memory, and pairs of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.evaluation.link_prediction import Nodes, distinct, pair_codes
from pipeline.evaluation.top_k import unit_rows


@dataclass(frozen=True, eq=False)
class Table:
    """A table; a position is a row of all arrays.

    rows : (n, dim) float32; of a large table a mapped file. node_key : (n,) uint64. degree : (n,) int64.
    ranges : positions of each type. source, target : the types that pairs join.
    similarity : "dot" or "cosine", what the table's metadata names for retrieval.
    feature, classifier : the same for likeness within a type, and for a linear model over rows.
    part : (n,) int64, the part of the graph that is each node's home, -1: none; None: not known.
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
        """Return the nodes as negatives are drawn from them."""
        node_type = np.zeros(len(self.rows), np.int32)
        for number, (first, stop) in enumerate(self.ranges.values()):
            node_type[first:stop] = number
        return Nodes(self.node_key, node_type, self.degree)

    def rows_for(self, similarity: str) -> NDArray[np.float32]:
        """Return rows whose dot product is the similarity: unit rows for "cosine"."""
        return self._unit_rows if similarity == "cosine" else self.rows

    @cached_property
    def _unit_rows(self) -> NDArray[np.float32]:
        return unit_rows(self.rows, out=storage.scratch_array(*self.rows.shape))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs by position in the table: (pairs,) int64 each; nodes that the table does not have are numbered below 0."""

    src: NDArray[np.int64]
    dst: NDArray[np.int64]

    @classmethod
    def none(cls) -> Pairs:
        """No pairs."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def between_rows(self) -> Pairs:
        """Pairs of which both ends have a row."""
        has_rows = (self.src >= 0) & (self.dst >= 0)
        return Pairs(self.src[has_rows], self.dst[has_rows])

    def of_sources(self, source: NDArray[np.int64], table: Table) -> Pairs:
        """Pairs from some sources, which all have a row."""
        is_source = np.zeros(len(table.rows), np.bool_)
        is_source[source] = True
        is_from_source = self.src >= 0
        is_from_source[is_from_source] = is_source[self.src[is_from_source]]
        return Pairs(self.src[is_from_source], self.dst[is_from_source])

    def without(self, excluded_pairs: Pairs, table: Table) -> Pairs:
        """Known pairs that are not among the excluded ones; on a plain graph in neither direction."""
        pairs = self.between_rows()
        stays = ~np.isin(pairs.codes(table), excluded_pairs.between_rows().codes(table))
        return Pairs(pairs.src[stays], pairs.dst[stays])

    def with_rows(self, table: Table) -> Pairs:
        """Distinct known pairs, ascending; on a plain graph without loops, each edge once."""
        src, dst = np.divmod(distinct(self.between_rows().codes(table)), len(table.rows))
        return Pairs(src[src != dst], dst[src != dst]) if table.is_plain else Pairs(src, dst)

    def both_directions(self) -> Pairs:
        """Each pair from either end."""
        return Pairs(np.concatenate((self.src, self.dst)), np.concatenate((self.dst, self.src)))

    def codes(self, table: Table) -> NDArray[np.int64]:
        """A number for each of these known pairs; on a plain graph the same one in either direction."""
        src, dst = self.src, self.dst
        if table.is_plain:
            src, dst = np.minimum(src, dst), np.maximum(src, dst)
        return src * len(table.rows) + dst


def known_codes(table: Table, *pair_sets: Pairs) -> NDArray[np.int64]:
    """Sorted ``pair_codes`` of all pairs whose ends have rows; in both directions on a plain graph."""
    src, dst = (np.concatenate([getattr(pairs.between_rows(), end) for pairs in pair_sets]) for end in ("src", "dst"))
    return pair_codes(src, dst, len(table.rows), is_undirected=table.is_plain)
