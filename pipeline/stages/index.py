"""edges -> node_index, node_arrays, indexed_edges: one dense number a node, the same on every engine."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic

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
from pipeline.ingest.held_pairs import MOST_SLOTS
from pipeline.ingest.ids import keys_of
from pipeline.kernels.hashing import hash_nodes, hash_pairs
from pipeline.locations import Location
from pipeline.stages.outcome import Outcome, OutputFile, describe_engine_files, describe_task_files
from pipeline.stages.pair_numbers import PairNumbersPayload, number_pairs
from pipeline.tasks import Attempt, TaskFolder, TaskRecord
from pipeline.workspace import Workspace
from schemas.tables import EDGES, INDEXED_EDGES, MAIN_NODES, NODE_ARRAYS, NODE_INDEX

NAME = "index"
_ENDS = ("src_id", "dst_id", "weight")  # of edges: all that is read of them

_HOLDOUT_MIN_PAIRS = 5  # users with fewer pairs keep them all
#: Rows whose ids are Python objects at once, or whose nodes are looked up at once: either takes over 100 bytes a row.
_ROWS_AT_ONCE = 262_144


@dataclass(frozen=True)
class NumberPayload:
    """Input of the task that numbers a sorted file of nodes from ``start``.

    types : of the nodes, by their place. holdout : pairs held out.
    """

    file: Location
    start: int
    types: tuple[str, ...]
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
    id_type, types = ingest.arrow_id_type, config.sides.types
    graph = _Relations(engine, config, workspace, ingest)
    attributes = AttributeNodes(engine, config, workspace, id_type)
    tasks = TaskFolder(engine, workspace.work(NAME))
    of_pairs = None if workspace.files("attribute_nodes") else graph.in_one_task(tasks, config.partition.worker_bytes)
    if of_pairs is not None:
        files = of_pairs.paths("nodes")
    else:
        nodes = graph.sum_ends(attributes)
        numbers = [pa.field(name, pa.int64(), nullable=False) for name in ("place", *graph.sums)]
        schema = pa.schema([*numbers, NODE_INDEX.schema_for(id_type).field("node_id")])
        files = engine.write_sorted(nodes, workspace.scratch(NAME, "nodes"), schema, ["place", "node_id"])
    node_records = tasks.run_each(number_nodes, "number", _numbering_payloads(files, types, holdout=[]))
    matches = attributes.match_ids(_node_files(node_records), _linked_nodes(node_records), ingest)

    main, *further = [of_pairs.paths("edges")] if of_pairs else graph.look_up_ends(_node_files(node_records)).values()
    split: list[TaskRecord[None]] = []
    if config.evaluate.source == "holdout":
        rule = _holdout_rule(config, node_records)
        split = tasks.run_each(split_holdout, "split", [SplitPayload(file, rule) for file in main])
        held_out = [record.file("holdout") for record in split]
        node_records = tasks.run_each(number_nodes, "renumber", _numbering_payloads(files, types, held_out))
        of_main, holdout = describe_task_files(split, "edges"), describe_task_files(split, "holdout")
    else:
        of_main, holdout = describe_engine_files(main), []
    edge_files = [of_main, *map(describe_engine_files, further)]

    features = attributes.number(_node_files(node_records))
    figures = IndexFigures(
        nodes=sum(record.rows("nodes") for record in node_records),
        isolated=sum(record.result.isolated for record in node_records),
        edges=sum(file.rows for of_relation in edge_files for file in of_relation),
        holdout=sum(file.rows for file in holdout),
        types=_ranges_of_types(node_records),
        relation_files={"indexed_edges": tuple(map(len, edge_files))},
        attribute_ids=matches,
    )
    _refuse_lost_edges(figures, workspace)
    tables: dict[str, Sequence[OutputFile]] = {
        "node_index": describe_task_files(node_records, "nodes"),
        "node_arrays": describe_task_files(node_records, "arrays"),
        "main_nodes": describe_task_files(node_records, "main"),
        "indexed_edges": [file for of_relation in edge_files for file in of_relation],
        "holdout": holdout,
        "node_features": describe_task_files(features, "features"),
    }
    return Outcome(tables, codec.to_values(figures), [*node_records, *split, *features])


class _Relations(Generic[Frame]):
    """The pairs of every relation, as an engine sees them."""

    def __init__(self, engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, ingest: IngestFigures):
        self._engine, self._workspace, self._id_type = engine, workspace, ingest.arrow_id_type
        self._sides = config.sides
        self.sums = ["degree", "weight", *(MAIN_NODES.schema.names if config.has_relations else ())]
        # Both ends of all edges weigh twice the rows of the input at the most.
        self._may_overflow = 2 * ingest.weight_total >= 2**63

    @cached_property
    def _edges(self) -> Mapping[str, Frame]:
        return self._read("edges")

    @cached_property
    def _decayed_pairs(self) -> Mapping[str, Frame]:
        return self._read("decayed")

    def _read(self, table: str) -> Mapping[str, Frame]:
        """Return both ends of the pairs of a table, by the names of relations."""
        by_relation = zip(self._sides.ends, self._workspace.files_by_relation(table), strict=True)
        schema = EDGES.schema_for(self._id_type)
        return {name: self._engine.read(files, _ENDS, schema) for name, files in by_relation}

    def in_one_task(self, tasks: TaskFolder, most_bytes: int) -> TaskRecord[bool] | None:
        """Number the pairs in one task; None where it can't hold them, or many could run beside it."""
        is_wide = self._engine.slots > MOST_SLOTS
        if is_wide or self._may_overflow or len(self._sides.ends) > 1:
            return None
        (ends,) = self._sides.ends.values()
        (edges,), (decayed_pairs,) = (self._workspace.files_by_relation(table) for table in ("edges", "decayed"))
        columns = ("dst_id", "src_id") if ends.is_turned else ("src_id", "dst_id")
        places = dict(zip(columns, map(self._sides.types.index, (ends.src_type, ends.dst_type)), strict=True))
        has_int64_ids = self._id_type == pa.int64()
        payload = PairNumbersPayload.of_files(edges, decayed_pairs, places, most_bytes, has_int64_ids=has_int64_ids)
        if payload is None:
            return None
        record = tasks.run(number_pairs, "pairs", payload)
        return record if record.result else None

    def sum_ends(self, attributes: AttributeNodes[Frame]) -> Frame:
        """Return one row a node: (place of its type, node_id, degree, weight).

        The nodes of decayed pairs are among them, and those of which only attributes are known.
        """
        engine = self._engine
        # One sum a type: the type is a constant then, and not a key that every row is compared by.
        of_types = []
        for place, node_type in enumerate(self._sides.types):
            ends = [self._no_edges(frame, "node_id") for frame in attributes.of_type(node_type)]
            for name, edges in self._edges.items():
                ends += self._ends_of(name, edges, self._decayed_pairs[name], node_type)
            sums = engine.sum_by(
                *(engine.union(ends), ["node_id"], self.sums),
                keys_repeat=True,
                may_overflow=self._may_overflow,
            )
            columns = {name: name for name in ("node_id", *self.sums)}
            of_types.append(engine.rename(sums, columns, {"place": place}))
        return engine.union(of_types)

    def _ends_of(self, name: str, edges: Frame, decayed_pairs: Frame, node_type: str) -> list[Frame]:
        """Return a row of node_id and the sums for each end of a relation's edges that is of a type."""
        engine, ends = self._engine, []
        main = self._sides.ends[next(iter(self._edges))]
        is_shown = name == next(iter(self._edges)) or node_type not in (main.src_type, main.dst_type)
        sums = [total for total in self.sums if is_shown or total in ("degree", "weight")]
        weights = dict.fromkeys((total for total in sums if total.endswith("weight")), "weight")
        constants = {total: int(total in sums) for total in self.sums if total not in weights}
        is_loop_free = edges
        for column in self._columns_of(name, node_type):
            of_column = engine.rename(is_loop_free, {"node_id": column, **weights}, constants)
            ends += [of_column, self._no_edges(decayed_pairs, column)]
            # A self loop counts once, in the matrix and in the degree.
            is_loop_free = engine.where_different(edges, "src_id", "dst_id")
        return ends

    def _no_edges(self, frame: Frame, column: str) -> Frame:
        """Return a row for each node of a column, which adds nothing to the sums."""
        return self._engine.rename(frame, {"node_id": column}, dict.fromkeys(self.sums, 0))

    def _columns_of(self, name: str, node_type: str) -> list[str]:
        """Return which columns of a relation's edges have ids of a type."""
        ends = self._sides.ends[name]
        columns = ("dst_id", "src_id") if ends.is_turned else ("src_id", "dst_id")
        return [
            column
            for column, of_end in zip(columns, (ends.src_type, ends.dst_type), strict=True)
            if of_end == node_type
        ]

    def look_up_ends(self, node_files: Sequence[Location]) -> dict[str, list[Location]]:
        """Write the edges of every relation in node numbers; return its files by its name."""
        engine, names = self._engine, ["node_ix", "node_id", "node_type"]
        nodes = engine.read(node_files, names, NODE_INDEX.schema_for(self._id_type))
        files = {}
        for number, (name, edges) in enumerate(self._edges.items()):
            ends = self._sides.ends[name]
            src, dst = ("dst_id", "src_id") if ends.is_turned else ("src_id", "dst_id")
            sources, targets = (
                engine.where_equal(nodes, "node_type", node_type) for node_type in (ends.src_type, ends.dst_type)
            )
            half = engine.look_up(edges, sources, {src: "node_id"}, {"src_ix": "node_ix"})
            both = engine.look_up(half, targets, {dst: "node_id"}, {"dst_ix": "node_ix"})
            columns = {column: column for column in ("src_ix", "dst_ix", "weight")}
            whole = engine.rename(both, columns, {"relation": number})
            files[name] = engine.write(whole, self._workspace.scratch(NAME, f"edges-{number}"), INDEXED_EDGES.schema)
        return files


