"""interactions -> edges, rejected: read, check, and add up; one row a pair of nodes."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.embedding.attribute_rows import without_effect
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError, StorageError
from pipeline.ingest.attributes.tables import NodeAttributes, attribute_sources
from pipeline.ingest.clean_rows import CleanRows
from pipeline.ingest.counts import Counts, RejectionReason
from pipeline.ingest.day_sums import Chunk
from pipeline.ingest.figures import IngestFigures
from pipeline.ingest.lake.snapshot import read_pins
from pipeline.ingest.odd_ids import warnings_of
from pipeline.ingest.parse import rows_schema
from pipeline.ingest.sources import SourceFile, list_sources, select_unchanged, snapshots_of
from pipeline.locations import Location
from pipeline.planning.disk_needs import naming_bytes
from pipeline.stages.lineages import NIGHT_SUMS
from pipeline.stages.night_input import NightInput, night_sums, plan_input, write_sums
from pipeline.stages.outcome import Outcome, OutputFile, describe_engine_files, describe_task_files
from pipeline.workspace import UNDATED, Workspace
from schemas.tables import EDGES

NAME = "ingest"
log = logging.getLogger(__name__)


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Parse the input's files, judge the rejected share, and sum the rows of each pair."""
    sources = _sources(config, workspace)
    needed = 3 * sum(source.bytes for source in sources)  # rows in working form, sums of them, node numbers
    storage.require_free_space(workspace.root, needed, "ingest")
    with naming_bytes(NAME, workspace, needed):
        return _make_tables(engine, config, workspace, sources)


def _make_tables(
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
    sources: Sequence[SourceFile],
    *,
    reads_all: bool = False,
) -> Outcome:
    folder = workspace.work(NAME)
    night = plan_input(config, workspace, sources, reads_all=reads_all)
    rows = CleanRows.read(engine, night.payloads, folder, is_plain=config.input.is_plain)
    counts = rows.counts
    _refuse_unusable(counts, config, workspace, has_more=bool(night.reading.chunks))
    attributes = NodeAttributes.read(engine, config, workspace)
    _refuse_changed(config, workspace)

    has_int64_ids = counts.has_int64_ids and attributes.has_int64_ids and night.has_int64_ids
    id_type = pa.int64() if has_int64_ids else pa.string()
    if night.before is not None and night.reading.chunks and night.before.id_type != str(id_type):
        log.info("stage=ingest ids=%s before=%s reason='all is read again'", id_type, night.before.id_type)
        return _make_tables(engine, config, workspace, sources, reads_all=True)
    hashed = attributes.hash_values(engine, folder, has_int64_ids=has_int64_ids)
    files, converted = rows.convert_ids(engine, folder, id_type)
    weight_total = counts.weight_total + (night.before.weight_total if night.before else 0)
    may_overflow = weight_total >= 2**63
    kept, chunks, sums = counts.kept, list[OutputFile](), list[OutputFile]()
    if night.own_days is None:
        row_files = [file for of_day in files.values() for file in of_day]
    else:
        day_chunks, chunks = _sum_days(engine, workspace, night, rows, files, id_type, may_overflow=may_overflow)
        row_files, kept = [file.path for file in chunks], sum(chunk.rows for chunk in day_chunks)
        left = night_sums(night, rows, day_chunks, workspace, sources, str(id_type), weight_total)
        sums.append(write_sums(left, workspace))
    edges, decayed = _sum_pairs(engine, config, workspace, row_files, id_type, may_overflow=may_overflow)
    _refuse_loss(kept, [*edges, *decayed])
    tables = {
        "day_sums": chunks,
        NIGHT_SUMS: sums,
        "edges": describe_engine_files(edges),
        "decayed": describe_engine_files(decayed),
        "rejected": [file for file in describe_task_files(rows.records, "rejected") if file.rows],
        "attribute_nodes": describe_task_files(hashed, "nodes"),
        "attribute_features": describe_task_files(hashed, "features"),
        "rejected_attributes": [file for file in describe_task_files(attributes.records, "rejected") if file.rows],
    }
    figures = IngestFigures(
        **counts.figures() | {"weight_total": weight_total},
        id_type="int64" if has_int64_ids else "string",
        pairs=sum(file.rows for file in tables["edges"]),
        decayed_pairs=sum(file.rows for file in tables["decayed"]),
        files=len(sources),
        bytes_read=night.bytes_read,
        night_before=None if night.before is None else str(UNDATED + dt.timedelta(days=night.before.day)),
        snapshots=tuple(snapshot.figures for snapshot in snapshots_of(sources).values()),
        attributes=attributes.figures,
    )
    _refuse_no_pairs(figures, config)
    _report(figures, config, workspace)
    lineage = workspace.inputs.lineage
    of_lineage = {} if lineage is None else {"lineage": lineage.key, "start": lineage.start.isoformat()}
    return Outcome(
        tables,
        codec.to_values(figures),
        [*rows.records, *attributes.records, *hashed, *converted],
        {NIGHT_SUMS: of_lineage},
    )


