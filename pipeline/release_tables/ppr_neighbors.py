"""neighbor_lists -> ppr_neighbors: with ids, sorted for look-ups, cut as the table of embeddings is."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import codec, storage
from pipeline.blocks.arrays import offsets_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.figures import EmbedFigures
from pipeline.ingest.figures import IndexFigures
from pipeline.locations import Location
from pipeline.release_tables.finished_rows import NodeIds, PublishedNodes, row_groups
from pipeline.release_tables.published_table import PublishedTable, TableRun, WrittenTable
from pipeline.tasks import Attempt
from pipeline.workspace import UNDATED, Workspace
from schemas.contracts import TableContract
from schemas.published_tables import NEIGHBOR_LISTS_BY_FILTER, PPR_NEIGHBOR_LISTS, PPR_NEIGHBORS
from schemas.tables import NEIGHBOR_LISTS

F = TypeVar("F")

ROW_GROUP_LISTS = 4_096
"""Of a hundred neighbours each: a look-up reads a few megabytes at most."""


@dataclass(frozen=True)
class PublishedLists:
    """Lists of one file of the table: of a range of nodes, from files by node number, with what the table states."""

    table: str
    nodes: PublishedNodes
    bounds: tuple[int, int]
    lists: tuple[Location, ...]
    target_type: str
    top_k: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class PublishedListFigures:
    """Counts of the published lists, and what the table says of itself."""

    lists: int = 0
    empty_lists: int = 0
    lists_metadata: Mapping[str, Any] | None = None


def write_neighbors(
    run: TableRun, metadata: Mapping[str, Any], figures: Callable[[int, int, Mapping[str, Any]], F]
) -> WrittenTable[F]:
    """Write the published lists, a file for each range of nodes that has some.

    Parameters
    ----------
    metadata : what the table says of itself. figures : made of how many lists, how many empty ones, and metadata.
    """
    config, workspace = run.config, run.workspace
    nodes = PublishedNodes.of(config, workspace)
    lists, of_type = tuple(workspace.files("neighbor_lists")), config.list_source_type
    sources = list(nodes.types.values()) if of_type is None else [nodes.types[of_type]]
    ranges = [
        bounds for bounds in run.ranges if any(max(bounds[0], first) < min(bounds[1], stop) for first, stop in sources)
    ]
    payloads = [
        PublishedLists(config.list_table, nodes, bounds, lists, config.listed_type, config.list_keys.top_k, metadata)
        for bounds in ranges
    ]
    records = run.run_tasks(write_lists, "neighbors", payloads)
    with_lists = [record for record in records if record.files[0].rows]
    lists_written = sum(record.files[0].rows or 0 for record in records)
    empty = sum(record.result for record in records)
    return WrittenTable(with_lists, figures(lists_written, empty, metadata), records)


def lists_metadata(
    config: PipelineConfig, workspace: Workspace, contract: TableContract, keys: set[str], figures: Sequence[str]
) -> dict[str, Any]:
    """Return what a table of lists says of itself: keys of its section, and figures of the lists."""
    interactions = config.input
    lists = codec.to_values(workspace.figures("neighbor_lists", EmbedFigures).of_lists())
    return {
        "table": contract.name,
        "contract_version": contract.version,
        "data_date": workspace.date.isoformat(),
        "undated": workspace.date == UNDATED,
        "window_days": interactions.window_days,
        **config.list_keys.model_dump(mode="json", include={"top_k", "exclude_known", *keys}),
        **{name: lists[name] for name in ("error_kind", "lists", "largest_bound", *figures)},
        "seed": config.embedding.seed,
        "source_type": config.list_source_type,
        "target_type": config.listed_type,
        "edge_source_type": interactions.source_type,
        "edge_target_type": interactions.target_type,
        "nodes": workspace.figures("node_index", IndexFigures).nodes,
    }


def write_lists(payload: PublishedLists, attempt: Attempt) -> int:
    """Task: one file of the table; returns how many of its lists are empty."""
    nodes, target_type = payload.nodes, payload.target_type
    ids = NodeIds(nodes.node_index)
    targets = _TargetIds(ids, nodes, target_type, payload.top_k)
    text = json.dumps(payload.metadata, sort_keys=True, allow_nan=False)
    contract = PPR_NEIGHBOR_LISTS if payload.table == PPR_NEIGHBORS else NEIGHBOR_LISTS_BY_FILTER
    schema = contract.schema_for(nodes.id_type).with_metadata({"graphquilt": text})
    lists = _ListsBySource([storage.map_arrow(file) for file in payload.lists])
    leaves = {"neighbor_ids": "neighbor_ids.list.element", "scores": "scores.list.element"}
    empty = 0
    with pq.ParquetWriter(
        attempt.path(payload.table, "parquet"),
        schema,
        compression={leaves.get(name, name): "none" if name == "scores" else "zstd" for name in schema.names},
        use_dictionary=["node_type", "neighbor_type"],
        write_statistics=["node_type", "node_id"],
    ) as writer:
        for node_type, start, end in row_groups(payload.bounds, nodes.types, ROW_GROUP_LISTS):
            batch = lists.between(start, end)
            if not batch.num_rows:
                continue
            node_ix = storage.column(batch, "node_ix")
            table = pa.Table.from_arrays(
                [
                    pa.repeat(node_type, batch.num_rows),
                    ids.between(start, end).take(pa.array(node_ix - start)),
                    pa.repeat(target_type, batch.num_rows),
                    *targets.columns_of(batch, schema),
                    batch["error_bound"],
                ],
                schema=schema,
            )
            table = nodes.without_excluded(table, node_type)
            if table.num_rows:
                writer.write_table(table, row_group_size=ROW_GROUP_LISTS)
                empty += pc.sum(pc.equal(pc.list_value_length(table["scores"]), 0)).as_py()
    return empty


class _ListsBySource:
    """Lists by source, from files that ascend."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self._tables = [table for table in tables if table.num_rows]
        self._node_ix = [storage.column(table, "node_ix") for table in self._tables]

    def between(self, start: int, end: int) -> pa.Table:
        """Return the lists of a range of nodes, in one chunk."""
        pieces = []
        for table, node_ix in zip(self._tables, self._node_ix, strict=True):
            first, stop = np.searchsorted(node_ix, [start, end])
            pieces.append(table.slice(int(first), int(stop - first)))
        return pa.concat_tables(pieces or [NEIGHBOR_LISTS.schema.empty_table()]).combine_chunks()


