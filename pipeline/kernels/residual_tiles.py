"""Vector instructions for the Chebyshev pass: one row's residual, its next step and its next value.

The plain loop over seven arrays stays scalar, since the compiler cannot prove that they do not overlap.
IEEE single and double precision, one rounding an operation, as in `vector_tiles`.
"""

from typing import Any

from llvmlite import ir
from numba import extending, types

# numba describes it as it looks inside a kernel's compiler, not as a kernel calls it.
intrinsic: Any = extending.intrinsic

LANES = 16
_FLOAT = ir.FloatType()
_DOUBLE = ir.DoubleType()
_INT32 = ir.IntType(32)


def _vector_at(context: Any, builder: Any, array_type: Any, value: Any, index: Any, element: Any) -> Any:
    """Pointer to `LANES` consecutive elements of a contiguous array from a flat index on."""
    data = context.make_array(array_type)(context, builder, value).data
    first = builder.gep(data, [index], source_etype=element)
    return builder.bitcast(first, ir.VectorType(element, LANES).as_pointer())


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    lanes = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _INT32(0))
    mask = ir.Constant(ir.VectorType(_INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(lanes, ir.Constant(vector, ir.Undefined), mask)


@intrinsic
def chebyshev_lanes(
    _typing_context: Any,
    line: Any,
    col: Any,
    here: Any,
    ahead: Any,
    step: Any,
    flat: Any,
    keep: Any,
    pull: Any,
    move: Any,
    weight: Any,
    residual: Any,
) -> Any:
    """Columns ``col : col + 16`` of a row that starts ``flat - col`` elements into here, ahead and step.

    ``r = line - here; step = keep * step + pull * r; ahead = here + move * step; residual += weight * |r|``,
    the last in float64; line, keep, pull, move and residual are indexed by column.
    """
    signature = types.void(line, col, here, ahead, step, flat, keep, pull, move, weight, residual)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        line, col, here, ahead, step, flat, keep, pull, move, weight, residual = values
        kinds = signature.args
        lanes, wide = ir.VectorType(_FLOAT, LANES), ir.VectorType(_DOUBLE, LANES)

        def at(number: int, value: Any, index: Any, element: Any = _FLOAT) -> Any:
            return _vector_at(context, builder, kinds[number], value, index, element)

        def load(pointer: Any) -> Any:
            return builder.load(pointer, typ=lanes, align=4)

        old = load(at(2, here, flat))
        rest = builder.fsub(load(at(0, line, col)), old)
        step_at = at(4, step, flat)
        kept = builder.fmul(load(at(6, keep, col)), load(step_at))
        change = builder.fadd(kept, builder.fmul(load(at(7, pull, col)), rest))
        builder.store(change, step_at, align=4)
        moved = builder.fadd(old, builder.fmul(load(at(8, move, col)), change))
        builder.store(moved, at(3, ahead, flat), align=4)

        is_below = builder.fcmp_ordered("<", rest, ir.Constant(lanes, [0.0] * LANES))
        size = builder.select(is_below, builder.fsub(ir.Constant(lanes, [0.0] * LANES), rest), rest)
        term = builder.fmul(builder.fpext(size, wide), _splat(builder, weight, wide))
        sums_at = at(10, residual, col, _DOUBLE)
        sums = builder.fadd(builder.load(sums_at, typ=wide, align=8), term)
        builder.store(sums, sums_at, align=8)
        return context.get_dummy_value()

    return signature, generate
