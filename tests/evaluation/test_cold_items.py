"""Figures of items that nobody has met, against loops over whole rankings."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.scoring import rank_pairs, slices_of
from pipeline.evaluation.table import Pairs, Table

KS = (1, 4)


def a_table(seed: int, n_users: int, n_items: int) -> tuple[Table, Pairs, Pairs]:
    """Rows, train pairs from which the degrees are counted, and test pairs; some nodes have no train pair."""
    rng = np.random.default_rng(seed)
    n = n_users + n_items
    chosen = rng.random((n_users, n_items))
    train, test = ((chosen > low) & (chosen < high) for low, high in ((0.7, 1.0), (0.4, 0.65)))
    train[:, rng.random(n_items) < 0.4] = False
    train[rng.random(n_users) < 0.2] = False
    degree = np.concatenate((train.sum(axis=1), train.sum(axis=0)))
    table = Table(
        rows=rng.standard_normal((n, 3)).astype(np.float32),
        node_key=rng.integers(0, 2**63, n).astype(np.uint64),
        degree=degree,
        ranges={"user": (0, n_users), "item": (n_users, n)},
        source="user",
        target="item",
        similarity="dot",
    )
    pairs = [Pairs(ends[0], ends[1] + n_users) for ends in (np.nonzero(train), np.nonzero(test))]
    return table, pairs[0], pairs[1]


def best_of(table: Table, user: int, items: np.ndarray, train: set[tuple[int, int]]) -> list[int]:
    scores = table.rows[items].astype(np.float64) @ table.rows[user].astype(np.float64)
    ranked = items[np.argsort(-scores, kind="stable")].tolist()
    return [item for item in ranked if (user, item) not in train]


@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(5, 25))
def test_figures_are_those_of_loops(seed: int, n_users: int, n_items: int) -> None:
    table, train, test = a_table(seed, n_users, n_items)
    slices = slices_of(rank_pairs(table, train, test, KS, None, 0))
    known, asked = (set(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True)) for pairs in (train, test))
    items = np.arange(n_users, n_users + n_items)
    cold = [int(item) for item in items if not any(other == item for _, other in known)]
    users = sorted({user for user, _ in asked})
    lists = {user: best_of(table, user, items, known) for user in users}
    alone = {user: best_of(table, user, np.array(cold, np.int64), known) for user in users}
    of_cold, of_warm = ([pair for pair in asked if (pair[1] in cold) == is_cold] for is_cold in (True, False))
    got = slices["by_warmth"]
    assert (got["cold_items"]["members"], got["warm_items"]["members"]) == (len(cold), n_items - len(cold))
    assert (got["cold_items"]["test_pairs"], got["warm_items"]["test_pairs"]) == (len(of_cold), len(of_warm))
    for k in KS:
        places = [item for ranked in lists.values() for item in ranked[:k]]
        share = sum(item in cold for item in places) / max(len(places), 1)
        assert got["cold_items"][f"list_share@{k}"] == pytest.approx(share)
        for name, pairs, ranking in (
            ("recall", of_cold, lists),
            ("recall_alone", of_cold, alone),
            ("warm", of_warm, lists),
        ):
            if pairs:
                wanted = np.mean([item in ranking[user][:k] for user, item in pairs])
                figures, key = (got["warm_items"], "recall") if name == "warm" else (got["cold_items"], name)
                assert figures[f"{key}@{k}"] == pytest.approx(wanted), name
        if of_cold:
            assert got["cold_items"][f"chance@{k}"] == min(1, k / n_items)
            assert got["cold_items"][f"chance_alone@{k}"] == min(1, k / len(cold))
        if asked:
            weight = {pair: (sum(other == pair[1] for _, other in known) + 1) ** -0.5 for pair in asked}
            hits = sum(weight[user, item] for user, item in asked if item in lists[user][:k])
            assert slices["popularity_corrected"][f"recall@{k}"] == pytest.approx(hits / sum(weight.values()))
    new = [user for user in users if not any(one == user for one, _ in known)]
    assert got["cold_users"]["members"] == len(new)
    if new:
        of_users = [[item in lists[user][:4] for one, item in asked if one == user] for user in new]
        assert got["cold_users"]["recall@4"] == pytest.approx(np.mean([np.mean(hits) for hits in of_users]))


def test_a_random_order_reaches_chance_and_no_more() -> None:
    table, train, test = a_table(3, 400, 100)
    rows = np.random.default_rng(1).standard_normal(table.rows.shape).astype(np.float32)
    figures = slices_of(rank_pairs(replace(table, rows=rows), train, test, (10,), None, 0))["by_warmth"]["cold_items"]
    error = np.sqrt(0.1 * 0.9 / figures["test_pairs"])
    # Train pairs are left out of the lists, so that a little more than 10 of 100 items are drawn.
    assert 0.1 - 4 * error < figures["recall@10"] < 0.1 * 1.3 + 4 * error
    assert figures["list_share@10"] == pytest.approx(figures["recall@10"] * figures["members"] / 10, abs=0.05)
