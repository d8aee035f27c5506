from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

import pipeline.tuning.lists as list_tuning
from pipeline.errors import InputError
from pipeline.tuning.lists import walk_of
from pipeline.tuning.search import Candidate
from tests.jobs.conftest import call

CONFIG = """\
# planted
[input]
path = "pairs.csv"
source = "user_id"
target = "item_id"

[embedding]
method = "none"

[ppr]
neighbors = true  # lists alone
top_k = 15

[evaluate]
source = "file"
path = "/nowhere/test.csv"

[publish]
name = "planted"
"""


def plant(folder: Path) -> set[tuple[int, int]]:
    """80 users in 4 groups with 12 of their group's 16 items each; 2 items that every third user has, whoever it is.

    Who has none of the popular items never will: uncorrected, they stand first in their lists and are wrong.
    """
    rng = np.random.default_rng(0)
    pairs = {(u, u % 4 + 4 * int(i)) for u in range(80) for i in rng.permutation(16)[:12]}
    pairs |= {(u, 64 + hub) for u in range(0, 80, 3) for hub in range(2)}
    rows = sorted(pairs)
    table = {"user_id": [f"u{u:02d}" for u, _ in rows], "item_id": [f"i{i:02d}" for _, i in rows]}
    pacsv.write_csv(pa.table(table), folder / "pairs.csv")
    (folder / "config.toml").write_text(CONFIG)
    return pairs


def tune(folder: Path, *more: object) -> Any:
    given = ("--config", folder / "config.toml", "--workspace", folder / "work", "--out", folder / "tuned.toml")
    return call("tune", *given, "--budget", 1e6, *more)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("planted")
    plant(folder)
    said = tune(folder, "--json")
    assert said.code == 0, said.err
    return folder, said.json


def test_a_correction_takes_popular_items_away(tuned: tuple[Path, Any]) -> None:
    _, found = tuned
    chosen = found["chosen"]
    walks = [look for look in found["looks"] if look["best"]["is_whole"]]
    assert max(one["best"]["value"] for one in walks) == chosen["value"]
    of_walk = next(one for one in walks if chosen in one["trials"])
    plain = next(trial for trial in of_walk["trials"] if trial["degree_correction"] == 0)
    assert chosen["degree_correction"] > 0
    assert chosen["value"] > plain["value"] + 0.02
    assert chosen["figures"]["recall@20"] > 0.9  # a group has 16 items, of which 20 places hold all that are not known


def test_what_is_written_runs_and_says_how_it_was_chosen(tuned: tuple[Path, Any]) -> None:
    folder, found = tuned
    text = (folder / "tuned.toml").read_text()
    assert text.startswith("# Made by: graphquilt tune\n")
    for part in ("20% of the pairs", "# planted", "# lists alone", f"{found['chosen']['figures']['ndcg@20']:.4f}"):
        assert part in text
    given, written = (tomllib.loads((folder / name).read_text()) for name in ("config.toml", "tuned.toml"))
    assert {**written, "ppr": None} == {**given, "ppr": None}
    assert written["ppr"] == {**given["ppr"], **found["changes"]["ppr"]}
    names = ("restart", "degree_correction", "edge_degree_power")
    assert {name: written["ppr"][name] for name in names} == {name: found["chosen"][name] for name in names}
    assert any("exclude_known" in sentence for sentence in found["advice"])
    (folder / "runs.toml").write_text(text.replace('"file"', '"none"'))
    ran = call("run", "--config", folder / "runs.toml", "--workspace", folder / "work")
    assert ran.code == 0, ran.err
    assert "ppr_neighbors" in ran.err


