"""Files as a run's manifest has them, for tests that publish without a run."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from graphquilt.locations import Location
from pipeline.publishing.copies import WorkingFile, digests_of
from pipeline.publishing.release import ReleaseContents


def working(tables: Mapping[str, Sequence[tuple[Location, str]]]) -> list[WorkingFile]:
    """Describe the files of some tables, each with its final name, as they are now."""
    described = []
    for table, files in tables.items():
        for location, name in files:
            digests = digests_of(location)
            described.append(WorkingFile(location, f"{table}/{name}", digests.bytes, digests.checksum))
    return described


def contents(
    release: str,
    tables: Mapping[str, Sequence[tuple[Location, str]]],
    date: dt.date,
    *,
    manifest: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    contract_version: int = 1,
    baseline: str | None = None,
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
        baseline=baseline,
    )
