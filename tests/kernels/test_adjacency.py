from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels import adjacency
from pipeline.kernels.adjacency import ordered_adjacency

Edge = tuple[int, int, float]


def by_brute_force(edges: list[Edge], is_computed: list[bool], key: list[int]) -> list[list[tuple[int, float]]]:
    """Neighbours of every row, sorted by (key, row); each with its weight."""
    rows: list[list[tuple[int, float]]] = [[] for _ in is_computed]
    for a, b, weight in edges:
        for row, other in {(a, b), (b, a)}:  # a loop is one entry
            if is_computed[row]:
                rows[row].append((other, weight))
    return [sorted(row, key=lambda entry: (key[entry[0]], entry[0])) for row in rows]


def check(edges: list[Edge], is_computed: list[bool], key: list[int], *, weighted: bool) -> None:
    ends = [np.array([edge[side] for edge in edges], np.int64) for side in (0, 1)]
    weight = np.array([edge[2] for edge in edges], np.float32) if weighted else None
    mask, keys = np.array(is_computed, np.bool_), np.array(key, np.uint64)
    indptr, neighbor, carried = ordered_adjacency(*ends, weight, mask, keys)
    if weight is not None:
        weight.setflags(write=False)  # as weights that lie in a file are
    narrow = ordered_adjacency(*(end.astype(np.int32) for end in ends), weight, mask, keys)
    for same, other in zip(narrow, (indptr, neighbor, carried), strict=True):
        np.testing.assert_array_equal(same, other)

    want = by_brute_force(edges, is_computed, key)
    assert np.diff(indptr).tolist() == [len(row) for row in want]
    assert neighbor.tolist() == [other for row in want for other, _ in row]
    if carried is None:
        assert not weighted
    else:
        assert carried.tolist() == [entry for row in want for _, entry in row]


@given(st.data())
def test_lists_equal_brute_force(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 12))
    row = st.integers(0, rows - 1)
    pairs = data.draw(st.sets(st.tuples(row, row).map(lambda pair: (min(pair), max(pair))), max_size=40))
    turned = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    edges = [
        (b, a, number + 0.5) if turn else (a, b, number + 0.5)
        for number, ((a, b), turn) in enumerate(zip(sorted(pairs), turned, strict=True))
    ]
    edges = data.draw(st.permutations(edges))
    per_row = lambda values: data.draw(st.lists(values, min_size=rows, max_size=rows))  # noqa: E731
    # Few distinct keys, so that some are equal; and the largest, which is negative as int64.
    key = per_row(st.sampled_from([0, 7, 2**63, 2**64 - 1]))
    check(edges, per_row(st.booleans()), key, weighted=data.draw(st.booleans()))


def test_no_edges_and_no_rows() -> None:
    check([], [True, True], [1, 2], weighted=True)
    check([], [True], [1], weighted=False)
    check([], [], [], weighted=True)


def test_a_loop_is_one_entry_of_its_row() -> None:
    check([(1, 1, 4.0), (0, 1, 2.0)], [True, True], [9, 3], weighted=True)


@pytest.mark.parametrize("weighted", [True, False])
def test_rows_over_several_buckets_equal_brute_force(monkeypatch: pytest.MonkeyPatch, weighted: bool) -> None:
    monkeypatch.setattr(adjacency, "_BUCKET_ENTRIES", 16)  # else a test would need millions of entries
    rng = np.random.default_rng(0)
    rows = 300
    drawn = np.unique(np.sort(rng.integers(0, rows, (900, 2)), axis=1), axis=0)
    drawn = drawn[rng.permutation(len(drawn))]
    edges = [(int(a), int(b), float(number)) for number, (a, b) in enumerate(drawn)]
    is_computed = (rng.random(rows) < 0.8).tolist()
    check(edges, is_computed, rng.integers(0, 2**63, rows).tolist(), weighted=weighted)


def test_the_order_of_the_edges_changes_no_bit() -> None:
    rng = np.random.default_rng(1)
    rows = 50
    pairs = np.unique(np.sort(rng.integers(0, rows, (400, 2)), axis=1), axis=0).astype(np.int32)
    weight = rng.random(len(pairs)).astype(np.float32)
    key = rng.integers(0, 2**63, rows).astype(np.uint64)
    seen = set()
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(pairs))
        ends = [np.ascontiguousarray(pairs[order, side]) for side in (0, 1)]
        made = ordered_adjacency(*ends, weight[order], np.ones(rows, np.bool_), key)
        seen.add(b"".join(array.tobytes() for array in made))
    assert len(seen) == 1
