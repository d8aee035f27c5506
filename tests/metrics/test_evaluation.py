"""The figures of a run against a recomputation from the published Parquet, by loops."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.stages.chains import EPOCH, Chain, Published, config_for, friends, users_and_items, with_changes, write_rows

Pair = tuple[Any, Any]
K = 5


def pairs_of(columns: Mapping[str, Any]) -> set[Pair]:
    return set(zip(np.asarray(columns["source"]).tolist(), np.asarray(columns["target"]).tolist(), strict=True))


def ranked(made: Published, user: Any, known: set[Any], source: str, target: str, k: int, cosine: bool) -> list[Any]:
    """The k best targets of a source, ties by the published order."""
    query = made.of[source, user].astype(np.float64)
    scores = []
    for place, ((node_type, node_id), row) in enumerate(zip(made.ids, made.rows.astype(np.float64), strict=True)):
        if node_type == target and node_id not in known:
            length = np.linalg.norm(query) * np.linalg.norm(row) if cosine else 1.0
            scores.append((-(query @ row) / length if length else 0.0, place, node_id))
    return [node_id for _, _, node_id in sorted(scores)[:k]]


def by_loops(
    made: Published,
    train: set[Pair],
    test: set[Pair],
    *,
    source: str = "user",
    target: str = "item",
    cosine: bool = False,
) -> dict[str, float]:
    """Recall, NDCG and hit rate of a full ranking; unknown users and items count in the denominator."""
    recall, ndcg, hit = [], [], []
    for user in {user for user, _ in test}:
        wanted = {item for of, item in test if of == user}
        known = {item for of, item in train if of == user} | ({user} if source == target else set())
        found = ranked(made, user, known, source, target, K, cosine) if (source, user) in made.of else []
        hits = [item in wanted for item in found]
        recall.append(sum(hits) / len(wanted))
        gained = sum(1 / math.log2(place + 2) for place, is_hit in enumerate(hits) if is_hit)
        ndcg.append(gained / sum(1 / math.log2(place + 2) for place in range(min(K, len(wanted)))))
        hit.append(any(hits))
    names = [f"{name}@{K}" for name in ("recall", "ndcg", "hit_rate")]
    return {name: float(np.mean(values)) for name, values in zip(names, (recall, ndcg, hit), strict=True)}


def assert_same(ranking: Mapping[str, Any], want: Mapping[str, float]) -> None:
    assert {name: ranking[name] for name in want} == pytest.approx(dict(want), rel=1e-12)
    assert want[f"recall@{K}"] > 0  # zeros would agree with anything


def split(rows: Mapping[str, Any], share: float) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Train and test columns: of distinct pairs, some at random."""
    pairs = sorted(pairs_of(rows))
    is_test = np.random.default_rng(9).random(len(pairs)) < share
    columns = []
    for side in (~is_test, is_test):
        chosen = [pair for pair, keep in zip(pairs, side, strict=True) if keep]
        columns.append({"source": [a for a, _ in chosen], "target": [b for _, b in chosen]})
    return columns[0], columns[1]


def test_a_file_of_pairs(tmp_path: Path) -> None:
    train, test = split(users_and_items(11, 900), 0.2)
    # Unknown: an item of a known user, and a user of two known items.
    test = {"source": [*test["source"], 3, 777, 777], "target": [*test["target"], 999, 1, 2]}
    chain = Chain(tmp_path)
    path = write_rows(tmp_path / "train.csv", train)
    config = config_for(
        path, parts=3, evaluate={"source": "file", "path": str(write_rows(tmp_path / "test.csv", test)), "k": [K]}
    )
    made = chain.publish(config)
    want = by_loops(made, pairs_of(train), pairs_of(test))
    assert_same(made.metrics["ranking"], want)
    assert made.metrics["ranking"]["unknown_users"] == 1
    assert made.metrics["ranking"]["users"] == len(set(test["source"]))
    assert made.metrics["test_pairs_in_train"] == 0

    # Repeated rows say nothing new.
    twice = write_rows(tmp_path / "twice.csv", {side: values * 2 for side, values in test.items()})
    repeated = chain.publish(with_changes(config, evaluate={"path": str(twice)}))
    assert_same(repeated.metrics["ranking"], want)


