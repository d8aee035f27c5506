"""Sparse times dense: where an embedding spends its time."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, kernel, read_only
from pipeline.kernels.csr import Csr, weight_of
from pipeline.kernels.threads import share_rows
from pipeline.kernels.vector_tiles import Entries, SignRows, make_row_tile

_BLOCK = 128  # columns of one sweep over the entries: 512 bytes of a row, 8 vector registers

_tile_128 = make_row_tile(128)
_tile_64 = make_row_tile(64)
_tile_32 = make_row_tile(32)
_tile_16 = make_row_tile(16)
_tile_8 = make_row_tile(8)
_tile_4 = make_row_tile(4)
_tile_2 = make_row_tile(2)
_tile_1 = make_row_tile(1)


def spmm(
    matrix: Csr,
    x: NDArray[np.float32] | NDArray[np.uint16] | SignRows,
    out: NDArray[np.float32],
    *,
    start: int,
    stop: int,
    first_col: int = 0,
    scale: NDArray[np.float64] | None = None,
    noise_scale: NDArray[np.float64] | None = None,
    out_noise_scale: NDArray[np.float64] | None = None,
) -> None:
    """Rows ``start`` to ``stop`` of a sparse matrix times a dense one, in place and in a fixed order.

    ``out[i - start]`` becomes the sum of ``weights[e] * x[indices[e] - first_col]`` over the entries of row i as they
    are listed: float32 in runs of 16 entries, the runs added in float64, then rounded. Nearly equal terms are so
    within 6.3e-7 of their exact sum, however many (`RUN`). A column's bits do not depend on which columns are computed
    with it. With scales the rounded sum is scaled as `scale_rows` would do it, before it leaves the registers.

    Parameters
    ----------
    matrix : columns in ``first_col <= index < first_col + m``; an index may repeat in a row.
    x : (m, dim) float32, C-contiguous, dim at least 1; best 64-byte aligned (`aligned_empty`). Or the bits of bfloat16
        (`bfloat16_rows`) as uint16, or rows of signs: the product's bits are those of the float32 rows that they stand
        for.
    out : (r, dim) float32, C-contiguous, r at least ``stop - start``, not overlapping x.
    scale : (stop - start,) float64, a factor for each row of the product; None: 1.
    noise_scale, out_noise_scale : (m,) and (r,) float64, both or neither: also
        ``out_noise_scale[i - start]`` = the float64 sum of ``|weights[e]| * noise_scale[index]``, times the scale.

    Raises
    ------
    TypeError : an array has another dtype or is not contiguous.
    ValueError, IndexError : lengths do not fit, or an index points outside x.

    Cost
    ----
    One row of x per entry, bound by memory; with 10 M edges bfloat16 takes .6 of the time. No buffers. Rows are
    shared out to the process' threads (`use_threads`); releases the GIL.
    """
    check_product(matrix, x, out, start, stop, first_col)
    matrix = read_only(matrix)
    if scale is not None:
        check_scale(scale, start, stop)

    def sum_range(first: int, last: int) -> None:
        local = slice(first - start, last - start)
        scales = None if scale is None else scale[local]
        if isinstance(x, SignRows):
            sum_sign_rows(matrix, read_only(x), out[local], first, last, first_col, scales)
        else:
            sum_rows(matrix, x, out[local], first, last, first_col, scales)

    share_rows(start, stop, sum_range, matrix.indptr)
    if noise_scale is None and out_noise_scale is None:
        return
    if noise_scale is None or out_noise_scale is None:
        raise ValueError("noise_scale and out_noise_scale go together; give both or neither")
    _check_noise_scales(noise_scale, x.shape[0], out_noise_scale, stop - start)
    sum_noise_scales(matrix, noise_scale, out_noise_scale, start, stop, first_col)
    if scale is not None:
        out_noise_scale[: stop - start] *= scale


def check_product(
    matrix: Csr,
    x: NDArray[np.float32] | NDArray[np.uint16] | SignRows,
    out: NDArray[np.float32] | None,
    start: int,
    stop: int,
    first_col: int,
) -> None:
    """Refuse what compiled code would read past the end of; costs a few per cent of the product."""
    _check_rows(matrix, start, stop)
    _check_dense(matrix, x, out, start, stop, first_col)


def check_scale(scale: NDArray[np.float64], start: int, stop: int) -> None:
    """Refuse factors that aren't one for each row."""
    _check_array("scale", scale, np.float64, 1)
    if len(scale) != stop - start:
        raise ValueError(f"there are {len(scale)} scales for rows {start} to {stop}; give one a row")


def _check_rows(matrix: Csr, start: int, stop: int) -> None:
    indptr, indices, weights = matrix
    _check_array("indptr", indptr, np.int64, 1)
    _check_array("indices", indices, np.int32, 1)
    if weights is not None:
        _check_array("weights", weights, np.float32, 1)
        if len(weights) != len(indices):
            raise ValueError(f"there are {len(weights)} weights for {len(indices)} indices; give one each")
    if not 0 <= start <= stop < len(indptr):
        raise ValueError(f"rows {start} to {stop} are wanted; indptr holds rows 0 to {len(indptr) - 1}")
    entries = indptr[start : stop + 1]
    if entries[0] < 0 or entries[-1] > len(indices) or (np.diff(entries) < 0).any():
        raise ValueError(f"indptr decreases, or leaves the {len(indices)} entries; rebuild the block")


