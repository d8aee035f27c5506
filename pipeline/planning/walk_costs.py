"""What a walk index takes: its tasks, CPU seconds, memory and bytes, from counts alone."""

import math
from dataclasses import dataclass

from pipeline.config.model import PipelineConfig
from pipeline.planning.sizes import GraphCounts

#: Of a task, at least: some seconds. And so many for each entry of the graph, which a task reads whole.
_VISITS, _VISITS_AN_ENTRY = 1 << 26, 4
#: CPU seconds of a visit that is walked, counted and written, and of an entry of the graph that is written by rows.
_VISIT, _ENTRY = 7.2e-8, 1.8e-7
#: Of a task: the visits that it holds; a node's columns and an entry, which it maps.
_HELD_BYTES, _NODE_BYTES, _ENTRY_BYTES = 170 * 2**20, 48, 4


@dataclass(frozen=True)
class WalkCost:
    """CPU seconds of the index, how many tasks share them, and the memory of the largest."""

    cpu_seconds: float
    tasks: int
    task_bytes: int


def walk_cost(config: PipelineConfig, graph: GraphCounts) -> WalkCost | None:
    """Return what the index of a run takes; None where it has none."""
    ppr = config.ppr
    if not ppr.walk_index:
        return None
    a_node = ppr.index_walks / ppr.restart
    return WalkCost(
        graph.nodes * a_node * _VISIT + 2 * graph.edges * _ENTRY,
        walk_tasks(graph.nodes, graph.edges, a_node),
        _HELD_BYTES + graph.nodes * _NODE_BYTES + 2 * graph.edges * _ENTRY_BYTES,
    )


def walk_tasks(nodes: int, edges: int, visits_a_node: float) -> int:
    """Return how many tasks walk from the nodes of a graph."""
    return max(1, min(nodes, math.ceil(nodes * visits_a_node / max(_VISITS, _VISITS_AN_ENTRY * 2 * edges))))
