"""indexed_edges, node_parts -> blocks: each part as arrays that one task can open by itself.

Three waves of tasks, whose exchange goes through files: edges to the parts that store them, blocks, and then
routes (which home rows the other parts need). With one part there is nothing to exchange.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks import Block, NodeArrays, NodeParts, RowKind, read_slice, write_routes, write_slices
from pipeline.config import PipelineConfig
from pipeline.engines.base import Engine, Frame
from pipeline.kernels.adjacency import ordered_adjacency
from pipeline.partitioning.placement import stored_at
from pipeline.stages.outcome import Outcome, written_by_tasks
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace
from schemas.tables import INDEXED_EDGES, WEIGHT_UNIT

NAME = "layout"

_NEEDS = pa.schema([pa.field("node_ix", pa.int64(), nullable=False)])
_SPARSE = 4  # a map over all nodes is made where there are fewer than this many nodes an edge


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:  # noqa: ARG001
    """Bring every part's edges together and write its block."""
    tree = pq.read_table(workspace.files("partition_tree")[0], partitioning=None)
    parts = [
        int(part)
        for part, is_leaf in zip(*(tree[c].to_pylist() for c in ("part_id", "is_leaf")), strict=True)
        if is_leaf
    ]
    nodes = {
        "arrays": [str(file) for file in workspace.files("node_arrays")],
        "parts": str(workspace.files("node_parts")[0]),
    }
    edges = workspace.files("indexed_edges")
    place = str(workspace.work(NAME))
    if len(parts) == 1:
        sources: dict[int, dict[str, Any]] = {parts[0]: {"edges": [str(file) for file in edges], "slices": []}}
        scattered: list[TaskRecord] = []
    else:
        scattered = run_missing(
            engine,
            scatter_edges,
            [Task(f"scatter-{number:05d}", place, {**nodes, "edges": str(file)}) for number, file in enumerate(edges)],
        )
        sources = {part: {"edges": [], "slices": slices_for(part, scattered, "edges")} for part in parts}
    built = run_missing(
        engine,
        build_block,
        [Task(f"build-{part:05d}", place, {**nodes, **sources[part], "part": part}) for part in parts],
    )
    routed = run_missing(
        engine,
        route_rows,
        [
            Task(
                f"route-{part:05d}",
                place,
                {"nodes": str(record.file("nodes")), "needs": _needs_by_part(part, parts, built)},
            )
            for part, record in zip(parts, built, strict=True)
        ],
    )
    tables = {
        "block_nodes": written_by_tasks(built, "nodes"),
        "block_edges": written_by_tasks(built, "edges"),
        "block_routes": written_by_tasks(routed, "routes"),
    }
    figures = {
        "parts": parts,
        "rows": {str(part): record.result["nodes_rows"] for part, record in zip(parts, built, strict=True)},
        "entries": {str(part): record.result["edges_rows"] for part, record in zip(parts, built, strict=True)},
        "splits": [part for part, record in zip(parts, built, strict=True) if record.result["splits"]],
    }
    return Outcome(tables, figures, [*scattered, *built, *routed])


def slices_for(part: int, records: Sequence[TaskRecord], role: str) -> list[list[Any]]:
    """Return [file, batch] of every slice with a role that is addressed to a part, in task order."""
    found = []
    for record in records:
        where = record.result[f"{role}_slices"].get(str(part))
        if where:
            found.append([str(record.file(role)), where[0]])
    return found


