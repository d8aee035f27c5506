from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pipeline.evaluation.link_prediction import (
    MIN_CANDIDATES,
    Nodes,
    auc,
    degree_classes,
    degree_matched_negatives,
    measure_auc,
    pair_codes,
    random_negatives,
)
from pipeline.evaluation.ranking import RankingMetrics
from pipeline.evaluation.scoring import rank_pairs, score_table
from pipeline.evaluation.table import Pairs, Table

Edges = tuple[NDArray[np.int64], NDArray[np.int64]]


def plain_graph(n: int = 1500, seed: int = 0) -> tuple[Nodes, Edges, NDArray[np.int64]]:
    """A power-law graph: nodes, edges, known codes."""
    edges = np.array(nx.barabasi_albert_graph(n, 5, seed=seed).edges(), np.int64)
    src, dst = np.ascontiguousarray(edges[:, 0]), np.ascontiguousarray(edges[:, 1])
    key = np.random.default_rng(seed).integers(0, 2**64, n, np.uint64)
    nodes = Nodes(key, np.zeros(n, np.int64), np.bincount(edges.ravel(), minlength=n))
    return nodes, (src, dst), pair_codes(src, dst, n, is_undirected=True)


scores = st.lists(st.sampled_from([-1.5, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=40)


@given(scores, scores)
def test_auc_equals_sklearn_with_ties(positive: list[float], negative: list[float]) -> None:
    got = auc(np.array(positive), np.array(negative))
    labels = [1] * len(positive) + [0] * len(negative)
    assert got == pytest.approx(roc_auc_score(labels, positive + negative), abs=1e-12)


def test_auc_of_nothing_is_none() -> None:
    assert auc(np.zeros(0), np.ones(3)) is None
    assert auc(np.ones(3), np.zeros(0)) is None


@pytest.mark.parametrize("draw", [random_negatives, degree_matched_negatives])
def test_negatives_are_no_edges_and_of_the_right_type(draw) -> None:
    rng = np.random.default_rng(0)
    n = 400
    kind = np.repeat([7, 3], 200)
    src, dst = np.divmod(rng.choice(200 * 200, 6000, replace=False), 200)
    dst += 200
    nodes = Nodes(rng.integers(0, 2**64, n, np.uint64), kind, np.bincount(np.r_[src, dst], minlength=n))

    got = draw(src, dst, nodes, pair_codes(src, dst, n, is_undirected=False), seed=1)

    assert (kind[got] == 3).all()
    edges = set(zip(src.tolist(), dst.tolist(), strict=True))
    assert not edges & set(zip(src.tolist(), got.tolist(), strict=True))


@pytest.mark.parametrize("draw", [random_negatives, degree_matched_negatives])
def test_a_negative_depends_on_keys_not_on_numbering_order_or_direction_of_storage(draw) -> None:
    nodes, (src, dst), edge_codes = plain_graph()
    first = draw(src, dst, nodes, edge_codes, seed=4)

    rng = np.random.default_rng(1)
    old = rng.permutation(nodes.n)  # new position -> old position
    new = np.argsort(old)
    renumbered = Nodes(nodes.node_key[old], nodes.node_type[old], nodes.degree[old])
    order = rng.permutation(src.size)
    codes = pair_codes(new[src], new[dst], nodes.n, is_undirected=True)
    again = draw(new[src][order], new[dst][order], renumbered, codes, seed=4)

    np.testing.assert_array_equal(old[again], first[order])
    assert (draw(src, dst, nodes, edge_codes, seed=5) != first).mean() > 0.9


def test_random_negatives_are_uniform_over_the_free_nodes() -> None:
    n = 21
    rng = np.random.default_rng(0)
    nodes = Nodes(
        rng.integers(0, 2**64, 40_000, np.uint64),
        np.r_[np.zeros(n), np.ones(40_000 - n)],
        np.ones(40_000, np.int64),
    )
    src = np.arange(n, 40_000)  # all linked to node 0
    dst = np.zeros(src.size, np.int64)
    got = random_negatives(src, dst, nodes, pair_codes(src, dst, nodes.n, is_undirected=False), seed=0)

    counts = np.bincount(got, minlength=n)
    assert counts[0] == 0
    expected = src.size / 20
    # Chi-square with 19 degrees of freedom: above 50 with probability 1.3e-4; the draw is fixed.
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 50


def test_where_nothing_is_free_the_positive_has_no_negative_and_is_counted() -> None:
    nodes = Nodes(np.arange(4, dtype=np.uint64), np.array([0, 1, 1, 1]), np.array([3, 1, 1, 1]))
    src, dst = np.zeros(3, np.int64), np.array([1, 2, 3])
    edge_codes = pair_codes(src, dst, 4, is_undirected=False)
    for draw in (random_negatives, degree_matched_negatives):
        got = measure_auc(np.ones((4, 2), np.float32), nodes, src, dst, draw(src, dst, nodes, edge_codes, 0))
        assert (got.auc, got.auc_by_degree_alone, got.without_negative) == (None, None, 3)


def test_source_itself_is_no_negative() -> None:
    nodes = Nodes(np.arange(3, dtype=np.uint64), np.zeros(3, np.int64), np.array([1, 1, 0]))
    src, dst = np.zeros(1, np.int64), np.ones(1, np.int64)
    for seed in range(20):
        assert random_negatives(src, dst, nodes, np.zeros(0, np.int64), seed).tolist() == [2]


def test_degree_explains_random_negatives_but_not_matched_ones() -> None:
    nodes, (src, dst), edge_codes = plain_graph(4000)
    # Ends swapped half the time, or dst would always be the younger, smaller node.
    swap = np.arange(src.size) % 2 == 0
    src, dst = np.where(swap, dst, src), np.where(swap, src, dst)
    rows = np.ones((nodes.n, 1), np.float32)
    random, matched = (
        measure_auc(rows, nodes, src, dst, draw(src, dst, nodes, edge_codes, 0))
        for draw in (random_negatives, degree_matched_negatives)
    )
    assert random.auc_by_degree_alone is not None
    assert random.auc_by_degree_alone > 0.6
    assert matched.auc_by_degree_alone == pytest.approx(0.5, abs=0.02)
    assert random.auc == matched.auc == 0.5  # all scores tie


@given(st.integers(1, 600), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_degree_classes_are_intervals_of_degree_inside_a_type_and_large_enough(n: int, n_types: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, n_types, n)
    degree = (rng.pareto(0.5 + rng.random(), n) * rng.choice([0, 2, 30])).clip(max=1e9).astype(np.int64)
    nodes = Nodes(np.arange(n, dtype=np.uint64), kind, degree)
    classes = degree_classes(nodes)
    for number in np.unique(classes):
        members = np.flatnonzero(classes == number)
        assert np.unique(kind[members]).size == 1
        of_type = np.flatnonzero(kind == kind[members[0]])
        assert members.size >= min(MIN_CANDIDATES, of_type.size)
        low, high = nodes.degree[members].min(), nodes.degree[members].max()
        between = of_type[(nodes.degree[of_type] >= low) & (nodes.degree[of_type] <= high)]
        assert set(between) == set(members)


def test_large_classes_span_a_quarter_of_a_power_of_two() -> None:
    degree = np.repeat(np.arange(200), MIN_CANDIDATES)
    classes = degree_classes(Nodes(np.arange(degree.size, dtype=np.uint64), np.zeros_like(degree), degree))
    spans = [(degree[classes == number].min(), degree[classes == number].max()) for number in np.unique(classes)]
    assert sorted(spans)[:14] == [(d, d) for d in range(8)] + [
        (8, 9),
        (10, 11),
        (12, 13),
        (14, 15),
        (16, 19),
        (20, 23),
    ]
    assert all(high + 1 <= 1.25 * low for low, high in spans if low >= 4)


def table_of(rows: NDArray[np.float32], users: int = 0, similarity: str = "dot") -> Table:
    """A table of a graph of one type, or of users and items behind them."""
    n = len(rows)
    node_key, degree = np.arange(n, dtype=np.uint64), np.ones(n, np.int64)
    if not users:
        return Table(rows, node_key, degree, {"node": (0, n)}, "node", "node", similarity)
    return Table(rows, node_key, degree, {"user": (0, users), "item": (users, n)}, "user", "item", similarity)


def ranking_of(table: Table, train: Pairs, test: Pairs, k: int, sample: int | None = None) -> RankingMetrics:
    return rank_pairs(table, train, test, (k,), sample, 0).metrics


def test_recall_on_a_plain_graph_counts_each_positive_from_both_ends() -> None:
    # A path 0 - 1 - 2 - 3 and a far node 4; the positive is 1 - 2, edges 0 - 1 and 2 - 3 are train.
    train = Pairs(np.array([0, 1, 2]), np.array([1, 2, 3]))
    # Source 1 may rank 2, 3, 4 and source 2 may rank 0, 1, 4: not itself, not its train neighbour.
    table = table_of(np.array([[0, 9], [1, 2], [2, 1], [9, 0], [0, 0]], np.float32))
    positive = Pairs(np.array([1]), np.array([2]))
    one, two = (ranking_of(table, train, positive, k) for k in (1, 2))
    assert one.users == 2
    assert one.recall == (0.0,)  # source 1 ranks 3 first, source 2 ranks 0 first
    assert two.recall == (1.0,)
    swapped = ranking_of(table, train, Pairs(positive.dst, positive.src), 2)
    assert (swapped.recall, swapped.ndcg) == (two.recall, two.ndcg)


def test_train_degrees_on_a_plain_graph_count_neighbours_without_the_node_and_its_test_edges() -> None:
    table = table_of(np.ones((4, 1), np.float32))
    train = Pairs(np.array([0, 0, 1]), np.array([1, 2, 1]))  # with a loop
    got = rank_pairs(table, train, Pairs(np.array([2]), np.array([0])), (1,), None, 0)
    assert (got.user.tolist(), got.user_degree.tolist()) == ([0, 2], [1, 0])
    assert got.item_degree[[0, 2, 3]].tolist() == [1, 0, 0]


def test_recall_on_a_bipartite_graph_ranks_the_other_type_only() -> None:
    table = table_of(np.array([[1, 0], [100, 0], [0.5, 0], [0.7, 0]], np.float32), users=2)
    got = ranking_of(table, Pairs.none(), Pairs(np.array([0]), np.array([3])), 1)
    assert (got.recall, got.users) == ((1.0,), 1)


def test_cosine_ignores_length_and_dot_does_not() -> None:
    rows = np.array([[1, 0], [0.1, 0], [5, 5], [5, 5]], np.float32)
    test = Pairs(np.array([0]), np.array([1]))
    by = {how: score_table(table_of(rows, 1, how), Pairs.none(), test, (1,), None, 0) for how in ("dot", "cosine")}
    assert [by[how]["link_prediction"]["auc_random"] for how in by] == [0.0, 1.0]
    assert [by[how]["ranking"]["recall@1"] for how in by] == [0.0, 1.0]


def test_sources_may_be_sampled_and_the_figures_say_so() -> None:
    nodes, (src, dst), _ = plain_graph()
    table = replace(
        table_of(np.random.default_rng(0).standard_normal((nodes.n, 8)).astype(np.float32)), node_key=nodes.node_key
    )
    got = score_table(table, Pairs(src, dst), Pairs(src[::10], dst[::10]), (20,), 50, 0)
    assert (got["ranking"]["users"], got["ranking"]["is_sampled"]) == (50, True)
    assert got["link_prediction"]["positives"] == src[::10].size
    assert got["test_pairs_in_train"] == src[::10].size


def test_a_width_curve_ranks_by_the_first_columns_and_ends_at_the_table_itself() -> None:
    nodes, (src, dst), _ = plain_graph()
    rows = np.random.default_rng(0).standard_normal((nodes.n, 20)).astype(np.float32)
    for how in ("dot", "cosine"):
        table = replace(table_of(rows, similarity=how), node_key=nodes.node_key)
        got = score_table(table, Pairs(src, dst), Pairs(src[::10], dst[::10]), (5,), None, 0)
        assert [one["width"] for one in got["widths"]] == [8, 16, 20]
        assert got["widths"][-1]["recall@5"] == got["ranking"]["recall@5"]
        narrow = replace(table_of(rows[:, :8].copy(), similarity=how), node_key=nodes.node_key)
        alone = score_table(narrow, Pairs(src, dst), Pairs(src[::10], dst[::10]), (5,), None, 0)
        assert got["widths"][0]["recall@5"] == alone["ranking"]["recall@5"]


def test_no_positives_is_no_error() -> None:
    got = score_table(table_of(np.ones((50, 2), np.float32)), Pairs.none(), Pairs.none(), (20,), None, 0)
    slices = got["slices"]
    assert (got["widths"], slices["by_activity"], slices["by_popularity"]) == ([], [], [])
    assert (slices["by_warmth"]["cold_items"]["test_pairs"], slices["popularity_corrected"]) == (0, {})
    assert (got["link_prediction"]["positives"], got["link_prediction"]["auc_random"]) == (0, None)
    assert got["ranking"]["users"] == 0


def test_nodes_without_a_degree_each_are_refused() -> None:
    nodes = Nodes(np.arange(3, dtype=np.uint64), np.array([0, 1, 1]), np.ones(3, np.int64))
    with pytest.raises(ValueError, match="3 node keys"):
        replace(nodes, degree=np.ones(2, np.int64))
