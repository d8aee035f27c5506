"""The tables of a release, metrics -> a release: judge the figures, stage the files, swap CURRENT."""

import contextlib
import datetime as dt
import importlib.metadata
import logging
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphquilt.pointers import RELEASES
from graphquilt.releases import ManifestError, read_manifest
from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import GateError
from pipeline.locations import Location
from pipeline.metrics.baseline import Baseline
from pipeline.metrics.gate_figures import figures_for
from pipeline.metrics.night_figures import night_figures
from pipeline.publishing.baseline import refuse_withdrawn
from pipeline.publishing.copies import WorkingFile
from pipeline.publishing.gate import VERDICTS, ReleaseVerdict, judge
from pipeline.publishing.metrics_history import record_night
from pipeline.publishing.release import Publication, ReleaseContents, publish
from pipeline.publishing.retention import clean
from pipeline.release_tables.node_embeddings import EmbeddingFigures
from pipeline.release_tables.published_table import PublishedTable
from pipeline.release_tables.published_tables import PUBLISHED_TABLES
from pipeline.stages.chain import STAGES
from pipeline.stages.outcome import Outcome, OutputFile
from pipeline.stages.runner import stage_figures
from pipeline.workspace import Workspace, published_folder
from schemas.published_tables import NODE_EMBEDDINGS

NAME = "publish"
#: Readers' CURRENT is not part of the run's tables, and may have moved since: this stage looks each time.
ALWAYS_RUNS = True

log = logging.getLogger(__name__)

#: Figures that stand elsewhere in a release, beside what its tables say of themselves.
_ELSEWHERE = ("sums", "metrics")
_PACKAGES = ("numpy", "numba", "pyarrow", "scipy", "pymetis", "polars", "pyspark", "dask")


@dataclass(frozen=True)
class PublishFigures(Publication):
    """What became of the release, which tables it has, the gates' verdict, and what was cleaned away."""

    tables: tuple[str, ...]
    rows: Mapping[str, int]  # of each of them
    space_id: str | None  # of the vectors, where it has them
    gate: Mapping[str, Any]  # see ReleaseVerdict.to_json
    removed: tuple[Location, ...]


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:  # noqa: ARG001
    """Publish the tables if no gate refuses them, and let old releases and working tables go.

    Raises
    ------
    GateError : a gate refused, or readers were rolled back from the release or its baseline; CURRENT stays where it is.
    """
    tables = [table for table in PUBLISHED_TABLES if table.is_wanted(config)]
    for table in tables:
        table.check(config, workspace)
    release = f"{workspace.date}-{workspace.fingerprints['aggregate'][:12]}"
    root, name = config.publish.root(workspace.root), config.publish.name
    accepts_drift = workspace.publish.accept_drift
    # Once more under the lock of the name. Here, before gates speak of a baseline that is none any more.
    refuse_withdrawn(published_folder(root, name), release, workspace.inputs.baseline, {}, accepts_drift=accepts_drift)
    metrics = workspace.manifest("metrics").figures["metrics"]
    try:
        gate = _judge(config, workspace, metrics, release).to_json()
    except GateError as error:
        _record(config, workspace, release, metrics, error.gate)
        raise
    publication = publish(
        root,
        name,
        ReleaseContents(
            release=release,
            data_date=workspace.date,
            contract_version=tables[0].contract(config.embedding.dim).version,
            files=_release_files(tables, workspace),
            manifest=_manifest(config, workspace, tables) | {"accepted_drift": gate["accepted_drift"]},
            metrics=metrics,
            gate=gate,
            baseline=workspace.inputs.baseline,
        ),
        accepts_drift=accepts_drift,
        force_current=workspace.publish.force_current,
    )
    _record(config, workspace, release, metrics, gate)
    report = clean(workspace.root, config.publish, dt.datetime.now(dt.UTC))
    log.info(
        "stage=publish release=%s is_new=%s current_moved=%s path=%s removed=%d freed_bytes=%d",
        *(publication.release, publication.is_new, publication.current_moved, publication.path),
        *(len(report.removed), report.freed_bytes),
    )
    rows = {table.name: workspace.manifest(table.name).rows for table in tables if workspace.manifest(table.name).files}
    figures = PublishFigures(
        **vars(publication),
        tables=tuple(rows),
        rows=rows,
        space_id=(workspace.figures(NODE_EMBEDDINGS, EmbeddingFigures).metadata or {}).get("space_id"),
        gate=gate,
        removed=tuple(item.path for item in report.removed),
    )
    values = codec.to_values(figures)
    note = workspace.scratch(NAME, "release") / "release.json"
    text = storage.json_bytes(values)
    storage.write(note, text)
    return Outcome({"release": [OutputFile(note, 1, storage.checksum_of_bytes(text))]}, values)


