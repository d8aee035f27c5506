from __future__ import annotations

import json
import os
import signal
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pytest

import pipeline.tuning.embedder as tuning_embedder
import pipeline.tuning.interests as tuning_interests
import pipeline.tuning.vectors as tuning
from graphquilt import EmbeddingTable, InterestTable
from pipeline.embedding.methods import CONFIG, EMBEDDING
from pipeline.tuning.search import Candidate

TEXT = """\
# a planted graph
[input]
path = "pairs.csv"
source = "user_id"
target = "item_id"
{more}

[embedding]
dim = 16  # as given
powers = 3

[evaluate]
source = "file"
path = "{test}"

[publish]
name = "planted"
"""


def preset(name: str, changes: Mapping[str, Any]) -> Candidate:
    return Candidate(name, "a preset", changes, width=changes["dim"])


@pytest.fixture
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three candidates a width and a refinement, whatever is known of the graph."""

    def presets(facts: Any, dims: Sequence[int]) -> list[Candidate]:
        fixed = {"method": "fastrp", "form": "classic" if facts.is_plain else "two_tower"}
        return [preset(f"seed {n}", {**fixed, "dim": d, "sparsity": n}) for d in dims for n in (1, 3)]

    monkeypatch.setattr(tuning, "candidates", presets)
    monkeypatch.setattr(tuning, "refinements", lambda best, _: [preset("finer", {**best.changes, "sparsity": 4.0})])
    monkeypatch.setattr(tuning, "advice", lambda *_: ["keep it"])


@dataclass(frozen=True)
class Planted:
    """A folder with a graph of groups, its config, and a way to tune on it."""

    folder: Path
    call: Callable[..., Any]

    @property
    def out(self) -> Path:
        return self.folder / "tuned.toml"

    def tune(self, *more: object, budget: float = 1e6) -> Any:
        given = ("--config", self.folder / "config.toml", "--workspace", self.folder / "work", "--out", self.out)
        return self.call("tune", *given, "--budget", budget, *more)

    def run(self, config: Path) -> Any:
        return self.call("run", "--config", config, "--workspace", self.folder / "work", "--json")


def plant(folder: Path, call: Callable[..., Any], more: str = "", test: str = "/nowhere/test.csv") -> Planted:
    """Write 60 users and 40 items in 4 groups; users like their group's items nine times in ten."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(60), 12)
    item = np.where(rng.random(user.size) < 0.9, user % 4 + 4 * rng.integers(0, 10, user.size), rng.integers(0, 40))
    day = rng.integers(1, 29, user.size)
    table = {
        "user_id": [f"u{n}" for n in user],
        "item_id": [f"{'u' if 'one' in more else 'i'}{n}" for n in item],
        "at": [f"2024-03-{n:02d}T00:00:00" for n in day],
        "same": ["2024-03-01"] * user.size,
    }
    rows = pa.table(table)
    pacsv.write_csv(rows.filter(pc.not_equal(rows["user_id"], rows["item_id"])), folder / "pairs.csv")
    (folder / "config.toml").write_text(TEXT.format(more=more, test=test))
    return Planted(folder, call)


@pytest.fixture
def planted(tmp_path: Path, call: Callable[..., Any]) -> Planted:
    return plant(tmp_path, call)


def test_what_is_written_runs_and_says_how_it_was_chosen(planted: Planted, few_candidates: None) -> None:
    said = planted.tune("--json")
    assert said.code == 0, said.err
    found = said.json
    assert [one["name"] for one in found["candidates"]] == ["seed 1", "as given", "seed 3", "finer"]
    assert {one["dim"] for one in found["curve"]} == {8, 16, 32}
    assert found["split"]["by"] == "user"
    assert found["split"]["units"] == 60
    assert found["advice"] == ["keep it"]
    chosen = found["chosen"]
    # Items of the own group: 10 of 40, most of them known; by chance a twentieth of the ideal or so.
    assert chosen["figures"]["recall@20"] > 0.9
    text = planted.out.read_text()
    assert text.startswith("# Made by: graphquilt tune\n")
    for part in (
        "seed 0",
        "1970-01-01",
        f"{chosen['figures']['ndcg@20']:.4f}",
        "20% of the pairs",
        "# a planted graph",
    ):
        assert part in text
    given = tomllib.loads((planted.folder / "config.toml").read_text())
    tuned = tomllib.loads(text)
    assert {**tuned, "embedding": None} == {**given, "embedding": None}
    assert tuned["embedding"] == dict(chosen["changes"])
    (planted.folder / "runs.toml").write_text(text.replace('"file"', '"none"'))
    ran = planted.run(planted.folder / "runs.toml")
    assert ran.code == 0, ran.err
    # Ingest and index are those that tuning made.
    assert [stage["stage"] for stage in ran.json["stages"] if stage["skipped"]] == ["ingest", "index"]