def _refuse_lost_edges(figures: IndexFigures, workspace: Workspace) -> None:
    edges, edges_before = figures.edges + figures.holdout, workspace.manifest("edges").rows
    if edges != edges_before:
        raise StorageError(
            f"{edges_before} edges went into the index and {edges} came out: a file of "
            f"{workspace.folder('edges')} has changed since; remove that folder and run ingest again"
        )
    if figures.edges == 0:
        raise InputError("no edges are left to embed; lower evaluate.holdout_edges, or look at the rejected rows")


def _numbering_payloads(
    files: Sequence[Location], types: tuple[str, ...], holdout: Sequence[Location]
) -> list[NumberPayload]:
    rows = [storage.rows_in([file]) for file in files]
    starts = itertools.accumulate(rows[:-1], initial=0)
    return [NumberPayload(file, start, types, tuple(holdout)) for file, start in zip(files, starts, strict=False)]


def number_nodes(payload: NumberPayload, attempt: Attempt) -> NumberResult:
    """Task: give the nodes of one sorted file their numbers and keys; take held-out pairs off their degrees."""
    table = storage.read_parquet([payload.file])
    start = payload.start
    node_ix = np.arange(start, start + table.num_rows, dtype=np.int64)
    node_key = np.empty(table.num_rows, np.uint64)
    types: dict[str, tuple[int, int]] = {}
    linked_nodes: dict[str, int] = {}
    place = table["place"].to_numpy()
    for number in np.unique(place).tolist():
        node_type = payload.types[number]
        first, stop = np.searchsorted(place, [number, number + 1]).tolist()  # sorted by it first
        ids = table["node_id"].slice(first, stop - first)
        _refuse_disorder(ids, payload.file)
        node_key[first:stop] = keys_of(node_type, ids)
        types[node_type] = start + first, start + stop
        linked_nodes[node_type] = int(pc.sum(pc.greater(table["degree"].slice(first, stop - first), 0)).as_py())
    sums = {name: table[name].to_numpy().copy() for name in table.column_names if name not in ("place", "node_id")}
    degree, weight = sums["degree"], sums["weight"]
    for file in payload.holdout:
        pairs = storage.read_parquet([file])
        for prefix in ("", *(["main_"] if "main_degree" in sums else [])):
            _take_off(pairs, start, sums[f"{prefix}degree"], sums[f"{prefix}weight"])
    columns = {
        "node_ix": pa.array(node_ix),
        "node_key": pa.array(node_key.view(np.int64)),
        "node_id": table["node_id"],
        "node_type": pa.array(np.array(payload.types, object)).take(pa.array(place)),
        "degree": pa.array(degree),
        "weight": pa.array(weight),
    }
    index = pa.Table.from_pydict(columns, schema=NODE_INDEX.schema_for(table["node_id"].type))
    # Small row groups: who writes some rows of the published table reads the ids of these.
    storage.write_parquet(attempt.path("nodes", "parquet"), index, row_group_size=65_536)
    arrays = {name: columns[name] for name in NODE_ARRAYS.schema.names}
    storage.write_arrow(attempt.path("arrays", "arrow"), pa.Table.from_pydict(arrays, schema=NODE_ARRAYS.schema))
    if main := [pa.array(sums[name]) for name in MAIN_NODES.schema.names if name in sums]:
        storage.write_arrow(attempt.path("main", "arrow"), pa.Table.from_arrays(main, schema=MAIN_NODES.schema))
    return NumberResult(types, linked_nodes, int((degree == 0).sum()))


