"""node_embeddings, ppr_neighbors -> metrics: what the tables are worth, measured before anybody reads them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import StorageError
from pipeline.evaluation.scoring import score
from pipeline.evaluation.table import Pairs
from pipeline.ingest.parse import ParseRules
from pipeline.ingest.snapshots import pinned
from pipeline.ingest.sources import as_they_were, list_sources, split_tasks
from pipeline.ingest.text_format import TextFormat
from pipeline.metrics.baseline import Baseline, why_no_baseline
from pipeline.metrics.drift import measure_drift
from pipeline.metrics.list_exactness import check_exactly
from pipeline.metrics.list_quality import has_pairs, measure_lists, read_test_pairs, why_no_ranking
from pipeline.metrics.scored_tables import read_edges, read_scored_table, without
from pipeline.stages.outcome import MadeFile, Outcome
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace
from schemas.tables import EDGES, NODE_EMBEDDINGS, PPR_NEIGHBORS

NAME = "evaluate"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Previous:
    """The baseline, what it was made from, and the pairs that are new since."""

    baseline: Baseline
    train: Sequence[Path]
    pairs: Sequence[Path]


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Measure what changed since the baseline; score the tables, or the baseline's on the pairs that are new since."""
    made = workspace.manifest(NODE_EMBEDDINGS).figures
    metrics: dict[str, Any] = {"source": config.evaluate.source, "scored": "this release", "note": None}
    if baseline := Baseline.of(workspace, config.publish.name):
        baseline = baseline.checked(workspace, config.publish.name)
    drift, records = measure_drift(engine, config, workspace, baseline)
    if config.evaluate.source == "none":
        metrics["note"] = "not evaluated: evaluate.source is 'none'"
        if made["lists_metadata"]:
            metrics[PPR_NEIGHBORS] = {"note": metrics["note"]}
    else:
        records += _score(engine, config, workspace, baseline, metrics)
    # Tonight's table's own, whatever else was scored.
    metrics |= {name: drift["vectors"].pop(name) for name in ("rankme",) if name in drift["vectors"]}
    metrics["drift"] = drift
    return _outcome(workspace, metrics, made, records)


def _score(
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
    baseline: Baseline | None,
    metrics: dict[str, Any],
) -> list[TaskRecord[Any]]:
    """Add the figures of ranking and of links to ``metrics``; return the records of the tasks that took them."""
    made = workspace.manifest(NODE_EMBEDDINGS).figures
    common: dict[str, Any] = {
        "ks": list(config.evaluate.k),
        "sample": config.evaluate.sample,
        "seed": config.evaluate.seed,
        "source_type": config.input.source_type,
        "target_type": config.input.target_type,
        "train": [str(file) for file in workspace.files("edges")],
    }
    previous: _Previous | None = None
    if config.evaluate.source == "file":
        text = TextFormat.from_keys(config.input.model_dump())
        rules = ParseRules(source=config.input.source, target=config.input.target, text=text)
        snapshots = pinned(workspace.root, workspace.date)
        files = list_sources(str(config.evaluate.path), workspace.date, "evaluate.path", snapshots)
        files = as_they_were(files, workspace.seen)
        common |= {"rules": rules.to_payload(), "parse": [part.to_payload() for part in split_tasks(files)]}
        common["most_rejected"] = config.input.max_rejected_share
    elif config.evaluate.source == "holdout":
        held_out = [str(file) for file in workspace.files("holdout")]
        common |= {"holdout": held_out, "index": [str(file) for file in workspace.files("node_index")]}
    else:
        found = _new_pairs(engine, workspace, baseline)
        if isinstance(found, str):
            metrics["note"] = found
        else:
            previous = found
            metrics |= {"scored": "previous release", "previous": previous.baseline.release}
            common |= {
                "train": [str(file) for file in previous.train],
                "pairs": [str(file) for file in previous.pairs],
            }
    tasks = []
    place = workspace.work(NAME)
    if made["metadata"] and has_pairs(payload := common | _vectors(workspace, made, previous, metrics)):
        tasks.append(Task("measure", place, payload))
    lists: dict[str, Any] = {}
    if made["lists_metadata"]:
        own = [str(file) for file in workspace.files(PPR_NEIGHBORS)]
        told = common | {"lists": own if previous is None else previous.baseline.files_of(PPR_NEIGHBORS)}
        lists["note"] = why_no_ranking(told, metrics)
        if lists["note"] is None:
            tasks.append(Task("measure-lists", place, told))
    records = run_missing(engine, measure_table, tasks)
    for task, record in zip(tasks, records, strict=True):
        (lists if "lists" in task.payload else metrics).update(record.result["metrics"])
        if warning := record.result["metrics"].get("warning"):
            log.warning("stage=evaluate warning: %s", warning)
    if made["lists_metadata"]:
        lists["exact"], more = check_exactly(engine, config, workspace)
        records = [*records, *more]
        metrics[PPR_NEIGHBORS] = lists
    return records


