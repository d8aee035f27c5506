"""Vector instructions for the Chebyshev pass: one row's residual, its next step and its next value; rows as bfloat16.

The plain loop over seven arrays stays scalar, since the compiler cannot prove that they do not overlap.
IEEE single and double precision, one rounding an operation, as in `vector_tiles`.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix
from pipeline.kernels.vector_tiles import cgutils, intrinsic, kind_of, load_lanes, splat, store_lanes

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


class Summands(NamedTuple):
    """Rows that sums are taken of, the first one being node ``first``."""

    x: InMatrix[np.float32]
    first: int


class HalfSummands(NamedTuple):
    """The same in bfloat16, as its bits."""

    x: InMatrix[np.uint16]
    first: int


class Iterate(NamedTuple):
    """Rows that a pass reads and writes: those that sums are taken of, z, the next z, which may be the same array, and
    the last step.
    """

    summands: Summands
    current: OutMatrix[np.float32]  # (rows, width)
    ahead: OutMatrix[np.float32]
    step: OutMatrix[np.float32]
    residual: Out[np.float64]  # (width,) l1 norms


class HalfIterate(NamedTuple):
    """The same in bfloat16, as its bits: what is written is rounded, and exact from then on."""

    summands: HalfSummands
    current: OutMatrix[np.uint16]
    ahead: OutMatrix[np.uint16]
    step: OutMatrix[np.uint16]
    residual: Out[np.float64]


@intrinsic
def round_lanes(_typing_context: Any, line: Any, col: Any, out: Any, row: Any) -> Any:
    """``out[row, col : col + 16] = line[col : col + 16]``, rounded where out holds the bits of bfloat16."""
    signature = types.void(line, col, out, row)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        line, col, out, row = values
        width = cgutils.unpack_tuple(builder, context.make_array(signature.args[2])(context, builder, out).shape)[1]
        flat, kind = builder.add(builder.mul(row, width), col), kind_of(signature.args[2])
        lanes = builder.load(
            _vector_at(context, builder, signature.args[0], line, col, _FLOAT),
            typ=ir.VectorType(_FLOAT, LANES),
            align=4,
        )
        store_lanes(builder, lanes, _vector_at(context, builder, signature.args[2], out, flat, kind), kind)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def widen_lanes(_typing_context: Any, rows: Any, row: Any, col: Any, line: Any) -> Any:
    """``line[col : col + 16] = rows[row, col : col + 16]``, of float32 or of the bits of bfloat16."""
    signature = types.void(rows, row, col, line)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows, row, col, line = values
        width = cgutils.unpack_tuple(builder, context.make_array(signature.args[0])(context, builder, rows).shape)[1]
        flat, kind = builder.add(builder.mul(row, width), col), kind_of(signature.args[0])
        source = _vector_at(context, builder, signature.args[0], rows, flat, kind)
        lanes = load_lanes(builder, source, kind, ir.VectorType(_FLOAT, LANES))
        builder.store(lanes, _vector_at(context, builder, signature.args[3], line, col, _FLOAT), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def lanes_above(_typing_context: Any, line: Any, col: Any, _scale: Any, bars: Any) -> Any:
    """A bit for each of columns ``col : col + 16``: whether ``line * scale`` is above the column's bar."""
    signature = types.int64(line, col, types.float32, bars)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        line, col, scale, bars = values
        lanes = ir.VectorType(_FLOAT, LANES)
        row, bar = (
            builder.load(_vector_at(context, builder, signature.args[at], value, col, _FLOAT), typ=lanes, align=4)
            for at, value in ((0, line), (3, bars))
        )
        is_above = builder.fcmp_ordered(">", builder.fmul(row, splat(builder, scale, lanes)), bar)
        return builder.zext(builder.bitcast(is_above, ir.IntType(LANES)), ir.IntType(64))

    return signature, generate


@intrinsic
def lowest_bit(_typing_context: Any, _bits: Any) -> Any:
    """The place of the lowest bit that is set, of at least one."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.IntType(1)(1))

    return types.int64(types.int64), generate


@intrinsic
def put_rounded(_typing_context: Any, out: Any, row: Any, col: Any, _value: Any) -> Any:
    """``out[row, col] = value``, a float32, rounded where out holds the bits of bfloat16."""
    signature = types.void(out, row, col, types.float32)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        out, row, col, value = values
        array, kind = context.make_array(signature.args[0])(context, builder, out), kind_of(signature.args[0])
        flat = builder.add(builder.mul(row, cgutils.unpack_tuple(builder, array.shape)[1]), col)
        address = builder.gep(array.data, [flat], source_etype=kind)
        lane = builder.insert_element(ir.Constant(ir.VectorType(_FLOAT, 1), ir.Undefined), value, ir.IntType(32)(0))
        store_lanes(builder, lane, address, kind)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def chebyshev_lanes(
    _typing_context: Any,
    line: Any,
    col: Any,
    row: Any,
    weight: Any,
    coefficients: Any,
    iterate: Any,
    takes_largest: Any,
) -> Any:
    """Columns ``col : col + 16`` of a row.

    ``r = line - here; step = keep * step + pull * r; ahead = here + move * step; residual += weight * |r|``,
    the last in float64; line, keep, pull, move and residual are indexed by column. Or residual is the largest of
    these terms.
    """
    signature = types.void(line, col, row, weight, coefficients, iterate, takes_largest)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        line, col, row, weight, coefficients, iterate, takes_largest = values
        lanes, wide = ir.VectorType(_FLOAT, LANES), ir.VectorType(_DOUBLE, LANES)
        keep, pull, move = cgutils.unpack_tuple(builder, coefficients)
        _, current, ahead, step, residual = cgutils.unpack_tuple(builder, iterate)
        of_column, of_row = signature.args[0], signature.args[5].types[1]
        kind = kind_of(of_row)
        width = cgutils.unpack_tuple(builder, context.make_array(of_row)(context, builder, current).shape)[1]
        flat = builder.add(builder.mul(row, width), col)

        def at(value: Any, kind: Any, index: Any, element: Any = _FLOAT) -> Any:
            return _vector_at(context, builder, kind, value, index, element)

        def load(value: Any, index: Any) -> Any:
            return builder.load(at(value, of_column, index), typ=lanes, align=4)

        old = load_lanes(builder, at(current, of_row, flat, kind), kind, lanes)
        rest = builder.fsub(load(line, col), old)
        last_step = load_lanes(builder, at(step, of_row, flat, kind), kind, lanes)
        change = builder.fadd(builder.fmul(load(keep, col), last_step), builder.fmul(load(pull, col), rest))
        store_lanes(builder, change, at(step, of_row, flat, kind), kind)
        new = builder.fadd(old, builder.fmul(load(move, col), change))
        store_lanes(builder, new, at(ahead, of_row, flat, kind), kind)

        is_below = builder.fcmp_ordered("<", rest, ir.Constant(lanes, [0.0] * LANES))
        size = builder.select(is_below, builder.fsub(ir.Constant(lanes, [0.0] * LANES), rest), rest)
        term = builder.fmul(builder.fpext(size, wide), splat(builder, weight, wide))
        sums_at = at(residual, signature.args[5].types[4], col, _DOUBLE)
        sums = builder.load(sums_at, typ=wide, align=8)
        largest = builder.select(builder.fcmp_ordered(">", term, sums), term, sums)
        sums = builder.select(takes_largest, largest, builder.fadd(sums, term))
        builder.store(sums, sums_at, align=8)
        return context.get_dummy_value()

    return signature, generate
