"""Edges -> a block: local rows, their adjacency, and what the whole graph knows of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, NodeArrays, RowKind
from pipeline.blocks.edge_files import BlockEdges
from pipeline.kernels.adjacency import mark_ends, ordered_adjacency, replace_ends

_SPARSE = 4  # a map over all nodes is made where there are fewer than this many nodes an edge


def make_block(
    part: int,
    edges: BlockEdges,
    nodes: NodeArrays,
    home: NDArray[np.int32],
    kind_of: Callable[[NDArray[np.int64], NDArray[np.int32]], NDArray[np.int8]],
) -> Block:
    """Turn the edges that a part stores, each once, into its block, without routes. Ends of 32 bits are overwritten.

    Parameters
    ----------
    home : (all nodes,) int32 part_id by node_ix.
    kind_of : (node_ix, home) of the local rows -> their kinds; ghosts get no adjacency.
    """
    node_ix, left, right = _local_rows(edges.src, edges.dst, nodes.nodes)
    home = home[node_ix]
    kind = kind_of(node_ix, home)
    node_key = nodes.take("node_key", node_ix).view(np.uint64)
    weight = edges.weight
    is_unweighted = bool(weight.size) and bool(((weight[:1] if weight.strides == (0,) else weight) == 1).all())
    indptr, neighbor, edge_weight = ordered_adjacency(
        left,
        right,
        None if is_unweighted else np.ascontiguousarray(weight),
        kind != RowKind.GHOST,
        node_key,
    )
    return Block(
        part_id=part,
        node_ix=node_ix,
        node_key=node_key,
        kind=kind,
        home=home,
        degree=nodes.take("degree", node_ix),
        weight=nodes.take("weight", node_ix),
        indptr=indptr,
        neighbor=neighbor,
        edge_weight=edge_weight,
        routes={},
    )


def _local_rows(
    src: NDArray[np.signedinteger], dst: NDArray[np.signedinteger], nodes: int
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Return the node numbers of the rows, ascending, and both ends of the edges as rows: int32, or the numbers."""
    if nodes <= _SPARSE * src.size:
        is_here = np.zeros(nodes, np.bool_)
        mark_ends((src, dst), is_here)
        node_ix = np.flatnonzero(is_here)
        if node_ix.size == nodes:
            return node_ix, src, dst
        row_of = np.empty(nodes, np.int32)
        row_of[node_ix] = np.arange(node_ix.size, dtype=np.int32)
        if src.dtype == np.int32:
            replace_ends((src, dst), row_of)
            return node_ix, src, dst
        return node_ix, row_of[src], row_of[dst]
    node_ix, rows = np.unique(np.concatenate([src, dst]), return_inverse=True)
    return node_ix.astype(np.int64), rows[: src.size].astype(np.int32), rows[src.size :].astype(np.int32)
