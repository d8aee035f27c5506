"""indexed_edges, node_arrays -> partition_tree, node_parts: cut the graph until every leaf fits.

Every cut is a task, the first one too: it reads a piece and writes its children. The driver knows the tree.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import NodeArrays, NodeParts
from pipeline.config.model import PipelineConfig
from pipeline.config.sections import PartitionConfig
from pipeline.engine import GRAPHFRAMES_HOW_TO, Engine, Frame
from pipeline.errors import ConfigError
from pipeline.partitioning.cutting import IMBALANCE, Bounds, cut_piece
from pipeline.partitioning.homes import find_homes
from pipeline.partitioning.merging import merge_leaves
from pipeline.partitioning.pieces import Piece, read_pairs
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
from pipeline.partitioning.wide.cut import CutFurtherResult, WideCut, cut_wide
from pipeline.partitioning.wide.node_roles import Source
from pipeline.partitioning.wide.top_levels import Seeds, cut_bytes
from pipeline.planning.sizes import bounds_of
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace

NAME = "partition"

log = logging.getLogger(__name__)


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Cut the graph into leaves under the bounds, or into ``parts`` at once; give every node a home.

    Raises
    ------
    PartitionError : if a single node has more edges than a leaf may hold.
    """
    wanted, index = config.partition, workspace.manifest("node_index").figures
    seeds = _seeds(engine, config, workspace)
    bounds = bounds_of(config)
    fits = wanted.parts is None and bounds.excess(index["nodes"], index["edges"]) <= 1
    place = workspace.work(NAME)
    if fits or wanted.parts == 1 or wanted.method == "none":
        cut = _place(engine, workspace, {ROOT: {}}, None)
    elif cut_bytes(index["nodes"], index["edges"]) > wanted.worker_bytes:
        cut = _cut_wide(engine, config, workspace, bounds, seeds)
    else:
        cut = _cut_narrow(engine, config, workspace, bounds)

    payload = {"leaves": [list(path) for path in cut.paths], "figures": cut.figures.to_json()}
    (written,) = run_missing(engine, write_tree, [Task("tree", place, payload)])
    tree = Tree.of(cut.paths)
    figures = _figures(tree, cut.figures)
    figures |= {
        "inversions": cut.homes.result.get("inversions", 0),
        "empty_parts_dropped": cut.empty_parts,
        "warnings": _warnings(figures, cut, config.partition, _most_bytes(tree, cut.figures, bounds)),
    }
    _log(figures)
    tables = {
        "partition_tree": describe_task_files([written], "tree"),
        "node_parts": describe_task_files([cut.homes], "parts"),
    }
    return Outcome(tables, figures, [*cut.records, written])


