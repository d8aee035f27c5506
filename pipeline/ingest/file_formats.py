"""Formats and compressions of files, as the endings of their names tell them."""

from collections.abc import Mapping
from typing import Literal

Format = Literal["parquet", "csv", "json"]

FORMAT_NAMES: Mapping[str, str] = {"parquet": "Parquet", "csv": "CSV", "json": "JSON"}
COMPRESSIONS: Mapping[str, str] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_ENDINGS: Mapping[Format, tuple[str, ...]] = {
    "parquet": (".parquet", ".parq", ".pq"),
    "csv": (".csv", ".tsv", ".tab", ".dat", ".data", ".inter", ".txt"),
    "json": (".json", ".jsonl", ".ndjson"),
}
_ALL_ENDINGS = ", ".join(ending for endings in _ENDINGS.values() for ending in endings)
KNOWN_ENDINGS = f"{_ALL_ENDINGS}; text also with {', '.join(COMPRESSIONS)}"


def compression_of(name: str) -> str | None:
    """Return the compression that a file's ending names; None for Parquet, which has its own."""
    return next((kind for ending, kind in COMPRESSIONS.items() if name.lower().endswith(ending)), None)


def format_of(path: str) -> Format | None:
    """Return the format that a file's ending names; None for an unknown ending."""
    name = path.rpartition("/")[2].lower()
    suffix = next((ending for ending in COMPRESSIONS if name.endswith(ending)), "")
    plain = name.removesuffix(suffix)
    file_format = next((kind for kind, endings in _ENDINGS.items() if plain.endswith(endings)), None)
    return None if suffix and file_format == "parquet" else file_format
