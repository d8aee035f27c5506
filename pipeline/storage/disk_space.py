"""Full disks: recognises the error of any library, and says how many bytes are needed and free.

A run keeps a small file in reserve and removes it on a full disk, so that the verdict still fits: whoever watches
``gate.json`` would otherwise read "running" for good.
"""

import contextlib
import errno
import os
import re
import shutil
from pathlib import Path

from graphquilt.output import amount
from pipeline.errors import DiskFullError, first_line
from pipeline.locations import Location
from pipeline.storage import files

#: Full, over a quota, or over the limit that the system sets on a file.
_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: The same where a library keeps only the text: Polars and Java; numpy says how many entries it could not write.
_WORDS = re.compile(r"No space left on device|[Qq]uota exceeded|File too large|\d+ requested and \d+ written")

_RESERVE = ".reserve"
_RESERVE_BYTES = 256 * 2**10  # a verdict, and the folders that lead to it


def is_full(error: BaseException | None) -> bool:
    """Whether an error is that of a full disk, or was caused by one."""
    while error is not None:
        if isinstance(error, DiskFullError) or getattr(error, "errno", None) in _NUMBERS or _WORDS.search(str(error)):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def full(step: str, root: Location, needed_bytes: int | None, error: BaseException) -> DiskFullError:
    """Return the error that says what does not fit, how much it needs and how much is free, and what to do."""
    folder = root if isinstance(root, Path) else files.staging_folder(root)
    nearest = next((parent for parent in (folder, *folder.parents) if parent.is_dir()), Path("/"))
    free = shutil.disk_usage(nearest).free
    wants = f"it needs more than the {amount(free)} that are free now"
    if needed_bytes is not None:
        wants = f"it needs about {amount(needed_bytes)} in all, and {amount(free)} are free now"
    full_error = DiskFullError(
        f"{step} found no room under {folder}: {wants} ({first_line(error)}). Free some space "
        f"('graphquilt clean --workspace {root} --dry-run' lists what can go), or raise the quota if there is one; "
        "the same command then goes on where it stopped"
    )
    full_error.names_bytes = True
    return full_error


def keep_reserve(root: Location) -> None:
    """Set the reserve aside, if there is room for it; an object store has no end."""
    if not isinstance(root, Path):
        return
    path = root / _RESERVE
    with contextlib.suppress(OSError), path.open("xb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)
        except OSError:
            path.unlink()


def free_reserve(root: Location) -> None:
    """Give the reserve's room back to the disk."""
    with contextlib.suppress(OSError):
        files.remove(root / _RESERVE)
