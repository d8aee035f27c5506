"""``graphquilt plan``: what a run would do and need, said before anything is computed."""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.answers import Answer, amount, columns
from jobs.arguments import CommandParser, command_parser, stage_parser

if TYPE_CHECKING:
    from jobs.commands.alternatives import Alternatives
    from jobs.commands.survey import Survey
    from pipeline.config.model import PipelineConfig
    from pipeline.ingest.sources import SourceFile
    from pipeline.planning.sizes import Graph
    from pipeline.workspace import Workspace


def parser() -> CommandParser:
    """Return the parser of the command."""
    return command_parser(
        "plan",
        "Says what 'run' with the same options would do, and computes nothing: files and tasks, the date,\n"
        "which stages are made already, memory of a block and of a task, the number of parts, disk needed and\n"
        "free, and what embedding costs in other parts and shards: memory, rows that travel, time. Before the\n"
        "index is made, counts of nodes and edges are upper bounds from the input's rows.",
        "  graphquilt plan --config config.toml --workspace work\n"
        "  graphquilt plan --config config.toml --workspace work --workers 4 --set embedding.dim=256 --json",
        stage_parser("local"),
    )


def answer(options: argparse.Namespace) -> Answer:
    """Look at the input's sizes and at the workspace.

    Raises
    ------
    ConfigError : wrong config or workspace. InputError : the input can't be found or read.
    """
    from jobs.commands.alternatives import find_alternatives
    from jobs.commands.existing import folder_of
    from jobs.commands.machine import cores, memory_bytes
    from jobs.commands.machine_speed import slowness
    from jobs.commands.survey import survey
    from jobs.config_file import read_config
    from pipeline.errors import ConfigError
    from pipeline.ingest.sources import list_sources
    from pipeline.planning.sizes import PROCESS_BYTES, block_bytes, row_columns

    config = read_config(options.config, options.overrides)
    root = folder_of(options.workspace)
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is a file, and a workspace is a folder; choose another --workspace")
    sources = list_sources(config.input.path, options.date)
    sizes = survey(sources, config.input)
    workspace = _workspace(config, root, options)
    finished = _finished(workspace)
    graph = _graph(config, sizes, workspace)
    parts = _parts(config, graph, workspace)
    slots = options.workers if options.engine == "local" else max(options.workers, int(cores()))
    machine = slowness()
    priced = find_alternatives(config, graph, workspace, parts, options.engine, slots, machine)
    chosen = priced.chosen
    lists = _lists(config, graph, parts, _crossing(workspace, graph), slots)
    is_published = workspace is not None and workspace.finished("release") is not None
    disk = _disk(config, graph, sources, sizes, priced, lists, finished, root, is_published=is_published)
    at_once = options.workers if lists else min(options.workers, chosen.parts * chosen.shards)
    task_bytes = max(chosen.task_bytes, lists["lists"]["task_bytes"] if lists else 0)
    memory = {
        "block_bytes": block_bytes(graph.nodes, graph.edges, row_columns(config)),
        "task_bytes": task_bytes,
        "process_bytes": PROCESS_BYTES,
        "tasks_at_once": at_once,
        "needed_bytes": at_once * (task_bytes + PROCESS_BYTES),
        "machine_bytes": memory_bytes(),
    }
    facts = {
        "input": {
            "path": config.input.path,
            "format": sources[0].format,
            "files": len(sources),
            "bytes": sum(source.bytes for source in sources),
            "rows": sizes.rows,
            "rows_are_exact": sizes.is_exact,
            "tasks": sizes.tasks,
        },
        **_attributes(config, options.date, workspace),
        "date": _date(options.date, workspace),
        "engine": options.engine,
        "stages": finished,
        "graph": {"nodes": graph.nodes, "edges": graph.edges, "are_exact": graph.is_exact},
        "parts": parts,
        "shards": chosen.shards,
        "alternatives": priced.facts(),
        "embed": {
            "slots": slots,
            "slowness": round(machine, 3),
            "rounds": len(priced.work.rounds),
            "rounds_before": sum(len(small.rounds) for small in priced.work.preludes),
            "tasks": chosen.tasks,
            "cpu_seconds": chosen.cpu_seconds,
            "wall_seconds": chosen.wall_seconds,
            "floats_moved_per_node": chosen.floats_moved_per_node,
        },
        **lists,
        "memory": memory,
        "disk": disk,
    }
    warnings = _warnings(facts, config)
    return Answer({**facts, "warnings": warnings}, _text(facts, warnings))


