"""node_embeddings -> row_clusters, row_cluster_codes: rows go to cells that a task holds, and are clustered there."""

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphquilt.row_lookup import as_matrix
from pipeline import codec, storage
from pipeline.codes.code_files import NO_CLUSTER, NodeClusters
from pipeline.codes.code_tasks import CodeFigures
from pipeline.codes.row_cells import cells_by_cuts, cells_by_means, count_cells, sample_share
from pipeline.codes.row_tasks import (
    CLUSTERS,
    CUTS,
    NODES,
    CellCutPayload,
    CellOrigin,
    CellPayload,
    ClusterNumberPayload,
    EarlierPayload,
    RowCodeFigures,
    cluster_cell,
    cut_type,
    find_codes_before,
    number_clusters,
    ranks_of,
    write_rows,
)
from pipeline.codes.row_trees import TreeSize
from pipeline.ingest.figures import IndexFigures
from pipeline.locations import Location
from pipeline.release_tables.finished_rows import PublishedNodes, PublishedRows, row_groups
from pipeline.release_tables.published_table import TableRun, WorkingTable
from pipeline.tasks import Attempt, TaskRecord
from schemas.published_tables import NODE_EMBEDDINGS
from schemas.tables import ROW_CLUSTER_CODES, ROW_CLUSTERS

log = logging.getLogger(__name__)

#: Of a node's hash, which is 64 bits.
_HASHES = 2.0**64


@dataclass(frozen=True)
class VectorFile:
    """A file of node_embeddings, with the rows of a range of nodes. count : nodes of the graph."""

    nodes: PublishedNodes
    count: int
    bounds: tuple[int, int]
    file: Location
    node_arrays: tuple[Location, ...]

    def groups(self) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float32]]]:
        """Yield (type, numbers, rows) of the nodes of each row group whose rows are not zero."""
        published_rows, file, number = PublishedRows(self.nodes, self.count), storage.open_parquet(self.file), 0
        for node_type, first, stop in row_groups(self.bounds, self.nodes.types):
            node_ix = published_rows.between(first, stop)
            if node_ix.size:
                rows = as_matrix(file.read_row_group(number, columns=["embedding"])["embedding"].combine_chunks())
                has_row, number = rows.any(axis=1), number + 1
                yield node_type, node_ix[has_row], rows[has_row]


@dataclass(frozen=True)
class TypeCells:
    """The cells that a type's rows go to, by number; and where it has several, what says which."""

    first: int
    stop: int
    share: float  # of the rows, for the sample that says it
    cuts: Location | None = None


@dataclass(frozen=True)
class SamplePayload:
    """A file of vectors, and by type the cells."""

    file: VectorFile
    cells: Mapping[str, TypeCells]


def sample_file(payload: SamplePayload, attempt: Attempt) -> list[str]:
    """Task: of each type that has several cells, a sample by hash of a file's rows; return the types in file order."""
    samples: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = defaultdict(list)
    for node_type, node_ix, rows in payload.file.groups():
        cells = payload.cells[node_type]
        if cells.stop - cells.first > 1:
            is_sampled = ranks_of(payload.file.node_arrays, node_ix) < cells.share * _HASHES
            samples[node_type].append((node_ix[is_sampled], rows[is_sampled]))
    for pieces in samples.values():
        _write_pieces(pieces, attempt, "sample")
    return list(samples)


@dataclass(frozen=True)
class DealPayload:
    """A file of vectors, and where its rows go: those that had a cluster to its cell, others by type."""

    file: VectorFile
    cells: Mapping[str, TypeCells]
    origin: CellOrigin | None


def deal_file(payload: DealPayload, attempt: Attempt) -> list[int]:
    """Task: write the rows of a file cell by cell, a file each; return the cells."""
    origin, pieces = payload.origin, defaultdict(list)
    before = None if origin is None else NodeClusters.map(origin.node_clusters).cluster
    for node_type, node_ix, rows in payload.file.groups():
        cells = payload.cells[node_type]
        cell = np.full(node_ix.size, cells.first)
        if cells.cuts is not None:
            cuts = storage.load_array(cells.cuts)
            cell += cells_by_cuts(rows, cuts) if origin is None else cells_by_means(rows, cuts)
        if origin is not None and before is not None:
            has_code = before[node_ix] != NO_CLUSTER
            cell[has_code] = origin.cells_of(before[node_ix[has_code]], cells.first, cells.stop)
        for cell_number in np.unique(cell).tolist():
            pieces[cell_number].append((node_ix[cell == cell_number], rows[cell == cell_number]))
    for cell_number in sorted(pieces):
        _write_pieces(pieces[cell_number], attempt, "rows")
    return sorted(pieces)


def _write_pieces(pieces: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]], attempt: Attempt, role: str) -> None:
    numbers, rows = zip(*pieces, strict=True)
    write_rows(attempt.path(role, "arrow"), np.concatenate(numbers), np.concatenate(rows))


