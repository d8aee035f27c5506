"""The whole graph as one block, however it is cut: what tasks that need all of it map from disk."""

from dataclasses import dataclass

import numpy as np

from pipeline.blocks.arrays import NodeArrays, RowKind
from pipeline.blocks.edge_files import EdgeFiles
from pipeline.blocks.local_block import make_block
from pipeline.config.graph_sides import span_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.walk_graph import GraphFiles
from pipeline.locations import Location
from pipeline.tasks import Attempt, TaskFolder, TaskRecord, TaskRunner
from pipeline.workspace import Workspace

_FOLDER = "whole_graph"


@dataclass(frozen=True)
class WholeGraphPayload:
    """Input of the task that makes one block of all edges."""

    node_arrays: tuple[Location, ...]
    edges: tuple[Location, ...]


def whole_graph(
    engine: TaskRunner, config: PipelineConfig, workspace: Workspace
) -> tuple[GraphFiles, list[TaskRecord[None]]]:
    """Return the files of the graph as one block, and the records of the tasks that made them.

    A tree with one part has them as its block. Otherwise one task makes them, once for a run's index: they stay
    beside the run's tables, and go with its date.
    """
    border = border_of(config, workspace)
    layout = workspace.find_manifest("block_nodes")
    if layout and layout.figures["boundary"] == "exchange" and len(layout.files) == 1:
        (nodes,), (edges,) = (workspace.files(table) for table in ("block_nodes", "block_edges"))
        return GraphFiles(nodes, edges, border), []
    payload = WholeGraphPayload(*(tuple(workspace.graph_files(table)) for table in ("node_arrays", "indexed_edges")))
    folder = workspace.run_folder / _FOLDER / workspace.fingerprints["layout" if config.has_relations else "index"]
    record = TaskFolder(engine, folder).run(build_whole, "whole", payload)
    return GraphFiles(record.file("nodes"), record.file("edges"), border), [record]


def border_of(config: PipelineConfig, workspace: Workspace) -> int | None:
    """Return the number of the first node of the second side; None where there is one."""
    if config.input.is_plain:
        return None
    types, sides = workspace.manifest("node_index").figures["types"], config.sides
    return max(span_of(side, types)[0] for side in (sides.rows, sides.columns))


def build_whole(payload: WholeGraphPayload, attempt: Attempt) -> None:
    """Task: the block of all edges."""
    nodes = NodeArrays(payload.node_arrays)
    edges = EdgeFiles(payload.edges).read_for_block(nodes.nodes)
    block = make_block(
        0,
        edges,
        nodes,
        np.zeros(nodes.nodes, np.int32),
        lambda node_ix, _: np.full(node_ix.size, RowKind.WHOLE, np.int8),
    )
    block.write(attempt.path("nodes", "arrow"), attempt.path("edges", "arrow"))
