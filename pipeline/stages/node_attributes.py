"""[attributes.<node type>] through ingest, index and layout: read and judged, numbered, handed to blocks.

In ingest, rows are dealt out to buckets by a hash of their id, so that what one file says of a node meets what
another says; means and deviations are exact sums, the same for any files and any buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.blocks.arrays import FeatureTable, ranges, read_slice, write_slices
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError, StorageError
from pipeline.ingest.attribute_features import (
    Spread,
    features_of,
    means_of,
    one_row_a_node,
    spreads_of,
    squares_of_numbers,
    sums_of_numbers,
)
from pipeline.ingest.attribute_rows import AttributeCounts, AttributeRules, parse_attributes
from pipeline.ingest.lake import Snapshot
from pipeline.ingest.reasons import as_figures, in_words
from pipeline.ingest.snapshots import figures_of, pinned, snapshots_of
from pipeline.ingest.sources import ParseTask, SeenFile, SourceFile, as_they_were, list_sources, split_tasks
from pipeline.ingest.text_format import TextFormat
from pipeline.kernels.hashing import node_keys
from pipeline.partitioning.layouts.laid_out import LaidOut
from pipeline.stages.outcome import MadeFile, written_by_tasks
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing
from pipeline.workspace import Workspace
from schemas.tables import ATTRIBUTE_FEATURES, ATTRIBUTE_NODES, NODE_FEATURES, NODE_INDEX, REJECTED_ATTRIBUTES

_BYTES_PER_BUCKET = 64 * 2**20  # of files, which may be compressed
_MOST_BUCKETS = 1_024
_PLACE_BITS = 32  # of a row in its file


@dataclass(frozen=True)
class ReadAttributes:
    """The clean rows of one type, by bucket, and what is known of all of them."""

    rules: AttributeRules
    weights: Mapping[str, float]
    files: int
    snapshots: Sequence[Snapshot]  # of lake tables
    parsed: Sequence[TaskRecord[Any]]
    gathered: Sequence[TaskRecord[Any]]
    counts: AttributeCounts
    nodes: int
    spreads: Mapping[str, Spread]

    @property
    def figures(self) -> dict[str, Any]:
        """Counts and statistics, JSON-ready: with the config, all it takes to make features of another row."""
        rules = self.rules.to_payload()
        return {
            "files": self.files,
            **figures_of(self.snapshots),
            "read": self.counts.read,
            "nodes": self.nodes,
            "rejected": dict(self.counts.rejected),
            "reasons": as_figures(self.counts.rejected, self.counts.examples),
            "odd_ids": dict(self.counts.odd_ids),
            "columns": {kind: list(rules[kind]) for kind in ("numbers", "categories", "lists")},
            "weights": dict(self.weights),
            "statistics": {name: asdict(spread) for name, spread in self.spreads.items()},
        }


def attribute_sources(
    config: PipelineConfig,
    date: Any,
    snapshots: Mapping[str, Snapshot],
    seen: Mapping[str, SeenFile] = MappingProxyType({}),
) -> dict[str, list[SourceFile]]:
    """Return the files of every type's attributes; of those ``seen`` as the run began, where any were.

    Raises
    ------
    InputError : no files there, formats mixed, a file of no known format; one that was seen has other bytes now.
    """
    return {
        node_type: as_they_were(list_sources(given.path, date, f"attributes.{node_type}.path", snapshots), seen)
        for node_type, given in sorted(config.attributes.items())
    }


def read_attributes(engine: TaskRunner, config: PipelineConfig, workspace: Workspace) -> list[ReadAttributes]:
    """Parse the files of all types, judge the rejected shares, and take the statistics.

    Raises
    ------
    InputError : a file that can't be read, a missing column, more rejected rows than input.max_rejected_share.
    """
    place = workspace.work("ingest")
    files = attribute_sources(config, workspace.date, pinned(workspace.root, workspace.date), workspace.seen)
    return [
        _read_type(engine, config, node_type, sources, f"attributes-{number:03d}", place)
        for number, (node_type, sources) in enumerate(files.items())
    ]


def _read_type(
    engine: TaskRunner, config: PipelineConfig, node_type: str, sources: Sequence[SourceFile], name: str, place: Path
) -> ReadAttributes:
    given = config.attributes[node_type]
    rules = AttributeRules(
        node_type,
        given.id,
        list(given.numbers),
        list(given.categories),
        list(given.lists),
        given.separator,
        TextFormat.from_keys(given.model_dump()),
    )
    payload = {"rules": rules.to_payload()}
    size = sum(source.bytes for source in sources)
    buckets = min(max(1, -(-size // _BYTES_PER_BUCKET)), _MOST_BUCKETS)
    tasks = [
        Task(f"{name}-parse-{n:05d}", place, {**payload, "parse": task.to_payload(), "buckets": buckets})
        for n, task in enumerate(split_tasks(sources))
    ]
    parsed = run_missing(engine, parse_attribute_files, tasks)
    tasks = [
        Task(f"{name}-gather-{bucket:05d}", place, {**payload, "slices": _slices_for(bucket, parsed)})
        for bucket in range(buckets)
    ]
    gathered = run_missing(engine, gather_attributes, tasks)
    counts = sum((AttributeCounts(**record.result["counts"]) for record in (*parsed, *gathered)), AttributeCounts())
    _refuse_unusable(counts, config, node_type, workspace_place=place)
    means = means_of([record.result["sums"] for record in gathered], rules)
    squares: Sequence[Mapping[str, str]] = []
    if rules.numbers:
        tasks = [
            Task(
                f"{name}-spread-{bucket:05d}", place, {**payload, "file": str(record.file("gathered")), "means": means}
            )
            for bucket, record in enumerate(gathered)
        ]
        squares = [record.result["squares"] for record in run_missing(engine, measure_spread, tasks)]
    nodes = sum(int(record.result["gathered_rows"]) for record in gathered)
    spreads = spreads_of(squares, means)
    snapshots = list(snapshots_of(sources).values())
    return ReadAttributes(rules, dict(given.weights), len(sources), snapshots, parsed, gathered, counts, nodes, spreads)


def _slices_for(bucket: int, parsed: Sequence[TaskRecord[Any]]) -> list[list[Any]]:
    return [
        [str(record.file("slices")), record.result["slices"][str(bucket)][0]]
        for record in parsed
        if str(bucket) in record.result["slices"]
    ]


def _refuse_unusable(counts: AttributeCounts, config: PipelineConfig, node_type: str, workspace_place: Path) -> None:
    path = config.attributes[node_type].path
    share = counts.rejected_total / max(1, counts.read)
    if counts.read == 0:
        raise InputError(f"the attributes {path} have no rows; check attributes.{node_type}.path")
    if share > config.input.max_rejected_share:
        found = in_words(counts.rejected, counts.examples)
        raise InputError(
            f"{counts.rejected_total:,} of {counts.read:,} rows of attributes in {path} were rejected ({found}), a "
            f"share of {share:.4g}; input.max_rejected_share is {config.input.max_rejected_share:g}. Repair the rows "
            f"or raise the bound; the rejected rows stand in {workspace_place}/*rejected*"
        )


def parse_attribute_files(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: clean rows of some files, by bucket, and rejected rows."""
    rules, counts = AttributeRules(**payload["rules"]), AttributeCounts()
    batches, rejected_rows = [], 0
    with storage.parquet_writer(attempt.path("rejected", "parquet"), REJECTED_ATTRIBUTES.schema) as rejected:
        for batch in parse_attributes(ParseTask.from_payload(payload["parse"]), rules):
            counts += batch.counts
            batches.append(batch.rows)
            rejected_rows += batch.rejected.num_rows
            if batch.rejected.num_rows:
                rejected.write_batch(batch.rejected)
    rows = pa.Table.from_batches(batches, rules.schema).combine_chunks()
    keys = node_keys(rules.node_type, rows["node_id"].cast(pa.binary()).to_pylist())
    bucket = (keys % np.uint64(payload["buckets"])).astype(np.int64)
    slices = {
        int(number): rows.filter(pa.array(bucket == number)).combine_chunks().to_batches()[0]
        for number in np.flatnonzero(np.bincount(bucket))
    }
    where = write_slices(attempt.path("slices", BATCHES), rules.schema, slices)
    return {"counts": counts.to_payload(), "slices": where, "rejected_rows": rejected_rows}


