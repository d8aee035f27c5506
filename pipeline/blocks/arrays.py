"""Arrow files <-> arrays: node arrays, node parts, blocks, and rows on their way between parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.locations import Location
from pipeline.storage.batch_files import BatchFile, batch_writer
from schemas.tables import BLOCK_EDGES, BLOCK_NODES, BLOCK_ROUTES, NODE_PARTS, WEIGHT_UNIT


class RowKind(IntEnum):
    """What a local row is to its block."""

    WHOLE = 0  # at home here, all its edges stored here
    SPLIT = 1  # at home here, some edges stored elsewhere: its row is summed here
    COPY = 2  # a split node of another home, with edges stored here
    GHOST = 3  # a whole node of another home: read here, never computed here
    HALO = 4  # a node of another home, copied in with its edges: computed here, but not for others


class NodeArrays:
    """Columns of all nodes in node_ix order, mapped from one or several files, read where touched."""

    def __init__(self, files: Sequence[Location]) -> None:
        self._tables = [storage.map_arrow(file) for file in files]
        self._starts = np.concatenate([[0], np.cumsum([table.num_rows for table in self._tables])]).astype(np.int64)

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return int(self._starts[-1])

    def take(self, name: str, node_ix: NDArray[np.int64]) -> NDArray[Any]:
        """Values of a column for ascending node numbers; (n,) int64 -> (n,)."""
        if len(self._tables) == 1:
            return storage.column(self._tables[0], name)[node_ix]
        bounds = np.searchsorted(node_ix, self._starts)
        pieces = [
            storage.column(table, name)[node_ix[bounds[i] : bounds[i + 1]] - self._starts[i]]
            for i, table in enumerate(self._tables)
        ]
        return np.concatenate(pieces)

    def all(self, name: str) -> NDArray[Any]:
        """Return a whole column: a view if there is one file."""
        columns = [storage.column(table, name) for table in self._tables]
        return columns[0] if len(columns) == 1 else np.concatenate(columns)


@dataclass(frozen=True)
class NodeParts:
    """Where every node is at home: row i of the arrays is node_ix i."""

    part_id: NDArray[np.int32]  # -1: a node without edges, in no part
    is_split: NDArray[np.bool_]

    @classmethod
    def map(cls, file: Location) -> NodeParts:
        """Map the table that the partition stage wrote."""
        table = storage.map_arrow(file)
        return cls(storage.column(table, "part_id"), storage.column(table, "is_split"))

    def write(self, file: Path) -> None:
        """Write the table."""
        columns = [
            pa.array(np.arange(self.part_id.size, dtype=np.int64)),
            pa.array(self.part_id),
            pa.array(self.is_split),
        ]
        storage.write_arrow(file, pa.Table.from_arrays(columns, schema=NODE_PARTS.schema))


@dataclass(frozen=True)
class Features:
    """Hashed features of rows, such as what attributes come to: row i has those from indptr[i] to indptr[i + 1]."""

    indptr: NDArray[np.int64]  # (rows + 1,)
    key: NDArray[np.uint64]  # (features,) ascending in each row
    value: NDArray[np.float32]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of features of every row."""
        return np.diff(self.indptr)

    @property
    def sizes(self) -> NDArray[np.float64]:
        """Sum of the absolute values of every row."""
        counts = self.counts
        row = np.repeat(np.arange(counts.size), counts)
        return np.bincount(row, weights=np.abs(self.value), minlength=counts.size).astype(np.float64, copy=False)

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64], key: NDArray[np.uint64], value: NDArray[np.float32]) -> Features:
        """Features that come row after row."""
        return cls(offsets_of(counts), key, value)

    def rows(self, index: NDArray[np.int64]) -> Features:
        """Return some rows, in the order asked for."""
        counts = self.counts[index]
        entries = ranges(self.indptr[:-1][index], counts)
        return Features.of_counts(counts, self.key[entries], self.value[entries])


