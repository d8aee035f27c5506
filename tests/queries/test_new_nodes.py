"""query embed --attributes: new nodes get the published rows of nodes without edges that are described alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from graphquilt import EmbeddingTable
from pipeline.release_tables import vector_space
from tests.stages.chains import config_for, to_toml, users_and_items, write_rows

ITEMS, COLD = 40, 12  # items from 40 on have attributes and no edges

EMBEDDINGS: dict[str, dict[str, Any]] = {
    "two_tower": {},
    "low_pass": {"form": "low_pass", "filter_degree": 4},
    "classic": {"form": "classic", "iteration_weights": [1.0, 1.0], "standardize_columns": True, "self_influence": 0.5},
    "border": {"form": "classic", "iteration_weights": [1.0, 1.0], "boundary": "border", "dim": 32},
    "border_standardised": {
        **{"form": "classic", "iteration_weights": [1.0, 1.0], "boundary": "border"},
        "standardize_columns": True,
    },
    "without_share": {"attribute_share": 0.0},
    "spectral": {"method": "spectral", "dim": 8},
    "mapped": {"method": "spectral", "dim": 8},
    "scaled": {"form": "low_pass", "filter_degree": 4},
}
COLD_START: dict[str, dict[str, Any]] = {
    "mapped": {"rows": "map", "ridge": 2.0},
    "scaled": {"rows": "scaled", "list_share": 0.1},
}


def attributes(nodes: int = ITEMS + COLD) -> pa.Table:
    """Numbers, categories and lists as text, some missing; every node has a brand or a price."""
    rng = np.random.default_rng(4)
    price = [None if node % 5 == 1 else float(rng.lognormal(3, 1)) for node in range(nodes)]
    brand = [None if node % 5 == 0 else f"b{rng.integers(4)}" for node in range(nodes)]
    tags = ["|".join(f"t{k}" for k in rng.integers(0, 6, node % 4)) or None for node in range(nodes)]
    return pa.table({"item": range(nodes), "price": price, "brand": brand, "tags": tags})


SECTION = {
    **{"id": "item", "numbers": ["price"], "categories": ["brand"], "lists": ["tags"], "separator": "|"},
    "weights": {"brand": 2.0},
}

Night = Callable[[str], Path]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Publish a table of a form, once, and return its workspace. Tests must not change it."""
    from tests.jobs.conftest import call

    made: dict[str, Path] = {}

    def publish(form: str) -> Path:
        if form not in made:
            folder = tmp_path_factory.mktemp(form)
            edges = write_rows(folder / "in.parquet", users_and_items(1))
            items = write_rows(folder / "items.parquet", attributes())
            users = write_rows(folder / "users.csv", {"id": range(60), "land": [f"l{n % 3}" for n in range(60)]})
            of_users = {"path": str(users), "categories": ["land"]}
            sections = {"item": {"path": str(items), **SECTION}, "user": of_users} if form != "bare" else {}
            more = {"cold_start": COLD_START[form]} if form in COLD_START else {}
            config = config_for(edges, parts=2, embedding=EMBEDDINGS.get(form, {}), attributes=sections, **more)
            (folder / "config.toml").write_text(to_toml(config))
            said = call("run", "--config", folder / "config.toml", "--workspace", folder / "work")
            assert said.code == 0, said.err
            made[form] = folder / "work"
        return made[form]

    return publish


def cold(prefix: str = "new-") -> pa.Table:
    """The items without edges, last first, under names that no table knows."""
    nodes = list(range(ITEMS + COLD - 1, ITEMS - 1, -1))
    return attributes().take(nodes).set_column(0, "item", pa.array([f"{prefix}{node}" for node in nodes]))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("form", ["two_tower", "low_pass", "classic", "border", "mapped", "scaled"])
