"""The tables, in the order of the data flow."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graphquilt import contracts, locate
from graphquilt.contracts import TableColumns
from schemas.contracts import Rule, TableContract

#: Weights are int64 in units of 2**-32: integer sums do not depend on their order.
WEIGHT_UNIT = 2.0**-32


def _required(name: str, dtype: pa.DataType) -> pa.Field:
    return pa.field(name, dtype, nullable=False)


def _count_not(condition: Callable[[pa.Table], pa.ChunkedArray]) -> Callable[[pa.Table], int]:
    """Count the rows for which ``condition`` does not hold; null counts as broken."""

    def count(table: pa.Table) -> int:
        return table.num_rows - (pc.sum(condition(table)).as_py() or 0)

    return count


def _not_finite_in(column: str) -> Callable[[pa.Table], int]:
    """Count the rows whose vector has an entry that is not finite."""

    def count(table: pa.Table) -> int:
        broken = 0
        for chunk in table.column(column).chunks:
            dim = chunk.type.list_size
            rows = chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
            broken += int((~np.isfinite(rows).all(axis=1)).sum())
        return broken

    return count


def _norm_is_sound(table: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.is_finite(table["norm"]), pc.greater_equal(table["norm"], 0.0))


EDGES = TableContract(
    name="edges",
    version=1,
    schema=pa.schema(
        [
            _required("src_id", pa.string()),
            _required("src_type", pa.string()),
            _required("dst_id", pa.string()),
            _required("dst_type", pa.string()),
            _required("weight", pa.int64()),  # fixed point: 2**32 is weight 1
            _required("events", pa.int64()),
            pa.field("last_ts", pa.int64()),  # microseconds, UTC; null in undated input
        ]
    ),
    key=("src_type", "src_id", "dst_type", "dst_id"),
    rules=(Rule("every weight is above zero", _count_not(lambda t: pc.greater(t["weight"], 0))),),
)

#: Pairs whose decayed weights sum to zero: no edges any more, but their nodes are still of this window.
DECAYED = TableContract(name="decayed", version=1, schema=EDGES.schema, key=EDGES.key)

REJECTED = TableContract(
    name="rejected",
    version=2,
    schema=pa.schema(
        [
            _required("file", pa.string()),
            _required("row", pa.int64()),  # counted from 0 in its file
            pa.field("source", pa.string()),
            pa.field("target", pa.string()),
            pa.field("weight", pa.string()),
            pa.field("event", pa.string()),
            pa.field("timestamp", pa.string()),
            _required("reason", pa.string()),
            _required("accepted", pa.string()),  # what would not have been rejected
        ]
    ),
    key=("file", "row"),
)

#: Rows of [attributes.<node type>] that are not used.
REJECTED_ATTRIBUTES = TableContract(
    name="rejected_attributes",
    version=2,
    schema=pa.schema(
        [
            _required("node_type", pa.string()),
            _required("file", pa.string()),
            _required("row", pa.int64()),  # counted from 0 in its file
            pa.field("node_id", pa.string()),
            _required("values", pa.string()),  # JSON, by column
            _required("reason", pa.string()),
            _required("accepted", pa.string()),  # what would not have been rejected
        ]
    ),
    key=("node_type", "file", "row"),
)

#: The nodes that have a row of attributes, each once.
ATTRIBUTE_NODES = TableContract(
    name="attribute_nodes",
    version=1,
    schema=pa.schema(
        [
            _required("node_id", pa.string()),
            _required("node_type", pa.string()),
            _required("place", pa.int64()),  # file of attribute_features x 2**32 + row
        ]
    ),
    key=("node_type", "node_id"),
)

#: What their attributes come to: hashed features, ascending by row and key. Squares of a row's values sum to 1 at most.
ATTRIBUTE_FEATURES = TableContract(
    name="attribute_features",
    version=1,
    schema=pa.schema(
        [
            _required("row", pa.int64()),
            _required("feature_key", pa.int64()),  # the bits of the u64 hash of column and value
            _required("value", pa.float32()),
        ]
    ),
    key=("row", "feature_key"),
    file_format="arrow",
)

NODE_INDEX = TableContract(
    name="node_index",
    version=1,
    schema=pa.schema(
        [
            _required("node_ix", pa.int64()),
            _required("node_key", pa.int64()),  # the bits of the u64 hash: Spark has no unsigned type
            _required("node_id", pa.string()),
            _required("node_type", pa.string()),
            _required("degree", pa.int64()),  # neighbours
            _required("weight", pa.int64()),  # fixed point
        ]
    ),
    key=("node_ix",),
    rules=(Rule("no degree is below zero", _count_not(lambda t: pc.greater_equal(t["degree"], 0))),),
)

#: The same nodes as arrays: row i of the files in order is node_ix i. Tasks map them and take what they need.
NODE_ARRAYS = TableContract(
    name="node_arrays",
    version=1,
    schema=pa.schema(
        [_required("node_key", pa.int64()), _required("degree", pa.int64()), _required("weight", pa.int64())]
    ),
    key=(),
    file_format="arrow",
)

INDEXED_EDGES = TableContract(
    name="indexed_edges",
    version=1,
    schema=pa.schema(
        [_required("src_ix", pa.int64()), _required("dst_ix", pa.int64()), _required("weight", pa.int64())]
    ),
    key=("src_ix", "dst_ix"),
    rules=(Rule("every weight is above zero", _count_not(lambda t: pc.greater(t["weight"], 0))),),
)

#: The features of numbered nodes, ascending by node_ix and key over the files in order.
NODE_FEATURES = TableContract(
    name="node_features",
    version=1,
    schema=pa.schema(
        [
            _required("node_ix", pa.int64()),
            _required("feature_key", pa.int64()),
            _required("value", pa.float32()),
        ]
    ),
    key=("node_ix", "feature_key"),
    file_format="arrow",
)

#: The same of a block's local rows, whatever their kind: any part can draw any start row.
BLOCK_FEATURES = TableContract(
    name="block_features", version=1, schema=NODE_FEATURES.schema, key=NODE_FEATURES.key, file_format="arrow"
)

#: Pairs kept back from training, by node number; what ``evaluate.source = "holdout"`` is scored on.
HOLDOUT = TableContract(
    name="holdout", version=1, schema=INDEXED_EDGES.schema, key=INDEXED_EDGES.key, rules=INDEXED_EDGES.rules
)

PARTITION_TREE = TableContract(
    name="partition_tree",
    version=1,
    schema=pa.schema(
        [
            _required("part_id", pa.int32()),  # depth-first preorder
            _required("part_path", pa.string()),  # "0/3/12": the way from the root
            _required("parent", pa.int32()),  # -1 at the root
            _required("depth", pa.int32()),
            _required("is_leaf", pa.bool_()),
            _required("nodes", pa.int64()),  # homes
            _required("edges", pa.int64()),  # stored, each once
            _required("volume", pa.int64()),  # edge ends whose node is computed here
            _required("cut", pa.int64()),  # stored edges with an end that is not at home here
            _required("split_nodes", pa.int64()),  # copies of nodes whose home is elsewhere
            _required("ghosts", pa.int64()),
        ]
    ),
    key=("part_id",),
)

NODE_PARTS = TableContract(
    name="node_parts",
    version=1,
    schema=pa.schema(
        [
            _required("node_ix", pa.int64()),
            _required("part_id", pa.int32()),  # of its home; -1: no edges, no part
            _required("is_split", pa.bool_()),
        ]
    ),
    key=("node_ix",),
    file_format="arrow",
)

#: Local rows of a block, ascending by node_ix; `kind` is one of pipeline.blocks.RowKind.
BLOCK_NODES = TableContract(
    name="block_nodes",
    version=1,
    schema=pa.schema(
        [
            _required("node_ix", pa.int64()),
            _required("node_key", pa.int64()),
            _required("kind", pa.int8()),
            _required("home", pa.int32()),  # part_id
            _required("degree", pa.int64()),  # neighbours, over the whole graph
            _required("weight", pa.int64()),  # fixed point, over the whole graph
            _required("entries", pa.int64()),  # stored neighbours: the row lengths of the adjacency
        ]
    ),
    key=("node_ix",),
    file_format="arrow",
)

#: The stored entries of a block, row after row, neighbours of a row in node_key order.
BLOCK_EDGES = TableContract(
    name="block_edges",
    version=1,
    schema=pa.schema([_required("neighbor_row", pa.int32()), _required("weight", pa.float32())]),
    key=(),
    file_format="arrow",
)

#: Which home rows of a block another part needs, by receiver.
BLOCK_ROUTES = TableContract(
    name="block_routes",
    version=1,
    schema=pa.schema([_required("part_id", pa.int32()), _required("row", pa.int32())]),
    key=("part_id", "row"),
    file_format="arrow",
)


#: Of modes that leave cut edges out of a part: the weight of each node's edges inside it.
KEPT_WEIGHTS = TableContract(
    name="kept_weights",
    version=1,
    schema=pa.schema([_required("node_ix", pa.int64()), _required("weight", pa.int64())]),
    key=("node_ix",),
    file_format="arrow",
)


#: Bytes of an entry in rows that travel, by type; narrow types have a scale of one byte a group of 16 columns.
ROW_BYTES = MappingProxyType({"float32": 4, "float16": 2, "int8": 1})
ROW_GROUP = 16


def row_schema(width: int, dtype: str = "float32", *, first_column: int = 0, has_noise_scale: bool = True) -> pa.Schema:
    """Rows on their way, or columns of them: part_rows, round_rows and outbox slices of ``width`` columns.

    ``noise_scale`` is the sum of |entry| times the norm of what it multiplies: a row whose norm is far below it counts
    as zero. Rows of a narrow type are codes, and scales by group, as `pipeline.kernels.narrow_rows` has them; their
    noise scale is the upper half of a float32. Rows of width 0 have a noise scale and nothing else.
    """
    fields = [_required("node_ix", pa.int64())]
    if has_noise_scale:
        fields.append(_required("noise_scale", pa.float64() if dtype == "float32" else pa.uint16()))
    if width and dtype == "float32":
        fields.append(_required("row", pa.list_(pa.field("item", pa.float32(), nullable=False), width)))
    elif width:
        fields.append(_required("scales", pa.binary(-(-width // ROW_GROUP))))
        fields.append(_required("codes", pa.binary(width * ROW_BYTES[dtype])))
    return pa.schema(fields, {"dtype": dtype, "first_column": str(first_column), "width": str(width)})


#: Lists of neighbours by node number, best first, ascending by source over the files in order.
NEIGHBOR_LISTS = TableContract(
    name="neighbor_lists",
    version=1,
    schema=pa.schema(
        [
            _required("node_ix", pa.int64()),
            _required("neighbor_ix", pa.list_(pa.field("item", pa.int64(), nullable=False))),
            _required("scores", pa.list_(pa.field("item", pa.float32(), nullable=False))),
            _required("error_bound", pa.float32()),
        ]
    ),
    key=("node_ix",),
    file_format="arrow",
)


#: Names of the published tables.
NODE_EMBEDDINGS, FOLD_IN, PPR_NEIGHBORS = locate.TABLE, locate.FOLD_IN, locate.LISTS


def _published(columns: TableColumns, *rules: Rule) -> TableContract:
    """Return the contract of a published table, whose columns its readers define."""
    return TableContract(columns.name, columns.version, columns.schema, ("node_type", "node_id"), rules)


def node_embeddings(dim: int) -> TableContract:
    """Return the contract of the published table for a width."""
    return _published(
        contracts.node_embeddings(dim),
        Rule("every entry is finite", _not_finite_in("embedding")),
        Rule("every norm is finite and not negative", _count_not(_norm_is_sound)),
        Rule("no degree is below zero", _count_not(lambda t: pc.greater_equal(t["degree"], 0))),
    )


def fold_in(dim: int) -> TableContract:
    """Return the contract of the published rows of which a new node's row is the weighted sum, for a width."""
    return _published(contracts.fold_in(dim), Rule("every entry is finite", _not_finite_in("row")))


