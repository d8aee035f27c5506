import sys

from pipeline.kernels.warm import warm_kernels


def test_warming_imports_every_kernel_module() -> None:
    modules = warm_kernels()
    assert {"pipeline.kernels.spmm", "pipeline.kernels.rows", "pipeline.kernels.hashing"} <= set(modules)
    assert set(modules) <= set(sys.modules)
