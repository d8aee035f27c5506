"""A map from attributes to rows as a file: what gives rows to nodes that no edge says anything of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Features
from pipeline.kernels.hashed_ridge import COLUMNS, hashed_features
from pipeline.locations import Location
from schemas.tables import ATTRIBUTE_MAP


@dataclass(frozen=True)
class AttributeMap:
    """The map of one node type, and the length of the rows that it gives: see `pipeline.config.cold_start`."""

    node_type: str
    file: Location
    norm: float

    @cached_property
    def _coefficients(self) -> NDArray[np.float64]:
        table = storage.map_arrow(self.file)
        row = table["row"].combine_chunks()
        rows = row.flatten().to_numpy().reshape(len(row), -1)
        coefficients = np.zeros((COLUMNS + 1, rows.shape[1]))
        coefficients[storage.column(table, "feature_column")] = rows
        return coefficients

    def rows_of(self, features: Features) -> NDArray[np.float32]:
        """Return the rows of nodes by their features; (n, dim). No bit depends on the other nodes."""
        return mapped_rows(features, self._coefficients, self.norm)


def mapped_rows(features: Features, coefficients: NDArray[np.float64], norm: float) -> NDArray[np.float32]:
    """Return what coefficients make of features, times ``norm``; (n, dim)."""
    matrix = hashed_features(features.indptr, features.key, features.value)
    return (norm * (matrix @ coefficients)).astype(np.float32)


def write_map(file: Path, node_type: str, coefficients: NDArray[np.float64]) -> None:
    """Write the coefficients that aren't all zero."""
    used = np.flatnonzero(coefficients.any(axis=1))
    rows = pa.ListArray.from_arrays(
        pa.array(np.arange(used.size + 1, dtype=np.int32) * coefficients.shape[1]),
        pa.array(coefficients[used].reshape(-1)),
        type=ATTRIBUTE_MAP.schema.field("row").type,
    )
    columns = [pa.repeat(node_type, used.size), pa.array(used.astype(np.int32)), rows]
    storage.write_arrow(file, pa.Table.from_arrays(columns, schema=ATTRIBUTE_MAP.schema))
