"""user_interests from interactions to a release, against loops over dictionaries."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphquilt import EmbeddingTable, InterestTable, UnknownNodeError
from graphquilt.interest_table import share_out
from pipeline.engines.local import LocalEngine
from pipeline.evaluation import interest_lists
from schemas.published_tables import user_interests
from tests.schemas.test_published_contracts import INTERESTS_METADATA
from tests.stages.chains import EPOCH, Chain, Config, config_for, users_and_items, with_changes, write_rows
from tests.stages.test_lineage_nights import config_for as night_config
from tests.stages.test_lineage_nights import date_of, run_night, write_file
from tests.stages.test_node_codes import GROUPS, USERS, planted

DIM = 8


def with_interests(path: Path, *, plain: bool = False, interests: Any = None, **sections: Any) -> Config:
    config = config_for(path, plain=plain, **{"embedding": {"dim": DIM}, **sections})
    return with_changes(config, interests={"clusters": GROUPS, "per_source": 3, **(interests or {})})


def files_of(chain: Chain) -> list[Path]:
    folder = chain.current_folder()
    assert folder is not None
    return sorted((folder / "user_interests").iterdir())


def table_of(chain: Chain) -> pa.Table:
    return pa.concat_tables(pq.read_table(file, partitioning=None) for file in files_of(chain))


def clusters_of(chain: Chain, config: Config) -> dict[tuple[str, Any], int]:
    """The cluster of every node that has edges, from the working tables."""
    workspace = chain.workspace(config)
    index = pa.concat_tables(pq.read_table(file, partitioning=None) for file in workspace.files("node_index"))
    (file,) = workspace.files("interest_clusters")
    cluster = pa.ipc.open_file(file).read_all()["cluster"].to_pylist()
    ends = zip(index["node_type"].to_pylist(), index["node_id"].to_pylist(), strict=True)
    return {node: number for node, number in zip(ends, cluster, strict=True) if number >= 0}


def expected_interests(
    edges: dict[tuple[Any, Any], float],
    cluster: dict[Any, int],
    rows: dict[Any, np.ndarray],
    keys: dict[str, float],
    left_out: set[Any],
) -> dict[Any, list[tuple[int, float, np.ndarray]]]:
    """Clusters, weights and queries by source, the largest weight first, as the definition has them.

    Nodes that are left out of the release count where like sources are looked at, and nowhere else.
    """

    def weights_of(pairs: dict[tuple[Any, Any], float]) -> dict[Any, dict[int, float]]:
        of_source: dict[Any, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for (source, target), weight in pairs.items():
            of_source[source][cluster[target]] += weight
        return of_source

    share = {u: {c: n / sum(of.values()) for c, n in of.items()} for u, of in weights_of(edges).items()}
    edges = {pair: weight for pair, weight in edges.items() if left_out.isdisjoint(pair)}
    found: dict[Any, list[tuple[int, float, np.ndarray]]] = {}
    for source, of in weights_of(edges).items():
        like = [share[other] for other in share if cluster[other] == cluster[source]]
        own = rows[source].astype(float)
        interests = []
        for c, n in of.items():
            mean = sum(w * rows[t].astype(float) for (s, t), w in edges.items() if s == source and cluster[t] == c)
            s = sum(one.get(c, 0.0) for one in like) / len(like)
            weight = (n + keys["smoothing"] * s) / (sum(of.values()) + keys["smoothing"])
            query = (1 - keys["own_share"]) * mean / np.linalg.norm(mean) + keys["own_share"] * own / np.linalg.norm(
                own
            )
            interests.append((c, weight, query * np.linalg.norm(own) / np.linalg.norm(query)))
        found[source] = sorted(interests, key=lambda one: (-np.float32(one[1]), one[0]))[: int(keys["per_source"])]
    return found


@pytest.mark.parametrize("plain", [False, True])
def test_clusters_weights_and_queries_are_those_of_the_definition(plain: bool, tmp_path: Path) -> None:
    rows = {name: values[:600] for name, values in planted(is_plain=plain).items()}
    left_out = [int(rows["target"][0])]
    types = ("person", "person") if plain else ("user", "item")
    keys = {"per_source": 3, "smoothing": 2.0, "own_share": 0.3}
    config = with_interests(
        write_rows(tmp_path / "in.parquet", rows),
        plain=plain,
        interests=keys,
        publish={"exclude_ids": {types[1]: list(map(str, left_out))}, "rows_per_file": 50},
    )
    chain = Chain(tmp_path)
    published = chain.publish(config)
    table, vectors, cluster = table_of(chain), published.of, clusters_of(chain, config)
    user_interests(DIM).check_rows(table, "here")
    metadata = json.loads(table.schema.metadata[b"graphquilt"])
    assert sorted(metadata) == INTERESTS_METADATA
    edges: dict[tuple[Any, Any], float] = defaultdict(float)
    for source, target in zip(rows["source"].tolist(), rows["target"].tolist(), strict=True):
        for one, other in ((source, target), (target, source))[: 2 if plain else 1]:
            edges[(types[0], one), (types[1], other)] += 1
    expected = expected_interests(edges, cluster, vectors, keys, {(types[1], one) for one in left_out})
    got: dict[Any, list[tuple[int, float, np.ndarray]]] = defaultdict(list)
    for row in table.to_pylist():
        got[row["node_type"], row["node_id"]].append((row["cluster"], row["weight"], np.array(row["query"])))
    assert list(got) == sorted(got)
    assert set(got) == set(expected)
    assert max(map(len, got.values())) == 3
    for node, interests in got.items():
        assert [one[0] for one in interests] == [one[0] for one in expected[node]]
        for (_, weight, query), (_, other_weight, other_query) in zip(interests, expected[node], strict=True):
            assert weight == pytest.approx(other_weight, abs=1e-6)
            np.testing.assert_allclose(query, other_query, atol=2e-6 * np.linalg.norm(other_query))


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("groups") / "in.parquet", planted())


def test_parts_workers_and_engines_publish_the_same_bytes(groups: Path, tmp_path: Path, engine: Any) -> None:
    with LocalEngine(workers=2) as two:
        made = []
        for name, parts, one in (("local", 1, None), ("dask", 3, two), ("engine", 3, engine)):
            chain = Chain(tmp_path / name, one)
            config = with_interests(groups, parts=parts, publish={"rows_per_file": 50})
            assert chain.run(config).code == 0
            made.append([file.read_bytes() for file in files_of(chain)])
    assert len(made[0]) > 1
    assert made[1] == made[2]
    # In another number of parts, vectors are the same to rounding, and clusters and weights are the same.
    tables = [pq.read_table(file, partitioning=None) for file in files_of(Chain(tmp_path / "local"))]
    others = [pq.read_table(file, partitioning=None) for file in files_of(Chain(tmp_path / "dask"))]
    for one, other in zip(tables, others, strict=True):
        assert one.drop(["query"]).equals(other.drop(["query"]))


@pytest.mark.parametrize("as_text", [False, True])
def test_readers_find_the_interests_of_a_node_and_share_candidates_out(as_text: bool, tmp_path: Path) -> None:
    rows: dict[str, Any] = planted()
    if as_text:
        rows["source"] = [f"u{one}" for one in rows["source"]]
    chain = Chain(tmp_path)
    assert chain.run(with_interests(write_rows(tmp_path / "in.parquet", rows))).code == 0
    whole = table_of(chain).to_pylist()
    with InterestTable.open(chain.root) as table, EmbeddingTable.open(chain.root) as vectors:
        assert table.space_id == vectors.space_id
        assert table.target_type == "item"
        node_ids = sorted({row["node_id"] for row in whole})
        ids = [node_ids[7], "nobody" if as_text else -1, *reversed(node_ids), node_ids[7]]
        got = table.lookup(ids, "user")
        assert got.found.tolist() == [True, False, *[True] * (len(ids) - 2)]
        for number, node in enumerate(ids):
            mine = [row for row in whole if row["node_id"] == node]
            here = slice(got.indptr[number], got.indptr[number + 1])
            assert got.cluster[here].tolist() == [row["cluster"] for row in mine]
            assert got.weight[here].tolist() == [row["weight"] for row in mine]
            assert got.query[here].tolist() == [row["query"] for row in mine]
        seats = got.share_out(20)
        totals = np.add.reduceat(np.append(seats, 0), got.indptr[:-1]) * got.found
        assert totals.tolist() == (20 * got.found).tolist()
        with pytest.raises(UnknownNodeError):
            table.lookup([ids[1]], "user", missing="raise")


def clusters_on(chain: Chain, day: int) -> dict[tuple[str, str], int]:
    """The cluster of every node of a night, from the working tables."""
    run = chain.root / "runs" / str(date_of(day))
    (file,) = (run / "interest_clusters").rglob("*.arrow")
    files = sorted((run / "node_index").rglob("*.parquet"))
    index = pa.concat_tables(pq.read_table(one, partitioning=None) for one in files)
    ends = zip(index["node_type"].to_pylist(), map(str, index["node_id"].to_pylist()), strict=True)
    return dict(zip(ends, pa.ipc.open_file(file).read_all()["cluster"].to_pylist(), strict=True))


def test_nights_keep_numbers_of_clusters_and_a_recomputed_one_makes_the_same_bytes(tmp_path: Path) -> None:
    for day in range(3):
        rows = planted(day)
        newer = GROUPS * USERS * 10 if day == 2 else 0  # users that were never there
        ends = zip((rows["source"] + newer).tolist(), rows["target"].tolist(), strict=True)
        made = [(str(source), target, day, 1) for source, target in ends][: 200 if day else None]
        write_file(tmp_path / "in", f"dt={date_of(day)}/a.parquet", made)
    chain, config = Chain(tmp_path), night_config(tmp_path / "in")
    config = {**config, "lineage": {"full_every": 20}, "interests": {"clusters": GROUPS}}
    before: dict[tuple[str, str], int] = {}
    for day in range(3):
        run_night(chain, config, day)
        night = clusters_on(chain, day)
        published = table_of(chain)
        assert set(published["cluster"].to_pylist()) <= set(night.values())
        said = json.loads(published.schema.metadata[b"graphquilt"])
        assert ("kept" in said) == bool(day)
        if day:
            same = sum(before[node] == night[node] for node in before)
            assert said["kept"]["same_code"] == same > 0.95 * len(before)
            assert said["kept"]["other_code"] == len(before) - same
            assert said["kept"]["new_nodes"] == len(night) - len(before)
            assert said["kept"]["night"] == str(date_of(day - 1))
        with InterestTable.open(chain.root) as table:
            assert table.clusters_since == str(date_of(0))
        before = night
    assert said["kept"]["new_nodes"] > 0
    assert run_night(chain, config, 2, recompute=True).answer["verdict"] == "unchanged"
    # Another number of clusters is another lineage of them.
    run_night(chain, {**config, "interests": {"clusters": 3}}, 2)
    with InterestTable.open(chain.root) as table:
        assert table.clusters_since == str(date_of(2))


@pytest.mark.parametrize("plain", [False, True])
def test_evaluation_says_what_lists_by_interests_hold(plain: bool, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", planted(is_plain=plain))
    held_out = {"source": "holdout", "holdout_edges" if plain else "holdout_users": 0.2 if plain else 0.5}
    chain = Chain(tmp_path)
    figures = chain.publish(with_interests(path, plain=plain, evaluate=held_out)).metrics["user_interests"]
    one, several = figures["one_query"], figures["interests"]
    assert 1 < figures["queries"] <= 3
    # There are fewer nodes than places: every list has all but the known ones, whoever asks for them.
    for name in ("recall@200", "coverage@500", "clusters@500"):
        assert several[name] == pytest.approx(one[name])
        assert several[name] > 0.9
    assert one["distance@500"] == pytest.approx(several["distance@500"])


def test_next_day_scores_the_interests_of_the_release_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ks = (4, 9)
    monkeypatch.setattr(interest_lists, "LENGTHS", ks)
    rows = planted()
    events = rows["source"].size
    rows["ts"] = EPOCH + np.random.default_rng(1).permutation(np.arange(events) * 5 * 86_400 // events)
    chain = Chain(tmp_path)
    config = with_interests(
        write_rows(tmp_path / "in.parquet", rows),
        input={"timestamp": "ts", "timestamp_unit": "s"},
        evaluate={"source": "next_day"},
    )
    first = chain.publish(config, date="2000-01-02")
    assert "user_interests" not in first.metrics
    items = {item: first.of["item", item].astype(float) for node_type, item in first.ids if node_type == "item"}
    asked = {user: [(1.0, first.of["user", user])] for node_type, user in first.ids if node_type == "user"}
    several: dict[Any, list[tuple[float, Any]]] = defaultdict(list)
    for row in table_of(chain).to_pylist():
        several[row["node_id"]].append((row["weight"], np.array(row["query"])))
    workspace = replace(chain.workspace(config), date=dt.date(2000, 1, 2))
    (file,) = (workspace.root / "runs/2000-01-02/interest_clusters").rglob("*.arrow")
    cluster = pa.ipc.open_file(file).read_all()["cluster"].to_pylist()
    of_item = {item: cluster[number] for number, (node_type, item) in enumerate(first.ids) if node_type == "item"}
    second = chain.publish(config, date="2000-01-03").metrics["user_interests"]
    day = (rows["ts"] - EPOCH) // 86_400
    pairs = [*zip(rows["source"].tolist(), rows["target"].tolist(), day.tolist(), strict=True)]
    old = {(user, item) for user, item, of in pairs if of < 2}
    new = {(user, item) for user, item, of in pairs if of == 2} - old
    for name, queries in (("one_query", asked), ("interests", {**asked, **several})):
        for k in ks:
            recall, clusters = [], []
            for user in {user for user, _ in new}:
                wanted, listed = {item for one, item in new if one == user}, list[Any]()
                free = {item for item in items if (user, item) not in old}
                of_user = queries.get(user, [])
                weights = np.array([weight for weight, _ in of_user], np.float32)
                seats = share_out(np.array([0, weights.size]), weights, k) if of_user else []
                for count, (_, query) in zip(seats, of_user, strict=True):
                    listed += sorted(free - set(listed), key=lambda item: -float(items[item] @ query))[:count]
                recall.append(len(wanted & set(listed)) / len(wanted))
                if of_user:
                    clusters.append(len({of_item[item] for item in listed}))
            assert second[name][f"recall@{k}"] == pytest.approx(np.mean(recall))
            assert second[name][f"clusters@{k}"] == pytest.approx(np.mean(clusters))
            assert np.mean(recall) > 0
    shutil.rmtree(workspace.root / "runs/2000-01-03/interest_clusters")
    gone = chain.publish(config, date="2000-01-04").metrics
    assert gone["user_interests"] == {"note": "no verdict: interest_clusters of 2000-01-03 is gone (publish.keep_runs)"}
    assert "ranking" in gone
    other_types = with_changes(config, input={"target_type": "film"})
    assert (
        "has no interests of these types"
        in chain.publish(other_types, date="2000-01-05").metrics["user_interests"]["note"]
    )


def test_small_components_are_not_counted_among_the_clusters_asked_for(tmp_path: Path) -> None:
    """Beside hundreds of pairs that nothing joins to the rest, the groups are still told apart."""
    rows, alone = planted(), 10_000 + np.arange(300)
    path = write_rows(
        tmp_path / "in.parquet", {end: np.concatenate([rows[end], alone]) for end in ("source", "target")}
    )
    chain, config = Chain(tmp_path), with_interests(path)
    chain.publish(config)
    cluster = clusters_of(chain, config)
    large = {node[1]: number for node, number in cluster.items() if node[0] == "item" and node[1] < 10_000}
    of_group = [[number for item, number in large.items() if item % GROUPS == group] for group in range(GROUPS)]
    most = [max(set(numbers), key=numbers.count) for numbers in of_group]
    assert len(set(most)) == GROUPS
    assert all(numbers.count(one) > 0.8 * len(numbers) for numbers, one in zip(of_group, most, strict=True))


def test_a_release_without_interests_says_what_to_set(groups: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    assert chain.run(with_interests(groups, interests={"clusters": 0})).code == 0
    with pytest.raises(Exception, match=r"interests\.clusters"):
        InterestTable.open(chain.root)


def test_a_graph_that_fits_no_worker_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(0, 60_000, 9_000, 4_000))
    ended = Chain(tmp_path).run(with_interests(path, partition={"parts": 1, "worker_bytes": 2**20}))
    assert ended.code == 2
    assert "interests.clusters is 6" in ended.error
    assert "1,048,576" in ended.error


def test_vectors_are_needed(groups: Path, tmp_path: Path) -> None:
    ended = Chain(tmp_path).run(with_interests(groups, embedding={"method": "none"}, ppr={"neighbors": True}))
    assert ended.code == 2
    assert "queries are made of vectors" in ended.error
