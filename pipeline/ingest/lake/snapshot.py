"""A state of a lake table, the files that it is made of, and which states a date's run reads."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline import codec, storage
from pipeline.errors import DamagedFileError, StorageError
from pipeline.locations import Location

Kind = Literal["Delta", "Iceberg", "Hudi"]
_PREFIX = "snapshots-"  # of the records of what a date's run reads


@dataclass(frozen=True)
class SnapshotFigures:
    """A state of a lake table, which never changes, as a manifest names it."""

    kind: Kind
    table: str  # address of its folder
    version: str  # Delta: version; Iceberg: snapshot id


@dataclass(frozen=True)
class Snapshot(SnapshotFigures):
    """A state of a lake table, and what the library opens: the table (Delta), or a metadata file (Iceberg)."""

    opened: str

    @property
    def figures(self) -> SnapshotFigures:
        """What a manifest says of the snapshot."""
        return SnapshotFigures(self.kind, self.table, self.version)


@dataclass(frozen=True)
class LakeFile:
    """A data file of a snapshot: ``name`` as the table has it, relative where it lies in the table's folder."""

    name: str
    size: int  # bytes, by the log
    address: str | None = None  # where that does not follow from the name


def write_pins(root: Location, date: dt.date, snapshots: Mapping[str, Snapshot]) -> None:
    """Record what a date's run reads: tables go on being written while it runs, stage by stage."""
    path = _record(root, date.isoformat())
    if snapshots or storage.size(path) is not None:
        records = {table: codec.to_values(snapshot) for table, snapshot in sorted(snapshots.items())}
        storage.write_checked_json(path, {"snapshots": records})


def read_pins(root: Location, date: dt.date | None) -> dict[str, Snapshot]:
    """Return what the run of a date reads, by table; without a date, that of the newest one.

    Raises
    ------
    StorageError : its record is damaged; naming what makes it again.
    """
    if date is None:
        names = [name for name in storage.names_in(root / "inputs") if name.startswith(_PREFIX)]
        if not names:
            return {}
        path = root / "inputs" / names[-1]
    else:
        path = _record(root, date.isoformat())
    try:
        raw = storage.read_checked_json(path)
    except DamagedFileError as error:
        raise StorageError(f"{error}; 'graphquilt run' or 'graphquilt ingest' records it again") from error
    records = raw["snapshots"] if raw else {}
    return {table: codec.from_values(Snapshot, values) for table, values in records.items()}


def _record(root: Location, date: str) -> Location:
    return root / "inputs" / f"{_PREFIX}{date}.json"
