"""Compile every kernel once, into numba's cache, so that workers only read it."""

import importlib
import pkgutil

import pipeline.kernels
from pipeline.kernels.array_types import Kernel


def warm_kernels() -> tuple[Kernel[..., object], ...]:
    """Compile every kernel, or find it in the cache; return them by the names of their modules."""
    names = sorted(module.name for module in pkgutil.iter_modules(pipeline.kernels.__path__))
    modules = [importlib.import_module(f"{pipeline.kernels.__name__}.{name}") for name in names]
    kernels = {value: None for module in modules for value in vars(module).values() if isinstance(value, Kernel)}
    for kernel in kernels:
        _ = kernel.dispatcher
    return tuple(kernels)