@dataclass(frozen=True)
class VectorCodes:
    """The task whose files are the tables of codes, all tasks, and how many cells each type has."""

    record: TaskRecord[RowCodeFigures]
    records: Sequence[TaskRecord[Any]]
    cells: Mapping[str, int]

    @property
    def figures(self) -> CodeFigures:
        """Return the figures of the codes."""
        return self.record.result.codes

    @property
    def files(self) -> tuple[Location, Location]:
        """Return where the cluster of each node is, and the code of each cluster."""
        return self.record.file(NODES), self.record.file(CLUSTERS)

    @property
    def tables(self) -> dict[str, WorkingTable]:
        """Return the tables that a later night goes on with."""
        of_cells = {"cells": self.cells, "first_numbers": self.record.result.first_numbers}
        return {
            ROW_CLUSTERS.name: WorkingTable(self.record, NODES, codec.to_values(self.figures)),
            ROW_CLUSTER_CODES.name: WorkingTable(self.record, CLUSTERS, of_cells),
        }


def make_vector_codes(run: TableRun) -> VectorCodes:
    """Make the clusters of all rows of node_embeddings, and their codes."""
    workspace, codes, earlier = run.workspace, run.config.codes, run.earlier_codes
    nodes, count = PublishedNodes.of(run.config, workspace), workspace.figures("node_index", IndexFigures).nodes
    arrays, dim = tuple(workspace.files("node_arrays")), run.config.embedding.dim
    records: list[TaskRecord[Any]] = []
    origin = None
    if earlier is not None:
        (earlier_record,) = run.run_tasks(find_codes_before, "codes-before", [EarlierPayload(earlier, arrays)])
        records.append(earlier_record)
        origin = CellOrigin(
            earlier_record.file(NODES), earlier.cluster_codes, earlier.first_numbers, earlier_record.result
        )
    cells = _cells_of_types(nodes, dim, None if earlier is None else earlier.cells)
    files = [
        VectorFile(nodes, count, bounds, file, arrays)
        for bounds, file in zip(run.ranges, run.files_of(NODE_EMBEDDINGS), strict=True)
    ]
    types_to_split = {name: type_cells for name, type_cells in cells.items() if type_cells.stop - type_cells.first > 1}
    if types_to_split:
        sample_records = run.run_tasks(sample_file, "codes-sample", [SamplePayload(file, cells) for file in files])
        samples = {name: tuple(_files_of(sample_records, "sample", name)) for name in types_to_split}
        payloads = [
            CellCutPayload(samples[name], arrays, (type_cells.first, type_cells.stop), origin)
            for name, type_cells in types_to_split.items()
        ]
        cut_records = run.run_tasks(cut_type, "codes-cut", payloads)
        records += [*sample_records, *cut_records]
        for (name, type_cells), record in zip(types_to_split.items(), cut_records, strict=True):
            cells[name] = TypeCells(type_cells.first, type_cells.stop, type_cells.share, record.file(CUTS))
    deal_records = run.run_tasks(deal_file, "codes-deal", [DealPayload(file, cells, origin) for file in files])
    number_of_cells = max((type_cells.stop for type_cells in cells.values()), default=0)
    rows = [tuple(_files_of(deal_records, "rows", cell)) for cell in range(number_of_cells)]
    with_rows = [cell for cell in range(number_of_cells) if rows[cell]]
    groups = math.ceil((codes.share * nodes.count) ** (1 / codes.levels) / max(number_of_cells, 1))
    size = TreeSize(codes.share, groups, codes.levels, codes.max_size)
    of_residuals = codes.source == "residuals"
    cell_payloads = [CellPayload(rows[cell], arrays, size, of_residuals, origin) for cell in with_rows]
    cell_records = run.run_tasks(cluster_cell, "codes-cell", cell_payloads)
    files_of_cell = {
        cell: (*record.paths(NODES), *record.paths(CLUSTERS))
        for cell, record in zip(with_rows, cell_records, strict=True)
    }
    payload = ClusterNumberPayload(
        nodes=count,
        levels=codes.levels,
        codes_id=earlier.codes_id if earlier else workspace.fingerprints["aggregate"],
        cells=tuple(files_of_cell.get(cell, ()) for cell in range(number_of_cells)),
        of_residuals=of_residuals,
        origin=origin,
        night=earlier.night if earlier else "",
        apart=sum(record.result for record in cell_records),
    )
    (number_record,) = run.run_tasks(number_clusters, "codes-numbers", [payload])
    figures = number_record.result.codes
    log.info("stage=aggregate clusters=%d largest=%d cells=%d", figures.rows, figures.largest, len(with_rows))
    if figures.kept:
        share_text = " ".join(f"{name}={value}" for name, value in codec.to_values(figures.kept).items())
        log.info("stage=aggregate codes_of_%s", share_text)
    counts = {name: type_cells.stop - type_cells.first for name, type_cells in cells.items()}
    return VectorCodes(number_record, [*records, *deal_records, *cell_records, number_record], counts)


def _cells_of_types(nodes: PublishedNodes, dim: int, earlier: Mapping[str, int] | None) -> dict[str, TypeCells]:
    """Return the cells of each type, one type's after the other's; as many as an earlier night had."""
    cells: dict[str, TypeCells] = {}
    after = 0
    for name, (first, stop) in sorted(nodes.types.items(), key=lambda item: item[1]):
        number = count_cells(stop - first, dim) if earlier is None else earlier[name]
        cells[name] = TypeCells(after, after + number, sample_share(stop - first, dim))
        after += number
    return cells


def _files_of(records: Sequence[TaskRecord[Any]], role: str, key: Any) -> Iterator[Location]:
    """Yield the files that tasks wrote of a type or a cell, in task order."""
    for record in records:
        yield from (file for file_key, file in zip(record.result, record.paths(role), strict=True) if file_key == key)