def test_new_nodes_get_the_rows_of_nodes_without_edges(
    form: str, suffix: str, night: Night, tmp_path: Path, call: Callable[..., Any]
) -> None:
    file = write_rows(tmp_path / f"new.{suffix}", cold())
    asked = ("query", "embed", "--attributes", file, "--type", "item", "--workspace", night(form))
    said = call(*asked, "--json")
    assert said.code == 0, said.err
    with EmbeddingTable.open(night(form)) as table:
        wanted, is_known = table.lookup(range(ITEMS, ITEMS + COLD), "item")
        assert (said.json["release"], said.json["data_date"]) == (table.release, "1970-01-01")
    assert is_known.all()
    assert (np.linalg.norm(wanted, axis=1) > 0).all()
    found = {row["id"]: row["row"] for row in said.json["rows"]}
    assert sorted(found) == [f"new-{node}" for node in range(ITEMS, ITEMS + COLD)]
    for node, row in enumerate(wanted, ITEMS):
        np.testing.assert_array_equal(np.array(found[f"new-{node}"], np.float32), row)
    assert (said.json["node_type"], said.json["rejected"], said.json["known"]) == ("item", [], [])
    lines = [line.split("\t") for line in call(*asked).out.splitlines()]
    assert {name: np.array(row.split(), np.float32).tolist() for name, row in lines} == found


def test_rows_by_a_map_are_turned_with_the_table(tmp_path: Path, call: Callable[..., Any]) -> None:
    items = write_rows(tmp_path / "items.parquet", attributes())
    sections = {
        "embedding": EMBEDDINGS["mapped"],
        "cold_start": COLD_START["mapped"],
        "attributes": {"item": {"path": str(items), **SECTION}},
        "evaluate": {"source": "none"},
    }
    rows, work = users_and_items(1), tmp_path / "work"
    kept = {name: values[: len(values) - 20] for name, values in rows.items()}
    for date, some in (("2026-01-01", kept), ("2026-01-02", rows)):
        config = config_for(write_rows(tmp_path / "in.parquet", some), **sections)
        (tmp_path / "config.toml").write_text(to_toml(config))
        said = call("run", "--config", tmp_path / "config.toml", "--workspace", work, "--date", date, "--accept-drift")
        assert said.code == 0, said.err
    assert "baseline=2026-01-01" in said.err
    file = write_rows(tmp_path / "new.csv", cold())
    command = ("query", "embed", "--attributes", file, "--type", "item", "--workspace", work)
    rows_by_id = {row["id"]: row["row"] for row in call(*command, "--json").json["rows"]}
    with EmbeddingTable.open(work) as table:
        wanted, _ = table.lookup(range(ITEMS, ITEMS + COLD), "item")
    got = np.array([rows_by_id[f"new-{node}"] for node in range(ITEMS, ITEMS + COLD)], np.float32)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())
    shutil.rmtree(work / "runs")
    said = call(*command, "--json")
    assert said.code == 2
    assert "the map is not kept" in said.json["error"]


def test_a_part_of_the_nodes_has_the_same_rows(night: Night, tmp_path: Path, call: Callable[..., Any]) -> None:
    """Statistics are the table's: with the file's own, a single price would be its own mean."""
    asked = ("query", "embed", "--type", "item", "--workspace", night("two_tower"), "--json", "--attributes")
    whole = {row["id"]: row for row in call(*asked, write_rows(tmp_path / "all.csv", cold())).json["rows"]}
    (alone,) = call(*asked, write_rows(tmp_path / "one.csv", cold().slice(2, 1))).json["rows"]
    assert alone == whole[alone["id"]]


def test_rejected_rows_are_named_and_the_others_answered(
    night: Night, tmp_path: Path, call: Callable[..., Any]
) -> None:
    rows = cold().to_pylist()[:3]
    rows += [{**rows[0], "brand": "other"}, {**rows[1], "item": None}, {**rows[2]}, {**rows[1], "item": "7"}]
    rows += [{**rows[1], "item": "dear", "price": float("inf")}]
    file = write_rows(tmp_path / "new.parquet", pa.Table.from_pylist(rows))
    asked = ("query", "embed", "--attributes", file, "--type", "item", "--workspace", night("two_tower"))
    said = call(*asked, "--json").json
    conflict, usable = rows[0]["item"], [rows[1]["item"], rows[2]["item"]]
    assert [row["id"] for row in said["rows"]] == sorted(["7", *usable])
    assert [(row["row"], row["node_id"], row["reason"]) for row in said["rejected"]] == [
        (0, conflict, "same id with other values"),
        (3, conflict, "same id with other values"),
        (4, None, "null id"),
        (7, "dear", "non-finite number"),
    ]
    assert said["known"] == ["7"]  # an item of the table, which has edges
    lines = call(*asked).out.splitlines()
    assert lines[2:5] == [
        "# left out: new.parquet row 4: null id",
        "# left out: new.parquet row 7 (id dear): non-finite number",
        "# in the table already, with rows that know their edges too: 7",
    ]
    assert len(lines) == 5 + 3