def test_for_people_there_is_a_table_with_the_choice_marked(planted: Planted, few_candidates: None) -> None:
    said = planted.tune("--dims", "8,32", "--curve")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[1].split() == ["candidate", "dim", "recall@20", "ndcg@20", "error", "CPU", "s", "table", "MB"]
    stop = lines.index("at other widths:")
    assert sum(line.startswith("  *") for line in lines[2:stop]) == 1
    assert sum(line.startswith("  +") for line in lines[2:stop]) == 1
    assert any(line.startswith("chosen  ") for line in lines)
    assert "advice  keep it" in lines
    assert "graphquilt run --config" in lines[-1]


def test_the_same_again_gives_the_same(planted: Planted, few_candidates: None) -> None:
    first = planted.tune("--json").json
    text = planted.out.read_text()
    second = planted.tune("--json").json  # over its own file

    def figures(found: dict[str, Any]) -> list[Any]:
        return [(one["name"], one["value"], one["error"]) for one in found["candidates"]]

    assert figures(first) == figures(second)
    assert planted.out.read_text() == text
    other = planted.tune("--json", "--seed", 1).json
    assert figures(other) != figures(first)


def test_attributes_count_and_items_without_pairs_get_rows_that_find_them(
    tmp_path: Path, call: Callable[..., Any], few_candidates: None
) -> None:
    section = '[attributes.item]\npath = "items.csv"\ncategories = ["group"]'
    planted = plant(tmp_path, call, section)
    items = pa.table({"id": [f"i{n}" for n in range(60)], "group": [f"g{n % 4}" for n in range(60)]})
    pacsv.write_csv(items, tmp_path / "items.csv")
    said = planted.tune("--json", "--cold-loss", "0.1")
    assert said.code == 0, said.err
    assert {"attributes 0", "attributes 0.2"} <= {one["name"].split(", ")[-1] for one in said.json["candidates"]}
    about, tuned = said.json["cold_start"], tomllib.loads(planted.out.read_text())
    keys = {"rows": about["rows"], "list_share": float(f"{about['list_share']:.3g}"), "ridge": about["ridge"]}
    assert tuned["cold_start"] == {name: value for name, value in keys.items() if value is not None}
    assert about["recall"] > 0
    assert 0 <= about["loss"] <= 0.1
    assert any(line.startswith("cold    rows ") for line in planted.tune("--cold-loss", "0.1").out.splitlines())
    planted.out.write_text(planted.out.read_text().replace('"file"', '"none"'))
    ran = planted.run(planted.out)
    assert ran.code == 0, ran.err
    folder = Path(ran.json["path"])
    with EmbeddingTable.open(folder) as table:
        rows, is_known = table.lookup([f"i{n}" for n in range(40, 60)], "item")
        users, _ = table.lookup([f"u{n}" for n in range(4)], "user")
    assert is_known.all()
    # New items are best for users of their group.
    assert ((rows @ users.T).argmax(axis=1) == np.arange(20) % 4).all()


