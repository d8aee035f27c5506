"""indexed_edges, node_parts -> blocks: each part as arrays that one task can open by itself.

Three waves of tasks, whose exchange goes through files: edges to the parts that store them, blocks, and then
routes (which home rows the other parts need). With one part there is nothing to exchange. Modes that exchange no
rows lay out other blocks, and some lay out more of them: see :data:`LAYOUTS`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import NodeArrays, NodeParts, RowKind, read_slice, write_routes, write_slices
from pipeline.blocks.edge_files import read_edges, slices_for, write_edge_slices
from pipeline.blocks.local_block import make_block
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.ingest.attributes.blocks import hand_to_blocks
from pipeline.partitioning.cutting import Bounds
from pipeline.partitioning.layouts import border_graph, halo, induced, quotient
from pipeline.partitioning.layouts.laid_out import BlockSet, LaidOut, Sources, loss_note
from pipeline.partitioning.placement import stored_at
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing
from pipeline.workspace import Workspace

NAME = "layout"

log = logging.getLogger(__name__)

_NEEDS = pa.schema([pa.field("node_ix", pa.int64(), nullable=False)])


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Bring every part's edges together and write its block, and the blocks that the mode adds."""
    sources = _sources(workspace)
    laid = LAYOUTS[config.embedding.boundary](engine, sources, config)
    first, *_ = laid.sets
    figures = {
        **first.figures,
        "sets": [blocks.figures for blocks in laid.sets],
        "boundary": config.embedding.boundary,
        **laid.figures,
        "warnings": list(laid.warnings),
    }
    if len(sources.parts) > 1 and (note := loss_note(config.embedding.boundary)):
        log.info("stage=%s note: %s", NAME, note)
    for warning in laid.warnings:
        log.warning("stage=%s warning: %s", NAME, warning)
    built = [record for blocks in laid.sets for record in blocks.built]
    blocks = [
        (one.name, part, record.file("nodes"))
        for one in laid.sets
        for part, record in zip(one.parts, one.built, strict=True)
    ]
    features = hand_to_blocks(engine, blocks, workspace.files("node_features"), sources.place)
    tables = {
        "block_nodes": describe_task_files(built, "nodes"),
        "block_edges": describe_task_files(built, "edges"),
        "block_routes": describe_task_files([record for blocks in laid.sets for record in blocks.routed], "routes"),
        "kept_weights": describe_task_files(built, "kept"),
        "block_features": describe_task_files(features, "features"),
    }
    return Outcome(tables, figures, [*laid.records, *features])


def _sources(workspace: Workspace) -> Sources:
    tree = pq.read_table(workspace.files("partition_tree")[0], partitioning=None)
    columns = (tree[name].to_pylist() for name in ("part_id", "part_path", "is_leaf"))
    return Sources(
        arrays=[str(file) for file in workspace.files("node_arrays")],
        node_parts=str(workspace.files("node_parts")[0]),
        edges=[str(file) for file in workspace.files("indexed_edges")],
        paths={int(part): path for part, path, is_leaf in zip(*columns, strict=True) if is_leaf},
        place=workspace.work(NAME),
    )