def _lists_do_not_fit(table: pa.Table) -> int:
    """Count the rows whose lists have different lengths, or whose scores rise or leave [0, inf)."""
    broken = 0
    for batch in table.select(["neighbor_ids", "scores"]).to_batches():
        ids, scores = batch.column("neighbor_ids"), batch.column("scores")
        lengths = pc.list_value_length(scores).to_numpy(zero_copy_only=False)
        is_broken = lengths != pc.list_value_length(ids).to_numpy(zero_copy_only=False)
        flat = scores.flatten().to_numpy(zero_copy_only=False)
        row = np.repeat(np.arange(lengths.size), lengths)
        is_broken[row[~(np.isfinite(flat) & (flat >= 0))]] = True
        rises = np.flatnonzero((np.diff(flat) > 0) & (np.diff(row) == 0))
        is_broken[row[rises]] = True
        broken += int(is_broken.sum())
    return broken


#: The published lists: of each source the nodes of one type it is nearest to, by personalised PageRank.
PPR_NEIGHBOR_LISTS = _published(
    contracts.PPR_NEIGHBORS,
    Rule("a list has as many scores as ids, finite, at least 0 and descending", _lists_do_not_fit),
    Rule(
        "every error bound is finite and not negative",
        _count_not(lambda t: pc.and_(pc.is_finite(t["error_bound"]), pc.greater_equal(t["error_bound"], 0.0))),
    ),
)


