"""part_rows -> node_embeddings: join ids, finish and order the rows, write the table that readers get."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.blocks import NodeArrays, NodeParts
from pipeline.config import PipelineConfig
from pipeline.embedding.combine import Known, RowSet, rows_of
from pipeline.embedding.methods import method_for
from pipeline.embedding.rows import ColumnSums, Rows, Settings
from pipeline.engines.base import Engine, Frame
from pipeline.errors import ContractError
from pipeline.kernels.rows import column_sums, row_norms
from pipeline.stages.embed import settings_of
from pipeline.stages.outcome import Outcome, written_by_tasks
from pipeline.stages.published_metadata import metadata_of
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace
from schemas.tables import WEIGHT_UNIT, node_embeddings

NAME = "aggregate"

ROW_GROUP_ROWS = 65_536


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Write the published table's files, still in the workspace: publishing them is another stage's decision."""
    settings = settings_of(config, workspace)
    graph = workspace.manifest("node_index").figures
    tree = pq.read_table(workspace.files("partition_tree")[0], partitioning=None)
    common = {
        "settings": settings.to_json(),
        "sums": workspace.manifest("part_rows").figures["sums"],
        "sets": [rows.to_json() for rows in _row_sets(workspace)],
        "node_index": [str(file) for file in workspace.files("node_index")],
        "node_arrays": [str(file) for file in workspace.files("node_arrays")],
        "node_parts": str(workspace.files("node_parts")[0]),
        "paths": {
            str(part): path for part, path in zip(*(tree[c].to_pylist() for c in ("part_id", "part_path")), strict=True)
        },
        "types": graph["types"],
        "exclude_ids": {node_type: list(ids) for node_type, ids in config.publish.exclude_ids.items()},
    }
    bounds = list(range(0, graph["nodes"], config.publish.rows_per_file))
    ranges = [[first, min(first + config.publish.rows_per_file, graph["nodes"])] for first in bounds]
    place = str(workspace.work(NAME))
    if config.embedding.standardize_columns and len(common["sets"]) > 1:
        common["sums"] = _column_sums(engine, place, common, ranges)
    # Every file states the means of the whole table, so they are known before the first is written.
    surveyed = run_missing(
        engine,
        survey_rows,
        [Task(f"means-{n:05d}", place, {**common, "range": r}) for n, r in enumerate(ranges)],
    )
    metadata = {**metadata_of(config, settings, workspace, graph), "mean_vectors": _means(surveyed)}
    written = run_missing(
        engine,
        write_rows,
        [Task(f"rows-{n:05d}", place, {**common, "range": r, "metadata": metadata}) for n, r in enumerate(ranges)],
    )
    figures = {
        "rows": sum(int(record.result["rows_rows"]) for record in written),
        "zero_rows": sum(int(record.result["zero_rows"]) for record in written),
        "excluded": sum(int(record.result["excluded"]) for record in written),
        "dim": settings.dim,
        "metadata": metadata,
    }
    return Outcome({"node_embeddings": written_by_tasks(written, "rows")}, figures, [*surveyed, *written])


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
    engine: Engine[Frame], place: str, common: Mapping[str, Any], ranges: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Add up the columns of combined rows, which no single block has seen."""
    tasks = [Task(f"columns-{n:05d}", place, {**common, "range": r}) for n, r in enumerate(ranges)]
    first, *others = [ColumnSums.from_json(record.result["sums"]) for record in run_missing(engine, sum_columns, tasks)]
    return sum(others, start=first).to_json()


def sum_columns(task: Task, attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: column sums of the combined rows of one range, before the last step."""
    dim = Settings.from_json(task.payload["settings"]).dim
    total = ColumnSums(np.zeros(dim), np.zeros(dim), 0)
    for _, _, _, rows, strength in _combined_rows(task.payload):
        total += ColumnSums(*column_sums(rows.values, strength > 0))
    return {"sums": total.to_json()}


