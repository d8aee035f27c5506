"""Commands run by another user of this machine: one who may read everything, and write what is his."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

import pytest

NOBODY = 65534
# Reading is left to him, since the interpreter may lie in a home that is closed to others.
_PREFIX = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


def as_another_user() -> tuple[str, ...]:
    """Return what goes in front of a command; skip the test where nobody can become another user."""
    if reason := _why_not():
        pytest.skip(reason)
    return _PREFIX


@functools.cache
def _why_not() -> str:
    if os.getuid() != 0:
        return "only root can become another user"
    if shutil.which("setpriv") is None:
        return "setpriv (util-linux) is not installed"
    tried = subprocess.run([*_PREFIX, "true"], capture_output=True, text=True, check=False)
    return f"this machine gives no other user's rights: {tried.stderr.strip()}" if tried.returncode else ""
