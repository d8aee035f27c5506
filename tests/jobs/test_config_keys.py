import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config.model import key_reference
from pipeline.embedding.methods import CONFIG


def test_the_defaults_are_the_models_own(call: Callable[..., Any]) -> None:
    said = call("config", "--defaults")
    raw = tomllib.loads(said.out)
    raw["input"]["path"] = "x"
    assert CONFIG.model_validate(raw) == CONFIG.model_validate({"input": {"path": "x"}})
    assert raw["publish"]["gates"] == {}  # written, a gate that can't be judged would refuse
    keys = call("config", "--defaults", "--json").json["keys"]
    assert [tuple(key.values()) for key in keys] == key_reference(CONFIG)


def test_a_file_is_checked(shop: Any, tmp_path: Path, call: Callable[..., Any]) -> None:
    good = call("config", "--check", shop.config, "--json")
    assert good.code == 0
    assert good.json["config"]["embedding"]["dim"] == 16
    (tmp_path / "bad.toml").write_text('[input]\npath = "x"\nsorce = "a"\n')
    bad = call("config", "--check", tmp_path / "bad.toml", "--json")
    assert bad.code == 2
    assert "did you mean 'source'?" in bad.json["error"]
    over = call("config", "--check", shop.config, "--set", "embedding.dim=0")
    assert over.code == 2
