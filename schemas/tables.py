"""The tables of a run, in the order of the data flow."""

from dataclasses import replace
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from schemas.contracts import Rule, TableContract, count_unless

#: Weights are int64 in units of 2**-32: integer sums do not depend on their order.
WEIGHT_UNIT = 2.0**-32


def _columns(nullable: tuple[str, ...] = (), **types: pa.DataType) -> pa.Schema:
    """Return columns, which hold no nulls but the nullable ones."""
    return pa.schema([pa.field(name, dtype, nullable=name in nullable) for name, dtype in types.items()])


def _list_of(dtype: pa.DataType, length: int = -1) -> pa.DataType:
    return pa.list_(pa.field("item", dtype, nullable=False), length)


EDGES = TableContract(
    name="edges",
    version=2,
    schema=_columns(
        src_id=pa.string(),
        src_type=pa.string(),
        dst_id=pa.string(),
        dst_type=pa.string(),
        relation=pa.int64(),  # 0: the main one; a file holds one
        weight=pa.int64(),  # fixed point: 2**32 is weight 1
        events=pa.int64(),
        last_ts=pa.int64(),  # microseconds, UTC; null in undated input
        nullable=("last_ts",),
    ),
    key=("src_type", "src_id", "dst_type", "dst_id", "relation"),
    rules=(Rule("every weight is above zero", count_unless(lambda t: pc.greater(t["weight"], 0))),),
)

#: Pairs whose decayed weights sum to zero: no edges any more, but their nodes are still of this window.
DECAYED = TableContract(name="decayed", version=2, schema=EDGES.schema, key=EDGES.key)

#: Sums of pairs by chunk, on nights of a lineage: what later nights take over. Any weight, zero too.
DAY_SUMS = TableContract(
    name="day_sums",
    version=1,
    schema=_columns(
        src_id=pa.string(),
        dst_id=pa.string(),
        weight=pa.int64(),  # fixed point, as of the lineage's epoch
        events=pa.int64(),
        last_ts=pa.int64(),
    ),
    key=("src_id", "dst_id"),  # in a chunk
)

#: Which files a night was made of, and which chunks: see pipeline.ingest.day_sums.NightSums.
NIGHT_SUMS = TableContract(name="night_sums", version=2, schema=pa.schema([]), key=(), file_format="json")

REJECTED = TableContract(
    name="rejected",
    version=3,
    schema=_columns(
        section=pa.string(),  # of the config, by which the file was read: input, relations.<name>
        file=pa.string(),
        row=pa.int64(),  # counted from 0 in its file
        source=pa.string(),
        target=pa.string(),
        weight=pa.string(),
        event=pa.string(),
        timestamp=pa.string(),
        reason=pa.string(),
        accepted=pa.string(),  # what would not have been rejected
        nullable=(
            "source",
            "target",
            "weight",
            "event",
            "timestamp",
        ),
    ),
    key=("section", "file", "row"),
)

#: Rows of [attributes.<node type>] that are not used.
REJECTED_ATTRIBUTES = TableContract(
    name="rejected_attributes",
    version=2,
    schema=_columns(
        node_type=pa.string(),
        file=pa.string(),
        row=pa.int64(),  # counted from 0 in its file
        node_id=pa.string(),
        values=pa.string(),  # JSON, by column
        reason=pa.string(),
        accepted=pa.string(),  # what would not have been rejected
        nullable=("node_id",),
    ),
    key=("node_type", "file", "row"),
)

#: The nodes that have a row of attributes, each once.
ATTRIBUTE_NODES = TableContract(
    name="attribute_nodes",
    version=1,
    schema=_columns(
        node_id=pa.string(),
        node_type=pa.string(),
        place=pa.int64(),  # file of attribute_features x 2**32 + row
    ),
    key=("node_type", "node_id"),
)

#: What their attributes come to: hashed features, ascending by row and key. Squares of a row's values sum to 1 at most.
ATTRIBUTE_FEATURES = TableContract(
    name="attribute_features",
    version=1,
    schema=_columns(
        row=pa.int64(),
        feature_key=pa.int64(),  # the bits of the u64 hash of column and value
        value=pa.float32(),
    ),
    key=("row", "feature_key"),
    file_format="arrow",
)

NODE_INDEX = TableContract(
    name="node_index",
    version=1,
    schema=_columns(
        node_ix=pa.int64(),
        node_key=pa.int64(),  # the bits of the u64 hash: Spark has no unsigned type
        node_id=pa.string(),
        node_type=pa.string(),
        degree=pa.int64(),  # neighbours
        weight=pa.int64(),  # fixed point
    ),
    key=("node_ix",),
    rules=(Rule("no degree is below zero", count_unless(lambda t: pc.greater_equal(t["degree"], 0))),),
)

