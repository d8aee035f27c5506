"""What all tables of a release have in common: their release, metadata and rows."""

import datetime as dt
import json
import os
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from graphquilt.contracts import TableColumns
from graphquilt.errors import TableError, UnknownNodeError
from graphquilt.ids import Ids
from graphquilt.locate import LocatedRelease, open_located
from graphquilt.locations import Location, ObjectPath
from graphquilt.row_groups import METADATA_KEY, NodeRowGroup, RowGroups
from graphquilt.row_lookup import RowMatches, find_rows


class OpenTable:
    """An open table of one release; subclasses add the look-ups."""

    _TABLE: ClassVar[str]

    def __init__(self, location: LocatedRelease, cache_bytes: int) -> None:
        self._location = location
        self._groups = self._open_groups(self._table_in(location), cache_bytes)
        try:
            self._metadata = self._check(cache_bytes)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(
        cls, path: str | os.PathLike[str] | ObjectPath, *, name: str = "default", cache_bytes: int = 2**29
    ) -> Self:
        """Open what CURRENT points to, or a release.

        Parameters
        ----------
        path : a workspace, ``published/<name>``, its CURRENT.json, or the folder of one release: a path, or an address
            on ``s3://``, ``gs://`` or ``az://``.
        name : which published table of a workspace.
        cache_bytes : most bytes of decoded columns of a table that stay in memory.

        Raises
        ------
        TableError : nothing is published there; the release has no such table; a file is missing or truncated; the
            columns are not the contract's.
        """
        return open_located(path, name, lambda location: cls(location, cache_bytes))

    @property
    def node_types(self) -> tuple[str, ...]:
        """The types of the nodes that have rows, sorted."""
        return self._groups.types

    @property
    def release(self) -> str:
        """Name of the release."""
        return self._location.release

    @property
    def path(self) -> Location:
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
        """Return the table, or one type of it, with all columns or some; nothing of it stays in the cache.

        Raises
        ------
        ValueError : no such type in the table, or no such column.
        """
        return self._groups.table(*self._sections(node_type, columns))

    def to_batches(
        self, node_type: str | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of :meth:`to_arrow` in order, 65,536 of one type at a time at most: a table of any size.

        Raises
        ------
        ValueError : no such type in the table, or no such column; at once.
        """
        return self._groups.batches(*self._sections(node_type, columns))

    def close(self) -> None:
        """Close the files. Arrays and tables that were returned stay valid."""
        self._groups.close()

    def _table_in(self, location: LocatedRelease) -> str:
        """Return which table of the release is opened."""
        return self._TABLE

    def _check(self, cache_bytes: int) -> dict[str, Any]:
        """Compare the table with its contract, and return its metadata."""
        raise NotImplementedError

    def _open_groups(self, table: str, cache_bytes: int) -> RowGroups:
        return RowGroups(self._location.files(table), cache_bytes, self._location.file_entries(table))

    def _sections(self, node_type: str | None, columns: Sequence[str] | None) -> tuple[list[NodeRowGroup], list[str]]:
        """Return the row groups of one type or all, and the names of some columns or all."""
        types = self.node_types if node_type is None else (node_type,)
        all_names = self._groups.schema.names
        names = all_names if columns is None else list(columns)
        if unknown := [name for name in names if name not in all_names]:
            raise ValueError(f"the table has no columns {unknown}; it has {all_names}")
        return [group for kind in types for group in self._groups.of(kind)], names

    def _read_metadata(self, contract: TableColumns, keys: AbstractSet[str]) -> dict[str, Any]:
        """Compare the columns with a contract; return the metadata, which must have these keys."""
        folder, schema = self._location.folder / contract.name, self._groups.schema
        contract.check_schema(schema, str(folder))
        try:
            metadata: dict[str, Any] = json.loads((schema.metadata or {})[METADATA_KEY])
            missing = keys - set(metadata)
        except (KeyError, ValueError, TypeError) as error:
            raise TableError(f"{folder} does not say how it was made: no schema metadata") from error
        if missing:
            raise TableError(f"the schema metadata at {folder} lack {sorted(missing)}")
        return metadata

    def _match(self, ids: Ids, node_type: str, missing: str, ways: Sequence[str]) -> RowMatches:
        """Find the rows of ids; ``missing`` is one of ``ways`` to treat unknown ones, the last of which is "raise"."""
        if missing not in ways:
            raise ValueError(f"missing is {missing!r}; choose {', '.join(map(repr, ways[:-1]))} or {ways[-1]!r}")
        matches = find_rows(self._groups, ids, node_type)
        if missing == "raise" and not matches.is_known.all():
            unknown = np.flatnonzero(~matches.is_known)
            raise UnknownNodeError(
                f"{unknown.size} of {matches.is_known.size} ids are unknown as '{node_type}', the first at position "
                f"{unknown[0]}; missing={' or '.join(map(repr, ways[:-1]))} accepts them"
            )
        return matches

    def _require_version(self, contract: TableColumns, version: Any) -> None:
        if version != contract.version:
            raise TableError(
                f"release {self.release} keeps {contract.name} version {version}, this reader knows version "
                f"{contract.version}; install the graphquilt that matches"
            )

    def _describe(self, rest: str) -> str:
        rows = ", ".join(f"{self._groups.rows(node_type):,} {node_type}" for node_type in self.node_types)
        return f"{type(self).__name__}({self.release}: {rows or 'no nodes'}; {rest})"

    def __len__(self) -> int:
        return sum(self._groups.rows(node_type) for node_type in self.node_types)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
