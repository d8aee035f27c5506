"""Where compiled kernels are kept: a folder that this user can write and nobody else can.

What lies there is run when it is loaded. Numba itself gives up where neither its code's folder nor the user's home can
be written; then they are kept in a folder of the temporary one, or compiled by each process for itself.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path


def cache_folder(sources: Path) -> Path | None:
    """Return the folder whose writable state numba is to rely on for modules in ``sources``; None if there is none.

    In numba's own order: NUMBA_CACHE_DIR, ``__pycache__`` beside the sources, the user's cache folder. Then one that
    belongs to us in the temporary folder. In all but ``__pycache__``, each folder of sources has a folder of its own.
    """
    named = os.environ.get("NUMBA_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for folder in (Path(named) if named else None, sources / "__pycache__", Path(home) / "numba"):
        if folder is not None and folder.is_absolute() and _is_writable(folder):
            return folder
    return _private_folder()


def keep_kernels(sources: Path) -> None:
    """Make numba keep what it compiles of modules in ``sources`` in :func:`cache_folder`, or keep nothing."""
    folder = cache_folder(sources)
    if folder is None:
        from numba.core.dispatcher import Dispatcher

        setattr(Dispatcher, "enable_caching", _keep_nothing)  # noqa: B010  # a method, as mypy sees it
    elif folder != sources / "__pycache__":
        os.environ["NUMBA_CACHE_DIR"] = str(folder)
        if "numba" in sys.modules:
            sys.modules["numba"].config.CACHE_DIR = str(folder)


def _keep_nothing(dispatcher: object) -> None:
    """Stand in for numba's own step, which raises where it finds no folder."""


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private_folder() -> Path | None:
    """Return our folder in the temporary one; None where somebody else could put files into it, or had it first."""
    try:
        folder = Path(tempfile.gettempdir()).absolute() / f"graphquilt-numba-{os.geteuid()}"
        above = folder.parent.stat()
        if above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX:
            return None  # others could move it away and make their own
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return folder if is_ours and _is_writable(folder) else None
