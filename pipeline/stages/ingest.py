"""interactions -> edges, rejected: read, check, and add up; one row a pair of nodes."""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.embedding.attribute_rows import without_effect
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError
from pipeline.ingest.attributes.tables import NodeAttributes, attribute_sources
from pipeline.ingest.counts import RejectionReason, total
from pipeline.ingest.figures import IngestFigures
from pipeline.ingest.key_names import with_key_names_of
from pipeline.ingest.lake.snapshot import read_pins
from pipeline.ingest.odd_ids import warnings_of
from pipeline.ingest.sources import SourceFile, list_sources, select_unchanged, snapshots_of
from pipeline.planning.disk_needs import naming_bytes
from pipeline.stages.lineages import NIGHT_SUMS
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.stages.relation_pairs import RelationRows
from pipeline.workspace import UNDATED, Workspace

NAME = "ingest"
log = logging.getLogger(__name__)


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Parse the input's files, judge the rejected share, and sum the rows of each pair."""
    sources = _sources(config, workspace)
    # Rows in working form, sums of them, node numbers.
    needed_bytes = 3 * sum(source.bytes for of_relation in sources.values() for source in of_relation)
    storage.require_free_space(workspace.root, needed_bytes, "ingest")
    with naming_bytes(NAME, workspace, needed_bytes):
        return _make_tables(engine, config, workspace, sources)


def _make_tables(
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
    sources: Mapping[str, Sequence[SourceFile]],
    *,
    reads_all: bool = False,
) -> Outcome:
    relations = RelationRows.read(engine, config, workspace, sources, reads_all=reads_all)
    attributes = NodeAttributes.read(engine, config, workspace)
    _refuse_changed(config, workspace)

    has_int64_ids = attributes.has_int64_ids and all(relation.has_int64_ids for relation in relations)
    id_type = pa.int64() if has_int64_ids else pa.string()
    before = next((relation.night.before for relation in relations if relation.night.before), None)
    if before is not None and any(relation.is_of_other_ids(id_type) for relation in relations):
        log.info("stage=ingest ids=%s before=%s reason='all is read again'", id_type, before.id_type)
        return _make_tables(engine, config, workspace, sources, reads_all=True)
    hash_records = attributes.hash_values(engine, workspace.work(NAME), has_int64_ids=has_int64_ids)
    pairs = [relation.sum_pairs(engine, workspace, id_type) for relation in relations]
    records = [record for relation in relations for record in relation.rows.records]
    tables = {
        "day_sums": [file for of_relation in pairs for file in of_relation.chunks],
        NIGHT_SUMS: [file for of_relation in pairs for file in of_relation.sums],
        "edges": [file for of_relation in pairs for file in of_relation.edges],
        "decayed": [file for of_relation in pairs for file in of_relation.decayed],
        "rejected": [file for file in describe_task_files(records, "rejected") if file.rows],
        "attribute_nodes": describe_task_files(hash_records, "nodes"),
        "attribute_features": describe_task_files(hash_records, "features"),
        "rejected_attributes": [file for file in describe_task_files(attributes.records, "rejected") if file.rows],
    }
    of_relations = {rows.relation.name: rows.figures(of_rows) for rows, of_rows in zip(relations, pairs, strict=True)}
    files = [source for relation in relations for source in relation.sources]
    figures = IngestFigures(
        **total(relation.rows.counts for relation in relations).figures()
        | {"weight_total": sum(relation.weight_total for relation in relations)},
        **{
            name: sum(getattr(pair_figures, name) for pair_figures in of_relations.values())
            for name in ("pairs", "decayed_pairs", "files", "bytes_read")
        },
        id_type="int64" if has_int64_ids else "string",
        night_before=None if before is None else str(UNDATED + dt.timedelta(days=before.day)),
        snapshots=tuple(snapshot.figures for snapshot in snapshots_of(files).values()),
        attributes=attributes.figures,
        relations=of_relations,
        relation_files={
            "edges": tuple(len(of_relation.edges) for of_relation in pairs),
            "decayed": tuple(len(of_relation.decayed) for of_relation in pairs),
        },
    )
    _report(figures, config, workspace)
    lineage = workspace.inputs.lineage
    of_lineage = {} if lineage is None else {"lineage": lineage.key, "start": lineage.start.isoformat()}
    rewrites = [record for of_relation in pairs for record in of_relation.records]
    return Outcome(
        tables,
        codec.to_values(figures),
        [*records, *attributes.records, *hash_records, *rewrites],
        {NIGHT_SUMS: of_lineage},
    )


def _sources(config: PipelineConfig, workspace: Workspace) -> dict[str, list[SourceFile]]:
    """Return the files of each relation, by its name."""
    snapshots = read_pins(workspace.root, workspace.date)
    sources_of = {
        relation.name: list_sources(relation.path, workspace.date, f"{relation.section}.path", snapshots)
        for relation in config.all_relations
    }
    return {name: select_unchanged(sources, workspace.inputs.files) for name, sources in sources_of.items()}


def _refuse_changed(config: PipelineConfig, workspace: Workspace) -> None:
    """Look at the files once more, now that all are read."""
    try:
        _sources(config, workspace)
        attribute_sources(config, workspace.date, read_pins(workspace.root, workspace.date), workspace.inputs.files)
    except InputError:
        storage.remove_tree(workspace.work(NAME))  # rows of no input that ever was
        raise


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
    sections = {relation.name: relation.section for relation in config.all_relations}
    odd = [
        (end if sections[name] == "input" else f"{sections[name]}.{end}", ids, rows.kept)
        for name, rows in figures.relations.items()
        for end, ids in rows.odd_ids.items()
    ]
    for node_type, about in figures.attributes.items():
        odd.append((f"attributes.{node_type}", about.odd_ids, about.read - sum(about.rejected.values())))
    for warning in (line for place_ids_rows in odd for line in warnings_of(*place_ids_rows)):
        log.warning("stage=ingest warning: %s", warning)
    for snapshot in figures.snapshots:
        log.info(
            "stage=ingest lake=%s version=%s table=%s files=%d",
            *(snapshot.kind, snapshot.version, snapshot.table, figures.files),
        )
    for name, rows in figures.relations.items():
        if len(sections) > 1:
            log.info(
                "stage=ingest relation=%s rows_read=%d rows_kept=%d rows_rejected=%d rows_late=%d pairs=%d",
                *(name, rows.read, rows.kept, sum(rows.rejected.values()), rows.late, rows.pairs),
            )
        _warn_of_rejected(sections[name], rows.reasons)
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
            *(where, reason, about.rows, about.example, with_key_names_of(where, about.accepted)),
        )