def test_pairs_that_the_table_was_made_from_and_rows_that_are_none_are_warned_of(tmp_path: Path) -> None:
    train, test = split(users_and_items(11, 900), 0.2)
    some = len(test["source"]) - 1
    chain, path = Chain(tmp_path), write_rows(tmp_path / "train.csv", train)

    def warning_of(source: list[Any], target: list[Any]) -> str:
        scored = write_rows(tmp_path / "test.csv", {"source": source, "target": target})
        ended = chain.run(config_for(path, evaluate={"source": "file", "path": str(scored)}))
        told = str(ended.answer["metrics"].get("warning", ""))
        assert told in ended.log
        return told

    known, new = (train["source"], train["target"]), (test["source"], test["target"])
    assert warning_of(*new) == ""
    # People come back to what they know.
    assert warning_of([*new[0], *known[0][:some]], [*new[1], *known[1][:some]]) == ""
    told = warning_of([*new[0], *known[0][: some + 2]], [*new[1], *known[1][: some + 2]])
    assert f"{some + 2} of the {2 * some + 3} pairs of evaluate.path are among the interactions" in told
    told = warning_of([*new[0], None], [*new[1], 3])
    assert f"of evaluate.path, 1 of {some + 2} rows are left out: null id: 1, such as source: empty" in told


def test_without_a_pair_to_score_no_zeros_are_shown(tmp_path: Path) -> None:
    rows = {"source": [1, 2], "target": [3, 3]}
    ended = Chain(tmp_path).run(config_for(write_rows(tmp_path / "in.csv", rows), evaluate={"source": "holdout"}))
    assert ended.code == 0, ended.error
    assert ended.answer["metrics"]["ranking"]["users"] == 0
    assert "quality  no verdict: there is no pair to score" in ended.log


def test_other_pairs_are_scored_again_and_nothing_else_is_done(tmp_path: Path) -> None:
    train, test = split(users_and_items(11, 400), 0.2)
    chain, path = Chain(tmp_path), write_rows(tmp_path / "train.csv", train)
    scored = write_rows(tmp_path / "test.csv", test)
    config = config_for(path, evaluate={"source": "file", "path": str(scored)})
    assert chain.run(config).code == 0
    write_rows(scored, {side: values[:-5] for side, values in test.items()})
    ended = chain.run(config)
    assert "evaluate" not in ended.skipped
    assert {"ingest", "index", "partition", "layout", "embed", "aggregate"} <= set(ended.skipped)


def holdout_of(chain: Chain, config: Mapping[str, Any]) -> set[Pair]:
    workspace = chain.workspace(config)
    ids = [i for file in workspace.files("node_index") for i in pq.read_table(file)["node_id"].to_pylist()]
    tables = [pq.read_table(file) for file in workspace.files("holdout")]
    return {
        (ids[src], ids[dst])
        for table in tables
        for src, dst in zip(table["src_ix"].to_pylist(), table["dst_ix"].to_pylist(), strict=True)
    }


def assert_degrees(made: Published, pairs: set[Pair], types: Sequence[str]) -> None:
    want = dict.fromkeys(made.ids, 0)
    for a, b in pairs:
        want[types[0], a] += 1
        want[types[1], b] += a != b or types[0] != types[1]
    assert made.column("degree") == want


def test_held_out_pairs_of_two_types(tmp_path: Path) -> None:
    rows = users_and_items(12, 900)
    chain = Chain(tmp_path)
    config = config_for(
        write_rows(tmp_path / "in.parquet", rows),
        parts=3,
        evaluate={"source": "holdout", "k": [K], "holdout_users": 0.6, "holdout_pairs": 0.3},
    )
    made = chain.publish(config)
    held_out, pairs = holdout_of(chain, config), pairs_of(rows)
    assert 0 < len(held_out) < len(pairs)
    assert held_out < pairs
    users = {user for user, _ in held_out}
    assert all(sum(of == user for of, _ in pairs) >= 5 for user in users)
    assert_degrees(made, pairs - held_out, ("user", "item"))  # left out of the published table, too
    assert_same(made.metrics["ranking"], by_loops(made, pairs - held_out, held_out))
    # The embedding is that of the other pairs alone.
    train = sorted(pairs - held_out)
    weight = [int(((rows["source"] == a) & (rows["target"] == b)).sum()) for a, b in train]
    alone = {"source": [a for a, _ in train], "target": [b for _, b in train], "weight": weight}
    other = Chain(tmp_path / "alone")
    path = write_rows(other.folder / "in.parquet", alone)
    without = other.publish(config_for(path, input={"weight": "weight"}))
    assert without.ids == [node for node in made.ids if made.column("degree")[node] > 0]
    for node in without.ids:
        np.testing.assert_allclose(made.of[node], without.of[node], atol=1e-5 * np.linalg.norm(without.of[node]))


