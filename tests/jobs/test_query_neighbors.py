"""query neighbors by lists and by vectors, and which question it is that is asked."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pytest

from graphquilt import EmbeddingTable, NeighborTable
from jobs.answers import Answer
from jobs.arguments import CommandParser, add_workspace
from jobs.cli import parser_of
from jobs.commands.query import QUERIES, split_kind
from pipeline.errors import ConfigError
from tests.graphquilt.published_neighbors import publish_lists
from tests.graphquilt.published_tables import random_nodes
from tests.jobs.conftest import Shop, write_shop
from tests.schemas.test_published_contracts import LISTS_METADATA

LISTS = {
    "item": {"emacs": ([], [], 0.0), "vim": (["emacs"], [0.5], 0.0)},
    "user": {"ann": (["vim", "emacs"], [0.5, 1e-5], 0.001)},
}


@pytest.fixture
def lists_only(tmp_path: Path) -> Path:
    publish_lists(tmp_path, LISTS, error_kind="l1")
    return tmp_path


def test_lists_answer_where_there_are_no_vectors(lists_only: Path, call: Any) -> None:
    asked = ("query", "neighbors", "ann", "--type", "user", "--workspace", lists_only)
    said = call(*asked, "--json")
    assert said.code == 0, said.err
    assert said.json == {
        "release": "2024-06-01-aaaaaaaaaaaa",
        "data_date": "2024-06-01",
        "by": "ppr",
        "id": "ann",
        "node_type": "user",
        "target_type": "item",
        "neighbors": [{"id": "vim", "score": 0.5}, {"id": "emacs", "score": float(np.float32(1e-5))}],
        "restart": 0.25,
        "error_bound": float(np.float32(0.001)),
        "error_kind": "l1",
        "top_k": 5,
    }
    assert call(*asked).out.splitlines() == [
        "# by ppr_neighbors: restart 0.25; error bound 0.001 (l1: the errors of all scores add up to no more)",
        "# 2 of 10: that is its whole list; top_k is 5",
        "0.5    vim",
        "1e-05  emacs",
    ]
    assert call(*asked, "-k", "1", "--by", "ppr", "--target", "item").out.splitlines()[1:] == ["0.5  vim"]


def test_an_empty_list_is_said(lists_only: Path, call: Any) -> None:
    said = call("query", "neighbors", "emacs", "--type", "item", "--workspace", lists_only)
    assert said.code == 0
    assert said.out.splitlines()[1:] == ["# its list is empty: no item to list was reached from this item"]


def test_an_unknown_node_exits_4_and_is_named(lists_only: Path, call: Any) -> None:
    said = call("query", "neighbors", "nobody", "--type", "user", "--workspace", lists_only, "--json")
    assert said.code == 4
    assert "has no user with this id, 'nobody'; it may be new since 2024-06-01" in said.json["error"]
    assert "ppr.sources" in said.json["error"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--target", "user"), "the lists of release 2024-06-01-aaaaaaaaaaaa are of nodes of type 'item'"),
        (("--type", "shop"), "--type is 'shop'; the table has nodes of type item, user"),
        (("-k", "0"), "'0' must be a whole number from 1 on"),
        (("--by", "degree"), "invalid choice: 'degree'"),
    ],
)
def test_wrong_usage_exits_2(lists_only: Path, call: Any, more: tuple[str, ...], sentence: str) -> None:
    said = call("query", "neighbors", "ann", "--type", "user", "--workspace", lists_only, *more, "--json")
    assert said.code == 2
    assert sentence in said.json["error"]


def test_vectors_that_are_not_there_exit_4(lists_only: Path, call: Any) -> None:
    for asked in (("neighbors", "ann", "--by", "embeddings"), ("embed", "ann")):
        said = call("query", *asked, "--type", "user", "--workspace", lists_only, "--json")
        assert said.code == 4
        assert "no table 'node_embeddings'; it has ['ppr_neighbors']" in said.json["error"]


def test_lists_that_are_not_there_exit_4_and_say_what_to_set(shop: Any) -> None:
    said = shop.call("query", "neighbors", "person-3", "--type", "user", "--name", "shop", "--by", "ppr", "--json")
    assert said.code == 4
    assert "no table 'ppr_neighbors'; it has ['node_embeddings']. set ppr.neighbors = true" in said.json["error"]


def test_a_release_with_both_answers_by_vectors_and_says_so(tmp_path: Path, call: Any) -> None:
    vectors = random_nodes(np.random.default_rng(0), {"user": 9}, as_text=True)
    publish_lists(tmp_path, {"user": {node: (["x"], [1.0], 0.0) for node in vectors["user"][0]}}, vectors=vectors)
    node = vectors["user"][0][4]
    with EmbeddingTable.open(tmp_path) as table:
        nearest = table.neighbors(node, "user", k=2)
    asked = ("query", "neighbors", node, "--workspace", tmp_path, "-k", "2")
    first, *rest = call(*asked).out.splitlines()
    assert first == "# by node_embeddings; --by lists reads ppr_neighbors"
    assert [line.split()[1] for line in rest] == [node_id for node_id, _ in nearest]
    assert call(*asked, "--json").json["by"] == "embeddings"
    assert call(*asked, "--by", "ppr").out.splitlines()[2:] == ["1  x"]


# Lists of a run


def exact_pagerank(events: pa.Table, restart: float) -> dict[str, dict[str, float]]:
    """Solve for the personalised PageRank of every person and thing, densely."""
    pairs = [(user, item) for user, item in zip(*events.to_pydict().values(), strict=True) if user and item]
    names = sorted({name for pair in pairs for name in pair})
    place = {name: at for at, name in enumerate(names)}
    weight = np.zeros((len(names), len(names)))
    for user, item in pairs:
        weight[place[user], place[item]] += 1
        weight[place[item], place[user]] += 1
    step = weight / weight.sum(axis=1, keepdims=True)
    ranks = restart * np.linalg.inv(np.eye(len(names)) - (1 - restart) * step)  # row: source
    return {name: dict(zip(names, ranks[at].tolist(), strict=True)) for name, at in place.items()}


def test_the_lists_of_a_run_are_within_their_bounds(tmp_path: Path, call: Any) -> None:
    made = Shop(write_shop(tmp_path), tmp_path / "work")
    sets = ("ppr.neighbors=true", "ppr.top_k=20", "ppr.restart=0.3", "ppr.tolerance=0.001", "embedding.method=none")
    ran = made.call("run", "--config", made.config, *(word for one in sets for word in ("--set", one)))
    assert ran.code == 0, ran.err
    read = pacsv.read_csv(tmp_path / "events.csv")
    sound = read.filter(pc.and_(pc.starts_with(read["at"], "2024-03-0"), pc.not_equal(read["item_id"], "")))
    exact = exact_pagerank(sound.select(["user_id", "item_id"]), 0.3)

    with NeighborTable.open(made.workspace, name="shop") as table:
        assert sorted(table.metadata) == LISTS_METADATA
        assert len(table) == len(exact)
        for node_type in table.node_types:
            ids = table.to_arrow(node_type, ["node_id"])["node_id"].to_pylist()
            lists = table.lookup(ids, node_type, missing="raise")
            for at, node_id in enumerate(ids):
                ranks, found, bound = exact[node_id], dict(lists.of(at)), lists.error_bound[at]
                things = [name for name in ranks if name.startswith("thing-") and name != node_id]
                assert len(found) == min(20, len(things))
                assert set(found) <= set(things)
                # float32 rounds each of 20 scores below 1 by 6e-8 at most.
                assert sum(abs(score - ranks[name]) for name, score in found.items()) <= bound + 2e-6
                left_out = max((ranks[name] for name in things if name not in found), default=0.0)
                assert min(found.values()) >= left_out - bound - 2e-6
    said = made.call("query", "neighbors", "person-3", "--type", "user", "--name", "shop", "-k", "3", "--json").json
    best = sorted((name for name in exact["person-3"] if name.startswith("thing-")), key=exact["person-3"].get)[:-4:-1]
    assert [row["id"] for row in said["neighbors"]] == best
    assert said["error_bound"] > 0


# Which question it is


def parse_query(arguments: list[str]) -> tuple[str, Any]:
    kind, rest = split_kind(arguments)
    return kind, parser_of(f"query {kind}", QUERIES[kind]).parse_args(rest)


@pytest.mark.parametrize(
    "arguments",
    [
        ["neighbors", "7", "--workspace", "w", "--name", "ppr", "--type", "embed"],
        ["--workspace", "w", "neighbors", "--type", "embed", "7", "--name", "ppr"],
        ["--json", "neighbors", "--name=ppr", "7", "--workspace", "w", "--type", "embed"],
        ["--name=ppr", "neighbors", "7", "--workspace", "w", "--type", "embed"],
        ["--name", "ppr", "--type", "embed", "--workspace", "w", "neighbors", "7"],
    ],
)
def test_options_may_stand_anywhere_and_hold_any_word(arguments: list[str]) -> None:
    kind, options = parse_query(arguments)
    found = (kind, options.id, options.workspace, options.name, options.type)
    assert found == ("neighbors", "7", "w", "ppr", "embed")


def test_an_id_may_be_the_name_of_a_question() -> None:
    kind, options = parse_query(["embed", "neighbors", "--workspace", "w"])
    assert (kind, options.id) == ("embed", "neighbors")
    kind, options = parse_query(["embed", "--workspace", "w", "neighbors", "--type", "user"])
    assert (kind, options.id) == ("embed", "neighbors")


def test_no_question_and_a_wrong_one_say_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"arguments are required: question"):
        parse_query(["--workspace", "w"])
    with pytest.raises(ConfigError, match=r"invalid choice: 'nearest' \(choose from '?neighbors"):
        parse_query(["nearest", "7", "--workspace", "w"])


@pytest.mark.parametrize("asked", [["--help"], ["neighbors", "--help"], ["embed", "-h"]])
def test_help_has_examples(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_query(asked)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    names = list(QUERIES) if asked == ["--help"] else asked[:1]
    for name in names:
        for part in (QUERIES[name].__doc__ or "").rstrip().split("\n\nexamples\n"):
            assert part in text


def test_a_question_is_its_modules(monkeypatch: pytest.MonkeyPatch, call: Any) -> None:
    module: Any = ModuleType("jobs.commands.query_ppr")

    def add_options(parser: CommandParser) -> None:
        add_workspace(parser)
        parser.add_argument("ids", nargs="*")

    module.add_options = add_options
    module.answer = lambda options: Answer({"ids": options.ids, "workspace": options.workspace}, "")
    monkeypatch.setattr("jobs.commands.query.QUERIES", {**QUERIES, "ppr": module})
    said = call("query", "ppr", "7", "8", "--workspace", "w", "--json")
    assert said.json == {"ids": ["7", "8"], "workspace": "w"}
    said = call("query", "ppr", "7", "--workspace", "w", "--name", "shop", "--json")
    assert (said.code, "there is no option --name" in said.json["error"]) == (2, True)
