from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks.arrays import NodeParts
from pipeline.errors import PartitionError
from pipeline.partitioning.placement import NodeHomes, stored_at


def rule(a: int, b: int, home: list[int], is_split: list[bool], degree: list[int], key: list[int]) -> set[int]:
    """The rule of the design, in the words of the design."""
    if home[a] == home[b]:
        return {home[a]}
    whole = [end for end in (a, b) if not is_split[end]]
    if whole:
        return {home[end] for end in whole}
    return {home[min((a, b), key=lambda end: (degree[end], key[end], end))]}


@given(st.data())
def test_every_edge_is_where_the_rule_says_and_from_both_ends_alike(data: st.DataObject) -> None:
    nodes = data.draw(st.integers(1, 12))
    per_node = lambda values: data.draw(st.lists(values, min_size=nodes, max_size=nodes))  # noqa: E731
    home, is_split = per_node(st.integers(0, 3)), per_node(st.booleans())
    degree, key = per_node(st.integers(1, 3)), per_node(st.sampled_from([1, 2, 2**63, 2**64 - 1]))
    ends = data.draw(st.lists(st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)), max_size=40))
    src, dst = (np.array([pair[side] for pair in ends], np.int64) for side in (0, 1))
    parts = NodeParts(np.array(home, np.int32), np.array(is_split, np.bool_))
    nodes_at_home = NodeHomes(parts, np.array(degree, np.int64), np.array(key, np.uint64))

    first, second = stored_at(src, dst, nodes_at_home)
    swapped_first, swapped_second = stored_at(dst, src, nodes_at_home)

    for e, (a, b) in enumerate(ends):
        want = rule(a, b, home, is_split, degree, key)
        assert {int(first[e]), int(second[e])} - {-1} == want
        assert (second[e] == -1) == (len(want) == 1)
        assert {int(swapped_first[e]), int(swapped_second[e])} - {-1} == want


def test_keys_are_compared_without_sign() -> None:
    parts = NodeParts(np.array([0, 1], np.int32), np.array([True, True]))
    key = np.array([2**63, 1], np.uint64)  # as int64 the first would be the smaller one
    first, _ = stored_at(np.array([0]), np.array([1]), NodeHomes(parts, np.array([2, 2]), key))
    assert first.tolist() == [1]
    with pytest.raises(TypeError, match="must be uint64"):
        stored_at(np.array([0]), np.array([1]), NodeHomes(parts, np.array([2, 2]), key.view(np.int64)))


def test_mapped_tables_are_read_as_they_are(tmp_path: Path) -> None:
    NodeParts(np.array([0, 1, -1], np.int32), np.array([False, False, False])).write(tmp_path / "parts.arrow")
    parts = NodeParts.map(tmp_path / "parts.arrow")
    assert not parts.part_id.flags.writeable
    degree, key = np.array([1, 1, 0]), np.arange(3, dtype=np.uint64)
    degree.flags.writeable = key.flags.writeable = False
    first, second = stored_at(np.array([0]), np.array([1]), NodeHomes(parts, degree, key))
    assert (first.tolist(), second.tolist()) == ([0], [1])
    with pytest.raises(PartitionError, match="nodes 1 and 2"):
        stored_at(np.array([1]), np.array([2]), NodeHomes(parts, degree, key))


def test_no_edges_need_no_part() -> None:
    parts = NodeParts(np.empty(0, np.int32), np.empty(0, np.bool_))
    none = np.empty(0, np.int64)
    first, second = stored_at(none, none, NodeHomes(parts, none, none.view(np.uint64)))
    assert first.size == second.size == 0
