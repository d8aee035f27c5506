"""Files of a block hold the block; weights stand there where one isn't 1."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Block
from pipeline.embedding.in_memory import block_from_edges
from schemas.tables import WEIGHT_UNIT

UNIT = round(1 / WEIGHT_UNIT)
SRC, DST = np.array([0, 0, 1, 3]), np.array([1, 2, 2, 3])


@pytest.mark.parametrize("weight", [np.full(4, UNIT), np.array([UNIT, 2 * UNIT, UNIT // 2, UNIT])])
def test_a_block_is_read_as_it_was_written(weight: NDArray[np.int64], tmp_path: Path) -> None:
    block = block_from_edges(np.array([7, 5, 6, 8], np.uint64), SRC, DST, weight)
    nodes, edges = tmp_path / "nodes.arrow", tmp_path / "edges.arrow"

    block.write(nodes, edges)

    again = Block.read(0, nodes, edges, None)
    for field in fields(Block):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(block, field.name), err_msg=field.name)
    has_weights = "weight" in storage.map_arrow(edges).column_names
    assert has_weights == bool((weight != UNIT).any())
