"""Arrays whose rows start where the vector kernels like them to."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

CACHE_LINE_BYTES = 64


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """An uninitialised C-contiguous array whose first byte is at a multiple of 64.

    Rows of a multiple of 16 float32 then start on a cache line: a random row of 512 bytes costs
    8 lines instead of 9. Buffers of several MiB are asked to live in huge pages, which numpy's
    allocator does by itself on Linux, so that random rows miss the TLB less often.
    """
    return _align(np.empty(_bytes_for(shape, dtype), np.uint8), shape, dtype)


def aligned_zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The same of zeros, whose memory is found when it is first written."""
    return _align(np.zeros(_bytes_for(shape, np.float32), np.uint8), shape, np.float32)


class Buffers:
    """Arrays that are used again: first writes to fresh memory cost as much as three to fifty sweeps over it."""

    def __init__(self) -> None:
        self._free: list[NDArray[Any]] = []

    def take(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return an array as `aligned_empty` does, with any content: a free one like it if there is one."""
        for place, array in enumerate(self._free):
            if array.shape == shape and array.dtype == dtype:
                return self._free.pop(place)
        return aligned_empty(shape, dtype)

    def give(self, array: NDArray[Any]) -> None:
        """Take back an array that nobody reads any more."""
        self._free.append(array)


def _bytes_for(shape: tuple[int, ...], dtype: DTypeLike) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize + CACHE_LINE_BYTES


def _align(raw: NDArray[np.uint8], shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    offset = -raw.ctypes.data % CACHE_LINE_BYTES
    return raw[offset : len(raw) - CACHE_LINE_BYTES + offset].view(dtype).reshape(shape)
