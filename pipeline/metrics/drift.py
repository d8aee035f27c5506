"""What changed since the baseline: the graph, the vectors' neighbours, the lists. It measures; gates judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.scoring import measure_rankme
from pipeline.evaluation.table_report import report_stability
from pipeline.ingest.figures import IngestFigures
from pipeline.ingest.ids import keys_of
from pipeline.ingest.parse_rules import parse_rules
from pipeline.locations import Location
from pipeline.metrics.baseline import OF_WEIGHTS, Baseline, NotComparableError, changed_key, why_no_baseline
from pipeline.metrics.graph_retention import (
    AttributeComparison,
    AttributeFiles,
    GraphComparison,
    NightGraph,
    measure_attributes,
    measure_graph,
)
from pipeline.metrics.scored_lists import rows_of_sources
from pipeline.metrics.scored_tables import VectorFiles, read_sampled_table
from pipeline.release_tables.node_embeddings import EmbeddingFigures
from pipeline.tasks import Attempt, TaskFolder, TaskRecord
from pipeline.workspace import Workspace
from schemas.published_tables import NODE_EMBEDDINGS

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
class VectorDrift:
    """Input of the task that compares tonight's vectors with the baseline's.

    baseline_vectors : a text where there are none: the reason.
    """

    vectors: VectorFiles
    baseline_vectors: VectorFiles | str
    is_one_space: bool
    seed: int


@dataclass(frozen=True)
class ListDrift:
    """Input of the task that compares tonight's lists with the baseline's."""

    lists: tuple[Location, ...]
    baseline_lists: tuple[Location, ...]
    seed: int


@dataclass(frozen=True)
class ListRetention:
    """How many of ``of`` entries of the lists of ``sources`` are still there."""

    kept: int
    of: int
    sources: int


Comparison = GraphComparison | AttributeComparison | VectorDrift | ListDrift


def measure_drift(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, baseline: Baseline | None
) -> tuple[dict[str, Any], list[TaskRecord[Any]]]:
    """Compare tonight's graph, vectors and lists with the baseline's.

    Returns
    -------
    The figures: ``kept`` (nodes, pairs, weights), ``attributes``, ``vectors`` (RankMe, neighbours, cosines),
    ``lists``; where something could not be measured, ``{"note": why}``. RankMe of tonight's table needs no baseline.
    """
    comparisons: dict[str, Comparison] = {}
    drift: dict[str, Any] = {"release": baseline.release if baseline else None}
    preparations: dict[str, Callable[[PipelineConfig, Workspace, Baseline | None], Comparison]] = {
        "kept": _compare_graphs,
        "attributes": _compare_attributes,
        "vectors": _compare_vectors,
        "lists": _compare_lists,
    }
    for name, prepare in preparations.items():
        try:
            comparisons[name] = prepare(config, workspace, baseline)
        except NotComparableError as why:
            drift[name] = {"note": str(why)}
    tasks = TaskFolder(engine, workspace.work("evaluate"))
    records = tasks.run_named(measure_one, {f"drift-{name}": payload for name, payload in comparisons.items()})
    drift |= {name: dict(record.result) for name, record in zip(comparisons, records, strict=True)}
    return drift, tasks.records


def measure_one(payload: Comparison, attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: the figures of one comparison, as JSON values."""
    if isinstance(payload, GraphComparison):
        return codec.to_values(measure_graph(payload))
    if isinstance(payload, AttributeComparison):
        retention = measure_attributes(payload)
        return {node_type: codec.to_values(share) for node_type, share in retention.items()}
    if isinstance(payload, ListDrift):
        return codec.to_values(measure_lists(payload))
    return measure_vectors(payload)


def _require(baseline: Baseline | None, workspace: Workspace) -> Baseline:
    if baseline is None:
        raise NotComparableError(why_no_baseline(workspace))
    return baseline


def _compare_graphs(config: PipelineConfig, workspace: Workspace, last: Baseline | None) -> GraphComparison:
    baseline = _require(last, workspace)
    edges, index = (baseline.files_of_run(workspace, table) for table in ("edges", "node_index"))
    before, now = baseline.id_type, workspace.figures("edges", IngestFigures).id_type
    if before != now:
        raise NotComparableError(f"ids were {before} on {baseline.data_date} and are {now} tonight")
    for key in ("source_type", "target_type"):
        if baseline.manifest["config"]["input"][key] != getattr(config.input, key):
            was = baseline.manifest["config"]["input"][key]
            raise NotComparableError(f"input.{key} was {was!r} on {baseline.data_date}")
    rules = parse_rules(config.input, workspace.date)
    return GraphComparison(
        baseline=NightGraph(edges, index),
        tonight=NightGraph(
            # A pair that decayed to nothing is still a pair of the window.
            tuple(file for table in ("edges", "decayed") for file in workspace.files_by_relation(table)[0]),
            tuple(workspace.files("node_index")),
        ),
        source_type=config.input.source_type,
        target_type=config.input.target_type,
        since_us=rules.start_us,
        half_life_us=rules.half_life_us,
        seed=config.evaluate.seed,
    )


def _compare_attributes(config: PipelineConfig, workspace: Workspace, last: Baseline | None) -> AttributeComparison:
    if not config.attributes:
        raise NotComparableError("there are no attributes")
    baseline = _require(last, workspace)
    before = baseline.manifest["config"].get("attributes", {})
    without = {"path", "strength"}
    now = {name: section.model_dump(mode="json", exclude=without) for name, section in config.attributes.items()}
    types = [name for name in now if now[name] == {key: before.get(name, {}).get(key) for key in now[name]}]
    if not types:
        raise NotComparableError(f"[attributes] are others than on {baseline.data_date}")
    tables = ("node_features", "node_index")
    return AttributeComparison(
        baseline=AttributeFiles(*(baseline.files_of_run(workspace, table) for table in tables)),
        tonight=AttributeFiles(*(tuple(workspace.files(table)) for table in tables)),
        types=tuple(types),
        seed=config.evaluate.seed,
    )


