"""``graphquilt evaluate`` on published lists: figures recomputed from what is stored, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs.conftest import call
from tests.metrics.test_evaluation import pairs_of, split
from tests.metrics.test_list_evaluation import K, by_loops
from tests.stages.chains import Chain, config_for, users_and_items, with_changes, write_rows
from tests.stages.published_lists import ListsOf


class Made:
    """A release with both tables and one with lists alone, of text ids; and the pairs they were made from."""

    def __init__(self, folder: Path) -> None:
        rows = users_and_items(11, 900)
        rows = {
            "source": np.char.add("u", rows["source"].astype(str)),
            "target": np.char.add("i", rows["target"].astype(str)),
        }
        train, test = split(rows, 0.2)
        test = {"source": [*test["source"], "u3", "stranger"], "target": [*test["target"], "nothing", "i1"]}
        self.train, self.test = pairs_of(train), pairs_of(test)
        self.train_file = write_rows(folder / "train.csv", train)
        self.test_file = write_rows(folder / "test.csv", test)
        ppr = {"neighbors": True, "top_k": 12, "restart": 0.5}
        evaluate = {"source": "file", "path": str(self.test_file), "k": [K]}
        both = config_for(self.train_file, evaluate=evaluate, ppr=ppr, publish={"name": "both"})
        self.chain = Chain(folder)
        for config in (both, with_changes(both, embedding={"method": "none"}, publish={"name": "alone"})):
            ended = self.chain.run(config)
            assert ended.code == 0, ended.error
        self.folder = self.chain.current_folder("alone")
        assert self.folder is not None
        table = pa.concat_tables(pq.read_table(file) for file in sorted((self.folder / "ppr_neighbors").iterdir()))
        self.lists = ListsOf(self.folder, table)

    def report(self, *arguments: object) -> dict[str, Any]:
        said = call("evaluate", *arguments, "--json")
        assert said.code == 0, said.err
        return said.json


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("lists"))


def test_a_release_of_lists_alone_is_scored_on_the_pairs_of_its_run(made: Made) -> None:
    got = made.report("--workspace", made.chain.root, "--name", "alone", "-k", f"3,{K}")
    want = by_loops(made.lists, made.train, made.test)
    short = want.pop("short")
    lists = got["lists"]
    assert {name: lists[name] for name in want} == pytest.approx(want, rel=1e-12)
    assert lists["shorter_than"][str(K)] == short
    known = {item for _, item in made.train}
    unknown = sum(item not in known for _, item in made.test)
    assert (lists["without_list"], lists["unknown_items"]) == (1, unknown)
    for name in want:
        low, high = lists["intervals"][name]
        assert low < lists[name] < high
    assert sum(one["members"] for one in lists["by_activity"]) == lists["users"]
    assert (lists["about"]["restart"], lists["about"]["lists"]) == (0.5, made.lists.table.num_rows)
    assert (got["test_pairs"], got["train_pairs"]) == (str(made.test_file), "edges of the release's run")
    assert "ranking" not in got


def test_lists_beside_vectors_are_a_section_of_the_report(made: Made) -> None:
    got = made.report("--workspace", made.chain.root, "--name", "both", "-k", K, "--metrics", "ranking,lists")
    want = by_loops(made.lists, made.train, made.test)
    assert got["lists"][f"recall@{K}"] == pytest.approx(want[f"recall@{K}"], rel=1e-12)
    assert got["ranking"][f"recall@{K}"] != got["lists"][f"recall@{K}"]
    only = made.report("--workspace", made.chain.root, "--name", "both", "-k", K, "--metrics", "lists")
    assert only["lists"] == got["lists"]
    assert "ranking" not in only


def test_lists_elsewhere_need_their_pairs_alone(made: Made, tmp_path: Path) -> None:
    assert made.folder is not None
    shutil.copytree(made.folder / "ppr_neighbors", tmp_path / "lists")
    files = ("--pairs", made.test_file, "--source", "source", "--target", "target", "-k", K)
    got = made.report("--table", tmp_path / "lists", *files, "--train", made.train_file)
    assert got["lists"][f"ndcg@{K}"] == pytest.approx(
        by_loops(made.lists, made.train, made.test)[f"ndcg@{K}"], rel=1e-12
    )
    without = made.report("--table", tmp_path / "lists", *files)
    assert without["lists"][f"ndcg@{K}"] == pytest.approx(
        by_loops(made.lists, set(), made.test)[f"ndcg@{K}"], rel=1e-12
    )
    assert any("nothing is left out" in note for note in without["notes"])


def test_the_last_lines_of_a_run_show_what_lists_are_worth(made: Made) -> None:
    said = call("run", "--config", made.chain.folder / "config.toml", "--workspace", made.chain.root)
    assert said.code == 0, said.err
    want = by_loops(made.lists, made.train, made.test)
    for part in (f"lists    recall@{K} {want[f'recall@{K}']:.4f}", "precision@12 of exact"):
        assert part in said.err


def test_a_sample_says_so_and_the_text_is_for_people(made: Made) -> None:
    given = ("evaluate", "--workspace", made.chain.root, "--name", "alone", "-k", K)
    said = call(*given, "--sample", 20)
    assert said.code == 0, said.err
    text = said.out + said.err
    for part in ("lists of ppr_neighbors: 20 sources (20 of", "chosen by hash", "restart 0.5", f"fewer than {K} left:"):
        assert part in text, text


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--metrics", "spectrum"), 2, "needs vectors"),
        (("--source", "target", "--target", "source", "--pairs", "{test}"), 4, "no list for any source"),
        (("--config", "{config}"), 2, "pairs lead from user to item"),
    ],
)
def test_what_can_not_be_used_is_refused(
    options: tuple[str, ...], code: int, sentence: str, made: Made, tmp_path: Path
) -> None:
    assert made.folder is not None
    (file,) = (made.folder / "ppr_neighbors").iterdir()
    table = pq.read_table(file)
    place = table.schema.get_field_index("neighbor_type")
    if "--config" in options:  # lists of users, and no word of what edges join
        table = table.set_column(place, table.schema.field(place), pa.array(["user"] * table.num_rows))
    pq.write_table(table.replace_schema_metadata(None) if "--config" in options else table, tmp_path / "lists.parquet")
    config = made.chain.folder / "config.toml"
    given = [one.format(test=made.test_file, config=config) for one in options]
    said = call("evaluate", "--table", tmp_path / "lists.parquet", *given, "-k", K)
    assert said.code == code, said.err
    assert sentence in said.err


def test_pairs_are_needed(made: Made, tmp_path: Path) -> None:
    assert made.folder is not None
    said = call("evaluate", "--table", made.folder / "ppr_neighbors")
    assert said.code == 2
    assert "give --pairs" in said.err
