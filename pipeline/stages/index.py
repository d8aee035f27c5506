"""edges -> node_index, node_arrays, indexed_edges: one dense number a node, the same on every engine."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import codec, storage
from pipeline.blocks.arrays import NodeArrays
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError, StorageError
from pipeline.ingest.attributes.numbering import AttributeNodes
from pipeline.ingest.figures import IndexFigures, IngestFigures
from pipeline.kernels.hashing import hash_nodes, hash_pairs, node_keys
from pipeline.locations import Location
from pipeline.stages.outcome import Outcome, OutputFile, describe_engine_files, describe_task_files
from pipeline.tasks import Attempt, TaskFolder, TaskRecord
from pipeline.workspace import Workspace
from schemas.tables import EDGES, INDEXED_EDGES, NODE_ARRAYS, NODE_INDEX

NAME = "index"
_ENDS = ("src_id", "dst_id", "weight")  # of edges: all that is read of them

_HOLDOUT_MIN_PAIRS = 5  # users with fewer pairs keep them all
#: Rows whose ids are Python objects at once, or whose nodes are looked up at once: either takes over 100 bytes a row.
_ROWS_AT_ONCE = 262_144


@dataclass(frozen=True)
class NumberPayload:
    """Input of the task that numbers a sorted file of nodes from ``start``; ``holdout`` are pairs held out."""

    file: Location
    start: int
    holdout: tuple[Location, ...]


@dataclass(frozen=True)
class NumberResult:
    """Nodes of a file: by type the range of their numbers, and how many have an edge."""

    types: Mapping[str, tuple[int, int]]
    linked: Mapping[str, int]
    isolated: int


@dataclass(frozen=True)
class HoldoutSplit:
    """Which pairs are held out: shares of the source nodes with enough pairs, and of their pairs."""

    arrays: tuple[Location, ...]  # of the nodes
    min_pairs: int
    node_share: float
    pair_share: float
    seed: int


@dataclass(frozen=True)
class SplitPayload:
    """Input of the task that splits the pairs of one file."""

    file: Location
    split: HoldoutSplit


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Number the nodes, count their neighbours, and rewrite the edges in node numbers."""
    ingest = workspace.figures("edges", IngestFigures)
    id_type = ingest.arrow_id_type
    edges = engine.read(workspace.files("edges"), _ENDS, EDGES.schema_for(id_type))
    attributes = AttributeNodes(engine, config, workspace, id_type)
    nodes = _sum_ends(engine, config, workspace, ingest, edges, attributes)
    fields = [NODE_INDEX.schema_for(id_type).field(name) for name in ("node_type", "node_id", "degree", "weight")]
    files = engine.write_sorted(nodes, workspace.scratch(NAME, "nodes"), pa.schema(fields), ["node_type", "node_id"])
    tasks = TaskFolder(engine, workspace.work(NAME))
    numbered = tasks.run_each(number_nodes, "number", _numbering_payloads(files, holdout=[]))
    matches = attributes.match_ids(_node_files(numbered), _linked_nodes(numbered), ingest)

    split: list[TaskRecord[None]] = []
    if config.evaluate.source == "holdout":
        pairs = _look_up_ends(engine, edges, numbered, config, workspace.scratch(NAME, "pairs"), id_type)
        rule = _holdout_rule(config, numbered)
        split = tasks.run_each(split_holdout, "split", [SplitPayload(file, rule) for file in pairs])
        held_out = [record.file("holdout") for record in split]
        numbered = tasks.run_each(number_nodes, "renumber", _numbering_payloads(files, held_out))
        indexed, holdout = describe_task_files(split, "edges"), describe_task_files(split, "holdout")
    else:
        pairs = _look_up_ends(engine, edges, numbered, config, workspace.scratch(NAME, "edges"), id_type)
        indexed, holdout = describe_engine_files(pairs), []

    features = attributes.number(_node_files(numbered))
    figures = IndexFigures(
        nodes=sum(record.rows("nodes") for record in numbered),
        isolated=sum(record.result.isolated for record in numbered),
        edges=sum(file.rows for file in indexed),
        holdout=sum(file.rows for file in holdout),
        types=_ranges_of_types(numbered),
        attribute_ids=matches,
    )
    _refuse_lost_edges(figures, workspace)
    tables: dict[str, Sequence[OutputFile]] = {
        "node_index": describe_task_files(numbered, "nodes"),
        "node_arrays": describe_task_files(numbered, "arrays"),
        "indexed_edges": indexed,
        "holdout": holdout,
        "node_features": describe_task_files(features, "features"),
    }
    return Outcome(tables, codec.to_values(figures), [*numbered, *split, *features])


