"""A block from edges: ends of 32 bits and of 64, and weights that are all alike or not, make the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.blocks.arrays import NodeArrays, RowKind
from pipeline.blocks.edge_files import Edges
from pipeline.blocks.local_block import make_block
from pipeline.ingest.weights import ONE
from schemas.tables import NODE_ARRAYS


@pytest.mark.parametrize("weights", [[ONE], [5 * ONE], [ONE, 3 * ONE // 2]])
@pytest.mark.parametrize("nodes", [40, 41, 4_000])  # all of them here, one is not, most are not
def test_a_block_has_each_edge_at_both_ends(weights: list[int], nodes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(nodes)
    dense = np.triu(rng.random((40, 40)) < 0.3)
    dense[np.arange(39), np.arange(1, 40)] = True
    src, dst = np.nonzero(dense)
    weight = np.resize(np.array(weights), src.size) if len(weights) > 1 else np.broadcast_to(weights, src.shape)
    columns = {name: pa.array(rng.integers(0, 2**60, nodes)) for name in NODE_ARRAYS.schema.names}
    storage.write_arrow(tmp_path / "nodes.arrow", pa.table(columns, schema=NODE_ARRAYS.schema))
    arrays = NodeArrays([tmp_path / "nodes.arrow"])
    want = np.zeros((40, 40), np.float32)
    want[src, dst] = want[dst, src] = weight / ONE
    wide = Edges(src + nodes - 40, dst + nodes - 40, weight).for_block()
    for edges in (wide, wide._replace(src=wide.src.astype(np.int32), dst=wide.dst.astype(np.int32))):
        block = make_block(
            *(0, edges, arrays, np.zeros(nodes, np.int32)),
            lambda node_ix, _: np.full(node_ix.size, RowKind.WHOLE, np.int8),
        )
        row = np.repeat(np.arange(40), np.diff(block.indptr))
        got = np.zeros((40, 40), np.float32)
        got[row, block.neighbor] = 1 if block.edge_weight is None else block.edge_weight
        assert (block.edge_weight is None) == (weights == [ONE])
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(block.node_ix, np.arange(nodes - 40, nodes))
