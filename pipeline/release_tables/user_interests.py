"""node_embeddings, clusters -> user_interests: of each source its clusters, and a weight and a query for each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphquilt.row_lookup import as_matrix
from pipeline import storage
from pipeline.blocks.arrays import Block
from pipeline.codes.interest_queries import InterestQueries, NodeRows, make_queries, neighbors_between
from pipeline.codes.interest_tasks import InterestFigures, read_interest_clusters, read_like_shares
from pipeline.config.interests import InterestsConfig
from pipeline.embedding.ppr.walk_graph import GraphFiles
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.ingest.figures import IndexFigures
from pipeline.kernels.rows import row_norms
from pipeline.locations import Location
from pipeline.release_tables.finished_rows import (
    ROW_GROUP_ROWS,
    NodeIds,
    PublishedNodes,
    PublishedRows,
    RowColumn,
    refuse_not_finite,
    row_groups,
)
from pipeline.release_tables.published_table import PublishedTable, TableRun, WrittenTable
from pipeline.tasks import Attempt
from pipeline.workspace import UNDATED
from schemas import published_tables as tables
from schemas.tables import INTEREST_CLUSTERS, LIKE_SHARES


@dataclass(frozen=True)
class InterestFiles:
    """What the interests of all sources are made of.

    count : nodes of the graph. sources, targets : types. graph : all edges as one block. vectors : of node_embeddings.
    """

    nodes: PublishedNodes
    count: int
    source_type: str
    target_type: str
    graph: GraphFiles
    clusters: Location
    like_shares: Location
    vectors: tuple[Location, ...]


@dataclass(frozen=True)
class InterestRange:
    """Interests of one file of the table: of a range of nodes, with what the table states."""

    files: InterestFiles
    bounds: tuple[int, int]
    keys: InterestsConfig
    dim: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class PublishedInterestFigures:
    """How many interests all sources have, and what the table says of itself."""

    interests: int = 0
    interests_metadata: Mapping[str, Any] | None = None


def write_interests(run: TableRun) -> WrittenTable[PublishedInterestFigures]:
    """Write the interests of all sources, a file for each range of nodes that has some."""
    config, workspace = run.config, run.workspace
    graph, graph_records = whole_graph(run.engine, config, workspace)
    (clusters,), (shares,) = (workspace.files(table.name) for table in (INTEREST_CLUSTERS, LIKE_SHARES))
    nodes, index = PublishedNodes.of(config, workspace), workspace.figures("node_index", IndexFigures)
    ends = config.input.source_type, config.input.target_type
    vectors = tuple(run.files_of(tables.NODE_EMBEDDINGS))
    files = InterestFiles(nodes, index.nodes, *ends, graph, clusters, shares, vectors)
    metadata = {
        "table": tables.USER_INTERESTS,
        "contract_version": tables.user_interests(config.embedding.dim).version,
        "data_date": workspace.date.isoformat(),
        "undated": workspace.date == UNDATED,
        "window_days": config.input.window_days,
        "source_type": config.input.source_type,
        "target_type": config.input.target_type,
        "space_id": run.tables[tables.NODE_EMBEDDINGS].figures.metadata["space_id"],
        **config.interests.model_dump(mode="json", exclude={"clusters"}),
        **InterestFigures.of(workspace).metadata,
    }
    first, stop = nodes.types[ends[0]]
    payloads = [
        InterestRange(files, (max(first, start), min(stop, end)), config.interests, config.embedding.dim, metadata)
        for start, end in run.ranges
        if max(first, start) < min(stop, end)
    ]
    records = run.run_tasks(write_range, "interests", payloads)
    rows = sum(record.files[0].rows or 0 for record in records)
    with_rows = [record for record in records if record.files[0].rows]
    return WrittenTable(with_rows, PublishedInterestFigures(rows, metadata), [*graph_records, *records])


def write_range(payload: InterestRange, attempt: Attempt) -> None:
    """Task: one file of the table."""
    files, nodes = payload.files, payload.files.nodes
    source = _SourceInterests(files, payload.keys, payload.dim)
    ids = NodeIds(nodes.node_index)
    text = json.dumps(payload.metadata, sort_keys=True, allow_nan=False)
    schema = tables.user_interests(payload.dim).schema_for(nodes.id_type).with_metadata({"graphquilt": text})
    # All rows of a node stand in one row group.
    at_once = max(ROW_GROUP_ROWS // payload.keys.per_source, 1)
    with pq.ParquetWriter(
        attempt.path(tables.USER_INTERESTS, "parquet"),
        schema,
        compression=dict.fromkeys(schema.names, "zstd") | {"query.list.element": "none"},
        use_dictionary=["node_type", "cluster"],
        write_statistics=["node_type", "node_id", "cluster", "weight"],
    ) as writer:
        spans = {files.source_type: nodes.types[files.source_type]}
        for node_type, first, stop in row_groups(payload.bounds, spans, at_once):
            of = source.between(first, stop)
            refuse_not_finite(of.query, first)
            columns = [
                pa.repeat(node_type, of.source.size),
                ids.between(first, stop).take(pa.array(of.source - first)),
                pa.array(of.cluster),
                pa.array(of.weight),
                pa.FixedSizeListArray.from_arrays(pa.array(of.query.reshape(-1)), type=schema.field("query").type),
            ]
            if of.source.size:
                writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP_ROWS)


class _SourceInterests:
    """The interests of sources, from the graph, its clusters, and all targets' published rows."""

    def __init__(self, files: InterestFiles, keys: InterestsConfig, dim: int) -> None:
        self._keys, self._target_range = keys, files.nodes.types[files.target_type]
        self._block = Block.read(0, files.graph.nodes, files.graph.edges, None)
        self._cluster, self._like = read_interest_clusters(files.clusters), read_like_shares(files.like_shares)
        self._rows, self._vectors = PublishedRows(files.nodes, files.count), RowColumn(files.vectors, "embedding")
        self._dim = dim
        target_ix = self._rows.between(*self._target_range)
        self._targets = NodeRows(target_ix, self._read(target_ix, storage.scratch_array(target_ix.size, dim)))

    def between(self, first: int, stop: int) -> InterestQueries:
        """Return the interests of a range of sources.

        Sources that are left out of the tables, and those whose rows are zero, have none; so do targets count for none.
        """
        node_ix = self._rows.between(first, stop)
        own = self._read(node_ix, np.zeros((node_ix.size, self._dim), np.float32))
        edges = neighbors_between(self._block, (first, stop), self._target_range)
        has_row = np.zeros(stop - first, np.bool_)
        has_row[node_ix[row_norms(own) > 0] - first] = True
        edges = edges.where(has_row[edges.source - first] & self._rows.are_published(edges.target))
        return make_queries(edges, self._cluster, self._like, NodeRows(node_ix, own), self._targets, self._keys)

    def _read(self, node_ix: NDArray[np.int64], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Read the published rows of nodes that follow each other."""
        if node_ix.size:
            first, row = int(self._rows.of(node_ix[:1])[0]), 0
            for piece in self._vectors.pieces(first, first + node_ix.size):
                for chunk in piece.chunks:
                    out[row : row + len(chunk)] = as_matrix(chunk)
                    row += len(chunk)
        return out


TABLE = PublishedTable(
    name=tables.USER_INTERESTS,
    contract=tables.user_interests,
    is_wanted=lambda config: bool(config.interests.clusters),
    write=write_interests,
    figures=PublishedInterestFigures,
    metadata="interests_metadata",
    counts=("interests",),
)
