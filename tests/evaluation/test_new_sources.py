"""Figures of what new sources chose: taste is seen, chance is not, and no single source makes the figure."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.evaluation.new_sources import LONGEST, NewSourceMetrics, score_new_sources
from pipeline.evaluation.table import Pairs, Table
from pipeline.kernels.node_keys import node_keys

ITEMS, GROUPS = 600, 6


def table_of(*, plain: bool) -> Table:
    """Items in groups that lie close together, behind as many users on a graph of two types."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((GROUPS, 16))
    rows = centres[np.arange(ITEMS) % GROUPS] + 0.5 * rng.standard_normal((ITEMS, 16))
    n = ITEMS if plain else 2 * ITEMS
    rows = np.concatenate([rng.standard_normal((n - ITEMS, 16)), rows]).astype(np.float32)
    ranges = {"a": (0, n)} if plain else {"a": (0, ITEMS), "b": (ITEMS, n)}
    return Table(
        rows=rows,
        node_key=node_keys("a", [str(one).encode() for one in range(n)]),
        degree=np.full(n, 5),
        ranges=ranges,
        source="a",
        target="a" if plain else "b",
        similarity="dot",
    )


def chosen_by(sources: int, each: int, *, has_taste: bool, first: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    source = np.repeat(np.arange(sources), each)
    item = rng.integers(0, ITEMS // GROUPS, source.size) * GROUPS
    item += source % GROUPS if has_taste else rng.integers(0, GROUPS, source.size)
    return -2 - source, first + item


@pytest.mark.parametrize("plain", [False, True])
def test_what_goes_together_is_told_from_what_chance_gives(plain: bool) -> None:
    table = table_of(plain=plain)
    for has_taste in (True, False):
        pairs = chosen_by(200, 10, has_taste=has_taste, first=0 if plain else ITEMS)
        found = score_new_sources(table, Pairs(*pairs), 0)
        if has_taste:
            assert found.auc_degree_matched > 0.9
        else:
            # Under chance the AUC of n against n has the variance 1 / (6 n).
            assert abs(found.auc_degree_matched - 0.5) < 4 / np.sqrt(6 * found.positives)
        assert found.sources == 200
        assert found.test_pairs == len(set(zip(*pairs, strict=True)))


def test_on_a_plain_graph_new_nodes_stand_at_either_end() -> None:
    new, known = chosen_by(40, 10, has_taste=True, first=0)
    table = table_of(plain=True)
    want = score_new_sources(table, Pairs(new, known), 0)
    assert score_new_sources(table, Pairs(known, new), 0) == want
    # Strangers are numbered on each side by itself: -2 here and -2 there are two nodes.
    both = score_new_sources(table, Pairs(np.concatenate([new, known]), np.concatenate([known, new])), 0)
    assert (both.sources, both.test_pairs) == (80, 2 * want.test_pairs)


def test_order_and_repetition_of_pairs_do_not_matter_and_known_sources_do_not_count() -> None:
    table = table_of(plain=False)
    new, items = chosen_by(50, 8, has_taste=True, first=ITEMS)
    want = score_new_sources(table, Pairs(new, items), 3)
    at = np.random.default_rng(2).permutation(new.size)
    known = np.arange(20)
    again = Pairs(np.concatenate([new[at], new, known]), np.concatenate([items[at], items, ITEMS + known]))
    assert score_new_sources(table, again, 3) == want


def test_a_source_of_all_items_is_a_hundred_pairs_without_a_negative() -> None:
    table = table_of(plain=False)
    all_items = np.arange(ITEMS, 2 * ITEMS)
    found = score_new_sources(table, Pairs(np.full(ITEMS, -2), all_items), 0)
    assert found == NewSourceMetrics(ITEMS, 1, 0, None)
    half = score_new_sources(table, Pairs(np.full(ITEMS // 2, -2), all_items[::2]), 0)
    assert LONGEST / 3 < half.positives < 2 * LONGEST / 3  # half of the draws are its own


def test_no_new_sources_are_no_figure() -> None:
    found = score_new_sources(table_of(plain=False), Pairs.none(), 0)
    assert found == NewSourceMetrics(0, 0, 0, None)