def survey_rows(task: Task, attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: sums of the published rows of one range, by type."""
    sums = _Sums()
    ids = _Ids(task.payload["node_index"]) if task.payload["exclude_ids"] else None
    for group in _finished_rows(task.payload):
        excluded = _excluded(group, ids.between(group.first, group.stop), task.payload) if ids else None
        sums.add(group.node_type, group.vectors if excluded is None else group.vectors[~excluded])
    return {"sums": sums.to_json()}


def write_rows(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task: one file of the published table."""
    payload = task.payload
    ids = _Ids(payload["node_index"])
    parts = NodeParts.map(Path(payload["node_parts"]))
    dim = Settings.from_json(payload["settings"]).dim
    id_type = pq.read_schema(payload["node_index"][0]).field("node_id").type
    text = json.dumps(payload["metadata"], sort_keys=True, allow_nan=False)
    schema = node_embeddings(dim).schema_for(id_type).with_metadata({"graphquilt": text})
    zero_rows = rows = 0
    with pq.ParquetWriter(
        attempt.path("rows", "parquet"),
        schema,
        # Vectors neither compress nor repeat; min and max of their entries help nobody.
        compression={name: "none" if name == "embedding" else "zstd" for name in _leaf_names(schema)},
        use_dictionary=["node_type", "cluster_path"],
        write_statistics=[name for name in schema.names if name != "embedding"],
    ) as writer:
        for group in _finished_rows(payload):
            node_id = ids.between(group.first, group.stop)
            home = parts.part_id[group.first : group.stop]
            table = _table_of(group, node_id, _paths_of(home, payload["paths"]), schema)
            excluded = _excluded(group, node_id, payload)
            if excluded is not None:
                table = table.filter(pa.array(~excluded))
            if table.num_rows:
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
                zero_rows += pc.sum(pc.equal(table["norm"], 0)).as_py()
                rows += table.num_rows
    first, stop = payload["range"]
    return {"rows_rows": rows, "zero_rows": zero_rows, "excluded": stop - first - rows}


@dataclass(frozen=True)
class _RowGroup:
    """Finished rows of a run of nodes of one type."""

    node_type: str
    first: int
    stop: int
    vectors: NDArray[np.float32]
    degree: NDArray[np.int64]
    strength: NDArray[np.float64]


def _combined_rows(payload: Mapping[str, Any]) -> Iterator[tuple[str, int, int, Rows, NDArray[np.float64]]]:
    """Yield (type, first, stop, rows, strength) of the row groups of a range of nodes, in the published order.

    Strength is 0 where there is no row: a node whose edges were all left out is a zero vector, like one that has
    none.
    """
    settings = Settings.from_json(payload["settings"])
    nodes = NodeArrays([Path(file) for file in payload["node_arrays"]])
    home = NodeParts.map(Path(payload["node_parts"])).part_id
    sets = [RowSet(**one) for one in payload["sets"]]
    for node_type, first, stop in _row_groups(payload["range"], payload["types"]):
        weight = nodes.take("weight", np.arange(first, stop))
        rows, is_made = rows_of(Known(first, sets, weight, home[first:stop], settings))
        yield node_type, first, stop, rows, np.where(is_made, weight * WEIGHT_UNIT, 0.0)


def _finished_rows(payload: Mapping[str, Any]) -> Iterator[_RowGroup]:
    """Yield the row groups of a range of nodes, in the published order."""
    settings = Settings.from_json(payload["settings"])
    method = method_for(settings)
    sums = ColumnSums.from_json(payload["sums"]) if payload["sums"] else None
    nodes = NodeArrays([Path(file) for file in payload["node_arrays"]])
    for node_type, first, stop, rows, strength in _combined_rows(payload):
        node_ix = np.arange(first, stop)
        method.finish(rows, node_ix, strength, sums, settings)
        if not np.isfinite(rows.values).all():
            broken = int((~np.isfinite(rows.values)).any(axis=1).sum())
            raise ContractError(
                f"{broken} of {stop - first} rows from node {first} on are not finite; nothing was published. Weights "
                "of very different size overflow float32: look at the largest weights and at the powers of degree."
            )
        weight = nodes.take("weight", node_ix) * WEIGHT_UNIT  # published as it is, whatever a mode left out
        yield _RowGroup(node_type, first, stop, rows.values, nodes.take("degree", node_ix), weight)


def _table_of(group: _RowGroup, node_id: pa.Array, cluster_path: pa.Array, schema: pa.Schema) -> pa.Table:
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


def _excluded(group: _RowGroup, node_id: pa.Array, payload: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    unwanted = payload["exclude_ids"].get(group.node_type)
    if not unwanted:
        return None
    texts = pa.array([str(value) for value in unwanted], pa.string())
    return pc.is_in(node_id.cast(pa.string()), texts).to_numpy(zero_copy_only=False)


def _leaf_names(schema: pa.Schema) -> list[str]:
    return [f"{name}.list.element" if name == "embedding" else name for name in schema.names]


def _row_groups(bounds: Sequence[int], types: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, int, int]]:
    """Ranges of at most ROW_GROUP_ROWS nodes that mix no types, ascending."""
    first, stop = bounds
    for node_type, (type_first, type_stop) in sorted(types.items(), key=lambda item: item[1][0]):
        for start in range(max(first, type_first), min(stop, type_stop), ROW_GROUP_ROWS):
            yield node_type, start, min(start + ROW_GROUP_ROWS, stop, type_stop)


class _Ids:
    """The node_id column by node number; only the row groups that are asked for are read."""

    def __init__(self, files: Sequence[str]) -> None:
        self._groups: list[tuple[int, int, pq.ParquetFile, int]] = []  # first node, one past the last, file, group
        start = 0
        for path in files:
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                self._groups.append((start, stop, file, group))
                start = stop

    def between(self, first: int, stop: int) -> pa.Array:
        """Return the ids of a range of nodes."""
        pieces = [
            file.read_row_group(group, columns=["node_id"]).slice(
                max(first - start, 0), min(stop, end) - max(first, start)
            )
            for start, end, file, group in self._groups
            if start < stop and first < end
        ]
        return pa.concat_tables(pieces)["node_id"].combine_chunks()


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


def _means(records: Sequence[TaskRecord]) -> dict[str, list[float]]:
    sums = _Sums()
    for record in records:
        for node_type, (rows, values) in record.result["sums"].items():
            sums.merge(node_type, np.array(values), rows)
    return sums.means()
