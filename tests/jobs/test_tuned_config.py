from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from jobs.commands.config_text import defaults_text, toml_text
from jobs.commands.tuned_config import tuned_text, with_values
from pipeline.embedding.methods import CONFIG

COMMENTED = """\
# our shop
[input]
path = "in.parquet"  # nightly

[embedding]
# dim was 64 once
dim = 128  # "as wide" as we dare
# powers = 1                      # two_tower: steps
# rank =                          # spectral: eigenpairs
form = "two_tower"  # 'a # in a string'
item_norm_power = 0.3

[publish]
name = "shop"
"""

TEXTS = {
    "commented": COMMENTED,
    "no section": '[input]\npath = "x"\n',
    "section last, without a new line": '[input]\npath = "x"\n[embedding]\ndim = 4',
    "inline table": 'embedding = {dim = 4, powers = 2}\n[input]\npath = "x"\n',
    "dotted keys": 'input.path = "x"\nembedding.dim = 4\n',
    "values over lines": '[input]\npath = "x"\n[embedding]\niteration_weights = [\n  1.0,\n  2.0,\n]\ndim = 4\n',
    "a header inside a string": '[input]\npath = """\n[embedding]\ndim = 7\n"""\n[embedding]\ndim = 4\n',
    "nested tables": '[input]\npath = "x"\nevent = "e"\n[input.event_weights]\n"a b" = 1.0\n[embedding]\ndim = 4\n',
    "defaults": '[input]\npath = "x"\n' + defaults_text().partition("[partition]")[2].join(["[partition]", ""]),
    "as init writes it": toml_text({"input": {"path": "x"}}),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_written_holds_the_new_values_and_everything_else(name: str) -> None:
    text = TEXTS[name]
    values: dict[str, Any] = {"dim": 32, "method": "fastrp", "form": "classic", "iteration_weights": (0.0, 1.0)}
    dropped = frozenset({"powers", "item_norm_power"})
    found = tomllib.loads(with_values(text, "embedding", values, dropped))
    want = tomllib.loads(text)
    kept = {key: value for key, value in want.get("embedding", {}).items() if key not in dropped}
    assert found == {**want, "embedding": {**kept, **values, "iteration_weights": [0.0, 1.0]}}


def test_comments_and_order_stay() -> None:
    values = {"dim": 32, "powers": 2, "rank": 40, "form": "classic", "method": "fastrp"}
    lines = with_values(COMMENTED, "embedding", values, frozenset({"item_norm_power"})).splitlines()
    before = COMMENTED.splitlines()
    assert lines[:6] == before[:6]  # a remark that names a key is no default
    assert lines[6].split("  ")[0] == "dim = 32"
    assert lines[6].endswith('# "as wide" as we dare')
    assert lines[7].startswith("powers = 2 ")
    assert lines[7].endswith("# two_tower: steps")
    assert lines[8].startswith("rank = 40 ")
    assert lines[9].startswith('form = "classic" ')
    assert lines[9].endswith("# 'a # in a string'")
    assert lines[10] == "# item_norm_power = 0.3"
    assert lines[11] == 'method = "fastrp"'
    assert lines[12:] == before[11:]


def test_options_over_the_file_become_part_of_it(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(COMMENTED)
    text = tuned_text(
        config,
        ["publish.name=other", "input.window_days = 7", "publish.gates.min_rows=9"],
        tmp_path / "t.toml",
        {"embedding": {"dim": 8}, "input": {}},
        frozenset(),
    )
    found = tomllib.loads(text)
    assert found["publish"] == {"name": "other", "gates": {"min_rows": 9}}
    assert found["input"]["window_days"] == 7
    assert found["embedding"]["dim"] == 8


def test_a_relative_path_leads_to_the_same_file_from_another_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "in.parquet").touch()
    config = tmp_path / "a" / "c.toml"
    config.write_text(COMMENTED + '[attributes.user]\npath = "in.parquet"\n')
    here = tomllib.loads(tuned_text(config, [], tmp_path / "a" / "t.toml", {}, frozenset()))
    there = tomllib.loads(tuned_text(config, [], tmp_path / "b" / "t.toml", {}, frozenset()))
    assert here["input"]["path"] == "in.parquet"
    for table in (there["input"], there["attributes"]["user"]):
        assert (tmp_path / "b" / table["path"]).resolve() == tmp_path / "a" / "in.parquet"


def test_what_is_tuned_again_has_one_header(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("# Made by: graphquilt tune\n# chosen: x\n\n" + COMMENTED)
    assert tuned_text(config, [], tmp_path / "t.toml", {}, frozenset()) == COMMENTED
    CONFIG.model_validate(tomllib.loads(COMMENTED))


def test_keys_of_several_sections_change_and_none_leaves_one_out(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[input]\npath = "x"\nweight = "plays"  # counts\ntimestamp = "at"\n[embedding]\ndim = 4\n')
    changes = {"embedding": {"dim": 8}, "input": {"weight": None, "half_life_days": 14.0}}
    text = tuned_text(config, [], tmp_path / "t.toml", changes, frozenset())
    found = tomllib.loads(text)
    assert found == {
        "input": {"path": "x", "timestamp": "at", "half_life_days": 14.0},
        "embedding": {"dim": 8},
    }
    assert '# weight = "plays"  # counts' in text


def test_keys_of_the_main_relation_go_to_the_first_where_there_is_no_input(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    clicks = '[[relations]]\nname = "clicks"\npath = "x"\ntimestamp = "t"\n'
    file.write_text(clicks + '[[relations]]\nname = "likes"\npath = "y"\n')
    text = tuned_text(file, (), tmp_path / "tuned.toml", {"input": {"half_life_days": 7.0}}, frozenset())
    first, second = tomllib.loads(text)["relations"]
    assert (first["half_life_days"], second) == (7.0, {"name": "likes", "path": "y"})
    config = CONFIG.from_values(tomllib.loads(text), (), "text")
    assert (config.input.section, config.relations[0].section) == ("relations.clicks", "relations.likes")