def _compare_vectors(config: PipelineConfig, workspace: Workspace, baseline: Baseline | None) -> VectorDrift:
    metadata = workspace.figures(NODE_EMBEDDINGS, EmbeddingFigures).metadata
    if not metadata:
        raise NotComparableError("there are no vectors: embedding.method is 'none'")
    if baseline is None and config.evaluate.source == "none":
        raise NotComparableError(f"{why_no_baseline(workspace)}, and evaluate.source is 'none'")
    before: VectorFiles | str
    try:
        before, is_one_space = _vectors_of(_require(baseline, workspace), config, metadata["space_id"])
    except NotComparableError as why:  # RankMe of tonight's table needs no baseline
        before, is_one_space = str(why), False
    vectors = VectorFiles.of(workspace.files(NODE_EMBEDDINGS), metadata)
    return VectorDrift(vectors, before, is_one_space, config.evaluate.seed)


def _vectors_of(baseline: Baseline, config: PipelineConfig, space_id: str) -> tuple[VectorFiles, bool]:
    """Return the baseline's vectors, and whether they are of the same space as tonight's."""
    if not (metadata := baseline.manifest["metadata"]):
        raise NotComparableError(f"release {baseline.release} has no vectors")
    _require_same("embedding", config, baseline, _NOT_OF_VECTORS)
    return VectorFiles.of(baseline.files_of(NODE_EMBEDDINGS), metadata), metadata["space_id"] == space_id


def _compare_lists(config: PipelineConfig, workspace: Workspace, last: Baseline | None) -> ListDrift:
    if not config.makes_lists:
        raise NotComparableError("there are no lists: ppr.neighbors is false and lists.filter unset")
    baseline = _require(last, workspace)
    files = baseline.files_of(config.list_table)
    if not files:
        raise NotComparableError(f"release {baseline.release} has no table {config.list_table}")
    _require_same(config.list_section, config, baseline, _NOT_OF_LISTS)
    return ListDrift(tuple(workspace.files(config.list_table)), tuple(files), config.evaluate.seed)


def _require_same(section: str, config: PipelineConfig, baseline: Baseline, except_keys: Sequence[str]) -> None:
    """Refuse damaged tables, and other values of what sets neighbours: all but some keys, and what pairs weigh."""
    keys = [key for key, _ in getattr(config, section) if key not in except_keys]
    changes = (changed_key(name, config, baseline, of) for name, of in ((section, keys), ("input", OF_WEIGHTS)))
    if why := baseline.damage or next(filter(None, changes), None):
        raise NotComparableError(why)


def measure_vectors(payload: VectorDrift) -> dict[str, Any]:
    """Return RankMe of both tables, and neighbours that nodes of both have in common, among these nodes.

    Both are taken of samples by hash; the nodes in common are those of both samples.
    """
    new = read_sampled_table(payload.vectors, ROWS, payload.seed)
    figures: dict[str, Any] = {"rankme": measure_rankme(new.table, payload.seed)}
    if isinstance(payload.baseline_vectors, str):
        return {**figures, "note": payload.baseline_vectors}
    old = read_sampled_table(payload.baseline_vectors, ROWS, payload.seed)
    figures["rankme_before"] = measure_rankme(old.table, payload.seed)
    common = {}
    for node_type in (name for name in new.ids if name in old.ids):
        first = new.table.ranges[node_type][0]
        old_row = old.find(new.ids[node_type], node_type)
        # What had no row before has no neighbours to keep.
        is_both = (old_row >= 0) & old.table.rows[np.maximum(old_row, 0)].any(axis=1)
        if is_both.sum() >= FEWEST_NODES:
            common[node_type] = old_row[is_both], first + np.flatnonzero(is_both)
    return figures | report_stability(
        old.table, new.table, common, (K,), QUERIES, payload.seed, is_one_space=payload.is_one_space
    )


def measure_lists(payload: ListDrift) -> ListRetention:
    """Return how many of the first K entries of the baseline's lists tonight's have, of sources sampled by hash."""
    ids = storage.read_parquet(payload.baseline_lists, ["node_type", "node_id"])
    overlap = of = sources = 0
    for node_type in sorted(pc.unique(ids["node_type"]).to_pylist()):
        nodes = pc.unique(ids.filter(pc.equal(ids["node_type"], node_type))["node_id"].combine_chunks())
        nodes = nodes.take(pa.array(sample_by_key(keys_of(node_type, nodes), QUERIES, payload.seed)))
        before, now = (_entries(files, node_type, nodes) for files in (payload.baseline_lists, payload.lists))
        for node, entries in before.items():
            entries_now = now.get(node)
            if entries and entries_now is not None:  # a node that is gone is counted among nodes
                sources += 1
                of += len(entries)
                overlap += len(entries & entries_now)
    return ListRetention(overlap, of, sources)


def _entries(files: Sequence[Location], node_type: str, nodes: pa.Array) -> dict[str, set[tuple[str, str]]]:
    rows = rows_of_sources(files, node_type, nodes.cast(pa.string()))
    entries: dict[str, set[tuple[str, str]]] = {}
    columns = (rows[name].to_pylist() for name in ("node_id", "neighbor_type", "neighbor_ids"))
    for node, neighbor_type, neighbors in zip(*columns, strict=True):
        entries.setdefault(str(node), set()).update((neighbor_type, str(neighbor)) for neighbor in neighbors[:K])
    return entries
