"""The whole graph -> part_rows of hashed PPR: nodes dealt out to tasks, each of which has the whole graph."""

import logging
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import spec_for
from pipeline.embedding.ppr.walk_graph import GraphFiles, WalkGraph
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.embedding.row_files import RowFormat, write_rows
from pipeline.embedding.rows import Rows
from pipeline.embedding.settings import Settings
from pipeline.engine import Engine, Frame
from pipeline.planning.hashed_costs import estimate_push_seconds, shards_of_rows
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)


def make_rows(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, settings: Settings) -> Outcome:
    """Push from every node; rows are those before norms are set, files ascending by node.

    Any number of tasks writes the same rows. How many there are depends on the graph and the configuration alone, so
    tasks that an earlier run finished count.
    """
    graph = workspace.manifest("node_index").figures
    seconds = estimate_push_seconds(settings, graph["edges"])
    shards = shards_of_rows(config, settings, graph["edges"], seconds)
    log.info(
        'stage=embed shards=%d cpu_seconds_expected=%.1f reason="%s"',
        *(shards, seconds, "as ppr.shards says" if config.ppr.shards else "by the cost of a push from every node"),
    )
    files, graph_records = whole_graph(engine, config, workspace)
    bounds = [settings.graph.nodes * shard // shards for shard in range(shards + 1)]
    payloads = [HashedRowsPayload(settings, files, span) for span in pairwise(bounds)]
    records = TaskFolder(engine, workspace.work("embed")).run_each(push_rows, "rows", payloads)
    figures = {
        "shards": shards,
        "sets": [len(records)],
        "sums": None,
        "rows_moved": {"partials": 0, "totals": 0},
        "floats_moved_per_node": 0.0,
        "found": {},
    }
    rows = describe_task_files(records, "rows")
    return Outcome({"part_rows": rows, "fold_in_rows": []}, figures, [*graph_records, *records])


@dataclass(frozen=True)
class HashedRowsPayload:
    """Input of the task that makes rows; ``span`` is the range of node numbers that it makes them of."""

    settings: Settings
    graph: GraphFiles
    span: tuple[int, int]


def push_rows(payload: HashedRowsPayload, attempt: Attempt) -> None:
    """Task: the rows of a range of nodes; those without edges have none."""
    settings = payload.settings
    walks = WalkGraph.read(payload.graph)
    first, stop = walks.rows_between(*payload.span)
    make = spec_for(settings).whole_graph_rows
    assert make is not None  # what makes these payloads has looked
    rows = Rows(make(walks, first, stop, settings), np.zeros(stop - first))
    form = RowFormat(settings.dim, has_noise_scale=False)
    write_rows(attempt.path("rows", BATCHES), walks.node_ix[first:stop], rows, form)
