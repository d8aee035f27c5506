"""node_embeddings -> metrics: what the table is worth, measured before anybody reads it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.config import PipelineConfig
from pipeline.engines.base import Engine, Frame
from pipeline.evaluation.scoring import rank_of, score
from pipeline.evaluation.table import Pairs
from pipeline.ingest.parse import ParseRules
from pipeline.ingest.sources import ParseTask, list_sources, split_tasks
from pipeline.stages.opening import previous_release
from pipeline.stages.outcome import MadeFile, Outcome
from pipeline.stages.scored_tables import read_edges, read_held_out, read_pairs, read_scored_table, without
from pipeline.tasks import Attempt, Task, run_missing
from pipeline.workspace import MANIFEST, Manifest, Workspace
from schemas.tables import EDGES

NAME = "evaluate"
log = logging.getLogger(__name__)

_FIRST_NIGHT = "no verdict: no release of an earlier date to score on the new pairs"
_OTHER_TABLE = "no verdict: next_day scores the previous release; this one is scored tomorrow"


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Score the table, or the last release on the pairs that are new since."""
    made = workspace.manifest("node_embeddings").figures
    source = config.evaluate.source
    metrics: dict[str, Any] = {"source": source, "scored": "this release", "note": None}
    if source == "none":
        metrics["note"] = "not evaluated: evaluate.source is 'none'"
        return _outcome(workspace, metrics, made, [])
    task: dict[str, Any] = {
        "ks": list(config.evaluate.k),
        "sample": config.evaluate.sample,
        "seed": config.evaluate.seed,
        "source_type": config.input.source_type,
        "target_type": config.input.target_type,
        "similarity": made["metadata"]["similarity"]["retrieval"],
        "table": [str(file) for file in workspace.files("node_embeddings")],
        "train": [str(file) for file in workspace.files("edges")],
    }
    if source == "file":
        rules = ParseRules(source=config.input.source, target=config.input.target)
        files = list_sources(str(config.evaluate.path), workspace.date)
        task |= {"rules": rules.to_payload(), "parse": [part.to_payload() for part in split_tasks(files)]}
    elif source == "holdout":
        held_out = [str(file) for file in workspace.files("holdout")]
        task |= {"holdout": held_out, "index": [str(file) for file in workspace.files("node_index")]}
    else:
        previous = _new_pairs(engine, config, workspace)
        if isinstance(previous, str):
            metrics["note"] = previous
        else:
            metrics |= {"scored": "previous release", "previous": previous.pop("release")}
            task |= previous
    records = run_missing(engine, measure, [Task("measure", str(workspace.work(NAME)), task)])
    metrics |= records[0].result["metrics"]
    return _outcome(workspace, metrics, made, records)


def _outcome(workspace: Workspace, metrics: dict[str, Any], made: Mapping[str, Any], records: Sequence[Any]) -> Outcome:
    metrics["rows"] = made["rows"]
    metrics["zero_rows"] = made["zero_rows"]
    path = workspace.work(NAME) / "metrics.json"
    storage.write_json(path, metrics)
    summary = {name: value for name, value in metrics.get("ranking", {}).items() if "@" in name}
    log.info(
        "stage=evaluate source=%s scored=%r note=%r %s", metrics["source"], metrics["scored"], metrics["note"], summary
    )
    return Outcome({"metrics": [MadeFile(path, 1, storage.checksum_of(path))]}, {"metrics": metrics}, records)


def _new_pairs(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> dict[str, Any] | str:
    """Return the previous release and today's pairs that it did not know; or why there is no verdict."""
    previous = previous_release(workspace.root, config.publish.name, workspace.date)
    if previous is None:
        return _FIRST_NIGHT
    day, prints = previous["data_date"], previous["fingerprints"]
    place = workspace.root / "runs" / day / "edges" / prints["ingest"]
    raw = storage.read_json(place / MANIFEST)
    if raw is None:
        return f"no verdict: the edges of {day} are gone (publish.keep_runs), so that new pairs can't be told"
    yesterday = Manifest.from_json(raw)
    today = workspace.manifest("edges")
    if yesterday.figures["id_type"] != today.figures["id_type"]:
        return f"no verdict: ids were {yesterday.figures['id_type']} on {day} and are {today.figures['id_type']} today"
    schema = EDGES.schema_for(pa.int64() if today.figures["id_type"] == "int64" else pa.string())
    keys = ["src_id", "dst_id"]
    old_files = [place / file.name for file in yesterday.files]
    old = engine.read(old_files, keys, schema)
    new = engine.without(engine.read(workspace.files("edges"), keys, schema), old, keys)
    pairs = engine.write(new, workspace.scratch(NAME, "new_pairs"), pa.schema([schema.field(key) for key in keys]))
    if not storage.rows_in(pairs):
        return f"no verdict: no pair is new since {day}"
    release = Path(previous["path"])
    return {
        "release": previous["release"],
        "table": [str(file) for file in sorted((release / "node_embeddings").glob("*.parquet"))],
        "train": [str(file) for file in old_files],
        "pairs": [str(file) for file in pairs],
        "similarity": previous["metadata"]["similarity"]["retrieval"],
        "source_type": previous["metadata"]["source_type"],
        "target_type": previous["metadata"]["target_type"],
    }


def measure(task: Task, attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: all figures of one table, read into memory."""
    payload = task.payload
    scored = read_scored_table(
        payload["table"],
        source_type=payload["source_type"],
        target_type=payload["target_type"],
        similarity={"retrieval": payload["similarity"]},
    )
    table = scored.table
    if not any(name in payload for name in ("rules", "holdout", "pairs")):
        return {"metrics": {"rankme": rank_of(table, payload["seed"])}}
    train = scored.pairs(read_edges(payload["train"]))
    test = scored.pairs(_test_pairs(payload))
    if "holdout" in payload:  # the edges table still has them
        train = without(train, test, len(table.rows), is_plain=table.is_plain)
    is_known = (train.src >= 0) & (train.dst >= 0)  # an excluded id has edges, and no row
    train = Pairs(train.src[is_known], train.dst[is_known])
    metrics = score(table, train, test, tuple(payload["ks"]), payload["sample"], payload["seed"])
    return {"metrics": metrics}


def _test_pairs(payload: Mapping[str, Any]) -> tuple[pa.Array, pa.Array]:
    if "pairs" in payload:
        return read_edges(payload["pairs"])
    if "holdout" in payload:
        return read_held_out(payload["holdout"], payload["index"])
    tasks = [ParseTask.from_payload(part) for part in payload["parse"]]
    return read_pairs(tasks, ParseRules(**payload["rules"]))
