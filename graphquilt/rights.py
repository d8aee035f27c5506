"""What to say where the system refuses access: who asked, for what, and what to do."""

from __future__ import annotations

import errno
import os
import pwd
import re
import stat

#: How object stores and HDFS say the same, in the words of pyarrow's errors.
_DENIED = re.compile(
    r"ACCESS_DENIED|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|UNAUTHENTICATED|PERMISSION_DENIED"
    r"|AuthorizationFailure|AuthorizationPermissionMismatch|AuthenticationFailed|AccessControlException"
    r"|Permission denied|HTTP status 40[13]|\b(401|403) (Unauthorized|Forbidden)",
    re.IGNORECASE,
)


def is_denied(error: BaseException) -> bool:
    """Whether an error says that somebody may not, rather than that something is wrong."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return _DENIED.search(str(error)) is not None


def denied(error: BaseException, path: str | None = None) -> str:
    """Return the sentence for a refused access: the path, the user, its owner and mode, the next step."""
    place = (error.filename if isinstance(error, OSError) else None) or path
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return f"{place} is on a file system that is mounted read-only; choose another place, or mount it writable"
    if place is None or "://" in str(place):
        return (
            f"{place or 'the store'} may not be used with the credentials found here; check them (environment or "
            "profile) and what they are allowed to do"
        )
    barred = _what_bars(os.path.abspath(os.fsdecode(place)))
    return (
        f"user {_name_of(os.geteuid())} has no right to {os.fsdecode(place)}{barred}; have its owner allow it "
        "(chmod, chgrp, setfacl), choose another place, or run as another user"
    )


def _what_bars(path: str) -> str:
    """Say whose the path is; or the first folder on the way that can't be entered."""
    steps = [path[:place] for place, letter in enumerate(path) if letter == "/" and place] + [path]
    about = None
    for step in steps:
        try:
            about = step, os.stat(step)
        except OSError:
            break
    if about is None:
        return ""
    step, found = about
    which = "it" if step == path else step
    return f" ({which} belongs to {_name_of(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):04o})"


def _name_of(uid: int) -> str:
    try:
        return f"'{pwd.getpwuid(uid).pw_name}' (uid {uid})"
    except KeyError:  # a container's user need not be in the table
        return f"uid {uid}"
