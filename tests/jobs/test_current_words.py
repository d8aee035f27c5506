"""The last line of a run that leaves CURRENT where it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def last_line(said: Any) -> str:
    return str(said.err.rstrip("\n").rsplit("\n", 1)[-1])


def release_of(workspace: Path) -> str:
    return str(json.loads((workspace / "published/shop/CURRENT.json").read_text())["release"])


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["--date", "2024-03-01"], 0, "are older; --force-current moves it all the same"),
        (["--date", "2024-03-02"], 0, "readers have this release already"),
        (["--date", "2024-03-02", "--set", "publish.gates.min_rows=100000"], 3, "a gate refused this run's table"),
        (["--date", "2024-03-02", "--set", "input.max_rejected_share=0"], 4, "this run failed"),
        (["--date", "2400-01-01"], 2, "this run failed"),
    ],
)
def test_a_run_that_leaves_current_says_where_and_why(
    own_shop: Any, options: list[str], code: int, reason: str
) -> None:
    at = release_of(own_shop.workspace)
    for more in ([], ["--json"]):
        said = own_shop.call("run", "--config", own_shop.config, *options, *more)
        assert said.code == code, said.err
        assert last_line(said).startswith(f"CURRENT stays at {at} (data of 2024-03-02): ")
        assert last_line(said).endswith(reason)
    assert (said.json["current"]["release"], said.json["current"]["data_date"]) == (at, "2024-03-02")
    assert said.json["current_moved"] is False
    assert said.json["current_reason"].endswith(reason)
    assert release_of(own_shop.workspace) == at


def test_a_run_that_moves_current_has_nothing_to_add(own_shop: Any) -> None:
    said = own_shop.call("run", "--config", own_shop.config, "--date", "2024-03-01", "--force-current", "--json")
    assert said.code == 0, said.err
    assert "CURRENT" not in said.err
    assert (said.json["current_moved"], said.json["current_reason"]) == (True, None)
    assert said.json["current"]["release"] == said.json["release"]


def test_a_stage_before_publish_was_not_to_move_it(own_shop: Any) -> None:
    said = own_shop.call("index", "--config", own_shop.config, "--date", "2024-03-02", "--json")
    assert (said.code, said.json["current_moved"]) == (0, False)
    assert said.json["current_reason"] == "publish was not among the stages"
    assert "CURRENT" not in said.err


def test_before_the_first_release_it_points_nowhere(own_shop: Any, tmp_path: Path, call: Any) -> None:
    options = ("--config", own_shop.config, "--workspace", tmp_path / "other", "--date", "2400-01-01")
    assert last_line(call("run", *options)) == "CURRENT points nowhere yet: this run failed"
