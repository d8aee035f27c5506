"""Files as a run's manifest has them, for tests that publish without a run."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.publishing.copies import WorkingFile
from pipeline.publishing.release import ReleaseContents


def working(tables: Mapping[str, Sequence[tuple[Path, str]]]) -> list[WorkingFile]:
    """Describe the files of some tables, each with its final name, as they are now."""
    return [
        WorkingFile(path, f"{table}/{name}", path.stat().st_size, storage.checksum_of(path))
        for table, files in tables.items()
        for path, name in files
    ]


def contents(
    release: str,
    tables: Mapping[str, Sequence[tuple[Path, str]]],
    date: dt.date,
    *,
    manifest: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    contract_version: int = 1,
) -> ReleaseContents:
    """Describe a release of these tables that its gates have passed."""
    return ReleaseContents(
        release=release,
        data_date=date,
        contract_version=contract_version,
        files=working(tables),
        manifest=manifest or {"run_id": "r1"},
        metrics=metrics or {"recall": 0.5},
        gate={"verdict": "passed"},
    )
