"""blocks -> neighbor_lists: personalised PageRank of every source, or of those chosen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.asked import ListsAsked
from pipeline.embedding.ppr.composed import lists_across_parts
from pipeline.embedding.ppr.lists import error_kind, solve_sources
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.embedding.waves import BlockFiles
from pipeline.engine import Engine, Frame
from pipeline.planning.list_costs import plan_lists, shards_of_lists, solved_length
from pipeline.stages.chosen_sources import find_sources
from pipeline.stages.outcome import OutputFile, describe_task_files
from pipeline.tasks import Task, TaskRecord, run_missing
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NeighborLists:
    """Files of NEIGHBOR_LISTS, ascending by source; figures for people; records of the tasks."""

    files: Sequence[OutputFile]
    figures: Mapping[str, Any]
    records: Sequence[TaskRecord[Any]]


def make_lists(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, blocks: Sequence[BlockFiles]
) -> NeighborLists:
    """Solve all sources.

    Parameters
    ----------
    blocks : of the parts that exchange rows: what lists are composed from where no task holds the whole graph.

    Raises
    ------
    InputError : none of the chosen sources is in the graph.
    """
    place = workspace.work("embed") / "lists"
    targets = _targets(config, workspace)
    sources = find_sources(engine, config, workspace, place)
    graph = workspace.manifest("node_index").figures
    plan = plan_lists(config, graph["nodes"], graph["edges"], sources.rows)
    length = solved_length(config, targets[1] - targets[0])
    if config.ppr.top_k > targets[1] - targets[0]:
        log.warning(
            "stage=embed warning: ppr.top_k is %d, and the graph has %d nodes of type '%s' to list: lists hold no more",
            *(config.ppr.top_k, targets[1] - targets[0], config.listed_type),
        )
    ppr = config.ppr.model_copy(update={"solver": plan.solver.solver, "across": plan.across, "top_k": length})
    asked = ListsAsked(ppr, config.embedding.seed, graph["nodes"], targets)
    log.info(
        'stage=embed lists=%d across=%s because="%s" reason="%s"',
        *(sources.rows, plan.across, plan.reason, plan.solver.reason),
    )
    figures = {
        "lists": sources.rows,
        "unknown_sources": sources.unknown,
        "across": plan.across,
        "across_reason": plan.reason,
        "solver": plan.solver.solver,
        "solver_reason": plan.solver.reason,
        "error_kind": error_kind(ppr),
    }
    if plan.across == "parts":
        in_order = sorted(blocks, key=lambda block: block.part_id)
        made = lists_across_parts(engine, in_order, sources.file, asked, place)
        figures |= {
            "largest_bound": made.largest_bound,
            "largest_missing": made.largest_missing,
            "rounds": made.rounds,
            "bytes_moved": made.bytes_moved,
        }
        _warn_of_loose_bounds(config, error_kind(ppr), made.largest_bound, plan.across)
        return NeighborLists([OutputFile(*file) for file in made.files], figures, [*sources.records, *made.records])
    files, built = whole_graph(engine, config, workspace)
    shards = shards_of_lists(ppr, sources.rows, plan.solver.seconds, engine.slots)
    bounds = [sources.rows * shard // shards for shard in range(shards + 1)]
    told = {"asked": asked.to_json(), "graph": files.to_json(), "sources": str(sources.file)}
    tasks = [
        Task(f"lists-{n:05d}", place, {**told, "range": [start, end]})
        for n, (start, end) in enumerate(pairwise(bounds))
    ]
    solved = run_missing(engine, solve_sources, tasks)
    largest = max(record.result["largest_bound"] for record in solved)
    _warn_of_loose_bounds(config, error_kind(ppr), largest, plan.across)
    figures |= {"shards": shards, "largest_bound": largest}
    return NeighborLists(describe_task_files(solved, "lists"), figures, [*sources.records, *built, *solved])


def _targets(config: PipelineConfig, workspace: Workspace) -> tuple[int, int]:
    """Return the range of the nodes that lists may hold."""
    first, stop = workspace.manifest("node_index").figures["types"][config.listed_type]
    return int(first), int(stop)


def _warn_of_loose_bounds(config: PipelineConfig, kind: str, largest: float, across: str) -> None:
    """Say so where bounds on the sum of errors, true as they are, are wider than was asked for."""
    asked = config.ppr.tolerance
    if kind != "l1" or largest <= asked * (1 + 1e-5):
        return
    way = (
        "set ppr.push_threshold below 1e-4 / mean degree, or partition.worker_bytes to what the whole graph takes"
        if across == "parts"
        else "float32 stalls on this graph: set ppr.solver = 'push', or a larger restart"
    )
    log.warning(
        "stage=embed warning: the largest error bound of lists is %.3g, and ppr.tolerance is %g: %s",
        *(largest, asked, way),
    )
