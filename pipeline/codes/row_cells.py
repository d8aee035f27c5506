"""Cells of rows that one task can hold: halves of halves, cut by a sample, so that rows find theirs one by one."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.balanced_means import RoundedRows, mean_rows, split_rows

#: Bytes of rows that a cell has, about, and a sample that cells are cut by, at most.
_CELL_BYTES = 2**27


def count_cells(rows: int, dim: int) -> int:
    """Return into how many cells so many rows are cut: a power of two."""
    return 1 << max(-(-rows * dim * 4 // _CELL_BYTES) - 1, 0).bit_length()


def sample_share(rows: int, dim: int) -> float:
    """Return the share of the rows that cells are cut by."""
    return min(_CELL_BYTES / max(rows * dim * 4, 1), 1.0)


def cut_cells(rows: NDArray[np.float32], rank: NDArray[np.uint64], cells: int) -> NDArray[np.float32]:
    """Cut a sample into halves of as many rows, across the line between two means, and these halves again.

    Parameters
    ----------
    rows : (n, dim) of the sample. rank : (n,) a hash of each row's node. cells : a power of two.

    Returns
    -------
    (cells - 1, dim + 1) float32: of each cut the direction, and the bound of products with it; those of the two halves
    of cut i are 2 i + 1 and 2 i + 2.
    """
    cuts = np.zeros((cells - 1, rows.shape[1] + 1), np.float32)
    rounded_rows, place = RoundedRows.of(rows), np.zeros(len(rows), np.int64)
    for at in range(cells - 1):
        index = np.flatnonzero(place == at)
        if index.size < 2:
            continue
        of_cell = rounded_rows.take(index)
        halves = split_rows(rows[index], of_cell, rank[index], 2, -(-index.size // 2))
        first, second = mean_rows(rows[index], halves, 2)
        cuts[at, :-1] = second - first
        along = _along(of_cell, cuts[at, :-1])
        middle = (index.size - 1) // 2
        cuts[at, -1] = np.partition(along, middle)[middle]
        place[index] = 2 * at + 1 + (along > cuts[at, -1])
    return cuts


def cells_by_cuts(rows: NDArray[np.float32], cuts: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the cell of each row; (n, dim) -> (n,)."""
    rounded_rows, place = RoundedRows.of(rows), np.zeros(len(rows), np.int64)
    for at in range(len(cuts)):
        index = np.flatnonzero(place == at)
        place[index] = 2 * at + 1 + (_along(rounded_rows.take(index), cuts[at, :-1]) > cuts[at, -1])
    return place - len(cuts)


def cells_by_means(rows: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the cell with the nearest mean; (n, dim), (cells, dim) -> (n,)."""
    return RoundedRows.of(rows).distances(RoundedRows.of(means)).argmin(axis=1)


def _along(rounded_rows: RoundedRows, direction: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the products of rows with a direction, but for its length."""
    products: NDArray[np.float32] = rounded_rows.values @ RoundedRows.of(direction[None]).values[0]
    return products * rounded_rows.scale
