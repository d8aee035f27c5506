"""The settings of a run: its configuration, and the summary of its graph."""

from pipeline.blocks.arrays import NodeArrays
from pipeline.config.graph_sides import span_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import METHODS
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.workspace import Workspace


def settings_of(config: PipelineConfig, workspace: Workspace) -> Settings:
    """Return what the method needs: its configuration, and the summary of the graph."""
    figures = workspace.manifest("node_index").figures
    sides = config.sides
    source, target = (span_of(side, figures["types"]) for side in (sides.rows, sides.columns))
    graph = GraphSummary(figures["nodes"], source, target)
    if METHODS[config.form].needs_means:
        nodes = NodeArrays(workspace.graph_files("node_arrays"))
        graph = graph.with_degrees(nodes.all("weight"), nodes.all("degree"))
    return Settings(
        *(graph, config.embedding, config.form, config.ppr),
        keeps_fold_in=config.publish.fold_in,
        keeps_subspace=config.embedding.values_of(config.form).warm_start,
    )
