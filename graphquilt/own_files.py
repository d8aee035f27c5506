"""Checks that a path of the workspace is a file or folder of its own, not a link or a device in its place.

With a link inside a workspace, the bytes that are read and those that are written or removed could differ. In an object
store there is nothing but objects.
Standard library only.
"""

import os
import stat
from typing import Literal

from graphquilt.locations import Location, ObjectPath

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def describe_foreign(path: Location, kind: Literal["file", "folder"]) -> str | None:
    """Return a sentence if a path exists and is no file (or no folder); else None.

    Links are not followed: a link is neither.

    Raises
    ------
    OSError : the path can't be looked at.
    """
    if isinstance(path, ObjectPath):
        return None
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return describe_foreign(path.parent, "folder")  # that one, or one above it
    if stat.S_ISREG(mode) if kind == "file" else stat.S_ISDIR(mode):
        return None
    if stat.S_ISLNK(mode):
        description, remedy = f"a symbolic link to {os.readlink(path)}", f"put the {kind} itself in its place"
    else:
        description = next((words for is_kind, words in _KINDS if is_kind(mode)), "a device")
        remedy = "move it away"
    return f"{path} is {description}, and a {kind} of the workspace's own is wanted there: {remedy}"
