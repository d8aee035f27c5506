"""What a run shows to a person: one bar on a terminal, log lines elsewhere, and the last screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.progress import RunEstimate, RunState, describe_seconds
from pipeline.stages.chain import STAGE_NAMES
from pipeline.tasks import Task
from tests.stages.chains import Config, config_for, to_toml, users_and_items, write_rows

DAY_US = 86_400_000_000
HOLDOUT = {"source": "holdout", "holdout_users": 0.3}
#: 2024-06-01 in microseconds.
FIRST = 19_875 * DAY_US


def on_a_terminal(*command: str, columns: int = 100) -> tuple[int, str]:
    """Run a command of graphquilt on a terminal of its own; return its exit code and all that was drawn, as text."""
    arguments = [sys.executable, "-m", "graphquilt", *command]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, arguments, {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    drawn = b""
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # Linux says so where the other end is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())


def in_a_pipe(*command: str) -> str:
    """Run a command of graphquilt, which must succeed, and return what it says."""
    arguments = [sys.executable, "-m", "graphquilt", *command]
    return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout


def graph_config(folder: Path, **sections: dict[str, object]) -> Config:
    rows = dict(users_and_items(1, 3_000, 150, 90))
    rows["ts"] = [FIRST + DAY_US * (number % 2) for number in range(3_000)]
    return config_for(write_rows(folder / "in.parquet", rows), evaluate=HOLDOUT, **sections)


def run_options(folder: Path, config: Config, *more: str) -> list[str]:
    (folder / "config.toml").write_text(to_toml(config))
    return ["run", "--config", str(folder / "config.toml"), "--workspace", str(folder / "work"), *more]


def test_a_terminal_gets_one_bar_and_a_last_screen_and_a_pipe_gets_lines(tmp_path: Path) -> None:
    config = graph_config(tmp_path, input={"timestamp": "ts", "timestamp_unit": "us"}, partition={"parts": 4})
    lines = in_a_pipe(*run_options(tmp_path, config, "--date", "2024-06-01"))
    assert "level=INFO stage=embed" in lines
    assert " · " not in lines

    code, drawn = on_a_terminal(*run_options(tmp_path, config, "--date", "2024-06-02"))
    assert code == 0, drawn
    assert "level=" not in drawn
    places = re.findall(r"(\d)/8 (\w+) ·", drawn)
    assert {STAGE_NAMES[int(number) - 1] for number, _ in places} == {name for _, name in places}
    assert [int(number) for number, _ in places] == sorted(int(number) for number, _ in places)
    shares = [int(share) for share in re.findall(r"· (\d+) %", drawn)]
    assert shares == sorted(shares)
    assert shares[-1] <= 99
    screen = drawn.splitlines()[-8:]
    assert any(line.startswith("published: 2024-06-02 in ") and "MiB a task" in line for line in screen), screen
    (quality,) = [line for line in screen if line.startswith("quality")]
    assert re.match(r"quality  recall@20 0\.\d{4} \(0\.\d{4}\), ", quality)
    assert quality.endswith("(in brackets: 2024-06-01)")
    assert screen[-1] == f"next     graphquilt query neighbors ID --type user --workspace {tmp_path / 'work'}"


def test_who_asks_for_log_lines_gets_them_and_undated_data_are_called_so(tmp_path: Path, call: Any) -> None:
    config = graph_config(tmp_path, publish={"gates": {"min_rows": 1_000_000}})
    options = run_options(tmp_path, config)
    code, drawn = on_a_terminal(*options, "--verbose")
    assert (code, drawn.splitlines()[-2]) == (
        3,
        f"next     graphquilt inspect --workspace {tmp_path / 'work'} --date 1970-01-01",
    )
    assert re.search(r"level=INFO stage=embed run_id=\w+ date=undated event=started", drawn)
    assert re.search(r"\d/8 \w+ · ", drawn)  # the last stage is over before anybody looks
    listed = call("inspect", *options[3:]).out
    assert "undated (1970-01-01)" in listed
    # Names of folders and releases keep it; inspect says which --date means the undated data.
    names = re.compile(r"--date 1970-01-01|runs/1970-01-01|undated \(1970-01-01\)")
    assert not any("1970-01-01" in names.sub("", text) for text in (drawn, listed))


# The state behind the bar

SECONDS = dict(zip(STAGE_NAMES, (10.0, 10.0, 5.0, 5.0, 60.0, 5.0, 3.0, 2.0), strict=True))


def wave(folder: Path, step: str, tasks: int) -> list[Task[None]]:
    work = folder / "_work" / f"embed-{'0' * 16}"
    return [Task(f"{step}-{number:05d}", work, None) for number in range(tasks)]


def test_the_line_says_stage_round_share_and_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    state = RunState(STAGE_NAMES, start=1_000.0)
    assert state.describe() == "starting"
    state.look(lambda: RunEstimate(SECONDS, 3))
    clock[0] += 30.0
    state.begin_stage("embed")
    clock[0] += 20.0
    with state.during(wave(tmp_path, "round-01-products", 1)):
        state.look(lambda: RunEstimate(SECONDS, 3))
        # 30 seconds of stages and one of three rounds of 60 are behind: 50 of 100, at the pace of the plan.
        assert state.describe() == "5/8 embed · round 2/3 · 50 % · 50 s left"
    clock[0] += 60.0
    state.begin_stage("publish")
    state.look(lambda: RunEstimate(SECONDS, 3))
    assert state.describe() == "8/8 publish · 98 % · 2 s left"


def test_a_plan_that_fails_leaves_the_stages(tmp_path: Path) -> None:
    def fails() -> RunEstimate:
        raise ValueError("no plan")

    state = RunState(STAGE_NAMES)
    state.begin_stage("index")
    state.look(fails)
    assert re.fullmatch(r"2/8 index · 1[23] %", state.describe())


@given(
    st.lists(st.tuples(st.sampled_from(STAGE_NAMES), st.integers(0, 5), st.floats(0, 1e4)), max_size=20),
    st.dictionaries(st.sampled_from(STAGE_NAMES), st.floats(0, 1e6)),
    st.integers(0, 4),
)
def test_the_bar_never_goes_back_and_ends_with_the_run(
    moves: list[tuple[str, int, float]], seconds: dict[str, float], rounds: int
) -> None:
    state, clock, shares = RunState(STAGE_NAMES, start=0.0), 0.0, [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: clock)
        for stage, number, later in moves:
            state.begin_stage(stage)
            with state.during(wave(Path("/nowhere"), f"round-{number:02d}-homes", 1)):
                clock += later
                state.look(lambda: RunEstimate(seconds, rounds))
                shares.append(state.share)
                assert state.describe()
    assert shares == sorted(shares)
    assert shares[-1] <= 0.99


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (9.4, "9 s"), (12, "10 s"), (53, "55 s"), (56, "1 min"), (3_500, "58 min"), (7_790, "2 h 10 min")],
)
def test_times_are_short(seconds: float, words: str) -> None:
    assert describe_seconds(seconds) == words