def test_interests_are_taken_where_they_find_more_and_a_run_publishes_them(
    tmp_path: Path, call: Callable[..., Any], few_candidates: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_interests, "LENGTHS", (20, 40))
    monkeypatch.setattr(tuning_interests, "CLUSTERS", (20,))
    planted = plant(tmp_path, call)
    config = tmp_path / "config.toml"
    text = config.read_text().replace('"file"', '"none"')
    # Users of one group each need one query.
    config.write_text(text + "\n[interests]\nclusters = 10\n")
    assert planted.tune("--json").json["interests"]["keys"]["clusters"] == 0
    assert tomllib.loads(planted.out.read_text())["interests"] == {"clusters": 0}
    assert any(line.startswith("queries one, ") for line in planted.tune().out.splitlines())
    # Three of twenty groups each.
    config.write_text(text)
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(200), 12)
    liked = np.stack([rng.choice(20, 3, replace=False) for _ in range(200)])
    item = liked[user, rng.integers(0, 3, user.size)] + 20 * rng.integers(0, 12, user.size)
    pacsv.write_csv(pa.table({"user_id": user, "item_id": item}), tmp_path / "pairs.csv")
    found = planted.tune("--json").json["interests"]
    keys = {"clusters": 20, "own_share": found["keys"]["own_share"]}
    tuned = tomllib.loads(planted.out.read_text())["interests"]
    assert {"own_share": 0.5, **tuned} == keys
    gains = [found["recall"][name] - found["recall_alone"][name] for name in ("recall@20", "recall@40")]
    assert sum(gains) / 2 > 2 * found["error"] > 0
    assert found["sources"] == 200
    words = "several by interests (clusters 20,"
    assert any(line.startswith(f"queries {words}") for line in planted.tune().out.splitlines())
    assert f"# queries: {words}" in planted.out.read_text()
    ran = planted.run(planted.out)
    assert ran.code == 0, ran.err
    with InterestTable.open(Path(ran.json["path"])) as table:
        assert table.lookup([0], "user").indptr[-1] > 1


def test_a_test_file_is_not_opened(planted: Planted, few_candidates: None, tmp_path: Path) -> None:
    # The config names a file that is not there; here is one that waits for ever when it is opened.
    os.mkfifo(tmp_path / "test.csv")
    (tmp_path / "config.toml").write_text(TEXT.format(more="", test=tmp_path / "test.csv"))
    said = planted.tune()
    assert said.code == 0, said.err


def test_held_out_pairs_are_none_to_tune_on(planted: Planted, few_candidates: None) -> None:
    config = planted.folder / "config.toml"
    config.write_text(config.read_text().replace('"file"', '"holdout"\nholdout_users = 0.5'))
    found = planted.tune("--json").json
    pairs = {tuple(line.split(",")[:2]) for line in (planted.folder / "pairs.csv").read_text().splitlines()[1:]}
    assert 0 < found["split"]["all_pairs"] < len(pairs)


def test_files_of_others_are_not_overwritten(planted: Planted, few_candidates: None) -> None:
    planted.out.write_text("# mine\n")
    said = planted.tune()
    assert said.code == 2
    assert "--force" in said.err
    assert planted.out.read_text() == "# mine\n"
    assert not (planted.folder / "work").exists()  # said before anything was computed
    assert planted.tune("--force").code == 0
    assert planted.out.read_text().startswith("# Made by")
    said = planted.tune("--out", planted.folder / "config.toml", "--force")
    assert said.code == 2
    assert "config itself" in said.err


@pytest.mark.parametrize(
    ("more", "sentence", "code"),
    [
        (("--by-time",), "input.timestamp", 2),
        (("--use", "classifier"), "--labels", 2),
        (("--labels", "/nowhere/l.csv"), "no such file", 2),
        (("--dims", "64,0"), "widths", 2),
        (("--budget", "-1"), "number", 2),
        (("--out", "/nowhere/x.toml"), "no folder", 2),
        (("--set", "embedding.dmi=1"), "dim", 2),
    ],
)
def test_wrong_options_are_refused(planted: Planted, more: tuple[str, ...], sentence: str, code: int) -> None:
    said = planted.tune(*more)
    assert said.code == code, said.err
    assert sentence in said.err
    assert not planted.out.exists()


def test_a_tiny_budget_tries_one_and_says_so(planted: Planted, few_candidates: None) -> None:
    found = planted.tune("--json", budget=0).json
    assert len(found["candidates"]) == 1
    assert any("one candidate only" in remark for remark in found["remarks"])
    assert found["skipped"]
    assert planted.out.exists()


