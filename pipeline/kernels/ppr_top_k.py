"""The best k nodes of each source: from dense columns, and from sparse rows.

The order is total: higher score first, smaller node first among equal scores. Only scores above 0 are listed;
where fewer than k nodes have one, the rest of the list holds ``NO_ROW`` with score 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, inner_kernel, kernel, read_only
from pipeline.kernels.csr import entries_of_rows
from pipeline.kernels.ranking import NO_ROW, Exclusions, best_first, sift_down
from pipeline.kernels.residual_tiles import LANES, lanes_above, lowest_bit, widen_lanes

_HALF, _LOWER = np.uint64(32), np.uint64(2**32 - 1)
_FEWEST_WAITING, _MOST_WAITING = 64, 1_024  # keys above a bar, before lists are cut back


class CandidateNodes(NamedTuple):
    """`Candidates` of a run of sources, as kernels take them; ``factor`` is empty where it is 1."""

    start: int
    stop: int
    factor: In[np.float32]
    excluded: Exclusions


@dataclass(frozen=True)
class Candidates:
    """Which nodes a list may hold, and how their scores are corrected.

    start, stop: nodes ``[start, stop)``, a node type's range. factor: (n,) float32 that scores are multiplied by
    (`degree_factor`), or None. excluded: nodes left out of each source's list; None to leave nobody out.
    """

    start: int
    stop: int
    factor: NDArray[np.float32] | None = None
    excluded: Exclusions | None = None

    def in_order(self, sources: NDArray[np.int64]) -> Candidates:
        """The same for these sources."""
        if self.excluded is None:
            return self
        indptr, entries = entries_of_rows(self.excluded.indptr, sources)
        return replace(self, excluded=Exclusions(indptr, self.excluded.positions[entries]))

    def of_sources(self, first: int, stop: int) -> CandidateNodes:
        """The same for sources ``first`` to ``stop``."""
        factor = np.empty(0, np.float32) if self.factor is None else self.factor
        exclusions = Exclusions(np.zeros(stop - first + 1, np.int64), np.empty(0, np.int64))
        if self.excluded is not None:
            exclusions = Exclusions(self.excluded.indptr[first : stop + 1], self.excluded.positions)
        return read_only(CandidateNodes(self.start, self.stop, factor, exclusions))


@dataclass(frozen=True)
class TopK:
    """Ranked nodes of each source.

    nodes (sources, k) int64, ``NO_ROW`` past the end of a list; scores (sources, k) float32, corrected, descending,
    0 past the end; bound (sources,) float64: the solver's error bound, before any correction.
    """

    nodes: NDArray[np.int64]
    scores: NDArray[np.float32]
    bound: NDArray[np.float64]


class SparseScores(NamedTuple):
    """Scores of the nodes that a solver reached, source by source.

    ``missing`` is the l1 error. For push that is what it has left unassigned, exactly; for walks 0.
    """

    indptr: In[np.int64]  # (sources + 1,)
    nodes: In[np.int32]  # (entries,) each at most once a source
    scores: In[np.float64]  # (entries,)
    missing: In[np.float64]  # (sources,)


def degree_factor(degree: NDArray[np.float64], power: float) -> NDArray[np.float32]:
    """``degree ** power`` as factors of scores, 1 for a node without edges; (n,) float64 -> (n,) float32.

    Power -1 ranks by score per edge end, a small negative one takes some popularity away.
    """
    return np.power(np.where(degree > 0, degree, 1.0), power).astype(np.float32)


def check_candidates(candidates: Candidates, n: int, sources: int, k: int) -> None:
    """Refuse ranges, factors and known nodes that do not fit n nodes; k may exceed the number of candidates."""
    if k < 1:
        raise ValueError(f"k is {k}; a list holds at least 1 node")
    if not 0 <= candidates.start <= candidates.stop <= n:
        raise ValueError(f"candidates are {candidates.start} to {candidates.stop}; the graph has nodes 0 to {n - 1}")
    if candidates.factor is not None and (candidates.factor.dtype != np.float32 or candidates.factor.shape != (n,)):
        raise ValueError(f"factor is {candidates.factor.dtype} {candidates.factor.shape}; it must be float32 ({n},)")
    if candidates.excluded is not None and candidates.excluded.indptr.size != sources + 1:
        raise ValueError(
            f"excluded has {candidates.excluded.indptr.size - 1} lists for {sources} sources; give one list to each"
        )


class Shortlists(NamedTuple):
    """What may be among the best ``k`` of each column: keys above its bar, in no order.

    A key has the bits of a score above 0 in its upper half and those of the node, inverted, in its lower: keys are in
    the order of lists. So many keys as there is room for are cut back to the best k, and the last of these is the bar.
    """

    keys: OutMatrix[np.uint64]  # (width, room)
    counts: Out[np.int64]  # (width,)
    bars: Out[np.float32]  # (width,)
    k: int

    @classmethod
    def of(cls, columns: int, width: int, k: int) -> Shortlists:
        """Return empty ones; columns beyond the first ``columns`` get none."""
        bars = np.full(width, np.inf, np.float32)
        bars[:columns] = 0
        room = k + _FEWEST_WAITING + min(k, _MOST_WAITING)
        return cls(np.empty((width, room), np.uint64), np.zeros(width, np.int64), bars, k)

    def best_first_lists(self, columns: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the nodes and the scores of the first columns' lists, (columns, k)."""
        _cut_all(self)
        keys = np.sort(self.keys[:columns, : self.k], axis=1)[:, ::-1]
        nodes = np.where(keys == 0, NO_ROW, (~keys & _LOWER).astype(np.int64))
        return nodes, (keys >> _HALF).astype(np.uint32).view(np.float32)


