"""[attributes.<node type>] to tables: rows are read and judged, and their values hashed to features.

Rows are dealt out to buckets by a hash of their id, so that what one file says of a node meets what another says;
means and deviations are exact sums, the same for any files and any buckets.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.blocks.arrays import read_slice, write_slices
from pipeline.config.model import PipelineConfig
from pipeline.errors import InputError
from pipeline.ingest.attributes.features import (
    NumberMean,
    NumberSum,
    Spread,
    features_of,
    means_of,
    one_row_a_node,
    spreads_of,
    squares_of_numbers,
    sums_of_numbers,
)
from pipeline.ingest.attributes.rows import KINDS, AttributeRules, parse_attributes
from pipeline.ingest.counts import Counts, total
from pipeline.ingest.figures import AttributeFigures
from pipeline.ingest.ids import keys_of
from pipeline.ingest.key_names import key_names_of
from pipeline.ingest.lake.snapshot import read_pins
from pipeline.ingest.pieces import ParseTask, split_tasks
from pipeline.ingest.sources import FileState, SourceFile, list_sources, select_unchanged, snapshots_of
from pipeline.locations import Location
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder, TaskRecord, TaskRunner
from pipeline.workspace import Workspace
from schemas.tables import ATTRIBUTE_FEATURES, ATTRIBUTE_NODES, REJECTED_ATTRIBUTES

_BYTES_PER_BUCKET = 64 * 2**20  # of files, which may be compressed
_MOST_BUCKETS = 1_024
ROW_BITS = 32  # of a row's number, in the place of a node's features: file << ROW_BITS | row


@dataclass(frozen=True)
class ParseAttributesPayload:
    """Input of a task that parses files of attributes and deals their rows out to buckets."""

    task: ParseTask
    rules: AttributeRules
    buckets: int


@dataclass(frozen=True)
class ParseAttributesResult:
    """Counts, and by bucket the number of its batch in the file of slices, and its rows."""

    counts: Counts
    slices: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class GatherPayload:
    """Input of the task that brings the rows of a bucket together: files, and the number of its batch in each."""

    rules: AttributeRules
    batches: tuple[tuple[Location, int], ...]


@dataclass(frozen=True)
class GatherResult:
    """Counts of a bucket, and the sums of its numbers by column."""

    counts: Counts
    sums: Mapping[str, NumberSum]
    nodes: int


@dataclass(frozen=True)
class SpreadPayload:
    """Input of the task that measures how far a bucket's numbers are from the means."""

    file: Location
    rules: AttributeRules
    means: Mapping[str, NumberMean]


@dataclass(frozen=True)
class SpreadResult:
    """Exact sums of squared distances by column, as text."""

    squares: Mapping[str, str]


@dataclass(frozen=True)
class AttributeHashPayload:
    """Input of the task that hashes a bucket's values; ``file_number`` is that of its file of features."""

    file: Location
    file_number: int
    rules: AttributeRules
    weights: Mapping[str, float]
    statistics: Mapping[str, Spread]
    has_int64_ids: bool


@dataclass(frozen=True)
class TypeAttributes:
    """The attributes of one node type, read and judged: one row a node, by bucket."""

    rules: AttributeRules
    counts: Counts
    figures: AttributeFigures
    buckets: Sequence[Location]
    records: Sequence[TaskRecord[Any]]