def _visits_do_not_fit(table: pa.Table) -> int:
    """Count the rows whose lists differ in length or are empty, whose nodes don't ascend, or with visits below 1."""
    broken = 0
    for batch in table.select(["visited_ix", "visits"]).to_batches():
        visited, visits = batch.column("visited_ix"), batch.column("visits")
        lengths = pc.list_value_length(visits).to_numpy(zero_copy_only=False)
        is_broken = (lengths != pc.list_value_length(visited).to_numpy(zero_copy_only=False)) | (lengths == 0)
        row = np.repeat(np.arange(lengths.size), lengths)
        is_broken[row[visits.flatten().to_numpy() < 1]] = True
        if not is_broken.any():
            is_broken[row[np.flatnonzero((np.diff(visited.flatten().to_numpy()) <= 0) & (np.diff(row) == 0))]] = True
        broken += int(is_broken.sum())
    return broken


#: The walk index: where walks from each node with edges were, and how often, seeds counted; nodes of a row ascend.
#: A score is the visits times restart / walks, which the manifest has. Rows ascend over the files in order.
PPR_INDEX = TableContract(
    name="ppr_index",
    version=1,
    schema=pa.schema(
        [
            _required("node_ix", pa.int64()),
            _required("visited_ix", pa.list_(pa.field("element", pa.int32(), nullable=False))),
            _required("visits", pa.list_(pa.field("element", pa.int32(), nullable=False))),
        ]
    ),
    key=("node_ix",),
    rules=(Rule("a row has as many visits as nodes, above 0, its nodes ascending", _visits_do_not_fit),),
)
