"""indexed_edges, node_arrays -> partition_tree, node_parts: cut the graph until every leaf fits.

Every cut is a task, the first one too: it reads a piece and writes its children. The driver knows the tree.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import codec, storage
from pipeline.blocks.arrays import NodeArrays, NodeParts
from pipeline.config.model import PipelineConfig
from pipeline.config.sections import PartitionConfig
from pipeline.engine import GRAPHFRAMES_HOW_TO, Engine, Frame
from pipeline.errors import ConfigError
from pipeline.ingest.figures import IndexFigures
from pipeline.partitioning.cutting import IMBALANCE, Bounds, CutPayload, PieceToCut, RootTables, cut_piece
from pipeline.partitioning.figures import LevelFigures, PartitionFigures
from pipeline.partitioning.homes import find_homes
from pipeline.partitioning.merging import merge_leaves
from pipeline.partitioning.pieces import PieceFiles, read_pairs
from pipeline.partitioning.task_folder import TaskFolder
from pipeline.partitioning.tree import (
    ROOT,
    PartPath,
    Tree,
    TreeFigures,
    one_block_figures,
    path_text,
    tree_figures,
    tree_table,
)
from pipeline.partitioning.wide.cut import WideOptions, cut_wide
from pipeline.partitioning.wide.node_roles import IndexFiles
from pipeline.partitioning.wide.top_levels import GraphSeeds, cut_bytes
from pipeline.planning.sizes import bounds_of
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.tasks import Attempt, TaskRecord
from pipeline.workspace import Workspace

NAME = "partition"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeCounts:
    """What the index stage says of the graph, as far as a cut needs it."""

    nodes: int
    edges: int
    shared: tuple[int, int] | None  # numbers of the nodes that are split; None: a plain graph

    @classmethod
    def read(cls, config: PipelineConfig, workspace: Workspace) -> NodeCounts:
        """Read the figures of the stage."""
        index = workspace.figures("node_index", IndexFigures)
        shared = None if config.input.is_plain else index.types[config.input.target_type]
        return cls(index.nodes, index.edges, shared)


@dataclass(frozen=True)
class FinishedCut:
    """Leaves and homes of a cut; ``homes`` has the table with role ``parts``."""

    paths: tuple[PartPath, ...]
    homes: TaskRecord[Any]
    figures: TreeFigures
    inversions: int
    empty_parts: int


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Cut the graph into leaves under the bounds, or into ``parts`` at once; give every node a home.

    Raises
    ------
    PartitionError : if a single node has more edges than a leaf may hold.
    """
    options, counts = config.partition, NodeCounts.read(config, workspace)
    seeds = _seeds(engine, config, workspace)
    bounds = bounds_of(config)
    tasks = TaskFolder(engine, workspace.work(NAME))
    fits = options.parts is None and bounds.excess(counts.nodes, counts.edges) <= 1
    if fits or options.parts == 1 or options.method == "none":
        cut = _find_homes(tasks, workspace, counts, {}, None, 0)
    elif cut_bytes(counts.nodes, counts.edges) > options.worker_bytes:
        cut = _cut_wide(tasks, options, workspace, counts, bounds, seeds)
    else:
        cut = _cut_narrow(tasks, options, workspace, counts, bounds)
    written = tasks.run(write_tree, "tree", TreePayload(cut.paths, cut.figures))
    figures = _figures(cut, options, bounds)
    _log(figures)
    tables = {
        "partition_tree": describe_task_files([written], "tree"),
        "node_parts": describe_task_files([cut.homes], "parts"),
    }
    return Outcome(tables, codec.to_values(figures), tasks.records)


