"""part_rows, neighbor_lists -> node_embeddings, ppr_neighbors: join ids, finish and order, write what readers get."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import NodeParts
from pipeline.config.model import PipelineConfig
from pipeline.embedding.combine import RowSet
from pipeline.embedding.rows import ColumnSums, Settings
from pipeline.engine import Engine, Frame
from pipeline.kernels.procrustes import CrossSums
from pipeline.kernels.rows import column_sums, row_norms
from pipeline.release_tables.alignment import Alignment, ParentRows, align, parent_folder, write_products
from pipeline.release_tables.excluded_ids import judge_excluded_ids
from pipeline.release_tables.finished_rows import (
    ROW_GROUP_ROWS,
    NodeIds,
    PublishedNodes,
    RowGroup,
    combined_rows,
    excluded,
    finished_rows,
)
from pipeline.release_tables.fold_in import write_fold_in
from pipeline.release_tables.metadata import metadata_of
from pipeline.release_tables.ppr_neighbors import neighbors_metadata, write_neighbors
from pipeline.release_tables.zero_rows import refuse_zero_rows
from pipeline.stages.embed import settings_of
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace
from schemas.tables import node_embeddings

NAME = "aggregate"


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Write the published tables' files, still in the workspace: publishing them is another stage's decision."""
    nodes, size = workspace.manifest("node_index").figures["nodes"], config.publish.rows_per_file
    ranges = [[first, min(first + size, nodes)] for first in range(0, nodes, size)]
    judged = judge_excluded_ids(engine, config, workspace)
    lists = write_neighbors(engine, workspace.work(NAME), config, workspace, ranges)
    of_lists = [file for file in describe_task_files(lists, "neighbors") if file.rows]
    rows = Outcome({}, {"rows": 0, "zero_rows": 0, "excluded": 0, "dim": 0, "metadata": None})
    if config.embedding.method != "none":
        rows = _embeddings(engine, config, workspace, ranges)
    figures = {
        **rows.figures,
        "lists": sum(file.rows for file in of_lists),
        "empty_lists": sum(record.result.empty for record in lists),
        "lists_metadata": neighbors_metadata(config, workspace) if config.ppr.neighbors else None,
    }
    return Outcome({**rows.tables, "ppr_neighbors": of_lists}, figures, [*judged, *rows.records, *lists])


def _embeddings(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, ranges: Sequence[Sequence[int]]
) -> Outcome:
    settings = settings_of(config, workspace)
    graph = workspace.manifest("node_index").figures
    tree = pq.read_table(workspace.files("partition_tree")[0], partitioning=None)
    common = {
        "settings": settings.to_json(),
        "sums": workspace.manifest("part_rows").figures["sums"],
        "sets": [rows.to_json() for rows in _row_sets(workspace)],
        "node_index": [str(file) for file in workspace.files("node_index")],
        "node_arrays": [str(file) for file in workspace.files("node_arrays")],
        "node_features": [str(file) for file in workspace.files("node_features")],
        "node_parts": str(workspace.files("node_parts")[0]),
        "paths": {
            str(part): path for part, path in zip(*(tree[c].to_pylist() for c in ("part_id", "part_path")), strict=True)
        },
        "types": graph["types"],
        "exclude_ids": {node_type: list(ids) for node_type, ids in config.publish.exclude_ids.items()},
    }
    place = workspace.work(NAME)
    if config.embedding.standardize_columns and len(common["sets"]) > 1:
        common["sums"] = _column_sums(engine, place, common, ranges)
    # Every file states the means of the whole table, so they are known before the first is written; and so is where
    # the parent's rows are.
    parent = parent_folder(config, workspace)
    asked = {**common, "rotation": None, "parent": str(parent) if parent else None}
    surveyed = run_missing(
        engine,
        survey_rows,
        [Task(f"means-{n:05d}", place, {**asked, "range": r}) for n, r in enumerate(ranges)],
    )
    aligned = align(engine, place, settings, parent, surveyed)
    common["rotation"] = str(aligned.matrix) if aligned.matrix else None
    metadata = {
        **metadata_of(config, settings, workspace, graph, aligned),
        "mean_vectors": _means(surveyed, aligned),
    }
    written = run_missing(
        engine,
        write_rows,
        [Task(f"rows-{n:05d}", place, {**common, "range": r, "metadata": metadata}) for n, r in enumerate(ranges)],
    )
    names = ("zero_rows", "zero_rows_with_edges", "with_edges", "excluded")
    counts = {name: sum(int(record.result[name]) for record in written) for name in names}
    refuse_zero_rows(config, counts["zero_rows_with_edges"], counts["with_edges"])
    of_neighbors = write_fold_in(
        engine,
        place,
        PublishedNodes.of(config, workspace),
        settings,
        aligned.matrix,
        ranges,
        workspace.files("fold_in_rows"),
    )
    figures = {
        "rows": sum(int(record.result["rows_rows"]) for record in written),
        **counts,
        "dim": settings.dim,
        "metadata": metadata,
    }
    tables = {
        "node_embeddings": describe_task_files(written, "rows"),
        "fold_in": describe_task_files(of_neighbors, "fold_in"),
    }
    return Outcome(tables, figures, [*surveyed, *aligned.records, *written, *of_neighbors])


