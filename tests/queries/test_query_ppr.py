"""The walk index and its batch queries, through the command line, against exact PPR by dense algebra."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import jobs.session
from graphquilt.locations import parse_location
from jobs.commands import machine
from pipeline import storage
from pipeline.kernels.ppr_walks import walk_radius
from pipeline.planning import walk_costs
from pipeline.queries import ppr
from pipeline.queries.ppr import answer_batch
from pipeline.queries.restart_batches import Batch
from pipeline.queries.restart_solvers import QueryOptions
from pipeline.release_tables import ppr_graph, ppr_walks
from pipeline.release_tables.ppr_walks import WalkPayload, WalkResult
from pipeline.tasks import Attempt
from schemas.published_tables import PPR_GRAPH_ROWS, PPR_WALK_ROWS
from tests.jobs.conftest import Said, call
from tests.object_store import FaultProxy
from tests.stages.chains import Chain, config_for, friends, to_toml, users_and_items, write_rows
from tests.stages.published_lists import Exact

ROWS = {**users_and_items(1), "weight": np.random.default_rng(1).integers(1, 9, 500) / 4}
EXACT = Exact.of(ROWS, ("user", "item"))
RESTART, WALKS = 0.2, 300
PPR = {"restart": RESTART, "index_walks": WALKS, "top_k": 8, "walk_index": True}
FROZEN = Path(__file__).parents[2] / "schemas" / "published"
SURE = 1 - 1e-9  # a confidence so that a failure is not chance


@dataclass(frozen=True)
class Index:
    """The two tables of a release, read with pyarrow alone."""

    folder: Path

    def files(self, table: str) -> list[Path]:
        return sorted((self.folder / table).glob("*.parquet"))

    def table(self, name: str) -> pa.Table:
        return pa.concat_tables([pq.read_table(file) for file in self.files(name)])

    @cached_property
    def nodes(self) -> list[tuple[str, Any]]:
        graph = self.table("ppr_graph")
        return list(zip(graph["node_type"].to_pylist(), graph["node_id"].to_pylist(), strict=True))

    @property
    def data(self) -> list[bytes]:
        return [file.read_bytes() for name in ("ppr_graph", "ppr_walks") for file in self.files(name)]

    @property
    def figures(self) -> dict[str, Any]:
        manifest = json.loads((self.folder / "manifest.json").read_text())
        found = manifest["stages"]["aggregate"]["figures"]
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class Place:
    """A config and a workspace."""

    config: Path

    @classmethod
    def of(cls, folder: Path, rows: dict[str, Any] = ROWS, **sections: Any) -> Place:
        plain = sections.pop("plain", False)
        given = config_for(write_rows(folder / "in.parquet", rows), plain=plain, **{"ppr": PPR, **sections})
        (folder / "config.toml").write_text(to_toml(given))
        return cls(folder / "config.toml")

    @property
    def workspace(self) -> Path:
        return self.config.parent / "work"

    def run(self, *more: object) -> Said:
        return call("run", "--config", self.config, "--workspace", self.workspace, "--json", *more)

    def query(self, *more: object) -> Said:
        return call("query", "ppr", *more, "--workspace", self.workspace)

    def made(self, *more: object) -> Index:
        said = self.run(*more)
        assert said.code == 0, said.err
        return Index(Path(said.json["path"]))


def weighted(folder: Path, **sections: Any) -> Place:
    return Place.of(folder, input={"path": str(folder / "in.parquet"), "weight": "weight"}, **sections)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With its index; tests don't change it."""
    made = weighted(tmp_path_factory.mktemp("place"))
    made.made()
    return made


@pytest.fixture(scope="module")
def index(place: Place) -> Index:
    return place.made()


def many_tasks(patch: pytest.MonkeyPatch) -> None:
    """Some eight tasks, a few row groups each."""
    patch.setattr(walk_costs, "_VISITS", 20_000)
    patch.setattr(walk_costs, "_VISITS_AN_ENTRY", 0)
    patch.setattr(ppr_walks, "_GROUP_VISITS", 4_000)
    patch.setattr(ppr_walks, "_VISITS_AT_ONCE", 9_000)
    patch.setattr(ppr_graph, "ROW_GROUP_NODES", 7)


