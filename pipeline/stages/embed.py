"""blocks -> part_rows, neighbor_lists, node_clusters: embed every part, list what nodes are near to, and group them."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from pipeline import codec
from pipeline.config.graph_sides import span_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.combine import settings_for
from pipeline.embedding.figures import EmbedFigures
from pipeline.embedding.methods import METHODS
from pipeline.embedding.ppr.list_request import ListFigures
from pipeline.embedding.rounds import Embedded, embed_parts
from pipeline.embedding.rows import FOLD_IN, SUBSPACE
from pipeline.embedding.run_settings import settings_of
from pipeline.embedding.settings import Settings
from pipeline.embedding.waves import BlockFiles
from pipeline.engine import Engine, Frame
from pipeline.ingest.figures import IndexFigures
from pipeline.locations import Location
from pipeline.partitioning.figures import LayoutFigures
from pipeline.planning.cuts import cut_of_layout
from pipeline.planning.embedding_work import work_for
from pipeline.planning.pricing import ShardChoice, choose_shards
from pipeline.stages import ppr_rows
from pipeline.stages.interest_clusters import make_clusters_of_interests
from pipeline.stages.neighbor_lists import make_lists
from pipeline.stages.node_codes import make_clusters
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.stages.warm_starts import SUBSPACE_ROWS, WarmStart, describe_rows, open_start
from pipeline.workspace import Workspace

NAME = "embed"

log = logging.getLogger(__name__)


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Make the rows, as they are before they are combined and scaled, lists and clusters, as far as they are asked for.

    Files of rows come set after set, as :class:`EmbedFigures` counts them.
    """
    sets = _block_files(workspace)
    rows = lists = Outcome({})
    if config.embedding.method != "none":
        rows = _embed_rows(engine, config, workspace, sets)
    if config.makes_lists:
        lists = make_lists(engine, config, workspace, sets[0])
    clusters = [make_clusters(engine, config, workspace)] if config.codes.of_graph else []
    if config.interests.clusters:
        clusters.append(make_clusters_of_interests(engine, config, workspace))
    figures = EmbedFigures(**rows.figures, lists=ListFigures(**lists.figures) if lists.figures else None)
    outcomes = (rows, lists, *clusters)
    records = [record for outcome in outcomes for record in outcome.records]
    tables, table_figures = (
        {name: value for outcome in outcomes for name, value in getattr(outcome, of).items()}
        for of in ("tables", "table_figures")
    )
    return Outcome(tables, codec.to_values(figures), records, table_figures)


def _block_files(workspace: Workspace) -> list[list[BlockFiles]]:
    """Return the files of every set of blocks, the parts' own first."""
    nodes, edges, routes = (workspace.files(table) for table in ("block_nodes", "block_edges", "block_routes"))
    files = zip(nodes, edges, routes, strict=True)
    features = iter(workspace.files("block_features"))  # no files where no node has attributes
    return [
        [BlockFiles(part, *next(files), part in blocks.splits, next(features, None)) for part in blocks.parts]
        for blocks in workspace.figures("block_nodes", LayoutFigures).sets
    ]


def _embed_rows(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, sets: Sequence[Sequence[BlockFiles]]
) -> Outcome:
    """Embed all parts, and the blocks that a mode adds; or, of hashed PPR, all nodes by the whole graph."""
    if METHODS[config.form].whole_graph_rows:
        return ppr_rows.make_rows(engine, config, workspace, settings_of(config, workspace))
    block_sets = workspace.figures("block_nodes", LayoutFigures).sets
    settings = settings_of(config, workspace)
    if settings.no_return != settings.embedding.no_return:
        log.warning(
            'stage=%s no_return=0 asked=%g reason="no %s has two neighbours: without steps back nothing would be left"',
            *(NAME, settings.embedding.no_return, config.input.source_type),
        )
    choice = shards_for(config, workspace, engine.name, engine.slots)
    log.info(
        'stage=%s parts=%d shards=%d task_bytes=%d cpu_seconds_expected=%.1f reason="%s"',
        *(NAME, choice.price.parts, choice.price.shards, choice.price.task_bytes, choice.price.cpu_seconds),
        choice.reason,
    )
    settings = replace(settings, embedding=settings.embedding.model_copy(update={"shards": choice.price.shards}))
    exchanges = config.embedding.boundary == "exchange"
    nodes = [blocks.nodes for blocks in block_sets]
    start = open_start(config, workspace)
    warm = _go_on(engine, sets[0], settings, workspace.work(NAME) / "warm", start) if start else None
    results = [warm] if warm else []
    for position, (blocks, block_files) in enumerate(zip(block_sets, sets, strict=True) if not warm else ()):
        of_set = settings if exchanges else settings_for(settings, blocks.name, position, nodes)
        folder = workspace.work(NAME) / blocks.name if position else workspace.work(NAME)
        results.append(embed_parts(engine, block_files, of_set, folder, exchange=exchanges))
    first = results[0]
    files = [describe_task_files(result.row_records, "rows") for result in results]
    figures = {
        "shards": choice.price.shards,
        "sets": [len(of_set) for of_set in files],
        "sums": first.sums if len(results) == 1 else None,  # of combined rows: when they have been combined
        "rows_moved": first.rows_moved,
        "floats_moved_per_node": first.floats_moved / settings.graph.nodes,
        "found": dict(first.report),
    }
    tables = {
        "part_rows": [file for of_set in files for file in of_set],
        "fold_in_rows": describe_task_files(first.row_records, FOLD_IN),
        SUBSPACE_ROWS: describe_task_files(first.row_records, SUBSPACE),
    }
    records = [record for result in results for record in result.records]
    if not settings.keeps_subspace:
        return Outcome(tables, figures, records)
    cold_residual = start.cold_residual if start and warm else first.report["residual"]
    return Outcome(tables, figures, records, {SUBSPACE_ROWS: describe_rows(config, workspace, cold_residual)})


def _go_on(
    engine: Engine[Frame], blocks: Sequence[BlockFiles], settings: Settings, folder: Location, start: WarmStart
) -> Embedded | None:
    """Embed all parts from the rows of an earlier night; None if these are too far from tonight's graph."""
    result = embed_parts(engine, blocks, replace(settings, earlier=start.subspace), folder)
    residual = result.report["residual"]
    is_near = residual <= start.cold_residual
    log.log(
        logging.INFO if is_near else logging.WARNING,
        "stage=%s start=%s residual=%.3g largest=%.3g from=%s",
        *(NAME, start.date, residual, start.cold_residual),
        "earlier_rows" if is_near else 'random_rows reason="the graph has changed too much since that night"',
    )
    return result if is_near else None


def shards_for(config: PipelineConfig, workspace: Workspace, engine: str, slots: int) -> ShardChoice:
    """Return how many tasks share the columns of a part, and why: as set, or what the blocks make cheapest."""
    graph = workspace.figures("node_index", IndexFigures)
    first, stop = span_of(config.sides.columns, graph.types)
    work, most = work_for(config, graph.nodes, stop - first), config.partition.max_bytes
    return choose_shards(cut_of_layout(workspace), work, most, engine, slots, shards=config.embedding.shards)
