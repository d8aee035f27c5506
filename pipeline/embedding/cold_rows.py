"""Rows of nodes without edges: by a map from attributes to rows, which is a file, or a method's own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Features
from pipeline.kernels.hashed_ridge import COLUMNS, hashed_features
from pipeline.locations import Location
from schemas.tables import ATTRIBUTE_MAP

#: Sources whose lists set how long these rows are, drawn by hash: 20,000 places tell shares of a thousandth.
MOST_SOURCES = 1_000


@dataclass(frozen=True)
class ColdRows:
    """Rows of a type's nodes without edges in the main relation, times norm: by a map's file, or the method's own."""

    node_type: str
    file: Location | None
    norm: float

    def are_of(self, rows: NDArray[np.float32], degree: NDArray[np.int64], features: Features) -> NDArray[np.bool_]:
        """Return which nodes these rows are of, by their own rows, degrees and features; (n,) bool."""
        return (degree == 0) & (rows.any(axis=1) if self.file is None else features.counts > 0)

    def fill_in(self, rows: NDArray[np.float32], degree: NDArray[np.int64], features: Features) -> None:
        """Give their nodes these rows, in place."""
        index = np.flatnonzero(self.are_of(rows, degree, features))
        if self.file is None:
            rows[index] *= np.float32(self.norm)
        else:
            rows[index] = mapped_rows(features.rows(index), read_map(self.file), self.norm)


def mapped_rows(features: Features, coefficients: NDArray[np.float64], norm: float) -> NDArray[np.float32]:
    """Return what coefficients make of features, times ``norm``; (n, dim)."""
    matrix = hashed_features(features.indptr, features.key, features.value)
    return (norm * (matrix @ coefficients)).astype(np.float32)


def read_map(file: Location) -> NDArray[np.float64]:
    """Return the coefficients of a map's file; (COLUMNS + 1, dim)."""
    table = storage.map_arrow(file)
    row = table["row"].combine_chunks()
    rows = row.flatten().to_numpy().reshape(len(row), -1)
    coefficients = np.zeros((COLUMNS + 1, rows.shape[1]))
    coefficients[storage.column(table, "feature_column")] = rows
    return coefficients


def write_map(file: Path, node_type: str, coefficients: NDArray[np.float64]) -> None:
    """Write the coefficients that aren't all zero."""
    feature_columns = np.flatnonzero(coefficients.any(axis=1))
    rows = pa.ListArray.from_arrays(
        pa.array(np.arange(feature_columns.size + 1, dtype=np.int32) * coefficients.shape[1]),
        pa.array(coefficients[feature_columns].reshape(-1)),
        type=ATTRIBUTE_MAP.schema.field("row").type,
    )
    columns = [pa.repeat(node_type, feature_columns.size), pa.array(feature_columns.astype(np.int32)), rows]
    storage.write_arrow(file, pa.Table.from_arrays(columns, schema=ATTRIBUTE_MAP.schema))
