"""Running a stage: skip what is done, run, commit. The same for all eight."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import platform
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline import storage
from pipeline.config import PipelineConfig
from pipeline.engines.base import Engine, Frame
from pipeline.stages.chain import stage_named
from pipeline.stages.disk_needs import room_for
from pipeline.stages.outcome import MadeFile, Outcome
from pipeline.workspace import DataFile, Manifest, Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageReport:
    """What a stage did, for logs, ``--json`` and the release's manifest."""

    stage: str
    skipped: bool
    rows: Mapping[str, int]
    figures: Mapping[str, Any]
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


def conduct(
    stage: ModuleType,
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
) -> StageReport:
    """Make a stage's tables, or find them made. The caller holds the date's lock."""
    name: str = stage.NAME
    report = None if getattr(stage, "ALWAYS_RUNS", False) else _finished(name, workspace)
    if report:
        log.info("stage=%s run_id=%s skipped=unchanged", name, workspace.run_id)
        return report
    log.info("stage=%s run_id=%s date=%s event=started", name, workspace.run_id, workspace.date)
    started, clock, cpu = dt.datetime.now(dt.UTC), time.monotonic(), engine.cpu_seconds()
    with room_for(name, config, workspace):
        outcome: Outcome = stage.run(engine, config, workspace)
    seconds, cpu_seconds = time.monotonic() - clock, engine.cpu_seconds() - cpu
    peak = max((record.peak_bytes for record in outcome.records), default=0)
    made_by = {
        "run_id": workspace.run_id,
        "engine": engine.name,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "peak_bytes": peak,
        "tasks": len(outcome.records),
    }
    with room_for(name, config, workspace):
        _commit(name, outcome, workspace, made_by)
    storage.remove_tree(workspace.work(name))
    rows = {table: sum(file.rows for file in files) for table, files in outcome.tables.items()}
    counts = " ".join(f"{table}_rows={count}" for table, count in rows.items())
    log.info(
        "stage=%s run_id=%s seconds=%.1f cpu_seconds=%.1f peak_bytes=%d %s",
        *(name, workspace.run_id, seconds, cpu_seconds, peak, counts),
    )
    return StageReport(name, False, rows, outcome.figures, seconds, cpu_seconds, peak)


def _finished(name: str, workspace: Workspace) -> StageReport | None:
    manifests = [workspace.finished(contract.name) for contract in stage_named(name).writes]
    if not all(manifests):
        return None
    whole = [manifest for manifest in manifests if manifest]
    return StageReport(name, True, {manifest.table: manifest.rows for manifest in whole}, whole[0].figures)


def _commit(name: str, outcome: Outcome, workspace: Workspace, made_by: Mapping[str, Any]) -> None:
    for contract in stage_named(name).writes:
        place = workspace.place(contract.name)
        storage.remove_tree(place)  # a commit that was killed half-way
        place.mkdir(parents=True)
        files = _bring_in(outcome.tables.get(contract.name, ()), place)
        workspace.commit(
            Manifest(
                table=contract.name,
                version=contract.version,
                stage=name,
                fingerprint=workspace.fingerprints[name],
                files=tuple(files),
                figures=outcome.figures,
                made_by=made_by,
            )
        )


def _bring_in(made: Sequence[MadeFile], place: Path) -> list[DataFile]:
    files = []
    for number, file in enumerate(made):
        target = place / f"part-{number:05d}{file.path.suffix}"
        # A link, so that a commit killed here finds the tasks' files again.
        with contextlib.suppress(OSError):
            target.hardlink_to(file.path)
        if not target.exists():
            shutil.copyfile(file.path, target)
        with target.open("rb") as written:
            os.fsync(written.fileno())
        files.append(DataFile(target.name, file.rows, target.stat().st_size, file.checksum))
    return files
