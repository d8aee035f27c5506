from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks.edge_files import EdgeFiles
from schemas.tables import JOINED_EDGES, WEIGHT_UNIT

NUMBERS = st.integers(0, 2**62)
FILES = st.lists(st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from([1, 1, 1, 5])), max_size=4), max_size=5)


@given(FILES)
def test_edges_are_read_as_they_were_written_whatever_their_weights(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[tuple[int, int, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("edges")
    for number, rows in enumerate(files):
        columns = list(zip(*rows, strict=True)) or [()] * 3
        table = pa.Table.from_arrays([pa.array(column, pa.int64()) for column in columns], schema=JOINED_EDGES.schema)
        pq.write_table(table, folder / f"{number}.parquet")
    tables = EdgeFiles(tuple(folder / f"{number}.parquet" for number in range(len(files))))
    edges, of_block = tables.read(), tables.read_for_block(2**62)
    assert list(zip(*(column.tolist() for column in edges), strict=True)) == [row for rows in files for row in rows]
    assert all((of_block[i] == edges[i]).all() for i in (0, 1))
    assert (of_block.weight == edges.for_block().weight).all()
    assert of_block.weight.tolist() == [float(np.float32(weight * WEIGHT_UNIT)) for weight in edges.weight.tolist()]
    weights = {weight for rows in files for *_, weight in rows}
    assert edges.weight.strides == ((0,) if len(weights) == 1 else edges.src.strides) or len(edges.weight) < 2
    assert all(column.dtype == np.int64 for column in edges)
