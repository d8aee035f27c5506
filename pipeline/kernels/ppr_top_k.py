"""The best k nodes of each source: from dense columns, and from sparse rows.

The order is total: higher score first, smaller node first among equal scores. Only scores above 0 are listed;
where fewer than k nodes have one, the rest of the list holds ``NO_ROW`` with score 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, inner_kernel, kernel, read_only
from pipeline.kernels.ranking import NO_ROW, Exclusions, best_first, sift_down


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

    def of_sources(self, first: int, stop: int) -> CandidateNodes:
        """The same for sources ``first`` to ``stop``."""
        factor = np.empty(0, np.float32) if self.factor is None else self.factor
        excluded = Exclusions(np.zeros(stop - first + 1, np.int64), np.empty(0, np.int64))
        if self.excluded is not None:
            excluded = Exclusions(self.excluded.indptr[first : stop + 1], self.excluded.positions)
        return read_only(CandidateNodes(self.start, self.stop, factor, excluded))


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
    One pass over the rows, and log k steps for each score that enters a list.
    """
    scores.fill(0)
    nodes.fill(NO_ROW)
    bars = np.full(values.shape[1], np.inf, np.float32)
    bars[: len(scores)] = 0
    _best_of_columns(values, candidates, bars, scores, nodes)
    best_first(scores, nodes)


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


@kernel
def _best_of_columns(
    values: InMatrix[np.float32],
    candidates: CandidateNodes,
    bars: Out[np.float32],
    scores: OutMatrix[np.float32],
    nodes: OutMatrix[np.int64],
) -> None:
    start, stop, factor, (indptr, excluded) = candidates
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
                    if not contains(excluded, indptr[col], indptr[col + 1], row):
                        sift_down(scores[col], nodes[col], k, score, row)
                        bars[col] = scores[col, 0]


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
    start, stop, factor, (excluded_indptr, excluded) = candidates
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
                excluded, excluded_indptr[source], excluded_indptr[source + 1], node
            ):
                sift_down(best, best_nodes, k, score, node)
