"""Rows by cell -> row_clusters, row_cluster_codes: a task for each cell, and one that numbers what all have found."""

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
from pipeline.codes.row_trees import (
    TreeSize,
    find_residual_codes,
    find_row_clusters,
    keep_residual_codes,
    keep_row_clusters,
)
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

    def cells_of(self, cluster: NDArray[np.int32], first: int, stop: int) -> NDArray[np.int64]:
        """Return the cell that each cluster of a type is of, which has the cells from ``first`` to before ``stop``.

        A first number that was given out since is of the type's last cell.
        """
        number = ClusterCodes.map(self.cluster_codes).code[:, 0]
        return np.clip(np.searchsorted(self.first_numbers, number[cluster], side="right") - 1, first, stop - 1)


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
        has_code = cluster != NO_CLUSTER
        cell = payload.origin.cells_of(cluster[has_code], first, stop) - first
        cuts = mean_rows(rows[has_code], cell.astype(np.int32), stop - first)
    np.save(attempt.path(CUTS, "npy"), cuts)


@dataclass(frozen=True)
class CellPayload:
    """Input of a cell's task: files of its rows, by ascending node numbers.

    of_residuals : whether its codes are of codebooks, and not the way to a cluster.
    """

    rows: tuple[Location, ...]
    node_arrays: tuple[Location, ...]
    size: TreeSize
    of_residuals: bool
    origin: CellOrigin | None


def cluster_cell(payload: CellPayload, attempt: Attempt) -> int:
    """Task: the clusters of a cell's rows, or their numbers in codebooks, from 0 or from an earlier night's on.

    Of new clusters, the code; where there was an earlier night, the number of the cluster beside it in its place.
    Returns how many earlier clusters have fallen apart.
    """
    node_ix, rows = read_rows(payload.rows)
    rank, origin, size, apart = ranks_of(payload.node_arrays, node_ix), payload.origin, payload.size, 0
    if origin is None and payload.of_residuals:
        numbers, code = find_residual_codes(rows, rank, size.share, size.levels).code, None
    elif origin is None:
        clusters = find_row_clusters(rows, rank, size)
        numbers, code = clusters.label[:, None], clusters.code
    else:
        before = NodeClusters.map(origin.node_clusters).cluster[node_ix]
        if payload.of_residuals:
            earlier = ClusterCodes.map(origin.cluster_codes).code
            had = np.where(before[:, None] == NO_CLUSTER, np.int32(NO_CLUSTER), earlier[before])
            residual = keep_residual_codes(rows, rank, had, earlier.max(axis=0) + 1, size.share)
            numbers, code, apart = residual.code, None, residual.apart
        else:
            row_clusters = keep_row_clusters(rows, rank, before, origin.clusters, size)
            numbers, code, apart = row_clusters.label[:, None], row_clusters.beside[:, None], row_clusters.apart
    _write_columns(attempt.path(NODES, "arrow"), numbers, node_ix)
    if code is not None:
        _write_columns(attempt.path(CLUSTERS, "arrow"), code)
    return apart


def _write_columns(path: Path, numbers: NDArray[np.int32], node_ix: NDArray[np.int64] | None = None) -> None:
    columns = {f"number_{level}": pa.array(np.ascontiguousarray(column)) for level, column in enumerate(numbers.T)}
    storage.write_arrow(path, pa.table(columns if node_ix is None else {"node_ix": pa.array(node_ix), **columns}))