def _sum_ends(
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
    ingest: IngestFigures,
    edges: Frame,
    attributes: AttributeNodes[Frame],
) -> Frame:
    """Return one row a node: (node_type, node_id, degree, weight).

    The nodes of decayed pairs are among them, and those of which only attributes are known.
    """
    decayed = engine.read(workspace.files("decayed"), _ENDS, EDGES.schema_for(ingest.arrow_id_type))
    # Both ends of all edges weigh twice the rows of the input at the most.
    may_overflow = 2 * ingest.weight_total >= 2**63

    def without_edges(node_type: str, *columns: str) -> list[Frame]:
        nodes = [_end(engine, frame, "node_id", 0) for frame in attributes.of_type(node_type)]
        return [*(_end(engine, decayed, column, 0) for column in columns), *nodes]

    source_type, target_type = config.input.source_type, config.input.target_type
    if config.input.is_plain:
        # A self loop counts once, in the matrix and in the degree.
        others = engine.where_different(edges, "src_id", "dst_id")
        ends = [_end(engine, edges, "src_id", 1), _end(engine, others, "dst_id", 1)]
        return _summed(engine, [*ends, *without_edges(source_type, "src_id", "dst_id")], source_type, may_overflow)
    # One sum a type: the type is a constant then, and not a key that every row is compared by.
    return engine.union(
        [
            _summed(
                engine,
                [_end(engine, edges, column, 1), *without_edges(node_type, column)],
                node_type,
                may_overflow,
            )
            for node_type, column in ((source_type, "src_id"), (target_type, "dst_id"))
        ]
    )


def _refuse_lost_edges(figures: IndexFigures, workspace: Workspace) -> None:
    edges, wanted = figures.edges + figures.holdout, workspace.manifest("edges").rows
    if edges != wanted:
        raise StorageError(
            f"{wanted} edges went into the index and {edges} came out: a file of "
            f"{workspace.folder('edges')} has changed since; remove that folder and run ingest again"
        )
    if figures.edges == 0:
        raise InputError("no edges are left to embed; lower evaluate.holdout_edges, or look at the rejected rows")


def _end(engine: Engine[Frame], edges: Frame, column: str, degree: int) -> Frame:
    if degree:
        return engine.rename(edges, {"node_id": column, "weight": "weight"}, {"degree": 1})
    return engine.rename(edges, {"node_id": column}, {"weight": 0, "degree": 0})


def _summed(engine: Engine[Frame], ends: Sequence[Frame], node_type: str, may_overflow: bool) -> Frame:
    sums = engine.sum_by(
        engine.union(ends), ["node_id"], ["degree", "weight"], keys_repeat=True, may_overflow=may_overflow
    )
    return engine.rename(sums, {name: name for name in ("node_id", "degree", "weight")}, {"node_type": node_type})


def _look_up_ends(
    engine: Engine[Frame],
    edges: Frame,
    numbered: Sequence[TaskRecord[NumberResult]],
    config: PipelineConfig,
    folder: Location,
    id_type: pa.DataType,
) -> list[Location]:
    nodes = engine.read(_node_files(numbered), ["node_ix", "node_id", "node_type"], NODE_INDEX.schema_for(id_type))
    sources = engine.where_equal(nodes, "node_type", config.input.source_type)
    targets = engine.where_equal(nodes, "node_type", config.input.target_type)
    half = engine.look_up(edges, sources, {"src_id": "node_id"}, {"src_ix": "node_ix"})
    both = engine.look_up(half, targets, {"dst_id": "node_id"}, {"dst_ix": "node_ix"})
    return engine.write(both, folder, INDEXED_EDGES.schema)


def _numbering_payloads(files: Sequence[Location], holdout: Sequence[Location]) -> list[NumberPayload]:
    rows = [storage.rows_in([file]) for file in files]
    starts = itertools.accumulate(rows[:-1], initial=0)
    return [NumberPayload(file, start, tuple(holdout)) for file, start in zip(files, starts, strict=False)]


def number_nodes(payload: NumberPayload, attempt: Attempt) -> NumberResult:
    """Task: give the nodes of one sorted file their numbers and keys; take held-out pairs off their degrees."""
    table = storage.read_parquet([payload.file])
    start = payload.start
    node_ix = np.arange(start, start + table.num_rows, dtype=np.int64)
    node_key = np.empty(table.num_rows, np.uint64)
    types: dict[str, tuple[int, int]] = {}
    linked: dict[str, int] = {}
    for node_type in pc.unique(table["node_type"]).to_pylist():
        rows = np.flatnonzero(pc.equal(table["node_type"], node_type).to_numpy())
        first, stop = int(rows[0]), int(rows[-1]) + 1  # sorted by type first
        ids = table["node_id"].slice(first, stop - first)
        _refuse_disorder(ids, payload.file)
        node_key[first:stop] = _keys_of(node_type, ids)
        types[node_type] = start + first, start + stop
        linked[node_type] = int(pc.sum(pc.greater(table["degree"].slice(first, stop - first), 0)).as_py())
    degree, weight = (table[name].to_numpy().copy() for name in ("degree", "weight"))
    for file in payload.holdout:
        _take_off(storage.read_parquet([file]), start, degree, weight)
    columns = {
        "node_ix": pa.array(node_ix),
        "node_key": pa.array(node_key.view(np.int64)),
        "node_id": table["node_id"],
        "node_type": table["node_type"],
        "degree": pa.array(degree),
        "weight": pa.array(weight),
    }
    index = pa.Table.from_pydict(columns, schema=NODE_INDEX.schema_for(table["node_id"].type))
    # Small row groups: who writes some rows of the published table reads the ids of these.
    storage.write_parquet(attempt.path("nodes", "parquet"), index, row_group_size=65_536)
    arrays = {name: columns[name] for name in NODE_ARRAYS.schema.names}
    storage.write_arrow(attempt.path("arrays", "arrow"), pa.Table.from_pydict(arrays, schema=NODE_ARRAYS.schema))
    return NumberResult(types, linked, int((degree == 0).sum()))


