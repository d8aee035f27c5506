"""The codes, and the clusters of interests, of an earlier night that a night goes on with."""

import logging
from typing import Any

from pipeline import codec
from pipeline.codes.code_tasks import CodeFigures, EarlierCodes
from pipeline.codes.interest_tasks import EarlierInterests, InterestFigures
from pipeline.codes.kept_codes import KeptFigures
from pipeline.config.model import PipelineConfig
from pipeline.stages.taken_over import TakenOver
from pipeline.workspace import Workspace
from schemas.tables import CLUSTER_CODES, INTEREST_CLUSTERS, NODE_CLUSTERS, ROW_CLUSTER_CODES, ROW_CLUSTERS

log = logging.getLogger(__name__)


def _keys_of_graph_codes(config: PipelineConfig) -> Any:
    """Return the keys that nights which share codes of the graph have in common; None where a run makes none."""
    return config.codes.keys() if config.codes.of_graph else None


def _keys_of_row_codes(config: PipelineConfig) -> Any:
    """Return the same of codes of vectors."""
    return config.codes.keys() if config.codes.of_vectors else None


_ARRAYS = "node_arrays"
CODES = TakenOver("codes", "embed", (NODE_CLUSTERS.name, CLUSTER_CODES.name, _ARRAYS), reads=_keys_of_graph_codes)
ROW_CODES = TakenOver(
    "row-codes", "aggregate", (ROW_CLUSTERS.name, ROW_CLUSTER_CODES.name, _ARRAYS), reads=_keys_of_row_codes
)
INTERESTS = TakenOver(
    "interests", "embed", (INTEREST_CLUSTERS.name, _ARRAYS), reads=lambda config: config.interests.clusters or None
)


def codes_of(config: PipelineConfig) -> TakenOver:
    """Return what nights take over of their codes."""
    return ROW_CODES if config.codes.of_vectors else CODES


def open_codes(config: PipelineConfig, workspace: Workspace) -> EarlierCodes | None:
    """Return the codes that a run goes on with, checked; None: it makes them anew.

    Raises
    ------
    StorageError : they are not there any more.
    """
    before, codes = workspace.inputs.codes, codes_of(config)
    if before is None:
        return None
    run = codes.open(workspace, before)
    nodes, clusters, _ = codes.tables
    figures, of_cells = CodeFigures.of(run, nodes), run.manifest(clusters).figures
    return EarlierCodes(
        night=before.date.isoformat(),
        codes_id=figures.codes_id,
        node_arrays=tuple(run.files(_ARRAYS)),
        node_clusters=run.files(nodes)[0],
        cluster_codes=run.files(clusters)[0],
        resolution=figures.resolution,
        cells=of_cells.get("cells"),
        first_numbers=of_cells.get("first_numbers", ()),
    )


def open_interests(workspace: Workspace) -> EarlierInterests | None:
    """Return the clusters of interests that a run goes on with, checked; None: it makes them anew.

    Raises
    ------
    StorageError : they are not there any more.
    """
    before = workspace.inputs.interests
    if before is None:
        return None
    run = INTERESTS.open(workspace, before)
    (clusters,) = run.files(INTEREST_CLUSTERS.name)
    arrays = tuple(run.files(_ARRAYS))
    return EarlierInterests(before.date.isoformat(), InterestFigures.of(run), arrays, clusters)


def describe_origin(kind: TakenOver, config: PipelineConfig, workspace: Workspace) -> dict[str, str]:
    """Return what the manifest of a night's clusters says, for the nights that go on with them."""
    lineage = workspace.inputs.lineage
    if lineage is None:
        return {}
    return {"lineage": kind.key(config, lineage), "index": workspace.fingerprints["index"]}


def log_kept(kind: TakenOver, kept_figures: KeptFigures | None) -> None:
    """Log what became of an earlier night's."""
    if kept_figures is not None:
        figures = " ".join(f"{name}={value}" for name, value in codec.to_values(kept_figures).items())
        log.info("stage=%s %s_of_%s", kind.stage, kind.name, figures)
