"""The whole graph -> neighbor_lists by a filter: eigenvectors by one task, lists by tasks that share the sources."""

import logging
from itertools import pairwise

from pipeline import codec
from pipeline.config.model import PipelineConfig
from pipeline.embedding.filtered_lists import (
    BASIS,
    BasisPayload,
    BasisResult,
    FilterPayload,
    find_basis,
    settings_of_basis,
    sides_of_filter,
    solve_filtered,
)
from pipeline.embedding.ppr.list_request import ListFigures
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.engine import Engine, Frame
from pipeline.kernels.ppr_chebyshev_bounds import BLOCK
from pipeline.planning.filter_costs import plan_filter
from pipeline.planning.list_costs import shards_of_lists, solved_length
from pipeline.planning.sizes import GraphCounts
from pipeline.stages.chosen_sources import ChosenSources
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.tasks import TaskFolder, TaskRecord
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)


def make_filtered_lists(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, sources: ChosenSources
) -> Outcome:
    """Make the lists of the sources: files of NEIGHBOR_LISTS, ascending by source.

    Raises
    ------
    ConfigError : the graph and its eigenvectors don't fit one worker.
    """
    graph = workspace.manifest("node_index").figures
    target_span = tuple(graph["types"][config.listed_type])
    rows, columns = sides_of_filter(config, graph["types"])
    counts = GraphCounts(graph["nodes"], graph["edges"], columns[1] - columns[0], is_exact=True)
    plan = plan_filter(config, counts, sources.rows)
    log.info('stage=embed lists=%d filter=%s reason="%s"', sources.rows, config.lists.filter, plan.reason)
    length = solved_length(config, target_span[1] - target_span[0])
    lists = config.lists.model_copy(update={"shards": None, "sources": None, "top_k": length})
    files, records = whole_graph(engine, config, workspace)
    tasks = TaskFolder(engine, sources.file.parent)
    basis: TaskRecord[BasisResult] | None = None
    if lists.alpha and lists.rank:
        settings = settings_of_basis(lists, rows, columns, config.embedding.seed)
        basis = tasks.run(find_basis, BASIS, BasisPayload(files, settings))
        log.info("stage=embed rank=%d residual=%.3g", basis.result.rank, basis.result.residual)
    # Sources of a block are solved together: the bits of none may depend on where the range of a task ends.
    blocks = max(1, -(-sources.rows // BLOCK))
    shards = min(shards_of_lists(config.lists, sources.rows, plan.list_seconds, engine.slots), blocks)
    bounds = [min(BLOCK * (blocks * shard // shards), sources.rows) for shard in range(shards + 1)]
    rank = basis.result.rank if basis else 0
    of_basis = basis.file(BASIS) if basis and rank else None
    of_graph = (files, rows, columns, target_span, of_basis)
    payloads = [FilterPayload(lists, *of_graph, sources.file, span) for span in pairwise(bounds)]
    list_records = tasks.run_each(solve_filtered, "lists", payloads)
    figures = ListFigures(
        lists=sources.rows,
        unknown_sources=sources.unknown,
        across="sources",
        across_reason="a filter takes the whole graph",
        solver=str(lists.filter),
        solver_reason=plan.reason,
        error_kind="pointwise",
        largest_bound=max(record.result for record in list_records),
        shards=shards,
        rank=rank,
    )
    all_records = [*sources.records, *records, *([basis] if basis else ()), *list_records]
    return Outcome(
        {"neighbor_lists": describe_task_files(list_records, "lists")}, codec.to_values(figures), all_records
    )
