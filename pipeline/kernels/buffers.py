"""Arrays whose rows start where the vector kernels like them to."""

import math

import numpy as np
from numpy.typing import NDArray

CACHE_LINE_BYTES = 64


def aligned_empty(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An uninitialised C-contiguous float32 array whose first byte is at a multiple of 64.

    Rows of a multiple of 16 float32 then start on a cache line: a random row of 512 bytes costs
    8 lines instead of 9. Buffers of several MiB are asked to live in huge pages, which numpy's
    allocator does by itself on Linux, so that random rows miss the TLB less often.
    """
    n_bytes = math.prod(shape) * np.dtype(np.float32).itemsize
    raw = np.empty(n_bytes + CACHE_LINE_BYTES, np.uint8)
    offset = -raw.ctypes.data % CACHE_LINE_BYTES
    return raw[offset : offset + n_bytes].view(np.float32).reshape(shape)
