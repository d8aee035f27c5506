"""Operations on the rows of a float32 matrix: norms, scales, sums, copies.

Columns are taken in fixed groups of 16, whose float64 sums are added in group order: a task that
holds some of the groups computes the very same numbers for them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, ieee_kernel, kernel
from pipeline.kernels.threads import share_rows
from pipeline.kernels.vector_tiles import GROUP, prefetch_row, square_sum_of_group

ZERO_BELOW = 2.0**-18
"""A row is zero if its norm is at most this part of what went into it: the rest is rounding noise."""

_SHIFT_16 = np.uint32(16)
_AHEAD = 8  # rows between asking for a row and copying it


def row_norms(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean norms of the rows; (n, dim) float32, C-contiguous -> (n,) float64."""
    _check_matrix("x", x)
    norms = np.empty(len(x))
    share_rows(0, len(x), lambda first, last: fill_norms(x[first:last], norms[first:last]))
    return norms


def group_squares(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums of squares by column group; (n, dim) float32, C-contiguous -> (n, groups) float64.

    A row's norm, to the last bit of `row_norms`, is the root of its groups added in their order.
    """
    _check_matrix("x", x)
    squares = np.empty((len(x), -(-x.shape[1] // GROUP)))
    _group_squares(x, squares)
    return squares


def unit_or_zero_scales(norms: NDArray[np.float64], noise_scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors that make rows unit vectors, and rows of mere rounding noise zero.

    Parameters
    ----------
    norms : (n,) float64, of the rows.
    noise_scale : (n,) float64, for each row the sum of ``|weight| * norm`` over what was added up.

    Returns
    -------
    (n,) float64: ``1 / norm``, or 0 where ``norm <= 2**-18 * noise_scale`` or the norm is 0.
    """
    _check_lengths("noise_scale", noise_scale, "norms", len(norms))
    is_signal = (norms > ZERO_BELOW * noise_scale) & (norms > 0.0)
    scales = np.zeros(len(norms))
    np.divide(1.0, norms, out=scales, where=is_signal)
    return scales


def scale_rows(
    x: NDArray[np.float32], scale: NDArray[np.float64], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``out[i] = x[i] * scale[i]``, the float64 product rounded once; ``out`` may be ``x``.

    Parameters
    ----------
    x : (n, dim) float32, C-contiguous. scale : (n,) float64.
    out : (n, dim) float32, C-contiguous; by default a new matrix.
    """
    _check_matrix("x", x)
    _check_lengths("scale", scale, "x", len(x))
    target = np.empty_like(x) if out is None else out
    _check_matrix("out", target, x.shape)
    factors = np.ascontiguousarray(scale, np.float64)
    share_rows(0, len(x), lambda first, last: _scale(x[first:last], factors[first:last], target[first:last]))
    return target


def bfloat16_rows(x: NDArray[np.float32], out: NDArray[np.uint16]) -> None:
    """Round rows to bfloat16, half to even: an entry is off by at most 2**-9 of itself, from 2**-126 on.

    Parameters
    ----------
    x : (n, dim) float32, C-contiguous, finite. out : (n, dim) uint16, C-contiguous: the bits.
    """
    _check_matrix("x", x)
    if out.dtype != np.uint16 or out.shape != x.shape or not out.flags.c_contiguous:
        raise TypeError(f"out is {out.dtype} of shape {out.shape}; it must be C-contiguous uint16 of shape {x.shape}")
    bits = x.view(np.uint32)
    share_rows(0, len(x), lambda first, last: round_to_bfloat16(bits[first:last], out[first:last]))


def add_scaled(total: NDArray[np.float32], x: NDArray[np.float32], scale: NDArray[np.float64]) -> None:
    """``total[i] += scale[i] * x[i]`` in place, in float64 and rounded once to float32.

    Parameters
    ----------
    total, x : (n, dim) float32, C-contiguous, not overlapping. scale : (n,) float64.
    """
    _check_matrix("x", x)
    _check_matrix("total", total, x.shape)
    _check_lengths("scale", scale, "x", len(x))
    factors = np.ascontiguousarray(scale, np.float64)
    share_rows(0, len(x), lambda first, last: add_scaled_rows(total[first:last], x[first:last], factors[first:last]))


def column_sums(
    x: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Sums, sums of squares, and number of the rows chosen by a mask, added in row order in float64.

    Parameters
    ----------
    x : (n, dim) float32, C-contiguous. mask : (n,) bool.

    Returns
    -------
    (dim,) float64, (dim,) float64, rows counted.
    """
    _check_matrix("x", x)
    _check_lengths("mask", mask, "x", len(x))
    if mask.dtype != np.bool_:
        raise TypeError(f"mask is {mask.dtype}; it must be bool")
    sums = np.zeros(x.shape[1])
    squares = np.zeros(x.shape[1])
    _column_sums(x, np.ascontiguousarray(mask), sums, squares)
    return sums, squares, int(np.count_nonzero(mask))


def add_rows(
    total: NDArray[np.float32] | NDArray[np.float64], index: NDArray[np.int64], x: NDArray[np.float32]
) -> None:
    """``total[index[k]] += x[k]`` in place, for k in order, in total's own precision.

    Parameters
    ----------
    total : (n, dim) float32 or float64, C-contiguous. index : (m,) int64 in 0 <= index < n; may repeat.
    x : (m, dim) float32, C-contiguous.
    """
    _check_matrix("x", x)
    if total.dtype not in (np.float32, np.float64) or total.ndim != 2 or not total.flags.c_contiguous:
        raise TypeError(f"total is {total.dtype} of shape {total.shape}; it must be a C-contiguous float matrix")
    if total.shape[1] != x.shape[1]:
        raise ValueError(f"total has {total.shape[1]} columns and x {x.shape[1]}; they must agree")
    _check_index(index, len(x), "x", len(total), "total")
    _add_rows(total, index, x)


def gather_rows(x: NDArray[np.float32], index: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    """``out[k] = x[index[k]]``.

    Parameters
    ----------
    x : (n, dim) float32, C-contiguous. index : (m,) int64 in 0 <= index < n.
    out : (m, dim) float32, C-contiguous, not overlapping x.
    """
    _check_matrix("x", x)
    _check_matrix("out", out, (len(index), x.shape[1]))
    _check_index(index, len(out), "out", len(x), "x")
    _gather(x, index, out)


def scatter_rows(x: NDArray[np.float32], index: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    """``out[index[k]] = x[k]``, for k in order; other rows stay.

    Parameters
    ----------
    x : (m, dim) float32, C-contiguous. index : (m,) int64 in 0 <= index < n.
    out : (n, dim) float32, C-contiguous, not overlapping x.
    """
    _check_matrix("x", x)
    _check_matrix("out", out, (len(out), x.shape[1]))
    _check_index(index, len(x), "x", len(out), "out")
    _scatter(x, index, out)


def _check_matrix(name: str, x: NDArray[np.float32], shape: tuple[int, ...] | None = None) -> None:
    if x.dtype != np.float32 or x.ndim != 2 or not x.flags.c_contiguous:
        raise TypeError(f"{name} is {x.dtype} of shape {x.shape}; it must be a C-contiguous float32 matrix")
    if shape is not None and x.shape != shape:
        raise ValueError(f"{name} has shape {x.shape}; it must be {shape}")


def _check_lengths(name: str, values: NDArray[np.generic], other: str, length: int) -> None:
    if values.shape != (length,):
        raise ValueError(f"{name} has shape {values.shape}; it must be ({length},), one for each row of {other}")


def _check_index(index: NDArray[np.int64], length: int, name: str, rows: int, target: str) -> None:
    """Refuse what would read or write outside an array: compiled code does not look."""
    if index.dtype != np.int64 or not index.flags.c_contiguous:
        raise TypeError(f"index is {index.dtype}; it must be contiguous int64")
    _check_lengths("index", index, name, length)
    if length and (index.min() < 0 or index.max() >= rows):
        raise IndexError(f"index reaches from {index.min()} to {index.max()}; {target} has {rows} rows")


@ieee_kernel
def fill_norms(x: InMatrix[np.float32], norms: Out[np.float64]) -> None:
    """Fill in the norms of rows; see `row_norms`."""
    dim = x.shape[1]
    rest = dim % GROUP
    # The last group, filled up with zeros: adding 0.0 to a sum of squares changes nothing.
    last_group = np.zeros((1, GROUP), np.float32)
    for i in range(len(x)):
        total = 0.0
        for col in range(0, dim - rest, GROUP):
            total += square_sum_of_group(x, i, col)
        if rest:
            for j in range(rest):
                last_group[0, j] = x[i, dim - rest + j]
            total += square_sum_of_group(last_group, 0, 0)
        norms[i] = math.sqrt(total)


@kernel
def _group_squares(x: InMatrix[np.float32], squares: OutMatrix[np.float64]) -> None:
    dim = x.shape[1]
    rest = dim % GROUP
    last_group = np.zeros((1, GROUP), np.float32)
    for i in range(len(x)):
        for group in range(dim // GROUP):
            squares[i, group] = square_sum_of_group(x, i, group * GROUP)
        if rest:
            for j in range(rest):
                last_group[0, j] = x[i, dim - rest + j]
            squares[i, dim // GROUP] = square_sum_of_group(last_group, 0, 0)


@kernel
def _scale(x: InMatrix[np.float32], scale: In[np.float64], out: OutMatrix[np.float32]) -> None:
    for i in range(len(x)):
        factor = scale[i]
        for col in range(x.shape[1]):
            out[i, col] = np.float32(np.float64(x[i, col]) * factor)


@kernel
def round_to_bfloat16(bits: InMatrix[np.uint32], out: OutMatrix[np.uint16]) -> None:
    """Round the bits of rows; see `bfloat16_rows`."""
    for i in range(len(bits)):
        for col in range(bits.shape[1]):
            word = bits[i, col]
            # Just below half of the last bit that stays, and that bit itself: ties go to even.
            rounded_word = word + np.uint32(0x7FFF) + ((word >> _SHIFT_16) & np.uint32(1))
            out[i, col] = np.uint16(rounded_word >> _SHIFT_16)


@kernel
def add_scaled_rows(total: OutMatrix[np.float32], x: InMatrix[np.float32], scale: In[np.float64]) -> None:
    """Add rows times a factor each; see `add_scaled`."""
    for i in range(len(x)):
        factor = scale[i]
        for col in range(x.shape[1]):
            total[i, col] = np.float32(np.float64(total[i, col]) + factor * np.float64(x[i, col]))


@kernel
def _column_sums(x: InMatrix[np.float32], mask: In[np.bool_], sums: Out[np.float64], squares: Out[np.float64]) -> None:
    for i in range(len(x)):
        if mask[i]:
            for col in range(x.shape[1]):
                value = np.float64(x[i, col])
                sums[col] += value
                squares[col] += value * value


@kernel
def _add_rows(
    total: OutMatrix[np.float32] | OutMatrix[np.float64], index: In[np.int64], x: InMatrix[np.float32]
) -> None:
    for k in range(len(index)):
        row = index[k]
        for col in range(x.shape[1]):
            total[row, col] += x[k, col]


@kernel
def _gather(x: InMatrix[np.float32], index: In[np.int64], out: OutMatrix[np.float32]) -> None:
    last = len(index) - 1
    for k in range(len(index)):
        prefetch_row(x, index[min(k + _AHEAD, last)])
        row = index[k]
        for col in range(x.shape[1]):
            out[k, col] = x[row, col]


@kernel
def _scatter(x: InMatrix[np.float32], index: In[np.int64], out: OutMatrix[np.float32]) -> None:
    for k in range(len(index)):
        row = index[k]
        for col in range(x.shape[1]):
            out[row, col] = x[k, col]