def measure_table(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: all figures of one table."""
    return (measure_lists if "lists" in payload else measure)(payload, attempt)


def _vectors(
    workspace: Workspace, made: Mapping[str, Any], previous: _Previous | None, metrics: dict[str, Any]
) -> dict[str, Any]:
    """What the task needs to know of vectors: the last release's on the new pairs if it has some, else this one's."""
    if previous is not None:
        said = previous.baseline.manifest["metadata"]
        if said:
            return {
                "table": previous.baseline.files_of(NODE_EMBEDDINGS),
                "similarity": said["similarity"]["retrieval"],
                "source_type": said["source_type"],
                "target_type": said["target_type"],
            }
        metrics["note"] = f"no verdict on vectors: release {previous.baseline.release} has none"
        return {"pairs": None}
    return {
        "table": [str(file) for file in workspace.files(NODE_EMBEDDINGS)],
        "similarity": made["metadata"]["similarity"]["retrieval"],
    }


def _outcome(workspace: Workspace, metrics: dict[str, Any], made: Mapping[str, Any], records: Sequence[Any]) -> Outcome:
    metrics["rows"] = made["rows"]
    metrics["zero_rows"] = made["zero_rows"]
    path = workspace.work(NAME) / "metrics.json"
    storage.write_json(path, metrics)
    tables = {NODE_EMBEDDINGS: metrics if made["metadata"] else None, PPR_NEIGHBORS: metrics.get(PPR_NEIGHBORS)}
    for table, found in tables.items():
        if found is not None:
            summary = {name: value for name, value in (found.get("ranking") or {}).items() if "@" in name}
            log.info(
                "stage=evaluate table=%s source=%s scored=%r note=%r %s",
                *(table, metrics["source"], metrics["scored"], found["note"], summary),
            )
    return Outcome({"metrics": [MadeFile(path, 1, storage.checksum_of(path))]}, {"metrics": metrics}, records)


def _new_pairs(engine: Engine[Frame], workspace: Workspace, baseline: Baseline | None) -> _Previous | str:
    """Return the baseline and today's pairs that it did not know; or why there is no verdict."""
    if baseline is None:
        return f"no verdict: {why_no_baseline(workspace)}"
    if baseline.damage:
        raise StorageError(baseline.damage)
    day = baseline.data_date
    old_files = baseline.working(workspace, "edges")
    if isinstance(old_files, str):
        return f"no verdict: {old_files}, so that new pairs can't be told"
    id_type = workspace.manifest("edges").figures["id_type"]
    if baseline.id_type != id_type:
        return f"no verdict: ids were {baseline.id_type} on {day} and are {id_type} today"
    schema = EDGES.schema_for(pa.int64() if id_type == "int64" else pa.string())
    keys = ["src_id", "dst_id"]
    old = engine.read(old_files, keys, schema)
    new = engine.without(engine.read(workspace.files("edges"), keys, schema), old, keys)
    pairs = engine.write(new, workspace.scratch(NAME, "new_pairs"), pa.schema([schema.field(key) for key in keys]))
    if not storage.rows_in(pairs):
        return f"no verdict: no pair is new since {day}"
    return _Previous(baseline, old_files, pairs)


def measure(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: all figures of one table, read into memory."""
    scored = read_scored_table(
        payload["table"],
        source_type=payload["source_type"],
        target_type=payload["target_type"],
        similarity={"retrieval": payload["similarity"]},
    )
    table = scored.table
    ends = read_edges(payload["train"])
    asked, warning = read_test_pairs(payload, ends)
    train, test = scored.pairs(ends), scored.pairs(asked)
    if "holdout" in payload:  # the edges table still has them
        train = without(train, test, len(table.rows), is_plain=table.is_plain)
    is_known = (train.src >= 0) & (train.dst >= 0)  # an excluded id has edges, and no row
    train = Pairs(train.src[is_known], train.dst[is_known])
    metrics = score(table, train, test, tuple(payload["ks"]), payload["sample"], payload["seed"])
    warnings = [warning, _of_train_pairs(metrics["test_pairs_in_train"], int(test.with_rows(table).src.size))]
    said = "; ".join(filter(None, warnings))
    return {"metrics": {**metrics, **({"warning": said} if said else {})}}


def _of_train_pairs(shared: int, pairs: int) -> str | None:
    """Warn of test pairs that the table was made from. A few are no wonder: people come back to what they know."""
    if 2 * shared <= pairs:
        return None
    return (
        f"{shared:,} of the {pairs:,} pairs of evaluate.path are among the interactions that the table was made from: "
        "ranking leaves them out and finds none of them, and AUC flatters; score pairs of after the run's date, or "
        "keep them out of input.path"
    )