def test_files_without_a_usable_row_exit_4(night: Night, tmp_path: Path, call: Callable[..., Any]) -> None:
    asked = ("query", "embed", "--type", "item", "--workspace", night("two_tower"), "--json", "--attributes")
    bad = cold().set_column(1, "price", pa.array(["dear"] * COLD))
    said = call(*asked, write_rows(tmp_path / "bad.csv", bad))
    assert said.code == 4
    assert "row 0 (id new-51): unreadable number" in said.json["error"]
    assert "and 2 more" in said.json["error"]
    said = call(*asked, write_rows(tmp_path / "none.parquet", cold().slice(0, 0)))
    assert (said.code, "have no rows; check --attributes" in said.json["error"]) == (4, True)
    said = call(*asked, write_rows(tmp_path / "short.csv", cold().drop_columns(["brand"])))
    assert (said.code, "no column 'brand' (attributes.item.categories.brand)" in said.json["error"]) == (4, True)
    said = call(*asked, tmp_path / "nowhere.csv")
    assert (said.code, "Check --attributes" in said.json["error"]) == (4, True)


@pytest.mark.parametrize(
    ("form", "node_type", "words"),
    [
        ("bare", "item", ["without attributes of type 'item'", "add [attributes.item]"]),
        ("spectral", "item", ["'spectral', which ignores attributes", "method = 'fastrp'"]),
        ("two_tower", "user", ["nodes of type 'user' have no rows from attributes", "form = 'classic'", "--neighbors"]),
        ("border_standardised", "item", ["standardised by is not kept", "standardize_columns = false"]),
        ("without_share", "item", ["attribute_share 0", "a share above 0"]),
        ("two_tower", "itme", ["--type is 'itme'", "item, user"]),
    ],
)
def test_what_has_no_rows_from_attributes_exits_2(
    form: str, node_type: str, words: list[str], night: Night, tmp_path: Path, call: Callable[..., Any]
) -> None:
    file = write_rows(tmp_path / "new.csv", cold())
    said = call("query", "embed", "--attributes", file, "--type", node_type, "--workspace", night(form))
    assert said.code == 2
    for word in words:
        assert word in said.err


def test_users_have_rows_from_attributes_where_they_start(
    night: Night, tmp_path: Path, call: Callable[..., Any]
) -> None:
    file = write_rows(tmp_path / "new.csv", {"id": ["anna", "ben", "cleo"], "land": ["l1", "l2", "l1"]})
    said = call("query", "embed", "--attributes", file, "--type", "user", "--workspace", night("classic"), "--json")
    anna, ben, cleo = (np.array(row["row"]) for row in said.json["rows"])
    assert (anna == cleo).all()
    assert (anna != ben).any()


def test_standardised_columns_need_the_runs_sums(night: Night, tmp_path: Path, call: Callable[..., Any]) -> None:
    file = write_rows(tmp_path / "new.csv", cold())
    for form, code in (("classic", 2), ("two_tower", 0)):
        shutil.copytree(night(form), tmp_path / form)
        shutil.rmtree(tmp_path / form / "runs")
        said = call("query", "embed", "--attributes", file, "--type", "item", "--workspace", tmp_path / form)
        assert said.code == code, said.err
        assert ("standardize_columns = false" in said.err) == (code == 2)


def test_rows_of_another_space_are_refused(
    night: Night, tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_rows(tmp_path / "new.csv", cold())
    asked = ("query", "embed", "--attributes", file, "--type", "item", "--workspace", night("two_tower"))
    monkeypatch.setattr(vector_space, "_version", lambda _: 999)
    said = call(*asked, "--json")
    assert said.code == 2
    assert "would lie in another space" in said.json["error"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("embed", "7", "--attributes", "x.csv"), "both an id and --attributes are given"),
        (("embed", "--neighbors", "7", "--attributes", "x.csv"), "both --neighbors and --attributes are given"),
        (("neighbors", "7", "--attributes=x.csv"), "there is no option --attributes"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...], sentence: str, night: Night, call: Callable[..., Any]) -> None:
    said = call("query", *arguments, "--type", "item", "--workspace", night("two_tower"), "--json")
    assert said.code == 2
    assert sentence in json.loads(said.out)["error"]
