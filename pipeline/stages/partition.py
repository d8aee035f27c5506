"""indexed_edges, node_arrays -> partition_tree, node_parts: cut the graph until every leaf fits.

Every cut is a task, the first one too: it reads a piece and writes its children. The driver knows the tree.
"""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import codec, storage
from pipeline.config.graph_sides import span_of
from pipeline.config.model import PipelineConfig
from pipeline.config.sections import PartitionConfig
from pipeline.engine import GRAPHFRAMES_HOW_TO, Engine, Frame, GraphTables
from pipeline.errors import ConfigError
from pipeline.ingest.figures import IndexFigures
from pipeline.locations import Location
from pipeline.partitioning.cutting import IMBALANCE, Bounds, CutOptions, GraphCut, IndexTables
from pipeline.partitioning.figures import LevelFigures, PartitionFigures
from pipeline.partitioning.narrow_cut import cut_narrow, keep_cut, keep_whole
from pipeline.partitioning.tree import PartPath, Tree, TreeFigures, path_text, tree_table
from pipeline.partitioning.wide.cut import cut_wide
from pipeline.partitioning.wide.top_levels import GraphSeeds, cut_bytes
from pipeline.planning.sizes import bounds_of
from pipeline.stages.night_tree import NightTree, describe_origin, measure, open_tree
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.tasks import Attempt, TaskFolder
from pipeline.workspace import Workspace

NAME = "partition"

log = logging.getLogger(__name__)


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Cut the graph into leaves under the bounds, or into ``parts`` at once; give every node a home.

    Raises
    ------
    PartitionError : if a single node has more edges than a leaf may hold. ConfigError : GraphFrames is asked for, and
        missing.
    """
    tables, seeds = _index_tables(config, workspace), _seeds(engine, config, workspace)
    options = _cut_options(config)
    tasks, kept_tree = TaskFolder(engine, workspace.work(NAME)), None
    fits = options.parts is None and options.fits_leaf(tables.nodes, tables.edge_count)
    if fits or options.parts == 1 or options.method == "none":
        cut = keep_whole(tasks, tables)
    elif cut_bytes(tables.nodes, tables.edge_count) > options.worker_bytes:
        partition = config.partition
        log.info("stage=%s components=%s top_seed=%s", NAME, partition.components, partition.top_seed)
        if workspace.inputs.tree:
            log.info('stage=%s cut_anew="the graph is larger than partition.worker_bytes"', NAME)
        cut = cut_wide(tasks, tables, options, seeds)
    else:
        cut, kept_tree = _cut_in_tasks(tasks, tables, options, config, workspace)
    tree_record = tasks.run(write_tree, "tree", TreePayload(cut.paths, cut.figures))
    figures = _figures(cut, config.partition, options.bounds)
    _log(figures)
    files = {
        "partition_tree": describe_task_files([tree_record], "tree"),
        "node_parts": describe_task_files([cut.homes], "parts"),
    }
    origin = describe_origin(config, workspace, measure(figures, options, tables), kept_tree)
    is_tree = figures.parts > 1  # one block is no tree to go on with
    return Outcome(files, codec.to_values(figures), tasks.records, {"node_parts": origin if is_tree else {}})


def _cut_in_tasks(
    tasks: TaskFolder, tables: IndexTables, options: CutOptions, config: PipelineConfig, workspace: Workspace
) -> tuple[GraphCut, NightTree | None]:
    """Cut a graph that fits a task along an earlier night's tree, or anew; return the tree that was kept."""
    tree = open_tree(workspace)
    if tree is None:
        return cut_narrow(tasks, tables, options), None
    cut = keep_cut(tasks.below("kept"), tables, options, tree.earlier)
    loss = tree.loss(measure(_figures(cut, config.partition, options.bounds), options, tables))
    log.info("stage=%s tree_of=%s%s", NAME, tree.date, f' cut_anew="{loss}"' if loss else "")
    return (cut_narrow(tasks, tables, options), None) if loss else (cut, tree)


def _index_tables(config: PipelineConfig, workspace: Workspace) -> IndexTables:
    index = workspace.figures("node_index", IndexFigures)
    return IndexTables(
        arrays=tuple(workspace.files("node_arrays")),
        edges=tuple(workspace.files("indexed_edges")),
        nodes=index.nodes,
        edge_count=index.edges,
        shared_range=None if config.input.is_plain else span_of(config.sides.columns, index.types),
    )


def _cut_options(config: PipelineConfig) -> CutOptions:
    partition = config.partition
    method = "multilevel" if partition.method == "auto" else partition.method
    names = ("parts", "hub_degree", "seed", "worker_bytes")
    return CutOptions(method, bounds=bounds_of(config), **{name: getattr(partition, name) for name in names})


def open_graph_tables(engine: Engine[Frame], partition: PartitionConfig, root: Location) -> GraphTables | None:
    """Return the engine's own library for graphs where a key asks for it, else None.

    Raises
    ------
    ConfigError : it is asked for, and missing; or the workspace is in an object store.
    """
    if not partition.asks_graphframes:
        return None
    cause = "partition.components or partition.top_seed is 'graphframes', and"
    way_out = "set both to 'own', the default"
    if not isinstance(root, Path):
        raise ConfigError(
            f"{cause} GraphFrames reads and writes through Spark, in a workspace that is a folder: {root} is in an "
            f"object store. Choose a folder that all nodes mount, or {way_out}"
        )
    try:
        return engine.open_graph_tables()
    except ConfigError as error:
        raise ConfigError(f"{cause} {error}: {GRAPHFRAMES_HOW_TO}; or {way_out}") from error