def _seeds(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Seeds:
    """What the engine's own library says about the graph as a whole, when it is asked."""
    is_wanted = config.partition.top_seed == "graphframes"
    if is_wanted and engine.graph_tables is None:
        raise ConfigError(
            f"partition.top_seed is 'graphframes', which engine '{engine.name}' does not have here: "
            f"{GRAPHFRAMES_HOW_TO}; or set partition.top_seed = 'own'"
        )
    nodes, folder = workspace.manifest("node_index").figures["nodes"], workspace.work(NAME) / "graphframes"

    def components() -> Sequence[Path] | None:
        tables = engine.graph_tables
        files = workspace.files("indexed_edges")
        return None if tables is None else tables.components(files, nodes, folder / "components")

    def labels() -> Sequence[Path] | None:
        tables = engine.graph_tables if is_wanted else None
        files = workspace.files("indexed_edges")
        return None if tables is None else tables.label_propagation(files, nodes, folder / "labels")

    return Seeds(components, labels)


def _cut_wide(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, bounds: Bounds, seeds: Seeds
) -> WideCut:
    """Cut a graph that no task can hold."""
    wanted, index = config.partition, workspace.manifest("node_index").figures
    source = Source(
        arrays=_names(workspace.files("node_arrays")),
        edges=_names(workspace.files("indexed_edges")),
        nodes=index["nodes"],
        shared=None if config.input.is_plain else tuple(index["types"][config.input.target_type]),
        hub_degree=wanted.hub_degree,
        leaves=max(2, wanted.parts or math.ceil(bounds.excess(index["nodes"], index["edges"]))),
        most_whole=None if wanted.parts else bounds.most_whole(),
    )

    def cut_further(pieces: Mapping[PartPath, tuple[Mapping[str, str], int, int]]) -> CutFurtherResult:
        level = {
            path: {"piece": dict(files), "parts": bounds.children(rows, edges)}
            for path, (files, rows, edges) in pieces.items()
        }
        return _cut_down(engine, config, workspace, bounds, level)

    return cut_wide(
        engine,
        source,
        wanted.method,
        wanted.parts,
        bounds,
        index["edges"],
        wanted.seed,
        wanted.worker_bytes,
        seeds,
        workspace.work(NAME) / "wide",
        cut_further,
    )


def _cut_narrow(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, bounds: Bounds) -> WideCut:
    """Cut a graph that fits a task: the root first, which makes its piece of the tables."""
    wanted, index = config.partition, workspace.manifest("node_index").figures
    root = {
        "edges": _names(workspace.files("indexed_edges")),
        "shared": None if config.input.is_plain else index["types"][config.input.target_type],
        "hub_degree": wanted.hub_degree,
    }
    parts = wanted.parts or bounds.children(index["nodes"], index["edges"])
    leaves, records, empty_parts = _cut_down(engine, config, workspace, bounds, {ROOT: {"root": root, "parts": parts}})
    if len(leaves) == 1:  # nothing is cut: all nodes are whole, in the root
        leaves = {ROOT: {}}
    placed = _place(engine, workspace, leaves, records[0].file("between"))
    return replace(placed, records=[*records, *placed.records], empty_parts=empty_parts)


def _cut_down(
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
    bounds: Bounds,
    level: Mapping[PartPath, Mapping[str, Any]],
) -> CutFurtherResult:
    """Cut level by level, all pieces of a level at once; return the leaves with the files of their pieces."""
    wanted = config.partition
    common = {
        "method": "multilevel" if wanted.method == "auto" else wanted.method,
        "arrays": _names(workspace.files("node_arrays")),
        "bounds": None if wanted.parts else bounds.to_json(),
    }
    leaves: dict[PartPath, Mapping[str, str]] = {}
    records: list[TaskRecord[Any]] = []
    empty_parts = 0
    while level:
        tasks = [
            # Another seed at each depth: nodes of one child of a hash cut agree in the old hash.
            Task(
                "cut-" + path_text(path, "-"),
                workspace.work(NAME),
                {**common, **piece, "seed": (wanted.seed + len(path) - 1) % 2**31},
            )
            for path, piece in level.items()
        ]
        done = run_missing(engine, cut_piece, tasks)
        records += done
        next_level: dict[PartPath, dict[str, Any]] = {}
        for (path, piece), record in zip(level.items(), done, strict=True):
            sizes = record.result["children"]
            empty_parts += piece["parts"] - len(sizes)
            for number, size in enumerate(sizes):
                child = (*path, number)
                files = {role: str(record.file(f"{role}{number}")) for role in ("nodes", "pairs")}
                rows, edges = size["rows"], size["edges"]
                if wanted.parts or bounds.excess(rows, edges) <= 1:
                    leaves[child] = files
                else:
                    next_level[child] = {"piece": files, "parts": bounds.children(rows, edges)}
        log.info("stage=%s depth=%d cut=%d leaves=%d", NAME, len(path), len(level), len(leaves))
        level = next_level
    return leaves, records, empty_parts


def _place(
    engine: Engine[Frame], workspace: Workspace, leaves: Mapping[PartPath, Mapping[str, str]], between: Path | None
) -> WideCut:
    """Give all nodes homes in one task."""
    payload = {
        "arrays": _names(workspace.files("node_arrays")),
        "edges": workspace.manifest("node_index").figures["edges"],
        "leaves": [[list(path), files] for path, files in leaves.items()],
        "between": None if between is None else str(between),
    }
    (homes,) = run_missing(engine, place_nodes, [Task("homes", workspace.work(NAME), payload)])
    paths = [tuple(path) for path in homes.result["paths"]]
    return WideCut(paths, homes, TreeFigures.from_json(homes.result["figures"]), [homes], 0)


def place_nodes(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: find the homes of all nodes, write them, and count what every part stores."""
    todo = payload
    arrays = NodeArrays([Path(file) for file in todo["arrays"]])
    degree = arrays.all("degree")
    files = {tuple(path): names for path, names in todo["leaves"]}
    paths, inversions = list(files), 0
    if set(files) == {ROOT}:
        parts = NodeParts(np.where(degree > 0, 0, -1).astype(np.int32), np.zeros(degree.size, np.bool_))
        figures = one_block_figures(degree, todo["edges"])
    else:
        tree = Tree.of(files)
        leaves = [
            (part, Piece.map(Path(files[path]["nodes"]), Path(files[path]["pairs"])))
            for part, path in enumerate(tree.paths)
            if path in files
        ]
        merged = merge_leaves(tree, leaves, find_homes(arrays.nodes, leaves), degree)
        tree, leaves, parts, inversions = merged.tree, merged.leaves, merged.parts, merged.inversions
        paths = [tree.paths[part] for part, _ in leaves]
        node_key = arrays.all("node_key").view(np.uint64)
        figures = tree_figures(tree, leaves, read_pairs(Path(todo["between"])), parts, degree, node_key)
    parts.write(attempt.path("parts", "arrow"))
    return {
        "parts_rows": int(parts.part_id.size),
        "paths": [list(path) for path in paths],
        "figures": figures.to_json(),
        "inversions": inversions,
    }


def write_tree(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: write the tree with its figures."""
    tree = Tree.of(tuple(path) for path in payload["leaves"])
    table = tree_table(tree, TreeFigures.from_json(payload["figures"]))
    storage.write_parquet(attempt.path("tree", "parquet"), table)
    return {"tree_rows": table.num_rows}


def _names(files: Sequence[Path]) -> list[str]:
    return [str(file) for file in files]


def _figures(tree: Tree, found: TreeFigures) -> dict[str, Any]:
    """Return the figures that people act on."""
    is_leaf = tree.is_leaf
    nodes, edges = max(int(found.nodes[0]), 1), max(int(found.edges[0]), 1)
    away, volume = found.split_nodes + found.ghosts, found.volume[is_leaf]
    levels = []
    for depth in range(1, int(tree.depth.max()) + 1):
        parts = np.flatnonzero(np.bincount(tree.ancestors(depth)[is_leaf], minlength=is_leaf.size))
        levels.append(
            {
                "depth": depth,
                "parts": parts.size,
                "cut_percent": round(100 * int(found.level_cut[depth]) / edges, 3),
                "copies_per_node": round(int(away[parts].sum()) / nodes, 4),
                "imbalance": _imbalance(found.volume[parts]),
            }
        )
    return {
        "parts": int(is_leaf.sum()),
        "levels": levels,
        "copies_per_node": round(int(away[is_leaf].sum()) / nodes, 4),
        "imbalance": _imbalance(volume),
        "largest_part": path_text(tree.paths[int(np.flatnonzero(is_leaf)[volume.argmax()])]),
        "most_edges": int(found.edges[is_leaf].max()),
    }


def _imbalance(volume: NDArray[np.int64]) -> float:
    return round(float(volume.max() / max(volume.mean(), 1.0)), 4)


def _most_bytes(tree: Tree, found: TreeFigures, bounds: Bounds) -> int:
    """Bytes of rows and entries of the leaf that takes the most."""
    rows = found.nodes + found.split_nodes + found.ghosts
    return max(bounds.bytes_of(int(rows[leaf]), int(found.edges[leaf])) for leaf in np.flatnonzero(tree.is_leaf))


def _warnings(figures: Mapping[str, Any], cut: WideCut, asked: PartitionConfig, most_bytes: int) -> list[str]:
    found = []
    if asked.parts and cut.empty_parts:
        # One warning: with fewer nodes than parts, nothing could have balanced them.
        found.append(
            f"{cut.empty_parts} of {asked.parts} parts got no nodes and were dropped: the graph has too few, "
            "or some too large; set partition.parts lower"
        )
    elif figures["imbalance"] > IMBALANCE:
        found.append(
            f"part {figures['largest_part']} has {figures['imbalance']:.2f} times the mean volume, more than "
            f"{IMBALANCE:.2f}: its tasks take that much longer than the others"
        )
    if asked.parts or asked.method == "none":  # whoever asks for parts asks for their sizes
        return found
    most = figures["most_edges"]
    if asked.max_edges and most > asked.max_edges:
        excess = f"stores {most:,} edges, and partition.max_edges is {asked.max_edges:,}"
    elif most_bytes > asked.max_bytes:
        excess = f"takes {most_bytes:,} bytes of rows and entries, and partition.max_bytes is {asked.max_bytes:,}"
    else:
        return found
    way_out = "raise partition.hub_degree" if asked.hub_degree else "set partition.hub_degree so that fewer are hubs"
    found.append(f"a part {excess}: edges between two hubs are placed after the cut; {way_out} if that matters")
    return found


def _log(figures: Mapping[str, Any]) -> None:
    for level in figures["levels"]:
        log.info(
            "stage=%s depth=%d parts=%d cut_percent=%.2f copies_per_node=%.3f imbalance=%.3f", NAME, *level.values()
        )
    log.info(
        "stage=%s parts=%d copies_per_node=%.3f imbalance=%.3f",
        *(NAME, figures["parts"], figures["copies_per_node"], figures["imbalance"]),
    )
    for warning in figures["warnings"]:
        log.warning("stage=%s warning: %s", NAME, warning)
