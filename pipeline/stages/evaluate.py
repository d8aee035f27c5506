"""node_embeddings, lists -> metrics: what the tables are worth, measured before anybody reads them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import StorageError
from pipeline.ingest.figures import IndexFigures, IngestFigures
from pipeline.ingest.lake.snapshot import read_pins
from pipeline.ingest.parse import ParseRules
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.sources import list_sources, select_unchanged
from pipeline.ingest.text.formats import TextFormat
from pipeline.locations import Location
from pipeline.metrics.baseline import Baseline, NotComparableError, why_no_baseline
from pipeline.metrics.drift import measure_drift
from pipeline.metrics.list_exactness import check_exactly
from pipeline.metrics.scored_pairs import HeldOutPairs, NewPairs, PairsOfFile, Scoring
from pipeline.metrics.scored_tables import VectorFiles
from pipeline.metrics.table_scores import (
    CodeScores,
    InterestScores,
    ListScores,
    Measured,
    VectorScores,
    measure_table,
    why_no_ranking,
)
from pipeline.release_tables.node_embeddings import EmbeddingFigures
from pipeline.stages.outcome import Outcome, OutputFile
from pipeline.tasks import Task, TaskRecord, run_missing
from pipeline.workspace import Workspace
from schemas.published_tables import LIST_TABLES, NODE_CODES, NODE_EMBEDDINGS, USER_INTERESTS
from schemas.tables import EDGES, INTEREST_CLUSTERS

NAME = "evaluate"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _PreviousRelease:
    """The baseline, what it was made from, and the pairs that are new since."""

    baseline: Baseline
    train: Sequence[Location]
    pairs: Sequence[Location]


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Measure what changed since the baseline; score the tables, or the baseline's on the pairs that are new since."""
    metrics: dict[str, Any] = {"source": config.evaluate.source, "scored": "this release", "note": None}
    if baseline := Baseline.of(workspace, config.publish):
        baseline = baseline.with_damage(workspace, config.publish)
    drift, records = measure_drift(engine, config, workspace, baseline)
    if config.evaluate.source == "none":
        metrics["note"] = "not evaluated: evaluate.source is 'none'"
        if config.makes_lists:
            metrics[config.list_table] = {"note": metrics["note"]}
    else:
        records += _score(engine, config, workspace, baseline, metrics)
    if "rankme" in drift["vectors"]:  # of tonight's table, whatever else was scored
        metrics["rankme"] = drift["vectors"].pop("rankme")
    metrics["drift"] = drift
    return _outcome(workspace, metrics, records)


def _score(
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
    baseline: Baseline | None,
    metrics: dict[str, Any],
) -> list[TaskRecord[Any]]:
    """Add the figures of ranking and of links to ``metrics``; return the records of the tasks that took them."""
    metadata = workspace.figures(NODE_EMBEDDINGS, EmbeddingFigures).metadata
    previous: _PreviousRelease | None = None
    if config.evaluate.source == "next_day":
        previous, metrics["note"] = _new_pairs(engine, workspace, baseline)
        if previous is not None:
            metrics |= {"scored": "previous release", "previous": previous.baseline.release}
    scoring = _scoring(config, workspace, previous)
    tasks: list[Task[Measured]] = []
    lists, of_codes, of_interests = (dict[str, Any]() for _ in range(3))
    if metadata and scoring:
        vectors = _vectors(workspace, metadata, previous, scoring)
        if vectors is None and previous is not None:
            metrics["note"] = f"no verdict on vectors: release {previous.baseline.release} has none"
        elif vectors is not None:
            tasks.append(Task("measure", workspace.work(NAME), vectors))
        if vectors and previous is None and config.codes.enabled:
            added_levels = config.codes.levels if config.codes.source == "residuals" else 0
            codes = CodeScores(vectors.scoring, vectors.vectors, tuple(workspace.files(NODE_CODES)), added_levels)
            tasks.append(Task("measure-codes", workspace.work(NAME), codes))
        if vectors and config.interests.clusters:
            interests = _interests(config, workspace, vectors, previous)
            if isinstance(interests, str):
                of_interests["note"] = interests
            else:
                tasks.append(Task("measure-interests", workspace.work(NAME), interests))
    if config.makes_lists:
        table = config.list_table
        files = workspace.files(table) if previous is None else previous.baseline.files_of(table)
        if scoring is None:
            lists["note"] = str(metrics["note"])
        elif not files:
            lists["note"] = f"no verdict: release {metrics['previous']} has no lists" if previous else "no lists"
        else:
            payload = ListScores(scoring, tuple(files))
            lists["note"] = why_no_ranking(payload)
            if lists["note"] is None:
                tasks.append(Task("measure-lists", workspace.work(NAME), payload))
    records: list[TaskRecord[Any]] = [*run_missing(engine, measure_table, tasks)]
    figures_of = {VectorScores: metrics, ListScores: lists, CodeScores: of_codes, InterestScores: of_interests}
    for task, record in zip(tasks, records, strict=True):
        figures_of[type(task.payload)].update(record.result.metrics)
        if warning := record.result.metrics.get("warning"):
            log.warning("stage=evaluate warning: %s", warning)
    if config.makes_lists:
        lists["exact"], more = check_exactly(engine, config, workspace)
        records += more
        metrics[config.list_table] = lists
    if of_codes:
        metrics[NODE_CODES] = of_codes
    if of_interests:
        metrics[USER_INTERESTS] = of_interests
    return records


