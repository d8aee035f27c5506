"""The version, whose one copy is the file VERSION."""

from pathlib import Path


def version() -> str:
    """Return the version of graphquilt; that of graphquilt-pipeline is the same."""
    return Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()