def test_times_cut_the_future_off(tmp_path: Path, call: Callable[..., Any], few_candidates: None) -> None:
    planted = plant(tmp_path, call, more='timestamp = "at"')
    found = planted.tune("--json").json
    assert found["split"]["by"] == "time"
    assert "last seen from 2024-03-2" in found["split"]["sentence"]
    # Sixty users are few: earlier moments are asked as well. A table is one table all the same.
    assert found["split"]["splits"] == 3
    assert found["split"]["units"] > 60
    assert found["chosen"]["table_bytes"] <= 100 * 16 * 4
    assert planted.tune("--json", "--no-by-time").json["split"]["by"] == "user"


def test_times_that_are_all_one_day_are_told(tmp_path: Path, call: Callable[..., Any], few_candidates: None) -> None:
    planted = plant(tmp_path, call, more='timestamp = "same"')
    found = planted.tune("--json").json
    assert found["split"]["by"] == "user"
    assert any("not split by time" in remark for remark in found["remarks"])
    said = planted.tune("--by-time")
    assert said.code == 4
    assert "leave the option out" in said.err


def test_keys_that_say_how_a_run_is_done_are_no_parameters(planted: Planted, few_candidates: None) -> None:
    assert set(EMBEDDING.model_fields) >= tuning.RUN_KEYS
    config = planted.folder / "config.toml"
    config.write_text(config.read_text().replace("powers = 3", 'powers = 3\nseed = 5\nboundary_dtype = "int8"'))
    assert planted.tune("--json").code == 0
    tuned = tomllib.loads(planted.out.read_text())["embedding"]
    assert (tuned["seed"], tuned["boundary_dtype"]) == (5, "int8")


def test_a_sample_is_told(planted: Planted, few_candidates: None) -> None:
    found = planted.tune("--json", "--max-pairs", "200", "--sample", "9").json
    assert found["split"]["pairs"] < found["split"]["all_pairs"]
    assert found["split"]["units"] == 9 < found["split"]["population"]
    assert any("chosen by hash" in remark for remark in found["remarks"])


def test_labels_decide(tmp_path: Path, call: Callable[..., Any], few_candidates: None) -> None:
    planted = plant(tmp_path, call, more='source_type = "one"\ntarget_type = "one"')
    (tmp_path / "labels.csv").write_text("node,label\n" + "".join(f"u{n},group {n % 4}\n" for n in range(60)))
    found = planted.tune("--json", "--labels", tmp_path / "labels.csv").json
    assert found["decides"] == "micro-F1"
    assert found["use"] == "classifier"
    # By chance a quarter; thirty nodes a shuffle: five standard deviations above it.
    assert found["chosen"]["figures"]["micro-F1"] > 0.25 + 5 * (0.25 * 0.75 / 30) ** 0.5


def test_users_with_few_pairs_can_t_be_split(tmp_path: Path, call: Callable[..., Any], few_candidates: None) -> None:
    planted = plant(tmp_path, call)
    pairs = {"user_id": [n % 20 for n in range(60)], "item_id": list(range(60))}
    pacsv.write_csv(pa.table(pairs), tmp_path / "pairs.csv")
    said = planted.tune()
    assert said.code == 4
    assert "5 pairs" in said.err
    assert not planted.out.exists()


def test_sigterm_leaves_no_file(planted: Planted, few_candidates: None, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.out.write_text("# Made by: graphquilt tune\n")

    def stopped(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tuning_embedder, "embed_in_memory", stopped)
    said = planted.tune("--json")
    assert said.code == 143
    assert json.loads(said.out)["exit_code"] == 143
    assert planted.out.read_text() == "# Made by: graphquilt tune\n"
    assert [path.name for path in planted.folder.glob("*tuned*")] == ["tuned.toml"]


@pytest.mark.parametrize("more", ["", 'source_type = "one"\ntarget_type = "one"'], ids=["two types", "plain"])
def test_every_real_candidate_runs_on_a_small_graph(more: str, tmp_path: Path, call: Callable[..., Any]) -> None:
    planted = plant(tmp_path, call, more=more)
    found = planted.tune("--json", "--dims", "4,8").json
    assert len(found["candidates"]) > 4
    assert found["refused"] == []
    CONFIG.from_toml(planted.out)