def _scoring(config: PipelineConfig, workspace: Workspace, previous: _PreviousRelease | None) -> Scoring | None:
    """Return the pairs to score tables by; None where no pair is new."""
    train, evaluate = workspace.files_by_relation("edges")[0], config.evaluate
    test: NewPairs | HeldOutPairs | PairsOfFile
    if evaluate.source == "file":
        text = TextFormat.from_keys(config.input.model_dump())
        rules = ParseRules(source=config.input.source, target=config.input.target, text=text)
        snapshots = read_pins(workspace.root, workspace.date)
        files = list_sources(str(evaluate.path), workspace.date, "evaluate.path", snapshots)
        parse = tuple(split_tasks(select_unchanged(files, workspace.inputs.files)))
        test = PairsOfFile(parse, rules, config.input.max_rejected_share)
    elif evaluate.source == "holdout":
        test = HeldOutPairs(tuple(workspace.files("holdout")), tuple(workspace.files("node_index")))
    elif previous is None:
        return None
    else:
        test, train = NewPairs(tuple(previous.pairs)), list(previous.train)
    return Scoring(
        train=tuple(train),
        test=test,
        source_type=config.input.source_type,
        target_type=config.input.target_type,
        ks=tuple(evaluate.k),
        sample=evaluate.most_ranked,
        seed=evaluate.seed,
    )


def _vectors(
    workspace: Workspace, metadata: Mapping[str, Any], previous: _PreviousRelease | None, scoring: Scoring
) -> VectorScores | None:
    """Return what is scored: the last release's vectors on the new pairs, None if it has none; else this one's."""
    files = workspace.files(NODE_EMBEDDINGS)
    if previous is not None:
        files, metadata = previous.baseline.files_of(NODE_EMBEDDINGS), previous.baseline.manifest["metadata"]
    return VectorScores(scoring, VectorFiles.of(files, metadata)) if metadata else None


def _interests(
    config: PipelineConfig, workspace: Workspace, vectors: VectorScores, previous: _PreviousRelease | None
) -> InterestScores | str:
    """Return what is scored: the last release's interests on the new pairs, else this one's; or why neither can be."""
    run, interests = workspace, workspace.files(USER_INTERESTS)
    tables = INTEREST_CLUSTERS.name, "node_index"
    files = [tuple(workspace.files(table)) for table in tables]
    if previous is not None:
        baseline, ends = previous.baseline, ("source_type", "target_type")
        run, interests = baseline.run(workspace), baseline.files_of(USER_INTERESTS)
        before = [baseline.manifest["config"]["input"][key] for key in ends]
        if not interests or before != [getattr(config.input, key) for key in ends]:
            return f"no verdict: release {baseline.release} has no interests of these types"
        try:
            files = [baseline.files_of_run(workspace, table) for table in tables]
        except NotComparableError as why:
            return f"no verdict: {why}"
    (clusters,), node_index = files
    targets = run.figures("node_index", IndexFigures).types[config.input.target_type]
    return InterestScores(vectors.scoring, vectors.vectors, tuple(interests), node_index, targets, clusters)


def _outcome(workspace: Workspace, metrics: dict[str, Any], records: Sequence[TaskRecord[Any]]) -> Outcome:
    vectors = workspace.figures(NODE_EMBEDDINGS, EmbeddingFigures)
    metrics |= {"rows": vectors.rows, "zero_rows": vectors.zero_rows}
    path = workspace.work(NAME) / "metrics.json"
    note = storage.json_bytes(metrics)
    storage.write(path, note)
    tables = {
        NODE_EMBEDDINGS: metrics if vectors.metadata else None,
        **{table: metrics.get(table) for table in LIST_TABLES},
    }
    for table, figures in tables.items():
        if figures is not None:
            summary = {name: value for name, value in (figures.get("ranking") or {}).items() if "@" in name}
            log.info(
                "stage=evaluate table=%s source=%s scored=%r note=%r %s",
                *(table, metrics["source"], metrics["scored"], figures["note"], summary),
            )
    return Outcome({"metrics": [OutputFile(path, 1, storage.checksum_of_bytes(note))]}, {"metrics": metrics}, records)


def _new_pairs(
    engine: Engine[Frame], workspace: Workspace, baseline: Baseline | None
) -> tuple[_PreviousRelease | None, str | None]:
    """Return the baseline and today's pairs that it did not know; where there are none, why there is no verdict."""
    if baseline is None:
        return None, f"no verdict: {why_no_baseline(workspace)}"
    if baseline.damage:
        raise StorageError(baseline.damage)
    day = baseline.data_date
    try:
        old_files = baseline.files_of_run(workspace, "edges")
    except NotComparableError as why:
        return None, f"no verdict: {why}, so that new pairs can't be told"
    ingest = workspace.figures("edges", IngestFigures)
    if baseline.id_type != ingest.id_type:
        return None, f"no verdict: ids were {baseline.id_type} on {day} and are {ingest.id_type} today"
    schema = EDGES.schema_for(ingest.arrow_id_type)
    keys = ["src_id", "dst_id"]
    old = engine.read(old_files, keys, schema)
    new = engine.without(engine.read(workspace.files_by_relation("edges")[0], keys, schema), old, keys)
    pairs = engine.write(new, workspace.scratch(NAME, "new_pairs"), pa.schema([schema.field(key) for key in keys]))
    if not storage.rows_in(pairs):
        return None, f"no verdict: no pair is new since {day}"
    return _PreviousRelease(baseline, old_files, pairs), None
