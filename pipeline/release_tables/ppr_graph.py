"""blocks -> ppr_graph: of each node its neighbours, as walks go over them, sorted for look-ups."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.blocks.arrays import ranges
from pipeline.embedding.ppr.walk_graph import NO_EDGES, WalkGraph
from pipeline.release_tables.finished_rows import NodeIds, PublishedRows, row_groups
from pipeline.release_tables.published_table import NoFigures, PublishedTable, TableRun, WrittenTable
from pipeline.release_tables.walked_graph import WalkedGraph, list_array, value_columns, walked_graph
from pipeline.tasks import Attempt
from schemas.published_tables import PPR_GRAPH, PPR_GRAPH_ROWS

ROW_GROUP_NODES = 4_096
"""A look-up reads their ids, some 20 KB, and their neighbours."""

_VALUES = value_columns(["neighbors", "weights"])


@dataclass(frozen=True)
class GraphRange:
    """Rows of one file of the table: of a range of nodes."""

    graph: WalkedGraph
    bounds: tuple[int, int]


def write_graph(run: TableRun) -> WrittenTable[NoFigures]:
    """Write the graph, a file for each range of nodes."""
    graph, graph_records = walked_graph(run)
    records = run.run_tasks(write_neighbors, "graph", [GraphRange(graph, bounds) for bounds in run.ranges])
    return WrittenTable([record for record in records if record.files[0].rows], NoFigures(), [*graph_records, *records])


def write_neighbors(payload: GraphRange, attempt: Attempt) -> None:
    """Task: one file of the table."""
    graph, nodes = payload.graph, payload.graph.nodes
    whole = WalkGraph.read(graph.files, graph.request.edge_degree_power)
    ids, rows = NodeIds(nodes.node_index), PublishedRows(nodes, graph.count)
    schema = graph.schema_of(PPR_GRAPH_ROWS)
    with pq.ParquetWriter(
        attempt.path(PPR_GRAPH, "parquet"),
        schema,
        compression="zstd",
        use_dictionary=["node_type", _VALUES["weights"]],
        column_encoding={_VALUES["neighbors"]: "DELTA_BINARY_PACKED"},
        write_statistics=["node_type", "node_id"],
    ) as writer:
        for node_type, start, stop in row_groups(payload.bounds, nodes.types, ROW_GROUP_NODES):
            node_ix = rows.between(start, stop)
            if not node_ix.size:
                continue
            degree, lengths, neighbors, weights = _neighbors(whole, node_ix, rows)
            columns = [
                pa.repeat(node_type, node_ix.size),
                ids.between(start, stop).take(pa.array(node_ix - start)),
                pa.array(degree),
                list_array(lengths, neighbors, schema.field("neighbors").type),
                list_array(lengths if weights.size else 0 * lengths, weights, schema.field("weights").type),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP_NODES)


def _neighbors(
    whole: WalkGraph, node_ix: NDArray[np.int64], rows: PublishedRows
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Return the degree of each node, how many of its neighbours have rows, these ascending, and their weights."""
    graph, at = whole.graph, whole.rows_of(node_ix)
    has_edges = at != NO_EDGES
    at = np.where(has_edges, at, 0)
    counts = np.where(has_edges, graph.indptr[at + 1] - graph.indptr[at], 0)
    entries = ranges(graph.indptr[at], counts)
    neighbor_ix, source = whole.node_ix[graph.indices[entries]], np.repeat(np.arange(node_ix.size), counts)
    order = np.lexsort((neighbor_ix, source))
    order = order[rows.are_published(neighbor_ix[order])]
    weights = np.empty(0, np.float32) if graph.weights is None else graph.weights[entries[order]]
    lengths = np.bincount(source[order], minlength=node_ix.size)
    return counts, lengths, rows.of(neighbor_ix[order]), weights


TABLE = PublishedTable(
    name=PPR_GRAPH,
    contract=lambda _: PPR_GRAPH_ROWS,
    is_wanted=lambda config: config.ppr.walk_index,
    write=write_graph,
    figures=NoFigures,
)
