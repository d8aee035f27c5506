"""Vector instructions for numba kernels: tiles of a float32 row, held in registers.

numba has no vector type, and its plain loops keep a row's accumulator in memory, because the
compiler cannot prove that the output does not overlap the input. These intrinsics emit LLVM vector
code instead. The arithmetic is IEEE single and double precision, one rounding per operation and no
fused multiply-add, so that each column gets the same bits in a tile of any width on any CPU.

numba's cache looks at the file of a kernel, not at this one: after a change here, touch the kernels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils as untyped_cgutils
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InMatrix

# numba describes these as they look inside a kernel's compiler, not as a kernel calls them.
intrinsic: Any = extending.intrinsic
cgutils: Any = untyped_cgutils

RUN = 16
"""Neighbours added in float32 before their sum is carried on in float64.

Adding k nearly equal terms one after the other in float32 is off by at most (k + 1) / 2 units of
2**-24, all roundings on one side. With products and the result rounded too, runs of 16 stay within
(8.5 + 2) * 2**-24 = 6.3e-7 of the float64 sum however many neighbours a row has. Runs of 512 were
measured at 7.6e-6, runs of 64 at 1.0e-6. Against 512, a hub's entry costs 17 % more where its
neighbours come from the first cache, and the same where they come from further away.
"""

PREFETCH_DISTANCE = 16
"""Entries between asking for a row and using it; anything from 4 to 32 was measured to do as well."""

GROUP = 16
"""Columns whose squares are summed together."""


class Entries(NamedTuple):
    """Entries ``begin <= e < end`` of a row; ``last`` is the last one that may be read to prefetch a coming row."""

    begin: int
    end: int
    last: int


_CACHE_LINE_FLOATS = 16
_FLOAT = ir.FloatType()
_BFLOAT16_BITS = ir.IntType(16)
_DOUBLE = ir.DoubleType()
_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)


def _data_and_width(context: Any, builder: Any, array_type: Any, value: Any) -> tuple[Any, Any]:
    """Pointer to the first float, and number of columns, of a C-contiguous matrix."""
    array = context.make_array(array_type)(context, builder, value)
    return array.data, cgutils.unpack_tuple(builder, array.shape)[-1]


def _emit_prefetch(builder: Any, address: Any, floats: int) -> None:
    """Ask for every cache line of ``floats`` consecutive float32."""
    pointer = ir.PointerType()
    kind = ir.FunctionType(ir.VoidType(), [pointer, _INT32, _INT32, _INT32])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    for first in range(0, floats, _CACHE_LINE_FLOATS):
        line = builder.gep(address, [_INT64(first)], source_etype=_FLOAT)
        # For reading, into all cache levels, data.
        builder.call(prefetch, [line, _INT32(0), _INT32(3), _INT32(1)])


def splat(builder: Any, scalar: Any, vector: Any) -> Any:
    """A vector whose lanes all hold a scalar."""
    lanes = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _INT32(0))
    mask = ir.Constant(ir.VectorType(_INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(lanes, ir.Constant(vector, ir.Undefined), mask)


def load_lanes(builder: Any, address: Any, kind: Any, lanes: Any) -> Any:
    """Float32 lanes of consecutive entries, of float32 or of the bits of bfloat16."""
    if kind is _FLOAT:
        return builder.load(address, typ=lanes, align=4)
    # The upper half of a float32's bits.
    upper = builder.load(address, typ=ir.VectorType(_BFLOAT16_BITS, lanes.count), align=2)
    bits = builder.zext(upper, ir.VectorType(_INT32, lanes.count))
    return builder.bitcast(builder.shl(bits, ir.Constant(bits.type, [16] * lanes.count)), lanes)


def store_lanes(builder: Any, lanes: Any, address: Any, kind: Any) -> None:
    """Write float32 lanes to consecutive entries; to bfloat16 rounded half to even, as `bfloat16_rows` does."""
    if kind is _FLOAT:
        builder.store(lanes, builder.bitcast(address, lanes.type.as_pointer()), align=4)
        return
    words = ir.VectorType(_INT32, lanes.type.count)
    bits = builder.bitcast(lanes, words)
    sixteen, unit, below_half = (ir.Constant(words, [value] * words.count) for value in (16, 1, 0x7FFF))
    odd = builder.and_(builder.lshr(bits, sixteen), unit)
    rounded_bits = builder.lshr(builder.add(bits, builder.add(odd, below_half)), sixteen)
    upper = builder.trunc(rounded_bits, ir.VectorType(_BFLOAT16_BITS, words.count))
    builder.store(upper, builder.bitcast(address, upper.type.as_pointer()), align=2)


def kind_of(array_type: Any) -> Any:
    """What the entries of an array are to a tile: float32, or uint16 with the bits of bfloat16."""
    return _BFLOAT16_BITS if array_type.dtype == types.uint16 else _FLOAT


class SignRows(NamedTuple):
    """Rows whose entries are plus or minus a value of the row's own, or 0, in two bits an entry.

    The first half of a row's words has a bit for each column where the value is added, the second where it is
    taken off. The columns are a multiple of 64.
    """

    signs: InMatrix[np.uint64]  # (n, dim / 32)
    value: In[np.float32]  # (n,)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.signs), 32 * self.signs.shape[1]

    def scale_by(self, scale: NDArray[np.float64]) -> SignRows:
        """Return the rows times a factor each: to the bit those of `scale_rows`."""
        return SignRows(self.signs, (self.value * scale).astype(np.float32))


class _SignOperands(NamedTuple):
    """The same of rows of signs."""

    plus: Any  # bits of the tile's first column: those of row i at plus + i * words
    minus: Any
    words: Any
    values: Any  # that of row i at values + i

    @classmethod
    def of(cls, context: Any, builder: Any, kind: Any, x: Any, first_col: Any, col: Any) -> _SignOperands:
        """Unpack rows of signs."""
        signs, values = cgutils.unpack_tuple(builder, x)
        data, words = _data_and_width(context, builder, kind.types[0], signs)
        word = builder.sub(builder.lshr(col, _INT64(6)), builder.mul(first_col, words))
        plus = builder.gep(data, [word], source_etype=_INT64)
        minus = builder.gep(plus, [builder.lshr(words, _INT64(1))], source_etype=_INT64)
        of_rows, _ = _data_and_width(context, builder, kind.types[1], values)
        return cls(plus, minus, words, builder.gep(of_rows, [builder.neg(first_col)], source_etype=_FLOAT))

    def prefetch(self, builder: Any, row: Any) -> None:
        """Ask for a row's signs and its value."""
        _emit_prefetch(builder, builder.gep(self.plus, [builder.mul(row, self.words)], source_etype=_INT64), 1)
        _emit_prefetch(builder, builder.gep(self.values, [row], source_etype=_FLOAT), 1)

    def add(self, builder: Any, partial: Any, row: Any, weight: Any) -> Any:
        """Add a row's value, times a weight, where bits say so."""
        value = builder.load(builder.gep(self.values, [row], source_etype=_FLOAT), typ=_FLOAT, align=4)
        value = splat(builder, value if weight is None else builder.fmul(value, weight), partial.type)
        zeros = ir.Constant(partial.type, [0.0] * partial.type.count)
        for bits, combine in ((self.plus, builder.fadd), (self.minus, builder.fsub)):
            address = builder.gep(bits, [builder.mul(row, self.words)], source_etype=_INT64)
            # Adding or taking off 0 changes no bit: no sum is -0.
            partial = combine(partial, builder.select(_lanes_of_bits(builder, address, partial), value, zeros))
        return partial