def _refuse_disorder(ids: pa.ChunkedArray, file: Location) -> None:
    """Node numbers are the order: readers find ids by halving, and every run must find the same order."""
    node_ids = ids.combine_chunks().cast(pa.binary()) if pa.types.is_string(ids.type) else ids.combine_chunks()
    if len(node_ids) > 1 and not pc.all(pc.less(node_ids[:-1], node_ids[1:])).as_py():
        raise StorageError(f"the nodes in {file} are not in ascending order of id; report this, and the engine used")


def _take_off(pairs: pa.Table, start: int, degree: np.ndarray, weight: np.ndarray) -> None:
    src, dst, pair_weight = (pairs[name].to_numpy() for name in ("src_ix", "dst_ix", "weight"))
    is_loop = src == dst
    for ends, of in ((src, pair_weight), (dst[~is_loop], pair_weight[~is_loop])):
        is_of_file = (ends >= start) & (ends < start + degree.size)
        np.subtract.at(degree, ends[is_of_file] - start, 1)
        np.subtract.at(weight, ends[is_of_file] - start, of[is_of_file])


def _holdout_rule(config: PipelineConfig, node_records: Sequence[TaskRecord[NumberResult]]) -> HoldoutSplit:
    evaluate = config.evaluate
    is_plain = config.input.is_plain
    return HoldoutSplit(
        arrays=tuple(record.file("arrays") for record in node_records),
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


def _node_files(node_records: Sequence[TaskRecord[NumberResult]]) -> list[Location]:
    return [record.file("nodes") for record in node_records]


def _linked_nodes(node_records: Sequence[TaskRecord[NumberResult]]) -> Counter[str]:
    """Return by type the nodes that have an edge."""
    linked_nodes: Counter[str] = Counter()
    for record in node_records:
        linked_nodes.update(record.result.linked)
    return linked_nodes


def _ranges_of_types(node_records: Sequence[TaskRecord[NumberResult]]) -> dict[str, tuple[int, int]]:
    types: dict[str, tuple[int, int]] = {}
    for record in node_records:
        for node_type, (first, stop) in record.result.types.items():
            types[node_type] = (types.get(node_type, (first, stop))[0], stop)
    return types
