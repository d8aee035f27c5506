"""A graph that is one block, embedded in memory: the rows that a run would publish, without files."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, RowKind
from pipeline.embedding.compatibility import Sides, fold_fitted
from pipeline.embedding.fact_files import Facts
from pipeline.embedding.methods import method_for
from pipeline.embedding.round_tasks import rounds_of_block
from pipeline.embedding.rows import ColumnSums, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import MemorySink, TableSink
from pipeline.kernels.adjacency import ordered_adjacency
from pipeline.kernels.rows import column_sums
from schemas.tables import WEIGHT_UNIT


def block_from_edges(
    node_key: NDArray[np.uint64], src: NDArray[np.int64], dst: NDArray[np.int64], weight: NDArray[np.int64]
) -> Block:
    """Return the block of a graph: the nodes with edges, in their order.

    Parameters
    ----------
    node_key : (n,) uint64, of all nodes. src, dst : (edges,) int64 positions in it, each edge once; on graphs of one
        type in either direction. weight : (edges,) int64 fixed point, see ``schemas.tables.WEIGHT_UNIT``.
    """
    is_loop = src == dst
    ends = np.concatenate([src, dst[~is_loop]])
    strength = np.zeros(node_key.size, np.int64)
    np.add.at(strength, ends, np.concatenate([weight, weight[~is_loop]]))
    degree = np.bincount(ends, minlength=node_key.size).astype(np.int64)
    node_ix = np.flatnonzero(degree)
    row_of = np.zeros(node_key.size, np.int32)
    row_of[node_ix] = np.arange(node_ix.size, dtype=np.int32)
    has_weights = not (weight == round(1 / WEIGHT_UNIT)).all()
    indptr, neighbor, edge_weight = ordered_adjacency(
        row_of[src],
        row_of[dst],
        (weight * WEIGHT_UNIT).astype(np.float32) if has_weights else None,
        np.ones(node_ix.size, np.bool_),
        node_key[node_ix],
    )
    return Block(
        part_id=0,
        node_ix=node_ix,
        node_key=node_key[node_ix],
        kind=np.full(node_ix.size, RowKind.WHOLE, np.int8),
        home=np.zeros(node_ix.size, np.int32),
        degree=degree[node_ix],
        weight=strength[node_ix],
        indptr=indptr,
        neighbor=neighbor,
        edge_weight=edge_weight,
        routes={},
    )


def embed_in_memory(block: Block, settings: Settings, sides: Sides | None = None) -> NDArray[np.float32]:
    """Return the finished rows of all nodes, (settings.graph.nodes, dim) float32; nodes without edges have zero rows.

    Whatever ``settings`` say of shards and of the boundary: there is one block, and it is whole. ``sides`` are the
    ranges of the main relation's ends, on whose pairs a compatibility matrix is fitted; None: those of the graph.

    Cost
    ----
    Memory: the rows of the rounds and the result, both at once; where every node has edges and rows are final as the
    last round leaves them, they are the result.
    """
    method = method_for(settings)
    degree = np.zeros(settings.graph.nodes, np.int64)
    degree[block.node_ix] = block.degree
    settings = replace(settings, graph=settings.graph.with_degrees(block.weight, degree))
    settings = settings.with_facts(_facts_of_prelude(block, settings))
    first, _ = method.exchanged_range(block, settings)
    table = TableSink(settings, block)
    memory = MemorySink(settings, block) if method.reduced_width(settings) else None
    final = Rows.zeros(0, 0)
    for _, last, after in rounds_of_block(block, settings, memory or table):
        settings, final = after, last
    rows = table.rows
    if len(final.values) == settings.graph.nodes and memory is None:
        rows = final
    elif len(final.values):
        (memory or table).emit(first, final)
    for role, node_ix, rows_of_role in memory.emitted_rows if memory else ():
        table.emit_some(node_ix, method.reduce(rows_of_role, node_ix, settings, role), role)
    strength = np.zeros(settings.graph.nodes)
    strength[block.node_ix] = block.strength
    sums = ColumnSums(*column_sums(rows.values, strength > 0)) if settings.embedding.standardize_columns else None
    method.finish(rows, RowNodes(np.arange(settings.graph.nodes), strength), sums, settings)
    if settings.embedding.compatibility is not None:
        fold_fitted(rows.values, block, settings, sides or (settings.graph.source, settings.graph.target))
    return rows.values


def _facts_of_prelude(block: Block, settings: Settings) -> Facts:
    small = method_for(settings).prelude(settings)
    if small is None:
        return {}
    small = small.with_facts(_facts_of_prelude(block, small))
    for _, _, after in rounds_of_block(block, small, MemorySink(small, block)):
        small = after
    return small.facts