def _attributes(config: PipelineConfig, date: dt.date | None, workspace: Workspace | None) -> dict[str, Any]:
    """Return by type the files of attributes and, once they have been read, what became of their rows."""
    from pipeline.stages.node_attributes import attribute_sources

    made = workspace.finished("edges") if workspace else None
    known = made.figures["attributes"] if made and config.attributes else {}
    found = {
        node_type: {
            "files": len(sources),
            "bytes": sum(source.bytes for source in sources),
            **{name: known[node_type][name] for name in ("read", "nodes", "rejected") if node_type in known},
        }
        for node_type, sources in attribute_sources(config, date, {}).items()
    }
    return {"attributes": found} if found else {}


def _lists(config: PipelineConfig, graph: Graph, parts: int, crossing: float | None, slots: int) -> dict[str, Any]:
    """Return how lists of neighbours would be made, where they are asked for; a file of sources isn't opened.

    Parameters
    ----------
    crossing : share of the edges that are cut; None where the graph has not been cut yet: as by chance.
    """
    from pipeline.planning.list_costs import shards_of_lists, traffic_of_lists, way_of_lists

    if not config.ppr.neighbors:
        return {}
    of_type = config.ppr.source_type
    sources = graph.nodes
    if of_type is not None and not config.input.is_plain:
        sources = graph.targets if of_type == config.input.target_type else graph.nodes - graph.targets
    is_second = config.input.is_plain or config.listed_type == config.input.target_type
    listed = graph.targets if is_second else graph.nodes - graph.targets
    way = way_of_lists(config, graph.nodes, graph.edges, sources)
    shards = shards_of_lists(config.ppr, sources, way.choice.seconds, slots)
    cut = 1 - 1 / parts if crossing is None else crossing
    traffic = traffic_of_lists(config, graph.nodes, graph.edges, sources, shards, cut, parts)
    return {
        "lists": {
            "most": sources,
            "longest": min(config.ppr.top_k, listed),
            "across": way.across,
            "because": way.because,
            "solver": way.choice.solver,
            "reason": way.choice.reason,
            "cpu_seconds": way.choice.seconds,
            "task_bytes": way.task_bytes,
            "tasks": parts if way.across == "parts" else shards,
            "bytes_by_way": {
                "sources": {"read": traffic.read_bytes},
                "parts": {"moved": traffic.moved_bytes, "held": traffic.held_bytes, "parts": parts},
            },
        }
    }


def _crossing(workspace: Workspace | None, graph: Graph) -> float | None:
    from pipeline.planning.finished_cuts import crossing_share

    if workspace is None or not workspace.finished("partition_tree"):
        return None
    return crossing_share(workspace, graph.edges)


def _embed_text(about: Mapping[str, Any]) -> str:
    before = about["rounds_before"]
    narrow = f" after {before} of few columns" if before else ""
    return (
        f"about {about['cpu_seconds']:,.1f} CPU seconds, {about['wall_seconds']:,.1f} s on {about['slots']} at once; "
        f"rounds: {about['rounds']}{narrow}, tasks: {about['tasks']}; seconds are estimates"
    )


def _lists_text(about: Mapping[str, Any]) -> str:
    ways = about["bytes_by_way"]
    return (
        f"at most {about['most']:,}; tasks share the {about['across']}: {about['because']}; {about['reason']}; bytes: "
        f"{amount(ways['sources']['read'])} are mapped by tasks that share the sources, "
        f"{amount(ways['parts']['moved'])} would move between {ways['parts']['parts']} parts (an estimate)"
    )


