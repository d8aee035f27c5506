"""What changed since the baseline: the graph, the vectors' neighbours, the lists. It measures; gates judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.model import PipelineConfig
from pipeline.config.ppr import PprConfig
from pipeline.engine import Engine, Frame
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.scoring import rank_of
from pipeline.evaluation.table_report import report_stability
from pipeline.ingest.parse_rules import parse_rules
from pipeline.metrics.baseline import OF_WEIGHTS, Baseline, changed_key, why_no_baseline
from pipeline.metrics.kept_attributes import measure_attributes
from pipeline.metrics.kept_pairs import measure_kept
from pipeline.metrics.scored_lists import rows_of_sources
from pipeline.metrics.scored_tables import ScoredTable, keys_of, read_sampled_table
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace
from schemas.tables import NODE_EMBEDDINGS, PPR_NEIGHBORS

#: Rows of a type looked at in either table: as many as RankMe takes, so that its figure is the whole table's.
ROWS = 25_600
QUERIES = 1_000
K = 20
#: With fewer nodes in common than five lists are long, neighbours agree by chance.
FEWEST_NODES = 5 * K

#: What vectors and lists depend on, beside the graph.
_OF_VECTORS = tuple(key for key in EmbeddingConfig.model_fields if key not in ("shards", "align"))
_OF_LISTS = tuple(key for key in PprConfig.model_fields if key not in ("shards", "sources", "tolerance"))


def measure_drift(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, baseline: Baseline | None
) -> tuple[dict[str, Any], list[TaskRecord[Any]]]:
    """Compare tonight's graph, vectors and lists with the baseline's.

    Returns
    -------
    What was measured: ``kept`` (nodes, pairs, weights), ``attributes``, ``vectors`` (RankMe, neighbours, cosines),
    ``lists``; where something could not be, ``{"note": why}``. RankMe of tonight's table needs no baseline.
    """
    place = workspace.work("evaluate")
    asked = {
        "kept": _kept(config, workspace, baseline),
        "attributes": _attributes(config, workspace, baseline),
        "vectors": _vectors(config, workspace, baseline),
        "lists": _lists(config, workspace, baseline),
    }
    tasks = [Task(f"drift-{name}", place, payload) for name, payload in asked.items() if not isinstance(payload, str)]
    records = run_missing(engine, measure_one, tasks)
    found: dict[str, Any] = {"release": baseline.release if baseline else None}
    found |= {name: {"note": why} for name, why in asked.items() if isinstance(why, str)}
    found |= {
        task.name.removeprefix("drift-"): dict(record.result) for task, record in zip(tasks, records, strict=True)
    }
    return found, records


def measure_one(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: one of the comparisons."""
    functions = {
        "drift-kept": measure_kept,
        "drift-attributes": measure_attributes,
        "drift-vectors": measure_vectors,
        "drift-lists": measure_lists,
    }
    return functions[attempt.task.name](payload, attempt)


def _kept(config: PipelineConfig, workspace: Workspace, baseline: Baseline | None) -> dict[str, Any] | str:
    if baseline is None:
        return why_no_baseline(workspace)
    edges, index = (baseline.working(workspace, table) for table in ("edges", "node_index"))
    if isinstance(edges, str) or isinstance(index, str):
        return edges if isinstance(edges, str) else str(index)
    before, now = baseline.id_type, workspace.manifest("edges").figures["id_type"]
    if before != now:
        return f"ids were {before} on {baseline.data_date} and are {now} tonight"
    for key in ("source_type", "target_type"):
        if baseline.manifest["config"]["input"][key] != getattr(config.input, key):
            return f"input.{key} was {baseline.manifest['config']['input'][key]!r} on {baseline.data_date}"
    rules = parse_rules(config, workspace.date)
    return {
        "old": {"edges": _names(edges), "node_index": _names(index)},
        "new": {
            # A pair that decayed to nothing is still a pair of the window.
            "edges": _names([*workspace.files("edges"), *workspace.files("decayed")]),
            "node_index": _names(workspace.files("node_index")),
        },
        "source_type": config.input.source_type,
        "target_type": config.input.target_type,
        "since_us": rules.start_us,
        "half_life_us": rules.half_life_us,
        "seed": config.evaluate.seed,
    }


def _attributes(config: PipelineConfig, workspace: Workspace, baseline: Baseline | None) -> dict[str, Any] | str:
    if not config.attributes:
        return "there are no attributes"
    if baseline is None:
        return why_no_baseline(workspace)
    before = baseline.manifest["config"].get("attributes", {})
    now = {name: given.model_dump(mode="json", exclude={"path"}) for name, given in config.attributes.items()}
    types = [name for name in now if now[name] == {key: before.get(name, {}).get(key) for key in now[name]}]
    if not types:
        return f"[attributes] are others than on {baseline.data_date}"
    features, index = (baseline.working(workspace, table) for table in ("node_features", "node_index"))
    if isinstance(features, str) or isinstance(index, str):
        return features if isinstance(features, str) else str(index)
    return {
        "old": {"node_features": _names(features), "node_index": _names(index)},
        "new": {table: _names(workspace.files(table)) for table in ("node_features", "node_index")},
        "types": types,
        "seed": config.evaluate.seed,
    }


