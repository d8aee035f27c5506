"""Says what 'run' with the same options would do, and computes nothing: files and tasks, the date,
which stages are made already, memory of a block and of a task, the number of parts, what each stage
takes (CPU seconds, time, memory, disk), and what embedding costs in other parts and shards: memory,
exchanged rows, time. Before the index is made, counts of nodes and edges are upper bounds from the
input's rows. With --nodes and --edges it needs no input: what such a graph takes on --workers cores.

examples
  graphquilt plan --config config.toml --workspace work
  graphquilt plan --config config.toml --workspace work --workers 4 --set embedding.dim=256 --json
  graphquilt plan --nodes 100000000 --edges 1000000000 --engine spark --workers 64
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.answers import Answer
from jobs.arguments import add_stage_options, parse_count

if TYPE_CHECKING:
    from jobs.arguments import Options
    from jobs.progress import RunEstimate
    from pipeline.config.model import PipelineConfig
    from pipeline.embedding.settings import Settings
    from pipeline.locations import Location
    from pipeline.planning.input_size import InputSize
    from pipeline.planning.sizes import GraphCounts
    from pipeline.workspace import Workspace


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run, and the counts of a graph that there is no input of."""
    add_stage_options(parser, needs_place=False)
    counts = parser.add_argument_group("instead of an input; --config and --workspace may be left out then")
    counts.add_argument("--nodes", type=parse_count, metavar="N", help="nodes of the graph")
    counts.add_argument("--edges", type=parse_count, metavar="N", help="its edges, each counted once")
    counts.add_argument("--rows", type=parse_count, metavar="N", help="rows of the input (default: one an edge)")
    counts.add_argument(
        "--targets", type=parse_count, metavar="N", help="two types: nodes that edges point to (default: 30 %%)"
    )
    counts.add_argument(
        "--ids", choices=("int64", "string"), default="int64", help="type of the ids (default: %(default)s)"
    )


@dataclass(frozen=True)
class _Subject:
    """What is planned for: a graph and its input, as far as they are known.

    workspace : None where no run has read the input. has_release : whether there is an earlier one; of a graph without
        an input it is assumed. slowness : of the machine that it is planned for.
    """

    size: InputSize
    graph: GraphCounts
    workspace: Workspace | None
    input_facts: dict[str, Any]
    is_text: bool
    has_release: bool
    slowness: float
    memory_bytes: int | None
    assumptions: Sequence[str] = ()


def answer(options: argparse.Namespace) -> Answer:
    """Look at the input's sizes and at the workspace, or take the counts that are given.

    Raises
    ------
    ConfigError : wrong config, workspace or counts. InputError : the input can't be found or read.
    """
    from jobs.commands.existing import folder_of
    from jobs.commands.machine import cores
    from jobs.commands.plan_text import text_of, warnings_of
    from pipeline.errors import ConfigError
    from pipeline.planning import run_plan
    from pipeline.planning.alternatives import price_alternatives
    from pipeline.planning.code_costs import code_facts, interest_facts
    from pipeline.planning.stage_costs import RunCounts, stage_costs

    has_counts = _has_counts(options)
    config = _config(options)
    root = None if options.workspace is None else folder_of(options.workspace)
    if isinstance(root, Path) and root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is a file, and a workspace is a folder; choose another --workspace")
    subject = _assume(config, options) if has_counts or root is None else _look(config, root, options)
    graph, size, workspace = subject.graph, subject.size, subject.workspace
    stages = _stages(workspace)
    parts = run_plan.parts_of(config, graph, workspace)
    is_given = options.engine == "local" or has_counts
    slots = options.workers if is_given else max(options.workers, int(cores()))
    hashed_settings = _hashed_settings(config, graph, workspace)
    prices = price_alternatives(config, graph, workspace, parts, options.engine, slots, hashed_settings)
    lists = run_plan.list_facts(config, graph, parts, workspace, slots)
    codes = code_facts(config, graph.nodes, graph.edges)
    interests = interest_facts(config, graph.nodes, graph.edges)
    more = [part for part in (lists, codes, interests) if part]
    # Publish looks each time, and copies once.
    is_published = workspace is not None and workspace.find_manifest("release") is not None
    states = {**stages, "publish": "made"} if is_published else stages
    disk = run_plan.disk_facts(config, graph, size, prices, lists, states, root)
    of_embed = [part for part in more if part is not codes or config.codes.of_graph]
    task_bytes = max((part["task_bytes"] for part in of_embed), default=0)
    beside_rows = sum(part["cpu_seconds"] for part in of_embed), task_bytes
    of_subject = subject.is_text, subject.has_release
    costs = stage_costs(config, RunCounts(graph, size, prices, options.engine, slots, *of_subject, *beside_rows))
    workers = slots if has_counts else options.workers
    facts = {
        "input": subject.input_facts,
        **({"assumptions": [*subject.assumptions]} if has_counts else {}),
        **({} if has_counts else _attributes(config, options.date, workspace)),
        "date": _date(options.date, workspace, has_counts=has_counts),
        "engine": options.engine,
        "stages": stages,
        "graph": {"nodes": graph.nodes, "edges": graph.edges, "are_exact": graph.is_exact},
        "parts": parts,
        "shards": prices.own_price.shards,
        "alternatives": run_plan.alternative_facts(prices, subject.slowness),
        "embed": run_plan.embed_facts(prices, slots, subject.slowness),
        **({"lists": lists} if lists else {}),
        **({"codes": codes} if codes else {}),
        **({"interests": interests} if interests else {}),
        "memory": run_plan.memory_facts(config, graph, prices, more, workers, subject.memory_bytes),
        "disk": disk,
        "costs": run_plan.cost_facts(costs, disk["by_stage"], slots, subject.slowness),
    }
    warnings = warnings_of(facts, config)
    return Answer({**facts, "warnings": warnings}, text_of(facts, warnings))


