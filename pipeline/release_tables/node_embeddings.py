"""part_rows -> node_embeddings: join ids, finish and order the rows, and write what readers get."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graphquilt.contracts import EVENT_TIMESTAMP
from graphquilt.row_groups import METADATA_KEY
from pipeline import storage
from pipeline.blocks.arrays import NodeParts
from pipeline.embedding.run_settings import settings_of
from pipeline.ingest.figures import IndexFigures
from pipeline.ingest.run_date import end_of
from pipeline.locations import Location
from pipeline.release_tables.alignment import TypeSums, add_sums, align, mean_vectors, survey
from pipeline.release_tables.cold_fits import sources_with_cold_rows
from pipeline.release_tables.finished_rows import (
    ROW_GROUP_ROWS,
    FinishedRows,
    NodeIds,
    RowSources,
    finished_rows,
)
from pipeline.release_tables.metadata import metadata_of
from pipeline.release_tables.published_table import PublishedTable, TableRun, WrittenTable
from pipeline.release_tables.zero_rows import refuse_zero_rows
from pipeline.tasks import Attempt
from pipeline.workspace import Workspace
from schemas import published_tables as tables


@dataclass(frozen=True)
class EmbeddingFigures:
    """Counts of the published rows, and what the table says of itself; all zero where a run makes no vectors."""

    rows: int = 0
    zero_rows: int = 0
    zero_rows_with_edges: int = 0
    with_edges: int = 0
    excluded: int = 0
    unpublished: int = 0  # nodes of types that aren't published
    dim: int = 0
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RowsPayload:
    """Rows of one file of the table, with the file of the rotation and what the table states.

    metadata : without the mean vectors if there are no other files: the task adds its own.
    event_us : what the column event_timestamp says, since 1970, UTC; None: there is no such column.
    """

    sources: RowSources
    bounds: tuple[int, int]
    partition_tree: Location
    rotation: Location | None
    metadata: Mapping[str, Any]
    dim: int
    event_us: int | None


@dataclass(frozen=True)
class RowsResult:
    """Counts of the rows of one file; sums of them where it is the only one."""

    zero_rows: int
    zero_rows_with_edges: int
    with_edges: int
    sums: Mapping[str, TypeSums]


def write_embeddings(run: TableRun) -> WrittenTable[EmbeddingFigures]:
    """Write the published rows, one file for each range of nodes.

    Raises
    ------
    ConfigError : nodes with edges have zero rows, which the configuration does not expect.
    """
    config, workspace = run.config, run.workspace
    settings = settings_of(config, workspace)
    sources = sources_with_cold_rows(run, settings)
    alignment = align(run, sources, settings.dim)
    surveys = alignment.surveys or (survey(run, sources, None) if len(run.ranges) > 1 else [])
    metadata = metadata_of(config, settings, workspace, alignment, sources.compatibility)
    if surveys:
        metadata["mean_vectors"] = mean_vectors([record.result.sums for record in surveys], alignment.matrix)
    (tree,) = workspace.files("partition_tree")
    event_us = end_of(workspace.date) if config.publish.event_timestamp else None
    records = run.run_tasks(
        write_rows,
        "rows",
        [
            RowsPayload(sources, bounds, tree, alignment.matrix, metadata, settings.dim, event_us)
            for bounds in run.ranges
        ],
    )
    if not surveys:
        metadata["mean_vectors"] = mean_vectors([record.result.sums for record in records], None)
    names = ("zero_rows", "zero_rows_with_edges", "with_edges")
    counts = {name: sum(getattr(record.result, name) for record in records) for name in names}
    refuse_zero_rows(config, counts["zero_rows_with_edges"], counts["with_edges"])
    rows = sum(record.files[0].rows or 0 for record in records)
    published_rows = sources.nodes.count
    figures = EmbeddingFigures(
        **{
            "rows": rows,
            "excluded": published_rows - rows,
            "unpublished": settings.graph.nodes - published_rows,
            **counts,
        },
        dim=settings.dim,
        metadata=metadata,
    )
    return WrittenTable(records, figures, [*(alignment.records or surveys), *records])


def write_rows(payload: RowsPayload, attempt: Attempt) -> RowsResult:
    """Task: one file of the table."""
    nodes = payload.sources.nodes
    ids = NodeIds(nodes.node_index)
    home = NodeParts.map(payload.sources.node_parts).part_id
    tree = storage.read_parquet([payload.partition_tree], ["part_id", "part_path"])
    paths = dict(zip(tree["part_id"].to_pylist(), tree["part_path"].to_pylist(), strict=True))
    contract = tables.node_embeddings(payload.dim)
    schema = contract.schema_for(nodes.id_type)
    if payload.event_us is not None:
        schema = schema.append(contract.optional.field(EVENT_TIMESTAMP))
    metadata, adds_means = dict(payload.metadata), "mean_vectors" not in payload.metadata
    sums: dict[str, TypeSums] = {}
    zero_rows = zero_rows_with_edges = with_edges = 0
    with pq.ParquetWriter(
        attempt.path(tables.NODE_EMBEDDINGS, "parquet"),
        schema,
        # Vectors neither compress nor repeat; min and max of their entries help nobody.
        compression=dict.fromkeys(schema.names, "zstd") | {"embedding.list.element": "none"},
        use_dictionary=["node_type", "cluster_path"],
        write_statistics=[name for name in schema.names if name != "embedding"],
    ) as writer:
        for group in finished_rows(payload.sources, payload.bounds, payload.rotation):
            leaves, leaf = np.unique(home[group.first : group.stop], return_inverse=True)
            cluster_path = pa.array([paths.get(part, "") for part in leaves.tolist()], pa.string()).take(pa.array(leaf))
            table = _table_of(group, ids.between(group.first, group.stop), cluster_path, schema, payload.event_us)
            vectors = group.vectors
            is_excluded = nodes.find_excluded(group.node_type, table["node_id"].combine_chunks())
            if is_excluded is not None:
                table, vectors = table.filter(pa.array(~is_excluded)), vectors[~is_excluded]
            if adds_means:
                add_sums(sums, {group.node_type: TypeSums.of(vectors)})
            if table.num_rows:
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
                is_zero, has_edges = pc.equal(table["norm"], 0), pc.greater(table["degree"], 0)
                zero_rows += pc.sum(is_zero).as_py()
                zero_rows_with_edges += pc.sum(pc.and_(is_zero, has_edges)).as_py()
                with_edges += pc.sum(has_edges).as_py()
        if adds_means:
            metadata["mean_vectors"] = mean_vectors([sums], None)
        _add_metadata(writer, schema, metadata)
    return RowsResult(zero_rows, zero_rows_with_edges, with_edges, sums)


def _add_metadata(writer: pq.ParquetWriter, schema: pa.Schema, metadata: Mapping[str, Any]) -> None:
    """Add what the table states to the footer, with the bytes that it has where a writer knows it from the start."""
    text = json.dumps(metadata, sort_keys=True, allow_nan=False)
    arrow_schema = base64.b64encode(schema.with_metadata({METADATA_KEY: text}).serialize())
    writer.add_key_value_metadata({METADATA_KEY: text, b"ARROW:schema": arrow_schema})


def _table_of(
    group: FinishedRows, node_id: pa.Array, cluster_path: pa.Array, schema: pa.Schema, event_us: int | None
) -> pa.Table:
    flat, rows = pa.array(group.vectors.reshape(-1)), len(group.vectors)
    columns = [
        pa.repeat(group.node_type, rows),
        node_id,
        pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type),
        pa.array(group.norms.astype(np.float32)),
        pa.array(group.degree),
        pa.array(group.strength.astype(np.float32)),
        cluster_path,
    ]
    if event_us is not None:
        columns.append(pa.repeat(pa.scalar(event_us, schema.field(EVENT_TIMESTAMP).type), rows))
    return pa.Table.from_arrays(columns, schema=schema)


def _published_nodes(workspace: Workspace) -> int:
    """Return how many nodes of the window are published."""
    figures = workspace.figures(tables.NODE_EMBEDDINGS, EmbeddingFigures)
    return workspace.figures("node_index", IndexFigures).nodes - figures.excluded - figures.unpublished


TABLE = PublishedTable(
    name=tables.NODE_EMBEDDINGS,
    contract=tables.node_embeddings,
    is_wanted=lambda config: config.embedding.method != "none",
    write=write_embeddings,
    figures=EmbeddingFigures,
    expected_rows=_published_nodes,
    metadata="metadata",
    counts=("zero_rows",),
)
