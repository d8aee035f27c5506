"""RankMe: how many directions a table really uses, without any labels."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.sampling import sample_by_key

SAMPLE_ROWS = 25_600  # the paper's own; enough for any dim, since the figure settles at a few rows a column
_SMOOTHING = 1e-7  # the paper's epsilon for float32 rows
_ROWS_PER_BLOCK = 4096


@dataclass(frozen=True)
class RankMe:
    """The figure, between 0 (no row but zeros) and about min(rows, dim), and what it was taken from."""

    rankme: float
    rows: int
    population: int


def rankme(
    rows: NDArray[np.float32], node_key: NDArray[np.uint64], seed: int, sample_rows: int = SAMPLE_ROWS
) -> RankMe:
    """exp of the entropy of p_k = s_k / sum(s) + 1e-7, where s are the singular values of the rows.

    The rows are taken as published: not centred, not normalised. Give one node type at a time: the
    two towers of a bipartite table have different scales.

    Singular values come from the rows in float64 (a running QR, then an SVD of its triangle), not from
    the Gram matrix: squaring the rows loses every singular value below 1e-8 of the largest to rounding,
    and the entropy sums dim of such terms. The QR costs twice the Gram matrix and is exact to about
    1e-15 of the largest value.

    Parameters
    ----------
    rows : (n, dim) float32, one node type.
    node_key : (n,) uint64: the sample is the same in whatever order or numbering the rows come.
    seed : of the sample.
    sample_rows : rows looked at, at most.

    Returns
    -------
    RankMe; 0.0 where every row looked at is zero.

    Raises
    ------
    ValueError : if a value is not finite, or keys and rows differ in number.

    Cost
    ----
    2 rows dim^2 operations and 2 (dim + 4096) dim float64s: about a second at dim 128.

    Source
    ------
    Garrido, Balestriero, Najman & LeCun, "RankMe", ICML 2023 (arXiv 2210.02885), equation 2.
    """
    if node_key.shape != (rows.shape[0],):
        raise ValueError(f"there are {node_key.size} keys for {rows.shape[0]} rows; give one key to each")
    positions = sample_by_key(node_key, sample_rows, seed)
    triangle = np.zeros((0, rows.shape[1]))
    for start in range(0, positions.size, _ROWS_PER_BLOCK):
        block = rows[positions[start : start + _ROWS_PER_BLOCK]].astype(np.float64)
        if not np.isfinite(block).all():
            raise ValueError("a row is not finite; a table's rows always are: look at the embed stage")
        triangle = np.asarray(np.linalg.qr(np.vstack((triangle, block)), mode="r"), np.float64)
    singular = np.linalg.svd(triangle, compute_uv=False) if triangle.size else np.zeros(0)
    total = math.fsum(singular.tolist())
    if total == 0.0:
        return RankMe(0.0, positions.size, rows.shape[0])
    shares = (singular / total + _SMOOTHING).tolist()
    entropy = -math.fsum(share * math.log(share) for share in shares)
    return RankMe(math.exp(entropy), positions.size, rows.shape[0])
