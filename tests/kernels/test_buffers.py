import numpy as np
import pytest

from pipeline.kernels.buffers import Buffers, aligned_empty, aligned_zeros


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


def test_zeros_are_aligned_and_zero() -> None:
    array = aligned_zeros((1000, 128))
    assert array.ctypes.data % 64 == 0
    assert not array.any()


def test_an_array_is_taken_again_only_after_it_was_given_back_and_only_in_its_shape() -> None:
    buffers = Buffers()
    first, second = buffers.take((10, 4)), buffers.take((10, 4))
    assert not np.may_share_memory(first, second)
    buffers.give(first)
    assert not np.may_share_memory(buffers.take((4, 10)), first)
    assert buffers.take((10, 4)) is first
    assert buffers.take((10, 4)) is not first


def test_two_buffers_do_not_share_memory() -> None:
    assert not np.may_share_memory(aligned_empty((10,)), aligned_empty((10,)))
