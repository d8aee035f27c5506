"""A product with a sparse matrix, and what a sum of powers makes of its rows, in one sweep."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, kernel, read_only
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr, size_of
from pipeline.kernels.rows import ZERO_BELOW, add_scaled_rows, fill_norms, round_to_bfloat16
from pipeline.kernels.spmm import check_product, check_scale, sum_noise_scales, sum_rows, sum_sign_rows
from pipeline.kernels.threads import share_rows
from pipeline.kernels.vector_tiles import SignRows

_AT_ONCE = 128  # rows: 64 KiB of 128 columns, which stay in the second cache
_SLACK = 1.0 + 2.0**-20  # what roundings may add to a sum of 2**31 terms, and more


class RowSums(NamedTuple):
    """What is made of a product's n rows while they are in the cache."""

    norms: Out[np.float64]  # (n,)
    halves: OutMatrix[np.uint16]  # (n, dim), or (0, dim) if not wanted: the bits of bfloat16
    total: OutMatrix[np.float32]  # (n, dim), or (0, dim) if there is none: what the rows are added to
    total_noise_scale: Out[np.float64]  # (n,)
    weight: float  # of the rows in the total
    is_normalized: bool  # whether rows are divided by their norms before they are added; those of noise are left out
    is_first: bool  # whether the total is 0, whatever its memory holds

    def of_rows(self, rows: slice) -> RowSums:
        """Return those of some rows."""
        arrays = {name: getattr(self, name)[rows] for name in self._fields[:4]}
        return self._replace(**arrays)


def multiply_and_sum(
    matrix: Csr,
    x: NDArray[np.float32] | NDArray[np.uint16] | SignRows,
    out: NDArray[np.float32] | None,
    *,
    scale: NDArray[np.float64],
    lengths: NDArray[np.float64] | None,
    sums: RowSums,
) -> None:
    """A square matrix times dense rows, scaled, as by `spmm`; and, to the same bits, what else is made of its rows.

    Norms are those of `row_norms`, halves those of `bfloat16_rows`. The total grows by ``weight`` times the rows or,
    normalised, their `unit_or_zero_scales`, as by `add_scaled`; its noise scale by |weight| times a row's noise scale
    or, normalised, 1 or 0. A normalised row's noise scale is computed only where its norm is not above 2**-18 of what
    the longest row and the sum of weights allow.

    Parameters
    ----------
    matrix : (n, n). x : (n, dim). out : (n, dim), or None: then the rows are not kept. scale : (n,).
    lengths : (n,) float64, norms of the rows of x; None if there is no total.

    Cost
    ----
    That of `spmm`, and of sweeps over what is kept: .8 of the steps' time with rows of bfloat16 on both sides.
    """
    n, dim = x.shape
    if len(matrix.indptr) != n + 1 or not len(sums.norms) == len(sums.total_noise_scale) == n:
        raise ValueError(f"matrix or sums have other rows than the {n} of x; the matrix must be square")
    if any(part.shape not in ((n, dim), (0, dim)) for part in (sums.halves, sums.total)):
        raise ValueError(f"halves or total aren't of {n} rows of {dim} columns, or of none")
    if len(sums.total) and (lengths is None or lengths.shape != (n,)):
        raise ValueError(f"a total needs the lengths of the {n} rows of x")
    check_product(matrix, x, out, 0, n, 0)
    check_scale(scale, 0, n)
    matrix, of_x = read_only(matrix), np.empty(0) if lengths is None else lengths

    def sum_range(first: int, last: int) -> None:
        local = slice(first, last)
        # Rows that stay are finished in sweeps of their own: beside the product, they would take the cache from x.
        rows = aligned_empty((min(_AT_ONCE, last - first), dim)) if out is None else out[local]
        if isinstance(x, SignRows):
            _sum_sign_rows(matrix, read_only(x), rows, first, last, scale[local], of_x, sums.of_rows(local))
        else:
            _sum_rows(matrix, x, rows, first, last, scale[local], of_x, sums.of_rows(local))

    share_rows(0, n, sum_range, matrix.indptr)


@kernel
def _sum_rows(
    matrix: Csr,
    x: InMatrix[np.float32] | InMatrix[np.uint16],
    out: OutMatrix[np.float32],
    start: int,
    stop: int,
    scale: In[np.float64],
    lengths: In[np.float64],
    sums: RowSums,
) -> None:
    longest = lengths.max() if len(lengths) else 0.0
    for first in range(start, stop, len(out)):
        last = min(first + len(out), stop)
        rows, scales = out[: last - first], scale[first - start : last - start]
        sum_rows(matrix, x, rows, first, last, 0, scales)
        _finish(matrix, rows, start, first, scales, lengths, longest, sums)


@kernel
def _sum_sign_rows(
    matrix: Csr,
    x: SignRows,
    out: OutMatrix[np.float32],
    start: int,
    stop: int,
    scale: In[np.float64],
    lengths: In[np.float64],
    sums: RowSums,
) -> None:
    longest = lengths.max() if len(lengths) else 0.0
    for first in range(start, stop, len(out)):
        last = min(first + len(out), stop)
        rows, scales = out[: last - first], scale[first - start : last - start]
        sum_sign_rows(matrix, x, rows, first, last, 0, scales)
        _finish(matrix, rows, start, first, scales, lengths, longest, sums)


@kernel
def _finish(
    matrix: Csr,
    rows: InMatrix[np.float32],
    start: int,
    first: int,
    scale: In[np.float64],
    lengths: In[np.float64],
    longest: float,
    sums: RowSums,
) -> None:
    """Make of the rows from ``first`` on what is wanted; ``sums`` begin with the row ``start``."""
    local = slice(first - start, first - start + len(rows))
    norms = sums.norms[local]
    fill_norms(rows, norms)
    if len(sums.halves):
        round_to_bfloat16(rows.view(np.uint32), sums.halves[local])
    if len(sums.total) == 0:
        return
    factor, noise_scale = np.full(len(rows), sums.weight), np.empty(1)
    total, total_noise_scale = sums.total[local], sums.total_noise_scale[local]
    for i in range(len(rows)):
        size = size_of(matrix.weights, matrix.indptr[first + i], matrix.indptr[first + i + 1])
        is_signal = norms[i] > ZERO_BELOW * (_SLACK * longest * size * scale[i]) and norms[i] > 0.0
        if not (is_signal and sums.is_normalized):
            sum_noise_scales(matrix, lengths, noise_scale, first + i, first + i + 1, 0)
            noise_scale[0] *= scale[i]
            is_signal = norms[i] > ZERO_BELOW * noise_scale[0] and norms[i] > 0.0
        if not sums.is_normalized:
            total_noise_scale[i] += abs(sums.weight) * noise_scale[0]
        elif is_signal:
            factor[i] = sums.weight * (1.0 / norms[i])
            total_noise_scale[i] += abs(sums.weight)
        else:
            factor[i] = 0.0
    if sums.is_first:
        total[:] = 0.0
    add_scaled_rows(total, rows, factor)