def _read_columns(file: Location) -> NDArray[np.int32]:
    table = storage.map_arrow(file)
    numbers = [storage.column(table, name) for name in table.column_names if name != "node_ix"]
    return np.stack(numbers, axis=1)


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

    nodes : of the graph. cells : by number, the files of a cell's task, of codebooks one; none of a cell without rows.
    night : of the earlier codes, and how many clusters have fallen apart.
    """

    nodes: int
    levels: int
    codes_id: str
    cells: tuple[tuple[Location, ...], ...]
    of_residuals: bool
    origin: CellOrigin | None
    night: str
    apart: int


@dataclass(frozen=True)
class RowCodeFigures:
    """Figures of the codes, and by cell the first number that codes have there."""

    codes: CodeFigures
    first_numbers: Sequence[int]


@dataclass(frozen=True)
class NumberedClusters:
    """The cluster of each node, (nodes,) int32, the code of each cluster, and by cell the first numbers of codes."""

    cluster: NDArray[np.int32]
    code: NDArray[np.int32]
    first_numbers: Sequence[int]


def number_clusters(payload: ClusterNumberPayload, attempt: Attempt) -> RowCodeFigures:
    """Task: number the clusters of all cells and the leaf tokens of their nodes; codes say the cell first."""
    origin, first_new = payload.origin, 0
    before = np.full((2, payload.nodes), NO_CLUSTER, np.int32)
    code, tokens = np.zeros((0, payload.levels), np.int32), np.zeros((0, 1), np.int32)
    if origin is not None:
        nodes, of_clusters = NodeClusters.map(origin.node_clusters), ClusterCodes.map(origin.cluster_codes)
        before = np.stack([nodes.cluster, nodes.leaf_token])
        first_new, code, tokens = origin.clusters, of_clusters.code, of_clusters.tokens
    codes = _number_codebooks(payload, code) if payload.of_residuals else _number_trees(payload, code)
    cluster, code = codes.cluster, codes.code
    tokens = np.concatenate([tokens, np.zeros((len(code) - first_new, 1), np.int32)])
    has_row, token = np.flatnonzero(cluster != NO_CLUSTER), np.full(payload.nodes, NO_CLUSTER, np.int32)
    token[has_row], tokens = keep_tokens(
        cluster[has_row], np.zeros(has_row.size, np.int8), before[0, has_row], before[1, has_row], tokens
    )
    NodeClusters(cluster, token).write(attempt.path(NODES, "arrow"))
    ClusterCodes(code, tokens).write(attempt.path(CLUSTERS, "arrow"))
    sizes = np.bincount(cluster[has_row], minlength=len(code))
    rows = int((sizes > 0).sum())
    if payload.of_residuals:
        rows = sum(np.unique(column).size for column in code[sizes > 0].T)
    kept_figures = None
    if origin is not None:
        kept_figures = KeptFigures.of(payload.night, before[0, has_row], cluster[has_row], first_new, payload.apart)
    figures = CodeFigures.count(payload.codes_id, has_row.size, rows, sizes, code, kept_figures=kept_figures)
    return RowCodeFigures(figures, codes.first_numbers if origin is None else origin.first_numbers)


def _number_trees(payload: ClusterNumberPayload, code: NDArray[np.int32]) -> NumberedClusters:
    """Number clusters after the earlier ones, whose codes are given, cell after cell."""
    first_new, new, first_numbers = len(code), [code], []
    cluster, clusters, first = np.full(payload.nodes, NO_CLUSTER, np.int32), first_new, 0
    beside: dict[int, int] = {}
    for files in payload.cells:
        first_numbers.append(first)
        if not files:
            continue
        label, numbers = _read_columns(files[0])[:, 0], _read_columns(files[1])
        node_ix = storage.column(storage.map_arrow(files[0]), "node_ix")
        cluster[node_ix] = np.where(label < first_new, label, label - first_new + clusters)
        if payload.origin is None:
            new.append(numbers + np.array([first] + [0] * (payload.levels - 1), np.int32))
            first = int(new[-1][:, 0].max()) + 1
        else:
            beside |= {
                clusters + at: old_number
                for at, old_number in enumerate(numbers[:, 0].tolist())
                if old_number != NO_CLUSTER
            }
        clusters += len(numbers)
    code = np.concatenate(new) if payload.origin is None else extend_codes(code, beside, clusters)
    return NumberedClusters(cluster, code, first_numbers)


def _number_codebooks(payload: ClusterNumberPayload, code: NDArray[np.int32]) -> NumberedClusters:
    """Number what cells have added to codebooks, cell after cell; nodes with the same numbers are a cluster."""
    earlier, first_numbers = code.max(axis=0, initial=-1) + 1, []
    after, codes = earlier, np.full((payload.nodes, payload.levels), NO_CLUSTER, np.int32)
    for files in payload.cells:
        first_numbers.append(int(after[0]))
        if not files:
            continue
        numbers, node_ix = _read_columns(files[0]), storage.column(storage.map_arrow(files[0]), "node_ix")
        codes[node_ix] = np.where(numbers < earlier, numbers, numbers - earlier + after)
        after = np.maximum(after, codes[node_ix].max(axis=0) + 1)
    has_row = np.flatnonzero(codes[:, 0] != NO_CLUSTER)
    both = np.concatenate([code, codes[has_row]])
    _, first, place = np.unique(both, axis=0, return_index=True, return_inverse=True)
    number = np.empty(first.size, np.int32)
    number[np.argsort(first)] = np.arange(first.size)  # earlier clusters have the numbers that they had
    cluster = np.full(payload.nodes, NO_CLUSTER, np.int32)
    cluster[has_row] = number[place.reshape(-1)][len(code) :]
    return NumberedClusters(cluster, both[np.sort(first)], first_numbers)
