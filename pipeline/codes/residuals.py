"""Codes of rows by residual quantisation: the nearest mean of each codebook, of what the ones before leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.codes.code_files import NO_CLUSTER
from pipeline.codes.row_trees import TreeSize, find_row_clusters, keep_row_clusters
from pipeline.kernels.balanced_means import mean_rows


@dataclass(frozen=True)
class ResidualCodes:
    """code : (n, levels) int32, a number in each codebook. apart : earlier numbers that have fallen apart."""

    code: NDArray[np.int32]
    apart: int = 0


def find_residual_codes(
    rows: NDArray[np.float32], rank: NDArray[np.uint64], share: float, levels: int
) -> ResidualCodes:
    """Make a codebook of the rows, one of what its means leave of them, and so on; they share the numbers out equally.

    Parameters
    ----------
    rows, rank : as of :func:`find_row_clusters`. share : most numbers of all codebooks, over the rows.
    """
    size = TreeSize(share / levels, 1, 1, None)
    code, rest = np.empty((len(rows), levels), np.int32), rows
    for level in range(levels):
        code[:, level] = find_row_clusters(rest, rank, size).label
        rest = _residual(rest, code[:, level])
    return ResidualCodes(code)


def keep_residual_codes(
    rows: NDArray[np.float32],
    rank: NDArray[np.uint64],
    earlier: NDArray[np.int32],
    numbers: NDArray[np.int32],
    share: float,
) -> ResidualCodes:
    """Keep the number that each row had in each codebook, as far as :func:`keep_row_clusters` does.

    A row that changes its number in one codebook chooses anew in those after it.

    Parameters
    ----------
    earlier : (n, levels) int32, NO_CLUSTER of a row that had none. numbers : (levels,) that codebooks have given out.
    """
    levels = earlier.shape[1]
    size = TreeSize(share / levels, 1, 1, None)
    code, rest, apart = earlier.copy(), rows, 0
    for level in range(levels):
        clusters = keep_row_clusters(rest, rank, code[:, level], int(numbers[level]), size)
        code[clusters.label != earlier[:, level], level + 1 :] = NO_CLUSTER
        code[:, level], apart = clusters.label, apart + clusters.apart
        rest = _residual(rest, clusters.label)
    return ResidualCodes(code, apart)


def _residual(rows: NDArray[np.float32], label: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return what the means of the rows with the same number leave of each."""
    in_use, place = np.unique(label, return_inverse=True)
    return rows - mean_rows(rows, place.astype(np.int32), in_use.size)[place]