def offsets_of(counts: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return where lists of such lengths begin that stand one after the other, and where the last ends; (n + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def ranges(first: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return first[0], first[0] + 1, ..., then first[1], ...: so many numbers from each start."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if ends.size else 0) + np.repeat(first - (ends - counts), counts)


def neighbors_of(
    indptr: NDArray[np.int64], neighbor: NDArray[np.int32], source: NDArray[np.int64], row: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (source, neighbour's row) of all entries of some sources' rows, in the sources' order."""
    counts = indptr[row + 1] - indptr[row]
    return np.repeat(source, counts), neighbor[ranges(indptr[row], counts)].astype(np.int64)


class FeatureTable:
    """Features of nodes, mapped from files that are in node_ix order, read where touched."""

    def __init__(self, files: Sequence[Location]) -> None:
        self._tables = [table for table in map(storage.map_arrow, files) if table.num_rows]
        self._last = [int(storage.column(table, "node_ix")[-1]) for table in self._tables]

    def take(self, node_ix: NDArray[np.int64]) -> Features:
        """Return the features of nodes with ascending numbers."""
        counts = np.zeros(node_ix.size, np.int64)
        keys, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        start = 0
        for table, last in zip(self._tables, self._last, strict=True):
            stop = int(np.searchsorted(node_ix, last, side="right"))
            of_features = storage.column(table, "node_ix")
            first, end = (np.searchsorted(of_features, node_ix[start:stop], side) for side in ("left", "right"))
            counts[start:stop] = end - first
            entries = ranges(first, end - first)
            keys.append(storage.column(table, "feature_key")[entries])
            values.append(storage.column(table, "value")[entries])
            start = stop
        return Features.of_counts(counts, np.concatenate(keys).view(np.uint64), np.concatenate(values))


@dataclass(frozen=True)
class Block:
    """One part held as arrays: local rows ascending by node_ix, and their stored entries."""

    part_id: int
    node_ix: NDArray[np.int64]  # (rows,)
    node_key: NDArray[np.uint64]
    kind: NDArray[np.int8]  # RowKind
    home: NDArray[np.int32]  # part_id
    degree: NDArray[np.int64]  # neighbours over the whole graph
    weight: NDArray[np.int64]  # fixed point, over the whole graph
    indptr: NDArray[np.int64]  # (rows + 1,)
    neighbor: NDArray[np.int32]  # (entries,) local rows
    edge_weight: NDArray[np.float32] | None  # None: every weight is 1
    routes: Mapping[int, NDArray[np.int32]]  # receiver -> home rows it needs, ascending
    features: Features | None = None  # of the local rows; None: no node has any

    @property
    def strength(self) -> NDArray[np.float64]:
        """Weighted degree over the whole graph, in units of weight 1."""
        return np.multiply(self.weight, WEIGHT_UNIT, dtype=np.float64)

    def rows_between(self, first_ix: int, stop_ix: int) -> tuple[int, int]:
        """Return the range of local rows of a range of node numbers, such as all nodes of a type."""
        first, stop = np.searchsorted(self.node_ix, [first_ix, stop_ix])
        return int(first), int(stop)

    @classmethod
    def read(
        cls, part_id: int, nodes: Location, edges: Location, routes: Location | None, features: Location | None = None
    ) -> Block:
        """Map a block's files; adjacency stays on disk until it is touched."""
        table, entries = storage.map_arrow(nodes), storage.map_arrow(edges)
        indptr = np.zeros(table.num_rows + 1, np.int64)
        np.cumsum(storage.column(table, "entries"), out=indptr[1:])
        return cls(
            part_id=part_id,
            node_ix=storage.column(table, "node_ix"),
            node_key=storage.column(table, "node_key").view(np.uint64),
            kind=storage.column(table, "kind"),
            home=storage.column(table, "home"),
            degree=storage.column(table, "degree"),
            weight=storage.column(table, "weight"),
            indptr=indptr,
            neighbor=storage.column(entries, "neighbor_row"),
            edge_weight=storage.column(entries, "weight") if "weight" in entries.column_names else None,
            routes=_read_routes(routes) if routes else {},
            features=FeatureTable([features]).take(storage.column(table, "node_ix")) if features else None,
        )

    def write(self, nodes: Path, edges: Path) -> None:
        """Write the two files of a block; routes come later, from what other parts need."""
        storage.write_arrow(
            nodes,
            pa.Table.from_arrays(
                [
                    pa.array(self.node_ix),
                    pa.array(self.node_key.view(np.int64)),
                    pa.array(self.kind),
                    pa.array(self.home),
                    pa.array(self.degree),
                    pa.array(self.weight),
                    pa.array(np.diff(self.indptr)),
                ],
                schema=BLOCK_NODES.schema,
            ),
        )
        entries = pa.Table.from_arrays([pa.array(self.neighbor)], schema=BLOCK_EDGES.schema)
        if self.edge_weight is not None:
            entries = entries.append_column(BLOCK_EDGES.optional.field("weight"), pa.array(self.edge_weight))
        storage.write_arrow(edges, entries)


def write_routes(file: Path, routes: Mapping[int, NDArray[np.int32]]) -> None:
    """Write which home rows each receiver needs."""
    receivers = sorted(routes)
    part_id = np.repeat(np.array(receivers, np.int32), [routes[part].size for part in receivers])
    row = np.concatenate([routes[part] for part in receivers]) if receivers else np.empty(0, np.int32)
    storage.write_arrow(file, pa.Table.from_arrays([pa.array(part_id), pa.array(row)], schema=BLOCK_ROUTES.schema))


def _read_routes(file: Location) -> dict[int, NDArray[np.int32]]:
    table = storage.map_arrow(file)
    part_id, row = storage.column(table, "part_id"), storage.column(table, "row")
    parts, starts = np.unique(part_id, return_index=True)
    return {int(part): rows for part, rows in zip(parts, np.split(row, starts[1:]), strict=False)}


def write_slices(file: Path, schema: pa.Schema, slices: Mapping[int, pa.RecordBatch]) -> dict[str, list[int]]:
    """Write one batch a receiver, one after the other, into one file.

    Returns
    -------
    {receiver: [number of its batch in the file, rows]}, JSON-ready: what goes into the task's record, so that
    a receiver opens only what is addressed to it.
    """
    where: dict[str, list[int]] = {}
    with batch_writer(file, schema) as writer:
        for number, receiver in enumerate(sorted(slices)):
            writer.write_batch(slices[receiver])
            where[str(receiver)] = [number, slices[receiver].num_rows]
    return where


def read_slice(file: Location, number: int) -> pa.RecordBatch:
    """Map one batch of a file of slices, and check it; the others are not read.

    Raises
    ------
    DamagedFileError : it is not what was written.
    """
    return BatchFile(file, is_mapped=True).read(number)
