"""Files of clusters: of which cluster each node is, and which code each cluster has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.locations import Location
from schemas.tables import CLUSTER_CODES, NODE_CLUSTERS

NO_CLUSTER = -1
"""Of a node without edges."""


@dataclass(frozen=True)
class NodeClusters:
    """The cluster of every node, by node number, and which of its type's nodes in the cluster it is; (nodes,) int32."""

    cluster: NDArray[np.int32]
    leaf_token: NDArray[np.int32]

    @classmethod
    def map(cls, file: Location) -> NodeClusters:
        """Map the table of a run."""
        table = storage.map_arrow(file)
        return cls(storage.column(table, "cluster"), storage.column(table, "leaf_token"))

    def write(self, file: Path) -> None:
        """Write the table."""
        columns = [np.arange(self.cluster.size, dtype=np.int64), self.cluster, self.leaf_token]
        storage.write_arrow(file, pa.Table.from_arrays(list(map(pa.array, columns)), schema=NODE_CLUSTERS.schema))


@dataclass(frozen=True)
class ClusterCodes:
    """The code of every cluster, and how many leaf tokens it has given out.

    code : (clusters, levels) int32. tokens : (clusters, types) int32.
    """

    code: NDArray[np.int32]
    tokens: NDArray[np.int32]

    @classmethod
    def map(cls, file: Location) -> ClusterCodes:
        """Map the table of a run."""
        table = storage.map_arrow(file)
        lists = (table[name].combine_chunks() for name in ("code", "tokens"))
        return cls(*(column.flatten().to_numpy().reshape(len(column), -1) for column in lists))

    def write(self, file: Path) -> None:
        """Write the table."""
        columns = [pa.array(np.arange(len(self.code), dtype=np.int32)), as_lists(self.code), as_lists(self.tokens)]
        storage.write_arrow(file, pa.Table.from_arrays(columns, schema=CLUSTER_CODES.schema))


def as_lists(rows: NDArray[np.int32]) -> pa.ListArray:
    """Return the rows of a matrix as lists."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.reshape(-1)))