def estimate_run(options: Options) -> RunEstimate:
    """Return what a run with these options takes, for who waits for it.

    Raises
    ------
    ConfigError, InputError : as :func:`answer`.
    """
    from jobs.progress import RunEstimate

    counts = {"nodes": None, "edges": None, "rows": None, "targets": None, "ids": "int64"}
    facts = answer(argparse.Namespace(**vars(options), **counts)).facts
    return RunEstimate({cost["stage"]: cost["wall_seconds"] for cost in facts["costs"]}, facts["embed"]["rounds"])


def _has_counts(options: argparse.Namespace) -> bool:
    """Whether counts are given in the place of an input."""
    from pipeline.errors import ConfigError

    counts = {f"--{name}": getattr(options, name) for name in ("nodes", "edges", "rows", "targets")}
    if counts["--nodes"] and counts["--edges"]:
        return True
    names = [name for name, count in counts.items() if count]
    if names:
        missing = " and ".join(name for name in ("--nodes", "--edges") if name not in names)
        raise ConfigError(f"{names[0]} is given without {missing}: a graph without an input takes --nodes and --edges")
    if options.config is None or options.workspace is None:
        missing = " and ".join(name for name in ("--config", "--workspace") if getattr(options, name[2:]) is None)
        raise ConfigError(f"plan lacks {missing}; without an input, give --nodes and --edges of the graph instead")
    return False


def _config(options: argparse.Namespace) -> PipelineConfig:
    """Return the configuration; of a graph without an input the defaults, with what --set says."""
    from jobs.config_file import read_config
    from pipeline.embedding.methods import CONFIG

    if options.config is not None:
        return read_config(options.config, options.overrides)
    return CONFIG.from_values({"input": {"path": "interactions"}}, options.overrides, "without --config")


def _assume(config: PipelineConfig, options: argparse.Namespace) -> _Subject:
    from pipeline.planning.assumed_graph import AssumedGraph

    counts = (options.nodes, options.edges, options.rows, options.targets, options.ids)
    graph = AssumedGraph.of(*counts, is_plain=config.input.is_plain)
    size = graph.input_size
    return _Subject(
        size=size,
        graph=graph.counts,
        workspace=None,
        input_facts={"path": None, "format": None, "files": None, **_size_facts(size)},
        is_text=options.ids == "string",
        has_release=True,
        slowness=1.0,
        memory_bytes=None,
        assumptions=graph.describe(),
    )