@dataclass(frozen=True)
class NodeAttributes:
    """The attributes of all node types, read and judged; of a graph without attributes, of none."""

    types: Sequence[TypeAttributes]

    @classmethod
    def read(cls, engine: TaskRunner, config: PipelineConfig, workspace: Workspace) -> NodeAttributes:
        """Parse the files of all types, judge the rejected shares, and take the statistics.

        Raises
        ------
        InputError : a file that can't be read, a missing column, more rejected rows than input.max_rejected_share.
        """
        snapshots = read_pins(workspace.root, workspace.date)
        files = attribute_sources(config, workspace.date, snapshots, workspace.inputs.files)
        return cls(
            [
                _read_type(engine, config, node_type, sources, f"attributes-{number:03d}", workspace.work("ingest"))
                for number, (node_type, sources) in enumerate(files.items())
            ]
        )

    @property
    def has_int64_ids(self) -> bool:
        """Whether every id with attributes is a canonical int64."""
        return all(attributes.counts.has_int64_ids for attributes in self.types)

    @property
    def figures(self) -> dict[str, AttributeFigures]:
        """Counts and statistics by node type."""
        return {attributes.rules.node_type: attributes.figures for attributes in self.types}

    @property
    def records(self) -> list[TaskRecord[Any]]:
        """Records of the tasks that read; some wrote rejected rows."""
        return [record for attributes in self.types for record in attributes.records]

    def hash_values(self, engine: TaskRunner, folder: Location, *, has_int64_ids: bool) -> list[TaskRecord[None]]:
        """Write the nodes of every bucket and their features; return the tasks' records."""
        buckets = [(of_type.rules, of_type.figures, file) for of_type in self.types for file in of_type.buckets]
        payloads = [
            AttributeHashPayload(file, number, rules, figures.weights, figures.statistics, has_int64_ids)
            for number, (rules, figures, file) in enumerate(buckets)
        ]
        return TaskFolder(engine, folder).run_each(hash_attributes, "attributes-hash", payloads)


def attribute_sources(
    config: PipelineConfig,
    date: dt.date | None,
    snapshots: Mapping[str, Any],
    states: Mapping[str, FileState] = MappingProxyType({}),
) -> dict[str, list[SourceFile]]:
    """Return the files of every type's attributes: see :func:`list_sources` and :func:`select_unchanged`."""
    return {
        node_type: select_unchanged(list_sources(section.path, date, f"attributes.{node_type}.path", snapshots), states)
        for node_type, section in sorted(config.attributes.items())
    }


