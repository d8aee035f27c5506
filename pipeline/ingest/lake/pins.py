"""Snapshots of the lake tables that a date's run reads: the newest ones as it starts, the same for all its stages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from pipeline import codec, storage
from pipeline.errors import DamagedFileError, StorageError
from pipeline.ingest.lake.snapshot import Snapshot

_PREFIX = "snapshots-"


def write_pins(root: Path, date: dt.date, snapshots: Mapping[str, Snapshot]) -> None:
    """Record what a date's run reads: tables go on being written while it runs, stage by stage."""
    path = _record(root, date.isoformat())
    if snapshots or path.exists():
        records = {table: codec.to_values(snapshot) for table, snapshot in sorted(snapshots.items())}
        storage.write_checked_json(path, {"snapshots": records})


def read_pins(root: Path, date: dt.date | None) -> dict[str, Snapshot]:
    """Return what the run of a date reads, by table; without a date, that of the newest one.

    Raises
    ------
    StorageError : its record is damaged; naming what makes it again.
    """
    if date is None:
        path = max((root / "inputs").glob(f"{_PREFIX}*.json"), default=None)
    else:
        path = _record(root, date.isoformat())
    try:
        raw = None if path is None else storage.read_checked_json(path)
    except DamagedFileError as error:
        raise StorageError(f"{error}; 'graphquilt run' or 'graphquilt ingest' records it again") from error
    records = raw["snapshots"] if raw else {}
    return {table: codec.from_values(Snapshot, values) for table, values in records.items()}


def _record(root: Path, date: str) -> Path:
    return root / "inputs" / f"{_PREFIX}{date}.json"
