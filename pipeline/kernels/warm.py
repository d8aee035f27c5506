"""Compile every kernel once, into numba's cache, so that workers only read it."""

import importlib
import pkgutil

import pipeline.kernels


def warm_kernels() -> tuple[str, ...]:
    """Import every kernel module and return their names, in alphabetical order.

    Kernels have explicit signatures, so importing compiles them, or finds them in the cache.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(pipeline.kernels.__path__))
    modules = tuple(f"{pipeline.kernels.__name__}.{name}" for name in names)
    for module in modules:
        importlib.import_module(module)
    return modules
