import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: No measure of anything: what hangs must end some time.
PATIENCE_S = 600.0

#: A stage that takes its time: in this process, on Dask workers or in Spark's.
SLOW_RUN = """
import sys, time
from pathlib import Path
import pipeline.stages.ingest as ingest
from pipeline.tasks import Task, run_missing
from tests.jobs.slow_task import wait_long

def run(engine, config, workspace):
    run_missing(engine, wait_long, [Task(f"wait-{n}", workspace.work("ingest"), {}) for n in range(4)])

ingest.run = run
from graphquilt.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGINT, 130, "interrupted")],
)
@pytest.mark.parametrize(
    "engine",
    [
        [],
        ["--workers", "2"],
        pytest.param(
            ["--engine", "spark", "--conf", "spark.master=local[2]", "--conf", "spark.ui.enabled=false"],
            marks=[pytest.mark.spark, pytest.mark.slow],
        ),
        pytest.param(["--engine", "spark", "--remote", "SERVER"], marks=[pytest.mark.spark, pytest.mark.slow]),
    ],
    ids=["local", "dask", "spark", "connect"],
)
def test_a_stopped_run_frees_its_lock_and_says_so(
    engine: list[str], number: int, code: int, word: str, shop: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "SERVER" in engine:
        engine = [*engine[:-1], request.getfixturevalue("connect_server").address]
    arguments = ["run", "--config", shop.config, "--workspace", tmp_path, "--date", "2024-03-01", "--json", *engine]
    day = tmp_path / "runs" / "2024-03-01"
    with started(arguments) as process:
        wait_for(lambda: any(day.glob("_work/*/started-*")), process)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)  # its tasks would go on for longer
    assert process.returncode == code, err
    (line,) = out.splitlines()
    assert json.loads(line)["exit_code"] == code
    assert f"graphquilt: {word}" in err
    verdict = json.loads((day / "gate.json").read_text())
    assert (verdict["verdict"], verdict["exit_code"]) == ("failed", code)
    with (day / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    workers = [int(path.read_text()) for path in day.glob("_work/*/started-*")]
    wait_for(lambda: not any(map(is_alive, workers)), None)


@contextlib.contextmanager
def started(arguments: list[object]) -> Iterator[subprocess.Popen[str]]:
    """A slow run in a session of its own, so that nothing of it outlives the test."""
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs ignore Ctrl-C, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Any, process: subprocess.Popen[str] | None, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if process is not None and process.poll() is not None:
            pytest.fail(f"it ended first: {process.communicate()}")
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
