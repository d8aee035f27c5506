"""The partitioners a run can name. To add one: write a function over arrays, name it here and in the config."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.hashing import hash_nodes
from pipeline.partitioning import ldg, metis, multilevel
from pipeline.partitioning.pieces import CutGraph

#: (graph, parts, seed) -> (rows,) int32 labels in 0 <= label < parts; only rows with a volume need one.
Partitioner = Callable[[CutGraph, int, int], NDArray[np.int32]]


def by_hash(graph: CutGraph, parts: int, seed: int) -> NDArray[np.int32]:
    """Scatter nodes by the hash of their keys: the balance of large numbers, and nearly every edge cut."""
    return hash_labels(graph.node_key, parts, seed)


def hash_labels(node_key: NDArray[np.uint64], parts: int, seed: int) -> NDArray[np.int32]:
    """Return labels in 0 <= label < parts by the top bits of the hashes of keys."""
    top_bits = hash_nodes(node_key, seed) >> np.uint64(32)
    return (top_bits % np.uint64(parts)).astype(np.int32)


def in_one(graph: CutGraph, parts: int, seed: int) -> NDArray[np.int32]:  # noqa: ARG001
    """Keep all nodes together."""
    return np.zeros(graph.volume.size, np.int32)


PARTITIONERS: Mapping[str, Partitioner] = MappingProxyType(
    {"multilevel": multilevel.cut, "metis": metis.cut, "ldg": ldg.cut, "hash": by_hash, "none": in_one}
)