def exchange(engine: TaskRunner, sources: Sources) -> LaidOut:
    """Lay out blocks that exchange rows: whole, split, copies, ghosts, and routes."""
    place, parts = sources.place, sources.parts
    if len(parts) == 1:
        stored: dict[int, dict[str, Any]] = {parts[0]: {"edges": list(sources.edges), "slices": []}}
        scattered: list[TaskRecord[Any]] = []
    else:
        scattered = run_missing(
            engine,
            scatter_edges,
            [
                Task(f"scatter-{number:05d}", place, {**sources.nodes, "edges": str(file)})
                for number, file in enumerate(sources.edges)
            ],
        )
        stored = {part: {"edges": [], "slices": slices_for(part, scattered, "edges")} for part in parts}
    built = run_missing(
        engine,
        build_block,
        [Task(f"build-{part:05d}", place, {**sources.nodes, **stored[part], "part": part}) for part in parts],
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
    homes = sum(record.result["home_rows"] for record in built)
    return LaidOut([BlockSet("parts", parts, built, routed, homes)], [*scattered, *built, *routed])


def _border(engine: TaskRunner, sources: Sources, config: PipelineConfig) -> LaidOut:
    cut = config.partition
    method = "multilevel" if cut.method == "auto" else cut.method
    bounds = Bounds(cut.max_edges, cut.max_bytes, config.embedding.dim)
    return border_graph.lay_out(engine, sources, method, cut.seed, bounds)


#: By embedding.boundary: which blocks there are.
LAYOUTS: Mapping[str, Callable[[TaskRunner, Sources, PipelineConfig], LaidOut]] = MappingProxyType(
    {
        "exchange": lambda engine, sources, _: exchange(engine, sources),
        "halo": lambda engine, sources, config: halo.lay_out(engine, sources, config.embedding.halo_hops),
        "border": _border,
        "quotient": lambda engine, sources, _: quotient.lay_out(engine, sources),
        "drop": lambda engine, sources, _: induced.lay_out(engine, sources),
    }
)


def _needs_by_part(part: int, parts: Sequence[int], built: Sequence[TaskRecord[Any]]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for sender, record in zip(parts, built, strict=True):
        found.extend([sender, *where] for where in slices_for(part, [record], "needs"))
    return found


def scatter_edges(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: sort one file's edges by the parts that store them."""
    edges = read_edges({"files": [payload["edges"]], "slices": []})
    nodes = NodeArrays([Path(file) for file in payload["arrays"]])
    parts = NodeParts.map(Path(payload["parts"]))
    node_key = nodes.all("node_key").view(np.uint64)
    first, second = stored_at(edges.src, edges.dst, parts, nodes.all("degree"), node_key)
    twice = np.flatnonzero(second >= 0)
    stored = edges.take(np.concatenate([np.arange(first.size), twice]))
    receiver = np.concatenate([first, second[twice]])
    return {"edges_slices": write_edge_slices(attempt.path("edges", BATCHES), stored, receiver)}


def build_block(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: turn a part's edges into its block, and say which rows of other homes it needs."""
    part = int(payload["part"])
    nodes = NodeArrays([Path(file) for file in payload["arrays"]])
    parts = NodeParts.map(Path(payload["parts"]))

    def kind_of(node_ix: NDArray[np.int64], home: NDArray[np.int32]) -> NDArray[np.int8]:
        is_split = parts.is_split[node_ix]
        return np.select(
            [(home == part) & ~is_split, home == part, is_split],
            [RowKind.WHOLE, RowKind.SPLIT, RowKind.COPY],
            RowKind.GHOST,
        ).astype(np.int8)

    edges = read_edges({"files": payload["edges"], "slices": payload["slices"]})
    block = make_block(part, edges, nodes, parts.part_id, kind_of)
    block.write(attempt.path("nodes", "arrow"), attempt.path("edges", "arrow"))
    away = np.flatnonzero(block.kind >= RowKind.COPY)
    needs = {
        int(other): pa.record_batch([block.node_ix[away[block.home[away] == other]]], schema=_NEEDS)
        for other in np.unique(block.home[away])
    }
    return {
        "nodes_rows": block.node_ix.size,
        "home_rows": block.node_ix.size - away.size,
        "edges_rows": block.neighbor.size,
        "splits": int((block.kind == RowKind.SPLIT).sum()),
        "needs_slices": write_slices(attempt.path("needs", BATCHES), _NEEDS, needs),
    }


def route_rows(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: turn what the other parts need from this home into local rows."""
    node_ix = storage.column(storage.map_arrow(Path(payload["nodes"])), "node_ix")
    routes = {
        int(receiver): np.searchsorted(node_ix, read_slice(Path(file), number).column(0).to_numpy()).astype(np.int32)
        for receiver, file, number in payload["needs"]
    }
    write_routes(attempt.path("routes", "arrow"), routes)
    return {"routes_rows": sum(rows.size for rows in routes.values())}
