"""A machine without Python: a root folder with glibc, a shell and three tools, entered by chroot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

TOOLS = ("sh", "dirname", "readlink", "env")
# glibc's libraries; a package's own copies of others must be found in the package.
_GLIBC = re.compile(r"(ld-linux.*|lib(c|m|mvec|pthread|dl|rt|util|resolv|nss_files|nss_dns))\.so\.\d+")
_LOADED = re.compile(r"(/\S+) \(0x")

# Runs as root of the machine; what is mounted is gone with the process.
_ENTER = """
set -e
root=$1; shift
mount --bind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$root/opt" "$root/opt"
mount -o remount,bind,ro "$root/opt"
exec chroot "$root" "$@"
"""


class BareMachine:
    """Its ``/opt`` can be filled from outside and only read from inside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("bin", "dev", "etc", "opt", "proc", "tmp", "work"):
            (root / name).mkdir(parents=True)
        (root / "etc" / "passwd").write_text("root:x:0:0:root:/work:/bin/sh\n")
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
        for tool in TOOLS:
            program = Path(shutil.which(tool) or tool)
            shutil.copy(program, root / "bin" / tool)
            for library in loaded_libraries(program):
                self._copy(library)
        (libc,) = (path for path in loaded_libraries(Path(shutil.which("sh") or "sh")) if path.name == "libc.so.6")
        for library in libc.parent.iterdir():
            if _GLIBC.fullmatch(library.name):
                self._copy(library)

    def _copy(self, library: Path) -> None:
        target = self.root / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(library, target)

    def run(self, *command: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside, in ``/work``, with no variable of this process."""
        inside = ("/bin/env", "-i", "-C", "/work", "PATH=/bin", "HOME=/work", "TMPDIR=/tmp")
        given = tuple(f"{name}={value}" for name, value in (variables or {}).items())
        prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "enter", str(self.root))
        return subprocess.run([*prefix, *inside, *given, *command], capture_output=True, text=True, check=False)


def loaded_libraries(program: Path) -> list[Path]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return [Path(path) for path in _LOADED.findall(listed.stdout)]


def bare_machine(root: Path) -> BareMachine:
    """Return a machine; skip the test where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("only root can hide the machine's own Python")
    machine = BareMachine(root)
    tried = machine.run("/bin/sh", "-c", "echo here")
    if tried.stdout != "here\n":
        pytest.skip(f"this machine gives no mounts of one's own: {tried.stderr.strip()}")
    return machine
