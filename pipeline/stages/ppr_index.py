"""The graph -> ppr_index: walks from every node, counted. Made when it is asked for, beside the chain."""

from __future__ import annotations

import math
from itertools import pairwise

from pipeline import codec
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.walk_index import WalkPayload, WalkRequest, walk_from_nodes
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.tasks import TaskFolder
from pipeline.workspace import Workspace

NAME = "ppr-index"

#: Of a task, at least: some tenths of a second. And so many for each entry of the graph, which a task reads whole.
_VISITS, _VISITS_AN_ENTRY = 1 << 23, 4
_MOST_NODES = 2**31  # the index holds their numbers in 32 bits


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Walk from all nodes, a range of them a task; ranges depend on the graph and the walks, not on the workers.

    Raises
    ------
    InputError : the graph has too many nodes for an index.
    """
    graph, ppr = workspace.manifest("node_index").figures, config.ppr
    nodes = int(graph["nodes"])
    if nodes > _MOST_NODES:
        raise InputError(f"the graph has {nodes:,} nodes; a walk index numbers {_MOST_NODES:,} at most")
    files, built = whole_graph(engine, config, workspace)
    expected = nodes * ppr.index_walks / ppr.restart
    count = max(1, min(nodes, math.ceil(expected / max(_VISITS, _VISITS_AN_ENTRY * 2 * int(graph["edges"])))))
    request = WalkRequest(ppr.restart, ppr.index_walks, ppr.edge_degree_power, config.embedding.seed)
    bounds = [nodes * number // count for number in range(count + 1)]
    payloads = [WalkPayload(files, request, span) for span in pairwise(bounds)]
    walked = TaskFolder(engine, workspace.work(NAME)).run_each(walk_from_nodes, "walk", payloads)
    tables, results = describe_task_files(walked, "index"), [record.result for record in walked]
    rows, size = sum(file.rows for file in tables), sum(record.files[0].bytes for record in walked)
    figures = {
        "nodes": rows,
        **codec.to_values(request),
        "visits": sum(result.visits for result in results),
        "entries": sum(result.entries for result in results),
        "bytes": size,
        "bytes_per_node": round(size / max(rows, 1), 2),
        "tasks": count,
    }
    return Outcome({"ppr_index": tables}, figures, [*built, *walked])
