"""However a command's streams are, and whenever it is stopped: its exit code, and one JSON object where asked."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from graphquilt.__main__ import main

ROOT = Path(__file__).parents[2]
CONFIG = "[input]\npath = 'in.csv'\n[embedding]\ndim = 4\n[evaluate]\nsource = 'none'\n"

#: The exit code of an answer, and of a complaint, under every state of the streams.
STREAMS = {
    "1>&-": (0, 2),
    "2>&-": (0, 2),
    "0<&- 1>&- 2>&-": (0, 2),
    "| true": (0, 2),
    "2>&1 | true": (0, 2),
    "2>/dev/full": (0, 2),
    ">/dev/full": (1, 2),  # nobody can get the answer
    ">/dev/full 2>/dev/full": (1, 2),
}


@pytest.mark.parametrize("streams", STREAMS)
def test_streams_that_are_closed_full_or_left(streams: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("source,target\n" + "".join(f"{n % 9},{n % 7}\n" for n in range(40)))
    (tmp_path / "c.toml").write_text(CONFIG)
    run = ["run --json --config c.toml --workspace w"] if streams in ("2>&-", ">/dev/full") else []
    for words in ("--version", "config --defaults", "check --json", *run):
        script = f'PYTHONPATH={ROOT} {sys.executable} -m graphquilt {words} {streams}; echo "${{PIPESTATUS[0]}}" >&3'
        done = subprocess.run(
            ["bash", "-c", f"exec 3>&1; ( {script} )"], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        answer, complaint = STREAMS[streams]
        assert done.stdout.splitlines()[-1] == str(complaint if words == "check --json" else answer), done
        assert "Traceback" not in done.stderr + done.stdout
        assert "ignored" not in done.stderr
    if run:
        assert main(["check", "--workspace", str(tmp_path / "w"), "--deep"]) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "cp1251"])
@pytest.mark.parametrize("words", ["ä🦜", "check --workspace ä🦜\udcff", "config --check ä🦜\udcff"])
def test_json_is_json_in_any_encoding(encoding: str, words: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    err = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main([*words.split(), "--json"]) in (2, 4)
    out.seek(0)
    assert "ä🦜" in str(json.loads(out.read()))


@pytest.mark.parametrize(
    "words",
    [
        *("--json", "--json run", "-x --json", "current --json", "check --json"),
        "check --workspace w --max-age 5 --json",
        *("check --workspace w --table x --json", "current --workspace w more --json", "check --wrokspace w --json"),
    ],
)
def test_wrong_usage_is_one_object_too(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2


def test_an_error_that_nobody_expected_is_one_object_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("s3://K:hush@b")

    monkeypatch.setattr("graphquilt.__main__.locate", fail)
    assert main(["current", "--workspace", "w", "--json"]) == 1
    said = capsys.readouterr()
    assert "RuntimeError" in json.loads(said.out)["error"]
    assert "hush" not in said.out + said.err


#: A command of its own process that gets a signal at its first step, or while it writes its answer.
STOPPED = """
import os, signal, sys
number, when = int(sys.argv[1]), sys.argv[2]
sys.argv = ["graphquilt", *sys.argv[3:]]
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
import graphquilt.__main__, graphquilt.output
if when == "first":
    graphquilt.__main__.secret_of_argument = lambda argv: os.kill(os.getpid(), number)
else:
    graphquilt.output.masked = lambda text: (os.kill(os.getpid(), number), text)[1]
sys.exit(graphquilt.__main__.main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["first", "answer"])
@pytest.mark.parametrize("command", ["current --workspace w", "config --defaults"])
def test_a_signal_at_any_moment_is_one_object(number: int, when: str, command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(number)), when, *command.split(), "--json"],
        capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    usual = 4 if command.startswith("current") else 0
    assert done.returncode == (128 + number if when == "first" else usual), done.stderr
    assert isinstance(json.loads(done.stdout), dict)
    assert "Traceback" not in done.stderr
