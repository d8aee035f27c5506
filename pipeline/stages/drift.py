"""What changed since the baseline: the graph, the vectors' neighbours, the lists. It measures; gates judge."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import PipelineConfig
from pipeline.config_embedding import EmbeddingConfig
from pipeline.config_ppr import PprConfig
from pipeline.engines.base import Engine, Frame
from pipeline.errors import StorageError
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.scoring import rank_of
from pipeline.evaluation.table_report import report_stability
from pipeline.publishing.release import require_whole
from pipeline.stages.kept_pairs import measure_kept
from pipeline.stages.opening import parse_rules
from pipeline.stages.scored_lists import rows_of_sources
from pipeline.stages.scored_tables import ScoredTable, keys_of, read_sampled_table
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import MANIFEST, UNDATED, Workspace, published_folder
from schemas.pointers import RELEASES
from schemas.tables import NODE_EMBEDDINGS, PPR_NEIGHBORS

log = logging.getLogger(__name__)

#: Rows of a type looked at in either table: as many as RankMe takes, so that its figure is the whole table's.
ROWS = 25_600
QUERIES = 1_000
K = 20
#: With fewer nodes in common than five lists are long, neighbours agree by chance.
FEWEST_NODES = 5 * K

#: What vectors and lists depend on, beside the graph.
_OF_VECTORS = tuple(key for key in EmbeddingConfig.model_fields if key not in ("shards", "align"))
_OF_LISTS = tuple(key for key in PprConfig.model_fields if key not in ("shards", "sources", "tolerance"))


def why_no_baseline(workspace: Workspace) -> str:
    """Say why there is nothing to compare tonight with."""
    if workspace.date == UNDATED:
        return "the run is undated, and nights can't be told apart: give --date"
    return "there is no release of an earlier date"


@dataclass(frozen=True)
class Baseline:
    """The release that a run is judged against."""

    folder: Path
    manifest: Mapping[str, Any]
    damage: str | None = None  # why its tables can't be read

    @classmethod
    def of(cls, workspace: Workspace, name: str) -> Baseline | None:
        """Return the baseline of a run; None on a first night."""
        if not workspace.baselines:
            return None
        folder = published_folder(workspace.root, name) / RELEASES / workspace.baselines[0]
        return cls(folder, storage.read_json(folder / MANIFEST) or {})

    def checked(self, workspace: Workspace, name: str) -> Baseline:
        """Return it with every byte compared with its manifest, restored where that can be."""
        try:
            require_whole(workspace.root, name, self.release)
        except StorageError as error:
            log.warning("stage=evaluate baseline=%s damaged=%r", self.release, str(error))
            return replace(self, damage=str(error))
        return self

    @property
    def release(self) -> str:
        """Its name."""
        return self.folder.name

    @property
    def data_date(self) -> str:
        """Its date."""
        return str(self.manifest["data_date"])

    @property
    def id_type(self) -> str:
        """Type of its ids, "int64" or "string"."""
        return str(self.manifest["stages"]["ingest"]["figures"]["id_type"])

    def files_of(self, table: str) -> list[str]:
        """Return the files of one of its published tables; none if it has no such table."""
        return [str(file) for file in sorted((self.folder / table).glob("*.parquet"))]

    def working(self, workspace: Workspace, table: str) -> list[Path] | str:
        """Return the files of a working table of its run, checked; or why there are none."""
        date = dt.date.fromisoformat(self.data_date)
        run = replace(workspace, date=date, fingerprints=self.manifest["fingerprints"])
        if problem := run.problem(table):
            return f"{table} of {self.data_date} is damaged ({problem})"
        if run.finished(table) is None:
            return f"the edges of {self.data_date} are gone (publish.keep_runs)"
        return run.files(table)


def measure_drift(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, baseline: Baseline | None
) -> tuple[dict[str, Any], list[TaskRecord]]:
    """Compare tonight's graph, vectors and lists with the baseline's.

    Returns
    -------
    What was measured: ``kept`` (nodes, pairs, weights), ``rankme`` and ``neighbors`` of vectors, ``lists``; where
    something could not be, ``{"note": why}``. RankMe of tonight's table needs no baseline.
    """
    place = str(workspace.work("evaluate"))
    asked = {
        "kept": _kept(config, workspace, baseline),
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


def measure_one(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task: one of the comparisons."""
    functions = {"drift-kept": measure_kept, "drift-vectors": measure_vectors, "drift-lists": measure_lists}
    return functions[task.name](task, attempt)


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
    return {
        "old": {"edges": _names(edges), "node_index": _names(index)},
        "new": {
            # A pair that decayed to nothing is still a pair of the window.
            "edges": _names([*workspace.files("edges"), *workspace.files("decayed")]),
            "node_index": _names(workspace.files("node_index")),
        },
        "source_type": config.input.source_type,
        "target_type": config.input.target_type,
        "since_us": parse_rules(config, workspace.date).start_us,
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
    if why := baseline.damage or changed_key("embedding", config, baseline, _OF_VECTORS):
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
    if why := baseline.damage or changed_key("ppr", config, baseline, _OF_LISTS):
        return why
    return {"old": old, "new": _names(workspace.files(PPR_NEIGHBORS)), "seed": config.evaluate.seed}


def changed_key(section: str, config: PipelineConfig, baseline: Baseline, keys: Iterable[str]) -> str | None:
    """Return a sentence if one of the keys of a section has another value; one that is new is not compared."""
    before, now = baseline.manifest["config"][section], getattr(config, section).model_dump(mode="json")
    for key in keys:
        if key in before and before[key] != now[key]:
            return f"{section}.{key} was {before[key]!r} on {baseline.data_date} and is {now[key]!r} tonight"
    return None


def measure_vectors(task: Task, attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: RankMe of both tables; neighbours that nodes of both have in common, among these nodes.

    Both are taken of samples by hash; the nodes in common are those of both samples.
    """
    payload = task.payload
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


def measure_lists(task: Task, attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: share of the first K entries of lists that are in tonight's lists too, of sources sampled by hash."""
    payload = task.payload
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