def _vectors(config: PipelineConfig, workspace: Workspace, baseline: Baseline | None) -> dict[str, Any] | str:
    made = workspace.manifest(NODE_EMBEDDINGS).figures["metadata"]
    if not made:
        return "there are no vectors: embedding.method is 'none'"
    if baseline is None and config.evaluate.source == "none":
        return f"{why_no_baseline(workspace)}, and evaluate.source is 'none'"
    asked = {
        "new": {"files": _names(workspace.files(NODE_EMBEDDINGS)), "metadata": _said(made)},
        "seed": config.evaluate.seed,
    }
    if baseline is None:
        return {**asked, "old": None, "why": why_no_baseline(workspace)}
    if not (before := baseline.manifest["metadata"]):
        return {**asked, "old": None, "why": f"release {baseline.release} has no vectors"}
    if why := baseline.damage or _changed("embedding", config, baseline, _OF_VECTORS):
        return {**asked, "old": None, "why": why}
    return {**asked, "old": {"files": baseline.files_of(NODE_EMBEDDINGS), "metadata": _said(before)}}


def _lists(config: PipelineConfig, workspace: Workspace, baseline: Baseline | None) -> dict[str, Any] | str:
    if not workspace.manifest(NODE_EMBEDDINGS).figures["lists_metadata"]:
        return "there are no lists: ppr.neighbors is false"
    if baseline is None:
        return why_no_baseline(workspace)
    old = baseline.files_of(PPR_NEIGHBORS)
    if not old:
        return f"release {baseline.release} has no lists"
    if why := baseline.damage or _changed("ppr", config, baseline, _OF_LISTS):
        return why
    return {"old": old, "new": _names(workspace.files(PPR_NEIGHBORS)), "seed": config.evaluate.seed}


def _changed(section: str, config: PipelineConfig, baseline: Baseline, keys: Sequence[str]) -> str | None:
    """Return a sentence if the user changed what sets neighbours: keys of a section, or what pairs weigh."""
    return changed_key(section, config, baseline, keys) or changed_key("input", config, baseline, OF_WEIGHTS)


def measure_vectors(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: RankMe of both tables; neighbours that nodes of both have in common, among these nodes.

    Both are taken of samples by hash; the nodes in common are those of both samples.
    """
    new = _sampled(payload["new"], payload["seed"])
    found: dict[str, Any] = {"rankme": rank_of(new.table, payload["seed"])}
    if payload["old"] is None:
        return {**found, "note": payload["why"]}
    old = _sampled(payload["old"], payload["seed"])
    found["rankme_before"] = rank_of(old.table, payload["seed"])
    common = {}
    for node_type in (name for name in new.ids if name in old.ids):
        first = new.table.ranges[node_type][0]
        place = old.find(new.ids[node_type], node_type)
        # What had no row before has no neighbours to keep.
        is_both = (place >= 0) & old.table.rows[np.maximum(place, 0)].any(axis=1)
        if is_both.sum() >= FEWEST_NODES:
            common[node_type] = place[is_both], first + np.flatnonzero(is_both)
    is_one_space = payload["old"]["metadata"]["space_id"] == payload["new"]["metadata"]["space_id"]
    return found | report_stability(
        old.table, new.table, common, (K,), QUERIES, payload["seed"], is_one_space=is_one_space
    )


def measure_lists(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: share of the first K entries of lists that are in tonight's lists too, of sources sampled by hash."""
    ids = pa.concat_tables(
        pq.read_table(file, columns=["node_type", "node_id"], partitioning=None) for file in payload["old"]
    )
    kept = of = sources = 0
    for node_type in sorted(pc.unique(ids["node_type"]).to_pylist()):
        nodes = pc.unique(ids.filter(pc.equal(ids["node_type"], node_type))["node_id"].combine_chunks())
        nodes = nodes.take(pa.array(sample_by_key(keys_of(node_type, nodes), QUERIES, payload["seed"])))
        before, now = (_entries(payload[side], node_type, nodes) for side in ("old", "new"))
        for node, entries in before.items():
            here = now.get(node)
            if entries and here is not None:  # a node that is gone is counted among nodes
                sources += 1
                of += len(entries)
                kept += len(entries & here)
    return {"kept": kept, "of": of, "sources": sources}


def _entries(files: Sequence[str], node_type: str, nodes: pa.Array) -> dict[str, set[tuple[str, str]]]:
    rows = rows_of_sources(files, node_type, nodes.cast(pa.string()))
    found: dict[str, set[tuple[str, str]]] = {}
    columns = (rows[name].to_pylist() for name in ("node_id", "neighbor_type", "neighbor_ids"))
    for node, neighbor_type, neighbors in zip(*columns, strict=True):
        found.setdefault(str(node), set()).update((neighbor_type, str(one)) for one in neighbors[:K])
    return found


def _sampled(payload: Mapping[str, Any], seed: int) -> ScoredTable:
    said = payload["metadata"]
    return read_sampled_table(
        payload["files"],
        source_type=said["source_type"],
        target_type=said["target_type"],
        similarity=said["similarity"],
        size=ROWS,
        seed=seed,
    )


def _said(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metadata[name] for name in ("source_type", "target_type", "similarity", "space_id")}


def _names(files: Sequence[Path]) -> list[str]:
    return [str(file) for file in files]
