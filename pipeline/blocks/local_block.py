"""Edges -> a block: local rows, their adjacency, and what the whole graph knows of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, NodeArrays, RowKind
from pipeline.blocks.edge_files import Edges
from pipeline.kernels.adjacency import ordered_adjacency
from schemas.tables import WEIGHT_UNIT

_SPARSE = 4  # a map over all nodes is made where there are fewer than this many nodes an edge


def make_block(
    part: int,
    edges: Edges,
    nodes: NodeArrays,
    home: NDArray[np.int32],
    kind_of: Callable[[NDArray[np.int64], NDArray[np.int32]], NDArray[np.int8]],
) -> Block:
    """Turn the edges that a part stores, each once, into its block, without routes.

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
    is_unweighted = bool((weight == weight[:1]).all()) and weight.size > 0 and weight[0] == round(1 / WEIGHT_UNIT)
    indptr, neighbor, edge_weight = ordered_adjacency(
        left,
        right,
        None if is_unweighted else (weight * WEIGHT_UNIT).astype(np.float32),
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
    src: NDArray[np.int64], dst: NDArray[np.int64], nodes: int
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Return the node numbers of the rows, ascending, and both ends of the edges as rows: int32, or the numbers."""
    if nodes <= _SPARSE * src.size:
        is_here = np.zeros(nodes, np.bool_)
        is_here[src] = True
        is_here[dst] = True
        node_ix = np.flatnonzero(is_here)
        if node_ix.size == nodes:
            return node_ix, src, dst
        row_of = np.empty(nodes, np.int32)
        row_of[node_ix] = np.arange(node_ix.size, dtype=np.int32)
        return node_ix, row_of[src], row_of[dst]
    node_ix, rows = np.unique(np.concatenate([src, dst]), return_inverse=True)
    return node_ix, rows[: src.size].astype(np.int32), rows[src.size :].astype(np.int32)
