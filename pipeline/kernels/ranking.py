"""Keep the best of many scores, look for known answers among them, score pairs of rows.

A score is the dot product of two float32 rows: products exact in float64, added in one fixed order,
the sum rounded once to float32. It is the same on any CPU, and equal rows score equally. The order of
a ranking is total: higher score first, smaller position first among equal scores. A list is as long
as it was asked to be; where fewer rows may be ranked, the rest holds ``NO_ROW``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InCube, InMatrix, Out, OutMatrix, kernel

NO_ROW = -1  # a position that no row has
STRIDE = 64  # scores looked at together; a tile of them is padded to a multiple of it


class Exclusions(NamedTuple):
    """Rows that a list must not hold: of query i ``positions[indptr[i]:indptr[i + 1]]``, ascending."""

    indptr: In[np.int64]
    positions: In[np.int64]


class RoughScores(NamedTuple):
    """Scores of a tile of rows, ``[first, first + rows)``, as a fast product has them.

    scores : (q, width) float32, a column a row, then padding up to a multiple of ``STRIDE``.
    """

    scores: OutMatrix[np.float32]
    first: int
    rows: int


@kernel
def _ranks_below(score: np.float32, position: int, other_score: np.float32, other_position: int) -> bool:
    """Whether the first of two (score, position) stands further down a ranking than the second."""
    return bool(score < other_score or (score == other_score and position > other_position))


@kernel
def sift_down(scores: Out[np.float32], positions: Out[np.int64], size: int, score: np.float32, position: int) -> None:
    """Replace the root of the heap ``[:size]``, whose root ranks last, and restore its order."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and _ranks_below(scores[child + 1], positions[child + 1], scores[child], positions[child]):
            child += 1
        if not _ranks_below(scores[child], positions[child], score, position):
            break
        scores[hole] = scores[child]
        positions[hole] = positions[child]
        hole = child
    scores[hole] = score
    positions[hole] = position


@kernel
def _dot(left: In[np.float32], right: In[np.float32]) -> float:
    """Products exact in float64; column c goes to sum c mod 4, so that four additions overlap."""
    a = b = c = d = 0.0
    whole = left.size - left.size % 4
    for col in range(0, whole, 4):
        a += np.float64(left[col]) * np.float64(right[col])
        b += np.float64(left[col + 1]) * np.float64(right[col + 1])
        c += np.float64(left[col + 2]) * np.float64(right[col + 2])
        d += np.float64(left[col + 3]) * np.float64(right[col + 3])
    for col in range(whole, left.size):
        a += np.float64(left[col]) * np.float64(right[col])
    return (a + b) + (c + d)


@kernel
def keep_best(
    rough: RoughScores,
    queries: InMatrix[np.float32],
    rows: InMatrix[np.float32],
    slack: In[np.float32],
    exclusions: Exclusions,
    best_scores: OutMatrix[np.float32],
    best_positions: OutMatrix[np.int64],
) -> None:
    """Merge one tile of rows into the best of each query so far.

    Rough scores only say which rows can't enter a list; a row that may is scored again, exactly. So
    lists don't depend on who computed the rough scores, as long as these keep to their slack. Tiles
    must come in ascending order: an equal score then always has the larger position, and one
    comparison with the list's last score settles every tie.

    Parameters
    ----------
    rough : **overwritten**: excluded entries and padding become -inf.
    queries, rows : (>= q, dim) and (all rows, dim) float32.
    slack : (q,) float32: how far a query's rough scores may be from the exact ones.
    exclusions : positions of all tiles.
    best_scores, best_positions : (q, k) float32 and int64, changed in place: a heap for each query.
        Begin with -inf and ``NO_ROW``, end with ``best_first``.

    Cost
    ----
    One pass over the tile, and dim + log k steps for each row that may enter a list: for scores in random
    order about k ln(n / k) rows, and those that tie with the last of the list to within the slack.
    """
    tile, first, n = rough
    indptr, excluded_positions = exclusions
    k = best_scores.shape[1]
    for query in range(best_scores.shape[0]):
        row = tile[query]
        row[n:] = -np.inf
        query_exclusions = excluded_positions[indptr[query] : indptr[query + 1]]
        for at in range(np.searchsorted(query_exclusions, first), query_exclusions.size):
            if query_exclusions[at] >= first + n:
                break
            row[query_exclusions[at] - first] = -np.inf
        scores, positions = best_scores[query], best_positions[query]
        bar = np.float32(scores[0] - slack[query])
        for start in range(0, n, STRIDE):
            stride = row[start : start + STRIDE]
            # Nearly every stride ends here. A slice of fixed length and one byte of state are what
            # lets this loop vectorise: ten times the speed of testing scores one by one.
            is_any_above = np.uint8(0)
            for col in range(STRIDE):
                is_any_above |= np.uint8(stride[col] > bar)
            if not is_any_above:
                continue
            for col in range(STRIDE):
                if stride[col] > bar:
                    position = first + start + col
                    score = np.float32(_dot(queries[query], rows[position]))
                    if score > scores[0]:
                        sift_down(scores, positions, k, score, position)
                        bar = np.float32(scores[0] - slack[query])