def _record(
    config: PipelineConfig, workspace: Workspace, release: str, metrics: Mapping[str, Any], gate: Mapping[str, Any]
) -> None:
    """Add the night to the history of the name, which outlives its release."""
    stages: dict[str, Mapping[str, Any]] = {
        stage.name: workspace.manifest(stage.writes[0].name).made_by for stage in STAGES[:-1]
    }
    for stage, count in (("ingest", "pairs"), ("index", "nodes")):
        stages[stage] = {**stages[stage], count: stage_figures(workspace, stage)[count]}
    night = night_figures(workspace, release, metrics, gate, stages, dt.datetime.now(dt.UTC))
    record_night(config.publish.root(workspace.root), config.publish.name, night)


def _judge(config: PipelineConfig, workspace: Workspace, metrics: Mapping[str, Any], release: str) -> ReleaseVerdict:
    """Return the verdict of the gates.

    Raises
    ------
    GateError : one of them refused.
    """
    verdict = judge(
        config.publish.gates,
        figures_for(config, workspace, metrics),
        metrics.get(config.list_table, {}).get("exact", {}).get("errors", ()),
        is_first_night=workspace.inputs.baseline is None,
        accepts_drift=workspace.publish.accept_drift,
    )
    if {gate.gate for gate in verdict.refused_gates} <= _accepted_before(config, workspace, release):
        verdict = replace(verdict, accepts_drift=True)  # a rerun is no new night
    for gate in verdict.refused_gates:
        log.warning('stage=publish gate=%s verdict="%s" note="%s"', gate.gate, gate.verdict, gate.note)
    counts = Counter(gate.verdict for gate in verdict.gates)
    log.info(
        "stage=publish gates_passed=%d gates_refused=%d gates_not_judged=%d", *(counts[verdict] for verdict in VERDICTS)
    )
    if not verdict.has_passed:
        raise GateError(
            f"not published, the last release stays: {' '.join(verdict.reasons)} All figures are in "
            f"{workspace.folder('metrics')}; the tables are kept, and a run with other [publish.gates] reuses them. If "
            "the data are right and did change so much, publish --accept-drift publishes them."
            f"{_about_baseline(config, workspace)}",
            verdict.to_json(),
        )
    return verdict


def _release_files(tables: Sequence[PublishedTable[Any]], workspace: Workspace) -> list[WorkingFile]:
    return [
        WorkingFile(
            workspace.folder(table.name) / file.name,
            f"{table.name}/part-{number:05d}.parquet",
            file.bytes,
            file.checksum,
        )
        for table in tables
        for number, file in enumerate(workspace.manifest(table.name).files)
    ]


def _about_baseline(config: PipelineConfig, workspace: Workspace) -> str:
    """Say so where readers have what the gates refused: it may be the baseline that is wrong."""
    baseline = Baseline.of(workspace, config.publish)
    if baseline is None or not baseline.manifest.get("accepted_drift"):
        return ""
    return (
        f" They are compared with {baseline.release}, which was published with --accept-drift: if that one is wrong, "
        "graphquilt rollback, and run again."
    )


def _accepted_before(config: PipelineConfig, workspace: Workspace, release: str) -> set[str]:
    """Return the gates whose refusal was accepted when this very release was published, as far as that is known."""
    with contextlib.suppress(ManifestError):
        folder = published_folder(config.publish.root(workspace.root), config.publish.name) / RELEASES / release
        return set(read_manifest(folder).get("accepted_drift", ()))
    return set()


def _manifest(config: PipelineConfig, workspace: Workspace, tables: Sequence[PublishedTable[Any]]) -> dict[str, Any]:
    """Everything needed to audit and to repeat: what was computed from what, by what, at what cost."""
    at_top = {table.metadata for table in PUBLISHED_TABLES}
    stages = {}
    for stage in STAGES[:-1]:
        figures = stage_figures(workspace, stage.name)
        stages[stage.name] = {
            "made_by": workspace.manifest(stage.writes[0].name).made_by,
            "figures": {name: value for name, value in figures.items() if name not in (*_ELSEWHERE, *at_top)},
        }
    manifest = {
        "run_id": workspace.run_id,
        "baseline": workspace.inputs.baseline,
        "rows": workspace.manifest(tables[0].name).rows,
        "config": config.model_dump(mode="json"),
        "fingerprints": dict(workspace.fingerprints),
        "packages": _versions(),
        "stages": stages,
    }
    for table in PUBLISHED_TABLES:
        manifest |= table.released_figures(workspace)
    return manifest


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("graphquilt", *_PACKAGES):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
