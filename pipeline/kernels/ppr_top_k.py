"""The best k nodes of each source: from dense columns, and from sparse rows.

The order is total: higher score first, smaller node first among equal scores. Only scores above 0 are listed;
where fewer than k nodes have one, the rest of the list holds ``NO_ROW`` with score 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, kernel
from pipeline.kernels.ranking import NO_ROW, best_first, sift_down


@dataclass(frozen=True)
class Candidates:
    """Which nodes a list may hold, and how their scores are corrected.

    start, stop: nodes ``[start, stop)``, a node type's range. factor: (n,) float32 that scores are multiplied by
    (`degree_factor`), or None. known_indptr (sources + 1,), known (entries,) int64: nodes left out of each
    source's list, ascending within a source; both None to leave nobody out.
    """

    start: int
    stop: int
    factor: NDArray[np.float32] | None = None
    known_indptr: NDArray[np.int64] | None = None
    known: NDArray[np.int64] | None = None

    def known_of(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The known nodes of sources ``start`` to ``stop``; no entries where nobody is left out."""
        if self.known_indptr is None or self.known is None:
            return np.zeros(stop - start + 1, np.int64), np.empty(0, np.int64)
        return self.known_indptr[start : stop + 1], self.known

    def of_sources(self, start: int, stop: int) -> Candidates:
        """The same for sources ``start`` to ``stop`` alone."""
        return replace(self, known_indptr=None if self.known_indptr is None else self.known_indptr[start : stop + 1])


@dataclass(frozen=True)
class TopK:
    """Ranked nodes of each source.

    nodes (sources, k) int64, ``NO_ROW`` past the end of a list; scores (sources, k) float32, corrected, descending,
    0 past the end; bound (sources,) float64: the solver's error bound, before any correction.
    """

    nodes: NDArray[np.int64]
    scores: NDArray[np.float32]
    bound: NDArray[np.float64]


@dataclass(frozen=True)
class SparseScores:
    """Scores of the nodes that a solver reached, source by source.

    indptr (sources + 1,) int64, nodes (entries,) int32 each at most once a source, scores (entries,) float64.
    missing (sources,) float64: the l1 error. For push that is what it has left unassigned, exactly; for walks 0.
    """

    indptr: NDArray[np.int64]
    nodes: NDArray[np.int32]
    scores: NDArray[np.float64]
    missing: NDArray[np.float64]


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
    if (candidates.known_indptr is None) != (candidates.known is None):
        raise ValueError("known_indptr and known go together; give both or neither")
    if candidates.known_indptr is not None and candidates.known_indptr.size != sources + 1:
        raise ValueError(
            f"known_indptr has {candidates.known_indptr.size} values; {sources} sources need {sources + 1}"
        )


def top_k_of_columns(
    values: NDArray[np.float32],
    factor: NDArray[np.float32],
    start: int,
    stop: int,
    known_indptr: NDArray[np.int64],
    known: NDArray[np.int64],
    scores: NDArray[np.float32],
    nodes: NDArray[np.int64],
) -> None:
    """Rank rows ``start`` to ``stop`` of each column by ``values[row, col] * factor[row]``, rounded to float32.

    Parameters
    ----------
    values : (n, dim) float32, C-contiguous; columns beyond the lists are not looked at, dim a multiple of 16.
    factor : (n,) float32.
    known_indptr, known : (sources + 1,) and (entries,) int64: ascending nodes left out of each list.
    scores, nodes : (sources, k) float32 and int64, written; sources at most dim.

    Cost
    ----
    One pass over the rows, and log k steps for each score that enters a list.
    """
    scores.fill(0)
    nodes.fill(NO_ROW)
    bars = np.full(values.shape[1], np.inf, np.float32)
    bars[: len(scores)] = 0
    _best_of_columns(values, factor, start, stop, known_indptr, known, bars, scores, nodes)
    best_first(scores, nodes)


def top_k_of_rows(found: SparseScores, candidates: Candidates, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rank the nodes of each source; the order in which they were found does not matter.

    Returns nodes (sources, k) int64 and scores (sources, k) float32, as in `TopK`.
    """
    sources = found.indptr.size - 1
    scores = np.zeros((sources, k), np.float32)
    nodes = np.full((sources, k), NO_ROW, np.int64)
    span = (candidates.start, candidates.stop)
    known = candidates.known_of(0, sources)
    _best_of_rows(found.indptr, found.nodes, found.scores, candidates.factor, *span, *known, scores, nodes)
    best_first(scores, nodes)
    return nodes, scores


@kernel
def is_known(known: In[np.int64], start: int, stop: int, node: int) -> bool:
    """Whether an ascending run of nodes holds this one."""
    while start < stop:
        middle = (start + stop) // 2
        if known[middle] < node:
            start = middle + 1
        elif known[middle] > node:
            stop = middle
        else:
            return True
    return False


@kernel
def _best_of_columns(
    values: InMatrix[np.float32],
    factor: In[np.float32],
    start: int,
    stop: int,
    known_indptr: In[np.int64],
    known: In[np.int64],
    bars: Out[np.float32],
    scores: OutMatrix[np.float32],
    nodes: OutMatrix[np.int64],
) -> None:
    dim = values.shape[1]
    k = scores.shape[1]
    for row in range(start, stop):
        scale = factor[row]
        line = values[row]
        for first in range(0, dim, 16):
            # Nearly every group of 16 ends here. Slices of fixed length and one byte of state let this
            # loop become a few vector instructions.
            group = line[first : first + 16]
            group_bars = bars[first : first + 16]
            is_any_above = np.uint8(0)
            for lane in range(16):
                is_any_above |= np.uint8(group[lane] * scale > group_bars[lane])
            if not is_any_above:
                continue
            for lane in range(16):
                score = np.float32(group[lane] * scale)
                if score > group_bars[lane]:
                    col = first + lane
                    # Rows come in ascending order, so an equal score never enters: its node is larger.
                    if not is_known(known, known_indptr[col], known_indptr[col + 1], row):
                        sift_down(scores[col], nodes[col], k, score, row)
                        bars[col] = scores[col, 0]


@kernel
def _best_of_rows(
    indptr: In[np.int64],
    nodes_in: In[np.int32],
    values: In[np.float64],
    factor: In[np.float32] | None,
    start: int,
    stop: int,
    known_indptr: In[np.int64],
    known: In[np.int64],
    scores: OutMatrix[np.float32],
    nodes: OutMatrix[np.int64],
) -> None:
    k = scores.shape[1]
    for source in range(indptr.size - 1):
        best, places = scores[source], nodes[source]
        for e in range(indptr[source], indptr[source + 1]):
            node = int(nodes_in[e])
            if node < start or node >= stop:
                continue
            value = values[e]
            if factor is not None:
                value *= np.float64(factor[node])
            score = np.float32(value)
            # A list that is not full yet holds NO_ROW with score 0, which any score above 0 replaces.
            if score < best[0] or (score == best[0] and (score == 0 or node > places[0])):
                continue
            if not is_known(known, known_indptr[source], known_indptr[source + 1], node):
                sift_down(best, places, k, score, node)
