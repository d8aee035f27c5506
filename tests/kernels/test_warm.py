import numpy as np

from pipeline.kernels.array_types import In, kernel
from pipeline.kernels.hashing import hash_cells
from pipeline.kernels.spmm import spmm
from pipeline.kernels.warm import warm_kernels


@kernel
def _twice(value: int) -> int:
    return 2 * value


@kernel
def _sum_of_twice(values: In[np.int64]) -> int:
    total = 0
    for value in values:
        total += _twice(value)
    return total


def test_a_kernel_is_compiled_when_it_is_called_by_python_or_by_another() -> None:
    assert "dispatcher" not in vars(_twice)
    assert "dispatcher" not in vars(_sum_of_twice)
    assert _sum_of_twice(np.arange(4)) == 12
    assert _twice(3) == 6
    assert _sum_of_twice.__name__ == "_sum_of_twice"


def test_warming_compiles_the_kernels_of_every_module() -> None:
    kernels = warm_kernels()
    assert {spmm.__module__, hash_cells.__module__} <= {one.__module__ for one in kernels}
    assert all(one.dispatcher.nopython_signatures for one in kernels)
