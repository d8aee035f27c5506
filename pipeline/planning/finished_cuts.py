"""What finished tables say of the cut: the tree of its levels, the layout of its blocks, the index of degrees."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from pipeline.blocks.arrays import NodeArrays
from pipeline.config.model import PipelineConfig
from pipeline.planning.cuts import TREE_COUNTS, Cut, cuts_by_level
from pipeline.workspace import Workspace


def cuts_of_tree(workspace: Workspace) -> list[Cut]:
    """Return the cut of every level of the partition tree, the last that of its leaves; none of one block."""
    tree = pq.read_table(workspace.files("partition_tree")[0], partitioning=None)
    return cuts_by_level({name: tree[name].to_pylist() for name in TREE_COUNTS})


def cut_of_layout(workspace: Workspace) -> Cut:
    """Return what the blocks store, all of them; what travels between them is known where they exchange rows."""
    layout = workspace.manifest("block_nodes").figures
    rows, entries = (
        [count for blocks in layout["sets"] for count in blocks[name].values()] for name in ("rows", "entries")
    )
    if layout["boundary"] != "exchange" or len(rows) < 2:
        return Cut(rows, entries, copies=0, ghosts=0, homes=0)
    leaves = cuts_of_tree(workspace)[-1]
    return Cut(rows, entries, leaves.copies, leaves.ghosts, len(layout["splits"]))


def degrees_of(config: PipelineConfig, workspace: Workspace) -> list[tuple[int, int]]:
    """Return (degree, nodes with it) of the nodes that may be needed away from home: targets, or all of one type."""
    degree = NodeArrays(workspace.files("node_arrays")).all("degree")
    if not config.input.is_plain:
        first, stop = workspace.manifest("node_index").figures["types"][config.input.target_type]
        degree = degree[first:stop]
    counts = np.bincount(degree)
    return [(int(value), int(counts[value])) for value in np.flatnonzero(counts)]


def crossing_share(workspace: Workspace, edges: int) -> float:
    """Return the share of the edges whose ends are at home in different parts; 0 of one block."""
    tree = pq.read_table(workspace.files("partition_tree")[0], partitioning=None)
    leaves = tree.filter(tree["is_leaf"])
    stored, cut = (int(sum(leaves[name].to_pylist())) for name in ("edges", "cut"))
    # Of two whole nodes both parts store the edge, and both count it as cut.
    return (cut - (stored - edges)) / max(edges, 1)
