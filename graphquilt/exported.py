"""What ``graphquilt export`` wrote, opened by those who ask it: its files, the ids of its rows, and how to ask.

PLACE/manifest.json            replaced last, as a whole: it names the folder that counts
PLACE/<release>-<digest>/      the files of one export; the one before stays until the next
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphquilt import files
from graphquilt.errors import TableError
from graphquilt.inner_products import unit_rows, with_zero
from graphquilt.json_checksum import has_valid_checksum
from graphquilt.locations import Location, ObjectPath, parse_location

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ExportedVectors:
    """One export of a release.

    export = ExportedVectors.open("exports/items")
    index = faiss.read_index(str(export.file("item")))
    values, rows = index.search(export.queries(users), 20)
    export.ids("item")[rows], export.scores(values)
    """

    place: Location
    manifest: dict[str, Any]

    @classmethod
    def open(cls, place: str | os.PathLike[str] | ObjectPath) -> ExportedVectors:
        """Open what the manifest at a place names.

        Raises
        ------
        TableError : nothing was exported there, or the manifest or a file is damaged.
        """
        location = parse_location(place)
        try:
            manifest = json.loads(files.read(location / MANIFEST))
        except FileNotFoundError as error:
            raise TableError(f"nothing was exported to {location}: it has no {MANIFEST}") from error
        except ValueError as error:
            raise TableError(f"{location / MANIFEST} is damaged: {error}. Export again") from error
        if not isinstance(manifest, dict) or not has_valid_checksum(manifest):
            raise TableError(f"{location / MANIFEST} is damaged: its checksum is wrong. Export again")
        export = cls(location, manifest)
        export._require_files()
        return export

    @property
    def release(self) -> str:
        """Name of the release that was exported."""
        return str(self.manifest["release"])

    @property
    def folder(self) -> Location:
        """Folder of the files."""
        return self.place / str(self.manifest["folder"])

    def file(self, node_type: str) -> Location:
        """Return where the rows of a type are: an index, an array or a table, as the format has it."""
        return self.folder / self._of_type(node_type)["file"]

    def ids(self, node_type: str) -> NDArray[Any]:
        """Return the ids of a type's rows, by row: (n,) int64, or object for strings."""
        data = files.read(self.folder / self._of_type(node_type)["ids"])
        return pq.read_table(pa.BufferReader(data))["node_id"].to_numpy()

    def queries(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return vectors of the table as the index wants them; (q, dim) float32 -> (q, dim or dim + 1) float32."""
        reduction = self.manifest["metric"]["reduction"]
        if reduction == "equal_norms":
            return with_zero(vectors)
        return unit_rows(vectors) if reduction == "unit_rows" else np.asarray(vectors, np.float32)

    def scores(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what an index answers as the metric's scores: USearch answers 1 minus the product."""
        return 1 - values if self.manifest["format"] == "usearch" else values

    def _of_type(self, node_type: str) -> dict[str, Any]:
        types = self.manifest["types"]
        if node_type not in types:
            raise ValueError(f"the export has no nodes of type '{node_type}'; its types are {sorted(types)}")
        return dict(types[node_type])

    def _require_files(self) -> None:
        for entry in self.manifest["files"]:
            path = self.folder / entry["name"]
            if _size_of(path) != entry["bytes"]:
                raise TableError(f"{path} is missing or has not {entry['bytes']:,} bytes. Export again")


def _size_of(path: Location) -> int | None:
    if isinstance(path, Path):
        return path.stat().st_size if path.is_file() else None
    from graphquilt import objects

    return objects.size(path)
