"""One ascending list of row positions for each query: known neighbours, answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import offsets_of


@dataclass(frozen=True, eq=False)
class PositionLists:
    """For each query, ascending and distinct positions of rows: what to leave out, or what to find.

    indptr : (queries + 1,) int64, from 0 to ``positions.size``; query i has
        ``positions[indptr[i]:indptr[i + 1]]``.
    positions : int64.
    """

    indptr: NDArray[np.int64]
    positions: NDArray[np.int64]

    @classmethod
    def empty(cls, n_queries: int) -> PositionLists:
        """No position for any query."""
        return cls(np.zeros(n_queries + 1, np.int64), np.zeros(0, np.int64))

    @classmethod
    def from_pairs(cls, query: NDArray[np.int64], position: NDArray[np.int64], n_queries: int) -> PositionLists:
        """Lists from (query, position) pairs in any order; pairs given twice count once."""
        if query.size and not 0 <= query.min() <= query.max() < n_queries:
            raise ValueError(f"queries run from {query.min()} to {query.max()}; they must lie in [0, {n_queries})")
        if position.min(initial=0) < 0:
            raise ValueError(f"position {position.min()} is below 0; count rows that are unknown apart")
        order = np.lexsort((position, query))
        query, position = query[order], position[order]
        is_new = np.ones(query.size, np.bool_)
        is_new[1:] = (np.diff(query) != 0) | (np.diff(position) != 0)
        query, position = query[is_new], position[is_new]
        return cls(offsets_of(np.bincount(query, minlength=n_queries)), np.ascontiguousarray(position, np.int64))

    @property
    def n_queries(self) -> int:
        """Number of lists."""
        return self.indptr.size - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(queries,) int64: positions of each list."""
        return np.diff(self.indptr)

    def of(self, start: int, stop: int) -> PositionLists:
        """The lists of queries ``[start, stop)``."""
        indptr = self.indptr[start : stop + 1]
        return PositionLists(indptr - indptr[0], self.positions[indptr[0] : indptr[-1]])

    def of_queries(self, queries: NDArray[np.int64]) -> PositionLists:
        """The lists of some queries, ascending."""
        is_wanted = np.zeros(self.n_queries, np.bool_)
        is_wanted[queries] = True
        lengths = self.lengths
        return PositionLists(offsets_of(lengths[queries]), self.positions[np.repeat(is_wanted, lengths)])

    def among(self, rows: NDArray[np.int64]) -> PositionLists:
        """The same lists with only the positions that are among ``rows``, ascending, counted in these."""
        place = np.searchsorted(rows, self.positions)
        is_kept = place < rows.size
        is_kept[is_kept] = rows[place[is_kept]] == self.positions[is_kept]
        return PositionLists(offsets_of(is_kept)[self.indptr], place[is_kept])