def gather_attributes(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: one row a node of a bucket, ordered by id; the rows of nodes that are told of in two ways are rejected."""
    rules = AttributeRules(**payload["rules"])
    batches = [read_slice(Path(file), number) for file, number in payload["slices"]]
    rows, rejected = one_row_a_node(pa.Table.from_batches(batches, rules.schema), rules)
    storage.write_arrow(attempt.path("gathered", "arrow"), rows)
    table = pa.Table.from_pylist(rejected, schema=REJECTED_ATTRIBUTES.schema)
    storage.write_parquet(attempt.path("rejected", "parquet"), table)
    counts = AttributeCounts()
    if rejected:
        reason, both = rejected[0]["reason"], " and ".join(f"row {row['row']} of {row['file']}" for row in rejected[:2])
        counts = AttributeCounts(kept=-len(rejected), rejected={reason: len(rejected)}, examples={reason: both})
    return {
        "counts": counts.to_payload(),
        "sums": sums_of_numbers(rows, rules),
        "gathered_rows": rows.num_rows,
        "rejected_rows": len(rejected),
    }


def measure_spread(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: squared distances from the means, of the nodes of a bucket."""
    rules = AttributeRules(**payload["rules"])
    return {"squares": squares_of_numbers(storage.map_arrow(Path(payload["file"])), rules, payload["means"])}


def write_attributes(
    engine: TaskRunner, known: Sequence[ReadAttributes], workspace: Workspace, *, is_int64: bool
) -> tuple[dict[str, Sequence[MadeFile]], dict[str, Any], list[TaskRecord[Any]]]:
    """Write the tables of attributes, now that the run's type of ids is known; return tables, figures, records."""
    tasks: list[Task[Any]] = []
    for number, one in enumerate(known):
        payload = {
            "rules": one.rules.to_payload(),
            "weights": dict(one.weights),
            "statistics": {name: asdict(spread) for name, spread in one.spreads.items()},
            "is_int64": is_int64,
        }
        for bucket, record in enumerate(one.gathered):
            given = {**payload, "file": str(record.file("gathered")), "number": len(tasks)}
            tasks.append(Task(f"attributes-{number:03d}-hash-{bucket:05d}", workspace.work("ingest"), given))
    hashed = run_missing(engine, hash_attributes, tasks)
    records = [record for one in known for record in (*one.parsed, *one.gathered)]
    tables: dict[str, Sequence[MadeFile]] = {
        "attribute_nodes": written_by_tasks(hashed, "nodes"),
        "attribute_features": written_by_tasks(hashed, "features"),
        "rejected_attributes": [file for file in written_by_tasks(records, "rejected") if file.rows],
    }
    figures = {"attributes": {one.rules.node_type: one.figures for one in known}} if known else {}
    return tables, figures, [*records, *hashed]


def hash_attributes(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: the nodes of a bucket, and their features."""
    rules, rows = AttributeRules(**payload["rules"]), storage.map_arrow(Path(payload["file"]))
    spreads = {name: Spread(**raw) for name, raw in payload["statistics"].items()}
    found = features_of(rows, rules, payload["weights"], spreads)
    columns = [np.repeat(np.arange(rows.num_rows), found.counts), found.key.view(np.int64), found.value]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=ATTRIBUTE_FEATURES.schema)
    storage.write_arrow(attempt.path("features", "arrow"), table)
    id_type = pa.int64() if payload["is_int64"] else pa.string()
    place = np.arange(rows.num_rows, dtype=np.int64) + (int(payload["number"]) << _PLACE_BITS)
    node_type = pa.array([rules.node_type], pa.string()).take(pa.array(np.zeros(rows.num_rows, np.int64)))
    nodes = pa.Table.from_arrays(
        [pc.cast(rows["node_id"], id_type), node_type, pa.array(place)], schema=ATTRIBUTE_NODES.schema_for(id_type)
    )
    storage.write_parquet(attempt.path("nodes", "parquet"), nodes)
    return {"nodes_rows": rows.num_rows, "features_rows": int(found.key.size)}


def nodes_with_attributes(
    engine: Engine[Frame], workspace: Workspace, node_type: str, id_type: pa.DataType
) -> Frame | None:
    """Return (node_id, node_type, place) of the nodes of a type that have attributes, None if there are none."""
    files = workspace.files("attribute_nodes")
    if not files:
        return None
    schema = ATTRIBUTE_NODES.schema_for(id_type)
    return engine.where_equal(engine.read(files, schema.names, schema), "node_type", node_type)


def number_features(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, numbered: Sequence[Path], id_type: pa.DataType
) -> list[TaskRecord[Any]]:
    """Write the features of all nodes by node number, once ``numbered`` files of the node index are there.

    Relational verbs carry node numbers and places; the features themselves stay with the tasks.
    """
    nodes = engine.read(numbered, ["node_ix", "node_id", "node_type"], NODE_INDEX.schema_for(id_type))
    found = []
    for node_type in sorted(config.attributes):
        known = nodes_with_attributes(engine, workspace, node_type, id_type)
        if known is None:
            continue
        ids = engine.rename(known, {"node_id": "node_id", "place": "place"}, {})
        of_type = engine.where_equal(nodes, "node_type", node_type)
        found.append(engine.look_up(ids, of_type, {"node_id": "node_id"}, {"node_ix": "node_ix"}))
    if not found:
        return []
    schema = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in ("node_ix", "place")])
    placed = engine.write_sorted(engine.union(found), workspace.scratch("index", "placed"), schema, ["node_ix"])
    rows, wanted = storage.rows_in(placed), workspace.manifest("attribute_nodes").rows
    if rows != wanted:
        raise StorageError(
            f"{wanted} nodes with attributes went into the index and {rows} came out: a file of "
            f"{workspace.place('attribute_nodes')} has changed since; remove that folder and run ingest again"
        )
    features = [str(file) for file in workspace.files("attribute_features")]
    tasks = [
        Task(f"features-{n:05d}", workspace.work("index"), {"file": str(file), "features": features})
        for n, file in enumerate(placed)
    ]
    return run_missing(engine, order_features, tasks)


def order_features(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: the features of some nodes with ascending numbers."""
    table = pq.read_table(payload["file"], partitioning=None)
    node_ix, place = (table[name].to_numpy() for name in ("node_ix", "place"))
    file, row = place >> _PLACE_BITS, place & (2**_PLACE_BITS - 1)
    counts, pieces = np.zeros(node_ix.size, np.int64), {}
    for number in np.flatnonzero(np.bincount(file)).tolist():
        here = np.flatnonzero(file == number)
        known = storage.map_arrow(Path(payload["features"][number]))
        known_row = storage.column(known, "row")
        first, stop = (np.searchsorted(known_row, row[here], side) for side in ("left", "right"))
        counts[here] = stop - first
        pieces[number] = (here, first, known)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    key, value = np.empty(indptr[-1], np.int64), np.empty(indptr[-1], np.float32)
    for here, first, known in pieces.values():
        source, target = ranges(first, counts[here]), ranges(indptr[here], counts[here])
        key[target] = storage.column(known, "feature_key")[source]
        value[target] = storage.column(known, "value")[source]
    columns = [pa.array(np.repeat(node_ix, counts)), pa.array(key), pa.array(value)]
    storage.write_arrow(attempt.path("features", "arrow"), pa.Table.from_arrays(columns, schema=NODE_FEATURES.schema))
    return {"features_rows": int(indptr[-1]), "nodes": int((counts > 0).sum())}


def hand_to_blocks(runner: TaskRunner, laid: LaidOut, files: Sequence[Path], place: Path) -> list[TaskRecord[Any]]:
    """Write the features of the local rows of every block, set after set; of a graph of parts, none."""
    if not files:
        return []
    tasks = [
        Task(
            f"features-{blocks.name}-{part:05d}",
            place,
            {
                "nodes": str(record.file("nodes")),
                "features": [str(file) for file in files] if blocks.name != "quotient" else [],
            },
        )
        for blocks in laid.sets
        for part, record in zip(blocks.parts, blocks.built, strict=True)
    ]
    return run_missing(runner, take_features, tasks)


def take_features(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: the features of a block's local rows."""
    node_ix = storage.column(storage.map_arrow(Path(payload["nodes"])), "node_ix")
    known = FeatureTable([Path(file) for file in payload["features"]])
    found = known.take(node_ix)
    columns = [np.repeat(node_ix, found.counts), found.key.view(np.int64), found.value]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=NODE_FEATURES.schema)
    storage.write_arrow(attempt.path("features", "arrow"), table)
    return {"features_rows": int(found.key.size)}


def has_int64_ids(known: Sequence[ReadAttributes]) -> bool:
    """Return whether every id with attributes is a canonical int64."""
    return all(one.counts.has_int64_ids for one in known)