def _workspace(config: PipelineConfig, root: Path, options: argparse.Namespace) -> Workspace | None:
    """Return the workspace of the run; None if some file of the input was never read as it is now."""
    from pipeline.errors import NotComputedError
    from pipeline.stages.opening import open_workspace
    from pipeline.tasks import CachedRunner

    engine: Any = CachedRunner()
    try:
        if root.is_dir():
            future = options.allow_future
            return open_workspace(
                engine, config, root, options.date, "plan", starts_here=True, allow_future=future, is_dry=True
            )
    except NotComputedError:
        pass
    return None


def _finished(workspace: Workspace | None) -> dict[str, str]:
    """Return by stage "made" or "to do". Of an input that was touched since it was read, all is taken as to do."""
    from pipeline.stages.chain import STAGES

    found = {}
    for stage in STAGES:
        if workspace is None:
            found[stage.name] = "to do"
        elif stage.name == "publish":
            found[stage.name] = "always looks"
        else:
            made = all(workspace.finished(contract.name) for contract in stage.writes)
            found[stage.name] = "made" if made else "to do"
    return found


def _graph(config: PipelineConfig, sizes: Survey, workspace: Workspace | None) -> Graph:
    from pipeline.planning.sizes import Graph, upper_bounds

    index = workspace.finished("node_index") if workspace else None
    if index:
        first, stop = index.figures["types"][config.input.target_type]
        return Graph(index.figures["nodes"], index.figures["edges"], targets=stop - first, is_exact=True)
    return upper_bounds(sizes.rows, sizes.source_ids, sizes.target_ids, is_plain=config.input.is_plain)


def _parts(config: PipelineConfig, graph: Graph, workspace: Workspace | None) -> int:
    """Return the number of parts: as they are, or as the bounds ask for."""
    from pipeline.partitioning.cutting import Bounds
    from pipeline.planning.sizes import expected_parts, row_columns

    tree = workspace.finished("partition_tree") if workspace else None
    bounds = Bounds(config.partition.max_edges, config.partition.max_bytes, row_columns(config))
    return tree.figures["parts"] if tree else expected_parts(config, bounds.excess(graph.nodes, graph.edges))


def _disk(
    config: PipelineConfig,
    graph: Graph,
    sources: Sequence[SourceFile],
    sizes: Survey,
    priced: Alternatives,
    lists: Mapping[str, Any],
    finished: Mapping[str, str],
    root: Path,
    *,
    is_published: bool,
) -> dict[str, Any]:
    from pipeline.planning.pricing import kept_bytes
    from pipeline.planning.sizes import Stored, disk_bytes

    composed = 0
    if lists and lists["lists"]["across"] == "parts":
        by_parts = lists["lists"]["bytes_by_way"]["parts"]
        composed = by_parts["moved"] + by_parts["held"]
    stored = Stored(
        parts=priced.chosen.parts,
        rows=sum(priced.cut.rows),
        entries=sum(priced.cut.entries),
        kept_bytes=kept_bytes(priced.cut, priced.work, priced.chosen.shards) + composed,
    )
    stages = disk_bytes(config, graph, sum(source.bytes for source in sources), sizes.rows, stored)
    todo = {stage: size for stage, size in stages.items() if finished[stage] != "made"}
    if is_published:  # it looks each time, and copies once
        todo.pop("publish")
    there = next(folder for folder in (root, *root.parents) if folder.is_dir())
    return {"by_stage": todo, "needed_bytes": sum(todo.values()), "free_bytes": shutil.disk_usage(there).free}


def _date(asked: dt.date | None, workspace: Workspace | None) -> dict[str, str | None]:
    if asked:
        return {"date": asked.isoformat(), "why": "as asked"}
    if workspace:
        return {"date": workspace.date.isoformat(), "why": "the newest in the input; 1970-01-01 if undated"}
    return {"date": None, "why": "the newest in the input: known once it has been read"}


