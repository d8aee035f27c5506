"""The walk index of a release, opened: of what a batch needs, neighbours and walks, the row groups that hold it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graphquilt.contracts import PPR_GRAPH, PPR_WALKS
from graphquilt.locate import WALK_GRAPH, WALKS
from graphquilt.open_table import OpenTable
from graphquilt.row_groups import RowGroups
from graphquilt.row_lookup import find_rows
from pipeline.blocks.arrays import offsets_of, ranges
from pipeline.kernels.ppr_batch import ABSENT
from pipeline.kernels.ppr_batch_passes import Fingerprints

UNKNOWN = -1
"""Row of a node that the index doesn't have."""

_METADATA_KEYS = {"contract_version", "restart", "walks", "edge_degree_power", "seed"}


@dataclass(frozen=True)
class NeighborRows:
    """Neighbours of some nodes: of node i, rows ``neighbors[indptr[i]:indptr[i + 1]]``; weights None where all are 1.

    degree : of all neighbours, also of those that the index doesn't have.
    """

    indptr: NDArray[np.int64]
    neighbors: NDArray[np.int32]
    weights: NDArray[np.float32] | None
    degree: NDArray[np.int64]

    @property
    def are_whole(self) -> NDArray[np.bool_]:
        """(n,) whether the index has all neighbours of a node."""
        return np.diff(self.indptr) == self.degree


class WalkIndex(OpenTable):
    """One release of ``ppr_graph`` and ``ppr_walks``. Nodes are rows, counted over the table of the graph from 0.

    Raises
    ------
    TableError : the release has no walk index, or is damaged.
    """

    _TABLE = WALK_GRAPH

    @cached_property
    def types(self) -> Mapping[str, tuple[int, int]]:
        """The rows of each type: the first, and one past the last."""
        stops = np.cumsum([self._groups.rows(node_type) for node_type in self.node_types])
        starts = [0, *stops.tolist()]
        return dict(zip(self.node_types, pairwise(starts), strict=True))

    @property
    def id_type(self) -> pa.DataType:
        """Type of the ids."""
        return self._groups.schema.field("node_id").type

    def find(self, ids: pa.Array, node_type: str) -> NDArray[np.int64]:
        """Return the rows of ids of a type, `UNKNOWN` where there is none."""
        rows = np.full(len(ids), UNKNOWN, np.int64)
        for group, (position, row) in find_rows(self._groups, ids, node_type).hits.items():
            rows[position] = self.types[node_type][0] + group.first_row + row
        return rows

    def ids_of(self, rows: NDArray[np.int64]) -> pa.Array:
        """Return the ids of rows; (n,) int64 -> (n,)."""
        ascending, place = np.unique(rows, return_inverse=True)
        pieces = [columns["node_id"].take(pa.array(at)) for at, columns in self._nodes.pieces(ascending, ["node_id"])]
        return pa.concat_arrays([pa.array([], self.id_type), *pieces]).take(pa.array(place))

    def degrees_between(self, first: int, stop: int) -> NDArray[np.int64]:
        """Return how many neighbours the rows of a range have."""
        pieces = self._nodes.pieces(np.arange(first, stop), ["degree"])
        return np.concatenate([np.empty(0, np.int64), *(columns["degree"].to_numpy() for _, columns in pieces)])

    def neighbors(self, rows: NDArray[np.int64]) -> NeighborRows:
        """Return the neighbours of ascending rows."""
        degree, lengths = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        nodes, weights = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        for at, columns in self._nodes.pieces(rows, ["degree", "neighbors", "weights"]):
            degree.append(columns["degree"].to_numpy()[at])
            counts, values = _lists_at(columns["neighbors"], at)
            lengths.append(counts)
            nodes.append(values)
            weights.append(_lists_at(columns["weights"], at)[1])
        all_nodes, all_weights = np.concatenate(nodes), np.concatenate(weights)
        are_weighted = all_weights.size == all_nodes.size > 0
        return NeighborRows(
            offsets_of(np.concatenate(lengths)),
            all_nodes,
            all_weights if are_weighted else None,
            np.concatenate(degree),
        )

    def bytes_for(self, rows: int) -> int:
        """Return what the fingerprints of so many rows take in memory, at most: twice while they are put together."""
        return int(16 * rows * self._metadata["walks"] / self._metadata["restart"])

    def fingerprints(self, rows: NDArray[np.int64]) -> Fingerprints:
        """Return those of ascending rows: each row group is read once, for all queries."""
        row_of = np.full(len(self), ABSENT, np.int64)
        row_of[rows] = np.arange(rows.size)
        lengths, nodes, visits = [np.empty(0, np.int64)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        for at, columns in self._fingerprints.pieces(rows, ["visited", "visits"]):
            counts, values = _lists_at(columns["visited"], at)
            lengths.append(counts)
            nodes.append(values)
            visits.append(_lists_at(columns["visits"], at)[1].astype(np.float32))
        walks = int(self._metadata["walks"])
        return Fingerprints(
            row_of,
            offsets_of(np.concatenate(lengths)),
            np.concatenate(nodes),
            np.concatenate(visits),
            self._metadata["restart"] / walks,
            walks,
        )

    def close(self) -> None:
        """Close the files. Arrays that were returned stay valid."""
        super().close()
        if hasattr(self, "_walks"):
            self._walks.close()

    def _check(self, cache_bytes: int) -> dict[str, Any]:
        metadata = self._read_metadata(PPR_GRAPH, _METADATA_KEYS)
        self._require_version(PPR_GRAPH, metadata["contract_version"])
        self._walks = self._open_groups(WALKS, cache_bytes)
        PPR_WALKS.check_schema(self._walks.schema, str(self.path / WALKS))
        self._nodes, self._fingerprints = _RowsByNumber(self._groups), _RowsByNumber(self._walks)
        return metadata


class _RowsByNumber:
    """Rows of a table by their numbers over its files."""

    def __init__(self, groups: RowGroups) -> None:
        self._groups = groups
        self._members = [group for node_type in groups.types for group in groups.of(node_type)]
        self._starts = offsets_of(np.array([group.rows for group in self._members], np.int64))

    def pieces(
        self, rows: NDArray[np.int64], columns: Sequence[str]
    ) -> Iterator[tuple[NDArray[np.int64], Mapping[str, pa.Array]]]:
        """Yield the row groups that hold ascending rows: positions of these, and the columns of the group."""
        numbers, firsts = np.unique(np.searchsorted(self._starts, rows, side="right") - 1, return_index=True)
        read = self._groups.columns([self._members[number] for number in numbers], columns)
        for number, span, (_, values) in zip(numbers, pairwise([*firsts, rows.size]), read, strict=True):
            yield rows[slice(*span)] - self._starts[number], values


def _lists_at(column: pa.ListArray, at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the lengths of the lists at some positions, and their values, one list after the other."""
    offsets, values = column.offsets.to_numpy().astype(np.int64), column.flatten().to_numpy(zero_copy_only=False)
    lengths = np.diff(offsets)
    if at.size == lengths.size:
        return lengths, values
    return lengths[at], values[ranges(offsets[at] - offsets[0], lengths[at])]
