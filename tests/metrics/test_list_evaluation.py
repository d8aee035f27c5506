"""The figures of published lists against a recomputation from the published Parquet, by loops."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.embedding.ppr.lists as lists_by_sources
from pipeline.embedding import filtered_lists
from tests.metrics.test_evaluation import DAY, K, holdout_of, pairs_of, split
from tests.stages.chains import EPOCH, Chain, config_for, friends, users_and_items, with_changes, write_rows
from tests.stages.published_lists import Exact, ListsOf

LISTS: dict[str, Any] = {"neighbors": True, "top_k": 12, "tolerance": 0.001, "restart": 0.5}


def lists_only(path: Path, *, plain: bool = False, **sections: Any) -> dict[str, Any]:
    sections["ppr"] = {**LISTS, **sections.get("ppr", {})}
    return with_changes(config_for(path, plain=plain, **sections), embedding={"method": "none"})


def metrics_of(found: ListsOf) -> dict[str, Any]:
    return json.loads((found.folder / "metrics.json").read_text())


def published(chain: Chain, config: Mapping[str, Any], **changes: Any) -> tuple[ListsOf, dict[str, Any]]:
    ended = chain.run(config, **changes)
    assert ended.code == 0, ended.error
    found = ListsOf.of(chain)
    return found, metrics_of(found)


def by_loops(
    found: ListsOf, train: set[tuple[Any, Any]], test: set[tuple[Any, Any]], source: str = "user"
) -> dict[str, float]:
    """Recall, NDCG and hit rate of the first K listed nodes that are no train pairs; misses count."""
    lists = found.lists
    recall, ndcg, hit, short = [], [], [], 0
    for node in {node for node, _ in test}:
        wanted = {other for one, other in test if one == node}
        known = {other for one, other in train if one == node}
        listed = list(lists.get((source, node), {}))
        left = [other for other in listed if other not in known]
        short += bool(listed) and len(left) < K
        hits = [other in wanted for other in left[:K]]
        recall.append(sum(hits) / len(wanted))
        gained = sum(1 / math.log2(place + 2) for place, is_hit in enumerate(hits) if is_hit)
        ndcg.append(gained / sum(1 / math.log2(place + 2) for place in range(min(K, len(wanted)))))
        hit.append(any(hits))
    figures = {"recall": recall, "ndcg": ndcg, "hit_rate": hit}
    return {**{f"{name}@{K}": float(np.mean(values)) for name, values in figures.items()}, "short": short}


def assert_same(ranking: Mapping[str, Any], want: dict[str, float]) -> None:
    short = want.pop("short")
    assert {name: ranking[name] for name in want} == pytest.approx(want, rel=1e-12)
    assert ranking["shorter_than"] == {str(K): short}
    assert want[f"recall@{K}"] > 0  # zeros would agree with anything


@pytest.mark.parametrize("exclude_known", [False, True])
def test_a_file_of_pairs(exclude_known: bool, tmp_path: Path) -> None:
    train, test = split(users_and_items(11, 900), 0.2)
    # Unknown: an item of a known user, and a user of two known items.
    test = {"source": [*test["source"], 3, 777, 777], "target": [*test["target"], 999, 1, 2]}
    chain, path = Chain(tmp_path), write_rows(tmp_path / "train.csv", train)
    scored = str(write_rows(tmp_path / "test.csv", {side: values * 2 for side, values in test.items()}))
    config = lists_only(
        path, evaluate={"source": "file", "path": scored, "k": [K]}, ppr={"exclude_known": exclude_known}
    )
    found, metrics = published(chain, config)
    got = metrics["ppr_neighbors"]["ranking"]
    assert "ranking" not in metrics
    want = by_loops(found, pairs_of(train), pairs_of(test))
    assert bool(want["short"]) is not exclude_known  # lists of 12 with a user's own items leave fewer than 5
    assert_same(got, want)
    assert (got["without_list"], got["unknown_items"]) == (1, 1)
    assert got["users"] == len(set(test["source"]))


def test_held_out_pairs_of_two_types_are_not_taken_out_of_lists(tmp_path: Path) -> None:
    rows, chain = users_and_items(12, 900), Chain(tmp_path)
    evaluate = {"source": "holdout", "k": [K], "holdout_users": 0.6, "holdout_pairs": 0.3}
    config = lists_only(write_rows(tmp_path / "in.parquet", rows), evaluate=evaluate)
    found, metrics = published(chain, config)
    held_out = holdout_of(chain, config)
    assert_same(metrics["ppr_neighbors"]["ranking"], by_loops(found, pairs_of(rows) - held_out, held_out))


def test_held_out_edges_of_one_type_count_from_both_ends(tmp_path: Path) -> None:
    rows, chain = friends(13, 600), Chain(tmp_path)
    evaluate = {"source": "holdout", "k": [K], "holdout_edges": 0.2}
    config = lists_only(write_rows(tmp_path / "in.parquet", rows), plain=True, evaluate=evaluate)
    found, metrics = published(chain, config)
    both = lambda some: some | {(b, a) for a, b in some}  # noqa: E731
    pairs, held_out = both(pairs_of(rows)), both(holdout_of(chain, config))
    want = by_loops(found, pairs - held_out, held_out, source="person")
    assert_same(metrics["ppr_neighbors"]["ranking"], want)
    assert metrics["ppr_neighbors"]["ranking"]["unknown_pairs"] == 0


def test_next_day_scores_the_previous_release_s_lists(tmp_path: Path) -> None:
    rows = users_and_items(14, 900)
    rows = {**rows, "ts": EPOCH + np.sort(np.random.default_rng(1).integers(0, 3 * DAY, 900))}
    chain = Chain(tmp_path)
    config = lists_only(
        write_rows(tmp_path / "in.parquet", rows),
        input={"timestamp": "ts", "timestamp_unit": "s"},
        evaluate={"source": "next_day", "k": [K]},
    )
    first, metrics = published(chain, config, date="2000-01-02")
    assert "no verdict" in metrics["ppr_neighbors"]["note"]
    assert metrics["ppr_neighbors"]["exact"]["bounds_hold"]
    _, metrics = published(chain, config, date="2000-01-03")
    assert metrics["scored"] == "previous release"
    old = pairs_of({side: rows[side][rows["ts"] < EPOCH + 2 * DAY] for side in ("source", "target")})
    assert_same(metrics["ppr_neighbors"]["ranking"], by_loops(first, old, pairs_of(rows) - old))


def test_vectors_of_a_night_after_lists_alone_have_no_verdict(tmp_path: Path) -> None:
    rows = {**users_and_items(14, 900), "ts": EPOCH + np.sort(np.random.default_rng(1).integers(0, 3 * DAY, 900))}
    chain = Chain(tmp_path)
    config = lists_only(
        write_rows(tmp_path / "in.parquet", rows),
        input={"timestamp": "ts", "timestamp_unit": "s"},
        evaluate={"source": "next_day", "k": [K]},
    )
    published(chain, config, date="2000-01-02")
    _, metrics = published(chain, with_changes(config, embedding={"method": "fastrp"}), date="2000-01-03")
    assert "no verdict on vectors" in metrics["note"]
    assert set(metrics["rankme"]) == {"user", "item"}
    assert metrics["ppr_neighbors"]["ranking"][f"recall@{K}"] > 0


def test_both_tables_have_figures(tmp_path: Path) -> None:
    train, test = split(users_and_items(11, 900), 0.2)
    scored = str(write_rows(tmp_path / "test.csv", test))
    evaluate = {"source": "file", "path": scored, "k": [K]}
    config = config_for(write_rows(tmp_path / "train.csv", train), evaluate=evaluate, ppr=LISTS)
    found, metrics = published(Chain(tmp_path), config)
    assert metrics["ranking"][f"recall@{K}"] > 0
    assert_same(metrics["ppr_neighbors"]["ranking"], by_loops(found, pairs_of(train), pairs_of(test)))


def test_lists_that_pairs_do_not_lead_through_have_no_ranking(tmp_path: Path) -> None:
    train, test = split(users_and_items(11, 400), 0.2)
    scored = str(write_rows(tmp_path / "test.csv", test))
    path = write_rows(tmp_path / "train.csv", train)
    config = lists_only(path, evaluate={"source": "file", "path": scored}, ppr={"target_type": "user"})
    found = published(Chain(tmp_path), config)[1]["ppr_neighbors"]
    assert "lists of user nodes hold user nodes" in found["note"]
    assert found["exact"]["bounds_hold"]


def test_without_a_source_nothing_is_measured(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(11, 400))
    assert set(published(Chain(tmp_path), lists_only(path))[1]["ppr_neighbors"]) == {"note"}


@pytest.mark.parametrize(
    "ppr",
    [
        {"exclude_known": True, "degree_correction": 0.5},
        {"solver": "push"},
        {"solver": "push", "push_threshold": 1e-4, "restart": 0.15},
        {"solver": "walks", "walks": 2_000},
        {"edge_degree_power": 0.3},
        {"across": "parts"},
    ],
    ids=["chebyshev", "push", "push to a threshold", "walks", "weighed edges", "parts"],
)
def test_lists_are_held_against_exact_scores(ppr: dict[str, Any], tmp_path: Path) -> None:
    rows = users_and_items(11, 900)
    asked = {**LISTS, "source_type": "user", **ppr}
    train, test = split(rows, 0.1)
    scored = str(write_rows(tmp_path / "test.csv", test))
    path = write_rows(tmp_path / "train.csv", train)
    config = lists_only(path, evaluate={"source": "file", "path": scored}, ppr=asked, partition={"parts": 3})
    found, metrics = published(Chain(tmp_path), config)
    got = metrics["ppr_neighbors"]["exact"]
    assert (got["sources"], got["population"]) == (60, 60)
    assert got["bounds_hold"]
    assert not got["errors"]
    unweighed = Exact.of({side: np.array(values) for side, values in train.items()}, ("user", "item"))
    degree = np.count_nonzero(unweighed.weights, axis=1).astype(float)
    power = asked.get("edge_degree_power", 0.0)
    dense = Exact(unweighed.nodes, unweighed.weights * np.outer(degree, degree) ** power)
    exact, degrees = dense.scores(asked["restart"]), dict(zip(dense.nodes, degree, strict=True))
    correction = asked.get("degree_correction", 0.0)
    errors = [
        abs(score - exact[source]["item", item] / degrees["item", item] ** correction)
        for source, listed in found.lists.items()
        for item, score in listed.items()
    ]
    assert got["scores"] == len(errors)
    # 1e-9 each of the two exact solutions.
    assert got["largest_error"] == pytest.approx(max(errors), abs=2e-9)
    if "across" in asked:  # lists of parts are no one solver's
        assert "l1" not in got
    else:
        assert 0 < got["l1"]["mean"] <= got["l1"]["max"]
        # Factors below 1 make errors of listed scores smaller.
        assert got["l1"]["max"] >= got["largest_error"] - 1e-6
    assert got["precision@12"] > (0.7 if asked.get("solver") == "walks" else 0.95)


@pytest.mark.parametrize(
    "keys",
    [{"rank": 9, "exclude_known": False}, {"filter": "linear", "alpha": 0.0, "beta": 0.6}, {"target_type": "user"}],
    ids=["plateau", "linear", "users of items"],
)
def test_lists_by_a_filter_are_held_against_exact_scores(keys: dict[str, Any], tmp_path: Path) -> None:
    train, test = split(users_and_items(11, 900), 0.1)
    scored = str(write_rows(tmp_path / "test.csv", test))
    path = write_rows(tmp_path / "train.csv", train)
    config = config_for(path, evaluate={"source": "file", "path": scored, "k": [K]}, partition={"parts": 3})
    lists = {"filter": "plateau", "top_k": 12, **keys}
    config = with_changes(config, embedding={"method": "none"}, lists=lists)
    chain = Chain(tmp_path)
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    got = ended.answer["metrics"]["neighbors"]["exact"]
    assert got["bounds_hold"]
    assert not got["errors"]
    assert got["sources"] == min(64, got["population"])
    assert got["scores"] > 5 * got["sources"]
    # Some dozens of roundings to float32, next to scores of at most a user's pairs.
    assert 0 < got["largest_error"] < 1e-4
    assert got["precision@12"] == 1.0


def test_a_list_by_a_filter_that_is_off_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = split(users_and_items(11, 900), 0.1)
    scored = str(write_rows(tmp_path / "test.csv", test))
    config = config_for(write_rows(tmp_path / "train.csv", train), evaluate={"source": "file", "path": scored})
    config = with_changes(config, embedding={"method": "none"}, lists={"filter": "plateau", "top_k": 12, "rank": 9})
    solved = filtered_lists.rule_of
    monkeypatch.setattr(filtered_lists, "rule_of", lambda lists: replace(solved(lists), alpha=lists.alpha * 1.01))
    ended = Chain(tmp_path).run(config)
    assert ended.code != 0
    assert "neighbors: of " in json.dumps(ended.answer)


def test_a_graph_over_a_workers_memory_is_nowhere_brought_together(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(7, 3_000, 900, 300))
    chain = Chain(tmp_path / "chain")
    cut = {"worker_bytes": 2**20, "parts": 3}
    evaluate = {"source": "holdout", "k": [K], "holdout_users": 0.6, "holdout_pairs": 0.3}
    found, metrics = published(chain, lists_only(path, partition=cut, evaluate=evaluate))
    figures = metrics["ppr_neighbors"]
    assert figures["ranking"]["users"] > 0
    assert set(figures["exact"]) == {"note"}
    assert "partition.worker_bytes is 1,048,576" in figures["exact"]["note"]
    assert not list(chain.root.glob("runs/*/whole_graph"))
    assert found.lists


def test_excluded_ids_are_in_no_exact_list_either(tmp_path: Path) -> None:
    train, test = split(users_and_items(15, 500), 0.2)
    scored = str(write_rows(tmp_path / "test.csv", test))
    path = write_rows(tmp_path / "train.csv", train)
    gone = {"user": test["source"][:1], "item": [0, "1"]}  # the most popular items, in nearly all lists
    config = lists_only(
        path, evaluate={"source": "file", "path": scored, "k": [K]}, publish={"exclude_ids": gone}, ppr={"top_k": 37}
    )
    found, metrics = published(Chain(tmp_path), config)
    assert not {0, 1} & {item for listed in found.lists.values() for item in listed}
    assert metrics["ppr_neighbors"]["exact"]["precision@37"] > 0.99
    assert metrics["ppr_neighbors"]["exact"]["misplaced"] == 0
    assert metrics["ppr_neighbors"]["ranking"]["without_list"] == 1


def test_gates_look_at_lists_where_there_are_no_vectors(tmp_path: Path) -> None:
    train, test = split(users_and_items(11, 900), 0.2)
    scored = str(write_rows(tmp_path / "test.csv", test))
    chain, path = Chain(tmp_path), write_rows(tmp_path / "train.csv", train)
    config = lists_only(path, evaluate={"source": "file", "path": scored, "k": [K]})
    refused = chain.run(with_changes(config, publish={"gates": {"min_recall": 0.99}}))
    assert refused.code == 3
    assert "publish.gates.min_recall" in refused.error
    passed = chain.run(with_changes(config, publish={"gates": {"min_recall": 0.01, "min_ndcg": 0.01}}))
    assert passed.code == 0, passed.error


def test_bounds_that_do_not_hold_are_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = split(users_and_items(11, 900), 0.2)
    scored = str(write_rows(tmp_path / "test.csv", test))
    chain, path = Chain(tmp_path), write_rows(tmp_path / "train.csv", train)
    config = lists_only(path, evaluate={"source": "file", "path": scored, "k": [K]})
    monkeypatch.setattr(lists_by_sources, "rounded_up", lambda bound: np.zeros(bound.size, np.float32))
    refused = chain.run(config)
    assert refused.code == 3
    assert "than error_bound says" in refused.error
    assert chain.current() is None
