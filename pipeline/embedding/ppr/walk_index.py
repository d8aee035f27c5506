"""The walk index: what a task writes of it, and the fingerprints that a batch of queries reads from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from pipeline import storage
from pipeline.embedding.ppr.walk_graph import GraphFiles, WalkGraph
from pipeline.errors import StorageError
from pipeline.kernels.alias_tables import alias_tables
from pipeline.kernels.ppr_batch import ABSENT
from pipeline.kernels.ppr_batch_passes import Fingerprints
from pipeline.kernels.ppr_walks import WalkRule, walk_visits
from pipeline.kernels.transition import single_seeds
from pipeline.locations import Location
from pipeline.tasks import Attempt
from schemas.tables import PPR_INDEX

_GROUP_VISITS = 1 << 16  # of a row group, about: a point read decodes a tenth of a megabyte
_VISITS_AT_ONCE = 1 << 22  # that a task holds, 16 bytes each at most
_VALUES = {name: f"{name}.list.element" for name in ("visited_ix", "visits")}


@dataclass(frozen=True)
class WalkRequest:
    """What sets the rows of an index; ``walks`` from each node."""

    restart: float
    walks: int
    edge_degree_power: float
    seed: int


@dataclass(frozen=True)
class WalkPayload:
    """Input of the task that walks; ``span`` is the range of node numbers that it walks from."""

    graph: GraphFiles
    request: WalkRequest
    span: tuple[int, int]


@dataclass(frozen=True)
class WalkResult:
    """Pairs of nodes in the index, and the visits that these count."""

    entries: int
    visits: int


def walk_from_nodes(payload: WalkPayload, attempt: Attempt) -> WalkResult:
    """Task: the rows of a range of nodes."""
    rule = WalkRule(payload.request.restart, payload.request.walks, payload.request.seed)
    whole = WalkGraph.read(payload.graph, payload.request.edge_degree_power)
    graph = whole.graph
    alias = None if graph.weights is None else alias_tables(graph.indptr, graph.indices, graph.weights)
    first, stop = whole.rows_between(*payload.span)
    group = max(1, int(_GROUP_VISITS * rule.restart / rule.walks))
    at_once = group * max(1, int(_VISITS_AT_ONCE * rule.restart / rule.walks) // group)
    entries, visits = 0, 0
    with pq.ParquetWriter(
        attempt.path("index", "parquet"),
        PPR_INDEX.schema,
        # Of ascending numbers the differences are packed; counts are nearly all 1, so a dictionary of them is.
        compression="zstd",
        use_dictionary=[_VALUES["visits"]],
        column_encoding={"node_ix": "DELTA_BINARY_PACKED", _VALUES["visited_ix"]: "DELTA_BINARY_PACKED"},
        write_statistics=["node_ix"],
        store_schema=False,
    ) as writer:
        for start in range(first, stop, at_once):
            rows = np.arange(start, min(start + at_once, stop))
            counts = walk_visits(graph, alias, single_seeds(rows), whole.node_key[rows], rule)
            # Transposed twice, rows are in order, in time proportional to their entries.
            columns = (counts.visits, counts.nodes, counts.indptr)
            ordered = sparse.csr_array(columns, shape=(rows.size, graph.n)).tocsc().tocsr()
            writer.write_table(_table(whole.node_ix, rows, ordered), row_group_size=group)
            entries += ordered.nnz
            visits += int(ordered.data.sum())
    return WalkResult(entries, visits)


def _table(node_ix: NDArray[np.int64], rows: NDArray[np.int64], visits: sparse.csr_array) -> pa.Table:
    offsets, schema = pa.array(visits.indptr.astype(np.int32)), PPR_INDEX.schema
    lists = {"visited_ix": node_ix[visits.indices].astype(np.int32), "visits": visits.data}
    return pa.Table.from_arrays(
        [
            pa.array(node_ix[rows]),
            *(
                pa.ListArray.from_arrays(offsets, pa.array(values), type=schema.field(name).type)
                for name, values in lists.items()
            ),
        ],
        schema=schema,
    )


class WalkIndex:
    """The files of an index, and the rows of the graph that they are about: their row r is the graph's.

    Raises
    ------
    StorageError : the files hold other rows.
    """

    def __init__(self, files: Sequence[Location], whole: WalkGraph, restart: float, walks: int) -> None:
        self._files = [storage.open_parquet(file) for file in files]
        self._restart, self._walks, self._nodes = restart, walks, whole.graph.n
        sizes = [
            (number, group, file.metadata.row_group(group).num_rows)
            for number, file in enumerate(self._files)
            for group in range(file.num_row_groups)
        ]
        self._groups = [(number, group) for number, group, _ in sizes]
        self._starts = np.cumsum([0, *(rows for _, _, rows in sizes)])
        if self._starts[-1] != whole.graph.n:
            raise StorageError(
                f"the walk index at {files[0].parent if files else 'nowhere'} has {self._starts[-1]:,} rows and the "
                f"graph {whole.graph.n:,} nodes with edges; remove that folder and run 'graphquilt ppr-index' again"
            )
        # From node number to row; where every node has edges these are the same.
        self._row_of: NDArray[np.int32] | None = None
        if whole.graph.n and whole.node_ix[-1] != whole.graph.n - 1:
            self._row_of = np.empty(whole.node_ix[-1] + 1, np.int32)
            self._row_of[whole.node_ix] = np.arange(whole.graph.n, dtype=np.int32)

    def bytes_for(self, rows: NDArray[np.int64]) -> int:
        """Return about what the fingerprints of ascending rows take in memory, twice while they are put together."""
        entries = 0.0
        groups, counts = np.unique(self._groups_of(rows), return_counts=True)
        for group, count in zip(groups, counts, strict=True):
            number, inside = self._groups[group]
            metadata = self._files[number].metadata.row_group(inside)
            entries += metadata.column(1).num_values * count / metadata.num_rows
        return int(16 * entries)

    def fingerprints(self, rows: NDArray[np.int64]) -> Fingerprints:
        """Read those of ascending rows: each row group once, for all queries."""
        is_wanted = np.zeros(self._nodes, np.bool_)
        is_wanted[rows] = True
        row_of = np.full(self._nodes, ABSENT, np.int64)
        row_of[rows] = np.arange(rows.size)
        lengths, nodes, visits = [np.zeros(1, np.int64)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        for group in np.unique(self._groups_of(rows)):
            number, inside = self._groups[group]
            table = self._files[number].read_row_group(inside, columns=list(_VALUES), use_threads=False)
            node_lists, count_lists = (table[name].combine_chunks() for name in _VALUES)
            is_row = is_wanted[self._starts[group] : self._starts[group + 1]]
            sizes = np.diff(node_lists.offsets.to_numpy()).astype(np.int64)
            numbers, counts = node_lists.flatten().to_numpy(), count_lists.flatten().to_numpy()
            if not is_row.all():
                is_entry = np.repeat(is_row, sizes)
                sizes, numbers, counts = sizes[is_row], numbers[is_entry], counts[is_entry]
            lengths.append(sizes)
            nodes.append(numbers if self._row_of is None else self._row_of[numbers])
            visits.append(counts.astype(np.float32))
        return Fingerprints(
            row_of,
            np.cumsum(np.concatenate(lengths)),
            np.concatenate(nodes),
            np.concatenate(visits),
            self._restart / self._walks,
            self._walks,
        )

    def _groups_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row group of each row."""
        return np.searchsorted(self._starts, rows, side="right") - 1
