"""Pieces hold the rows they were made of, and columns of one value take no bytes of theirs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines import pieces

VALUES = st.sampled_from([0, 1, -(2**63), 2**63 - 1, None])


@given(st.lists(st.tuples(VALUES, VALUES, st.sampled_from(["a", "ä"])), min_size=1, max_size=9), st.integers(1, 3))
def test_rows_come_back_as_they_were(rows: list[tuple[int | None, int | None, str]], size: int) -> None:
    one, other, text = zip(*rows, strict=True)
    integers = (pa.array(column, pa.int64()) for column in (one, other))
    table = pa.table([*integers, pa.array(text)], names=["one", "other", "text"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_BYTES", 20 * size)
        packed = list(pieces.pack_pieces([(3, table)], 7))
    opened = list(pieces.unpack_pieces(packed))
    assert {source for source, _ in opened} == {7}
    assert pa.concat_tables([some for _, some in opened]).to_pylist() == table.to_pylist()
    assert all(some.schema.types == table.schema.types for _, some in opened)


def test_a_column_of_one_value_takes_no_bytes() -> None:
    ids = np.random.default_rng(0).integers(0, 2**60, 20_000)
    alone = pa.table({"id": ids})
    more = {"weight": np.full(ids.size, 2**32), "newest": pa.nulls(ids.size, pa.int64())}
    sizes = [
        sum(batch.nbytes for batch in pieces.pack_pieces([(0, table)], 0))
        for table in (alone, pa.table({"id": ids, **more}))
    ]
    assert sizes[1] - sizes[0] < 200
