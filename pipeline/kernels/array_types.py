"""Array types for kernel signatures: C-contiguous, and read-only unless the kernel writes."""

from typing import Any

from numba import types


def reads(dtype: Any, axes: int = 1) -> Any:
    """An input. Memory maps and Arrow buffers are read-only, which numba's plain array types refuse."""
    return types.Array(dtype, axes, "C", readonly=True)


def writes(dtype: Any, axes: int = 1) -> Any:
    """An output, or an array changed in place."""
    return types.Array(dtype, axes, "C")
