"""Files as a run's manifest has them, for tests that publish without a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import storage
from pipeline.publishing.copies import WorkingFile


def working(tables: Mapping[str, Sequence[tuple[Path, str]]]) -> list[WorkingFile]:
    """Describe the files of some tables, each with its final name, as they are now."""
    return [
        WorkingFile(path, f"{table}/{name}", path.stat().st_size, storage.checksum_of(path))
        for table, files in tables.items()
        for path, name in files
    ]
