"""interactions -> edges, rejected: read, check, and add up; one row a pair of nodes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.embedding.attribute_rows import without_effect
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError, StorageError
from pipeline.ingest.ids import order_ends, to_string_ids
from pipeline.ingest.odd_ids import warnings_of
from pipeline.ingest.parse import Counts, ParseRules, parse, rows_schema, total
from pipeline.ingest.parse_rules import parse_rules
from pipeline.ingest.reasons import as_figures, in_words
from pipeline.ingest.snapshots import figures_of, pinned, snapshots_of
from pipeline.ingest.sources import ParseTask, SourceFile, as_they_were, list_sources, split_tasks
from pipeline.planning.disk_needs import naming_bytes
from pipeline.stages.node_attributes import (
    attribute_sources,
    has_int64_ids,
    read_attributes,
    write_attributes,
)
from pipeline.stages.outcome import Outcome, written_by_engine, written_by_tasks
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace
from schemas.tables import EDGES, REJECTED

NAME = "ingest"
_SAID_OTHERWISE = ("weight_total", "has_int64_ids", "examples")
log = logging.getLogger(__name__)


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Parse the input's files, judge the rejected share, and sum the rows of each pair."""
    sources = _sources(config, workspace)
    needed = 3 * sum(source.bytes for source in sources)  # rows in working form, sums of them, node numbers
    storage.require_free_space(workspace.root, needed, "ingest")
    with naming_bytes(NAME, workspace, needed):
        return _make_edges(engine, config, workspace, sources)


def _make_edges(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, sources: Sequence[SourceFile]
) -> Outcome:
    rules = parse_rules(config, workspace.date, workspace.today)
    place = workspace.work(NAME)
    parsed = run_missing(
        engine,
        parse_files,
        [
            Task(f"parse-{number:05d}", place, {"parse": task.to_payload(), "rules": rules.to_payload()})
            for number, task in enumerate(split_tasks(sources))
        ],
    )
    counts = total(_counts(record) for record in parsed)
    _refuse_unusable(counts, config, workspace)
    attributes = read_attributes(engine, config, workspace)
    _refuse_changed(config, workspace)

    is_int64 = counts.has_int64_ids and has_int64_ids(attributes)
    id_type = pa.int64() if is_int64 else pa.string()
    told, told_figures, hashed = write_attributes(engine, attributes, workspace, is_int64=is_int64)
    files, rewritten = _of_one_id_type(engine, parsed, is_int64, place, rules.is_plain)
    rows = engine.read(files, rows_schema(id_type).names, rows_schema(id_type))
    pairs = engine.sum_by(
        rows,
        ["src_id", "dst_id"],
        ["weight", "events"],
        ["last_ts"],
        keys_repeat=False,
        may_overflow=counts.weight_total >= 2**63,
    )
    types = {"src_type": config.input.source_type, "dst_type": config.input.target_type}
    names = {name: name for name in rows_schema(id_type).names}
    summed = engine.rename(pairs, names, types)
    decayed: list[Path] = []
    if config.input.half_life_days is None:
        edges = engine.write(summed, workspace.scratch(NAME, "edges"), EDGES.schema_for(id_type))
    else:
        # Weights that halve end at zero after 32 half-lives: no edge, but its nodes are still of this window.
        both = engine.write(summed, workspace.scratch(NAME, "pairs"), EDGES.schema_for(id_type))
        known = engine.read(both, EDGES.schema.names, EDGES.schema_for(id_type))
        alive, dead = (engine.where_positive(known, "weight", positive=positive) for positive in (True, False))
        edges = engine.write(alive, workspace.scratch(NAME, "edges"), EDGES.schema_for(id_type))
        decayed = engine.write(dead, workspace.scratch(NAME, "decayed"), EDGES.schema_for(id_type))
    _refuse_loss(counts.kept, [*edges, *decayed])
    tables = {
        "edges": written_by_engine(edges),
        "decayed": written_by_engine(decayed),
        "rejected": [file for file in written_by_tasks(parsed, "rejected") if file.rows],
        **told,
    }
    figures = {
        **{name: value for name, value in counts.to_payload().items() if name not in _SAID_OTHERWISE},
        "reasons": as_figures(counts.rejected, counts.examples),
        "rejected_share": counts.rejected_share,
        "weight_total": counts.weight_total,
        "id_type": "int64" if is_int64 else "string",
        "pairs": sum(file.rows for file in tables["edges"]),
        "decayed_pairs": sum(file.rows for file in tables["decayed"]),
        "files": len(sources),
        **figures_of(snapshots_of(sources).values()),
        **told_figures,
    }
    if not figures["pairs"]:
        raise InputError(
            f"no edges are left: all {figures['decayed_pairs']} pairs are older than 32 half-lives of "
            f"{config.input.half_life_days:g} days; raise input.half_life_days or check the dates"
        )
    log.info(
        "stage=ingest rows_read=%d rows_kept=%d rows_rejected=%d rows_late=%d rows_in_the_future=%d rows_early=%d "
        "pairs=%d pairs_decayed=%d id_type=%s",
        *(counts.read, counts.kept, counts.rejected_total, counts.late, counts.future, counts.early),
        *(figures["pairs"], figures["decayed_pairs"], figures["id_type"]),
    )
    if counts.future:
        log.warning(
            "stage=ingest warning: %d rows are after %s, the day on which this run began (UTC), and %s; --date takes "
            "those of days that have come since",
            *(counts.future, workspace.today, "late" if counts.late else "used, as --allow-future says"),
        )
    _warn_of_ids(counts, told_figures.get("attributes", {}))
    for snapshot in snapshots_of(sources).values():
        log.info(
            "stage=ingest lake=%s version=%s table=%s files=%d",
            *(snapshot.kind, snapshot.version, snapshot.table, len(sources)),
        )
    _warn_of_rejected("input", figures["reasons"])
    for node_type, about in told_figures.get("attributes", {}).items():
        _warn_of_rejected(f"attributes.{node_type}", about["reasons"])
        log.info(
            "stage=ingest attributes=%s rows_read=%d nodes=%d rows_rejected=%d",
            *(node_type, about["read"], about["nodes"], sum(about["rejected"].values())),
        )
    for node_type in without_effect(config):
        log.warning(
            "stage=ingest warning: attributes.%s have no effect on form %s with attribute_share %g",
            *(node_type, config.form, config.embedding.attribute_share),
        )
    return Outcome(tables, figures, [*parsed, *hashed, *rewritten])


