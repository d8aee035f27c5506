"""blocks -> part_rows: embed every part, round by round."""

from __future__ import annotations

from pipeline.config import PipelineConfig
from pipeline.embedding.combine import settings_for
from pipeline.embedding.rounds import BlockFiles, embed_parts
from pipeline.embedding.rows import Settings
from pipeline.engines.base import Engine, Frame
from pipeline.stages.outcome import MadeFile, Outcome
from pipeline.workspace import Workspace

NAME = "embed"


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Embed all parts, and the blocks that a mode adds; rows are those before they are combined and scaled.

    Files of rows come set after set, as ``figures["sets"]`` counts them.
    """
    layout = workspace.manifest("block_nodes").figures
    settings = settings_of(config, workspace)
    exchanges = config.embedding.boundary == "exchange"
    tables = [workspace.files(table) for table in ("block_nodes", "block_edges", "block_routes")]
    files = iter(zip(*tables, strict=True))
    nodes = [one["nodes"] for one in layout["sets"]]
    done = []
    for position, blocks in enumerate(layout["sets"]):
        here = []
        for part in blocks["parts"]:
            nodes_file, edges_file, routes_file = next(files)
            here.append(BlockFiles(part, nodes_file, edges_file, routes_file, part in blocks["splits"]))
        asked = settings if exchanges else settings_for(settings, blocks["name"], position, nodes)
        place = workspace.work(NAME) / blocks["name"] if position else workspace.work(NAME)
        done.append(embed_parts(engine, here, asked, place, exchange=exchanges))
    made = [MadeFile(path, rows, checksum) for embedded in done for path, rows, checksum in embedded.files]
    sums = done[0].sums if len(done) == 1 else None  # of combined rows: when they have been combined
    outcome_figures = {
        "sets": [len(embedded.files) for embedded in done],
        "sums": sums.to_json() if sums else None,
        "rows_moved": done[0].rows_moved,
        "floats_moved_per_node": done[0].floats_moved / settings.nodes,
    }
    return Outcome({"part_rows": made}, outcome_figures, [record for embedded in done for record in embedded.records])


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