def _needs_by_part(part: int, parts: Sequence[int], built: Sequence[TaskRecord]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for sender, record in zip(parts, built, strict=True):
        found.extend([sender, *where] for where in slices_for(part, [record], "needs"))
    return found


def scatter_edges(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task: sort one file's edges by the parts that store them."""
    src, dst, weight = _read_edges([Path(task.payload["edges"])])
    nodes = NodeArrays([Path(file) for file in task.payload["arrays"]])
    parts = NodeParts.map(Path(task.payload["parts"]))
    first, second = stored_at(src, dst, parts, nodes.all("degree"), nodes.all("node_key").view(np.uint64))
    twice = np.flatnonzero(second >= 0)
    edge = np.concatenate([np.arange(src.size), twice])
    receiver = np.concatenate([first, second[twice]])
    order = np.argsort(receiver, kind="stable")
    edge, receiver = edge[order], receiver[order]
    receivers, starts = np.unique(receiver, return_index=True)
    stops = np.append(starts[1:], receiver.size)
    slices = {
        int(part): pa.record_batch(
            [column[edge[first_edge:stop]] for column in (src, dst, weight)], schema=INDEXED_EDGES.schema
        )
        for part, first_edge, stop in zip(receivers, starts, stops, strict=True)
    }
    return {"edges_slices": write_slices(attempt.path("edges", "arrow"), INDEXED_EDGES.schema, slices)}


def build_block(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task: turn a part's edges into its block, and say which rows of other homes it needs."""
    part = int(task.payload["part"])
    if task.payload["edges"]:
        src, dst, weight = _read_edges([Path(file) for file in task.payload["edges"]])
    else:
        batches = [read_slice(Path(file), number) for file, number in task.payload["slices"]]
        src, dst, weight = (np.concatenate([batch.column(i).to_numpy() for batch in batches]) for i in range(3))
    nodes = NodeArrays([Path(file) for file in task.payload["arrays"]])
    parts = NodeParts.map(Path(task.payload["parts"]))
    node_ix, left, right = _local_rows(src, dst, nodes.nodes)
    home, is_split = parts.part_id[node_ix], parts.is_split[node_ix]
    kind = np.select(
        [(home == part) & ~is_split, home == part, is_split],
        [RowKind.WHOLE, RowKind.SPLIT, RowKind.COPY],
        RowKind.GHOST,
    ).astype(np.int8)
    node_key = nodes.take("node_key", node_ix).view(np.uint64)
    is_unweighted = bool((weight == weight[:1]).all()) and weight[0] == round(1 / WEIGHT_UNIT)
    indptr, neighbor, edge_weight = ordered_adjacency(
        left,
        right,
        None if is_unweighted else (weight * WEIGHT_UNIT).astype(np.float32),
        kind != RowKind.GHOST,
        node_key,
    )
    block = Block(
        part_id=part,
        node_ix=node_ix,
        node_key=node_key,
        kind=kind,
        home=home,
        degree=nodes.take("degree", node_ix),
        weight=nodes.take("weight", node_ix),
        indptr=indptr,
        neighbor=neighbor,
        edge_weight=edge_weight,
        routes={},
    )
    block.write(attempt.path("nodes", "arrow"), attempt.path("edges", "arrow"))
    away = np.flatnonzero(kind >= RowKind.COPY)
    needs = {
        int(other): pa.record_batch([node_ix[away[home[away] == other]]], schema=_NEEDS)
        for other in np.unique(home[away])
    }
    return {
        "nodes_rows": node_ix.size,
        "edges_rows": neighbor.size,
        "splits": int((kind == RowKind.SPLIT).sum()),
        "needs_slices": write_slices(attempt.path("needs", "arrow"), _NEEDS, needs),
    }


def route_rows(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task: turn what the other parts need from this home into local rows."""
    node_ix = storage.column(storage.map_arrow(Path(task.payload["nodes"])), "node_ix")
    routes = {
        int(receiver): np.searchsorted(node_ix, read_slice(Path(file), number).column(0).to_numpy()).astype(np.int32)
        for receiver, file, number in task.payload["needs"]
    }
    write_routes(attempt.path("routes", "arrow"), routes)
    return {"routes_rows": sum(rows.size for rows in routes.values())}


def _read_edges(files: Sequence[Path]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    tables = [pq.read_table(file, columns=INDEXED_EDGES.schema.names, partitioning=None) for file in files]
    table = pa.concat_tables(tables)
    src, dst, weight = (table.column(name).to_numpy() for name in INDEXED_EDGES.schema.names)
    return src, dst, weight


def _local_rows(
    src: NDArray[np.int64], dst: NDArray[np.int64], nodes: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return the node numbers of the rows, ascending, and both ends of the edges as rows."""
    if nodes <= _SPARSE * src.size:
        is_here = np.zeros(nodes, np.bool_)
        is_here[src] = True
        is_here[dst] = True
        node_ix = np.flatnonzero(is_here)
        row_of = np.empty(nodes, np.int32)
        row_of[node_ix] = np.arange(node_ix.size, dtype=np.int32)
        return node_ix, row_of[src], row_of[dst]
    node_ix, rows = np.unique(np.concatenate([src, dst]), return_inverse=True)
    return node_ix, rows[: src.size].astype(np.int32), rows[src.size :].astype(np.int32)