def _seeds(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> GraphSeeds:
    """Return what the engine's own library is asked about the graph as a whole."""
    partition = config.partition
    tables, work = open_graph_tables(engine, partition, workspace.root), workspace.work(NAME)
    if tables is None:
        return GraphSeeds(None, None)
    assert isinstance(work, Path)  # as the workspace is
    nodes, files = workspace.figures("node_index", IndexFigures).nodes, workspace.files("indexed_edges")
    folder = work / "graphframes"
    components = partial(tables.components, files, nodes, folder / "components")
    labels = partial(tables.label_propagation, files, nodes, folder / "labels")
    return GraphSeeds(
        components if partition.components == "graphframes" else None,
        labels if partition.top_seed == "graphframes" else None,
    )


@dataclass(frozen=True)
class TreePayload:
    """Input of the task that writes the tree."""

    leaves: tuple[PartPath, ...]
    figures: TreeFigures


def write_tree(payload: TreePayload, attempt: Attempt) -> None:
    """Task: write the tree with its figures."""
    storage.write_parquet(attempt.path("tree", "parquet"), tree_table(Tree.of(payload.leaves), payload.figures))


def _figures(cut: GraphCut, options: PartitionConfig, bounds: Bounds) -> PartitionFigures:
    """Return the figures that people act on."""
    tree, figures = Tree.of(cut.paths), cut.figures
    is_leaf, away = tree.is_leaf, figures.rows_away
    nodes, edges, volume = np.array(figures.nodes), np.array(figures.edges), np.array(figures.volume)
    all_nodes, all_edges = max(figures.nodes[0], 1), max(figures.edges[0], 1)
    levels = []
    for depth in range(1, int(tree.depth.max()) + 1):
        parts = np.flatnonzero(np.bincount(tree.ancestors(depth)[is_leaf], minlength=is_leaf.size))
        levels.append(
            LevelFigures(
                depth=depth,
                parts=parts.size,
                cut_percent=round(100 * figures.level_cut[depth] / all_edges, 3),
                copies_per_node=round(int(away[parts].sum()) / all_nodes, 4),
                imbalance=_imbalance(volume[parts]),
            )
        )
    largest = path_text(tree.paths[int(np.flatnonzero(is_leaf)[volume[is_leaf].argmax()])])
    imbalance, most_edges = _imbalance(volume[is_leaf]), int(edges[is_leaf].max())
    most_bytes = max(
        bounds.bytes_of(*size) for size in zip((nodes + away)[is_leaf].tolist(), edges[is_leaf].tolist(), strict=True)
    )
    warnings = [
        *_balance_warnings(cut.empty_parts, imbalance, largest, options),
        *_size_warnings(most_edges, most_bytes, options),
    ]
    return PartitionFigures(
        parts=int(is_leaf.sum()),
        levels=tuple(levels),
        copies_per_node=round(int(away[is_leaf].sum()) / all_nodes, 4),
        imbalance=imbalance,
        largest_part=largest,
        most_edges=most_edges,
        inversions=cut.inversions,
        empty_parts_dropped=cut.empty_parts,
        warnings=tuple(warnings),
    )


def _imbalance(volume: NDArray[np.int64]) -> float:
    return round(float(volume.max() / max(volume.mean(), 1.0)), 4)


def _balance_warnings(empty_parts: int, imbalance: float, largest_part: str, options: PartitionConfig) -> list[str]:
    if options.parts and empty_parts:
        # One warning: with fewer nodes than parts, nothing could have balanced them.
        return [
            f"{empty_parts} of {options.parts} parts got no nodes and were dropped: the graph has too few, "
            "or some too large; set partition.parts lower"
        ]
    if imbalance > IMBALANCE:
        return [
            f"part {largest_part} has {imbalance:.2f} times the mean volume, more than "
            f"{IMBALANCE:.2f}: its tasks take that much longer than the others"
        ]
    return []


def _size_warnings(most_edges: int, most_bytes: int, options: PartitionConfig) -> list[str]:
    if options.parts or options.method == "none":  # whoever asks for parts asks for their sizes
        return []
    if options.max_edges and most_edges > options.max_edges:
        excess = f"stores {most_edges:,} edges, and partition.max_edges is {options.max_edges:,}"
    elif most_bytes > options.max_bytes:
        excess = f"takes {most_bytes:,} bytes of rows and entries, and partition.max_bytes is {options.max_bytes:,}"
    else:
        return []
    way_out = "raise partition.hub_degree" if options.hub_degree else "set partition.hub_degree so that fewer are hubs"
    return [f"a part {excess}: edges between two hubs are placed after the cut; {way_out} if that matters"]


def _log(figures: PartitionFigures) -> None:
    for level in figures.levels:
        log.info(
            "stage=%s depth=%d parts=%d cut_percent=%.2f copies_per_node=%.3f imbalance=%.3f",
            *(NAME, level.depth, level.parts, level.cut_percent, level.copies_per_node, level.imbalance),
        )
    log.info(
        "stage=%s parts=%d copies_per_node=%.3f imbalance=%.3f",
        *(NAME, figures.parts, figures.copies_per_node, figures.imbalance),
    )
    for warning in figures.warnings:
        log.warning("stage=%s warning: %s", NAME, warning)