def _check_dense(
    matrix: Csr,
    x: NDArray[np.float32] | NDArray[np.uint16] | SignRows,
    out: NDArray[np.float32] | None,
    start: int,
    stop: int,
    first_col: int,
) -> None:
    if isinstance(x, SignRows):
        _check_array("signs", x.signs, np.uint64, 2)
        _check_array("value", x.value, np.float32, 1)
        if len(x.value) != len(x.signs):
            raise ValueError(f"there are {len(x.value)} values for {len(x.signs)} rows of signs; give one a row")
    else:
        _check_array("x", x, np.uint16 if x.dtype == np.uint16 else np.float32, 2)
        if out is not None and np.may_share_memory(x, out):
            raise ValueError("out overlaps x, whose rows are still needed; give another buffer")
    if out is not None:
        _check_array("out", out, np.float32, 2)
        if len(out) < stop - start or out.shape[1] != x.shape[1]:
            raise ValueError(f"out has shape {out.shape}; it must be ({stop - start}, {x.shape[1]}), or longer")
    columns = matrix.indices[matrix.indptr[start] : matrix.indptr[stop]]
    rows = x.shape[0]
    if len(columns) and not first_col <= columns.min() <= columns.max() < first_col + rows:
        raise IndexError(
            f"indices reach from {columns.min()} to {columns.max()}; x holds {first_col} to "
            f"{first_col + rows - 1}; rebuild the block or pass its first_col"
        )


def _check_array(name: str, array: NDArray[np.generic], dtype: type[np.generic], ndim: int) -> None:
    if array.dtype != dtype or array.ndim != ndim or not array.flags.c_contiguous:
        raise TypeError(
            f"{name} is {array.dtype} with {array.ndim} axes, contiguous: {array.flags.c_contiguous}; "
            f"it must be contiguous {np.dtype(dtype)} with {ndim}"
        )


def _check_noise_scales(scale: NDArray[np.float64], columns: int, sums: NDArray[np.float64], rows: int) -> None:
    _check_array("noise_scale", scale, np.float64, 1)
    _check_array("out_noise_scale", sums, np.float64, 1)
    if len(scale) != columns or len(sums) < rows:
        raise ValueError(
            f"noise_scale and out_noise_scale have {len(scale)} and {len(sums)} values; "
            f"they must have {columns} and at least {rows}"
        )


@kernel
def sum_rows(
    matrix: Csr,
    x: InMatrix[np.float32] | InMatrix[np.uint16],
    out: OutMatrix[np.float32],
    start: int,
    stop: int,
    first_col: int,
    scale: In[np.float64] | None,
) -> None:
    """Fill the rows of a product; see `spmm`."""
    indptr = matrix.indptr
    dim = out.shape[1]
    last = indptr[stop] - 1
    for col in range(0, dim - dim % _BLOCK, _BLOCK):
        for i in range(start, stop):
            _tile_128(matrix, Entries(indptr[i], indptr[i + 1], last), x, first_col, col, out, i - start, scale)
    rest = dim % _BLOCK
    if rest == 0:
        return
    for i in range(start, stop):
        entries = Entries(indptr[i], indptr[i + 1], last)
        col = dim - rest
        if rest & 64:
            _tile_64(matrix, entries, x, first_col, col, out, i - start, scale)
            col += 64
        if rest & 32:
            _tile_32(matrix, entries, x, first_col, col, out, i - start, scale)
            col += 32
        if rest & 16:
            _tile_16(matrix, entries, x, first_col, col, out, i - start, scale)
            col += 16
        if rest & 8:
            _tile_8(matrix, entries, x, first_col, col, out, i - start, scale)
            col += 8
        if rest & 4:
            _tile_4(matrix, entries, x, first_col, col, out, i - start, scale)
            col += 4
        if rest & 2:
            _tile_2(matrix, entries, x, first_col, col, out, i - start, scale)
            col += 2
        if rest & 1:
            _tile_1(matrix, entries, x, first_col, col, out, i - start, scale)


@kernel
def sum_sign_rows(
    matrix: Csr,
    x: SignRows,
    out: OutMatrix[np.float32],
    start: int,
    stop: int,
    first_col: int,
    scale: In[np.float64] | None,
) -> None:
    """Fill the rows of a product with rows of signs."""
    indptr = matrix.indptr
    dim = out.shape[1]
    last = indptr[stop] - 1
    for col in range(0, dim - dim % _BLOCK, _BLOCK):
        for i in range(start, stop):
            _tile_128(matrix, Entries(indptr[i], indptr[i + 1], last), x, first_col, col, out, i - start, scale)
    if dim % _BLOCK:  # half a block: the columns fill words
        for i in range(start, stop):
            entries = Entries(indptr[i], indptr[i + 1], last)
            _tile_64(matrix, entries, x, first_col, dim - dim % _BLOCK, out, i - start, scale)


@kernel
def sum_noise_scales(
    matrix: Csr, scale: In[np.float64], sums: Out[np.float64], start: int, stop: int, first_col: int
) -> None:
    """Sum |weight| times what it multiplies; see `spmm`."""
    indptr, indices, weights = matrix
    for i in range(start, stop):
        total = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            total += abs(weight_of(weights, e)) * scale[indices[e] - first_col]
        sums[i - start] = total
