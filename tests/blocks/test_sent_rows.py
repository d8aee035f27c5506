from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks.sent_rows import FileBatch, write_by_receiver

ROW = st.tuples(st.sampled_from([-1, 0, 1, 127, 128, 255, 256, 70_000]), st.integers(0, 9))


@given(st.lists(ROW, max_size=40), st.booleans())
def test_every_receiver_gets_its_rows_in_their_order(rows: list[tuple[int, int]], has_index: bool) -> None:
    """-1 is a receiver too, whatever width the others' numbers take: cut edges go there."""
    receiver, at = np.array(rows, np.int32).reshape(-1, 2).T
    values = np.arange(100, 100 + max(len(rows), 10), dtype=np.int64)
    index = at.astype(np.int64) if has_index else None
    columns = {"value": values if has_index else values[: len(rows)]}
    wanted = defaultdict(list)
    for number, (to, row) in enumerate(rows):
        wanted[str(to)].append(100 + (row if has_index else number))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows.arrow"
        where = write_by_receiver(file, receiver, columns, index)
        got = {to: FileBatch(file, batch).read().column(0).to_pylist() for to, (batch, _) in where.items()}
    assert got == wanted
    assert {to: count for to, (_, count) in where.items()} == {to: len(found) for to, found in wanted.items()}
