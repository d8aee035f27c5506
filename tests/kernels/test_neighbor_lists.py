from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.neighbor_lists import neighbor_lists


@given(st.integers(1, 12), st.data())
def test_lists_are_those_found_edge_by_edge(rows: int, data: st.DataObject) -> None:
    node = st.integers(0, rows - 1)
    drawn = data.draw(st.sets(st.tuples(node, node).map(lambda pair: (min(pair), max(pair)))))
    pairs = data.draw(st.permutations(sorted(drawn)))
    left, right = np.array(pairs, np.int32).reshape(-1, 2).T.copy()
    want: list[list[int]] = [[] for _ in range(rows)]
    for a, b in pairs:
        if a != b:
            want[a].append(b)
            want[b].append(a)
    for ascending in (False, True):
        indptr, neighbor = neighbor_lists(left, right, rows, ascending=ascending)
        assert (indptr.dtype, neighbor.dtype, indptr.size) == (np.int64, np.int32, rows + 1)
        got = [neighbor[indptr[row] : indptr[row + 1]].tolist() for row in range(rows)]
        assert got == [sorted(row) if ascending else row for row in want]
