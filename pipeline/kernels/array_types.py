"""How a kernel is declared: its annotations are its signature. It is compiled, or loaded, when it is first called.

An annotation says an array's dtype, its axes, and whether the kernel writes it: ``In[np.int64]`` has one axis and is
read, ``OutMatrix[np.float32]`` has two and is written. All are C-contiguous. ``X | None`` compiles the kernel for
either; a NamedTuple of such fields is one argument.
"""

import functools
import itertools
import types as python_types
from collections.abc import Callable
from typing import (
    Annotated,
    Any,
    Generic,
    NamedTuple,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numba
import numpy as np
from numba import from_dtype, types
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from pipeline.absent_packages import without_package

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T", bound=np.generic)
_Fields = TypeVar("_Fields", bound=tuple[Any, ...])


class _Axes(NamedTuple):
    number: int
    is_written: bool


In = Annotated[NDArray[_T], _Axes(1, False)]
InMatrix = Annotated[NDArray[_T], _Axes(2, False)]
InCube = Annotated[NDArray[_T], _Axes(3, False)]
Out = Annotated[NDArray[_T], _Axes(1, True)]
OutMatrix = Annotated[NDArray[_T], _Axes(2, True)]

# numba's own annotations know neither lists of signatures nor this constructor.
_njit: Any = numba.njit
_tuple_of: Any = types.BaseTuple.from_types
_SCALARS = {int: types.int64, float: types.float64, bool: types.boolean, type(None): types.none}


class Kernel(Generic[_P, _R]):
    """A function that numba compiles, for the types that its annotations name, when it is first called.

    A kernel that is loaded from numba's cache costs milliseconds, all of them a second, and a process calls a few.
    """

    def __init__(self, function: Callable[_P, _R], **options: Any) -> None:
        functools.update_wrapper(self, function)
        self._function, self._options = function, options

    @functools.cached_property
    def dispatcher(self) -> Any:
        """The compiled function, by the types of its arguments."""
        hints = get_type_hints(self._function, include_extras=True)
        (result,) = _variants(hints.pop("return"))
        _load_numba()
        signatures = [result(*argument_types) for argument_types in itertools.product(*map(_variants, hints.values()))]
        return _njit(signatures, nogil=True, cache=True, **self._options)(self._function)

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the compiled function."""
        result: _R = self.dispatcher(*args, **kwargs)
        return result

    @property
    def _numba_type_(self) -> Any:
        """What numba takes this object for where another kernel calls it."""
        return types.Dispatcher(self.dispatcher)


@functools.cache
def _load_numba() -> None:
    """Load what numba loads with its first function, but for scipy's BLAS: kernels multiply no matrices."""
    with without_package("scipy.linalg"):
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()


def kernel(function: Callable[_P, _R]) -> Kernel[_P, _R]:
    """Compile a function for the types that its annotations name; it holds no lock, and numba caches the result."""
    return Kernel(function)


def inner_kernel(function: Callable[_P, _R]) -> Kernel[_P, _R]:
    """Compile what kernels call for every node or entry. It must allocate nothing and return no array.

    So it needs no count of references, which costs atomic operations for every array of a tuple and every slice
    [copy_refinement: a third of the time].
    """
    return Kernel(function, _nrt=False)


def ieee_kernel(function: Callable[_P, _R]) -> Kernel[_P, _R]:
    """Compile as :func:`kernel` does; a division by zero gives what IEEE 754 says instead of an error."""
    return Kernel(function, error_model="numpy")


def read_only(fields: _Fields) -> _Fields:
    """Return a named tuple with views that can't be written: numba tells them from arrays that a kernel may write."""
    views: list[Any] = []
    for value in fields:
        if isinstance(value, np.ndarray):
            view = value.view()
            view.setflags(write=False)
            views.append(view)
        else:
            views.append(read_only(value) if isinstance(value, tuple) else value)
    return type(fields)(*views)


def _variants(hint: Any) -> list[Any]:
    """Return the numba types that an annotation stands for."""
    origin = get_origin(hint)
    if origin is Annotated:
        (axes,) = hint.__metadata__
        dtype = from_dtype(np.dtype(get_args(get_args(hint.__origin__)[1])[0]))
        # Memory maps and Arrow buffers are read-only, which numba's plain array types refuse.
        return [types.Array(dtype, axes.number, "C", readonly=not axes.is_written)]
    if origin in (Union, python_types.UnionType):
        return [variant for option in get_args(hint) for variant in _variants(option)]
    if origin is tuple:
        return [_tuple_of(fields) for fields in itertools.product(*map(_variants, get_args(hint)))]
    if isinstance(hint, type) and issubclass(hint, tuple):
        fields = get_type_hints(hint, include_extras=True).values()
        return [_tuple_of(field_types, hint) for field_types in itertools.product(*map(_variants, fields))]
    return [_SCALARS.get(hint) or from_dtype(np.dtype(hint))]
