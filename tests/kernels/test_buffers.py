import numpy as np
import pytest

from pipeline.kernels.buffers import aligned_empty


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (3, 5), (0, 4), (1000, 128)])
def test_the_first_byte_is_on_a_cache_line_and_the_array_is_usable(shape: tuple[int, ...]) -> None:
    array = aligned_empty(shape)
    if array.size:  # numpy gives an empty array any address
        assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.shape == shape
    assert array.dtype == np.float32
    array[...] = 1
    assert array.sum(dtype=np.float64) == array.size


def test_two_buffers_do_not_share_memory() -> None:
    assert not np.may_share_memory(aligned_empty((10,)), aligned_empty((10,)))
