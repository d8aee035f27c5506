"""Vectors of personalised PageRank on the command line: what is refused, what a plan says, a row made alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.embedding.methods import CONFIG


def refusal(config: Path, call: Callable[..., Any], *given: str) -> str:
    overrides = [word for one in given for word in ("--set", one)]
    said = call("run", "--config", config, "--workspace", config.parent / "none", "--json", *overrides)
    assert said.code == 2, said.out
    return str(said.json["error"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["embedding.form=hashed"], "it is a form of ppr; set method = 'ppr', or leave form out (fastrp takes one of"),
        (["embedding.method=ppr", "embedding.form=classic"], "it is a form of fastrp; set method = 'fastrp'"),
        (
            ["embedding.method=spectral", "embedding.form=factorised"],
            "or leave form out (spectral takes one of ['log_transition'])",
        ),
        (
            ["embedding.method=ppr", "embedding.form=hashed", "embedding.boundary=halo"],
            "hashed walks through the whole graph",
        ),
        (
            ["embedding.method=ppr", "embedding.form=hashed", "embedding.shards=2"],
            "hashed makes all columns of a row at once",
        ),
        (
            ["embedding.method=ppr", "embedding.form=factorised", "embedding.boundary=drop"],
            "factorised takes what the whole graph says of its spectrum",
        ),
        (
            ["embedding.method=ppr", "embedding.form=factorised", "embedding.shards=2"],
            "factorised makes its columns orthogonal",
        ),
        (["embedding.method=ppr", "embedding.form=hashed", "publish.fold_in=true"], "rows of form 'hashed'"),
        (["embedding.method=ppr", "ppr.restart=1.0"], "restart"),
    ],
)
def test_what_can_not_be_made_is_refused(shop: Any, call: Callable[..., Any], given: list[str], said: str) -> None:
    assert said in refusal(shop.config, call, *given)


def test_auto_is_hashed(shop: Any) -> None:
    forms = {
        (form, types): CONFIG.from_toml(shop.config, ["embedding.method=ppr", f"embedding.form={form}", *types]).form
        for form in ("auto", "hashed", "factorised")
        for types in ((), ("input.source_type=item",))
    }
    assert forms == {
        ("auto", ()): "factorised",
        ("hashed", ()): "hashed",
        ("factorised", ()): "factorised",
        ("auto", ("input.source_type=item",)): "plain_factorised",
        ("hashed", ("input.source_type=item",)): "plain_hashed",
        ("factorised", ("input.source_type=item",)): "plain_factorised",
    }


@pytest.mark.parametrize("form", ["hashed", "factorised"])
def test_a_plan_prices_both_forms(shop: Any, tmp_path: Path, call: Callable[..., Any], form: str) -> None:
    given = (
        "plan",
        "--config",
        shop.config,
        "--json",
        "--set",
        "embedding.method=ppr",
        "--set",
        "embedding.form=hashed",
        "--set",
        "partition.parts=3",
    )
    for workspace in (tmp_path / "none", shop.workspace):
        said = call(*given, "--set", f"embedding.form={form}", "--workspace", workspace)
        assert said.code == 0, said.err
        chosen = next(one for one in said.json["alternatives"] if one["is_chosen"])
        assert chosen["cpu_seconds"] > 0
        assert chosen["parts"] == (1 if form == "hashed" else 3)
        assert said.json["embed"]["rounds"] == (1 if form == "hashed" else 4)


def test_a_row_alone_is_the_tables_own(own_shop: Any) -> None:
    run = (
        "run",
        "--config",
        own_shop.config,
        "--set",
        "embedding.method=ppr",
        "--set",
        "embedding.form=hashed",
        "--date",
        "2024-03-02",
        "--json",
    )
    said = own_shop.call(*run)
    assert said.code == 0, said.err
    ask = ("query", "embed", "--name", "shop", "--type", "user", "--json")
    looked_up, alone = own_shop.call(*ask, "person-3"), own_shop.call(*ask, "person-3", "--alone")
    assert alone.code == 0, alone.err
    assert alone.json["row"] == looked_up.json["row"]
    assert alone.json["is_alone"] is True
    text = own_shop.call(*ask[:-1], "person-3", "--alone").out
    np.testing.assert_array_equal(np.array(text.split(), np.float32), np.array(looked_up.json["row"], np.float32))
    unknown = own_shop.call(*ask, "nobody", "--alone")
    assert unknown.code == 4
    assert "no user with the id 'nobody'" in unknown.json["error"]
    wrong = own_shop.call(*ask, "--neighbors", "thing-1", "--alone")
    assert wrong.code == 2
    assert (
        "--alone makes the row of a node of the table: give its id in the place of --neighbors" in wrong.json["error"]
    )


def test_a_row_alone_of_another_method_is_refused(shop: Any) -> None:
    said = shop.call("query", "embed", "person-3", "--name", "shop", "--type", "user", "--alone", "--json")
    assert said.code == 2
    assert "has embedding.method 'fastrp', form 'two_tower'" in said.json["error"]
