"""The codes, and the clusters of interests, of an earlier night that a night goes on with."""

from __future__ import annotations

import logging
from typing import Any

from pipeline import codec
from pipeline.codes.code_tasks import CodeFigures, EarlierCodes
from pipeline.codes.interest_tasks import EarlierInterests, InterestFigures
from pipeline.codes.kept_codes import KeptFigures
from pipeline.config.model import PipelineConfig
from pipeline.stages.taken_over import TakenOver
from pipeline.workspace import Workspace
from schemas.tables import CLUSTER_CODES, INTEREST_CLUSTERS, NODE_CLUSTERS

log = logging.getLogger(__name__)


def _keys_of_codes(config: PipelineConfig) -> Any:
    """Return the keys that nights which share their codes have in common; None where a run makes none."""
    return config.codes.model_dump(mode="json") if config.codes.enabled else None


CODES = TakenOver("codes", "embed", (NODE_CLUSTERS.name, CLUSTER_CODES.name, "node_arrays"), reads=_keys_of_codes)
INTERESTS = TakenOver(
    "interests",
    "embed",
    (INTEREST_CLUSTERS.name, "node_arrays"),
    reads=lambda config: config.interests.clusters or None,
)


def open_codes(workspace: Workspace) -> tuple[EarlierCodes, str] | None:
    """Return the codes that a run goes on with, checked, and their ``codes_id``; None: it makes them anew.

    Raises
    ------
    StorageError : they are not there any more.
    """
    before = workspace.inputs.codes
    if before is None:
        return None
    run = CODES.open(workspace, before)
    figures = CodeFigures.of(run)
    (clusters,), (codes,) = (run.files(table.name) for table in (NODE_CLUSTERS, CLUSTER_CODES))
    arrays = tuple(run.files("node_arrays"))
    return EarlierCodes(before.date.isoformat(), figures.resolution, arrays, clusters, codes), figures.codes_id


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
    arrays = tuple(run.files("node_arrays"))
    return EarlierInterests(before.date.isoformat(), InterestFigures.of(run), arrays, clusters)


def describe_origin(kind: TakenOver, config: PipelineConfig, workspace: Workspace) -> dict[str, str]:
    """Return what the manifest of a night's clusters says, for the nights that go on with them."""
    lineage = workspace.inputs.lineage
    if lineage is None:
        return {}
    return {"lineage": kind.key(config, lineage), "index": workspace.fingerprints["index"]}


def log_kept(kind: TakenOver, kept: KeptFigures | None) -> None:
    """Log what became of an earlier night's."""
    if kept is not None:
        figures = " ".join(f"{name}={value}" for name, value in codec.to_values(kept).items())
        log.info("stage=embed %s_of_%s", kind.name, figures)