def _seeds(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> GraphSeeds:
    """What the engine's own library says about the graph as a whole, when it is asked."""
    is_wanted = config.partition.top_seed == "graphframes"
    if is_wanted and engine.graph_tables is None:
        raise ConfigError(
            f"partition.top_seed is 'graphframes', which engine '{engine.name}' does not have here: "
            f"{GRAPHFRAMES_HOW_TO}; or set partition.top_seed = 'own'"
        )
    nodes, folder = workspace.figures("node_index", IndexFigures).nodes, workspace.work(NAME) / "graphframes"

    def components() -> Sequence[Path] | None:
        tables = engine.graph_tables
        files = workspace.files("indexed_edges")
        return None if tables is None else tables.components(files, nodes, folder / "components")

    def labels() -> Sequence[Path] | None:
        tables = engine.graph_tables if is_wanted else None
        files = workspace.files("indexed_edges")
        return None if tables is None else tables.label_propagation(files, nodes, folder / "labels")

    return GraphSeeds(components, labels)


def _cut_wide(
    tasks: TaskFolder,
    options: PartitionConfig,
    workspace: Workspace,
    counts: NodeCounts,
    bounds: Bounds,
    seeds: GraphSeeds,
) -> FinishedCut:
    """Cut a graph that no task can hold."""
    tables = IndexFiles(
        arrays=tuple(workspace.files("node_arrays")),
        edges=tuple(workspace.files("indexed_edges")),
        nodes=counts.nodes,
        shared=counts.shared,
        hub_degree=options.hub_degree,
        leaves=max(2, options.parts or math.ceil(bounds.excess(counts.nodes, counts.edges))),
        most_whole=None if options.parts else bounds.most_whole(),
    )

    def cut_further(level: Mapping[PartPath, PieceToCut]) -> tuple[Mapping[PartPath, PieceFiles], int]:
        return _cut_down(tasks, options, tables.arrays, bounds, level)

    wide = WideOptions(options.method, options.parts, bounds, counts.edges, options.seed, options.worker_bytes)
    cut = cut_wide(tasks.below("wide"), tables, wide, seeds, cut_further)
    homes = cut.homes
    return FinishedCut(homes.result.paths, homes, cut.figures, homes.result.inversions, cut.empty_parts)


def _cut_narrow(
    tasks: TaskFolder, options: PartitionConfig, workspace: Workspace, counts: NodeCounts, bounds: Bounds
) -> FinishedCut:
    """Cut a graph that fits a task: the root first, whose piece is read from the tables."""
    root = RootTables(tuple(workspace.files("indexed_edges")), counts.shared, options.hub_degree)
    parts = options.parts or bounds.children(counts.nodes, counts.edges)
    arrays = tuple(workspace.files("node_arrays"))
    leaves, empty_parts = _cut_down(tasks, options, arrays, bounds, {ROOT: PieceToCut(root, parts)})
    if len(leaves) == 1:  # nothing is cut: all nodes are whole, in the root
        leaves = {}
    return _find_homes(tasks, workspace, counts, leaves, tasks.records[0].file("between"), empty_parts)


def _cut_down(
    tasks: TaskFolder,
    options: PartitionConfig,
    arrays: tuple[Path, ...],
    bounds: Bounds,
    level: Mapping[PartPath, PieceToCut],
) -> tuple[Mapping[PartPath, PieceFiles], int]:
    """Cut level by level, all pieces of a level at once; return the leaves, and the number of empty parts."""
    method = "multilevel" if options.method == "auto" else options.method
    leaves: dict[PartPath, PieceFiles] = {}
    empty_parts = 0
    while level:
        payloads = {
            # Another seed at each depth: nodes of one child of a hash cut agree in the old hash.
            "cut-" + path_text(path, "-"): CutPayload(
                piece, method, arrays, None if options.parts else bounds, (options.seed + len(path) - 1) % 2**31
            )
            for path, piece in level.items()
        }
        next_level: dict[PartPath, PieceToCut] = {}
        for (path, piece), record in zip(level.items(), tasks.run_named(cut_piece, payloads), strict=True):
            sizes = record.result.children
            empty_parts += piece.parts - len(sizes)
            for number, size in enumerate(sizes):
                child, files = (*path, number), PieceFiles.of(record, str(number))
                if options.parts or bounds.excess(size.rows, size.edges) <= 1:
                    leaves[child] = files
                else:
                    next_level[child] = PieceToCut(files, bounds.children(size.rows, size.edges))
        log.info("stage=%s depth=%d cut=%d leaves=%d", NAME, len(path), len(level), len(leaves))
        level = next_level
    return leaves, empty_parts


@dataclass(frozen=True)
class HomesPayload:
    """Input of the task that finds all homes.

    Without ``leaves`` the root is the only one. ``between`` holds the edges between two nodes that may be split.
    """

    arrays: tuple[Path, ...]
    edges: int
    leaves: tuple[tuple[PartPath, PieceFiles], ...]
    between: Path | None


@dataclass(frozen=True)
class HomesResult:
    """The leaves after merging."""

    paths: tuple[PartPath, ...]
    figures: TreeFigures
    inversions: int


def _find_homes(
    tasks: TaskFolder,
    workspace: Workspace,
    counts: NodeCounts,
    leaves: Mapping[PartPath, PieceFiles],
    between: Path | None,
    empty_parts: int,
) -> FinishedCut:
    """Give all nodes homes in one task."""
    arrays = tuple(workspace.files("node_arrays"))
    homes = tasks.run(find_all_homes, "homes", HomesPayload(arrays, counts.edges, tuple(leaves.items()), between))
    return FinishedCut(homes.result.paths, homes, homes.result.figures, homes.result.inversions, empty_parts)


def find_all_homes(payload: HomesPayload, attempt: Attempt) -> HomesResult:
    """Task: find the homes of all nodes, write them, and count what every part stores."""
    arrays = NodeArrays(payload.arrays)
    degree = arrays.all("degree")
    files = dict(payload.leaves)
    paths: tuple[PartPath, ...] = (ROOT,)
    inversions = 0
    if not files:
        parts = NodeParts(np.where(degree > 0, 0, -1).astype(np.int32), np.zeros(degree.size, np.bool_))
        figures = one_block_figures(degree, payload.edges)
    else:
        assert payload.between is not None
        tree = Tree.of(files)
        leaves = [(part, files[path].map()) for part, path in enumerate(tree.paths) if path in files]
        merged = merge_leaves(tree, leaves, find_homes(arrays.nodes, leaves), degree)
        tree, leaves, parts, inversions = merged.tree, merged.leaves, merged.parts, merged.inversions
        paths = tuple(tree.paths[part] for part, _ in leaves)
        node_key = arrays.all("node_key").view(np.uint64)
        figures = tree_figures(tree, leaves, read_pairs(payload.between), parts, degree, node_key)
    parts.write(attempt.path("parts", "arrow"))
    return HomesResult(paths, figures, inversions)


@dataclass(frozen=True)
class TreePayload:
    """Input of the task that writes the tree."""

    leaves: tuple[PartPath, ...]
    figures: TreeFigures


def write_tree(payload: TreePayload, attempt: Attempt) -> None:
    """Task: write the tree with its figures."""
    storage.write_parquet(attempt.path("tree", "parquet"), tree_table(Tree.of(payload.leaves), payload.figures))


def _figures(cut: FinishedCut, options: PartitionConfig, bounds: Bounds) -> PartitionFigures:
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