def _keys_of(node_type: str, ids: pa.ChunkedArray) -> np.ndarray:
    """Return the keys of nodes of one type; (n,) uint64."""
    node_key = np.empty(len(ids), np.uint64)
    for first in range(0, len(ids), _ROWS_AT_ONCE):
        some = ids.slice(first, _ROWS_AT_ONCE).cast(pa.string()).cast(pa.binary())
        node_key[first : first + len(some)] = node_keys(node_type, some.to_pylist())
    return node_key


def _refuse_disorder(ids: pa.ChunkedArray, file: Location) -> None:
    """Node numbers are the order: readers find ids by halving, and every run must find the same order."""
    ordered = ids.combine_chunks().cast(pa.binary()) if pa.types.is_string(ids.type) else ids.combine_chunks()
    if len(ordered) > 1 and not pc.all(pc.less(ordered[:-1], ordered[1:])).as_py():
        raise StorageError(f"the nodes in {file} are not in ascending order of id; report this, and the engine used")


def _take_off(pairs: pa.Table, start: int, degree: np.ndarray, weight: np.ndarray) -> None:
    src, dst, pair_weight = (pairs[name].to_numpy() for name in ("src_ix", "dst_ix", "weight"))
    is_loop = src == dst
    for ends, of in ((src, pair_weight), (dst[~is_loop], pair_weight[~is_loop])):
        here = (ends >= start) & (ends < start + degree.size)
        np.subtract.at(degree, ends[here] - start, 1)
        np.subtract.at(weight, ends[here] - start, of[here])


def _holdout_rule(config: PipelineConfig, numbered: Sequence[TaskRecord[NumberResult]]) -> HoldoutSplit:
    evaluate = config.evaluate
    is_plain = config.input.is_plain
    return HoldoutSplit(
        arrays=tuple(record.file("arrays") for record in numbered),
        min_pairs=0 if is_plain else _HOLDOUT_MIN_PAIRS,
        node_share=1.0 if is_plain else evaluate.holdout_users,
        pair_share=evaluate.holdout_edges if is_plain else evaluate.holdout_pairs,
        seed=evaluate.seed,
    )


def split_holdout(payload: SplitPayload, attempt: Attempt) -> None:
    """Task: part the pairs of one file into training and held out, by hashes of their nodes' keys."""
    table, nodes = storage.read_parquet([payload.file]), NodeArrays(payload.split.arrays)
    is_held_out = np.zeros(table.num_rows, np.bool_)
    for first in range(0, table.num_rows, _ROWS_AT_ONCE):
        pairs = table.slice(first, _ROWS_AT_ONCE)
        is_held_out[first : first + pairs.num_rows] = _are_held_out(pairs, nodes, payload.split)
    for role, rows in (("edges", ~is_held_out), ("holdout", is_held_out)):
        storage.write_parquet(attempt.path(role, "parquet"), table.filter(pa.array(rows)))


def _are_held_out(pairs: pa.Table, nodes: NodeArrays, split: HoldoutSplit) -> np.ndarray:
    src, dst = (_taker(nodes, pairs[name].to_numpy()) for name in ("src_ix", "dst_ix"))
    source_key = src("node_key").view(np.uint64)
    return (
        (hash_nodes(source_key, split.seed) < _threshold(split.node_share))
        & (src("degree") >= split.min_pairs)
        & (hash_pairs(source_key, dst("node_key").view(np.uint64), split.seed) < _threshold(split.pair_share))
    )


def _taker(nodes: NodeArrays, node_ix: np.ndarray) -> Any:
    unique, inverse = np.unique(node_ix, return_inverse=True)
    return lambda name: nodes.take(name, unique)[inverse]


def _threshold(share: float) -> np.uint64:
    return np.uint64(min(int(share * 2**64), 2**64 - 1))


def _node_files(numbered: Sequence[TaskRecord[NumberResult]]) -> list[Location]:
    return [record.file("nodes") for record in numbered]


def _linked_nodes(numbered: Sequence[TaskRecord[NumberResult]]) -> Counter[str]:
    """Return by type the nodes that have an edge."""
    linked: Counter[str] = Counter()
    for record in numbered:
        linked.update(record.result.linked)
    return linked


def _ranges_of_types(numbered: Sequence[TaskRecord[NumberResult]]) -> dict[str, tuple[int, int]]:
    types: dict[str, tuple[int, int]] = {}
    for record in numbered:
        for node_type, (first, stop) in record.result.types.items():
            types[node_type] = (types.get(node_type, (first, stop))[0], stop)
    return types