def _look(config: PipelineConfig, root: Location, options: argparse.Namespace) -> _Subject:
    from jobs.commands.existing import published_names
    from jobs.commands.machine import memory_bytes, slowness
    from jobs.session import use_storage
    from pipeline.ingest.figures import IngestFigures
    from pipeline.ingest.sources import list_sources
    from pipeline.planning import run_plan
    from pipeline.planning.input_size import measure_relations

    use_storage(config.storage, options.scratch)
    relations = config.all_relations
    sources = [list_sources(relation.path, options.date, f"{relation.section}.path") for relation in relations]
    size = measure_relations(config, sources)
    workspace = _workspace(config, root, options)
    is_text = size.source_ids is None or size.target_ids is None
    if workspace and workspace.find_manifest("edges"):
        is_text = workspace.figures("edges", IngestFigures).id_type == "string"
    return _Subject(
        size=size,
        graph=run_plan.graph_of(config, size, workspace),
        workspace=workspace,
        input_facts={
            "path": config.input.path,
            "format": sources[0][0].format,
            "files": sum(map(len, sources)),
            **_size_facts(size),
        },
        is_text=is_text,
        has_release=config.publish.name in published_names(config.publish.root(root)),
        slowness=slowness(),
        memory_bytes=memory_bytes(),
    )


def _size_facts(size: InputSize) -> dict[str, Any]:
    return {"bytes": size.bytes, "rows": size.rows, "rows_are_exact": size.is_exact, "tasks": size.tasks}


def _hashed_settings(config: PipelineConfig, graph: GraphCounts, workspace: Workspace | None) -> Settings | None:
    """Return the settings of hashed PPR; before the index is made, as if every edge weighed 1. None: another method."""
    from pipeline.embedding.methods import METHODS
    from pipeline.embedding.run_settings import settings_of
    from pipeline.embedding.settings import GraphSummary, Settings

    if not METHODS[config.form].whole_graph_rows:
        return None
    if workspace and workspace.find_manifest("node_index"):
        return settings_of(config, workspace)
    every, mean = (0, graph.nodes), 2 * graph.edges / max(graph.nodes, 1)
    return Settings(GraphSummary(graph.nodes, every, every, mean), config.embedding, config.form, config.ppr)


def _attributes(config: PipelineConfig, date: dt.date | None, workspace: Workspace | None) -> dict[str, Any]:
    """Return by type the files of attributes and, once they have been read, what became of their rows."""
    from pipeline.ingest.attributes.tables import attribute_sources
    from pipeline.ingest.figures import IngestFigures

    is_read = workspace is not None and workspace.find_manifest("edges") is not None
    counts = workspace.figures("edges", IngestFigures).attributes if workspace and is_read else {}
    files = {
        node_type: {
            "files": len(sources),
            "bytes": sum(source.bytes for source in sources),
            **{name: getattr(counts[node_type], name) for name in ("read", "nodes", "rejected") if node_type in counts},
        }
        for node_type, sources in attribute_sources(config, date, {}).items()
    }
    return {"attributes": files} if files else {}


def _workspace(config: PipelineConfig, root: Location, options: argparse.Namespace) -> Workspace | None:
    """Return the workspace of the run; None if some file of the input was never read as it is now."""
    from pipeline.errors import NotComputedError
    from pipeline.stages.opening import OpenOptions, open_workspace
    from pipeline.tasks import CachedRunner

    engine: Any = CachedRunner()
    try:
        if not isinstance(root, Path) or root.is_dir():
            future = options.allow_future
            opening = OpenOptions(options.date, "plan", starts_with_ingest=True, allow_future=future, is_dry=True)
            return open_workspace(engine, config, root, opening)
    except NotComputedError:
        pass
    return None


def _stages(workspace: Workspace | None) -> dict[str, str]:
    """Return "made" or "to do" by stage. All is taken as to do if the input was touched since it was read."""
    from pipeline.stages.chain import STAGES

    if workspace is None:
        return dict.fromkeys((stage.name for stage in STAGES), "to do")
    states = {
        stage.name: "made" if all(workspace.find_manifest(contract.name) for contract in stage.writes) else "to do"
        for stage in STAGES
    }
    return {**states, "publish": "always looks"}


def _date(date: dt.date | None, workspace: Workspace | None, *, has_counts: bool) -> dict[str, str | None]:
    if date:
        return {"date": date.isoformat(), "why": "as asked"}
    if workspace:
        from pipeline.workspace import UNDATED

        why = "the input has no times" if workspace.date == UNDATED else "the newest in the input"
        return {"date": workspace.date.isoformat(), "why": why}
    if has_counts:
        return {"date": None, "why": "there is no input"}
    return {"date": None, "why": "the newest in the input, once it has been read"}
