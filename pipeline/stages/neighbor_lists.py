"""blocks -> neighbor_lists: what every source, or those chosen, are near to, by PageRank or another filter."""

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pipeline import codec
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.composed import lists_across_parts
from pipeline.embedding.ppr.list_request import ListFigures, ListRequest
from pipeline.embedding.ppr.lists import SolvePayload, error_kind, solve_sources
from pipeline.embedding.ppr.walk_graph import GraphFiles
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.embedding.waves import BlockFiles
from pipeline.engine import Engine, Frame
from pipeline.planning.list_costs import plan_lists, shards_of_lists, solved_length
from pipeline.stages.chosen_sources import ChosenSources, find_sources
from pipeline.stages.filtered_lists import make_filtered_lists
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.tasks import TaskFolder, TaskRecord
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)


def make_lists(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, blocks: Sequence[BlockFiles]
) -> Outcome:
    """Make the lists of all sources: files of NEIGHBOR_LISTS, ascending by source.

    Parameters
    ----------
    blocks : of the parts that exchange rows: what lists are composed from where no task holds the whole graph.

    Raises
    ------
    InputError : none of the chosen sources is in the graph. ConfigError : lists that can't be made with these keys.
    """
    folder = workspace.work("embed") / "lists"
    sources = find_sources(engine, config, workspace, folder)
    graph = workspace.manifest("node_index").figures
    first, stop = graph["types"][config.listed_type]
    if config.list_keys.top_k > stop - first:
        log.warning(
            "stage=embed warning: %s.top_k is %d, and the graph has %d nodes of type '%s' to list: lists hold no more",
            *(config.list_section, config.list_keys.top_k, stop - first, config.listed_type),
        )
    if config.lists.filter is not None:
        return make_filtered_lists(engine, config, workspace, sources)
    plan = plan_lists(config, graph["nodes"], graph["edges"], sources.rows)
    log.info(
        'stage=embed lists=%d across=%s because="%s" reason="%s"',
        *(sources.rows, plan.across, plan.reason, plan.solver.reason),
    )
    length = solved_length(config, stop - first)
    ppr = config.ppr.model_copy(update={"solver": plan.solver.solver, "across": plan.across, "top_k": length})
    request = ListRequest(ppr.model_copy(update={"shards": None}), config.embedding.seed, (first, stop))
    lists: Sequence[TaskRecord[Any]]
    counts: dict[str, Any]
    if plan.across == "parts":
        in_order = sorted(blocks, key=lambda block: block.part_id)
        result = lists_across_parts(engine, in_order, sources.file, request, folder)
        lists, records = result.lists, result.records
        names = ("largest_bound", "largest_missing", "rounds", "bytes_moved")
        counts = {name: getattr(result, name) for name in names}
    else:
        files, graph_records = whole_graph(engine, config, workspace)
        shards = shards_of_lists(ppr, sources.rows, plan.solver.seconds, engine.slots)
        lists = list_records = _solve_shards(engine, request, files, sources, shards)
        largest_bound = max(record.result for record in list_records)
        records, counts = [*graph_records, *lists], {"largest_bound": largest_bound, "shards": shards}
    figures = ListFigures(
        lists=sources.rows,
        unknown_sources=sources.unknown,
        across=plan.across,
        across_reason=plan.reason,
        solver=plan.solver.solver,
        solver_reason=plan.solver.reason,
        error_kind=error_kind(ppr),
        **counts,
    )
    _warn_of_loose_bounds(figures, config.ppr.tolerance)
    tables = {"neighbor_lists": describe_task_files(lists, "lists")}
    return Outcome(tables, codec.to_values(figures), [*sources.records, *records])


def _solve_shards(
    engine: Engine[Frame], request: ListRequest, graph: GraphFiles, sources: ChosenSources, shards: int
) -> list[TaskRecord[float]]:
    """Run tasks that have the whole graph and some of the sources each."""
    bounds = [sources.rows * shard // shards for shard in range(shards + 1)]
    payloads = [SolvePayload(request, graph, sources.file, span) for span in pairwise(bounds)]
    return TaskFolder(engine, sources.file.parent).run_each(solve_sources, "lists", payloads)


def _warn_of_loose_bounds(figures: ListFigures, tolerance: float) -> None:
    """Warn where bounds on the sum of errors, true as they are, are wider than the tolerance."""
    if figures.error_kind != "l1" or figures.largest_bound <= tolerance * (1 + 1e-5):
        return
    way = (
        "set ppr.push_threshold below 1e-4 / mean degree, or partition.worker_bytes to what the whole graph takes"
        if figures.across == "parts"
        else "float32 stalls on this graph: set ppr.solver = 'push', or a larger restart"
    )
    log.warning(
        "stage=embed warning: the largest error bound of lists is %.3g, and ppr.tolerance is %g: %s",
        *(figures.largest_bound, tolerance, way),
    )
