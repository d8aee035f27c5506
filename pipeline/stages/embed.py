"""blocks -> part_rows: embed every part, round by round."""

from __future__ import annotations

from pipeline.config import PipelineConfig
from pipeline.embedding.rounds import BlockFiles, embed_parts
from pipeline.embedding.rows import Settings
from pipeline.engines.base import Engine, Frame
from pipeline.stages.outcome import MadeFile, Outcome
from pipeline.workspace import Workspace

NAME = "embed"


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Embed all parts; rows are those before the last scaling, see :mod:`pipeline.stages.aggregate`."""
    figures = workspace.manifest("block_nodes").figures
    files = [workspace.files(table) for table in ("block_nodes", "block_edges", "block_routes")]
    blocks = [
        BlockFiles(part, nodes, edges, routes, part in figures["splits"])
        for part, nodes, edges, routes in zip(figures["parts"], *files, strict=True)
    ]
    done = embed_parts(engine, blocks, settings_of(config, workspace), workspace.work(NAME))
    made = [MadeFile(path, rows, checksum) for path, rows, checksum in done.files]
    return Outcome({"part_rows": made}, {"sums": done.sums.to_json() if done.sums else None}, done.records)


def settings_of(config: PipelineConfig, workspace: Workspace) -> Settings:
    """Return what the method needs: its configuration, and the facts of the graph that it refers to."""
    graph = workspace.manifest("node_index").figures
    return Settings(
        embedding=config.embedding,
        form=config.form,
        nodes=graph["nodes"],
        source=tuple(graph["types"][config.input.source_type]),
        target=tuple(graph["types"][config.input.target_type]),
    )
