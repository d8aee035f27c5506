"""Ask for one element before it is needed."""

from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils as untyped_cgutils

# numba describes these as they look inside a kernel's compiler, not as a kernel calls them.
intrinsic: Any = extending.intrinsic
cgutils: Any = untyped_cgutils

_INT32 = ir.IntType(32)


@intrinsic
def prefetch_element(_typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of ``array[index]``, of a contiguous array with one axis; never faults."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = signature.args[0]
        data = context.make_array(kind)(context, builder, values[0]).data
        element = builder.gep(data, [values[1]], source_etype=context.get_data_type(kind.dtype))
        pointer = ir.PointerType()
        function_type = ir.FunctionType(ir.VoidType(), [pointer, _INT32, _INT32, _INT32])
        prefetch = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        # For reading, into all cache levels, data.
        builder.call(prefetch, [element, _INT32(0), _INT32(3), _INT32(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate
