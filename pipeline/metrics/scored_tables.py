"""Published tables and pairs from files into arrays: what evaluation works on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import InputError
from pipeline.evaluation.sampling import KeySample
from pipeline.evaluation.table import Pairs, Table
from pipeline.ingest.counts import total
from pipeline.ingest.id_match import are_swapped, match_ids, why_no_match
from pipeline.ingest.ids import keys_of, one_type
from pipeline.ingest.parse import ParseRules, parse
from pipeline.ingest.pieces import ParseTask
from pipeline.ingest.sources import join_names
from pipeline.locations import Location
from pipeline.metrics.train_pairs import DistinctCounts

_COLUMNS = ("node_type", "node_id", "degree")
_VECTORS = "embedding"
_ENDS = ("src_id", "dst_id")
_BATCH_ROWS, _BATCH_PAIRS = 16_384, 1_048_576
PART = "cluster_path"


@dataclass(frozen=True, eq=False)
class ScoredTable:
    """A table, and the ids of each of its types in the order of its rows."""

    table: Table
    ids: Mapping[str, pa.Array]

    def find(self, node_ids: pa.Array, node_type: str) -> NDArray[np.int64]:
        """Positions of ids; where the table has no such node -2, -3, ..., equal for equal ids."""
        table_ids = self.ids[node_type]
        if table_ids.type != node_ids.type:
            table_ids, node_ids = table_ids.cast(pa.string()), node_ids.cast(pa.string())
        position = pc.index_in(node_ids, table_ids).cast(pa.int64()).fill_null(-1).to_numpy().copy()
        is_known = position >= 0
        position[is_known] += self.table.ranges[node_type][0]
        if not is_known.all():
            unknown = pc.dictionary_encode(node_ids.filter(pa.array(~is_known))).indices.to_numpy()
            position[~is_known] = -2 - unknown
        return position

    def between(self, source: str, target: str) -> ScoredTable:
        """The same table, for pairs from one type to another."""
        return ScoredTable(replace(self.table, source=source, target=target), self.ids)

    def pairs(self, ends: tuple[pa.Array, pa.Array]) -> Pairs:
        """Positions of both ends of pairs of ids."""
        return Pairs(self.find(ends[0], self.table.source), self.find(ends[1], self.table.target))


@dataclass(frozen=True)
class VectorFiles:
    """Files of node_embeddings, with what its metadata say.

    source_type, target_type : the types that pairs join.
    similarity : "dot" or "cosine" for retrieval, feature and classifier; only the first is needed.
    """

    files: tuple[Location, ...]
    source_type: str
    target_type: str
    similarity: Mapping[str, str]

    @classmethod
    def of(cls, files: Sequence[Location], metadata: Mapping[str, Any]) -> VectorFiles:
        """Describe a table by its metadata."""
        return cls(tuple(files), *(metadata[name] for name in ("source_type", "target_type", "similarity")))


def read_scored_table(vectors: VectorFiles, *, with_parts: bool = False) -> ScoredTable:
    """Read a table, which is sorted by type; ``with_parts`` : also the part that is each node's home.

    Cost
    ----
    Reads the table once. Memory: ids, keys and degrees; vectors are a mapped file.
    """
    columns = [*_COLUMNS, _VECTORS, PART] if with_parts else [*_COLUMNS, _VECTORS]
    dim = storage.read_schema(vectors.files[0]).field("embedding").type.list_size
    rows = storage.scratch_array(storage.rows_in(vectors.files), dim)
    return _scored_table(storage.read_batches(vectors.files, columns, _BATCH_ROWS), rows, vectors)


def read_sampled_table(vectors: VectorFiles, size: int, seed: int) -> ScoredTable:
    """Read at most ``size`` rows of each type, chosen by hash: of two nights mostly the same nodes.

    Cost
    ----
    Reads the table's ids and degrees once, and of its vectors those that are chosen. Memory, of a type with n rows:
    about size * (1 + log(n / size)) of them without vectors.
    """
    samples: dict[str, KeySample] = {}
    first: dict[str, int] = {}
    near_rows: list[pa.RecordBatch] = []
    places: list[NDArray[np.int64]] = []
    start = 0
    for batch in storage.read_batches(vectors.files, _COLUMNS, _BATCH_ROWS):
        for node_type, row, stop in runs_of_types(batch):
            of_type = batch.slice(row, stop - row)
            first.setdefault(node_type, start + row)
            near = samples.setdefault(node_type, KeySample(size, seed)).add(keys_of(node_type, of_type["node_id"]))
            near_rows.append(of_type.take(pa.array(near)))
            places.append(start + row + near)
        start += batch.num_rows
    rows = np.sort(np.concatenate([first[name] + sample.positions for name, sample in samples.items()]))
    of_sample = pa.array(np.searchsorted(np.concatenate(places), rows))
    batches = pa.Table.from_batches(near_rows).take(of_sample).combine_chunks().to_batches()
    return _scored_table(batches, storage.take_vectors(vectors.files, _VECTORS, rows), vectors)


def _scored_table(batches: Iterable[pa.RecordBatch], rows: NDArray[np.float32], vectors: VectorFiles) -> ScoredTable:
    """Take a table in; vectors that come with the batches are put into ``rows``."""
    ids_of_batches: list[pa.Array] = []
    parts: list[pa.Array] = []
    degree = np.empty(len(rows), np.int64)
    ranges: dict[str, tuple[int, int]] = {}
    start = 0
    for batch in batches:
        stop = start + batch.num_rows
        if _VECTORS in batch.schema.names:
            rows[start:stop] = batch[_VECTORS].flatten().to_numpy().reshape(-1, rows.shape[1])
        degree[start:stop] = batch["degree"].to_numpy()
        ids_of_batches.append(batch["node_id"])
        if PART in batch.schema.names:
            parts.append(batch[PART])
        for node_type, first, end in runs_of_types(batch):
            ranges[node_type] = ranges.get(node_type, (start + first, 0))[0], start + end
        start = stop
    ids = pa.chunked_array(ids_of_batches)
    ids_of_types = {name: ids.slice(first, stop - first).combine_chunks() for name, (first, stop) in ranges.items()}
    node_key = np.empty(len(rows), np.uint64)
    for node_type, (first, stop) in ranges.items():
        node_key[first:stop] = keys_of(node_type, ids_of_types[node_type])
    table = Table(
        rows=rows,
        node_key=node_key,
        degree=degree,
        ranges=ranges,
        source=vectors.source_type,
        target=vectors.target_type,
        similarity=vectors.similarity["retrieval"],
        feature=vectors.similarity.get("feature", "cosine"),
        classifier=vectors.similarity.get("classifier", "dot"),
        part=_codes(pa.chunked_array(parts)) if parts else None,
    )
    return ScoredTable(table, ids_of_types)


def runs_of_types(batch: pa.RecordBatch) -> Iterator[tuple[str, int, int]]:
    """Yield the type, first and last row, exclusive, of each run of rows of one type."""
    runs = pc.run_end_encode(batch["node_type"])
    first = 0
    for node_type, stop in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield node_type, first, stop
        first = stop


def label_matrix(
    position: NDArray[np.int64], label: pa.Array
) -> tuple[NDArray[np.int64], NDArray[np.bool_], tuple[str, ...]]:
    """Return the nodes that have labels, ascending, (nodes, labels) bool, and the labels, ascending.

    ``position`` and ``label`` are of pairs of a node and a label; a node below 0 has no row, its label a column.
    """
    unique = pc.unique(label)
    names = unique.take(pc.array_sort_indices(unique))
    is_node = position >= 0
    nodes, row = np.unique(position[is_node], return_inverse=True)
    labels = np.zeros((nodes.size, len(names)), np.bool_)
    labels[row, pc.index_in(label, names).to_numpy()[is_node]] = True
    return nodes, labels, tuple(names.to_pylist())


def read_edges(files: Sequence[Location]) -> tuple[pa.Array, pa.Array]:
    """Both ends of the pairs of an edges table."""
    pairs = storage.read_parquet(files, ["src_id", "dst_id"])
    return pairs["src_id"].combine_chunks(), pairs["dst_id"].combine_chunks()


def read_edges_of(
    files: Sequence[Location], nodes: tuple[pa.Array, pa.Array], *, is_plain: bool
) -> tuple[pa.Array, pa.Array]:
    """Both ends of the pairs of an edges table whose source is one of some pairs; on a plain graph, one of either end.

    Cost
    ----
    Reads the table once. Memory: these pairs.
    """
    source_ids = pc.unique(pa.concat_arrays(nodes) if is_plain else nodes[0])
    batches = []
    for batch in storage.read_batches(files, _ENDS, _BATCH_PAIRS):
        is_wanted = _are_among(batch["src_id"], source_ids)
        if is_plain:
            is_wanted = pc.or_(is_wanted, _are_among(batch["dst_id"], source_ids))
        batches.append(batch.filter(is_wanted))
    pairs = pa.Table.from_batches(batches) if batches else storage.read_parquet(files, _ENDS)
    return pairs["src_id"].combine_chunks(), pairs["dst_id"].combine_chunks()


def read_different_ends(files: Sequence[Location]) -> tuple[pa.Array, pa.Array]:
    """The different ids at either end of the pairs of an edges table, in the order in which they come.

    Cost
    ----
    Reads the table once. Memory: these ids.
    """
    schema = storage.read_schema(files[0])
    src, dst = (DistinctCounts(schema.field(name).type) for name in _ENDS)
    for batch in storage.read_batches(files, _ENDS, _BATCH_PAIRS):
        src.add(batch["src_id"])
        dst.add(batch["dst_id"])
    return src.result()[0], dst.result()[0]


def _are_among(ids: pa.Array, value_set: pa.Array) -> pa.Array:
    """Return which ids are in the set; 7 and "7" are one id."""
    if ids.type != value_set.type:
        ids, value_set = ids.cast(pa.string()), value_set.cast(pa.string())
    return pc.is_in(ids, value_set=value_set)


def read_held_out(files: Sequence[Location], node_index: Sequence[Location]) -> tuple[pa.Array, pa.Array]:
    """Both ends, as ids, of held-out pairs."""
    node_id = storage.read_parquet(node_index, ["node_id"])["node_id"].combine_chunks()
    pairs = storage.read_parquet(files)
    return node_id.take(pairs["src_ix"].combine_chunks()), node_id.take(pairs["dst_ix"].combine_chunks())


def read_pairs(
    tasks: Sequence[ParseTask], rules: ParseRules, most_rejected: float
) -> tuple[tuple[pa.Array, pa.Array], str | None]:
    """Both ends of the pairs of an input, in one id type; rows that ingest would reject are left out, with a warning.

    Parameters
    ----------
    most_rejected : the share of such rows above which figures would be of other pairs than those in the file.

    Raises
    ------
    InputError : a file that can't be read or has no usable rows, a missing column, too many rejected rows.
    """
    parsed_batches = [batch for task in tasks for batch in parse(task, rules)]
    batches = [batch.rows for batch in parsed_batches]
    counts = total(batch.counts for batch in parsed_batches)
    places = join_names([piece.address for task in tasks for piece in task.pieces])
    if not counts.read:
        raise InputError(f"{places} has no rows; pairs of '{rules.source}' and '{rules.target}' were wanted")
    reasons = counts.describe_rejections()
    if not counts.kept:
        raise InputError(f"{places} has no usable pairs: all {counts.read:,} rows were rejected ({reasons})")
    if counts.rejected_share > most_rejected:
        raise InputError(
            f"{counts.rejected_total:,} of {counts.read:,} rows of pairs in {places} were rejected ({reasons}), a "
            f"share of {counts.rejected_share:.4g}; input.max_rejected_share is {most_rejected:g}. Repair the rows "
            "or raise the bound"
        )
    columns = []
    for name in ("src_id", "dst_id"):
        pieces = [batch.column(name) for batch in batches]
        is_text = any(piece.type == pa.string() for piece in pieces)
        columns.append(pa.concat_arrays([piece.cast(pa.string()) if is_text else piece for piece in pieces]))
    warning = f"{counts.rejected_total:,} of {counts.read:,} rows are left out: {reasons}" if reasons else None
    return one_type(columns[0], columns[1], as_text=False), warning


def judge_pair_ids(
    pairs: tuple[pa.Array, pa.Array], table_ids: tuple[pa.Array, pa.Array], types: tuple[str, str], name: str
) -> str | None:
    """Refuse pairs of which almost no id is known at one end; return a warning if few are.

    Parameters
    ----------
    table_ids : both ends of the pairs that the table was made from, or its ids. types : of both ends, the first of
        which are persons: their ids aren't shown.

    Raises
    ------
    InputError : with an example of each side, and the likely reason.
    """
    if types[0] == types[1]:  # one type: ends come in any order
        both = tuple(pa.concat_arrays([ids.cast(pa.string()) for ids in ends]) for ends in (pairs, table_ids))
        pairs, table_ids, types = (both[0],), (both[1],), types[:1]  # type: ignore[assignment]
    warning = None
    for node_type, ids, of_table in zip(types, pairs, table_ids, strict=True):
        match = match_ids(ids, of_table)
        if match.is_no_match:
            by_type = [dict(zip(types, ends, strict=True)) for ends in (pairs, table_ids)]
            reason = "Source and target are swapped." if are_swapped(*by_type) else ""
            reason = reason or why_no_match(ids, of_table, of_persons=node_type == types[0])
            raise InputError(f"{match.describe(f'{name}, as {node_type},')}. {reason}")
        if match.is_weak:
            warning = f"{match.describe(f'{name}, as {node_type},')}; the others can't be ranked"
    return warning


def _codes(paths: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each path; -1 for nodes without edges, which are in no part."""
    array = paths.combine_chunks()
    codes = pc.if_else(pc.equal(array, ""), None, array).dictionary_encode()
    return codes.indices.cast(pa.int64()).fill_null(-1).to_numpy()
