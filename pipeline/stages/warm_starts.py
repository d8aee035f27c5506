"""What a night of a lineage starts its eigenvectors from: those of an earlier night, as ``embedding.warm_start`` asks.

Which night that is, is recorded as a date's run starts, as its tree is, and is part of embed's fingerprint. So a run
that is resumed, repeated or recomputed starts from the same rows, and makes the same bytes.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, replace
from typing import Any

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.embedding.earlier_rows import EarlierSubspace
from pipeline.errors import DamagedFileError, StorageError
from pipeline.locations import Location
from pipeline.stages.chain import MAKER, stage_named
from pipeline.stages.lineages import earlier_nights, problem_of_run
from pipeline.storage import fingerprint_of
from pipeline.workspace import EarlierRun, Lineage, Workspace

log = logging.getLogger(__name__)

SUBSPACE_ROWS = "subspace_rows"
_TABLES = ("node_arrays", SUBSPACE_ROWS)


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


def choose_start(
    root: Location,
    config: PipelineConfig,
    lineage: Lineage | None,
    date: dt.date,
    *,
    starts_with_ingest: bool,
    is_dry: bool,
) -> EarlierRun | None:
    """Return the run of the nearest earlier night whose rows are whole; None: this one starts from random rows.

    A run that ``starts_with_ingest`` records it, unless it ``is_dry``.
    """
    if lineage is None or lineage.start == date or not _wants_warm_start(config):
        return None
    key = _start_key(config, lineage)
    path = root / "inputs" / f"start-{date}-{key[:16]}.json"
    try:
        record = storage.read_checked_json(path)
    except DamagedFileError as error:
        log.warning("warning: %s; the rows to start from are chosen anew", error)
        record = None
    if record is None:
        run = _nearest(root, key, lineage, date)
        if starts_with_ingest and not is_dry:
            storage.write_checked_json(path, {"run": None if run is None else codec.to_values(run)})
        return run
    return None if record["run"] is None else codec.from_values(EarlierRun, record["run"])


def open_start(config: PipelineConfig, workspace: Workspace) -> WarmStart | None:
    """Return what a run starts from, checked; None: random rows.

    Raises
    ------
    StorageError : it is not there any more.
    """
    before = workspace.inputs.start
    if before is None:
        return None
    run = replace(workspace, date=before.date, fingerprints=before.fingerprints)
    if problem := problem_of_run(run, _TABLES):
        raise StorageError(
            f"{workspace.described_date} starts from the vectors of {before.date}, and {problem}. Put it back; or "
            f"remove {workspace.root / 'inputs'}/start-{workspace.date}-*.json and run again, which chooses others"
        )
    rows, node_arrays = (tuple(run.files(table)) for table in (SUBSPACE_ROWS, "node_arrays"))
    subspace = EarlierSubspace(rows, node_arrays, leading=config.embedding.resolved(config.form).rank)
    return WarmStart(before.date, subspace, run.manifest(SUBSPACE_ROWS).figures["cold_residual"])


def describe_rows(config: PipelineConfig, workspace: Workspace, cold_residual: float) -> dict[str, Any]:
    """Return what the manifest of the rows says, for the nights that start from them."""
    lineage = workspace.inputs.lineage
    assert lineage is not None  # the config's reader has seen to it
    return codec.to_values(SubspaceOrigin(_start_key(config, lineage), workspace.fingerprints["index"], cold_residual))


def _wants_warm_start(config: PipelineConfig) -> bool:
    return config.embedding.method != "none" and config.embedding.resolved(config.form).warm_start


def _start_key(config: PipelineConfig, lineage: Lineage) -> str:
    """Return what nights that start from each other have in common."""
    embedding = config.embedding.model_dump(mode="json", exclude={"shards", "align"})
    return fingerprint_of([lineage.key, embedding, stage_named("embed").algorithm_version])


def _nearest(root: Location, key: str, lineage: Lineage, date: dt.date) -> EarlierRun | None:
    for night in earlier_nights(root, SUBSPACE_ROWS, key, lineage.start, date):
        manifest = night.manifest
        run = EarlierRun(night.date, {"index": manifest.figures["index"], "embed": manifest.fingerprint})
        problem = problem_of_run(Workspace(root, night.date, run.fingerprints, MAKER, ""), _TABLES)
        if not problem:
            return run
        log.warning("date=%s warning: %s; its vectors are not started from", night.date, problem)
    return None
