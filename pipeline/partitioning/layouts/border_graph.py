"""Mode ``border``: induced parts, and beside them the border graph, cut again where it is too large for one block.

The border graph holds the cut edges and their ends. Lin, "Large-scale network embedding in Apache Spark" (DistNE),
KDD 2021, arXiv 2106.10620, takes the subgraph induced on these ends instead, which on graphs with hubs is nearly
the whole graph again [Gowalla, 16 parts: 81 % of the nodes are ends of cut edges, which are 32 % of the edges]:
it would not get smaller from level to level, and edges inside parts would count twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import codec
from pipeline.blocks.arrays import NodeArrays, NodeParts
from pipeline.blocks.edge_files import read_edges, slices_for
from pipeline.partitioning.cutting import Bounds
from pipeline.partitioning.layouts.induced import CUT, Induced, induce, left_out, scatter_all
from pipeline.partitioning.layouts.laid_out import LaidOut, Sources
from pipeline.partitioning.partitioners import PARTITIONERS
from pipeline.partitioning.pieces import CutGraph
from pipeline.tasks import Attempt, Task, TaskRunner, run_missing

#: Border graphs of border graphs, after which what is still cut is left out: each takes columns from the others.
MOST_LEVELS = 4


def lay_out(runner: TaskRunner, sources: Sources, method: str, seed: int, bounds: Bounds) -> LaidOut:
    """Lay out the induced parts, then their border graph, then that one's, until one fits a block.

    Parameters
    ----------
    method, seed : of the partitioner that cuts a border graph.
    bounds : what a block may hold.
    """
    edges: list[Mapping[str, Any]] = [{"files": [file], "slices": []} for file in sources.edges]
    level = induce(runner, sources, "parts", edges, scatter_all)
    sets, records = [level.blocks], list(level.records)
    figures, levels, all_edges = left_out(level), [], level.edges
    for number in range(1, MOST_LEVELS + 1):
        if not level.cut_edges:
            break
        cut = [{"files": [], "slices": slices_for(CUT, [record], "edges")} for record in level.scattered]
        edges = [given for given in cut if given["slices"]]
        asked = {"method": method, "seed": (seed + number) % 2**31, "bounds": codec.to_values(bounds)}
        all_cut = {"files": [], "slices": [found for given in edges for found in given["slices"]]}
        task = Task(f"border-{number}-cut", sources.place, {**sources.nodes, **asked, "edges": all_cut})
        (placed,) = run_missing(runner, cut_border, [task])
        below = replace(sources, node_parts=str(placed.file("parts")))
        level = induce(runner, below, f"border-{number}", edges, scatter_all)
        sets.append(level.blocks)
        records += [placed, *level.records]
        levels.append({"nodes": placed.result["nodes"], "edges": level.edges, "parts": placed.result["parts"]})
    figures |= {"edges_left_out": level.cut_edges, "border_levels": levels}
    figures["edges_left_out_percent"] = round(100 * level.cut_edges / max(all_edges, 1), 3)
    return LaidOut(sets, records, figures, _warnings(level))


def _warnings(last: Induced) -> list[str]:
    if not last.cut_edges:
        return []
    return [
        f"after {MOST_LEVELS} border graphs {last.cut_edges:,} edges are still cut, and left out: raise "
        "partition.max_edges or max_bytes, or use a partition.method that cuts fewer edges"
    ]


def cut_border(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: place the nodes of a border graph: all in part 0 if they fit a block, else as a partitioner says.

    Cost
    ----
    One task holds the border graph's edges, 24 B each, and room to sort them.
    """
    todo = payload
    edges = read_edges(todo["edges"]).sorted_once()
    arrays = NodeArrays([Path(file) for file in todo["arrays"]])
    is_here = np.zeros(arrays.nodes, np.bool_)
    is_here[edges.src] = True
    is_here[edges.dst] = True
    node_ix = np.flatnonzero(is_here)
    label = np.zeros(node_ix.size, np.int32)
    bounds = Bounds(**todo["bounds"])
    if bounds.excess(node_ix.size, edges.src.size) > 1:
        left, right = (np.searchsorted(node_ix, ends).astype(np.int32) for ends in (edges.src, edges.dst))
        graph = CutGraph(left, right, _degrees(left, right), arrays.take("node_key", node_ix).view(np.uint64))
        wanted = bounds.children(node_ix.size, edges.src.size)
        label = PARTITIONERS[todo["method"]](graph, wanted, todo["seed"])
    part_id = np.full(arrays.nodes, -1, np.int32)
    part_id[node_ix] = label
    NodeParts(part_id, np.zeros(arrays.nodes, np.bool_)).write(attempt.path("parts", "arrow"))
    return {"nodes": int(node_ix.size), "parts": int(np.unique(label).size)}


def _degrees(left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int64]:
    nodes = int(max(left.max(), right.max())) + 1
    return np.bincount(left, minlength=nodes) + np.bincount(right, minlength=nodes)
