"""Where compiled kernels are kept: a folder that this user can write and nobody else can.

What lies there is run when it is loaded. Numba itself gives up where neither its code's folder nor the user's home can
be written; then they are kept in a folder of the temporary one, or compiled by each process for itself. Kernels
that were compiled before the installation was shipped lie beside their sources, and can be read there by all.
"""

import grp
import hashlib
import os
import pwd
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.cpu_baseline import baseline_of, compile_for


def cache_folder(sources: Path) -> Path | None:
    """Return the folder that numba is to keep modules of ``sources`` in; None if there is none.

    Where kernels were shipped for a baseline, ``__pycache__`` beside the sources, even if it can't be written. Else in
    numba's own order: NUMBA_CACHE_DIR, ``__pycache__``, the user's cache folder. Then one that belongs to us in the
    temporary folder. One that somebody else could fill is passed over.
    """
    if _is_shipped(sources):
        return sources / "__pycache__"
    setting = os.environ.get("NUMBA_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for folder in (Path(setting) if setting else None, sources / "__pycache__", Path(home) / "numba"):
        if folder is not None and folder.is_absolute() and _is_ours(leaf_of(folder, sources), sources):
            return folder
    return _private_folder(sources)


def leaf_of(folder: Path, sources: Path) -> Path:
    """Return where numba puts the files: in all but ``__pycache__``, each folder of sources has one of its own."""
    if folder == sources / "__pycache__":
        return folder
    return folder / f"{sources.name}_{hashlib.sha1(str(sources).encode()).hexdigest()}"


def keep_kernels(sources: Path) -> None:
    """Make numba keep what it compiles of modules in ``sources`` in :func:`cache_folder`, or keep nothing."""
    if baseline := baseline_of(sources):
        compile_for(baseline)
    folder = cache_folder(sources)
    if folder is None:
        from numba.core.dispatcher import Dispatcher

        setattr(Dispatcher, "enable_caching", _keep_nothing)  # noqa: B010  # a method, as mypy sees it
    else:
        setting = "" if folder == sources / "__pycache__" else str(folder)
        os.environ["NUMBA_CACHE_DIR"] = setting  # to numba, "" is none; and the one of before may be open to others
        if "numba" in sys.modules:
            sys.modules["numba"].config.CACHE_DIR = setting
        if not os.access(folder, os.W_OK):
            from pipeline.shipped_kernels import read_shipped_kernels

            read_shipped_kernels(sources)


def _keep_nothing(dispatcher: object) -> None:
    """Stand in for numba's own step, which raises where it finds no folder."""


def _is_shipped(sources: Path) -> bool:
    """Whether kernels for a baseline lie beside the sources, and nobody could fill their folder but who owns these.

    Folders above are not looked at: who can exchange those exchanges the sources as well.
    """
    folder = sources / "__pycache__"
    try:
        owners = {0, os.geteuid(), sources.stat().st_uid}
        return baseline_of(sources) is not None and _is_closed(folder, owners, is_leaf=True)
    except OSError:
        return False


def _is_ours(folder: Path, sources: Path) -> bool:
    """Whether this user can write a folder, and nobody else can, nor put another one into its place."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        # Who owns the sources runs what he likes here anyway.
        owners = {0, os.geteuid(), sources.stat().st_uid}
        real = folder.resolve()
        return all(_is_closed(place, owners, place in (folder, real)) for place in _on_the_way(folder, real))
    except OSError:
        return False


def _on_the_way(*paths: Path) -> Iterator[Path]:
    for path in paths:
        yield from (path, *path.parents)


def _is_closed(place: Path, owners: set[int], is_leaf: bool) -> bool:
    about = place.lstat()
    if about.st_uid not in owners:
        return False
    if stat.S_ISLNK(about.st_mode) or not about.st_mode & 0o022:
        return True
    # Where others may add files, a sticky bit keeps them from what is ours, but not from adding beside it.
    is_sticky = bool(about.st_mode & stat.S_ISVTX) and not is_leaf
    return is_sticky or (not about.st_mode & 0o002 and _is_own_group(about.st_gid))


def _is_own_group(gid: int) -> bool:
    """Whether a group is one that many systems give to each user, who is alone in it."""
    try:
        group = grp.getgrgid(gid)
        return group.gr_name == pwd.getpwuid(os.geteuid()).pw_name and not group.gr_mem
    except KeyError:
        return False


def _private_folder(sources: Path) -> Path | None:
    """Return our folder in the temporary one; None where somebody else could put files into it, or had it first."""
    try:
        folder = Path(tempfile.gettempdir()).absolute() / f"graphquilt-numba-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return None
    is_closed = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o077
    return folder if is_closed and _is_ours(leaf_of(folder, sources), sources) else None
