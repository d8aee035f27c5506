"""What a run would do and need, as JSON values: its graph, parts, shards, lists, memory and disk."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pipeline import storage
from pipeline.config.graph_sides import span_of
from pipeline.config.model import PipelineConfig
from pipeline.ingest.figures import IndexFigures, IngestFigures
from pipeline.locations import Location
from pipeline.partitioning.figures import PartitionFigures
from pipeline.planning.alternatives import Alternatives
from pipeline.planning.cuts import crossing_share
from pipeline.planning.filter_costs import plan_filter
from pipeline.planning.input_size import InputSize
from pipeline.planning.list_costs import list_traffic, plan_lists, shards_of_lists
from pipeline.planning.pricing import kept_bytes
from pipeline.planning.sizes import PROCESS_BYTES, GraphCounts, bounds_of, disk_bytes, expected_parts, upper_bounds
from pipeline.planning.stage_costs import StageCost
from pipeline.workspace import Workspace


def graph_of(config: PipelineConfig, size: InputSize, workspace: Workspace | None) -> GraphCounts:
    """Return the counts of the graph; before the index is made, bounds that follow from the input."""
    if workspace and workspace.find_manifest("node_index"):
        index = workspace.figures("node_index", IndexFigures)
        first, stop = span_of(config.sides.columns, index.types)
        counts = GraphCounts(index.nodes, index.edges, targets=stop - first, is_exact=True)
        is_text = workspace.figures("edges", IngestFigures).id_type == "string"
        return counts if is_text else replace(counts, id_bytes=8)
    return upper_bounds(size.rows, size.source_ids, size.target_ids, is_plain=config.input.is_plain)


def parts_of(config: PipelineConfig, graph: GraphCounts, workspace: Workspace | None) -> int:
    """Return the number of parts: of the finished partition, or as the bounds ask for."""
    if workspace and workspace.find_manifest("partition_tree"):
        return workspace.figures("partition_tree", PartitionFigures).parts
    return expected_parts(config, graph)


def embed_facts(alternatives: Alternatives, slots: int, slowness: float) -> dict[str, Any]:
    """Return what embedding takes.

    Parameters
    ----------
    slowness : seconds of this machine over those of the machine that the model of time was fitted on.
    """
    own_price, work = alternatives.own_price, alternatives.work
    return {
        "slots": slots,
        "slowness": round(slowness, 3),
        "rounds": len(work.rounds),
        "rounds_before": sum(len(prelude.rounds) for prelude in work.preludes),
        "tasks": own_price.tasks,
        "cpu_seconds": slowness * own_price.cpu_seconds,
        "wall_seconds": slowness * own_price.wall_seconds,
        "floats_moved_per_node": own_price.floats_moved_per_node,
    }


def alternative_facts(alternatives: Alternatives, slowness: float) -> list[dict[str, Any]]:
    """Return all alternatives, by parts and shards."""
    own_price = alternatives.own_price
    prices = sorted([*alternatives.other_prices, own_price], key=lambda price: (price.parts, price.shards))
    return [
        {
            **asdict(price),
            "cpu_seconds": slowness * price.cpu_seconds,
            "wall_seconds": slowness * price.wall_seconds,
            "is_chosen": price is own_price,
            "reason": alternatives.reason if price is own_price else None,
        }
        for price in prices
    ]


def list_facts(
    config: PipelineConfig, graph: GraphCounts, parts: int, workspace: Workspace | None, slots: int
) -> dict[str, Any] | None:
    """Return how lists of neighbours would be made; None where none are. A file of sources isn't opened."""
    if not config.makes_lists:
        return None
    of_type = config.list_source_type
    sources = graph.nodes
    if of_type is not None and not config.input.is_plain:
        sources = graph.targets if of_type == config.input.target_type else graph.nodes - graph.targets
    is_second = config.input.is_plain or config.listed_type == config.input.target_type
    target_count = graph.targets if is_second else graph.nodes - graph.targets
    if config.lists.filter is not None:
        return _filter_facts(config, replace(graph, targets=target_count), sources, slots)
    plan = plan_lists(config, graph.nodes, graph.edges, sources)
    shards = shards_of_lists(config.ppr, sources, plan.solver.seconds, slots)
    is_cut = workspace is not None and workspace.find_manifest("partition_tree")
    # Before the graph is cut: as by chance.
    crossing = crossing_share(workspace, graph.edges) if workspace and is_cut else 1 - 1 / parts
    traffic = list_traffic(config, graph.nodes, graph.edges, sources, shards, crossing if parts > 1 else 0.0)
    return {
        "most": sources,
        "longest": min(config.ppr.top_k, target_count),
        "across": plan.across,
        "because": plan.reason,
        "solver": plan.solver.solver,
        "reason": plan.solver.reason,
        "cpu_seconds": plan.solver.seconds,
        "task_bytes": plan.task_bytes,
        "tasks": parts if plan.across == "parts" else shards,
        "bytes_by_way": {
            "sources": {"read": traffic.read_bytes},
            "parts": {"moved": traffic.moved_bytes, "held": traffic.held_bytes, "parts": parts},
        },
    }