def top_k_of_columns(
    values: NDArray[np.float32],
    candidates: CandidateNodes,
    scores: NDArray[np.float32],
    nodes: NDArray[np.int64],
) -> None:
    """Rank the candidates of each column by ``values[node, col] * factor[node]``, rounded to float32.

    Parameters
    ----------
    values : (n, dim) float32, C-contiguous; columns beyond the lists are not looked at, dim a multiple of 16.
    candidates : with a factor.
    scores, nodes : (sources, k) float32 and int64, written; sources at most dim.

    Cost
    ----
    One pass over the rows, and a few steps for each score that enters a list.
    """
    lists = Shortlists.of(len(scores), values.shape[1], scores.shape[1])
    offer_rows(values, 0, candidates, lists)
    nodes[:], scores[:] = lists.best_first_lists(len(scores))


def top_k_of_rows(
    sparse: SparseScores, candidates: CandidateNodes, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rank the candidates of each source; the order of a source's entries does not matter.

    Returns nodes (sources, k) int64 and scores (sources, k) float32, as in `TopK`.
    """
    sources = sparse.indptr.size - 1
    scores = np.zeros((sources, k), np.float32)
    nodes = np.full((sources, k), NO_ROW, np.int64)
    _best_of_rows(read_only(sparse), candidates, scores, nodes)
    best_first(scores, nodes)
    return nodes, scores


@inner_kernel
def contains(nodes: In[np.int64], start: int, stop: int, node: int) -> bool:
    """Whether an ascending run of nodes holds this one."""
    while start < stop:
        middle = (start + stop) // 2
        if nodes[middle] < node:
            start = middle + 1
        elif nodes[middle] > node:
            stop = middle
        else:
            return True
    return False


@inner_kernel
def _cut(keys: Out[np.uint64], count: int, k: int) -> None:
    """Bring the k largest of the first ``count`` keys, all different, to the front, and the k-th to its place."""
    low, high = 0, count - 1
    while low < high:
        pivot = keys[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while keys[j] < pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            return


@inner_kernel
def offer_row(line: Out[np.float32], scale: np.float32, row: int, exclusions: Exclusions, lists: Shortlists) -> None:
    """Let a node's scores ``line * scale`` into the lists of their columns. Nodes come in ascending order."""
    indptr, positions = exclusions
    keys, counts, bars, k = lists
    for first in range(0, line.size, LANES):
        above = lanes_above(line, first, scale, bars)
        while above:  # rarely
            col = first + lowest_bit(above)
            above &= above - 1
            # A score equal to the last of a list never enters: its node is larger.
            if not contains(positions, indptr[col], indptr[col + 1], row):
                score = np.float32(line[col] * scale)
                at = counts[col]
                keys[col, at] = (np.uint64(score.view(np.uint32)) << _HALF) | (_LOWER - np.uint64(row))
                counts[col] = at + 1
                if at + 1 == keys.shape[1]:
                    _cut(keys[col], at + 1, k)
                    counts[col] = k
                    bars[col] = np.uint32(keys[col, k - 1] >> _HALF).view(np.float32)


@kernel
def offer_rows(
    values: InMatrix[np.float32] | InMatrix[np.uint16], first: int, candidates: CandidateNodes, lists: Shortlists
) -> None:
    """Offer the candidates' rows, of which the first one there is is that of node ``first``, to lists."""
    line = np.empty(values.shape[1], np.float32)
    for row in range(candidates.start, candidates.stop):
        for col in range(0, line.size, LANES):
            widen_lanes(values, row - first, col, line)
        offer_row(line, candidates.factor[row], row, candidates.excluded, lists)


@kernel
def _cut_all(lists: Shortlists) -> None:
    keys, counts, _, k = lists
    for col in range(counts.size):
        if counts[col] > k:
            _cut(keys[col], counts[col], k)
        keys[col, min(counts[col], k) : k] = 0


@inner_kernel
def may_enter(scores: Out[np.float32], nodes: Out[np.int64], score: np.float32, node: int) -> bool:
    """Whether a node belongs into the heap of a list; one that is not full holds ``NO_ROW`` with score 0."""
    if score < scores[0]:
        return False
    return bool(score > scores[0] or (score > 0 and node < nodes[0]))


@kernel
def _best_of_rows(
    sparse: SparseScores, candidates: CandidateNodes, scores: OutMatrix[np.float32], nodes: OutMatrix[np.int64]
) -> None:
    indptr, scored_nodes, values, _ = sparse
    start, stop, factor, (excluded_indptr, excluded_nodes) = candidates
    k = scores.shape[1]
    for source in range(indptr.size - 1):
        best, best_nodes = scores[source], nodes[source]
        for e in range(indptr[source], indptr[source + 1]):
            node = int(scored_nodes[e])
            if node < start or node >= stop:
                continue
            value = values[e]
            if factor.size > 0:
                value *= np.float64(factor[node])
            score = np.float32(value)
            if may_enter(best, best_nodes, score, node) and not contains(
                excluded_nodes, excluded_indptr[source], excluded_indptr[source + 1], node
            ):
                sift_down(best, best_nodes, k, score, node)