def _warn_of_rejected(where: str, reasons: Mapping[str, Any]) -> None:
    for reason, about in reasons.items():
        log.warning(
            'stage=ingest of=%s rejected="%s" rows=%d example="%s" accepted="%s"',
            *(where, reason, about["rows"], about["example"], about["accepted"]),
        )


def _warn_of_ids(counts: Counts, attributes: Mapping[str, Any]) -> None:
    said = [line for end, odd in counts.odd_ids.items() for line in warnings_of(end, odd, counts.kept)]
    for node_type, about in attributes.items():
        kept = about["read"] - sum(about["rejected"].values())
        said += warnings_of(f"attributes.{node_type}", about["odd_ids"], kept)
    for line in said:
        log.warning("stage=ingest warning: %s", line)


def _sources(config: PipelineConfig, workspace: Workspace) -> list[SourceFile]:
    snapshots = pinned(workspace.root, workspace.date)
    return as_they_were(list_sources(config.input.path, workspace.date, snapshots=snapshots), workspace.seen)


def _refuse_changed(config: PipelineConfig, workspace: Workspace) -> None:
    """Look at the files once more, now that all are read."""
    try:
        _sources(config, workspace)
        attribute_sources(config, workspace.date, pinned(workspace.root, workspace.date), workspace.seen)
    except InputError:
        storage.remove_tree(workspace.work(NAME))  # rows of no input that ever was
        raise


def _counts(record: TaskRecord[Any]) -> Counts:
    return Counts(**record.result["counts"])


def _refuse_loss(kept: int, files: Sequence[Path]) -> None:
    """Refuse pairs that don't hold every row kept: each counts one event of its pair."""
    events = 0
    for path in files:
        storage.check_sealed(path)
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(columns=["events"])
            events += sum(int(pc.sum(batch.column("events")).as_py() or 0) for batch in batches)
    if events != kept:
        raise StorageError(
            f"{kept:,} rows were kept, and the pairs made of them hold {events:,}: rows were lost or doubled on their "
            "way through the engine. Run ingest again; if it happens again, keep the workspace and report it"
        )


