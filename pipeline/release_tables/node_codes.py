"""Clusters of nodes and their codes -> node_codes: with ids, sorted for look-ups, cut as the table of embeddings is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import codec
from pipeline.codes.code_files import NO_CLUSTER, ClusterCodes, NodeClusters, as_lists
from pipeline.codes.code_tasks import CodeFigures
from pipeline.config.model import PipelineConfig
from pipeline.locations import Location
from pipeline.release_tables.finished_rows import ROW_GROUP_ROWS, NodeIds, PublishedNodes, row_groups
from pipeline.release_tables.published_table import PublishedTable, TableRun, WrittenTable
from pipeline.release_tables.vector_codes import make_vector_codes
from pipeline.tasks import Attempt
from pipeline.workspace import UNDATED, Workspace
from schemas.published_tables import NODE_CODE_PATHS, NODE_CODES
from schemas.tables import CLUSTER_CODES, NODE_CLUSTERS


@dataclass(frozen=True)
class PublishedCodes:
    """Codes of one file of the table: of a range of nodes, with what the table states."""

    nodes: PublishedNodes
    bounds: tuple[int, int]
    node_clusters: Location
    cluster_codes: Location
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class PublishedCodeFigures:
    """How many nodes have a code, and what the table says of itself."""

    coded_nodes: int = 0
    codes_metadata: Mapping[str, Any] | None = None


def write_codes(run: TableRun) -> WrittenTable[PublishedCodeFigures]:
    """Write the published codes, a file for each range of nodes that has some."""
    nodes, before, working = PublishedNodes.of(run.config, run.workspace), [], {}
    if run.config.codes.of_vectors:
        vector_codes = make_vector_codes(run)
        clusters, codes = vector_codes.files
        figures, before, working = vector_codes.figures, [*vector_codes.records], vector_codes.tables
    else:
        (clusters,), (codes,) = (run.workspace.files(table.name) for table in (NODE_CLUSTERS, CLUSTER_CODES))
        figures = CodeFigures.of(run.workspace)
    metadata = codes_metadata(run.config, run.workspace, figures)
    payloads = [PublishedCodes(nodes, bounds, clusters, codes, metadata) for bounds in run.ranges]
    records = run.run_tasks(write_file, "codes", payloads)
    with_codes = [record for record in records if record.files[0].rows]
    rows = sum(record.files[0].rows or 0 for record in records)
    return WrittenTable(with_codes, PublishedCodeFigures(rows, metadata), [*before, *records], working)


def codes_metadata(config: PipelineConfig, workspace: Workspace, figures: CodeFigures) -> dict[str, Any]:
    """Return what the table says of itself."""
    return {
        "table": NODE_CODES,
        "contract_version": NODE_CODE_PATHS.version,
        "data_date": workspace.date.isoformat(),
        "undated": workspace.date == UNDATED,
        "window_days": config.input.window_days,
        "source_type": config.input.source_type,
        "target_type": config.input.target_type,
        **({"source": config.codes.source} if config.codes.of_vectors else {}),
        **config.codes.model_dump(mode="json", include={"levels", "max_size"}),
        **codec.to_values(figures),
    }


def write_file(payload: PublishedCodes, attempt: Attempt) -> None:
    """Task: one file of the table."""
    nodes, ids = payload.nodes, NodeIds(payload.nodes.node_index)
    clusters, codes = NodeClusters.map(payload.node_clusters), ClusterCodes.map(payload.cluster_codes)
    text = json.dumps(payload.metadata, sort_keys=True, allow_nan=False)
    schema = NODE_CODE_PATHS.schema_for(nodes.id_type).with_metadata({"graphquilt": text})
    with pq.ParquetWriter(
        attempt.path(NODE_CODES, "parquet"),
        schema,
        compression="zstd",
        use_dictionary=["node_type", "code.list.element"],
        write_statistics=["node_type", "node_id", "cluster"],
    ) as writer:
        for node_type, first, stop in row_groups(payload.bounds, nodes.types):
            row = np.flatnonzero(clusters.cluster[first:stop] != NO_CLUSTER)
            cluster = clusters.cluster[first:stop][row]
            table = pa.Table.from_arrays(
                [
                    pa.repeat(node_type, row.size),
                    ids.between(first, stop).take(pa.array(row)),
                    as_lists(codes.code[cluster]).cast(schema.field("code").type),
                    pa.array(cluster),
                    pa.array(clusters.leaf_token[first:stop][row]),
                ],
                schema=schema,
            )
            table = nodes.without_excluded(table, node_type)
            if table.num_rows:
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)


TABLE = PublishedTable(
    name=NODE_CODES,
    contract=lambda _: NODE_CODE_PATHS,
    is_wanted=lambda config: config.codes.enabled,
    write=write_codes,
    figures=PublishedCodeFigures,
    metadata="codes_metadata",
    counts=("coded_nodes",),
)
