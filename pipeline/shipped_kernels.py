"""Compiled kernels that came with the installation, in a folder that this user can't write.

numba's own cache wants to write wherever it reads, and compiles everything again where it can't.
"""

from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache, InTreeCacheLocator
from numba.core.dispatcher import Dispatcher


class ShippedLocator(InTreeCacheLocator):
    """Finds the folder beside the sources, whether or not it can be written."""

    def ensure_cache_path(self) -> None:
        """Do nothing: numba makes the folder here, and a file in it."""


class ShippedCacheImpl(CompileResultCacheImpl):
    """Reads and writes compiled functions as numba does, beside their sources."""

    _locator_classes = [ShippedLocator]  # noqa: RUF012  # as numba declares it


class ShippedCache(FunctionCache):
    """A cache that is only read."""

    _impl_class = ShippedCacheImpl

    def save_overload(self, sig: Any, data: Any) -> None:
        """Do nothing: what is not in the cache stays in this process."""


def read_shipped_kernels(sources: Path) -> None:
    """Make numba load kernels of modules in ``sources`` from the folder beside them, and write nothing there."""

    def enable_caching(dispatcher: Any) -> None:
        is_kernel = Path(dispatcher.py_func.__code__.co_filename).parent == sources
        kind: Any = ShippedCache if is_kernel else FunctionCache
        dispatcher._cache = kind(dispatcher.py_func)

    setattr(Dispatcher, "enable_caching", enable_caching)  # noqa: B010  # a method, as mypy sees it
