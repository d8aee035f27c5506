"""Rows that nodes share: least squares for their values, brute force for who has one alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation import shared_rows
from pipeline.evaluation.shared_rows import fit_shared_rows, score_shared_rows, share_alone
from pipeline.evaluation.table import Pairs, Table
from pipeline.kernels.hashing import splitmix64


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_shared_rows_are_those_of_least_squares(seed: int, first: int, second: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(9, 2)).astype(np.float32)
    buckets = [random.integers(0, count, 9) for count in (first, second)]
    one_hot = np.concatenate([np.eye(count)[bucket] for count, bucket in zip((first, second), buckets, strict=True)], 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_rows, "_ROUNDS", 300)
        for some, columns in ((buckets[:1], one_hot[:, :first]), (buckets, one_hot)):
            expected = columns @ np.linalg.lstsq(columns, rows.astype(np.float64), rcond=None)[0]
            np.testing.assert_allclose(fit_shared_rows(rows, some), expected, atol=2e-5)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_a_node_is_alone_if_no_other_has_all_of_its_rows(places: list[tuple[int, int]]) -> None:
    alone = sum(places.count(place) == 1 for place in places) / len(places)
    assert share_alone([np.array([place[at] for place in places]) for at in (0, 1)]) == pytest.approx(alone)


def test_nodes_of_equal_rows_lose_nothing_by_sharing_and_a_hash_loses() -> None:
    groups, of_each = 8, 25
    group = np.tile(np.arange(groups), of_each)
    items = np.eye(groups, dtype=np.float32)[group]
    rows = np.concatenate([items, items])
    nodes = len(items)
    table = Table(
        rows,
        splitmix64(np.arange(2 * nodes, dtype=np.uint64)),
        np.arange(2 * nodes),
        {"user": (0, nodes), "item": (nodes, 2 * nodes)},
        "user",
        "item",
        "dot",
    )
    user = np.repeat(np.arange(nodes), 2)
    item = nodes + (user + groups * np.tile([1, 2], nodes)) % nodes  # of the user's group
    figures = score_shared_rows(
        table, Pairs.none(), Pairs(user, item), np.tile(group, 2)[:, None], (of_each,), 10**6, 0
    )
    assert figures["whole"][f"recall@{of_each}"] == 1.0
    assert figures["once"]["rows"] == 2 * groups
    assert figures["once"]["clusters"] == {**figures["whole"], "alone": 0.0}
    assert figures["once"]["modulo"][f"recall@{of_each}"] < 0.5
    assert figures["twice"]["clusters_and_hash"][f"recall@{of_each}"] > 0.9