def test_the_text_is_for_people(tuned: tuple[Path, Any]) -> None:
    said = tune(tuned[0])
    assert said.code == 0
    for part in ("without correction", "chosen  restart", "advice  lists of 15 hold what a source is joined to"):
        assert part in said.err + said.out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--dims", "16,32"), "--dims is of vectors"),
        (("--what", "vectors"), "embedding.method 'none'"),
        (("--set", "ppr.target_type=user"), "hidden pairs say nothing of such lists"),
    ],
)
def test_what_does_not_fit_is_refused(options: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    plant(tmp_path)
    said = tune(tmp_path, *options)
    assert said.code == 2
    assert sentence in said.err
    assert not (tmp_path / "tuned.toml").exists()


def dense_scores(pairs: np.ndarray, n: int, walk: Candidate) -> np.ndarray:
    adjacency = np.zeros((n, n))
    adjacency[pairs[:, 0], pairs[:, 1]] = adjacency[pairs[:, 1], pairs[:, 0]] = 1
    degree = np.maximum(adjacency.sum(axis=1), 1)
    restart, power = walk.changes["restart"], walk.changes["edge_degree_power"]
    weights = adjacency * np.outer(degree, degree) ** power
    step = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    return restart * np.linalg.inv(np.eye(n) - (1 - restart) * step)


@pytest.mark.parametrize("walk", [walk_of(0.15), walk_of(0.5, 0.3), walk_of(0.85)])
def test_scores_are_those_of_dense_algebra(walk: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path)
    arguments: list[tuple[Any, ...]] = []

    def keep(*received: Any) -> None:
        arguments.append(received)
        raise InputError("enough")

    with monkeypatch.context() as patch:
        patch.setattr(list_tuning, "ListSubject", keep)
        assert tune(tmp_path).code == 4
    graph, (weights,), (ranking,), _ = arguments[0]
    monkeypatch.setattr(list_tuning, "CORRECTIONS", (0.0, 0.3, 0.8))
    subject = list_tuning.ListSubject(graph, [weights], [ranking], 0.0)
    stays = weights.stays
    pairs = np.stack([graph.src[stays], graph.dst[stays]], axis=1)
    hidden = np.stack([graph.src[~stays], graph.dst[~stays]], axis=1)
    exact = dense_scores(pairs, graph.nodes, walk)
    degree = np.bincount(pairs.ravel(), minlength=graph.nodes).astype(float)
    monkeypatch.setattr(list_tuning, "tolerance_at", lambda _: 2e-3)
    scores = subject.build(walk).scores(ranking.units)
    for variant, score in zip(subject.variants, scores, strict=True):
        want = []
        for source in ranking.sources.tolist():
            value = exact[source] * np.maximum(degree, 1) ** -variant["degree_correction"]
            known = set(pairs[pairs[:, 0] == source, 1].tolist())
            may = [node for node in range(*graph.target) if degree[node] and node not in known]
            best = sorted(may, key=lambda node: -value[node])[:20]
            answers = set(hidden[hidden[:, 0] == source, 1].tolist())
            gains = sum(1 / math.log2(place + 2) for place, node in enumerate(best) if node in answers)
            want.append(gains / sum(1 / math.log2(place + 2) for place in range(min(20, len(answers)))))
        # Scores differ by the tolerance, so that some neighbours in the ranking change places.
        assert score.value == pytest.approx(np.mean(want), abs=0.01)
        assert np.mean(np.abs(score.deciding - want) < 1e-9) > 0.8


def test_edges_of_one_type_are_hidden_and_asked_for_from_both_ends(tmp_path: Path) -> None:
    plant(tmp_path)
    config = CONFIG.replace('target = "item_id"', 'target = "item_id"\nsource_type = "node"\ntarget_type = "node"')
    (tmp_path / "config.toml").write_text(config)
    said = tune(tmp_path, "--json")
    assert said.code == 0, said.err
    assert said.json["split"]["by"] == "edge"
    assert said.json["split"]["unit"] == "nodes"
    assert said.json["chosen"]["figures"]["recall@20"] > 0.5


def test_few_users_are_asked_at_several_moments(tmp_path: Path) -> None:
    pairs = sorted(plant(tmp_path))
    day = np.random.default_rng(1).integers(1, 29, len(pairs))
    columns = {
        "user_id": [f"u{u:02d}" for u, _ in pairs],
        "item_id": [f"i{i:02d}" for _, i in pairs],
        "at": [f"2024-03-{n:02d}T00:00:00" for n in day],
    }
    pacsv.write_csv(pa.table(columns), tmp_path / "pairs.csv")
    (tmp_path / "config.toml").write_text(CONFIG.replace('target = "item_id"', 'target = "item_id"\ntimestamp = "at"'))
    said = tune(tmp_path, "--json")
    assert said.code == 0, said.err
    split = said.json["split"]
    assert (split["by"], split["splits"]) == ("time", 3)
    assert 80 < split["units"] <= 240
    assert all(trial["units"] <= split["units"] for look in said.json["looks"] for trial in look["trials"])
    assert said.json["chosen"]["units"] == split["units"]


def test_a_half_life_is_found_where_users_have_moved_on(tmp_path: Path) -> None:
    # Until the 20th users like one group of items, from then on the next one.
    rng = np.random.default_rng(2)
    rows = [
        (user, (user + (day >= 20)) % 4 + 4 * int(rng.integers(16)), day)
        for user in range(80)
        for day in (*rng.integers(1, 20, 14).tolist(), *rng.integers(20, 31, 10).tolist())
    ]
    columns = {
        "user_id": [f"u{user:02d}" for user, _, _ in rows],
        "item_id": [f"i{item:02d}" for _, item, _ in rows],
        "at": [f"2024-03-{day:02d}T00:00:00" for _, _, day in rows],
    }
    pacsv.write_csv(pa.table(columns), tmp_path / "pairs.csv")
    (tmp_path / "config.toml").write_text(CONFIG.replace('target = "item_id"', 'target = "item_id"\ntimestamp = "at"'))
    said = tune(tmp_path, "--json")
    assert said.code == 0, said.err
    days = said.json["chosen"]["input"]["input.half_life_days"]
    assert 0 < days < 10
    assert tomllib.loads((tmp_path / "tuned.toml").read_text())["input"]["half_life_days"] == days
    plain = [look["best"]["value"] for look in said.json["looks"] if not look["best"]["input"]]
    assert said.json["chosen"]["value"] > max(plain) + 0.05
