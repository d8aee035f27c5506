"""query, rollback and clean: what they do to a published table, and what they refuse."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphquilt import EmbeddingTable
from graphquilt.__main__ import main


def test_neighbors_are_the_tables_own(shop: Any) -> None:
    where = ["--name", "shop", "--type", "user"]
    said = shop.call("query", "neighbors", "person-3", *where, "--target", "item", "-k", "4", "--json")
    assert said.code == 0, said.err
    with EmbeddingTable.open(shop.workspace, name="shop") as table:
        ids, items = table.to_numpy("item")
        (user,), _ = table.lookup(["person-3"], "user")
    scores = items.astype(np.float64) @ user
    best = np.argsort(-scores, kind="stable")[:4]
    found = said.json["neighbors"]
    assert [row["id"] for row in found] == [ids[n] for n in best]
    np.testing.assert_allclose([row["score"] for row in found], scores[best], rtol=1e-5)
    text = shop.call("query", "neighbors", "person-3", *where, "-k", "2").out
    assert len(text.splitlines()) == 2
    assert "person-3\n" not in text


def test_an_unknown_node_exits_4_and_an_unknown_type_2(shop: Any) -> None:
    where = ["--name", "shop", "--json"]
    said = shop.call("query", "neighbors", "nobody", "--type", "user", *where)
    assert said.code == 4
    assert "has no user with this id" in said.json["error"]
    said = shop.call("query", "neighbors", "person-3", *where)
    assert said.code == 2
    assert said.json["error"] == "--type is missing; the table has nodes of type item, user"
    said = shop.call("query", "neighbors", "person-3", "--type", "user", "--target", "itme", *where)
    assert said.code == 2
    said = shop.call("query", "neighbors", "person-3", "--type", "user", "--json")
    assert said.code == 4
    assert "nothing is published as 'default'" in said.json["error"]


def test_rollback_moves_readers_and_back(own_shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (r["release"] for r in own_shop.call("inspect", "--json").json["published"]["shop"]["releases"])
    said = own_shop.call("rollback", "--name", "shop", "--reason", "half of the\nitems", "--json")
    assert said.code == 0, said.err
    assert (said.json["from"], said.json["to"], said.json["withdrawn"]) == (second, first, [second])
    with EmbeddingTable.open(own_shop.workspace, name="shop") as table:
        assert table.release == first
    marks = [r["withdrawn"] for r in own_shop.call("inspect", "--json").json["published"]["shop"]["releases"]]
    assert (marks[0], marks[1]["reason"]) == (None, "half of the items")
    line = f"withdrawn: {second}: at {marks[1]['at']} (reason: half of the items)"
    assert line in own_shop.call("inspect").out
    path = own_shop.workspace / "published" / "shop" / "releases" / second
    assert main(["current", "--workspace", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["withdrawn"] == marks[1]
    assert main(["check", "--workspace", str(path)]) == 3
    assert f"rolled back from release {second} at {marks[1]['at']}" in capsys.readouterr().out
    assert main(["check", "--workspace", str(own_shop.workspace), "--name", "shop"]) == 0
    assert own_shop.call("rollback", "--name", "shop").code == 2  # nothing before the first
    assert own_shop.call("rollback", "--name", "shop", "--to", second).code == 0
    assert own_shop.call("inspect", "--json").json["published"]["shop"]["releases"][1]["withdrawn"] is None
    said = own_shop.call("rollback", "--name", "shop", "--to", "2020-01-01-abc")
    assert said.code == 2
    assert "has no release '2020-01-01-abc'" in said.err


def test_a_wrong_name_makes_nothing(own_shop: Any) -> None:
    for command in ("rollback", "clean"):
        said = own_shop.call(command, "--name", "typo")
        assert said.code == 2
        assert "has no published name 'typo': there are shop" in said.err
    assert [path.name for path in (own_shop.workspace / "published").iterdir()] == ["shop"]


def test_clean_says_first_and_then_does(own_shop: Any) -> None:
    asked = ["--name", "shop", "--keep-releases", "1", "--keep-runs", "1", "--min-age-hours", "0", "--json"]
    before = sorted(own_shop.workspace.rglob("*.parquet"))
    dry = own_shop.call("clean", *asked, "--dry-run").json
    assert sorted(own_shop.workspace.rglob("*.parquet")) == before
    done = own_shop.call("clean", *asked).json
    assert [item["path"] for item in dry["removed"]] == [item["path"] for item in done["removed"]]
    assert {item["kind"] for item in done["removed"]} == {"run"}
    assert [item["why"][:15] for item in done["kept"] if item["kind"] == "release"] == ["current", "the baseline of"]
    assert done["freed_bytes"] == dry["freed_bytes"] > 0
    left = own_shop.call("inspect", "--json").json
    assert len(left["published"]["shop"]["releases"]) == 2


def test_clean_takes_its_rules_from_the_config(own_shop: Any) -> None:
    text = own_shop.config.read_text() + "keep_releases = 1\nkeep_runs = 1\nmin_age_hours = 0\n"
    Path(own_shop.config).write_text(text)
    kept = own_shop.call("clean", "--config", own_shop.config, "--keep-releases", "2", "--dry-run", "--json").json
    assert [item["kind"] for item in kept["removed"]] == ["run"]
    assert kept["name"] == "shop"


def test_purge_leaves_the_current_release_only(own_shop: Any) -> None:
    done = own_shop.call("clean", "--name", "shop", "--purge", "--min-age-hours", "0", "--json").json
    assert sorted(item["kind"] for item in done["removed"]) == ["release", "run", "run"]
    assert [item["why"] for item in done["kept"]] == ["current"]