def _warnings(facts: Mapping[str, Any], config: PipelineConfig) -> list[str]:
    from pipeline.partitioning.layouts.laid_out import loss_note

    note = loss_note(config.embedding.boundary)
    found = [note] if note and facts["parts"] > 1 else []
    longest = facts["lists"]["longest"] if "lists" in facts else config.ppr.top_k
    if longest < config.ppr.top_k:
        found.append(
            f"lists: ppr.top_k is {config.ppr.top_k}, and the graph has {longest:,} nodes of type "
            f"'{config.listed_type}' to list: lists hold no more"
        )
    memory, disk = facts["memory"], facts["disk"]
    at_most = "" if facts["graph"]["are_exact"] else ", at most"
    if facts["engine"] == "local" and memory["needed_bytes"] > memory["machine_bytes"]:
        found.append(
            f"memory: {amount(memory['needed_bytes'])}{at_most} for {memory['tasks_at_once']} tasks at once, and this "
            f"machine has {amount(memory['machine_bytes'])}: lower --workers, partition.max_bytes "
            f"(now {amount(config.partition.max_bytes)}) or embedding.dim"
        )
    if disk["needed_bytes"] > disk["free_bytes"]:
        found.append(
            f"disk: {amount(disk['needed_bytes'])}{at_most}, and {amount(disk['free_bytes'])} are free: "
            "'graphquilt clean --dry-run' lists what can go"
        )
    return found


def _attributes_text(node_type: str, about: Mapping[str, Any]) -> str:
    text = f"of {node_type}: files: {about['files']}, {amount(about['bytes'])}"
    if "read" not in about:
        return text
    return f"{text}, {about['read']:,} rows, {sum(about['rejected'].values()):,} rejected"


def _text(facts: Mapping[str, Any], warnings: Sequence[str]) -> str:
    from jobs.commands.alternatives import table
    from pipeline.ingest.sources import FORMAT_NAMES

    given, graph, memory, disk = (facts[name] for name in ("input", "graph", "memory", "disk"))
    about = "" if given["rows_are_exact"] else "about "
    text_note = "" if given["format"] == "parquet" else " (a text file is one task, however large)"
    most = "" if graph["are_exact"] else "at most "
    rows = [
        ("input", f"files: {given['files']} of {FORMAT_NAMES[given['format']]}, {amount(given['bytes'])}, "
         f"{about}{given['rows']:,} rows, tasks: {given['tasks']}{text_note}"),
        *(("attributes", _attributes_text(*one)) for one in facts.get("attributes", {}).items()),
        ("date", f"{facts['date']['date'] or 'not known yet'} ({facts['date']['why']})"),
        ("stages", ", ".join(f"{stage}: {state}" for stage, state in facts["stages"].items())),
        ("graph", f"{most}{graph['nodes']:,} nodes, {most}{graph['edges']:,} edges"),
        ("parts", f"{facts['parts']}" if facts["parts"] > 1 else "1: the graph is one block"),
        ("memory", f"block {most}{amount(memory['block_bytes'])}; largest task {most}{amount(memory['task_bytes'])} "
         f"beside {amount(memory['process_bytes'])} of Python; {memory['tasks_at_once']} at once: "
         f"{most}{amount(memory['needed_bytes'])} of {amount(memory['machine_bytes'])}"),
        *([("embed", _embed_text(facts["embed"]))] if facts["embed"]["rounds"] else []),
        *([("lists", _lists_text(facts["lists"]))] if "lists" in facts else []),
        ("disk", f"{most}{amount(disk['needed_bytes'])} more, {amount(disk['free_bytes'])} free"),
    ]  # fmt: skip
    alternatives = []
    if facts["embed"]["rounds"]:
        alternatives = ["alternatives for embed, * is what a run does:", *table(facts["alternatives"])]
    return "\n".join([*columns(rows, ""), *alternatives, *(f"warning: {warning}" for warning in warnings)])