def _row_sets(workspace: Workspace) -> list[RowSet]:
    """Deal the files of rows and of kept weights out to the sets of blocks that they belong to."""
    rows, kept = (iter([str(file) for file in workspace.files(table)]) for table in ("part_rows", "kept_weights"))
    blocks = workspace.manifest("block_nodes").figures["sets"]
    counts = workspace.manifest("part_rows").figures["sets"]
    return [
        RowSet(one["name"], one["nodes"], list(islice(rows, count)), list(islice(kept, one["kept_files"])))
        for one, count in zip(blocks, counts, strict=True)
    ]


def _column_sums(
    engine: Engine[Frame], place: Path, common: Mapping[str, Any], ranges: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Add up the columns of combined rows, which no single block has seen."""
    tasks = [Task(f"columns-{n:05d}", place, {**common, "range": r}) for n, r in enumerate(ranges)]
    first, *others = [ColumnSums.from_json(record.result["sums"]) for record in run_missing(engine, sum_columns, tasks)]
    return sum(others, start=first).to_json()


def sum_columns(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: column sums of the combined rows of one range, before the last step."""
    dim = Settings.from_json(payload["settings"]).dim
    total = ColumnSums(np.zeros(dim), np.zeros(dim), 0)
    for _, _, _, rows, strength in combined_rows(payload):
        total += ColumnSums(*column_sums(rows.values, strength > 0))
    return {"sums": total.to_json()}


def survey_rows(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: sums of the published rows of one range, by type; and of their products with the parent's rows."""
    sums = _Sums()
    ids = NodeIds(payload["node_index"]) if payload["exclude_ids"] or payload["parent"] else None
    parent = ParentRows(payload["parent"]) if payload["parent"] else None
    common: dict[str, CrossSums] = {}
    for group in finished_rows(payload):
        node_type, vectors = group.node_type, group.vectors
        node_id = ids.between(group.first, group.stop) if ids else pa.array([], pa.string())
        unwanted = excluded(node_type, node_id, payload["exclude_ids"])
        if unwanted is not None:
            node_id, vectors = node_id.filter(pa.array(~unwanted)), vectors[~unwanted]
        sums.add(node_type, vectors)
        if parent:
            found = parent.products_with(node_type, node_id, vectors)
            common[node_type] = common[node_type] + found if node_type in common else found
    return {"sums": sums.to_json(), "common": write_products(attempt, common) if parent else None}


def write_rows(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: one file of the published table."""
    ids = NodeIds(payload["node_index"])
    parts = NodeParts.map(Path(payload["node_parts"]))
    dim = Settings.from_json(payload["settings"]).dim
    id_type = pq.read_schema(payload["node_index"][0]).field("node_id").type
    text = json.dumps(payload["metadata"], sort_keys=True, allow_nan=False)
    schema = node_embeddings(dim).schema_for(id_type).with_metadata({"graphquilt": text})
    zero_rows = zero_rows_with_edges = with_edges = rows = 0
    with pq.ParquetWriter(
        attempt.path("rows", "parquet"),
        schema,
        # Vectors neither compress nor repeat; min and max of their entries help nobody.
        compression={name: "none" if name == "embedding" else "zstd" for name in _leaf_names(schema)},
        use_dictionary=["node_type", "cluster_path"],
        write_statistics=[name for name in schema.names if name != "embedding"],
    ) as writer:
        for group in finished_rows(payload):
            node_id = ids.between(group.first, group.stop)
            home = parts.part_id[group.first : group.stop]
            table = _table_of(group, node_id, _paths_of(home, payload["paths"]), schema)
            unwanted = excluded(group.node_type, node_id, payload["exclude_ids"])
            if unwanted is not None:
                table = table.filter(pa.array(~unwanted))
            if table.num_rows:
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
                is_zero, has_edges = pc.equal(table["norm"], 0), pc.greater(table["degree"], 0)
                zero_rows += pc.sum(is_zero).as_py()
                zero_rows_with_edges += pc.sum(pc.and_(is_zero, has_edges)).as_py()
                with_edges += pc.sum(has_edges).as_py()
                rows += table.num_rows
    first, stop = payload["range"]
    return {
        "rows_rows": rows,
        "zero_rows": zero_rows,
        "zero_rows_with_edges": zero_rows_with_edges,
        "with_edges": with_edges,
        "excluded": stop - first - rows,
    }


def _table_of(group: RowGroup, node_id: pa.Array, cluster_path: pa.Array, schema: pa.Schema) -> pa.Table:
    rows = len(group.vectors)
    flat = pa.array(group.vectors.reshape(-1))
    return pa.Table.from_arrays(
        [
            pa.array([group.node_type]).take(pa.array(np.zeros(rows, np.int8))),
            node_id,
            pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type),
            pa.array(row_norms(group.vectors).astype(np.float32)),
            pa.array(group.degree),
            pa.array(group.strength.astype(np.float32)),
            cluster_path,
        ],
        schema=schema,
    )


def _paths_of(home: NDArray[np.int32], paths: Mapping[str, str]) -> pa.Array:
    leaves, leaf = np.unique(home, return_inverse=True)
    return pa.array([paths.get(str(part), "") for part in leaves], pa.string()).take(pa.array(leaf))


def _leaf_names(schema: pa.Schema) -> list[str]:
    return [f"{name}.list.element" if name == "embedding" else name for name in schema.names]


class _Sums:
    """Sums of rows by type, float64."""

    def __init__(self) -> None:
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._rows: dict[str, int] = {}

    def add(self, node_type: str, vectors: NDArray[np.float32]) -> None:
        """Add the rows of a type."""
        self.merge(node_type, vectors.sum(axis=0, dtype=np.float64), len(vectors))

    def merge(self, node_type: str, sums: NDArray[np.float64], rows: int) -> None:
        """Add sums that were made elsewhere."""
        self._sums[node_type] = self._sums[node_type] + sums if node_type in self._sums else sums
        self._rows[node_type] = self._rows.get(node_type, 0) + rows

    def means(self) -> dict[str, list[float]]:
        """Return the mean row of each type."""
        return {name: (self._sums[name] / max(1, self._rows[name])).tolist() for name in sorted(self._sums)}

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: [self._rows[name], self._sums[name].tolist()] for name in sorted(self._sums)}


def _means(records: Sequence[TaskRecord[Any]], aligned: Alignment) -> dict[str, list[float]]:
    sums = _Sums()
    for record in records:
        for node_type, (rows, values) in record.result["sums"].items():
            sums.merge(node_type, np.array(values), rows)
    if aligned.matrix is None:
        return sums.means()
    storage.check_sealed(aligned.matrix)
    matrix = np.load(aligned.matrix)
    # The mean of rotated rows is the rotated mean. Not by BLAS: the driver's has as many threads as it likes.
    return {name: np.einsum("i,ij->j", mean, matrix).tolist() for name, mean in sums.means().items()}
