"""Rows by cell -> row_clusters, row_cluster_codes: a task for each cell, and one that numbers what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graphquilt.row_lookup import as_matrix
from pipeline import storage
from pipeline.blocks.arrays import NodeArrays
from pipeline.blocks.earlier_nodes import find_earlier
from pipeline.codes.code_files import NO_CLUSTER, ClusterCodes, NodeClusters
from pipeline.codes.code_tasks import CodeFigures, EarlierCodes
from pipeline.codes.kept_codes import KeptFigures, extend_codes, keep_tokens
from pipeline.codes.row_cells import cut_cells
from pipeline.codes.row_trees import TreeSize, find_row_clusters, keep_row_clusters
from pipeline.kernels.balanced_means import mean_rows
from pipeline.kernels.hashing import splitmix64
from pipeline.locations import Location
from pipeline.tasks import Attempt

NODES, CLUSTERS, CUTS = "nodes", "clusters", "cuts"
"""Roles of the tasks' files."""


@dataclass(frozen=True)
class CellOrigin:
    """The codes of an earlier night by tonight's node numbers, and the first numbers that its cells' codes have.

    clusters : that there were.
    """

    node_clusters: Location
    cluster_codes: Location
    first_numbers: Sequence[int]
    clusters: int

    def cells_of(self, cluster: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the cell that each cluster is of."""
        first = ClusterCodes.map(self.cluster_codes).code[:, 0]
        return np.searchsorted(self.first_numbers, first[cluster], side="right") - 1


def write_rows(path: Path, node_ix: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
    """Write rows of nodes."""
    flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
    columns = {"node_ix": pa.array(node_ix), "row": pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])}
    storage.write_arrow(path, pa.table(columns))


def read_rows(files: Sequence[Location]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Read rows of nodes from files, one after the other."""
    tables = [storage.map_arrow(file) for file in files]
    rows = [as_matrix(table["row"].combine_chunks()) for table in tables]
    return np.concatenate([storage.column(table, "node_ix") for table in tables]), np.concatenate(rows)


def ranks_of(node_arrays: Sequence[Location], node_ix: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a hash of each node, which no other graph or number of cells changes; numbers ascend."""
    return splitmix64(NodeArrays(node_arrays).take("node_key", node_ix).view(np.uint64))


@dataclass(frozen=True)
class CellCutPayload:
    """Input of the task that says where rows of a type go: a sample of them; and the cells, by number.

    origin : of a night that goes on from another.
    """

    samples: tuple[Location, ...]
    node_arrays: tuple[Location, ...]
    cells: tuple[int, int]
    origin: CellOrigin | None


def cut_type(payload: CellCutPayload, attempt: Attempt) -> None:
    """Task: cut a type's rows into cells; or, where these are an earlier night's, the mean row of each."""
    node_ix, rows = read_rows(payload.samples)
    first, stop = payload.cells
    if payload.origin is None:
        cuts = cut_cells(rows, ranks_of(payload.node_arrays, node_ix), stop - first)
    else:
        cluster = NodeClusters.map(payload.origin.node_clusters).cluster[node_ix]
        some = cluster != NO_CLUSTER
        cell = payload.origin.cells_of(cluster[some]) - first
        cuts = mean_rows(rows[some], cell.astype(np.int32), stop - first)
    with attempt.path(CUTS, "npy").open("wb") as file:
        np.save(file, cuts)


@dataclass(frozen=True)
class CellPayload:
    """Input of a cell's task: files of its rows, by ascending node numbers."""

    rows: tuple[Location, ...]
    node_arrays: tuple[Location, ...]
    size: TreeSize
    origin: CellOrigin | None


@dataclass(frozen=True)
class CellFigures:
    """What a cell's task found; ``apart``: earlier clusters that have fallen apart."""

    apart: int = 0


def cluster_cell(payload: CellPayload, attempt: Attempt) -> CellFigures:
    """Task: the clusters of a cell's rows, numbered from 0, or from an earlier night's on; and of new ones the code.

    Where there was an earlier night, a new cluster has the number of the one beside it in the place of a code.
    """
    node_ix, rows = read_rows(payload.rows)
    rank, origin, apart = ranks_of(payload.node_arrays, node_ix), payload.origin, 0
    if origin is None:
        clusters = find_row_clusters(rows, rank, payload.size)
        label, code = clusters.label, clusters.code
    else:
        before = NodeClusters.map(origin.node_clusters).cluster[node_ix]
        kept = keep_row_clusters(rows, rank, before, origin.clusters, payload.size)
        label, code, apart = kept.label, kept.beside[:, None], kept.apart
    for role, table in ((NODES, {"node_ix": node_ix, "cluster": label}), (CLUSTERS, _columns_of(code))):
        storage.write_arrow(attempt.path(role, "arrow"), pa.table({name: pa.array(one) for name, one in table.items()}))
    return CellFigures(apart)


def _columns_of(code: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
    return {f"number_{level}": np.ascontiguousarray(column) for level, column in enumerate(code.T)}


@dataclass(frozen=True)
class EarlierPayload:
    """The codes of an earlier night, and tonight's nodes."""

    earlier: EarlierCodes
    node_arrays: tuple[Location, ...]


def find_codes_before(payload: EarlierPayload, attempt: Attempt) -> int:
    """Task: the cluster and token that each of tonight's nodes had; return how many clusters there were."""
    earlier = payload.earlier
    nodes, keys = NodeClusters.map(earlier.node_clusters), NodeArrays(payload.node_arrays).all("node_key")
    place = find_earlier(keys.view(np.uint64), NodeArrays(earlier.node_arrays).all("node_key").view(np.uint64))
    columns = (np.append(column, np.int32(NO_CLUSTER))[place] for column in (nodes.cluster, nodes.leaf_token))
    NodeClusters(*columns).write(attempt.path(NODES, "arrow"))
    return len(ClusterCodes.map(earlier.cluster_codes).code)


@dataclass(frozen=True)
class ClusterNumberPayload:
    """Input of the task that numbers the clusters of all cells.

    nodes : of the graph. cells : by number, the files of a cell's task; None: of a cell without rows.
    night : of the earlier codes, and how many clusters have fallen apart.
    """

    nodes: int
    levels: int
    codes_id: str
    cells: tuple[tuple[Location, Location] | None, ...]
    origin: CellOrigin | None
    night: str
    apart: int


@dataclass(frozen=True)
class RowCodeFigures:
    """Figures of the codes, and by cell the first number that codes have there."""

    codes: CodeFigures
    first_numbers: Sequence[int]


def number_clusters(payload: ClusterNumberPayload, attempt: Attempt) -> RowCodeFigures:
    """Task: number the clusters of all cells and the leaf tokens of their nodes; codes say the cell first."""
    origin = payload.origin
    before = np.full((2, payload.nodes), NO_CLUSTER, np.int32)
    known, code = 0, np.zeros((0, payload.levels), np.int32)
    tokens = np.zeros((0, 1), np.int32)
    if origin is not None:
        nodes, of_clusters = NodeClusters.map(origin.node_clusters), ClusterCodes.map(origin.cluster_codes)
        before = np.stack([nodes.cluster, nodes.leaf_token])
        known, code, tokens = origin.clusters, of_clusters.code, of_clusters.tokens
    cluster, new, first_numbers = np.full(payload.nodes, NO_CLUSTER, np.int32), [code], []
    clusters, first = known, 0
    beside: dict[int, int] = {}
    for files in payload.cells:
        first_numbers.append(first)
        if files is None:
            continue
        of_nodes, of_cell = (storage.map_arrow(file) for file in files)
        label = storage.column(of_nodes, "cluster")
        cluster[storage.column(of_nodes, "node_ix")] = np.where(label < known, label, label - known + clusters)
        numbers = np.stack([storage.column(of_cell, name) for name in of_cell.column_names], axis=1)
        if origin is None:
            new.append(numbers + np.array([first] + [0] * (payload.levels - 1), np.int32))
            first = int(new[-1][:, 0].max()) + 1
        else:
            beside |= {clusters + at: one for at, one in enumerate(numbers[:, 0].tolist()) if one != NO_CLUSTER}
        clusters += len(numbers)
    code = np.concatenate(new) if origin is None else extend_codes(code, beside, clusters)
    tokens = np.concatenate([tokens, np.zeros((clusters - known, 1), np.int32)])
    has_row, token = np.flatnonzero(cluster != NO_CLUSTER), np.full(payload.nodes, NO_CLUSTER, np.int32)
    token[has_row], tokens = keep_tokens(
        cluster[has_row], np.zeros(has_row.size, np.int8), before[0, has_row], before[1, has_row], tokens
    )
    NodeClusters(cluster, token).write(attempt.path(NODES, "arrow"))
    ClusterCodes(code, tokens).write(attempt.path(CLUSTERS, "arrow"))
    sizes = np.bincount(cluster[has_row], minlength=clusters)
    kept = None
    if origin is not None:
        kept = KeptFigures.of(payload.night, before[0, has_row], cluster[has_row], known, payload.apart)
    figures = CodeFigures.count(payload.codes_id, has_row.size, int((sizes > 0).sum()), sizes, code, kept=kept)
    return RowCodeFigures(figures, first_numbers if origin is None else origin.first_numbers)
