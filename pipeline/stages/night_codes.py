"""The codes of an earlier night that a night goes on with."""

from __future__ import annotations

from typing import Any

from pipeline.codes.code_tasks import CodeFigures, EarlierCodes
from pipeline.config.model import PipelineConfig
from pipeline.stages.taken_over import TakenOver
from pipeline.workspace import Workspace
from schemas.tables import CLUSTER_CODES, NODE_CLUSTERS


def _keys_of_codes(config: PipelineConfig) -> Any:
    """Return the keys that nights which share their codes have in common; None where a run makes none."""
    return config.codes.model_dump(mode="json") if config.codes.enabled else None


CODES = TakenOver("codes", "embed", (NODE_CLUSTERS.name, CLUSTER_CODES.name, "node_arrays"), reads=_keys_of_codes)


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


def describe_origin(config: PipelineConfig, workspace: Workspace) -> dict[str, str]:
    """Return what the manifest of a night's codes says, for the nights that go on with them."""
    lineage = workspace.inputs.lineage
    if lineage is None:
        return {}
    return {"lineage": CODES.key(config, lineage), "index": workspace.fingerprints["index"]}