def _refuse_unusable(counts: Counts, config: PipelineConfig, workspace: Workspace) -> None:
    found = in_words(counts.rejected, counts.examples)
    where = f"of {counts.read:,} rows in {config.input.path}"
    kept_at = f"the rejected rows stand in {workspace.work(NAME)}/*rejected*"
    if counts.read == 0:
        raise InputError(f"the input {config.input.path} has no rows; check input.path and the files it names")
    if counts.rejected_share > config.input.max_rejected_share:
        raise InputError(
            f"{counts.rejected_total:,} {where} were rejected ({found}), a share of {counts.rejected_share:.4g}; "
            f"input.max_rejected_share is {config.input.max_rejected_share:g}. Repair the rows or raise the bound; "
            f"{kept_at}"
        )
    if counts.kept == 0:
        outside = f"{counts.late:,} are at or after the end of {workspace.date}, {counts.early:,} before the window"
        is_of_time = counts.late or counts.early or any("timestamp" in reason for reason in counts.rejected)
        advice = "--date, input.window_days, input.timestamp_unit and input.timestamp_format"
        raise InputError(
            f"no edges are left: {where}, {counts.rejected_total:,} were rejected ({found or 'none'}) and {outside}; "
            f"check {advice if is_of_time else f'the file and how [input] says that it is read; {kept_at}'}"
        )


def parse_files(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: clean rows and rejected rows of some files."""
    rules = ParseRules(**payload["rules"])
    counts = Counts()
    with contextlib.ExitStack() as stack:
        clean = _CleanRows(attempt, rules.is_plain, stack)
        rejected = stack.enter_context(storage.parquet_writer(attempt.path("rejected", "parquet"), REJECTED.schema))
        for batch in parse(ParseTask.from_payload(payload["parse"]), rules):
            counts += batch.counts
            clean.write(batch.rows)
            if batch.rejected.num_rows:
                rejected.write_batch(batch.rejected)
    return {
        "counts": counts.to_payload(),
        "rejected_rows": counts.rejected_total,
        "rows": counts.kept,
        "id_types": clean.id_types,
    }


class _CleanRows:
    """Files of clean rows, one an id type: a task's batches may turn from int64 to string."""

    def __init__(self, attempt: Attempt, is_plain: bool, stack: contextlib.ExitStack) -> None:
        self._attempt, self._is_plain, self._stack = attempt, is_plain, stack
        self._writer: pq.ParquetWriter | None = None
        self.id_types: list[str] = []

    def write(self, rows: pa.RecordBatch) -> None:
        """Write a batch, its ends ordered by the order of its own id type."""
        if not rows.num_rows:
            return
        id_type = str(rows.schema.field("src_id").type)
        if self._writer is None or self.id_types[-1] != id_type:
            path = self._attempt.path("rows", "parquet")
            self._writer = self._stack.enter_context(storage.parquet_writer(path, rows.schema))
            self.id_types.append(id_type)
        self._writer.write_batch(order_ends(rows) if self._is_plain else rows)


def _of_one_id_type(
    engine: Engine[Frame], parsed: Sequence[TaskRecord[Any]], is_int64: bool, place: Path, is_plain: bool
) -> tuple[list[Path], list[TaskRecord[Any]]]:
    """Return files of clean rows whose ids have the run's type; those of another are rewritten by tasks."""
    files: list[Path] = []
    numbers: list[Path] = []
    for record in parsed:
        for path, id_type in zip(record.paths("rows"), record.result["id_types"], strict=True):
            (files if is_int64 or id_type == "string" else numbers).append(path)
    rewritten = run_missing(
        engine,
        write_ids_as_text,
        [
            Task(f"text-{number:05d}", place, {"file": str(path), "is_plain": is_plain})
            for number, path in enumerate(numbers)
        ],
    )
    return [*files, *(record.file("rows") for record in rewritten)], rewritten


def write_ids_as_text(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: rewrite one file's int64 ids as strings, since another file has ids that are none."""
    with (
        pq.ParquetFile(payload["file"]) as source,
        storage.parquet_writer(attempt.path("rows", "parquet"), rows_schema(pa.string())) as sink,
    ):
        for batch in source.iter_batches(batch_size=262_144):
            text = to_string_ids(batch)
            sink.write_batch(order_ends(text) if payload["is_plain"] else text)
        return {"rows": source.metadata.num_rows}