def test_the_index_is_the_graph_and_walks_from_every_node(index: Index) -> None:
    graph, walks = index.table("ppr_graph"), index.table("ppr_walks")
    for contract, table in ((PPR_GRAPH_ROWS, graph), (PPR_WALK_ROWS, walks)):
        contract.check_schema(table.schema, "here")
        contract.check_rows(table, "here")
        frozen = json.loads((FROZEN / f"{contract.name}-v1.json").read_text())
        assert sorted(json.loads(table.schema.metadata[b"graphquilt"])) == frozen["file_metadata"]["graphquilt"]
    nodes, scores = index.nodes, EXACT.scores(RESTART)
    assert nodes == sorted(EXACT.nodes)
    assert walks["row"].to_pylist() == list(range(len(nodes)))
    for node, row, walk in zip(nodes, graph.to_pylist(), walks.to_pylist(), strict=True):
        weights = {nodes[other]: weight for other, weight in zip(row["neighbors"], row["weights"], strict=True)}
        at = EXACT.nodes.index(node)
        assert weights == {EXACT.nodes[j]: EXACT.weights[at, j] for j in np.flatnonzero(EXACT.weights[at])}
        assert row["degree"] == len(weights)
        want = np.array([scores[node][other] for other in nodes])
        got = np.zeros(len(nodes))
        got[walk["visited"]] = np.array(walk["visits"]) * RESTART / WALKS
        assert (np.abs(got - want) <= walk_radius(got, WALKS, SURE)).all()
    figures = index.figures
    assert figures["walk_visits"] == sum(sum(visits) for visits in walks["visits"].to_pylist())
    assert figures["walk_entries"] == sum(map(len, walks["visits"].to_pylist()))
    assert figures["walk_bytes"] == sum(file.stat().st_size for file in index.files("ppr_walks"))


