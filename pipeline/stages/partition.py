"""indexed_edges, node_arrays -> partition_tree, node_parts: cut the graph until every leaf fits.

Every cut is a task, the first one too: it reads a piece and writes its children. The driver knows the tree.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.blocks import NodeArrays, NodeParts
from pipeline.config import PipelineConfig
from pipeline.engines.base import Engine, Frame
from pipeline.partitioning.cutting import IMBALANCE, Bounds, cut_piece
from pipeline.partitioning.homes import find_homes
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
from pipeline.stages.outcome import Outcome, written_by_tasks
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace

NAME = "partition"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Cut:
    """What the cuts came to: leaves with the files of their pieces (the root has none), and the records."""

    leaves: Mapping[PartPath, Mapping[str, str]]
    records: Sequence[TaskRecord] = ()
    empty_parts: int = 0


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Cut the graph into leaves under the bounds, or into ``parts`` at once; give every node a home.

    Raises
    ------
    PartitionError : if a single node has more edges than a leaf may hold.
    """
    wanted, index = config.partition, workspace.manifest("node_index").figures
    bounds = Bounds(wanted.max_edges, wanted.max_bytes, config.embedding.dim)
    fits = wanted.parts is None and bounds.excess(index["nodes"], index["edges"]) <= 1
    if fits or wanted.parts == 1 or wanted.method == "none":
        cut = _Cut({ROOT: {}})
    else:
        cut = _cut_down(engine, config, workspace, bounds)

    place = str(workspace.work(NAME))
    payload = {
        "arrays": _names(workspace.files("node_arrays")),
        "edges": index["edges"],
        "leaves": [[list(path), files] for path, files in cut.leaves.items()],
        "between": str(cut.records[0].file("between")) if cut.records else None,
    }
    (homes,) = run_missing(engine, place_nodes, [Task("homes", place, payload)])
    payload = {"leaves": [list(path) for path in cut.leaves], "figures": homes.result["figures"]}
    (written,) = run_missing(engine, write_tree, [Task("tree", place, payload)])

    figures = _figures(Tree.of(cut.leaves), TreeFigures.from_json(homes.result["figures"]))
    figures |= {"empty_parts_dropped": cut.empty_parts, "warnings": _warnings(figures, cut, config)}
    _log(figures)
    tables = {
        "partition_tree": written_by_tasks([written], "tree"),
        "node_parts": written_by_tasks([homes], "parts"),
    }
    return Outcome(tables, figures, [*cut.records, homes, written])


def _cut_down(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, bounds: Bounds) -> _Cut:
    """Cut level by level, all pieces of a level at once."""
    wanted, index = config.partition, workspace.manifest("node_index").figures
    common = {
        "method": "metis" if wanted.method == "auto" else wanted.method,
        "arrays": _names(workspace.files("node_arrays")),
        "bounds": None if wanted.parts else bounds.to_json(),
    }
    root = {
        "edges": _names(workspace.files("indexed_edges")),
        "shared": None if config.input.is_plain else index["types"][config.input.target_type],
        "hub_degree": wanted.hub_degree,
    }
    parts = wanted.parts or bounds.children(index["nodes"], index["edges"])
    level: dict[PartPath, dict[str, Any]] = {ROOT: {"root": root, "parts": parts}}
    leaves: dict[PartPath, Mapping[str, str]] = {}
    records: list[TaskRecord] = []
    empty_parts = 0
    while level:
        tasks = [
            # Another seed at each depth: nodes of one child of a hash cut agree in the old hash.
            Task(
                "cut-" + path_text(path, "-"),
                str(workspace.work(NAME)),
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
    if len(leaves) == 1:  # nothing is cut: all nodes are whole, in the root
        leaves = {ROOT: {}}
    return _Cut(leaves, records, empty_parts)


def place_nodes(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task: find the homes of all nodes, write them, and count what every part stores."""
    todo = task.payload
    arrays = NodeArrays([Path(file) for file in todo["arrays"]])
    degree = arrays.all("degree")
    files = {tuple(path): names for path, names in todo["leaves"]}
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
        parts = find_homes(arrays.nodes, leaves)
        node_key = arrays.all("node_key").view(np.uint64)
        figures = tree_figures(tree, leaves, read_pairs(Path(todo["between"])), parts, degree, node_key)
    parts.write(attempt.path("parts", "arrow"))
    return {"parts_rows": int(parts.part_id.size), "figures": figures.to_json()}


def write_tree(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task: write the tree with its figures."""
    tree = Tree.of(tuple(path) for path in task.payload["leaves"])
    table = tree_table(tree, TreeFigures.from_json(task.payload["figures"]))
    storage.write_parquet(attempt.path("tree", "parquet"), table)
    return {"tree_rows": table.num_rows}


def _names(files: Sequence[Path]) -> list[str]:
    return [str(file) for file in files]


def _figures(tree: Tree, found: TreeFigures) -> dict[str, Any]:
    """Return the figures that people act on."""
    is_leaf = tree.is_leaf
    nodes, edges = max(int(found.nodes[0]), 1), max(int(found.edges[0]), 1)
    volume = found.volume[is_leaf]
    return {
        "parts": int(is_leaf.sum()),
        "levels": [
            {
                "depth": depth,
                "parts": int(np.unique(tree.ancestors(depth)[is_leaf]).size),
                "cut_percent": round(100 * int(found.level_cut[depth]) / edges, 3),
            }
            for depth in range(1, int(tree.depth.max()) + 1)
        ],
        "copies_per_node": round(int((found.split_nodes + found.ghosts)[is_leaf].sum()) / nodes, 4),
        "imbalance": round(float(volume.max() / max(volume.mean(), 1.0)), 4),
        "largest_part": path_text(tree.paths[int(np.flatnonzero(is_leaf)[volume.argmax()])]),
        "most_edges": int(found.edges[is_leaf].max()),
    }


def _warnings(figures: Mapping[str, Any], cut: _Cut, config: PipelineConfig) -> list[str]:
    asked, most = config.partition, figures["most_edges"]
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
    if asked.parts is None and asked.max_edges and cut.records and most > asked.max_edges:
        found.append(
            f"a part stores {most:,} edges, and partition.max_edges is {asked.max_edges:,}: edges between "
            "two hubs are placed after the cut; raise partition.hub_degree if that matters"
        )
    return found


def _log(figures: Mapping[str, Any]) -> None:
    for level in figures["levels"]:
        log.info("stage=%s depth=%d parts=%d cut_percent=%.2f", NAME, *level.values())
    log.info(
        "stage=%s parts=%d copies_per_node=%.3f imbalance=%.3f",
        *(NAME, figures["parts"], figures["copies_per_node"], figures["imbalance"]),
    )
    for warning in figures["warnings"]:
        log.warning("stage=%s warning: %s", NAME, warning)
