"""tune on lists by a filter: what is measured is what a run makes, and what is written runs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.tuning.filters as filter_tuning
from tests.jobs.conftest import call
from tests.jobs.test_tune_lists import CONFIG, plant, tune


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("planted")
    plant(folder)
    text = CONFIG.replace("[ppr]", "[lists]").replace("neighbors = true  # lists alone", 'filter = "plateau"')
    (folder / "config.toml").write_text(text)
    said = tune(folder, "--json")
    assert said.code == 0, said.err
    return folder, said.json


def test_one_within_noise_of_the_best_of_all_users_is_chosen_and_runs(tuned: tuple[Path, Any]) -> None:
    folder, found = tuned
    chosen = found["chosen"]
    whole = [look["best"] for look in found["looks"] if look["best"]["is_whole"]]
    best = max(one["value"] for one in whole)
    assert chosen["value"] in [one["value"] for one in whole]
    assert best - chosen["value"] <= 0.01 * best
    assert chosen["figures"]["recall@20"] > 0.9  # a group has 16 items, of which 20 places hold all that are not known
    text = (folder / "tuned.toml").read_text()
    written = tomllib.loads(text)["lists"]
    assert {name: written[name] for name in ("beta", "rank", "alpha")} == {
        name: chosen[name] for name in ("beta", "rank", "alpha")
    }
    assert written["filter"] == ("linear" if chosen["phi"] == 1 else "plateau")
    assert written.get("phi", 1.0) == chosen["phi"]
    (folder / "runs.toml").write_text(text.replace('"file"', '"none"'))
    ran = call("run", "--config", folder / "runs.toml", "--workspace", folder / "work")
    assert ran.code == 0, ran.err


def test_the_text_is_for_people(tuned: tuple[Path, Any]) -> None:
    said = tune(tuned[0])
    assert said.code == 0
    for part in ("without V", "chosen  phi ", "beta", "rank", "alpha"):
        assert part in said.err + said.out
    assert "exclude_known" not in said.err + said.out  # it is on


def test_lists_of_one_type_are_tuned_too(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    pairs = {(a, b) for a in range(60) for b in draw.choice(60, 9) if a % 3 == b % 3 and a < b}
    lines = ["source,target", *(f"{a},{b}" for a, b in sorted(pairs))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    (tmp_path / "config.toml").write_text(
        '[input]\npath = "pairs.csv"\nsource_type = "person"\ntarget_type = "person"\n'
        '[embedding]\nmethod = "none"\n[lists]\nfilter = "linear"\nrank = 8\n'
    )
    said = tune(tmp_path, "--json")
    assert said.code == 0, said.err
    assert said.json["chosen"]["value"] > 0.1


def test_no_list_holds_what_is_known(tuned: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    make = filter_tuning.make_filtered

    def watched(*arguments: Any) -> Any:
        lists = make(*arguments)
        seen.append((*arguments, lists))
        return lists

    monkeypatch.setattr(filter_tuning, "make_filtered", watched)
    assert tune(tuned[0]).code == 0
    walks, _, _, sources, variants, lists = seen[0]
    known = {
        int(source): {int(walks.node_ix[at]) for at in walks.graph.indices[slice(*walks.graph.indptr[row : row + 2])]}
        for source, row in zip(sources, walks.rows_of(sources), strict=True)
    }
    assert lists.shape[:2] == (len(variants), sources.size)
    for of_variant in lists:
        for source, listed in zip(sources.tolist(), of_variant.tolist(), strict=True):
            assert not known[source].intersection(listed)
