"""The rows with the largest dot products with each query, exactly: nearest-neighbour lists and rankings.

BLAS (float32 sgemm, in tiles) only says which rows can't be among the best: its rounding error is
bounded for any order of summation, and every row within that bound of a list's end is scored again
by `pipeline.kernels.ranking`. So the fast path decides the speed and nothing else: lists, ties and
metrics are the same on any CPU, with any BLAS and any number of its threads. BLAS alone would not
even score equal rows equally (its kernels for edges of a tile add in another order).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.position_lists import PositionLists
from pipeline.kernels.array_types import read_only
from pipeline.kernels.ranking import NO_ROW, STRIDE, Exclusions, RoughScores, best_first, keep_best, row_lengths

# A tile of scores is 768 x 768 x 4 B = 2.3 MiB: large enough for sgemm's full speed, small enough to be read
# back from a core's own cache (a tenth faster than tiles of 8 MiB, at 30 k x 41 k x 128).
_QUERIES_PER_BLOCK = 768
_ROWS_PER_TILE = 768
#: All rows are read once for as many: where they are a mapped file, that is what counts.
_QUERIES_AT_ONCE = 86 * _QUERIES_PER_BLOCK
#: Rows whose temporary arrays stay small.
_ROWS_AT_ONCE = 65_536


def top_k(
    queries: NDArray[np.float32],
    rows: NDArray[np.float32],
    k: int,
    exclude: PositionLists | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k rows with the largest dot product with each query, exactly; best first.

    Parameters
    ----------
    queries : (q, dim) float32.
    rows : (n, dim) float32. Equal scores go to the smaller position. For cosine, pass unit rows.
    k : length of each list, at least 1.
    exclude : for each query, positions that must not be listed (itself, known neighbours).

    Returns
    -------
    positions : (q, k) int64; ``NO_ROW`` behind the end of a list that fewer than k rows may enter.
    scores : (q, k) float32; -inf there.

    Raises
    ------
    ValueError : if k < 1, widths differ, a value is not finite, or ``exclude`` does not fit.

    Cost
    ----
    2 q n dim operations, one core: 30 k x 41 k at dim 128 in 4 to 5 s (k = 20), 3.4 s of it sgemm.
    Buffers: 4 MiB, the result, and a copy of either argument only if it is not C-contiguous. Rows are read in order,
    once for 66,048 queries.
    """
    positions = np.empty((queries.shape[0], k), np.int64)
    scores = np.empty((queries.shape[0], k), np.float32)
    for start, stop, block_positions, block_scores in ranked_blocks(queries, rows, k, exclude):
        positions[start:stop] = block_positions
        scores[start:stop] = block_scores
    return positions, scores


def unit_rows(rows: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Rows divided by their length, so that a dot product is a cosine; zero rows stay zero.

    (n, dim) float32 -> (n, dim) float32. Lengths are taken in float64.
    """
    unit = np.empty(rows.shape, np.float32) if out is None else out
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        batch = np.ascontiguousarray(rows[start : start + _ROWS_AT_ONCE])
        length = row_lengths(batch)
        length[length == 0.0] = 1.0
        unit[start : start + _ROWS_AT_ONCE] = batch / length[:, None]
    return unit


def ranked_blocks(
    queries: NDArray[np.float32], rows: NDArray[np.float32], k: int, exclude: PositionLists | None
) -> Iterator[tuple[int, int, NDArray[np.int64], NDArray[np.float32]]]:
    """Yield (start, stop, positions, scores) of some queries after the others."""
    n_queries, n_rows = queries.shape[0], rows.shape[0]
    exclude = PositionLists.empty(n_queries) if exclude is None else exclude
    _check_rows(queries, rows, k, exclude)
    queries, rows = np.ascontiguousarray(queries), np.ascontiguousarray(rows)
    slack = _rounding_bound(queries, rows)
    width = min(_ROWS_PER_TILE, max(-(-n_rows // STRIDE), 1) * STRIDE)
    rough = np.empty((min(n_queries, _QUERIES_PER_BLOCK), width), np.float32)
    for start in range(0, n_queries, _QUERIES_AT_ONCE):
        stop = min(start + _QUERIES_AT_ONCE, n_queries)
        blocks = [slice(at, min(at + _QUERIES_PER_BLOCK, stop)) for at in range(start, stop, _QUERIES_PER_BLOCK)]
        lists = [exclude.of(block.start, block.stop) for block in blocks]
        exclusions = [read_only(Exclusions(of_block.indptr, of_block.positions)) for of_block in lists]
        scores = np.full((stop - start, k), -np.inf, np.float32)
        positions = np.full((stop - start, k), NO_ROW, np.int64)
        for first in range(0, n_rows, width):
            tile = rows[first : first + width]
            n = tile.shape[0]
            for block, exclusion in zip(blocks, exclusions, strict=True):
                block_rows = slice(block.start - start, block.stop - start)
                np.matmul(queries[block], tile.T, out=rough[: block.stop - block.start, :n])
                rough_scores = RoughScores(rough, first, n)
                keep_best(
                    rough_scores,
                    queries[block],
                    rows,
                    slack[block],
                    exclusion,
                    scores[block_rows],
                    positions[block_rows],
                )
        best_first(scores, positions)
        yield start, stop, positions, scores


def _rounding_bound(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far a float32 dot product of each query with any of the rows may be from the exact one.

    |fl(u.v) - u.v| <= dim 2^-24 / (1 - dim 2^-24) |u| |v|, for any order of summation, fused or not
    (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1). The 8 pays for the rounding
    of the score itself and of the sums in which the bound is used, the last term for underflow.
    """
    unit = (queries.shape[1] + 8) * 2.0**-24
    longest = row_lengths(queries) * row_lengths(rows).max(initial=0.0)
    if longest.max(initial=0.0) >= 2.0**127:
        raise ValueError(
            f"a score may be as large as {longest.max():.3g}, beyond float32: the rows were not made by an "
            "embedding; scale them down"
        )
    return (unit / (1.0 - unit) * longest + (longest > 0) * 2.0**-120).astype(np.float32)


def _check_rows(queries: NDArray[np.float32], rows: NDArray[np.float32], k: int, exclude: PositionLists) -> None:
    if k < 1:
        raise ValueError(f"k is {k}; a ranking has at least one place")
    for name, matrix in (("queries", queries), ("rows", rows)):
        if matrix.dtype != np.float32:
            raise ValueError(f"{name} are {matrix.dtype}; rows of a table are float32: convert them first")
        for start in range(0, len(matrix), _ROWS_AT_ONCE):
            is_finite = np.isfinite(matrix[start : start + _ROWS_AT_ONCE]).all(axis=1)
            if not is_finite.all():
                at = start + int(np.argmin(is_finite))
                raise ValueError(f"{name}[{at}] is not finite; only finite rows have a ranking")
    if queries.shape[1] != rows.shape[1]:
        raise ValueError(
            f"queries have {queries.shape[1]} columns, rows {rows.shape[1]}; both must come from one space"
        )
    if exclude.n_queries != queries.shape[0]:
        raise ValueError(f"exclude has {exclude.n_queries} lists for {queries.shape[0]} queries; give one list to each")
    check_positions("excluded", exclude, rows.shape[0])


def check_positions(name: str, lists: PositionLists, n_rows: int) -> None:
    """Refuse lists with positions that none of the rows has."""
    if lists.positions.size and lists.positions.max() >= n_rows:
        raise ValueError(f"{name} position {lists.positions.max()} is not one of the {n_rows} rows ranked")
