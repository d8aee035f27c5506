"""The version, whose one copy is in pyproject.toml."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path


def version() -> str:
    """Return the version of the installed package, or of the source tree this file is in."""
    try:
        return metadata.version("graphquilt")
    except metadata.PackageNotFoundError:
        pyproject = Path(__file__).parent.parent / "pyproject.toml"
        try:
            return str(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"])
        except OSError:  # shipped as bare files, without either
            return "unknown"