class _TargetIds:
    """Ids of the nodes that lists hold, and which of them are left out of the published tables."""

    def __init__(self, ids: NodeIds, nodes: PublishedNodes, node_type: str, top_k: int) -> None:
        self._first, stop = nodes.types[node_type]
        self._ids, self._top_k = ids.between(self._first, stop), top_k
        self._is_excluded = nodes.find_excluded(node_type, self._ids)

    def columns_of(self, lists: pa.Table, schema: pa.Schema) -> tuple[pa.Array, pa.Array]:
        """Return the columns neighbor_ids and scores; of what is not excluded, the first ``top_k`` of each list."""
        (neighbors,), (list_scores,) = lists["neighbor_ix"].chunks, lists["scores"].chunks
        lengths = np.diff(neighbors.offsets.to_numpy())
        position: NDArray[np.int64] = neighbors.flatten().to_numpy() - self._first
        scores = list_scores.flatten().to_numpy()
        if self._is_excluded is not None:
            row = np.repeat(np.arange(lengths.size), lengths)
            is_published = ~self._is_excluded[position]
            counts = np.bincount(row[is_published], minlength=lengths.size)
            first_rank = np.repeat(offsets_of(counts)[:-1], lengths)
            rank: NDArray[np.int64] = np.cumsum(is_published) - first_rank  # among the published, from 1
            is_published &= rank <= self._top_k
            position, scores = position[is_published], scores[is_published]
            lengths = np.minimum(counts, self._top_k)
        offsets = pa.array(offsets_of(lengths).astype(np.int32))
        ids = self._ids.take(pa.array(position))
        return (
            pa.ListArray.from_arrays(offsets, ids, type=schema.field("neighbor_ids").type),
            pa.ListArray.from_arrays(offsets, pa.array(scores), type=schema.field("scores").type),
        )


def _write(run: TableRun) -> WrittenTable[PublishedListFigures]:
    keys = {"restart", "tolerance", "degree_correction", "edge_degree_power"}
    figures = ("solver", "solver_reason", "across")
    metadata = lists_metadata(run.config, run.workspace, PPR_NEIGHBOR_LISTS, keys, figures)
    return write_neighbors(run, metadata | {"method": "ppr"}, PublishedListFigures)


TABLE = PublishedTable(
    name=PPR_NEIGHBORS,
    contract=lambda _: PPR_NEIGHBOR_LISTS,
    is_wanted=lambda config: config.ppr.neighbors,
    write=_write,
    figures=PublishedListFigures,
    metadata="lists_metadata",
    counts=("lists",),
)
