import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from pipeline.kernels.array_types import In, kernel
from pipeline.kernels.hashing import hash_cells, splitmix64
from pipeline.kernels.spmm import spmm
from pipeline.kernels.warm import warm_kernels

ROOT = Path(__file__).parents[2]


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


def test_a_compiled_kernel_is_loaded_without_what_compiles_it(tmp_path: Path) -> None:
    code = (
        "import sys\nimport numpy as np\nfrom pipeline.kernels.hashing import splitmix64\n"
        "print(splitmix64(np.arange(3, dtype=np.uint64)).tolist(), 'numba.np.arrayobj' in sys.modules)"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    )
    assert first == f"{splitmix64(np.arange(3, dtype=np.uint64)).tolist()} True\n"
    assert second == first.replace("True", "False")
