"""Packages that others load in case they are wanted, a fifth of a second each, and that nothing here wants."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from typing import Any


class _Absence(MetaPathFinder):
    """Says of one package that there is none, to the thread that asked for it."""

    def __init__(self, package: str) -> None:
        self._package, self._thread = package, threading.get_ident()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == self._package and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named '{fullname}'", name=fullname)


@contextlib.contextmanager
def without_package(package: str) -> Iterator[None]:
    """Let this thread's imports of a package fail, unless it is loaded already."""
    absence = _Absence(package)
    sys.meta_path.insert(0, absence)
    try:
        yield
    finally:
        sys.meta_path.remove(absence)
