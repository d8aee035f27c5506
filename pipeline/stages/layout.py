"""indexed_edges, node_parts -> joined_edges, blocks: all relations as one graph, each part as arrays of its own.

Modes lay out other blocks, and some lay out more of them: see :data:`LAYOUTS`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.ingest.attributes.numbering import hand_to_blocks
from pipeline.partitioning.cutting import Bounds
from pipeline.partitioning.figures import LayoutFigures
from pipeline.partitioning.layouts import border_graph, exchange, halo, induced, quotient
from pipeline.partitioning.layouts.block_sets import BlockLayout, NodeTables, PartTables, loss_note
from pipeline.stages.joined_relations import join_relations
from pipeline.stages.outcome import Outcome, OutputFile, describe_task_files
from pipeline.tasks import TaskFolder
from pipeline.workspace import Workspace

NAME = "layout"

log = logging.getLogger(__name__)


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Bring every part's edges together and write its block, and the blocks that the mode adds."""
    boundary, tasks = config.embedding.boundary, TaskFolder(engine, workspace.work(NAME))
    joined_tables = join_relations(engine, config, workspace, tasks)
    tables = _part_tables(workspace, joined_tables)
    layout = LAYOUTS[boundary](tasks, tables, config)
    if len(tables.parts) > 1 and (note := loss_note(boundary)):
        log.info("stage=%s note: %s", NAME, note)
    for warning in layout.warnings:
        log.warning("stage=%s warning: %s", NAME, warning)
    block_records = [record for blocks in layout.sets for record in blocks.block_records]
    node_files = [
        (blocks.name, part, record.file("nodes"))
        for blocks in layout.sets
        for part, record in zip(blocks.parts, blocks.block_records, strict=True)
    ]
    features = hand_to_blocks(engine, node_files, workspace.files("node_features"), tasks.folder)
    route_records = [record for blocks in layout.sets for record in blocks.route_records]
    files = {
        "block_nodes": describe_task_files(block_records, "nodes"),
        "block_edges": describe_task_files(block_records, "edges"),
        "block_routes": describe_task_files(route_records, "routes"),
        "kept_weights": describe_task_files(block_records, "kept"),
        "block_features": describe_task_files(features, "features"),
        **joined_tables,
    }
    return Outcome(files, codec.to_values(_figures(layout, boundary)), [*tasks.records, *features])


def _part_tables(workspace: Workspace, joined_tables: Mapping[str, Sequence[OutputFile]]) -> PartTables:
    tree = storage.read_parquet([workspace.files("partition_tree")[0]])
    columns = (tree[name].to_pylist() for name in ("part_id", "part_path", "is_leaf"))
    nodes, edges = ([file.path for file in joined_tables[table]] for table in ("joined_nodes", "joined_edges"))
    return PartTables(
        nodes=NodeTables(tuple(nodes or workspace.files("node_arrays")), workspace.files("node_parts")[0]),
        edges=tuple(edges or workspace.files("indexed_edges")),
        paths={part: path for part, path, is_leaf in zip(*columns, strict=True) if is_leaf},
    )


def _figures(layout: BlockLayout, boundary: str) -> LayoutFigures:
    sets = tuple(blocks.figures for blocks in layout.sets)
    return LayoutFigures(
        **vars(sets[0]), **vars(layout.figures), boundary=boundary, sets=sets, warnings=tuple(layout.warnings)
    )


def _border(tasks: TaskFolder, tables: PartTables, config: PipelineConfig) -> BlockLayout:
    partition = config.partition
    method = "multilevel" if partition.method == "auto" else partition.method
    bounds = Bounds(partition.max_edges, partition.max_bytes, config.embedding.dim)
    return border_graph.lay_out(tasks, tables, border_graph.BorderCut(method, partition.seed, bounds))


#: By embedding.boundary: which blocks there are.
LAYOUTS: Mapping[str, Callable[[TaskFolder, PartTables, PipelineConfig], BlockLayout]] = MappingProxyType(
    {
        "exchange": lambda tasks, tables, _: exchange.lay_out(tasks, tables),
        "halo": lambda tasks, tables, config: halo.lay_out(tasks, tables, config.embedding.halo_hops),
        "border": _border,
        "quotient": lambda tasks, tables, _: quotient.lay_out(tasks, tables),
        "drop": lambda tasks, tables, _: induced.lay_out(tasks, tables),
    }
)