def _read_type(
    engine: TaskRunner,
    config: PipelineConfig,
    node_type: str,
    sources: Sequence[SourceFile],
    name: str,
    folder: Location,
) -> TypeAttributes:
    tasks, section = TaskFolder(engine, folder), config.attributes[node_type]
    rules = AttributeRules.of(node_type, section)
    size = sum(source.bytes for source in sources)
    buckets = min(max(1, -(-size // _BYTES_PER_BUCKET)), _MOST_BUCKETS)
    parsing = [ParseAttributesPayload(task, rules, buckets) for task in split_tasks(sources)]
    with key_names_of(f"attributes.{node_type}"):
        slices = tasks.run_each(parse_attribute_files, f"{name}-parse", parsing)
    gathering = [GatherPayload(rules, _batches_of(bucket, slices)) for bucket in range(buckets)]
    groups = tasks.run_each(gather_attributes, f"{name}-gather", gathering)
    counts = total([*(record.result.counts for record in slices), *(record.result.counts for record in groups)])
    _refuse_unusable(counts, config, node_type, folder)
    files = [record.file("gathered") for record in groups]
    means = means_of([record.result.sums for record in groups], rules)
    measuring = [SpreadPayload(file, rules, means) for file in files] if rules.numbers else []
    spreads = tasks.run_each(measure_spread, f"{name}-spread", measuring)
    figures = AttributeFigures(
        files=len(sources),
        snapshots=tuple(snapshot.figures for snapshot in snapshots_of(sources).values()),
        read=counts.read,
        nodes=sum(record.result.nodes for record in groups),
        rejected=counts.rejected,
        reasons=counts.reasons,
        odd_ids=counts.odd_ids.get("id", {}),
        columns={kind: getattr(rules, kind) for kind in KINDS},
        weights=section.weights,
        statistics=spreads_of([record.result.squares for record in spreads], means),
    )
    return TypeAttributes(rules, counts, figures, files, [*slices, *groups])


def _batches_of(bucket: int, slices: Sequence[TaskRecord[ParseAttributesResult]]) -> tuple[tuple[Location, int], ...]:
    holding = [record for record in slices if str(bucket) in record.result.slices]
    return tuple((record.file("slices"), record.result.slices[str(bucket)][0]) for record in holding)


def _refuse_unusable(counts: Counts, config: PipelineConfig, node_type: str, folder: Location) -> None:
    path = config.attributes[node_type].path
    share = counts.rejected_total / max(1, counts.read)
    if counts.read == 0:
        raise InputError(f"the attributes {path} have no rows; check attributes.{node_type}.path")
    if share > config.input.max_rejected_share:
        raise InputError(
            f"{counts.rejected_total:,} of {counts.read:,} rows of attributes in {path} were rejected "
            f"({counts.describe_rejections()}), a share of {share:.4g}; input.max_rejected_share is "
            f"{config.input.max_rejected_share:g}. Repair the rows or raise the bound; the rejected rows stand in "
            f"{folder}/*rejected*"
        )


def parse_attribute_files(payload: ParseAttributesPayload, attempt: Attempt) -> ParseAttributesResult:
    """Task: clean rows of some files, by bucket, and rejected rows."""
    rules, counts = payload.rules, Counts()
    batches = []
    with storage.parquet_writer(attempt.path("rejected", "parquet"), REJECTED_ATTRIBUTES.schema) as writer:
        for batch in parse_attributes(payload.task, rules):
            counts += batch.counts
            batches.append(batch.rows)
            if batch.rejections.num_rows:
                writer.write_batch(batch.rejections)
    rows = pa.Table.from_batches(batches, rules.schema).combine_chunks()
    keys = keys_of(rules.node_type, rows["node_id"])
    bucket = (keys % np.uint64(payload.buckets)).astype(np.int64)
    slices = {
        int(number): rows.filter(pa.array(bucket == number)).combine_chunks().to_batches()[0]
        for number in np.flatnonzero(np.bincount(bucket))
    }
    where = write_slices(attempt.path("slices", BATCHES), rules.schema, slices)
    return ParseAttributesResult(counts, {name: (batch, size) for name, (batch, size) in where.items()})


def gather_attributes(payload: GatherPayload, attempt: Attempt) -> GatherResult:
    """Task: one row a node of a bucket, ordered by id; nodes whose rows disagree are rejected."""
    batches = [read_slice(file, number) for file, number in payload.batches]
    rows, refusals = one_row_a_node(pa.Table.from_batches(batches, payload.rules.schema), payload.rules)
    storage.write_arrow(attempt.path("gathered", "arrow"), rows)
    table = pa.Table.from_pylist(refusals, schema=REJECTED_ATTRIBUTES.schema)
    storage.write_parquet(attempt.path("rejected", "parquet"), table)
    counts = Counts()
    if refusals:
        reason, both = refusals[0]["reason"], " and ".join(f"row {row['row']} of {row['file']}" for row in refusals[:2])
        counts = Counts(kept=-len(refusals), rejected={reason: len(refusals)}, examples={reason: both})
    return GatherResult(counts, sums_of_numbers(rows, payload.rules), rows.num_rows)


def measure_spread(payload: SpreadPayload, attempt: Attempt) -> SpreadResult:  # noqa: ARG001
    """Task: squared distances from the means, of the nodes of a bucket."""
    return SpreadResult(squares_of_numbers(storage.map_arrow(payload.file), payload.rules, payload.means))


def hash_attributes(payload: AttributeHashPayload, attempt: Attempt) -> None:
    """Task: the nodes of a bucket, and their features."""
    rules, rows = payload.rules, storage.map_arrow(payload.file)
    features = features_of(rows, rules, payload.weights, payload.statistics)
    columns = [np.repeat(np.arange(rows.num_rows), features.counts), features.key.view(np.int64), features.value]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=ATTRIBUTE_FEATURES.schema)
    storage.write_arrow(attempt.path("features", "arrow"), table)
    id_type = pa.int64() if payload.has_int64_ids else pa.string()
    place = np.arange(rows.num_rows, dtype=np.int64) + (payload.file_number << ROW_BITS)
    node_type = pa.repeat(rules.node_type, rows.num_rows)
    nodes = pa.Table.from_arrays(
        [pc.cast(rows["node_id"], id_type), node_type, pa.array(place)], schema=ATTRIBUTE_NODES.schema_for(id_type)
    )
    storage.write_parquet(attempt.path("nodes", "parquet"), nodes)