def test_an_index_is_of_its_graph_and_its_parameters(place: Place, index: Index, tmp_path: Path) -> None:
    assert place.made().folder == index.folder
    own = weighted(tmp_path)
    names = {own.made("--set", word).folder.name for word in ("ppr.index_walks=5", "ppr.restart=0.3", "ppr.top_k=3")}
    assert len(names) == 3
    # What a run without an index publishes does not depend on walks.
    off = ("--set", "ppr.walk_index=false", "--set")
    assert own.made(*off, "ppr.index_walks=5").folder == own.made(*off, "ppr.index_walks=6").folder


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_any_number_of_tasks_and_workers_gives_the_same_rows(
    workers: int, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_tasks(monkeypatch)
    made = weighted(tmp_path).made("--workers", workers)
    assert len(made.files("ppr_walks")) > 5
    for name in ("ppr_graph", "ppr_walks"):
        assert made.table(name).equals(index.table(name))


def test_engines_make_the_same_bytes(
    engine: Any, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(jobs.stage_run, "open_engine", lambda *_: contextlib.nullcontext(engine))
        made = weighted(tmp_path).made("--engine", engine.name)
    assert made.data == index.data


def test_a_stopped_build_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many_tasks(monkeypatch)
    (tmp_path / "whole").mkdir()
    want = weighted(tmp_path / "whole").made()
    done: list[str] = []
    walk = ppr_walks.walk_from_nodes

    def walk_until_killed(payload: WalkPayload, attempt: Attempt) -> WalkResult:
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        done.append(attempt.task.name)
        return walk(payload, attempt)

    stopped = weighted(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ppr_walks, "walk_from_nodes", walk_until_killed)
        said = stopped.run()
    assert said.code == 143, said.err
    assert len(done) == 3

    def walk_the_rest(payload: WalkPayload, attempt: Attempt) -> WalkResult:
        assert attempt.task.name not in done
        return walk(payload, attempt)

    monkeypatch.setattr(ppr_walks, "walk_from_nodes", walk_the_rest)
    assert stopped.made().data == want.data


def check_answer(answer: dict[str, Any], seeds: dict[Any, float], target: str, k: int, slack: float = 0.0) -> None:
    """Every listed score is within the bound, and so is what is missing of the last one."""
    scores, total = EXACT.scores(RESTART), sum(seeds.values())
    want = {
        node: sum(share * scores["user", seed][target, node] for seed, share in seeds.items()) / total
        for kind, node in EXACT.nodes
        if kind == target and not (target == "user" and node in seeds)
    }
    listed = {one["id"]: one["score"] for one in answer["neighbors"]}
    assert len(listed) == k
    assert list(listed.values()) == sorted(listed.values(), reverse=True)
    bound = answer["error_bound"] + slack
    assert all(abs(want[node] - score) <= bound for node, score in listed.items())
    least = min(listed.values())
    assert all(score <= least + 2 * bound for node, score in want.items() if node not in listed)


@pytest.mark.parametrize("options", [("--rounds", 0), (), ("--rounds", 3), ("--exact",), ("--drop-below", 0.01)])
@pytest.mark.parametrize("target", ["item", "user"])
def test_answers_are_within_their_bounds(options: Sequence[object], target: str, place: Place) -> None:
    said = place.query("7", "7:3,2:0.5,7:1", "--type", "user", "--target", target, "--json", "-k", 6, *options)
    assert said.code == 0, said.err
    one, several = said.json["answers"]
    assert (one["id"], one["node_type"], several["id"]) == (7, "user", None)
    # A bound at .95 does not hold always: what a billionth more takes is about twice as wide.
    slack = 0.0 if "--exact" in options else 2 * max(one["error_bound"], several["error_bound"])
    check_answer(one, {7: 1.0}, target, 6, slack)
    check_answer(several, {7: 4.0, 2: 0.5}, target, 6, slack)
    assert said.json["error_kind"] == ("l1" if "--exact" in options else "confidence")
    if "--exact" in options:
        assert one["error_bound"] < 0.02


def test_without_rounds_the_bound_is_that_of_the_walks_of_the_node(place: Place, index: Index) -> None:
    (found,) = place.query("7", "--type", "user", "--json", "--rounds", 0).json["answers"]
    visits = index.table("ppr_walks")["visits"][index.nodes.index(("user", 7))].as_py()
    radius = walk_radius(np.array([max(visits) * RESTART / WALKS]), WALKS, 0.95)
    listed = 2.0**-22  # what listing scores as float32 adds
    assert found["error_bound"] == pytest.approx(float(radius[0]) + listed, rel=1e-6)


def test_more_rounds_come_closer_to_exact(place: Place) -> None:
    ids = [str(node) for kind, node in EXACT.nodes if kind == "user"]
    scores, errors = EXACT.scores(RESTART), []
    for rounds in (0, 1, 2):
        answers = place.query(*ids, "--type", "user", "-k", 5, "--json", "--rounds", rounds).json["answers"]
        errors.append(
            [
                sum((scores["user", int(a["query"])]["item", n["id"]] - n["score"]) ** 2 for n in a["neighbors"])
                for a in answers
            ]
        )
    # A sign test: of sixty fair coins 50 show heads less than once in ten million times.
    assert len(ids) >= 58
    assert sum(after < before for before, after in zip(errors[0], errors[2], strict=True)) >= 50


def batch_file(path: Path, columns: dict[str, Any]) -> Path:
    write = pacsv.write_csv if path.suffix == ".csv" else pq.write_table
    write(pa.table(columns), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_of_queries_has_the_answers_of_each_alone(suffix: str, place: Place, tmp_path: Path) -> None:
    columns = {
        "query": ["b", "a", "b", "c"],
        "node_id": [2, 7, 5, 3],
        "node_type": ["user", "user", "item", "item"],
        "weight": [1.0, 2.0, 0.5, 3.0],
    }
    out = tmp_path / "out.parquet"
    said = place.query("--batch", batch_file(tmp_path / f"in{suffix}", columns), "--out", out, "--json")
    assert said.code == 0, said.err
    assert said.json["queries"] == 3
    table = pq.read_table(out)
    assert table.column_names == [
        *("query", "node_type", "node_id", "neighbor_type", "neighbor_ids", "scores", "error_bound"),
    ]
    assert table["query"].to_pylist() == ["b", "a", "c"]
    assert table["node_type"].to_pylist() == [None, "user", "item"]
    assert json.loads(table.schema.metadata[b"graphquilt"])["walks"] == WALKS
    # Turned round, and each alone.
    turned = {name: values[::-1] for name, values in columns.items()}
    place.query("--batch", batch_file(tmp_path / f"turned{suffix}", turned), "--out", tmp_path / "turned.parquet")
    by_name = {row["query"]: row for row in table.to_pylist()}
    assert {row["query"]: row for row in pq.read_table(tmp_path / "turned.parquet").to_pylist()} == by_name
    (alone,) = place.query("7", "--type", "user", "--json").json["answers"]
    assert [one["id"] for one in alone["neighbors"]] == by_name["a"]["neighbor_ids"]
    assert [one["score"] for one in alone["neighbors"]] == by_name["a"]["scores"]


def test_a_batch_in_pieces_has_the_same_answers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [str(node) for kind, node in EXACT.nodes if kind == "item"]
    whole = place.query(*ids, "--type", "item", "--json").json
    monkeypatch.setattr(machine, "memory_bytes", lambda: 0)
    assert place.query(*ids, "--type", "item", "--json").json == whole


def batch_of_sets() -> Batch:
    """Of one node, of several, and one that comes twice."""
    users = [str(node) for kind, node in EXACT.nodes if kind == "user"]
    rng = np.random.default_rng(4)
    sets = [rng.choice(users, size, replace=False).tolist() for size in (1, 1, 3, 2, 1, 5, 1, 2, 1)]
    indptr = np.cumsum([0, *map(len, sets)])
    ids = [node for one in sets for node in one]
    return Batch(["twice", "twice", *"cdefghi"], indptr, ids, ["user"] * len(ids), rng.random(len(ids)) + 0.5)


@pytest.mark.parametrize("is_exact", [False, True])
def test_tasks_of_both_engines_give_the_same_answers(
    engine: Any, is_exact: bool, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, options = batch_of_sets(), QueryOptions(rounds=2, is_exact=is_exact)
    want = answer_batch(index.folder, batch, options)
    monkeypatch.setattr(ppr, "_SLOW_SETS", 2)
    monkeypatch.setattr(type(engine), "slots", 4)
    got = answer_batch(index.folder, batch, options, engine)
    assert got.equals(want, check_metadata=True)
    monkeypatch.setattr(type(engine), "spans_machines", True)
    monkeypatch.setattr(type(engine), "slots", 3)
    assert answer_batch(index.folder, batch, options, engine).equals(want, check_metadata=True)
    assert not list(index.folder.parents[3].glob("batch-*"))


@pytest.mark.slow
def test_workers_answer_what_one_process_does(place: Place, tmp_path: Path) -> None:
    ids = [str(node) for kind, node in EXACT.nodes if kind == "user"] * 3
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    for out, workers in ((one, 1), (two, 2)):
        assert place.query(*ids, "--type", "user", "--rounds", 2, "--out", out, "--workers", workers).code == 0
    assert one.read_bytes() == two.read_bytes()


def test_a_batch_goes_to_tasks_and_back() -> None:
    batch = batch_of_sets()
    for types in (batch.node_type, None):
        whole = Batch(batch.names, batch.indptr, batch.node_id, types, batch.weight)
        back = Batch.from_bytes(whole.to_bytes())
        assert (back.names, back.node_id, back.node_type) == (batch.names, batch.node_id, types)
        parts = [back.part(0, 4), back.part(4, 9)]
        assert [node for part in parts for node in part.node_id] == batch.node_id
        assert np.concatenate([part.weight for part in parts]).tolist() == batch.weight.tolist()
        assert parts[1].indptr.tolist() == (batch.indptr[4:] - batch.indptr[4]).tolist()


def test_a_query_fetches_the_row_groups_that_it_needs(
    bucket: str, object_store: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ppr_walks, "_GROUP_VISITS", 200_000)  # 66 nodes a row group
    monkeypatch.setattr(ppr_graph, "ROW_GROUP_NODES", 200)
    rng = np.random.default_rng(0)
    # Communities of their own, so that walks stay near.
    home = rng.integers(0, 30, 60_000)
    rows = {name: 200 * home + rng.integers(0, 200, home.size) for name in ("source", "target")}
    index = Place.of(tmp_path, rows, ppr={**PPR, "index_walks": 600}).made()
    published = index.folder.parents[3] / "published"
    for file in storage.files_below(published):
        storage.write(parse_location(f"{bucket}/tables/published") / file.name, (published / file.name).read_bytes())
    size = sum(file.stat().st_size for table in ("ppr_graph", "ppr_walks") for file in index.files(table))
    words = ("--type", "user", "--json", "--rounds", 1, "--workspace")
    here = call("query", "ppr", "777", *words, index.folder.parents[3])
    object_store.returned = 0
    there = call("query", "ppr", "777", *words, f"{bucket}/tables")
    assert there.json == here.json
    read = object_store.returned
    # Six ends of files, 64 KiB each, and of 91 row groups of walks those of one community.
    assert read < size / 4


def test_ids_that_are_left_out_are_in_no_answer(tmp_path: Path) -> None:
    own = weighted(tmp_path, publish={"exclude_ids": {"item": ["1", "4"], "user": ["3"]}})
    index = own.made()
    left_out = {("item", 1), ("item", 4), ("user", 3)}
    assert set(index.nodes) == set(EXACT.nodes) - left_out
    for contract, name in ((PPR_GRAPH_ROWS, "ppr_graph"), (PPR_WALK_ROWS, "ppr_walks")):
        contract.check_rows(index.table(name), name)
    rows = dict(zip(index.nodes, index.table("ppr_graph").to_pylist(), strict=True))
    for node, row in rows.items():
        assert [index.nodes[at] for at in row["neighbors"]] == sorted(EXACT.neighbors(node) - left_out)
        assert row["degree"] == len(EXACT.neighbors(node))
    scores = EXACT.scores(RESTART)
    ids = [str(node) for kind, node in index.nodes if kind == "user"][:20]
    for options in (("--rounds", 0), ("--rounds", 1), ("--rounds", 3), ("--exact",)):
        for answer in own.query(*ids, "--type", "user", "--json", *options).json["answers"]:
            assert len(answer["neighbors"]) == PPR["top_k"]
            for one in answer["neighbors"]:
                assert ("item", one["id"]) not in left_out
                # No mass is lost on its way through what is left out.
                want = scores["user", answer["id"]]["item", one["id"]]
                assert abs(one["score"] - want) <= 3 * answer["error_bound"]
    for options in ((), ("--exact",)):
        said = own.query("3", "--type", "user", *options)
        assert said.code == 4
        assert "left out by publish.exclude_ids" in said.err


def test_known_pairs_are_left_out_and_popular_nodes_held_back(place: Place) -> None:
    settings = ("--set", "ppr.exclude_known=true", "--set", "ppr.degree_correction=0.5", "--rounds", 3)
    (found,) = place.query("7", "--type", "user", "--json", *settings).json["answers"]
    neighbors = EXACT.neighbors(("user", 7))
    scores = EXACT.scores(RESTART)["user", 7]
    for one in found["neighbors"]:
        node = ("item", one["id"])
        assert node not in neighbors
        assert abs(one["score"] - scores[node] / len(EXACT.neighbors(node)) ** 0.5) <= 3 * found["error_bound"]


def test_nodes_without_edges_have_empty_lists_and_keep_their_share(tmp_path: Path) -> None:
    # Half of all pairs are held out, so that some nodes have none left.
    held = {"source": "holdout", "holdout_users": 1.0, "holdout_pairs": 0.5}
    own = Place.of(tmp_path, users_and_items(5, 300), evaluate=held, ppr={**PPR, "index_walks": 20_000})
    index = own.made()
    rows = zip(index.nodes, index.table("ppr_graph")["degree"].to_pylist(), strict=True)
    degree = {node: count for node, count in rows if node[0] == "item"}
    lonely = next(node for node, count in degree.items() if count == 0)
    joined = next(node for node, count in degree.items() if count > 0)
    said = own.query(lonely[1], joined[1], f"{lonely[1]}:3,{joined[1]}", "--type", "item", "--json", "-k", 4)
    assert said.code == 0, said.err
    nothing, whole, quarter = said.json["answers"]
    assert nothing["neighbors"] == []
    assert nothing["error_bound"] == 0
    for one, other in zip(whole["neighbors"], quarter["neighbors"], strict=True):
        assert one["id"] == other["id"]
        assert other["score"] == pytest.approx(one["score"] / 4, rel=1e-6)
    # Node numbers are no rows of the graph here.
    words = (joined[1], "--type", "item", "--json", "-k", 4, "--exact", "--set", "ppr.tolerance=1e-4")
    (exact,) = own.query(*words).json["answers"]
    scores = {one["id"]: one["score"] for one in exact["neighbors"]}
    assert len(scores) == 4
    assert len({one["id"] for one in whole["neighbors"]} & set(scores)) >= 3
    for one in whole["neighbors"]:
        assert one["id"] not in scores or abs(one["score"] - scores[one["id"]]) <= 3 * whole["error_bound"]


def test_a_graph_of_one_type_needs_no_types(tmp_path: Path) -> None:
    rows = friends(3)
    own = Place.of(tmp_path, rows, plain=True, partition={"parts": 3})
    own.made()
    (found,) = own.query("7", "--json", "-k", 5).json["answers"]
    scores = Exact.of(rows, ("person", "person")).scores(RESTART)["person", 7]
    assert len(found["neighbors"]) == 5
    for one in found["neighbors"]:
        assert abs(scores["person", one["id"]] - one["score"]) <= 3 * found["error_bound"]


REFUSED: list[tuple[Callable[[Path], Sequence[object]], int, str]] = [
    (lambda _: ("4711", "--type", "user"), 4, "no user with the id '4711'"),
    (lambda _: ("1", "4711", "4712", "--type", "user"), 4, "no user with the id '4711' and 1 more"),
    (lambda _: ("--type", "user"), 4, "the batch is empty"),
    (lambda _: ("1",), 2, "--type is missing; the release has nodes of type item, user"),
    (lambda _: ("1", "--type", "shop"), 2, "--type is 'shop'"),
    (lambda _: ("1", "--type", "user", "--target", "shop"), 2, "--target is 'shop'"),
    (lambda _: ("1:0", "--type", "user"), 4, "a weight that is not above 0"),
    (lambda _: ("1:inf", "--type", "user"), 4, "a weight that is not above 0 and finite"),
    (lambda _: ("1,,2", "--type", "user"), 2, "an empty id"),
    (lambda _: ("1", "--type", "user", "--rounds", "-1"), 2, "'-1' must be a whole number from 0 on"),
    (lambda _: ("1", "--type", "user", "--drop-below", "1"), 2, "'1' must be a chance"),
    (lambda _: ("1", "--type", "user", "--set", "ppr.restart=1.5"), 2, "it must be above 0 and below 1"),
    (lambda _: ("1", "--type", "user", "--set", "ppr.tolerance=0", "--exact"), 2, "it must be above 0"),
    (lambda f: ("1", "--type", "user", "--out", f / "no" / "out.parquet"), 2, "is no folder"),
    (lambda f: ("1", "--batch", f / "x.csv"), 2, "both ids and --batch"),
    (lambda f: ("--batch", f / "x.csv"), 4, "has no files"),
    (lambda f: ("--batch", batch_file(f / "e.csv", {"node_id": pa.array([], pa.string())})), 4, "has no rows"),
    (lambda f: ("--batch", batch_file(f / "n.csv", {"id": ["1"]})), 4, "has no column node_id"),
    (lambda f: ("--batch", batch_file(f / "w.csv", {"node_id": ["1"], "weight": [-2.0]})), 4, "has 1 weights"),
    (lambda f: ("--batch", batch_file(f / "t.csv", {"node_id": ["1"], "weight": ["x"]})), 4, "can't be read"),
    (lambda f: ("--batch", batch_file(f / "g.parquet", {"node_id": ["1", None]})), 4, "has 1 empty cells"),
    (
        lambda f: ("--batch", batch_file(f / "k.csv", {"node_id": ["1"], "node_type": ["shop"]})),
        4,
        "a node_type of the batch is 'shop'",
    ),
]


@pytest.mark.parametrize(("words", "code", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_bad_input_is_refused(
    words: Callable[[Path], Sequence[object]], code: int, message: str, place: Place, tmp_path: Path
) -> None:
    said = place.query(*words(tmp_path), "--json")
    assert said.code == code, said.err
    assert message in said.json["error"]


def test_another_index_than_asked_for_is_named(place: Place, tmp_path: Path) -> None:
    said = place.query("1", "--type", "user", "--set", "ppr.index_walks=77")
    assert said.code == 2
    assert "ppr.index_walks is 77 and the walk index of release" in said.err
    assert f"was made with {WALKS}" in said.err
    own = weighted(tmp_path, ppr={**PPR, "walk_index": False})
    said = own.query("1", "--type", "user")
    assert said.code == 4
    own.made()
    said = own.query("1", "--type", "user")
    assert said.code == 4
    assert "has no table 'ppr_graph'" in said.err
    assert "set ppr.walk_index = true in the config and run again; or give --exact" in said.err
    assert own.query("1", "--type", "user", "--exact").code == 0


def test_a_release_is_asked_by_its_name_too(place: Place, index: Index, tmp_path: Path) -> None:
    want = place.query("7", "--type", "user", "--json").json
    assert place.query("7", "--type", "user", "--json", "--release", index.folder.name).json == want
    said = place.query("7", "--type", "user", "--release", "2020-01-01-0")
    assert said.code == 4
    shutil.copytree(index.folder, tmp_path / "copy")
    assert call("query", "ppr", "7", "--type", "user", "--json", "--workspace", tmp_path / "copy").json["answers"]


def test_exact_answers_need_the_graph_of_the_run(tmp_path: Path) -> None:
    own = weighted(tmp_path)
    own.made()
    shutil.rmtree(own.workspace / "runs")
    assert own.query("7", "--type", "user").code == 0
    said = own.query("7", "--type", "user", "--exact")
    assert said.code == 1
    assert "was made from is gone" in said.err


def test_the_text_says_how_and_what(place: Place) -> None:
    said = place.query("7", "--type", "user", "-k", 2)
    assert f"restart {RESTART}, {WALKS} walks a node, 1 round;" in said.out
    assert len(said.out.splitlines()) == 4


def test_edges_weighed_by_degrees_are_walked_as_lists_walk_them(tmp_path: Path) -> None:
    own = weighted(tmp_path, ppr={**PPR, "edge_degree_power": 0.5})
    own.made()
    scores = EXACT.scores(RESTART, 0.5)["user", 7]
    for options in (("--exact",), ("--rounds", 2)):
        said = own.query("7", "--type", "user", "--target", "item", "--json", *options)
        (found,) = said.json["answers"]
        assert len(found["neighbors"]) == PPR["top_k"]
        for one in found["neighbors"]:
            assert abs(one["score"] - scores["item", one["id"]]) <= 2 * found["error_bound"]
    other = own.query("7", "--type", "user", "--set", "ppr.edge_degree_power=0.0")
    assert other.code == 2
    assert "was made with 0.5" in other.err


def test_answers_are_written_as_parquet_only(place: Place, tmp_path: Path) -> None:
    said = place.query("7", "--type", "user", "--out", tmp_path / "answers.csv")
    assert said.code == 2
    assert "must end in .parquet" in said.err
    assert not list(tmp_path.iterdir())


def test_walks_go_through_nodes_that_are_not_published(tmp_path: Path) -> None:
    """Brands of items are a second relation; the oracle has them as nodes like others."""
    clicks = users_and_items(5)
    items = sorted(set(clicks["target"].tolist()))
    files = [
        write_rows(tmp_path / "clicks.parquet", {**clicks, "weight": np.ones(len(clicks["source"]))}),
        write_rows(
            tmp_path / "brands.parquet",
            {"source": items, "target": [i % 7 for i in items], "weight": [2.0] * len(items)},
        ),
    ]
    names = [("interactions", "user", "item"), ("brands", "item", "brand")]
    relations = [
        {"name": name, "path": str(file), "weight": "weight", "source_type": source, "target_type": target}
        for file, (name, source, target) in zip(files, names, strict=True)
    ]
    config = config_for(Path(), ppr={**PPR, "index_walks": 3_000, "top_k": 5})
    del config["input"]
    chain = Chain(tmp_path / "chain")
    chain.publish({"relations": relations, **config})
    folder = chain.current_folder()
    assert folder is not None
    index = Index(folder)
    ends = [
        (("user", a), ("item", b), 1.0)
        for a, b in zip(*(clicks[n].tolist() for n in ("source", "target")), strict=True)
    ]
    ends += [(("item", i), ("brand", i % 7), 2.0) for i in items]
    nodes = sorted({node for one, other, _ in ends for node in (one, other)})
    weights = np.zeros((len(nodes), len(nodes)))
    for one, other, weight in ends:
        i, j = nodes.index(one), nodes.index(other)
        weights[i, j] = weights[j, i] = weights[i, j] + weight
    scores = Exact(nodes, weights).scores(RESTART)
    assert index.nodes == [node for node in nodes if node[0] != "brand"]
    users = [str(node) for kind, node in index.nodes if kind == "user"][:20]
    for options in (("--rounds", 0), ("--rounds", 2), ("--exact",)):
        said = call("query", "ppr", *users, "--type", "user", "--json", *options, "--workspace", chain.root)
        for answer in said.json["answers"]:
            assert len(answer["neighbors"]) == 5
            for one in answer["neighbors"]:
                want = scores["user", answer["id"]]["item", one["id"]]
                assert abs(one["score"] - want) <= 3 * answer["error_bound"]