#: The same nodes as arrays: row i of the files in order is node_ix i. Tasks map them and take what they need.
NODE_ARRAYS = TableContract(
    name="node_arrays",
    version=1,
    schema=_columns(node_key=pa.int64(), degree=pa.int64(), weight=pa.int64()),
    key=(),
    file_format="arrow",
)

#: The same nodes by what is published of them: of the types that the main relation joins, by it alone; of others, by
#: all relations. No rows where there is one relation, whose node_arrays say it.
MAIN_NODES = TableContract(
    name="main_nodes",
    version=1,
    schema=_columns(main_degree=pa.int64(), main_weight=pa.int64()),
    key=(),
    file_format="arrow",
)

INDEXED_EDGES = TableContract(
    name="indexed_edges",
    version=2,
    # Of two sides, src is the row. The relation as in edges: its weights are those of the input.
    schema=_columns(src_ix=pa.int64(), dst_ix=pa.int64(), relation=pa.int64(), weight=pa.int64()),
    key=("src_ix", "dst_ix", "relation"),
    rules=(Rule("every weight is above zero", count_unless(lambda t: pc.greater(t["weight"], 0))),),
)

#: The features of numbered nodes, ascending by node_ix and key over the files in order.
NODE_FEATURES = TableContract(
    name="node_features",
    version=1,
    schema=_columns(
        node_ix=pa.int64(),
        feature_key=pa.int64(),
        value=pa.float32(),
    ),
    key=("node_ix", "feature_key"),
    file_format="arrow",
)

#: The same of a block's local rows, whatever their kind: any part can draw any start row.
BLOCK_FEATURES = TableContract(
    name="block_features", version=1, schema=NODE_FEATURES.schema, key=NODE_FEATURES.key, file_format="arrow"
)

#: Several relations as one graph: each pair once, its weights times the relations' strengths. No rows where there is
#: one relation, whose indexed_edges are the graph.
JOINED_EDGES = TableContract(
    name="joined_edges",
    version=1,
    schema=_columns(src_ix=pa.int64(), dst_ix=pa.int64(), weight=pa.int64()),
    key=("src_ix", "dst_ix"),
    rules=INDEXED_EDGES.rules,
)

#: The nodes of that graph, row i being node_ix i: neighbours and weights over all relations. None as of joined_edges.
JOINED_NODES = TableContract(
    name="joined_nodes", version=1, schema=NODE_ARRAYS.schema, key=NODE_ARRAYS.key, file_format="arrow"
)

#: Pairs kept back from training, by node number; what ``evaluate.source = "holdout"`` is scored on.
HOLDOUT = TableContract(
    name="holdout", version=2, schema=INDEXED_EDGES.schema, key=INDEXED_EDGES.key, rules=INDEXED_EDGES.rules
)

PARTITION_TREE = TableContract(
    name="partition_tree",
    version=1,
    schema=_columns(
        part_id=pa.int32(),  # depth-first preorder
        part_path=pa.string(),  # "0/3/12": the way from the root
        parent=pa.int32(),  # -1 at the root
        depth=pa.int32(),
        is_leaf=pa.bool_(),
        nodes=pa.int64(),  # homes
        edges=pa.int64(),  # stored, each once
        volume=pa.int64(),  # edge ends whose node is computed here
        cut=pa.int64(),  # stored edges with an end that is not at home here
        split_nodes=pa.int64(),  # copies of nodes whose home is elsewhere
        ghosts=pa.int64(),
    ),
    key=("part_id",),
)

NODE_PARTS = TableContract(
    name="node_parts",
    version=1,
    schema=_columns(
        node_ix=pa.int64(),
        part_id=pa.int32(),  # of its home; -1: no edges, no part
        is_split=pa.bool_(),
    ),
    key=("node_ix",),
    file_format="arrow",
)

#: Local rows of a block, ascending by node_ix; `kind` is one of pipeline.blocks.RowKind.
BLOCK_NODES = TableContract(
    name="block_nodes",
    version=1,
    schema=_columns(
        node_ix=pa.int64(),
        node_key=pa.int64(),
        kind=pa.int8(),
        home=pa.int32(),  # part_id
        degree=pa.int64(),  # neighbours, over the whole graph
        weight=pa.int64(),  # fixed point, over the whole graph
        entries=pa.int64(),  # stored neighbours: the row lengths of the adjacency
    ),
    key=("node_ix",),
    file_format="arrow",
)

#: The stored entries of a block, row after row, neighbours of a row in node_key order; weights, unless all are 1.
BLOCK_EDGES = TableContract(
    name="block_edges",
    version=1,
    schema=_columns(neighbor_row=pa.int32()),
    optional=_columns(weight=pa.float32()),
    key=(),
    file_format="arrow",
)

