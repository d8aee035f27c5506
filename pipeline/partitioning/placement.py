"""Which parts store an edge: one rule, asked by the figures of the tree and by the layout of the blocks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeParts
from pipeline.errors import PartitionError
from pipeline.kernels.edge_cut import place_edges


@dataclass(frozen=True)
class NodeHomes:
    """Homes of all nodes, and what decides between two homes: neighbours over the whole graph, and keys."""

    parts: NodeParts
    degree: NDArray[np.int64]  # (nodes,)
    node_key: NDArray[np.uint64]  # (nodes,); int64 bits from a table are viewed, not converted


def stored_at(
    src_ix: NDArray[np.int64], dst_ix: NDArray[np.int64], nodes: NodeHomes
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the part, or the two parts, that store each edge.

    ================================ ====================================================================
    ends                             stored at
    ================================ ====================================================================
    whole and whole, one home        this home
    whole and whole, two homes       both homes
    whole and split                  the home of the whole end
    split and split                  the home of the end with fewer neighbours, ties by the smaller
                                     node_key, then by the smaller node_ix
    ================================ ====================================================================

    Parameters
    ----------
    src_ix, dst_ix : (edges,) int64. The answer for an edge is the same from both of its ends, but for the
        order of two homes: the first belongs to ``src_ix``.

    Returns
    -------
    first (edges,) int32 part_id, second (edges,) int32 part_id or -1 where one part stores the edge.

    Raises
    ------
    PartitionError : if an end has no home: node_parts and edges belong to different runs.
    """
    parts = nodes.parts
    if nodes.node_key.dtype != np.uint64:
        raise TypeError(f"keys are {nodes.node_key.dtype}; they must be uint64 (int64 bits: keys.view(np.uint64))")
    first = np.empty(src_ix.size, np.int32)
    second = np.empty(src_ix.size, np.int32)
    src, dst = np.ascontiguousarray(src_ix), np.ascontiguousarray(dst_ix)
    homeless = place_edges(src, dst, parts.part_id, parts.is_split, nodes.degree, nodes.node_key, first, second)
    if homeless >= 0:
        raise PartitionError(
            f"nodes {src[homeless]} and {dst[homeless]} share an edge, but one of them has part_id -1 in "
            "node_parts, which is for nodes without edges; run 'graphquilt partition' on these edges again"
        )
    return first, second
