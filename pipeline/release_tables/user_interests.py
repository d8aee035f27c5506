"""node_embeddings, clusters -> user_interests: of each source its clusters, and a weight and a query for each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphquilt.row_lookup import as_matrix
from pipeline import codec, storage
from pipeline.blocks.arrays import Block, offsets_of
from pipeline.codes.interest_tasks import InterestFigures, neighbors_between, read_interest_clusters, read_like_shares
from pipeline.codes.interests import ClusterEdges, Interests
from pipeline.config.interests import InterestsConfig
from pipeline.embedding.ppr.walk_graph import GraphFiles
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.ingest.figures import IndexFigures
from pipeline.kernels.csr import Csr
from pipeline.kernels.rows import row_norms
from pipeline.kernels.spmm import spmm
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

_NO_NORM = 1.0


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
    graph, built = whole_graph(run.engine, config, workspace)
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
        "space_id": run.written[tables.NODE_EMBEDDINGS].figures.metadata["space_id"],
        **config.interests.model_dump(mode="json", exclude={"clusters"}),
        **codec.to_values(InterestFigures.of(workspace)),
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
    return WrittenTable(with_rows, PublishedInterestFigures(rows, metadata), [*built, *records])


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
            node_ix, cluster, weight, query = source.between(first, stop)
            refuse_not_finite(query, first)
            columns = [
                pa.repeat(node_type, node_ix.size),
                ids.between(first, stop).take(pa.array(node_ix - first)),
                pa.array(cluster),
                pa.array(weight),
                pa.FixedSizeListArray.from_arrays(pa.array(query.reshape(-1)), type=schema.field("query").type),
            ]
            if node_ix.size:
                writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP_ROWS)


class _SourceInterests:
    """The interests of sources, from the graph, its clusters, and all targets' published rows."""

    def __init__(self, files: InterestFiles, keys: InterestsConfig, dim: int) -> None:
        self._keys, self._targets = keys, files.nodes.types[files.target_type]
        self._block = Block.read(0, files.graph.nodes, files.graph.edges, None)
        self._cluster, self._like = read_interest_clusters(files.clusters), read_like_shares(files.like_shares)
        self._rows, self._vectors = PublishedRows(files.nodes, files.count), RowColumn(files.vectors, "embedding")
        self._dim = dim
        self._target_ix = self._rows.between(*self._targets)
        self._target_rows = self._read(self._target_ix, storage.scratch_array(self._target_ix.size, dim))

    def between(
        self, first: int, stop: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """Return of a range of sources the (source, cluster, weight, query) of each interest, in the published order.

        Sources that are left out of the tables, and those whose rows are zero, have none; so do targets count for none.
        """
        node_ix = self._rows.between(first, stop)
        own = self._read(node_ix, np.zeros((node_ix.size, self._dim), np.float32))
        norm = row_norms(own)
        edges = neighbors_between(self._block, (first, stop), self._targets)
        has_row = np.zeros(stop - first, np.bool_)
        has_row[node_ix[norm > 0] - first] = True
        counts = has_row[edges.source - first] & self._rows.are_published(edges.target)
        source, target, weight = edges.source[counts], edges.target[counts], edges.weight[counts]
        interests = Interests.of(ClusterEdges(source, self._cluster[target], weight))
        smoothed = self._like.smooth(interests, self._cluster[interests.source], self._keys.smoothing)
        chosen = interests.choose(smoothed, self._keys.per_source)
        mean = self._mean_rows(interests, target, weight)[chosen]
        at = np.searchsorted(node_ix, interests.source[chosen])
        query = _mix(mean, own[at], norm[at], self._keys.own_share)
        return interests.source[chosen], interests.cluster[chosen], smoothed[chosen], query

    def _mean_rows(
        self, interests: Interests, target: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return of each pair the sum of its entries' rows, each times its weight: a mean but for its length."""
        order, pairs = np.argsort(interests.pair_of, kind="stable"), interests.source.size
        place = np.searchsorted(self._target_ix, target[order]).astype(np.int32)
        indptr = offsets_of(np.bincount(interests.pair_of, minlength=pairs))
        sums = np.zeros((pairs, self._dim), np.float32)
        matrix = Csr(indptr, place, weight[order].astype(np.float32))
        spmm(matrix, self._target_rows, sums, start=0, stop=pairs)
        return sums

    def _read(self, node_ix: NDArray[np.int64], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Read the published rows of nodes that follow each other."""
        if node_ix.size:
            first, done = int(self._rows.of(node_ix[:1])[0]), 0
            for piece in self._vectors.pieces(first, first + node_ix.size):
                for chunk in piece.chunks:
                    out[done : done + len(chunk)] = as_matrix(chunk)
                    done += len(chunk)
        return out


def _mix(
    mean: NDArray[np.float32], own: NDArray[np.float32], norm: NDArray[np.float64], own_share: float
) -> NDArray[np.float32]:
    """Return the mean directions of two rows each, ``own_share`` of the second, as long as the second is."""
    mixed = np.zeros(mean.shape, np.float32)
    for rows, share in ((mean, 1 - own_share), (own, own_share)):
        length = row_norms(rows)
        mixed += rows * (share / np.where(length > 0, length, _NO_NORM))[:, None].astype(np.float32)
    length = row_norms(mixed)
    scale = norm / np.where(length > 0, length, _NO_NORM)
    query: NDArray[np.float32] = mixed * scale[:, None].astype(np.float32)
    return query


TABLE = PublishedTable(
    name=tables.USER_INTERESTS,
    contract=tables.user_interests,
    is_wanted=lambda config: bool(config.interests.clusters),
    write=write_interests,
    figures=PublishedInterestFigures,
    metadata="interests_metadata",
    counts=("interests",),
)
