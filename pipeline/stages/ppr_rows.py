"""The whole graph -> part_rows of hashed PPR: nodes dealt out to tasks, each of which has the whole graph."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.hashed import error_share, hashed_rows
from pipeline.embedding.ppr.walk_graph import GraphFiles, WalkGraph
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.embedding.row_files import RowFormat, write_rows
from pipeline.embedding.rows import Rows, Settings
from pipeline.engine import Engine, Frame
from pipeline.planning.pricing import Price
from pipeline.stages.outcome import Outcome, written_by_tasks
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, run_missing
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)

FORMS = frozenset({"hashed", "plain_hashed"})

#: Of one core of the machine that the tests run on: an entry that is pushed, where the state of a node is in its cache
#: and where it isn't; an entry and a node of the graph as a task opens it.
_PUSH_NEAR, _PUSH_FAR = 2e-9, 8e-9
_NEAR_BYTES, _STATE_BYTES = 48 << 20, 28
_OPEN_ENTRY, _OPEN_NODE = 15e-9, 50e-9
_TASK_SECONDS = 10.0  # what a lost worker costs
_OPENED = 10.0  # times what it takes to open the graph, at least
_ROW_BYTES_A_TASK = 1 << 26
#: Of a task beside its rows: an entry as it is mapped, a node's columns and state, sparse scores of 256 nodes.
_ENTRY_BYTES, _NODE_BYTES, _SCORES_BYTES = 8, 112, 64 << 20


def make_rows(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, settings: Settings) -> Outcome:
    """Push from every node; rows are those before norms are set, files ascending by node.

    Any number of tasks writes the same rows, and tasks that an earlier run finished are kept: how many there are
    depends on the graph and the configuration alone.
    """
    graph = workspace.manifest("node_index").figures
    seconds = seconds_for_rows(settings, graph["edges"])
    shards = shards_for_rows(config, settings, graph["edges"], seconds)
    log.info(
        'stage=embed shards=%d cpu_seconds_expected=%.1f reason="%s"',
        *(shards, seconds, "as ppr.shards says" if config.ppr.shards else "by the cost of a push from every node"),
    )
    files, built = whole_graph(engine, config, workspace)
    told = {"settings": settings.to_json(), "graph": files.to_json()}
    bounds = [settings.nodes * shard // shards for shard in range(shards + 1)]
    place = workspace.work("embed")
    tasks = [Task(f"rows-{n:05d}", place, {**told, "range": [*pair]}) for n, pair in enumerate(pairwise(bounds))]
    done = run_missing(engine, push_rows, tasks)
    figures = {
        "shards": shards,
        "sets": [len(done)],
        "sums": None,
        "rows_moved": {"partials": 0, "totals": 0},
        "floats_moved_per_node": 0.0,
        "found": {},
    }
    return Outcome({"part_rows": written_by_tasks(done, "rows"), "fold_in_rows": []}, figures, [*built, *done])


def push_rows(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: the rows of a range of nodes; those without edges have none."""
    settings = Settings.from_json(payload["settings"])
    walks = WalkGraph.read(GraphFiles.from_json(payload["graph"]))
    first, stop = walks.rows_between(*payload["range"])
    rows = Rows(hashed_rows(walks, first, stop, settings), np.zeros(stop - first))
    form = RowFormat(settings.dim, has_magnitude=False)
    write_rows(attempt.path("rows", BATCHES), walks.node_ix[first:stop], rows, form)
    return {"rows_rows": stop - first}


def seconds_for_rows(settings: Settings, edges: int) -> float:
    """Estimate the seconds of one core that all pushes take."""
    if not edges:
        return 0.0
    nodes, entries = settings.nodes, 2 * edges
    # The most that the theorem allows [2 ns for each of these on Gowalla, thresholds of 1 to 100 times 1 / nodes].
    pushed = entries / nodes / (error_share(settings) * settings.restart)
    is_near = nodes * _STATE_BYTES <= _NEAR_BYTES
    return nodes * pushed * (_PUSH_NEAR if is_near else _PUSH_FAR)


def shards_for_rows(config: PipelineConfig, settings: Settings, edges: int, seconds: float) -> int:
    """Return how many tasks share the nodes: as set, or so many that each is worth opening the graph for."""
    nodes = max(settings.nodes, 1)
    if config.ppr.shards is not None:
        return min(config.ppr.shards, nodes)
    opening = 2 * edges * _OPEN_ENTRY + nodes * _OPEN_NODE
    fewest = math.ceil(nodes * 4 * settings.dim / _ROW_BYTES_A_TASK)
    return min(max(math.ceil(seconds / max(_TASK_SECONDS, _OPENED * opening)), fewest), nodes)


def price_of_rows(
    config: PipelineConfig, settings: Settings, edges: int, slots: int, slowness: float, *, is_exact: bool
) -> Price:
    """Price the tasks: what is estimated is a push from every node; nothing is exchanged."""
    seconds = seconds_for_rows(settings, edges)
    shards = shards_for_rows(config, settings, edges, seconds)
    cpu = slowness * (seconds + shards * (2 * edges * _OPEN_ENTRY + settings.nodes * _OPEN_NODE))
    graph_bytes = 2 * edges * _ENTRY_BYTES + settings.nodes * _NODE_BYTES
    rows = math.ceil(settings.nodes / shards) * 4 * settings.dim
    return Price(
        parts=1,
        shards=shards,
        task_bytes=graph_bytes + rows + _SCORES_BYTES,
        floats_moved_per_node=0.0,
        cpu_seconds=cpu,
        wall_seconds=cpu / shards * math.ceil(shards / max(slots, 1)),
        tasks=shards,
        is_exact=is_exact,
    )
