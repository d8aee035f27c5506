"""What stands at a path that is ours: a file or folder of its own, or something that was put in its place.

A link inside a workspace would let one thing be read, and another written or removed. Standard library only.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def foreign(path: Path, wanted: Literal["file", "folder"]) -> str | None:
    """Return a sentence if something else than a file (or folder) stands at a path; None also if nothing does.

    Links are not followed: one is never what is wanted.

    Raises
    ------
    OSError : the path can't be looked at.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return foreign(path.parent, "folder")  # that one, or one above it
    if stat.S_ISREG(mode) if wanted == "file" else stat.S_ISDIR(mode):
        return None
    if stat.S_ISLNK(mode):
        there, remedy = f"a symbolic link to {os.readlink(path)}", f"put the {wanted} itself in its place"
    else:
        there = next((words for is_kind, words in _KINDS if is_kind(mode)), "a device")
        remedy = "move it away"
    return f"{path} is {there}, and a {wanted} of the workspace's own is wanted there: {remedy}"
