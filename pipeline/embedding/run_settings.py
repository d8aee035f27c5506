"""The settings of a run: its configuration, and the facts of its graph that the method refers to."""

from __future__ import annotations

from typing import Any

from pipeline.blocks.arrays import NodeArrays
from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import METHODS
from pipeline.embedding.rows import Settings, mean_strength_and_weight, returns_at_once
from pipeline.workspace import Workspace


def settings_of(config: PipelineConfig, workspace: Workspace) -> Settings:
    """Return what the method needs: its configuration, and the facts of the graph that it refers to."""
    graph = workspace.manifest("node_index").figures
    source, target = (tuple(graph["types"][name]) for name in (config.input.source_type, config.input.target_type))
    of_graph = _facts_of_graph(workspace, source, target) if METHODS[config.form].needs_means else {}
    return Settings(
        embedding=config.embedding,
        form=config.form,
        nodes=graph["nodes"],
        source=source,
        target=target,
        **of_graph,
        keeps_fold_in=config.publish.fold_in,
        **walk_settings(config),
    )


def walk_settings(config: PipelineConfig) -> dict[str, Any]:
    """Return what walks set of vectors, as keywords of Settings; of other methods they set nothing."""
    names = METHODS[config.form].space_of_settings
    return {name: value for name, value in config.ppr if name in names}


def _facts_of_graph(workspace: Workspace, source: tuple[int, int], target: tuple[int, int]) -> dict[str, Any]:
    """Return what settings know of the graph's weights and degrees, by name."""
    nodes = NodeArrays(workspace.files("node_arrays"))
    degree = nodes.all("degree")
    mean_strength, mean_weight = mean_strength_and_weight(nodes.all("weight"), degree, nodes.nodes)
    return {
        "mean_strength": mean_strength,
        "mean_weight": mean_weight,
        "returns_at_once": returns_at_once(degree, source, target),
    }
