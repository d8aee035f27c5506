"""Says what 'run' with the same options would do, and computes nothing: files and tasks, the date,
which stages are made already, memory of a block and of a task, the number of parts, disk needed and
free, and what embedding costs in other parts and shards: memory, exchanged rows, time. Before the
index is made, counts of nodes and edges are upper bounds from the input's rows.

examples
  graphquilt plan --config config.toml --workspace work
  graphquilt plan --config config.toml --workspace work --workers 4 --set embedding.dim=256 --json
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.answers import Answer
from jobs.arguments import add_stage_options

if TYPE_CHECKING:
    from pipeline.config.model import PipelineConfig
    from pipeline.embedding.settings import Settings
    from pipeline.ingest.sources import SourceFile
    from pipeline.planning.input_size import InputSize
    from pipeline.planning.sizes import GraphCounts
    from pipeline.workspace import Workspace

add_options = add_stage_options


def answer(options: argparse.Namespace) -> Answer:
    """Look at the input's sizes and at the workspace.

    Raises
    ------
    ConfigError : wrong config or workspace. InputError : the input can't be found or read.
    """
    from jobs.commands.existing import folder_of
    from jobs.commands.machine import cores, memory_bytes, slowness
    from jobs.commands.plan_text import text_of, warnings_of
    from jobs.config_file import read_config
    from pipeline.errors import ConfigError
    from pipeline.ingest.sources import list_sources
    from pipeline.planning import run_plan
    from pipeline.planning.alternatives import price_alternatives
    from pipeline.planning.input_size import measure_input

    config = read_config(options.config, options.overrides)
    root = folder_of(options.workspace)
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is a file, and a workspace is a folder; choose another --workspace")
    sources = list_sources(config.input.path, options.date)
    size = measure_input(sources, config.input)
    workspace = _workspace(config, root, options)
    stages = _stages(workspace)
    graph = run_plan.graph_of(config, size, workspace)
    parts = run_plan.parts_of(config, graph, workspace)
    slots = options.workers if options.engine == "local" else max(options.workers, int(cores()))
    hashed_settings = _hashed_settings(config, graph, workspace)
    prices = price_alternatives(config, graph, workspace, parts, options.engine, slots, hashed_settings)
    lists = run_plan.list_facts(config, graph, parts, workspace, slots)
    # Publish looks each time, and copies once.
    is_published = workspace is not None and workspace.finished("release") is not None
    states = {**stages, "publish": "made"} if is_published else stages
    machine = slowness()
    facts = {
        "input": _input_facts(config.input.path, sources, size),
        **_attributes(config, options.date, workspace),
        "date": _date(options.date, workspace),
        "engine": options.engine,
        "stages": stages,
        "graph": {"nodes": graph.nodes, "edges": graph.edges, "are_exact": graph.is_exact},
        "parts": parts,
        "shards": prices.chosen.shards,
        "alternatives": run_plan.alternative_facts(prices, machine),
        "embed": run_plan.embed_facts(prices, slots, machine),
        **({"lists": lists} if lists else {}),
        "memory": run_plan.memory_facts(config, graph, prices, lists, options.workers, memory_bytes()),
        "disk": run_plan.disk_facts(config, graph, size, prices, lists, states, root),
    }
    warnings = warnings_of(facts, config)
    return Answer({**facts, "warnings": warnings}, text_of(facts, warnings))


def _input_facts(path: str, sources: Sequence[SourceFile], size: InputSize) -> dict[str, Any]:
    return {
        "path": path,
        "format": sources[0].format,
        "files": len(sources),
        "bytes": size.bytes,
        "rows": size.rows,
        "rows_are_exact": size.is_exact,
        "tasks": size.tasks,
    }


def _hashed_settings(config: PipelineConfig, graph: GraphCounts, workspace: Workspace | None) -> Settings | None:
    """Return the settings of hashed PPR; before the index is made, as if every edge weighed 1. None: another method."""
    from pipeline.embedding.methods import METHODS
    from pipeline.embedding.run_settings import settings_of
    from pipeline.embedding.settings import GraphSummary, Settings

    if not METHODS[config.form].whole_graph_rows:
        return None
    if workspace and workspace.finished("node_index"):
        return settings_of(config, workspace)
    every, mean = (0, graph.nodes), 2 * graph.edges / max(graph.nodes, 1)
    return Settings(GraphSummary(graph.nodes, every, every, mean), config.embedding, config.form, config.ppr)


def _attributes(config: PipelineConfig, date: dt.date | None, workspace: Workspace | None) -> dict[str, Any]:
    """Return by type the files of attributes and, once they have been read, what became of their rows."""
    from pipeline.ingest.attributes.tables import attribute_sources
    from pipeline.ingest.figures import IngestFigures

    is_read = workspace is not None and workspace.finished("edges") is not None
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


def _workspace(config: PipelineConfig, root: Path, options: argparse.Namespace) -> Workspace | None:
    """Return the workspace of the run; None if some file of the input was never read as it is now."""
    from pipeline.errors import NotComputedError
    from pipeline.stages.opening import OpenOptions, open_workspace
    from pipeline.tasks import CachedRunner

    engine: Any = CachedRunner()
    try:
        if root.is_dir():
            future = options.allow_future
            opening = OpenOptions(options.date, "plan", starts_with_ingest=True, allow_future=future, is_dry=True)
            return open_workspace(engine, config, root, opening)
    except NotComputedError:
        pass
    return None


def _stages(workspace: Workspace | None) -> dict[str, str]:
    """Return by stage "made" or "to do". Of an input that was touched since it was read, all is taken as to do."""
    from pipeline.stages.chain import STAGES

    if workspace is None:
        return dict.fromkeys((stage.name for stage in STAGES), "to do")
    states = {
        stage.name: "made" if all(workspace.finished(contract.name) for contract in stage.writes) else "to do"
        for stage in STAGES
    }
    return {**states, "publish": "always looks"}


def _date(date: dt.date | None, workspace: Workspace | None) -> dict[str, str | None]:
    if date:
        return {"date": date.isoformat(), "why": "as asked"}
    if workspace:
        return {"date": workspace.date.isoformat(), "why": "the newest in the input; 1970-01-01 if undated"}
    return {"date": None, "why": "the newest in the input: known once it has been read"}
