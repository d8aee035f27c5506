"""node_embeddings -> metrics: what the table is worth, measured before anybody reads it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.config import PipelineConfig
from pipeline.engines.base import Engine, Frame
from pipeline.evaluation.scoring import Pairs, Table, rank_of, score
from pipeline.ingest.ids import one_type
from pipeline.ingest.parse import ParseRules, parse
from pipeline.ingest.sources import ParseTask, list_sources, split_tasks
from pipeline.kernels.hashing import node_keys
from pipeline.stages.opening import previous_release
from pipeline.stages.outcome import MadeFile, Outcome
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
    table, ids = _read_table(payload)
    if not any(name in payload for name in ("rules", "holdout", "pairs")):
        return {"metrics": {"rankme": rank_of(table, payload["seed"])}}
    train_ids = _read_ids(payload["train"])
    test_ids = _test_pairs(payload)
    find = _Finder(ids, table)
    train = Pairs(find(train_ids[0], table.source), find(train_ids[1], table.target))
    test = Pairs(find(test_ids[0], table.source), find(test_ids[1], table.target))
    if "holdout" in payload:  # the edges table still has them
        train = _without(train, test, len(table.rows), table.is_plain)
    is_known = (train.src >= 0) & (train.dst >= 0)  # an excluded id has edges, and no row
    train = Pairs(train.src[is_known], train.dst[is_known])
    metrics = score(table, train, test, tuple(payload["ks"]), payload["sample"], payload["seed"])
    return {"metrics": metrics}


def _read_table(payload: Mapping[str, Any]) -> tuple[Table, Mapping[str, pa.Array]]:
    tables = [
        pq.read_table(file, columns=["node_type", "node_id", "embedding", "degree"], partitioning=None)
        for file in payload["table"]
    ]
    whole = pa.concat_tables(tables).combine_chunks()
    embedding = whole["embedding"].combine_chunks()
    rows = embedding.flatten().to_numpy().reshape(-1, embedding.type.list_size)
    node_key = np.empty(whole.num_rows, np.uint64)
    ranges: dict[str, tuple[int, int]] = {}
    ids: dict[str, pa.Array] = {}
    for node_type in pc.unique(whole["node_type"]).to_pylist():
        at = np.flatnonzero(pc.equal(whole["node_type"], node_type).to_numpy())
        first, stop = int(at[0]), int(at[-1]) + 1
        ranges[node_type] = (first, stop)
        ids[node_type] = whole["node_id"].slice(first, stop - first).combine_chunks()
        node_key[first:stop] = node_keys(node_type, ids[node_type].cast(pa.string()).cast(pa.binary()).to_pylist())
    table = Table(
        rows=rows,
        node_key=node_key,
        degree=whole["degree"].to_numpy(),
        ranges=ranges,
        source=payload["source_type"],
        target=payload["target_type"],
        similarity=payload["similarity"],
    )
    return table, ids


class _Finder:
    """Positions of ids; -1 where the table has no such node, and -2, -3, ... by source, to tell these apart."""

    def __init__(self, ids: Mapping[str, pa.Array], table: Table) -> None:
        self._ids, self._table = ids, table

    def __call__(self, wanted: pa.Array, node_type: str) -> NDArray[np.int64]:
        known = self._ids[node_type]
        if known.type != wanted.type:
            known, wanted = known.cast(pa.string()), wanted.cast(pa.string())
        at = pc.index_in(wanted, known).cast(pa.int64())
        found = at.fill_null(-1).to_numpy().copy()
        is_known = found >= 0
        found[is_known] += self._table.ranges[node_type][0]
        if not is_known.all():
            strangers = pc.dictionary_encode(wanted.filter(pa.array(~is_known))).indices.to_numpy()
            found[~is_known] = -2 - strangers
        return found


def _read_ids(files: Sequence[str]) -> tuple[pa.Array, pa.Array]:
    tables = [pq.read_table(file, columns=["src_id", "dst_id"], partitioning=None) for file in files]
    whole = pa.concat_tables(tables).combine_chunks()
    src, dst = (whole[name].combine_chunks() for name in ("src_id", "dst_id"))
    return src, dst


def _test_pairs(payload: Mapping[str, Any]) -> tuple[pa.Array, pa.Array]:
    if "pairs" in payload:
        return _read_ids(payload["pairs"])
    if "holdout" in payload:
        ids = pa.concat_tables(
            [pq.read_table(file, columns=["node_id"], partitioning=None) for file in payload["index"]]
        )
        pairs = pa.concat_tables([pq.read_table(file, partitioning=None) for file in payload["holdout"]])
        node_id = ids["node_id"].combine_chunks()
        src, dst = (node_id.take(pairs[name].combine_chunks()) for name in ("src_ix", "dst_ix"))
        return src, dst
    rules = ParseRules(**payload["rules"])
    batches = [batch.rows for part in payload["parse"] for batch in parse(ParseTask.from_payload(part), rules)]
    columns = []
    for name in ("src_id", "dst_id"):
        pieces = [batch.column(name) for batch in batches]
        is_text = any(piece.type == pa.string() for piece in pieces)
        columns.append(pa.concat_arrays([piece.cast(pa.string()) if is_text else piece for piece in pieces]))
    src, dst = one_type(columns[0], columns[1], as_text=False)
    return src, dst


def _without(train: Pairs, test: Pairs, n: int, is_plain: bool) -> Pairs:
    def codes(pairs: Pairs) -> NDArray[np.int64]:
        src, dst = (
            (np.minimum(pairs.src, pairs.dst), np.maximum(pairs.src, pairs.dst)) if is_plain else (pairs.src, pairs.dst)
        )
        return src * n + dst

    is_kept = ~np.isin(codes(train), codes(test))
    return Pairs(train.src[is_kept], train.dst[is_kept])