def _filter_facts(config: PipelineConfig, graph: GraphCounts, sources: int, slots: int) -> dict[str, Any]:
    """Return the same of lists by a filter; ``graph.targets`` are the nodes listed."""
    plan = plan_filter(config, graph, sources)
    return {
        "most": sources,
        "longest": min(config.lists.top_k, graph.targets),
        "across": "sources",
        "because": "a filter takes the whole graph",
        "solver": config.lists.filter,
        "reason": plan.reason,
        "cpu_seconds": plan.basis_seconds + plan.list_seconds,
        "task_bytes": plan.task_bytes,
        "tasks": shards_of_lists(config.lists, sources, plan.list_seconds, slots),
    }


def memory_facts(
    config: PipelineConfig,
    graph: GraphCounts,
    alternatives: Alternatives,
    more: Sequence[Mapping[str, Any]],
    workers: int,
    machine_bytes: int | None,
) -> dict[str, int | None]:
    """Return the memory of a block by the bounds of ``[partition]``, of the largest task, and of all at once.

    Parameters
    ----------
    more : lists of neighbours and codes, where the run makes some. machine_bytes : None: of a machine that nobody has
        seen.
    """
    own_price = alternatives.own_price
    at_once = workers if more else min(workers, own_price.parts * own_price.shards)
    task_bytes = max(own_price.task_bytes, *(facts["task_bytes"] for facts in more), 0)
    return {
        "block_bytes": bounds_of(config).bytes_of(graph.nodes, graph.edges),
        "task_bytes": task_bytes,
        "process_bytes": PROCESS_BYTES,
        "tasks_at_once": at_once,
        "needed_bytes": at_once * (task_bytes + PROCESS_BYTES),
        "machine_bytes": machine_bytes,
    }


def cost_facts(
    costs: Mapping[str, StageCost], disk: Mapping[str, int], slots: int, slowness: float
) -> list[dict[str, Any]]:
    """Return what each stage takes, whether it is made already or not; ``disk``: bytes that stages to do add."""
    return [
        {
            "stage": stage,
            "cpu_seconds": slowness * cost.cpu_seconds,
            "wall_seconds": slowness * cost.seconds_on(slots),
            "tasks": cost.tasks,
            "task_bytes": cost.task_bytes,
            "driver_bytes": cost.driver_bytes,
            "disk_bytes": disk.get(stage, 0),
        }
        for stage, cost in costs.items()
    ]


def disk_facts(
    config: PipelineConfig,
    graph: GraphCounts,
    size: InputSize,
    alternatives: Alternatives,
    lists: Mapping[str, Any] | None,
    states: Mapping[str, str],
    root: Location | None,
) -> dict[str, Any]:
    """Return the bytes that stages add which are not made yet, and the bytes free where the workspace is.

    Parameters
    ----------
    states : by stage, "made" where it adds nothing. root : None: of a disk that nobody has seen.
    """
    bytes_of_rounds = kept_bytes(alternatives.cut, alternatives.work, alternatives.own_price.shards)
    if lists and lists["across"] == "parts":
        by_parts = lists["bytes_by_way"]["parts"]
        bytes_of_rounds += by_parts["moved"] + by_parts["held"]
    stages = disk_bytes(
        config, graph, alternatives.cut, input_bytes=size.bytes, input_rows=size.rows, kept_bytes=bytes_of_rounds
    )
    by_stage = {stage: added_bytes for stage, added_bytes in stages.items() if states[stage] != "made"}
    free = None if root is None else storage.free_bytes(root)
    return {"by_stage": by_stage, "needed_bytes": sum(by_stage.values()), "free_bytes": free}
