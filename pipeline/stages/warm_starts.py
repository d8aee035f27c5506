"""What a night of a lineage starts its eigenvectors from: those of an earlier night, as ``embedding.warm_start`` asks.

Which night that is, is part of embed's fingerprint.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from pipeline import codec
from pipeline.config.model import PipelineConfig
from pipeline.embedding.earlier_rows import EarlierSubspace
from pipeline.stages.taken_over import TakenOver
from pipeline.workspace import Workspace

SUBSPACE_ROWS = "subspace_rows"


def _keys_of_rows(config: PipelineConfig) -> Any:
    """Return the keys that nights which start from each other share; None without a warm start."""
    if config.embedding.method == "none" or not config.embedding.values_of(config.form).warm_start:
        return None
    return config.embedding.model_dump(mode="json", exclude={"shards", "align"})


VECTORS = TakenOver("vectors", "embed", (SUBSPACE_ROWS, "node_arrays"), reads=_keys_of_rows)


@dataclass(frozen=True)
class SubspaceOrigin:
    """What a night says of the rows that it leaves.

    lineage : and the keys of the embedding: nights that share them may start from the rows.
    index : fingerprint of the nodes that the rows are of.
    cold_residual : what the last product started from, in the nearest night that began with random rows. Rows of an
        earlier night that are further off are not gone on with.
    """

    lineage: str
    index: str
    cold_residual: float


@dataclass(frozen=True)
class WarmStart:
    """The rows that a night starts from, whose night's date, and the residual up to which they are gone on with."""

    date: dt.date
    subspace: EarlierSubspace
    cold_residual: float


def open_start(config: PipelineConfig, workspace: Workspace) -> WarmStart | None:
    """Return what a run starts from, checked; None: random rows.

    Raises
    ------
    StorageError : it is not there any more.
    """
    before = workspace.inputs.start
    if before is None:
        return None
    run = VECTORS.open(workspace, before)
    rows, node_arrays = (tuple(run.files(table)) for table in (SUBSPACE_ROWS, "node_arrays"))
    subspace = EarlierSubspace(rows, node_arrays, leading=config.embedding.values_of(config.form).rank)
    return WarmStart(before.date, subspace, run.manifest(SUBSPACE_ROWS).figures["cold_residual"])


def describe_rows(config: PipelineConfig, workspace: Workspace, cold_residual: float) -> dict[str, Any]:
    """Return what the manifest of the rows says, for the nights that start from them."""
    lineage = workspace.inputs.lineage
    assert lineage is not None  # the config's reader has seen to it
    return codec.to_values(SubspaceOrigin(VECTORS.key(config, lineage), workspace.fingerprints["index"], cold_residual))
