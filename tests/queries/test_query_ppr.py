"""The walk index and its batch queries, through the command line, against exact PPR by dense algebra."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import jobs.session
from jobs.arguments import Options
from jobs.commands import machine
from pipeline.embedding.ppr import walk_index
from pipeline.embedding.ppr.walk_index import WalkPayload, WalkResult
from pipeline.kernels.ppr_walks import walk_radius
from pipeline.stages import ppr_index
from pipeline.tasks import Attempt
from schemas.tables import PPR_INDEX
from tests.jobs.conftest import Said, call
from tests.stages.chains import config_for, friends, to_toml, users_and_items, write_rows
from tests.stages.published_lists import Exact

ROWS = {**users_and_items(1), "weight": np.random.default_rng(1).integers(1, 9, 500) / 4}
EXACT = Exact.of(ROWS, ("user", "item"))
RESTART, WALKS = 0.2, 300
PPR = {"restart": RESTART, "index_walks": WALKS, "top_k": 8}
SURE = 1 - 1e-9  # a confidence so that a failure is not chance


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
    def words(self) -> tuple[object, ...]:
        return "--config", self.config, "--workspace", self.config.parent / "work"

    def index(self, *more: object) -> Said:
        return call("ppr-index", *self.words, "--json", *more)

    def query(self, *more: object) -> Said:
        return call("query", "ppr", *more, *self.words)

    def made(self, *more: object) -> dict[str, Any]:
        said = self.index(*more)
        assert said.code == 0, said.err
        return said.json


def weighted(folder: Path, **sections: Any) -> Place:
    return Place.of(folder, input={"path": str(folder / "in.parquet"), "weight": "weight"}, **sections)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With its index; tests don't change it."""
    made = weighted(tmp_path_factory.mktemp("place"))
    made.made()
    return made


def files_of(made: dict[str, Any]) -> list[Path]:
    return sorted(Path(made["path"]).glob("*.parquet"))


def rows_of(made: dict[str, Any]) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in files_of(made)])


def nodes_of(made: dict[str, Any]) -> list[tuple[str, Any]]:
    (folder,) = (Path(made["path"]).parents[1] / "node_index").iterdir()
    table = pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("*.parquet"))])
    return list(zip(table["node_type"].to_pylist(), table["node_id"].to_pylist(), strict=True))


def many_tasks(patch: pytest.MonkeyPatch) -> None:
    """Some eight tasks, a few row groups each."""
    patch.setattr(ppr_index, "_VISITS", 20_000)
    patch.setattr(ppr_index, "_VISITS_AN_ENTRY", 0)
    patch.setattr(walk_index, "_GROUP_VISITS", 4_000)
    patch.setattr(walk_index, "_VISITS_AT_ONCE", 9_000)


def test_rows_are_walks_from_every_node(place: Place) -> None:
    made = place.made()
    table = rows_of(made)
    PPR_INDEX.check_schema(table.schema, "here")
    PPR_INDEX.check_rows(table, "here")
    nodes, scores = nodes_of(made), EXACT.scores(RESTART)
    assert [nodes[ix] for ix in table["node_ix"].to_pylist()] == EXACT.nodes
    for row in table.to_pylist():
        want = np.array([scores[nodes[row["node_ix"]]][node] for node in nodes])
        got = np.zeros(len(nodes))
        got[row["visited_ix"]] = np.array(row["visits"]) * RESTART / WALKS
        assert (np.abs(got - want) <= walk_radius(got, WALKS, SURE)).all()
    assert made["visits"] == sum(sum(visits) for visits in table["visits"].to_pylist())
    assert made["bytes_per_node"] == pytest.approx(sum(f.stat().st_size for f in files_of(made)) / len(nodes), abs=0.01)
    assert (made["walks"], made["restart"], made["nodes"]) == (WALKS, RESTART, len(nodes))


