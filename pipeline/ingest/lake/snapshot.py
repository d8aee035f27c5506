"""A state of a lake table, and the files that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["Delta", "Iceberg", "Hudi"]


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
