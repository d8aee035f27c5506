"""blocks -> part_rows, neighbor_lists: embed every part, round by round, and list what each node is near to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from pipeline import codec
from pipeline.config.model import PipelineConfig
from pipeline.embedding.combine import settings_for
from pipeline.embedding.figures import EmbedFigures
from pipeline.embedding.methods import METHODS
from pipeline.embedding.ppr.list_request import ListFigures
from pipeline.embedding.rounds import BlockFiles, embed_parts
from pipeline.embedding.run_settings import settings_of
from pipeline.engine import Engine, Frame
from pipeline.planning.cuts import cut_of_layout
from pipeline.planning.embedding_work import work_for
from pipeline.planning.pricing import ShardChoice, choose_shards
from pipeline.stages import ppr_rows
from pipeline.stages.neighbor_lists import make_lists
from pipeline.stages.outcome import Outcome, OutputFile
from pipeline.workspace import Workspace

NAME = "embed"

log = logging.getLogger(__name__)


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Make the rows, as they are before they are combined and scaled, and the lists, as far as they are asked for.

    Files of rows come set after set, as :class:`EmbedFigures` counts them.
    """
    sets = _block_files(workspace)
    rows = lists = Outcome({})
    if config.embedding.method != "none":
        rows = _embedded(engine, config, workspace, sets)
    if config.ppr.neighbors:
        lists = make_lists(engine, config, workspace, sets[0])
    figures = EmbedFigures(**rows.figures, lists=ListFigures(**lists.figures) if lists.figures else None)
    return Outcome({**rows.tables, **lists.tables}, codec.to_values(figures), [*rows.records, *lists.records])


def _block_files(workspace: Workspace) -> list[list[BlockFiles]]:
    """Return the files of every set of blocks, the parts' own first."""
    layout = workspace.manifest("block_nodes").figures
    tables = [workspace.files(table) for table in ("block_nodes", "block_edges", "block_routes")]
    files = iter(zip(*tables, strict=True))
    features = iter(workspace.files("block_features"))  # no files where no node has attributes
    sets = []
    for blocks in layout["sets"]:
        here = []
        for part in blocks["parts"]:
            nodes_file, edges_file, routes_file = next(files)
            has_splits = part in blocks["splits"]
            here.append(BlockFiles(part, nodes_file, edges_file, routes_file, has_splits, next(features, None)))
        sets.append(here)
    return sets


def _embedded(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, sets: Sequence[Sequence[BlockFiles]]
) -> Outcome:
    """Embed all parts, and the blocks that a mode adds; or, of hashed PPR, all nodes by the whole graph."""
    if METHODS[config.form].whole_graph_rows:
        return ppr_rows.make_rows(engine, config, workspace, settings_of(config, workspace))
    layout = workspace.manifest("block_nodes").figures
    settings = settings_of(config, workspace)
    if settings.no_return != settings.embedding.no_return:
        log.warning(
            'stage=%s no_return=0 asked=%g reason="no %s has two neighbours: without steps back nothing would be left"',
            *(NAME, settings.embedding.no_return, config.input.source_type),
        )
    chosen = shards_for(config, workspace, engine.name, engine.slots)
    log.info(
        'stage=%s parts=%d shards=%d task_bytes=%d cpu_seconds_expected=%.1f reason="%s"',
        *(NAME, chosen.price.parts, chosen.price.shards, chosen.price.task_bytes, chosen.price.cpu_seconds),
        chosen.reason,
    )
    settings = replace(settings, embedding=settings.embedding.model_copy(update={"shards": chosen.price.shards}))
    exchanges = config.embedding.boundary == "exchange"
    nodes = [one["nodes"] for one in layout["sets"]]
    done = []
    for position, (blocks, here) in enumerate(zip(layout["sets"], sets, strict=True)):
        asked = settings if exchanges else settings_for(settings, blocks["name"], position, nodes)
        place = workspace.work(NAME) / blocks["name"] if position else workspace.work(NAME)
        done.append(embed_parts(engine, here, asked, place, exchange=exchanges))
    made = [OutputFile(path, rows, checksum) for embedded in done for path, rows, checksum in embedded.files]
    sums = done[0].sums if len(done) == 1 else None  # of combined rows: when they have been combined
    outcome_figures = {
        "shards": chosen.price.shards,
        "sets": [len(embedded.files) for embedded in done],
        "sums": sums.to_json() if sums else None,
        "rows_moved": done[0].rows_moved,
        "floats_moved_per_node": done[0].floats_moved / settings.nodes,
        "found": dict(done[0].report),
    }
    written = {"part_rows": made, "fold_in_rows": [OutputFile(*file) for file in done[0].fold_in_files]}
    return Outcome(written, outcome_figures, [record for embedded in done for record in embedded.records])


def shards_for(config: PipelineConfig, workspace: Workspace, engine: str, slots: int) -> ShardChoice:
    """Return how many tasks share the columns of a part, and why: as set, or what the blocks make cheapest."""
    graph = workspace.manifest("node_index").figures
    first, stop = graph["types"][config.input.target_type]
    work, most = work_for(config, graph["nodes"], stop - first), config.partition.max_bytes
    return choose_shards(cut_of_layout(workspace), work, most, engine, slots, configured=config.embedding.shards)