def _sum_days(
    engine: Engine[Frame],
    workspace: Workspace,
    night: NightInput,
    rows: CleanRows,
    files: Mapping[int, Sequence[Location]],
    id_type: pa.DataType,
    *,
    may_overflow: bool,
) -> tuple[list[Chunk], list[OutputFile]]:
    """Sum the rows of each day that has a chunk of its own, and those of all others; return all chunks and files."""
    chunks = list(night.reading.chunks)
    outputs = [night.chunk_files[checksum] for chunk in chunks for checksum in chunk.checksums]
    for day, of_day in sorted(files.items()):
        from_rows = [file for file in rows.row_files if file.day == day]
        pairs = _summed(engine, of_day, id_type, may_overflow=may_overflow)
        written = engine.write(pairs, workspace.scratch(NAME, f"day-{day}"), rows_schema(id_type))
        new = describe_engine_files(written)
        has_int64_ids = all(file.id_type == "int64" for file in from_rows)
        checksums = tuple(file.checksum for file in new)
        chunks.append(Chunk(day, checksums, sum(file.rows for file in from_rows), has_int64_ids))
        outputs += new
    return chunks, outputs


def _summed(engine: Engine[Frame], files: Sequence[Location], id_type: pa.DataType, *, may_overflow: bool) -> Frame:
    return engine.sum_by(
        engine.read(files, rows_schema(id_type).names, rows_schema(id_type)),
        ["src_id", "dst_id"],
        ["weight", "events"],
        ["last_ts"],
        keys_repeat=False,
        may_overflow=may_overflow,
    )


def _sum_pairs(
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
    files: Sequence[Location],
    id_type: pa.DataType,
    *,
    may_overflow: bool,
) -> tuple[list[Location], list[Location]]:
    """Write one row a pair; return the files of those that weigh something, and of those that have decayed."""
    names, schema = rows_schema(id_type).names, EDGES.schema_for(id_type)
    pairs = _summed(engine, files, id_type, may_overflow=may_overflow)
    types = {"src_type": config.input.source_type, "dst_type": config.input.target_type}
    summed = engine.rename(pairs, {name: name for name in names}, types)
    if config.input.half_life_days is None:
        return engine.write(summed, workspace.scratch(NAME, "edges"), schema), []
    # Weights that halve end at zero after 32 half-lives: no edge, but its nodes are still of this window.
    both = engine.write(summed, workspace.scratch(NAME, "pairs"), schema)
    written = engine.read(both, EDGES.schema.names, schema)
    edges, decayed = (
        engine.write(engine.where_positive(written, "weight", positive=positive), workspace.scratch(NAME, name), schema)
        for name, positive in (("edges", True), ("decayed", False))
    )
    return edges, decayed


def _sources(config: PipelineConfig, workspace: Workspace) -> list[SourceFile]:
    snapshots = read_pins(workspace.root, workspace.date)
    sources = list_sources(config.input.path, workspace.date, snapshots=snapshots)
    return select_unchanged(sources, workspace.inputs.files)


def _refuse_changed(config: PipelineConfig, workspace: Workspace) -> None:
    """Look at the files once more, now that all are read."""
    try:
        _sources(config, workspace)
        attribute_sources(config, workspace.date, read_pins(workspace.root, workspace.date), workspace.inputs.files)
    except InputError:
        storage.remove_tree(workspace.work(NAME))  # rows of no input that ever was
        raise