@kernel
def best_first(best_scores: OutMatrix[np.float32], best_positions: OutMatrix[np.int64]) -> None:
    """Turn the heaps of ``keep_best`` into rankings, in place: (q, k) float32 and int64."""
    for query in range(best_scores.shape[0]):
        scores, positions = best_scores[query], best_positions[query]
        # Heap sort: the root ranks last of those that are left, so it goes to their end.
        for end in range(scores.size - 1, 0, -1):
            score, position = scores[end], positions[end]
            scores[end], positions[end] = scores[0], positions[0]
            sift_down(scores, positions, end, score, position)


@kernel
def mark_hits(
    rankings: InMatrix[np.int64], answer_indptr: In[np.int64], answers: In[np.int64], hits: OutMatrix[np.bool_]
) -> None:
    """Which places of each ranking hold an answer.

    Parameters
    ----------
    rankings : (q, k) int64 positions, best first; ``NO_ROW`` is never an answer.
    answer_indptr, answers : (>= q + 1,) and (nnz,) int64: ascending positions, none below 0.
    hits : (q, k) bool, written.
    """
    for query in range(rankings.shape[0]):
        query_answers = answers[answer_indptr[query] : answer_indptr[query + 1]]
        for place in range(rankings.shape[1]):
            at = np.searchsorted(query_answers, rankings[query, place])
            hits[query, place] = at < query_answers.size and query_answers[at] == rankings[query, place]


@kernel
def pair_scores(
    left_rows: InMatrix[np.float32], left: In[np.int64], right_rows: InMatrix[np.float32], right: In[np.int64]
) -> Out[np.float32]:
    """Dot products of chosen pairs of rows: ``left_rows[left[i]] . right_rows[right[i]]``.

    Parameters
    ----------
    left_rows, right_rows : (n, dim) and (m, dim) float32, C-contiguous; may be one array.
    left, right : (pairs,) int64 positions, not checked.

    Returns
    -------
    (pairs,) float32: the scores that a ranking of ``right_rows`` would show.
    """
    scores = np.empty(left.size, np.float32)
    for pair in range(left.size):
        scores[pair] = _dot(left_rows[left[pair]], right_rows[right[pair]])
    return scores


@kernel
def row_lengths(rows: InMatrix[np.float32]) -> Out[np.float64]:
    """Euclidean length of each row: (n, dim) float32, C-contiguous -> (n,) float64.

    Like the scores the same on any CPU, which numpy's own sums need not be.
    """
    lengths = np.empty(rows.shape[0], np.float64)
    for row in range(rows.shape[0]):
        lengths[row] = np.sqrt(_dot(rows[row], rows[row]))
    return lengths


def merge_lists(
    bounds: NDArray[np.int64], nodes: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Join lists that are in order, best first and smaller nodes first among equals, into the best k of each source.

    Parameters
    ----------
    bounds : (sources, lists, 2) int64: where each list begins and ends. nodes, scores : (entries,); no node is in two
        lists of a source.

    Returns
    -------
    counts (sources,) int64, and the nodes and scores of all, one source after the other.
    """
    counts = np.zeros(bounds.shape[0], np.int64)
    best, their_scores = np.empty(nodes.size, np.int64), np.empty(nodes.size, np.float32)
    _merge(bounds, nodes, scores, k, counts, best, their_scores)
    size = int(counts.sum())
    return counts, best[:size], their_scores[:size]


@kernel
def _merge(
    bounds: InCube[np.int64],
    nodes: In[np.int64],
    scores: In[np.float32],
    k: int,
    counts: Out[np.int64],
    best: Out[np.int64],
    their_scores: Out[np.float32],
) -> None:
    lists = bounds.shape[1]
    heads = np.empty(lists, np.int64)
    put = 0
    for source in range(bounds.shape[0]):
        heads[:] = bounds[source, :, 0]
        while counts[source] < k:
            best_list = -1
            for at in range(lists):
                if heads[at] == bounds[source, at, 1]:
                    continue
                if best_list >= 0:
                    score, other = scores[heads[at]], scores[heads[best_list]]
                    if score < other or (score == other and nodes[heads[at]] > nodes[heads[best_list]]):
                        continue
                best_list = at
            if best_list < 0:
                break
            best[put] = nodes[heads[best_list]]
            their_scores[put] = scores[heads[best_list]]
            heads[best_list] += 1
            counts[source] += 1
            put += 1
