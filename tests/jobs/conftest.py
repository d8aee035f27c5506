"""A small workspace with two nights of one table, and a way to call the command line."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from graphquilt.__main__ import main

CONFIG = """\
[input]
path = "events.csv"
source = "user_id"
target = "item_id"
timestamp = "at"
max_rejected_share = 0.2

[embedding]
dim = 16

[evaluate]
source = "none"

[publish]
name = "shop"
"""


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"stdout has {len(lines)} lines: {self.out[:300]}"
        found = json.loads(lines[0])
        assert isinstance(found, dict)
        return found


def call(*arguments: object) -> Said:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Shop:
    """Where the session's input, config and workspace are."""

    config: Path
    workspace: Path

    def call(self, command: str, *arguments: object) -> Said:
        """Run a command on the workspace."""
        return call(command, "--workspace", self.workspace, *arguments)


def events(rows: int, day: str, seed: int) -> pa.Table:
    """Interactions of persons with things; ids that nobody would print by accident."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "user_id": [f"person-{n}" for n in rng.integers(0, 40, rows)],
            "item_id": [f"thing-{n}" for n in rng.integers(0, 25, rows)],
            "at": [f"{day}T0{n % 10}:00:00" for n in range(rows)],
        }
    )


def write_shop(folder: Path) -> Path:
    """Write 600 interactions of two days, 10 of them bad, and the config; return the config's path."""
    two_days = pa.concat_tables([events(300, "2024-03-01", 1), events(290, "2024-03-02", 2)])
    bad = pa.table(
        {
            "user_id": [f"person-{n}" for n in range(10)],
            "item_id": ["thing-1"] * 5 + [None] * 5,
            "at": ["never"] * 5 + ["2024-03-01"] * 5,
        }
    )
    pacsv.write_csv(pa.concat_tables([two_days, bad]), folder / "events.csv")
    (folder / "config.toml").write_text(CONFIG)
    return folder / "config.toml"


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two nights, published. Tests that take it must not change it."""
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own_shop(tmp_path: Path) -> Shop:
    """The same for one test, to change."""
    return make_shop(tmp_path)


def make_shop(folder: Path) -> Shop:
    made = Shop(write_shop(folder), folder / "work")
    with pytest.MonkeyPatch.context() as patch:
        _settle_inputs(patch)
        for day in ("2024-03-01", "2024-03-02"):
            done = made.call("run", "--config", made.config, "--date", day)
            assert done.code == 0, done.err
    return made


@pytest.fixture(autouse=True)
def _one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan for the machine that times were fitted on: this one's speed changes with what else it does."""
    monkeypatch.setattr("jobs.commands.machine.slowness", lambda: 1.0)
    _settle_inputs(monkeypatch)


def _settle_inputs(patch: pytest.MonkeyPatch) -> None:
    """What these tests write is read once, however soon after."""
    patch.setattr("pipeline.ingest.sources.SETTLING_NS", -(2**62))


@pytest.fixture(name="call")
def call_fixture() -> Callable[..., Said]:
    return call