def _lanes_of_bits(builder: Any, address: Any, row: Any) -> Any:
    """Which lanes of a row have their bit set. Every lane tests its word: a cast of bits to lanes is slow on AVX2."""
    count = row.type.count
    lanes, words = ir.VectorType(_INT32, count), ir.VectorType(_INT32, count // 32)
    bit_words = builder.load(address, typ=words, align=8)
    places = ir.Constant(lanes, [lane // 32 for lane in range(count)])
    of_lanes = builder.shuffle_vector(bit_words, ir.Constant(words, ir.Undefined), places)
    own = builder.and_(of_lanes, ir.Constant(lanes, [1 << lane % 32 for lane in range(count)]))
    return builder.icmp_unsigned("!=", own, ir.Constant(lanes, [0] * count))


class _TileOperands(NamedTuple):
    """Values of the code that computes a tile; pointers to the arrays' data, weights None where every one is 1."""

    kind: Any  # of the entries of x
    base: Any  # entry (i, j) of x is at base + i * dim + j, where j counts from the tile's first column
    dim: Any
    signs: _SignOperands | None  # where x are rows of signs; then base is null
    indices: Any
    weights: Any
    begin: Any
    end: Any
    last: Any
    target: Any
    scale: Any  # float64 that the row is multiplied by; None: by nothing

    @classmethod
    def of(cls, context: Any, builder: Any, kinds: Any, values: Any, vector: Any) -> _TileOperands:
        """Unpack the arguments of a tile."""
        matrix, entries, x, first_col, col, out, row, scale = values
        _, indices, weights = (
            None if isinstance(kind, types.NoneType) else _data_and_width(context, builder, kind, value)[0]
            for kind, value in zip(kinds[0].types, cgutils.unpack_tuple(builder, matrix), strict=True)
        )
        out_data, dim = _data_and_width(context, builder, kinds[5], out)
        target = builder.gep(out_data, [builder.add(builder.mul(row, dim), col)], source_etype=_FLOAT)
        kind, base, signs = _FLOAT, None, None
        if isinstance(kinds[2], types.BaseTuple):
            signs = _SignOperands.of(context, builder, kinds[2], x, first_col, col)
        else:
            x_data, _ = _data_and_width(context, builder, kinds[2], x)
            kind = kind_of(kinds[2])
            # Folding the column and the first row into the base leaves one multiplication an entry.
            base = builder.gep(x_data, [builder.sub(col, builder.mul(first_col, dim))], source_etype=kind)
        begin, end, last = cgutils.unpack_tuple(builder, entries)
        factor = None
        if not isinstance(kinds[7], types.NoneType):
            scales, _ = _data_and_width(context, builder, kinds[7], scale)
            factor = builder.load(builder.gep(scales, [row], source_etype=_DOUBLE), typ=_DOUBLE, align=8)
        place = builder.bitcast(target, vector.as_pointer())
        return cls(kind, base, dim, signs, indices, weights, begin, end, last, place, factor)

    def _neighbor_of(self, builder: Any, entry: Any) -> Any:
        address = builder.gep(self.indices, [entry], source_etype=_INT32)
        return builder.sext(builder.load(address, typ=_INT32, align=4), _INT64)

    def _row_of(self, builder: Any, entry: Any) -> Any:
        """Address of the tile's columns in the row of x that an entry names."""
        neighbor = self._neighbor_of(builder, entry)
        return builder.gep(self.base, [builder.mul(neighbor, self.dim)], source_etype=self.kind)

    def prefetch(self, builder: Any, entry: Any, width: int) -> None:
        """Ask for what an entry names."""
        if self.signs is None:
            floats = width if self.kind is _FLOAT else -(-width // 2)
            _emit_prefetch(builder, self._row_of(builder, entry), floats)
        else:
            self.signs.prefetch(builder, self._neighbor_of(builder, entry))

    def add(self, builder: Any, partial: Any, entry: Any) -> Any:
        """Return the sum with what an entry adds to it."""
        vector, weight = partial.type, None
        if self.weights is not None:
            address = builder.gep(self.weights, [entry], source_etype=_FLOAT)
            weight = builder.load(address, typ=_FLOAT, align=4)
        if self.signs is not None:
            return self.signs.add(builder, partial, self._neighbor_of(builder, entry), weight)
        term = load_lanes(builder, self._row_of(builder, entry), self.kind, vector)
        return builder.fadd(partial, term if weight is None else builder.fmul(term, splat(builder, weight, vector)))

    def store(self, builder: Any, row: Any) -> None:
        """Write the tile: the sum, which has been rounded, times the row's scale."""
        if self.scale is not None:
            wide = ir.VectorType(_DOUBLE, row.type.count)
            row = builder.fptrunc(builder.fmul(builder.fpext(row, wide), splat(builder, self.scale, wide)), row.type)
        builder.store(row, self.target, align=4)


def make_row_tile(width: int) -> Any:
    """The intrinsic that computes ``width`` columns of one row of a sparse-dense product.

    Called from a kernel as ``tile(matrix, entries, x, first_col, col, out, row, scale)``: ``out[row, col : col +
    width]`` becomes the sum, over ``entries`` of the `Csr` matrix in their order, of
    ``weights[e] * x[indices[e] - first_col, col : col + width]``, times ``scale[row]`` where there are scales. x is
    float32, or uint16 with the bits of bfloat16.
    """

    @intrinsic
    def row_tile(
        _typing_context: Any,
        matrix: Any,
        entries: Any,
        x: Any,
        first_col: Any,
        col: Any,
        out: Any,
        row: Any,
        scale: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            narrow = ir.VectorType(_FLOAT, width)
            _emit_sum(builder, _TileOperands.of(context, builder, signature.args, values, narrow), width)
            return context.get_dummy_value()

        return types.void(matrix, entries, x, first_col, col, out, row, scale), generate

    return row_tile


def _emit_sum(builder: Any, data: _TileOperands, width: int) -> None:
    """Write the loop over runs of entries, and in it the loop over a run's entries."""
    narrow, wide = ir.VectorType(_FLOAT, width), ir.VectorType(_DOUBLE, width)
    before = builder.block
    run_head = builder.append_basic_block("run")
    entry_head = builder.append_basic_block("entry")
    entry_body = builder.append_basic_block("entry.body")
    run_end = builder.append_basic_block("run.end")
    carry = builder.append_basic_block("carry")
    store_run = builder.append_basic_block("store.run")
    store_total = builder.append_basic_block("store.total")
    end = builder.append_basic_block("done")
    builder.branch(run_head)

    builder.position_at_end(run_head)
    run_begin = builder.phi(_INT64)
    total = builder.phi(wide)
    run_begin.add_incoming(data.begin, before)
    total.add_incoming(ir.Constant(wide, [0.0] * width), before)
    full = builder.add(run_begin, _INT64(RUN))
    run_stop = builder.select(builder.icmp_signed("<", full, data.end), full, data.end)
    builder.branch(entry_head)

    builder.position_at_end(entry_head)
    entry = builder.phi(_INT64)
    partial = builder.phi(narrow)
    entry.add_incoming(run_begin, run_head)
    partial.add_incoming(ir.Constant(narrow, [0.0] * width), run_head)
    builder.cbranch(builder.icmp_signed("<", entry, run_stop), entry_body, run_end)

    builder.position_at_end(entry_body)
    ahead = builder.add(entry, _INT64(PREFETCH_DISTANCE))
    ahead = builder.select(builder.icmp_signed("<", ahead, data.last), ahead, data.last)
    data.prefetch(builder, ahead, width)
    partial.add_incoming(data.add(builder, partial, entry), entry_body)
    entry.add_incoming(builder.add(entry, _INT64(1)), entry_body)
    builder.branch(entry_head)

    builder.position_at_end(run_end)
    is_first = builder.icmp_signed("==", run_begin, data.begin)
    is_last = builder.icmp_signed("==", run_stop, data.end)
    builder.cbranch(builder.and_(is_first, is_last), store_run, carry)

    builder.position_at_end(carry)
    new_total = builder.fadd(total, builder.fpext(partial, wide))
    total.add_incoming(new_total, carry)
    run_begin.add_incoming(run_stop, carry)
    builder.cbranch(is_last, store_total, run_head)

    # A row of one run: the float64 detour would give the same bits, later.
    builder.position_at_end(store_run)
    data.store(builder, partial)
    builder.branch(end)

    builder.position_at_end(store_total)
    data.store(builder, builder.fptrunc(new_total, narrow))
    builder.branch(end)

    builder.position_at_end(end)


@intrinsic
def square_sum_of_group(_typing_context: Any, x: Any, row: Any, col: Any) -> Any:
    """Sum of the squares of ``x[row, col : col + 16]``, in float64 by halves: 16, 8, 4, 2, 1."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        x, row, col = values
        data, dim = _data_and_width(context, builder, signature.args[0], x)
        first = builder.gep(data, [builder.add(builder.mul(row, dim), col)], source_etype=_FLOAT)
        lanes = ir.VectorType(_FLOAT, GROUP)
        value = builder.load(builder.bitcast(first, lanes.as_pointer()), typ=lanes, align=4)
        value = builder.fpext(value, ir.VectorType(_DOUBLE, GROUP))
        value = builder.fmul(value, value)
        width = GROUP
        while width > 1:
            width //= 2
            halves = ir.VectorType(_INT32, width)
            low = builder.shuffle_vector(value, value, ir.Constant(halves, list(range(width))))
            high = builder.shuffle_vector(value, value, ir.Constant(halves, list(range(width, 2 * width))))
            value = builder.fadd(low, high)
        return builder.extract_element(value, _INT32(0))

    return types.float64(x, row, col), generate


@intrinsic
def prefetch_row(_typing_context: Any, x: Any, row: Any) -> Any:
    """Ask for the first 512 bytes of ``x[row]``; the hardware follows a longer row by itself."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        x, row = values
        data, dim = _data_and_width(context, builder, signature.args[0], x)
        _emit_prefetch(builder, builder.gep(data, [builder.mul(row, dim)], source_etype=_FLOAT), 128)
        return context.get_dummy_value()

    return types.void(x, row), generate
