"""A state of a lake table, and the files that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["Delta", "Iceberg", "Hudi"]


@dataclass(frozen=True)
class Snapshot:
    """A state of a lake table that never changes.

    ``opened`` is what the library opens: the table's address (Delta) or that of a metadata file (Iceberg).
    """

    kind: Kind
    table: str  # address of its folder
    version: str  # Delta: version; Iceberg: snapshot id
    opened: str

    @property
    def figures(self) -> SnapshotFigures:
        """What a manifest says of the snapshot."""
        return SnapshotFigures(self.kind, self.table, self.version)


@dataclass(frozen=True)
class SnapshotFigures:
    """A lake table that was read, and the version of it."""

    kind: Kind
    table: str
    version: str


@dataclass(frozen=True)
class LakeFile:
    """A data file of a snapshot: ``name`` as the table has it, relative where it lies in the table's folder."""

    name: str
    size: int  # bytes, by the log
    address: str | None = None  # where that does not follow from the name
