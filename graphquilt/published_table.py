"""What all tables of a release have in common: their release, metadata and rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from graphquilt.locate import Location
from graphquilt.row_groups import RowGroups


class PublishedTable:
    """An open table of one release; subclasses add the look-ups."""

    def __init__(self, location: Location, groups: RowGroups, metadata: Mapping[str, Any]) -> None:
        self._location = location
        self._groups = groups
        self._metadata = metadata

    @property
    def node_types(self) -> tuple[str, ...]:
        """The types of the nodes that have rows, sorted."""
        return self._groups.types

    @property
    def release(self) -> str:
        """Name of the release."""
        return self._location.release

    @property
    def path(self) -> Path:
        """Folder of the release."""
        return self._location.folder

    @property
    def data_date(self) -> dt.date:
        """The last day of the data."""
        return dt.date.fromisoformat(self._metadata["data_date"])

    @property
    def metadata(self) -> dict[str, Any]:
        """The table's own metadata: method, parameters, seed, window, similarity and more."""
        return dict(self._metadata)

    def to_arrow(self, node_type: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the table, or one type of it, with all columns or some."""
        return self._groups.to_arrow(node_type, columns)

    def close(self) -> None:
        """Close the files. Arrays and tables that were returned stay valid."""
        self._groups.close()

    def __len__(self) -> int:
        return sum(self._groups.rows(node_type) for node_type in self.node_types)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
