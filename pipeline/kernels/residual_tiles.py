"""Vector instructions for the Chebyshev pass: one row's residual, its next step and its next value.

The plain loop over seven arrays stays scalar, since the compiler cannot prove that they do not overlap.
IEEE single and double precision, one rounding an operation, as in `vector_tiles`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from pipeline.kernels.array_types import In, Out, OutMatrix
from pipeline.kernels.vector_tiles import cgutils, intrinsic, splat

LANES = 16
_FLOAT = ir.FloatType()
_DOUBLE = ir.DoubleType()


def _vector_at(context: Any, builder: Any, array_type: Any, value: Any, index: Any, element: Any) -> Any:
    """Pointer to `LANES` consecutive elements of a contiguous array from a flat index on."""
    data = context.make_array(array_type)(context, builder, value).data
    first = builder.gep(data, [index], source_etype=element)
    return builder.bitcast(first, ir.VectorType(element, LANES).as_pointer())


class Coefficients(NamedTuple):
    """What a pass does with each column: ``step = keep * step + pull * residual``, then ``z = z + move * step``."""

    keep: In[np.float32]  # (width,)
    pull: In[np.float32]
    move: In[np.float32]


class Iterate(NamedTuple):
    """Rows that a pass reads and writes: z, the next z, which may be the same array, and the last step."""

    here: OutMatrix[np.float32]  # (rows, width)
    ahead: OutMatrix[np.float32]
    step: OutMatrix[np.float32]
    residual: Out[np.float64]  # (width,) l1 norms


@intrinsic
def chebyshev_lanes(
    _typing_context: Any, line: Any, col: Any, row: Any, weight: Any, coefficients: Any, iterate: Any
) -> Any:
    """Columns ``col : col + 16`` of a row.

    ``r = line - here; step = keep * step + pull * r; ahead = here + move * step; residual += weight * |r|``,
    the last in float64; line, keep, pull, move and residual are indexed by column.
    """
    signature = types.void(line, col, row, weight, coefficients, iterate)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        line, col, row, weight, coefficients, iterate = values
        lanes, wide = ir.VectorType(_FLOAT, LANES), ir.VectorType(_DOUBLE, LANES)
        keep, pull, move = cgutils.unpack_tuple(builder, coefficients)
        here, ahead, step, residual = cgutils.unpack_tuple(builder, iterate)
        of_column, of_row = signature.args[0], signature.args[5].types[0]
        width = cgutils.unpack_tuple(builder, context.make_array(of_row)(context, builder, here).shape)[1]
        flat = builder.add(builder.mul(row, width), col)

        def at(value: Any, kind: Any, index: Any, element: Any = _FLOAT) -> Any:
            return _vector_at(context, builder, kind, value, index, element)

        def load(value: Any, kind: Any, index: Any) -> Any:
            return builder.load(at(value, kind, index), typ=lanes, align=4)

        old = load(here, of_row, flat)
        rest = builder.fsub(load(line, of_column, col), old)
        scaled_step = builder.fmul(load(keep, of_column, col), load(step, of_row, flat))
        change = builder.fadd(scaled_step, builder.fmul(load(pull, of_column, col), rest))
        builder.store(change, at(step, of_row, flat), align=4)
        new = builder.fadd(old, builder.fmul(load(move, of_column, col), change))
        builder.store(new, at(ahead, of_row, flat), align=4)

        is_below = builder.fcmp_ordered("<", rest, ir.Constant(lanes, [0.0] * LANES))
        size = builder.select(is_below, builder.fsub(ir.Constant(lanes, [0.0] * LANES), rest), rest)
        term = builder.fmul(builder.fpext(size, wide), splat(builder, weight, wide))
        sums_at = at(residual, signature.args[5].types[3], col, _DOUBLE)
        sums = builder.fadd(builder.load(sums_at, typ=wide, align=8), term)
        builder.store(sums, sums_at, align=8)
        return context.get_dummy_value()

    return signature, generate
