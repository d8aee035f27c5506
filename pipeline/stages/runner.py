"""Running stages: skip a stage whose tables are whole, run it, commit. The same for all eight.

A table that is damaged counts as not made. A stage that meets one among its inputs sends the run back to the stage
that makes it; what was made of the table before stays, since tables are only made of what was checked.
"""

import datetime as dt
import importlib
import logging
import os
import platform
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import DamagedFileError, MissingTableError
from pipeline.locations import Location
from pipeline.planning.disk_needs import room_for
from pipeline.stages.chain import stage_named, stages_before
from pipeline.stages.outcome import Outcome, OutputFile, describe_costs
from pipeline.tasks import forget_damaged
from pipeline.workspace import Checks, DataFile, Manifest, Workspace, describe_date

log = logging.getLogger(__name__)

#: A file that is damaged each time it is written is the machine's fault, which no repetition mends.
_MOST_REPAIRS = 2


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


def run_stages(
    names: Sequence[str], engine: Engine[Frame], config: PipelineConfig, workspace: Workspace
) -> Iterator[StageReport]:
    """Run stages in order; yield what each did. The caller holds the date's lock.

    Raises
    ------
    MissingTableError : an input of a stage is missing or damaged, and the stage that makes it is not among ``names``.
    """
    number = 0
    repairs: list[str] = []
    while number < len(names):
        stage = importlib.import_module(f"pipeline.stages.{names[number].replace('-', '_')}")
        try:
            yield run_stage(stage, engine, config, workspace)
            number += 1
        except MissingTableError as error:
            maker = workspace.tables.get(error.table)
            if maker not in names[:number] or repairs.count(error.table) == _MOST_REPAIRS:
                raise
            repairs.append(error.table)
            number = names.index(maker)


def run_stage(
    stage: ModuleType,
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
) -> StageReport:
    """Run a stage unless its tables are there and whole. The caller holds the date's lock."""
    name: str = stage.NAME
    workspace = replace(workspace, checks=Checks(engine, workspace.work(name)))
    is_made_anew = workspace.inputs.recomputes or getattr(stage, "ALWAYS_RUNS", False)
    report = None if is_made_anew else _report_finished(name, workspace)
    if report:
        storage.remove_tree(workspace.work(name))  # of a run that was killed once it had committed
        log.info("stage=%s run_id=%s skipped=unchanged", name, workspace.run_id)
        return report
    log.info("stage=%s run_id=%s date=%s event=started", name, workspace.run_id, describe_date(workspace.date))
    _drop_work_of_other_inputs(name, workspace)
    for _ in range(_MOST_REPAIRS):
        try:
            return _execute(stage, engine, config, workspace)
        except DamagedFileError as error:  # between its tasks: once more, from what is whole
            workspace = replace(workspace, checks=Checks(engine, workspace.work(name)))
            problems = forget_damaged(workspace.work(name), engine)
            if not problems and not any(map(workspace.problem, _tables_before(name, workspace))):
                problems = [str(error)]  # a damaged table is reported by its next reader
            for problem in problems:
                log.warning("stage=%s warning: %s; it is made again", name, problem)
    return _execute(stage, engine, config, workspace)


def _execute(stage: ModuleType, engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> StageReport:
    name: str = stage.NAME
    start_time, clock, cpu = dt.datetime.now(dt.UTC), time.monotonic(), engine.cpu_seconds()
    with room_for(name, config, workspace), engine.describe_jobs(name):
        outcome: Outcome = stage.run(engine, config, workspace)
    seconds, cpu_seconds = time.monotonic() - clock, engine.cpu_seconds() - cpu
    peak = max((record.peak_bytes for record in outcome.records), default=0)
    made_by = {
        "run_id": workspace.run_id,
        "engine": engine.name,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "started": start_time.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "peak_bytes": peak,
        "tasks": len(outcome.records),
        "waves": describe_costs(outcome.records),
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
    figures = stage_figures(workspace, name)
    return StageReport(name, False, rows, figures, seconds, cpu_seconds, peak)


def _drop_work_of_other_inputs(name: str, workspace: Workspace) -> None:
    """Resume a killed run only where its tables are still those it began with, byte for byte.

    A table that was made again has the same rows, but an engine may have dealt them out to other files: some tasks
    done with the old files and some with the new ones would lose rows.
    """
    inputs = {
        table: [file.checksum for file in manifest.files]
        for table in _tables_before(name, workspace)
        if (manifest := workspace.find_manifest(table))
    }
    work = workspace.work(name)
    note = work / "inputs.json"
    current = {"fingerprint": workspace.fingerprints[name], "tables": inputs}
    try:
        if storage.read_checked_json(note) == current:
            return
    except DamagedFileError as error:
        log.warning("stage=%s warning: %s; all that a killed run left there is made again", name, error)
    storage.remove_tree(work)
    storage.write_checked_json(note, current)


def _tables_before(name: str, workspace: Workspace) -> list[str]:
    """Return the tables that a stage's result depends on."""
    earlier = stages_before(name)
    return [table for table, maker in workspace.tables.items() if maker in earlier]


def _report_finished(name: str, workspace: Workspace) -> StageReport | None:
    """Return the report of a stage whose tables are there and whole; None if one is not."""
    tables = [contract.name for contract in stage_named(name).writes]
    problems = {table: workspace.problem(table) for table in tables}
    for table, problem in problems.items():
        if problem:
            log.warning("stage=%s warning: %s is made again: %s", name, table, problem)
    manifests = [manifest for table in tables if (manifest := workspace.find_manifest(table))]
    if any(problems.values()) or len(manifests) < len(tables):
        return None
    rows = {manifest.table: manifest.rows for manifest in manifests}
    return StageReport(name, True, rows, stage_figures(workspace, name))


def stage_figures(workspace: Workspace, name: str) -> dict[str, Any]:
    """Return the figures of all tables that a stage wrote, by name."""
    figures: dict[str, Any] = {}
    for contract in stage_named(name).writes:
        figures |= workspace.manifest(contract.name).figures
    return figures


def _commit(name: str, outcome: Outcome, workspace: Workspace, made_by: Mapping[str, Any]) -> None:
    for contract in stage_named(name).writes:
        folder = workspace.folder(contract.name)
        storage.new_folder(folder)  # without what a commit that was killed half-way has left
        files = _copy_files(outcome.tables.get(contract.name, ()), folder, contract.file_format)
        workspace.commit(
            Manifest(
                table=contract.name,
                version=contract.version,
                stage=name,
                fingerprint=workspace.fingerprints[name],
                files=tuple(files),
                figures=outcome.figures_of(contract.name),
                made_by=made_by,
            )
        )


def _copy_files(outputs: Sequence[OutputFile], folder: Location, suffix: str) -> list[DataFile]:
    """Return the files of a table, which are those of its tasks under the names that tables have.

    They are copied, so that a commit that is killed here finds the tasks' files again.
    """
    files = []
    for number, file in enumerate(outputs):
        target = storage.table_file(folder, number, file.checksum, suffix)
        size = storage.size(file.path)
        if size is None:
            raise DamagedFileError(f"{file.path} is missing")
        storage.copy_sealed(file.path, target, file.checksum)
        files.append(DataFile(target.name, file.rows, size, file.checksum))
    return files
