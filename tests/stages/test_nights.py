"""Night after night: honest data pass the gates as they are by default, what went wrong upstream is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stages.chains import Chain, Ended, config_for, with_changes, write_rows
from tests.stages.nights import GARBAGE, Rows, Stream, date_of, gowalla, movielens, planted

CONFIGS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "fastrp": {"embedding": {"dim": 32}},
    "spectral": {"embedding": {"method": "spectral", "dim": 32}},
    "lists": {"embedding": {"method": "none"}, "ppr": {"neighbors": True, "top_k": 20}},
}


@dataclass
class Nights:
    """A stream of nights through one workspace. ``window``: days that count; undated inputs hold only these."""

    chain: Chain
    stream: Stream
    sections: Mapping[str, Mapping[str, Any]]
    window: int | None = None
    is_dated: bool = True

    def config(self, rows: Mapping[str, Any], **sections: Mapping[str, Any]) -> dict[str, Any]:
        times: dict[str, Any] = {"timestamp": "ts", "timestamp_unit": "s"} if self.is_dated else {}
        if self.is_dated and self.window:
            times["window_days"] = self.window
        path = write_rows(self.chain.folder / "in.parquet", rows)
        given = config_for(path, input={"weight": "weight", **times}, evaluate={"source": "next_day"})
        return with_changes(with_changes(given, publish={"min_age_hours": 0.0}, **self.sections), **sections)

    def rows(self, night: int) -> Rows:
        return self.stream.until(night, days=None if self.is_dated else self.window)

    def run(self, night: int, rows: Mapping[str, Any] | None = None, **changes: Any) -> Ended:
        sections = changes.pop("sections", {})
        config = self.config(self.rows(night) if rows is None else rows, **sections)
        return self.chain.run(config, date=date_of(night), **changes)

    def pass_all(self, nights: range) -> None:
        for night in nights:
            ended = self.run(night)
            assert ended.code == 0, f"night {night}: {ended.error}"
            assert ended.answer["gate"]["verdict"] == "passed"

    def refuse(self, name: str, night: int) -> Ended:
        before = self.chain.current()
        spoilt = GARBAGE[name](self.rows(night), np.random.default_rng(3))
        ended = self.run(night, spoilt)
        assert ended.code in (3, 4), f"{name} was published"  # 4: nothing that could be embedded
        assert self.chain.current() == before
        return ended


@pytest.fixture(scope="module")
def planted_nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """Some honest nights of a small dated stream."""
    nights = Nights(Chain(tmp_path_factory.mktemp("nights")), planted(), CONFIGS["fastrp"])
    nights.pass_all(range(1, 5))
    return nights


#: One of each kind; the others take their time.
AT_ONCE = frozenset(
    {
        *("items permuted among users", "one percent of the rows", "source and target swapped", "a single item"),
        *("ids shifted by one", "one id is text", "weights shuffled", "as many random pairs again"),
        *("times overwritten", "robots"),
    }
)


@pytest.mark.parametrize(
    "name", [name if name in AT_ONCE else pytest.param(name, marks=pytest.mark.slow) for name in GARBAGE]
)
def test_a_night_that_went_wrong_is_refused(planted_nights: Nights, name: str) -> None:
    ended = planted_nights.refuse(name, 5)
    gate = planted_nights.chain.gate(date_of(5))
    assert gate is not None
    assert (gate["verdict"], gate["exit_code"], gate["reasons"]) == ("refused", 3, [ended.error])
    assert gate["gates"] == ended.answer["gate"]["gates"]
    assert "--accept-drift" in ended.error
    refused = [one for one in gate["gates"] if one["verdict"] == "refused"]
    assert all(one["note"] in ended.error and one["margin"] < 0 for one in refused)


def test_undated_nights_are_judged_where_they_have_dates(tmp_path: Path) -> None:
    nights = Nights(Chain(tmp_path), planted(), CONFIGS["fastrp"], is_dated=False)
    nights.pass_all(range(1, 4))
    for name in ("items permuted among users", "weights inverted", "half of the users gone"):
        nights.refuse(name, 4)


def test_a_run_without_any_date_says_that_nights_cannot_be_told_apart(tmp_path: Path) -> None:
    nights = Nights(Chain(tmp_path), planted(), CONFIGS["fastrp"], is_dated=False)
    for night in (1, 2):
        ended = nights.chain.run(nights.config(nights.rows(night)))
        assert ended.code == 0
        notes = {one["gate"]: one["note"] for one in ended.answer["gate"]["gates"]}
        assert "undated" in notes["min_pairs_kept"]
        assert "--date" in notes["min_pairs_kept"]


# --- on real data, for two months -----------------------------------------------------------------------------


def _stream(name: str, data: Path, config: str) -> Stream:
    if name == "ml-100k":
        return movielens(data)
    return gowalla(data, users=800 if config == "lists" else 3_000)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "config", "window", "is_dated"),
    [
        ("ml-100k", "fastrp", None, True),
        ("gowalla", "fastrp", None, True),
        ("ml-100k", "spectral", 28, True),
        ("gowalla", "spectral", None, True),
        ("ml-100k", "lists", None, True),
        ("ml-100k", "fastrp", 7, True),
        ("ml-100k", "fastrp", None, False),
        ("gowalla", "lists", None, True),
    ],
)
def test_two_months_pass_and_no_night_that_went_wrong_does(
    data: str, config: str, window: int | None, is_dated: bool, tmp_path: Path, shared_data: Path
) -> None:
    stream = _stream(data, shared_data, config)
    nights = Nights(Chain(tmp_path), stream, CONFIGS[config], window, is_dated)
    first = 7  # a week into the service, as a table of a few people would be nobody's
    nights.pass_all(range(first, first + 60))
    for name in GARBAGE:
        if not _is_beyond(name, config, window, is_dated):
            nights.refuse(name, first + 60)


def _is_beyond(name: str, config: str, window: int | None, is_dated: bool) -> bool:
    """Whether gates by default let a night pass: the graph has all that it had, and what came can't be called noise."""
    adds_noise = name.endswith(("more at random", "random pairs again", "robots"))
    # Lists have no AUC against chance; in a window too few new pairs are between nodes of the night before.
    is_untold = config == "lists" or window is not None
    return (adds_noise and is_untold) or (name.startswith("times") and not is_dated)
