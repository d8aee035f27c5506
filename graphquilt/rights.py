"""Sentences for a refused access: which user, which path, and what to do."""

import errno
import os
import pwd
import re
import stat

#: How object stores and HDFS refuse access, in the words of pyarrow's errors.
_DENIED = re.compile(
    r"ACCESS_DENIED|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|UNAUTHENTICATED|PERMISSION_DENIED"
    r"|AuthorizationFailure|AuthorizationPermissionMismatch|AuthenticationFailed|AccessControlException"
    r"|Permission denied|HTTP status 40[13]|\b(401|403) (Unauthorized|Forbidden)",
    re.IGNORECASE,
)


def is_denied(error: BaseException) -> bool:
    """Whether an error is a refused access, and not a fault."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return _DENIED.search(str(error)) is not None


def describe_denial(error: BaseException, path: str | None = None) -> str:
    """Return the sentence for a refused access: the path, the user, its owner and mode, the next step."""
    target = (error.filename if isinstance(error, OSError) else None) or path
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return f"{target} is on a file system that is mounted read-only; choose another place, or mount it writable"
    if target is None or "://" in str(target):
        return (
            f"{target or 'the store'} may not be used with the credentials found here; check them (environment or "
            "profile) and what they are allowed to do"
        )
    owner = _describe_owner(os.path.abspath(os.fsdecode(target)))
    return (
        f"user {_name_of(os.geteuid())} has no right to {os.fsdecode(target)}{owner}; have its owner allow it "
        "(chmod, chgrp, setfacl), choose another place, or run as another user"
    )


def _describe_owner(path: str) -> str:
    """Return the owner and mode of the path, or of the first folder on its way that can't be entered."""
    steps = [path[:end] for end, letter in enumerate(path) if letter == "/" and end] + [path]
    last = None
    for step in steps:
        try:
            last = step, os.stat(step)
        except OSError:
            break
    if last is None:
        return ""
    step, status = last
    subject = "it" if step == path else step
    return f" ({subject} belongs to {_name_of(status.st_uid)}, mode {stat.S_IMODE(status.st_mode):04o})"


def _name_of(uid: int) -> str:
    try:
        return f"'{pwd.getpwuid(uid).pw_name}' (uid {uid})"
    except KeyError:  # a container's user need not be in the table
        return f"uid {uid}"