def test_held_out_edges_of_one_type(tmp_path: Path) -> None:
    rows = friends(13, 600)
    chain = Chain(tmp_path)
    config = config_for(
        write_rows(tmp_path / "in.parquet", rows),
        plain=True,
        parts=3,
        evaluate={"source": "holdout", "k": [K], "holdout_edges": 0.2},
    )
    made = chain.publish(config)
    pairs = {(min(pair), max(pair)) for pair in pairs_of(rows)}
    held_out = {(min(pair), max(pair)) for pair in holdout_of(chain, config)}
    assert held_out < pairs
    assert 0.1 < len(held_out) / len(pairs) < 0.3
    assert_degrees(made, pairs - held_out, ("person", "person"))
    both = lambda some: some | {(b, a) for a, b in some}  # noqa: E731
    want = by_loops(made, both(pairs - held_out), both(held_out), source="person", target="person", cosine=True)
    assert_same(made.metrics["ranking"], want)
    links = made.metrics["link_prediction"]
    assert links["positives"] == len(held_out)
    assert 0 < links["auc_degree_matched"] <= 1


DAY = 86_400


def test_next_day_scores_the_previous_release_on_new_pairs(tmp_path: Path) -> None:
    rows = users_and_items(14, 900)
    rows = {**rows, "ts": EPOCH + np.sort(np.random.default_rng(1).integers(0, 3 * DAY, 900))}
    chain = Chain(tmp_path)
    config = config_for(
        write_rows(tmp_path / "in.parquet", rows),
        parts=2,
        input={"timestamp": "ts", "timestamp_unit": "s"},
        evaluate={"source": "next_day", "k": [K]},
        # Not this table's figure: it must not be judged by it.
        publish={"gates": {"min_recall": 0.9, "without_verdict": "warn"}},
    )
    first = chain.publish(config, date="2000-01-02")
    assert "ranking" not in first.metrics
    assert "no verdict" in first.metrics["note"]
    second = chain.publish(config, date="2000-01-03")
    assert second.metrics["scored"] == "previous release"
    assert second.metrics["previous"] == first.folder.name
    is_old = rows["ts"] < EPOCH + 2 * DAY
    old = pairs_of({side: rows[side][is_old] for side in ("source", "target")})
    assert_same(second.metrics["ranking"], by_loops(first, old, pairs_of(rows) - old))
    # A stage by itself, without a date, finds what the run made.
    for name in ("evaluate", "publish"):
        ended = chain.run(config, [name])
        assert (ended.code, ended.answer["date"]) == (0, "2000-01-03"), ended.error
        assert ended.skipped == (["evaluate"] if name == "evaluate" else [])


def test_excluded_ids_have_no_row_and_change_no_other(tmp_path: Path) -> None:
    train, test = split(users_and_items(15, 500), 0.2)
    chain, path = Chain(tmp_path), write_rows(tmp_path / "train.csv", train)
    scored = str(write_rows(tmp_path / "test.csv", test))
    config = config_for(path, parts=2, evaluate={"source": "file", "path": scored, "k": [K]})
    whole = chain.publish(config)
    less = chain.publish(with_changes(config, publish={"exclude_ids": {"user": [3, "5"], "item": [1]}}))
    gone = {("user", 3), ("user", 5), ("item", 1)}
    assert set(whole.ids) - set(less.ids) == gone
    for node in less.ids:
        np.testing.assert_array_equal(less.of[node], whole.of[node])
    assert_same(less.metrics["ranking"], by_loops(less, pairs_of(train), pairs_of(test)))
    means = {t: np.mean([row for (of, _), row in less.of.items() if of == t], axis=0) for t in ("user", "item")}
    told = json.loads(less.table.schema.metadata[b"graphquilt"])["mean_vectors"]
    for node_type, mean in means.items():
        np.testing.assert_allclose(told[node_type], mean, atol=1e-6)