#: Which home rows of a block another part needs, by receiver.
BLOCK_ROUTES = TableContract(
    name="block_routes",
    version=1,
    schema=_columns(part_id=pa.int32(), row=pa.int32()),
    key=("part_id", "row"),
    file_format="arrow",
)


#: Of modes that leave cut edges out of a part: the weight of each node's edges inside it.
KEPT_WEIGHTS = TableContract(
    name="kept_weights",
    version=1,
    schema=_columns(node_ix=pa.int64(), weight=pa.int64()),
    key=("node_ix",),
    file_format="arrow",
)


#: Bytes of an entry of exchanged rows, by type; narrow types have a scale of one byte a group of 16 columns.
ROW_BYTES = MappingProxyType({"float32": 4, "float16": 2, "int8": 1})
ROW_GROUP = 16


def row_schema(width: int, dtype: str = "float32", *, first_column: int = 0, has_noise_scale: bool = True) -> pa.Schema:
    """Rows on their way, or columns of them: part_rows, round_rows and outbox slices of ``width`` columns.

    ``noise_scale`` is the sum of |entry| times the norm of what it multiplies: a row whose norm is far below it counts
    as zero. Rows of a narrow type are codes, and scales by group, as `pipeline.kernels.narrow_rows` has them; their
    noise scale is the upper half of a float32. Rows of width 0 have a noise scale and nothing else.
    """
    types: dict[str, pa.DataType] = {"node_ix": pa.int64()}
    if has_noise_scale:
        types["noise_scale"] = pa.float64() if dtype == "float32" else pa.uint16()
    if width and dtype == "float32":
        types["row"] = _list_of(pa.float32(), width)
    elif width:
        types |= {"scales": pa.binary(-(-width // ROW_GROUP)), "codes": pa.binary(width * ROW_BYTES[dtype])}
    metadata = {"dtype": dtype, "first_column": str(first_column), "width": str(width)}
    return _columns(**types).with_metadata(metadata)


#: Lists of neighbours by node number, best first, ascending by source over the files in order.
NEIGHBOR_LISTS = TableContract(
    name="neighbor_lists",
    version=1,
    schema=_columns(
        node_ix=pa.int64(),
        neighbor_ix=_list_of(pa.int64()),
        scores=_list_of(pa.float32()),
        error_bound=pa.float32(),
    ),
    key=("node_ix",),
    file_format="arrow",
)


#: Regressions from hashed attributes to published rows but for their length, a file for each type; see
#: pipeline.kernels.hashed_ridge. The last column is the intercept; columns that aren't there are zero.
ATTRIBUTE_MAP = TableContract(
    name="attribute_map",
    version=1,
    schema=_columns(node_type=pa.string(), feature_column=pa.int32(), row=_list_of(pa.float64())),
    key=("node_type", "feature_column"),
    file_format="arrow",
)


#: Row i is of node_ix i.
NODE_CLUSTERS = TableContract(
    name="node_clusters",
    version=1,
    schema=_columns(
        node_ix=pa.int64(),
        cluster=pa.int32(),  # -1: a node without edges
        leaf_token=pa.int32(),  # among the nodes of its type in the cluster; -1 without one
    ),
    key=("node_ix",),
    file_format="arrow",
)

#: Row i is of cluster i. Clusters that have lost their nodes keep their rows: numbers are not given twice.
CLUSTER_CODES = TableContract(
    name="cluster_codes",
    version=1,
    schema=_columns(
        cluster=pa.int32(),
        code=_list_of(pa.int32()),  # from coarse to fine
        tokens=_list_of(pa.int32()),  # leaf tokens given out so far, by type
    ),
    key=("cluster",),
    file_format="arrow",
)

#: The same of clusters of the published rows, and their codes.
ROW_CLUSTERS = replace(NODE_CLUSTERS, name="row_clusters")
ROW_CLUSTER_CODES = replace(CLUSTER_CODES, name="row_cluster_codes")

#: Row i is of node_ix i: the clusters that interests are in.
INTEREST_CLUSTERS = TableContract(
    name="interest_clusters",
    version=1,
    schema=_columns(
        node_ix=pa.int64(),
        cluster=pa.int32(),  # -1: a node without edges
    ),
    key=("node_ix",),
    file_format="arrow",
)

#: Of the sources in a cluster, the mean share of their edges' weight that leads into another; none: 0.
LIKE_SHARES = TableContract(
    name="like_shares",
    version=1,
    schema=_columns(own_cluster=pa.int32(), cluster=pa.int32(), share=pa.float64()),
    key=("own_cluster", "cluster"),
    file_format="arrow",
)
