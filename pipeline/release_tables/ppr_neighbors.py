"""neighbor_lists -> ppr_neighbors: with ids, sorted for look-ups, cut as the table of embeddings is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import offsets_of
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.release_tables.finished_rows import NodeIds, excluded, row_groups
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import UNDATED, Workspace
from schemas.tables import NEIGHBOR_LISTS, PPR_NEIGHBOR_LISTS

ROW_GROUP_LISTS = 4_096
"""Of a hundred neighbours each: a look-up reads a few megabytes at most."""


def write_neighbors(
    engine: Engine[Frame],
    place: Path,
    config: PipelineConfig,
    workspace: Workspace,
    ranges: Sequence[Sequence[int]],
) -> list[TaskRecord[Any]]:
    """Write the published lists, one file for each range of nodes that holds sources; none if no lists were made."""
    if not config.ppr.neighbors:
        return []
    types = workspace.manifest("node_index").figures["types"]
    target_type = config.listed_type
    told = {
        "lists": [str(file) for file in workspace.files("neighbor_lists")],
        "node_index": [str(file) for file in workspace.files("node_index")],
        "types": types,
        "target_type": target_type,
        "top_k": config.ppr.top_k,
        "exclude_ids": {node_type: list(ids) for node_type, ids in config.publish.exclude_ids.items()},
        "metadata": neighbors_metadata(config, workspace),
    }
    of_type = config.ppr.source_type
    sources = list(types.values()) if of_type is None else [types[of_type]]
    ours = [bounds for bounds in ranges if any(max(bounds[0], first) < min(bounds[1], stop) for first, stop in sources)]
    tasks = [Task(f"neighbors-{n:05d}", place, {**told, "range": bounds}) for n, bounds in enumerate(ours)]
    return run_missing(engine, write_lists, tasks)


def neighbors_metadata(config: PipelineConfig, workspace: Workspace) -> dict[str, Any]:
    """Return what the table says of itself."""
    ppr, given = config.ppr, config.input
    made = workspace.manifest("neighbor_lists").figures["lists"]
    return {
        "table": PPR_NEIGHBOR_LISTS.name,
        "contract_version": PPR_NEIGHBOR_LISTS.version,
        "data_date": workspace.date.isoformat(),
        "undated": workspace.date == UNDATED,
        "window_days": given.window_days,
        "method": "ppr",
        **ppr.model_dump(
            mode="json",
            include={"restart", "tolerance", "top_k", "exclude_known", "degree_correction", "edge_degree_power"},
        ),
        **{name: made[name] for name in ("solver", "solver_reason", "error_kind", "across", "lists", "largest_bound")},
        "seed": config.embedding.seed,
        "source_type": ppr.source_type,
        "target_type": config.listed_type,
        "edge_source_type": given.source_type,
        "edge_target_type": given.target_type,
        "nodes": workspace.manifest("node_index").figures["nodes"],
    }


def write_lists(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: one file of the table."""
    ids, target_type = NodeIds(payload["node_index"]), payload["target_type"]
    first, stop = payload["types"][target_type]
    names = _Names(first, ids.between(first, stop), target_type, payload["exclude_ids"], payload["top_k"])
    id_type = pq.read_schema(payload["node_index"][0]).field("node_id").type
    text = json.dumps(payload["metadata"], sort_keys=True, allow_nan=False)
    schema = PPR_NEIGHBOR_LISTS.schema_for(id_type).with_metadata({"graphquilt": text})
    lists = _Lists([storage.map_arrow(Path(file)) for file in payload["lists"]])
    leaves = {"neighbor_ids": "neighbor_ids.list.element", "scores": "scores.list.element"}
    written = empty = 0
    with pq.ParquetWriter(
        attempt.path("neighbors", "parquet"),
        schema,
        compression={leaves.get(name, name): "none" if name == "scores" else "zstd" for name in schema.names},
        use_dictionary=["node_type", "neighbor_type"],
        write_statistics=["node_type", "node_id"],
    ) as writer:
        for node_type, start, end in row_groups(payload["range"], payload["types"], ROW_GROUP_LISTS):
            some = lists.between(start, end)
            if not some.num_rows:
                continue
            node_ix = storage.column(some, "node_ix")
            node_id = ids.between(start, end).take(pa.array(node_ix - start))
            table = pa.Table.from_arrays(
                [
                    _constant(node_type, some.num_rows),
                    node_id,
                    _constant(target_type, some.num_rows),
                    *names.lists_of(some, schema),
                    some["error_bound"],
                ],
                schema=schema,
            )
            unwanted = excluded(node_type, node_id, payload["exclude_ids"])
            if unwanted is not None:
                table = table.filter(pa.array(~unwanted))
            if table.num_rows:
                writer.write_table(table, row_group_size=ROW_GROUP_LISTS)
                written += table.num_rows
                empty += pc.sum(pc.equal(pc.list_value_length(table["scores"]), 0)).as_py()
    return {"neighbors_rows": written, "empty": empty}


class _Lists:
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


class _Names:
    """Ids of the nodes that lists hold, and which of them are left out of the published tables."""

    def __init__(
        self, first: int, node_id: pa.Array, node_type: str, exclude_ids: Mapping[str, Sequence[Any]], top_k: int
    ) -> None:
        self._first, self._ids, self._top_k = first, node_id, top_k
        self._unwanted = excluded(node_type, node_id, exclude_ids)

    def lists_of(self, lists: pa.Table, schema: pa.Schema) -> tuple[pa.Array, pa.Array]:
        """Return the columns neighbor_ids and scores."""
        (listed,), (scored,) = lists["neighbor_ix"].chunks, lists["scores"].chunks
        lengths = np.diff(listed.offsets.to_numpy())
        place: NDArray[np.int64] = listed.flatten().to_numpy() - self._first
        scores = scored.flatten().to_numpy()
        if self._unwanted is not None:
            row = np.repeat(np.arange(lengths.size), lengths)
            is_wanted = ~self._unwanted[place]
            left = np.bincount(row[is_wanted], minlength=lengths.size)
            rank: NDArray[np.int64] = np.cumsum(is_wanted) - np.repeat(
                offsets_of(left)[:-1], lengths
            )  # among those left, from 1
            is_wanted &= rank <= self._top_k
            place, scores, lengths = place[is_wanted], scores[is_wanted], np.minimum(left, self._top_k)
        offsets = pa.array(offsets_of(lengths).astype(np.int32))
        return (
            pa.ListArray.from_arrays(offsets, self._ids.take(pa.array(place)), type=schema.field("neighbor_ids").type),
            pa.ListArray.from_arrays(offsets, pa.array(scores), type=schema.field("scores").type),
        )


def _constant(value: str, rows: int) -> pa.Array:
    return pa.array([value]).take(pa.array(np.zeros(rows, np.int8)))
