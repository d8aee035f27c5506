"""Snapshots of the lake tables that a date's run reads: the newest ones as it starts, the same for all its stages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline import storage
from pipeline.errors import DamagedFileError, StorageError
from pipeline.ingest.lake import Snapshot
from pipeline.ingest.sources import SourceFile

_PREFIX = "snapshots-"


def snapshots_of(sources: Iterable[SourceFile]) -> dict[str, Snapshot]:
    """Return the snapshots that files are of, by the address of the table."""
    return {source.snapshot.table: source.snapshot for source in sources if source.snapshot is not None}


def pin(root: Path, date: dt.date, snapshots: Mapping[str, Snapshot]) -> None:
    """Record what a date's run reads: tables go on being written while it runs, stage by stage."""
    place = _place(root, date.isoformat())
    if snapshots or place.exists():
        told = {table: snapshot.to_payload() for table, snapshot in sorted(snapshots.items())}
        storage.write_signed_json(place, {"snapshots": told})


def pinned(root: Path, date: dt.date | None) -> dict[str, Snapshot]:
    """Return what the run of a date reads, by table; without a date, that of the newest one.

    Raises
    ------
    StorageError : its record is damaged; naming what makes it again.
    """
    if date is None:
        places = sorted((root / "inputs").glob(f"{_PREFIX}*.json"))
        place = places[-1] if places else None
    else:
        place = _place(root, date.isoformat())
    try:
        raw = None if place is None else storage.read_signed_json(place)
    except DamagedFileError as error:
        raise StorageError(f"{error}; 'graphquilt run' or 'graphquilt ingest' records it again") from error
    return {table: Snapshot(**payload) for table, payload in (raw or {"snapshots": {}})["snapshots"].items()}


def figures_of(snapshots: Iterable[Snapshot]) -> dict[str, list[dict[str, str]]]:
    """Return what a manifest says of the snapshots that were read; nothing where there are none."""
    told = [{"kind": one.kind, "table": one.table, "version": one.version} for one in snapshots]
    return {"snapshots": told} if told else {}


def _place(root: Path, date: str) -> Path:
    return root / "inputs" / f"{_PREFIX}{date}.json"
