"""node_embeddings, metrics -> a release: judge the figures, stage the files, swap CURRENT."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import logging
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow.parquet as pq

from graphquilt.pointers import RELEASES
from graphquilt.releases import ManifestError, read_manifest
from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import ContractError, GateError
from pipeline.metrics.baseline import Baseline
from pipeline.metrics.gate_figures import figures_for
from pipeline.publishing.copies import WorkingFile
from pipeline.publishing.gate import VERDICTS, Verdict, judge
from pipeline.publishing.release import publish
from pipeline.publishing.retention import clean
from pipeline.stages.chain import STAGES
from pipeline.stages.outcome import Outcome, OutputFile
from pipeline.workspace import Workspace, published_folder
from schemas.tables import FOLD_IN, NODE_EMBEDDINGS, PPR_NEIGHBOR_LISTS, PPR_NEIGHBORS, fold_in, node_embeddings

NAME = "publish"
#: Readers' CURRENT is not part of the run's tables, and may have moved since: this stage looks each time.
ALWAYS_RUNS = True

log = logging.getLogger(__name__)

_SAID_ELSEWHERE = ("metadata", "lists_metadata", "sums", "metrics")
_PACKAGES = ("numpy", "numba", "pyarrow", "scipy", "pymetis", "polars", "pyspark", "dask")


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:  # noqa: ARG001
    """Publish the table if no gate refuses it, and let old releases and working tables go.

    Raises
    ------
    GateError : a gate refused; CURRENT stays where it is.
    """
    table = workspace.manifest("node_embeddings")
    metrics = workspace.manifest("metrics").figures["metrics"]
    _check_files(workspace, table.figures)
    verdict = judge(
        config.publish.gates,
        figures_for(config, workspace, metrics, table.figures),
        metrics.get(PPR_NEIGHBORS, {}).get("exact", {}).get("errors", ()),
        is_first_night=not workspace.inputs.baselines,
        accepts_drift=workspace.publish.accept_drift,
    )
    release = f"{workspace.date}-{workspace.fingerprints['aggregate'][:12]}"
    if {gate.gate for gate in verdict.refused} <= _accepted_before(config, workspace, release):
        verdict = replace(verdict, accepts_drift=True)  # a rerun is no new night
    _say(verdict)
    if not verdict.passed:
        raise GateError(
            f"not published, the last release stays: {' '.join(verdict.reasons)} All figures are in "
            f"{workspace.folder('metrics')}; the tables are kept, and a run with other [publish.gates] reuses them. If "
            "the data are right and did change so much, publish --accept-drift publishes them."
            f"{_about_baseline(config, workspace)}",
            verdict.to_json(),
        )
    files = [
        WorkingFile(
            workspace.folder(table) / file.name, f"{table}/part-{number:05d}.parquet", file.bytes, file.checksum
        )
        for table in (NODE_EMBEDDINGS, FOLD_IN, PPR_NEIGHBORS)
        for number, file in enumerate(workspace.manifest(table).files)
    ]
    done = publish(
        workspace.root,
        config.publish.name,
        release,
        files,
        _manifest(config, workspace, table.figures) | {"accepted_drift": verdict.to_json()["accepted_drift"]},
        metrics,
        verdict.to_json(),
        data_date=workspace.date,
        contract_version=table.version,
        force_current=workspace.publish.force_current,
    )
    cleaned = clean(
        workspace.root,
        config.publish.name,
        keep_releases=config.publish.keep_releases,
        keep_runs=config.publish.keep_runs,
        min_age_hours=config.publish.min_age_hours,
        now=dt.datetime.now(dt.UTC),
    )
    log.info(
        "stage=publish release=%s is_new=%s current_moved=%s path=%s removed=%d freed_bytes=%d",
        *(done.release, done.is_new, done.current_moved, done.path, len(cleaned.removed), cleaned.freed_bytes),
    )
    figures = {
        "release": done.release,
        "path": str(done.path),
        "tables": list(dict.fromkeys(file.table for file in files)),
        "is_new": done.is_new,
        "current_moved": done.current_moved,
        "gate": verdict.to_json(),
        "removed": [str(item.path) for item in cleaned.removed],
    }
    note = workspace.scratch(NAME, "release") / "release.json"
    storage.write_json(note, figures)
    return Outcome({"release": [OutputFile(note, 1, storage.checksum_of(note))]}, figures)


def _about_baseline(config: PipelineConfig, workspace: Workspace) -> str:
    """Say so where readers have what the gates refused: it may be the baseline that is wrong."""
    baseline = Baseline.of(workspace, config.publish.name)
    if baseline is None or not baseline.manifest.get("accepted_drift"):
        return ""
    return (
        f" They are compared with {baseline.release}, which was published with --accept-drift: if that one is wrong, "
        "graphquilt rollback, and run again."
    )


def _accepted_before(config: PipelineConfig, workspace: Workspace, release: str) -> set[str]:
    """Return the gates whose refusal was accepted when this very release was published, as far as that is known."""
    with contextlib.suppress(ManifestError):
        folder = published_folder(workspace.root, config.publish.name) / RELEASES / release
        return set(read_manifest(folder).get("accepted_drift", ()))
    return set()


def _say(verdict: Verdict) -> None:
    for gate in verdict.refused:
        log.warning('stage=publish gate=%s verdict="%s" note="%s"', gate.gate, gate.verdict, gate.note)
    counts = Counter(gate.verdict for gate in verdict.gates)
    log.info("stage=publish gates_passed=%d gates_refused=%d gates_not_judged=%d", *(counts[one] for one in VERDICTS))


def _check_files(workspace: Workspace, figures: Mapping[str, Any]) -> None:
    files = workspace.files(NODE_EMBEDDINGS)
    contracts = (node_embeddings(figures["dim"]), fold_in(figures["dim"]), PPR_NEIGHBOR_LISTS)
    for contract in contracts:
        for file in workspace.files(contract.name):
            contract.check_schema(pq.read_schema(file), str(file))
    if figures["metadata"] is None:
        return
    graph = workspace.manifest("node_index").figures
    rows, wanted = storage.rows_in(files), graph["nodes"] - figures["excluded"]
    if rows != wanted:
        raise ContractError(
            f"node_embeddings has {rows} rows for {wanted} nodes of the window; nothing was published. Remove "
            f"{workspace.folder('node_embeddings')} and run aggregate again."
        )


def _manifest(config: PipelineConfig, workspace: Workspace, made: Mapping[str, Any]) -> dict[str, Any]:
    """Everything needed to audit and to repeat: what was computed from what, by what, at what cost."""
    stages = {}
    for stage in STAGES[:-1]:
        manifest = workspace.manifest(stage.writes[0].name)
        kept = {name: value for name, value in manifest.figures.items() if name not in _SAID_ELSEWHERE}
        stages[stage.name] = {"made_by": manifest.made_by, "figures": kept}
    return {
        "run_id": workspace.run_id,
        "baseline": workspace.inputs.baselines[0] if workspace.inputs.baselines else None,
        "rows": made["rows"] if made["metadata"] else made["lists"],
        "zero_rows": made["zero_rows"],
        "metadata": made["metadata"],
        "lists": made["lists"],
        "lists_metadata": made["lists_metadata"],
        "config": config.model_dump(mode="json"),
        "fingerprints": dict(workspace.fingerprints),
        "packages": _versions(),
        "stages": stages,
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("graphquilt", *_PACKAGES):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