def test_an_index_is_made_once_for_a_graph_and_its_parameters(place: Place) -> None:
    again = place.made()
    assert again["skipped"]
    # What sets no walk makes no other index.
    assert place.made("--set", "ppr.top_k=3")["path"] == again["path"]
    for other in ("ppr.index_walks=5", "ppr.restart=0.3", "embedding.seed=9"):
        assert place.made("--set", other)["path"] != again["path"]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_any_number_of_tasks_and_workers_gives_the_same_rows(
    workers: int, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = place.made()
    many_tasks(monkeypatch)
    made = weighted(tmp_path).made("--workers", workers)
    assert want["tasks"] == 1
    assert made["tasks"] > 5
    assert rows_of(made).equals(rows_of(want))


def test_engines_make_the_same_bytes(
    engine: Any, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = files_of(place.made())
    with monkeypatch.context() as patch:
        patch.setattr(jobs.session, "open_engine", lambda *_: contextlib.nullcontext(engine))
        made = weighted(tmp_path).made("--engine", engine.name)
    assert [file.read_bytes() for file in files_of(made)] == [file.read_bytes() for file in want]


def test_a_stopped_build_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many_tasks(monkeypatch)
    (tmp_path / "whole").mkdir()
    want = weighted(tmp_path / "whole").made()
    done: list[str] = []
    walk = ppr_index.walk_from_nodes

    def walk_until_killed(payload: WalkPayload, attempt: Attempt) -> WalkResult:
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        done.append(attempt.task.name)
        return walk(payload, attempt)

    stopped = weighted(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ppr_index, "walk_from_nodes", walk_until_killed)
        said = stopped.index()
    assert said.code == 143, said.err
    assert len(done) == 3
    said = stopped.query("1", "--type", "user")
    assert said.code == 1
    assert "ppr-index" in said.err

    def walk_the_rest(payload: WalkPayload, attempt: Attempt) -> WalkResult:
        assert attempt.task.name not in done
        return walk(payload, attempt)

    monkeypatch.setattr(ppr_index, "walk_from_nodes", walk_the_rest)
    made = stopped.made()
    assert [file.read_bytes() for file in files_of(made)] == [file.read_bytes() for file in files_of(want)]


def test_the_job_takes_the_options_of_a_job(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engines: list[str] = []
    open_engine = jobs.session.open_engine

    def open_locally(options: Options, *more: Any) -> Any:
        engines.append(options.engine)
        return open_engine(replace(options, engine="local"), *more)

    monkeypatch.setattr(jobs.session, "open_engine", open_locally)
    for more, code in ((), 0), (("--engine", "local"), 0), (("--set", "ppr.restart=1"), 2):
        monkeypatch.setattr("sys.argv", ["ppr_index.py", *map(str, place.words), "--json", *more])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("jobs.ppr_index", run_name="__main__")
        assert ended.value.code == code
        said = json.loads(capsys.readouterr().out)
        assert "restart" in said["error"] if code else said["skipped"]
    assert engines == ["spark", "local"]


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


def test_without_rounds_the_bound_is_that_of_the_walks_of_the_node(place: Place) -> None:
    made = place.made()
    nodes, rows = nodes_of(made), rows_of(made).to_pylist()
    (found,) = place.query("7", "--type", "user", "--json", "--rounds", 0).json["answers"]
    (visits,) = (row["visits"] for row in rows if nodes[row["node_ix"]] == ("user", 7))
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
    made = own.made()
    nodes, kept = nodes_of(made), set(rows_of(made)["node_ix"].to_pylist())
    lonely = next(node for ix, node in enumerate(nodes) if ix not in kept and node[0] == "item")
    joined = next(node for ix, node in enumerate(nodes) if ix in kept and node[0] == "item")
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
    (lambda _: ("1",), 2, "--type is missing; the graph has nodes of type item, user"),
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
    assert said.code == 1
    assert f"no walk index of restart {RESTART} with 77 walks" in said.err
    assert f"restart {RESTART} with {WALKS} walks" in said.err
    assert "Run 'graphquilt ppr-index'" in said.err
    none = weighted(tmp_path).query("1", "--type", "user")
    assert none.code == 2
    assert "graphquilt ppr-index" in none.err


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
    assert other.code == 1
    assert "there are others" in other.err
    assert "edge_degree_power 0.5" in other.err


def test_answers_are_written_as_parquet_only(place: Place, tmp_path: Path) -> None:
    said = place.query("7", "--type", "user", "--out", tmp_path / "answers.csv")
    assert said.code == 2
    assert "must end in .parquet" in said.err
    assert not list(tmp_path.iterdir())