def _refuse_loss(rows: int, files: Sequence[Location]) -> None:
    """Refuse pairs that don't hold every row: each counts one event of its pair."""
    for path in files:
        storage.check_sealed(path)
    batches = storage.read_batches(files, ["events"], 262_144)
    events = sum(int(pc.sum(batch["events"]).as_py() or 0) for batch in batches)
    if events != rows:
        raise StorageError(
            f"{rows:,} rows were kept, and the pairs made of them hold {events:,}: rows were lost or doubled on their "
            "way through the engine. Run ingest again; if it happens again, keep the workspace and report it"
        )


def _refuse_unusable(counts: Counts, config: PipelineConfig, workspace: Workspace, *, has_more: bool) -> None:
    reasons = counts.describe_rejections()
    where = f"of {counts.read:,} rows in {config.input.path}"
    kept_at = f"the rejected rows stand in {workspace.work(NAME)}/*rejected*"
    if counts.read == 0 and not has_more:
        raise InputError(f"the input {config.input.path} has no rows; check input.path and the files it names")
    if counts.rejected_share > config.input.max_rejected_share:
        raise InputError(
            f"{counts.rejected_total:,} {where} were rejected ({reasons}), a share of {counts.rejected_share:.4g}; "
            f"input.max_rejected_share is {config.input.max_rejected_share:g}. Repair the rows or raise the bound; "
            f"{kept_at}"
        )
    if counts.kept == 0 and not has_more:
        outside = f"{counts.late:,} are at or after the end of {workspace.date}, {counts.early:,} before the window"
        is_of_time = counts.late or counts.early or any("timestamp" in reason for reason in counts.rejected)
        advice = "--date, input.window_days, input.timestamp_unit and input.timestamp_format"
        raise InputError(
            f"no edges are left: {where}, {counts.rejected_total:,} were rejected ({reasons or 'none'}) and {outside}; "
            f"check {advice if is_of_time else f'the file and how [input] says that it is read; {kept_at}'}"
        )


def _refuse_no_pairs(figures: IngestFigures, config: PipelineConfig) -> None:
    if not figures.pairs:
        raise InputError(
            f"no edges are left: all {figures.decayed_pairs} pairs are older than 32 half-lives of "
            f"{config.input.half_life_days:g} days; raise input.half_life_days or check the dates"
        )


def _report(figures: IngestFigures, config: PipelineConfig, workspace: Workspace) -> None:
    """Log the counts, and warn of what people should look at."""
    log.info(
        "stage=ingest rows_read=%d rows_kept=%d rows_rejected=%d rows_late=%d rows_in_the_future=%d rows_early=%d "
        "pairs=%d pairs_decayed=%d id_type=%s",
        *(figures.read, figures.kept, sum(figures.rejected.values()), figures.late, figures.future, figures.early),
        *(figures.pairs, figures.decayed_pairs, figures.id_type),
    )
    if figures.future:
        log.warning(
            "stage=ingest warning: %d rows are after %s, the day on which this run began (UTC), and %s; --date takes "
            "those of days that have come since",
            *(figures.future, workspace.inputs.today, "late" if figures.late else "used, as --allow-future says"),
        )
    odd = [(end, ids, figures.kept) for end, ids in figures.odd_ids.items()]
    for node_type, about in figures.attributes.items():
        odd.append((f"attributes.{node_type}", about.odd_ids, about.read - sum(about.rejected.values())))
    for warning in (line for one in odd for line in warnings_of(*one)):
        log.warning("stage=ingest warning: %s", warning)
    for snapshot in figures.snapshots:
        log.info(
            "stage=ingest lake=%s version=%s table=%s files=%d",
            *(snapshot.kind, snapshot.version, snapshot.table, figures.files),
        )
    _warn_of_rejected("input", figures.reasons)
    for node_type, about in figures.attributes.items():
        _warn_of_rejected(f"attributes.{node_type}", about.reasons)
        log.info(
            "stage=ingest attributes=%s rows_read=%d nodes=%d rows_rejected=%d",
            *(node_type, about.read, about.nodes, sum(about.rejected.values())),
        )
    for node_type in without_effect(config):
        log.warning(
            "stage=ingest warning: attributes.%s have no effect on form %s with attribute_share %g",
            *(node_type, config.form, config.embedding.attribute_share),
        )


def _warn_of_rejected(where: str, reasons: Mapping[str, RejectionReason]) -> None:
    for reason, about in reasons.items():
        log.warning(
            'stage=ingest of=%s rejected="%s" rows=%d example="%s" accepted="%s"',
            *(where, reason, about.rows, about.example, about.accepted),
        )
