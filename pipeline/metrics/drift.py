"""What changed since the baseline: the graph, the vectors' neighbours, the lists. It measures; gates judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import codec
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.scoring import measure_rankme
from pipeline.evaluation.table_report import report_stability
from pipeline.ingest.parse_rules import parse_rules
from pipeline.metrics.baseline import OF_WEIGHTS, Baseline, changed_key, why_no_baseline
from pipeline.metrics.kept_attributes import KeptAttributes, NightFeatures, measure_attributes
from pipeline.metrics.kept_pairs import KeptPairs, NightGraph, measure_kept
from pipeline.metrics.scored_lists import rows_of_sources
from pipeline.metrics.scored_tables import ScoredTable, keys_of, read_sampled_table
from pipeline.release_tables.node_embeddings import EmbeddingFigures
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace
from schemas.tables import NODE_EMBEDDINGS, PPR_NEIGHBORS

#: Rows of a type looked at in either table: as many as RankMe takes, so that its figure is the whole table's.
ROWS = 25_600
QUERIES = 1_000
K = 20
#: With fewer nodes in common than five lists are long, neighbours agree by chance.
FEWEST_NODES = 5 * K

#: What vectors and lists don't depend on.
_NOT_OF_VECTORS = ("shards", "align")
_NOT_OF_LISTS = ("shards", "sources", "tolerance")


@dataclass(frozen=True)
class SampledVectors:
    """A table of vectors to take a sample of, and what it says of itself."""

    files: tuple[Path, ...]
    source_type: str
    target_type: str
    similarity: Mapping[str, str]
    space_id: str

    @classmethod
    def of(cls, files: Sequence[Path], metadata: Mapping[str, Any]) -> SampledVectors:
        """Describe a table by its metadata."""
        names = ("source_type", "target_type", "similarity", "space_id")
        return cls(tuple(files), **{name: metadata[name] for name in names})

    def read(self, seed: int) -> ScoredTable:
        """Read the sample."""
        return read_sampled_table(
            self.files,
            source_type=self.source_type,
            target_type=self.target_type,
            similarity=self.similarity,
            size=ROWS,
            seed=seed,
        )


@dataclass(frozen=True)
class VectorDrift:
    """Input of the task that compares tonight's vectors with the baseline's; ``why``: there are none."""

    vectors: SampledVectors
    baseline_vectors: SampledVectors | None
    why: str | None
    seed: int


@dataclass(frozen=True)
class ListDrift:
    """Input of the task that compares tonight's lists with the baseline's."""

    lists: tuple[Path, ...]
    baseline_lists: tuple[Path, ...]
    seed: int


Comparison = KeptPairs | KeptAttributes | VectorDrift | ListDrift


@dataclass(frozen=True)
class DriftFigures:
    """The figures of one comparison, as JSON values."""

    figures: Mapping[str, Any]


def measure_drift(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, baseline: Baseline | None
) -> tuple[dict[str, Any], list[TaskRecord[Any]]]:
    """Compare tonight's graph, vectors and lists with the baseline's.

    Returns
    -------
    The figures: ``kept`` (nodes, pairs, weights), ``attributes``, ``vectors`` (RankMe, neighbours, cosines),
    ``lists``; where something could not be measured, ``{"note": why}``. RankMe of tonight's table needs no baseline.
    """
    comparisons: dict[str, Comparison | str] = {
        "kept": _kept(config, workspace, baseline),
        "attributes": _attributes(config, workspace, baseline),
        "vectors": _vectors(config, workspace, baseline),
        "lists": _lists(config, workspace, baseline),
    }
    tasks = [
        Task(f"drift-{name}", workspace.work("evaluate"), payload)
        for name, payload in comparisons.items()
        if not isinstance(payload, str)
    ]
    records = run_missing(engine, measure_one, tasks)
    drift: dict[str, Any] = {"release": baseline.release if baseline else None}
    drift |= {name: {"note": why} for name, why in comparisons.items() if isinstance(why, str)}
    drift |= {record.task.removeprefix("drift-"): dict(record.result.figures) for record in records}
    return drift, [*records]


def measure_one(payload: Comparison, attempt: Attempt) -> DriftFigures:  # noqa: ARG001
    """Task: one of the comparisons."""
    if isinstance(payload, KeptPairs):
        return DriftFigures(codec.to_values(measure_kept(payload)))
    if isinstance(payload, KeptAttributes):
        kept = measure_attributes(payload)
        return DriftFigures({node_type: codec.to_values(share) for node_type, share in kept.items()})
    return DriftFigures(measure_vectors(payload) if isinstance(payload, VectorDrift) else measure_lists(payload))


def _kept(config: PipelineConfig, workspace: Workspace, baseline: Baseline | None) -> KeptPairs | str:
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
    return KeptPairs(
        baseline=NightGraph(tuple(edges), tuple(index)),
        tonight=NightGraph(
            # A pair that decayed to nothing is still a pair of the window.
            (*workspace.files("edges"), *workspace.files("decayed")),
            tuple(workspace.files("node_index")),
        ),
        source_type=config.input.source_type,
        target_type=config.input.target_type,
        since_us=rules.start_us,
        half_life_us=rules.half_life_us,
        seed=config.evaluate.seed,
    )


def _attributes(config: PipelineConfig, workspace: Workspace, baseline: Baseline | None) -> KeptAttributes | str:
    if not config.attributes:
        return "there are no attributes"
    if baseline is None:
        return why_no_baseline(workspace)
    before = baseline.manifest["config"].get("attributes", {})
    now = {name: section.model_dump(mode="json", exclude={"path"}) for name, section in config.attributes.items()}
    types = [name for name in now if now[name] == {key: before.get(name, {}).get(key) for key in now[name]}]
    if not types:
        return f"[attributes] are others than on {baseline.data_date}"
    features, index = (baseline.working(workspace, table) for table in ("node_features", "node_index"))
    if isinstance(features, str) or isinstance(index, str):
        return features if isinstance(features, str) else str(index)
    return KeptAttributes(
        baseline=NightFeatures(tuple(features), tuple(index)),
        tonight=NightFeatures(*(tuple(workspace.files(table)) for table in ("node_features", "node_index"))),
        types=tuple(types),
        seed=config.evaluate.seed,
    )


def _vectors(config: PipelineConfig, workspace: Workspace, baseline: Baseline | None) -> VectorDrift | str:
    metadata = workspace.figures(NODE_EMBEDDINGS, EmbeddingFigures).metadata
    if not metadata:
        return "there are no vectors: embedding.method is 'none'"
    if baseline is None and config.evaluate.source == "none":
        return f"{why_no_baseline(workspace)}, and evaluate.source is 'none'"
    vectors, seed = SampledVectors.of(workspace.files(NODE_EMBEDDINGS), metadata), config.evaluate.seed
    if baseline is None:
        return VectorDrift(vectors, None, why_no_baseline(workspace), seed)
    if not (before := baseline.manifest["metadata"]):
        return VectorDrift(vectors, None, f"release {baseline.release} has no vectors", seed)
    if why := baseline.damage or _changed("embedding", config, baseline, _NOT_OF_VECTORS):
        return VectorDrift(vectors, None, why, seed)
    return VectorDrift(vectors, SampledVectors.of(baseline.files_of(NODE_EMBEDDINGS), before), None, seed)


def _lists(config: PipelineConfig, workspace: Workspace, baseline: Baseline | None) -> ListDrift | str:
    if not config.ppr.neighbors:
        return "there are no lists: ppr.neighbors is false"
    if baseline is None:
        return why_no_baseline(workspace)
    files = baseline.files_of(PPR_NEIGHBORS)
    if not files:
        return f"release {baseline.release} has no lists"
    if why := baseline.damage or _changed("ppr", config, baseline, _NOT_OF_LISTS):
        return why
    return ListDrift(tuple(workspace.files(PPR_NEIGHBORS)), tuple(files), config.evaluate.seed)


def _changed(section: str, config: PipelineConfig, baseline: Baseline, others: Sequence[str]) -> str | None:
    """Return a sentence if the user changed what sets neighbours: keys of a section but others, or what pairs weigh."""
    keys = [key for key, _ in getattr(config, section) if key not in others]
    return changed_key(section, config, baseline, keys) or changed_key("input", config, baseline, OF_WEIGHTS)


def measure_vectors(payload: VectorDrift) -> dict[str, Any]:
    """Return RankMe of both tables, and neighbours that nodes of both have in common, among these nodes.

    Both are taken of samples by hash; the nodes in common are those of both samples.
    """
    new = payload.vectors.read(payload.seed)
    figures: dict[str, Any] = {"rankme": measure_rankme(new.table, payload.seed)}
    if payload.baseline_vectors is None:
        return {**figures, "note": payload.why}
    old = payload.baseline_vectors.read(payload.seed)
    figures["rankme_before"] = measure_rankme(old.table, payload.seed)
    common = {}
    for node_type in (name for name in new.ids if name in old.ids):
        first = new.table.ranges[node_type][0]
        old_row = old.find(new.ids[node_type], node_type)
        # What had no row before has no neighbours to keep.
        is_both = (old_row >= 0) & old.table.rows[np.maximum(old_row, 0)].any(axis=1)
        if is_both.sum() >= FEWEST_NODES:
            common[node_type] = old_row[is_both], first + np.flatnonzero(is_both)
    is_one_space = payload.baseline_vectors.space_id == payload.vectors.space_id
    return figures | report_stability(
        old.table, new.table, common, (K,), QUERIES, payload.seed, is_one_space=is_one_space
    )


def measure_lists(payload: ListDrift) -> dict[str, int]:
    """Return how many of the first K entries of the baseline's lists tonight's have, of sources sampled by hash."""
    ids = pa.concat_tables(
        pq.read_table(file, columns=["node_type", "node_id"], partitioning=None) for file in payload.baseline_lists
    )
    kept = of = sources = 0
    for node_type in sorted(pc.unique(ids["node_type"]).to_pylist()):
        nodes = pc.unique(ids.filter(pc.equal(ids["node_type"], node_type))["node_id"].combine_chunks())
        nodes = nodes.take(pa.array(sample_by_key(keys_of(node_type, nodes), QUERIES, payload.seed)))
        before, now = (_entries(files, node_type, nodes) for files in (payload.baseline_lists, payload.lists))
        for node, entries in before.items():
            entries_now = now.get(node)
            if entries and entries_now is not None:  # a node that is gone is counted among nodes
                sources += 1
                of += len(entries)
                kept += len(entries & entries_now)
    return {"kept": kept, "of": of, "sources": sources}


def _entries(files: Sequence[Path], node_type: str, nodes: pa.Array) -> dict[str, set[tuple[str, str]]]:
    rows = rows_of_sources(files, node_type, nodes.cast(pa.string()))
    entries: dict[str, set[tuple[str, str]]] = {}
    columns = (rows[name].to_pylist() for name in ("node_id", "neighbor_type", "neighbor_ids"))
    for node, neighbor_type, neighbors in zip(*columns, strict=True):
        entries.setdefault(str(node), set()).update((neighbor_type, str(one)) for one in neighbors[:K])
    return entries
