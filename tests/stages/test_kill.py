"""A driver that is killed in any stage, the same command again, and readers who look all the while."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphquilt.releases import find_problems
from pipeline.stages.chain import STAGE_NAMES
from tests.conftest import ROOT
from tests.stages.chains import Chain, config_for, users_and_items, with_changes, write_rows
from tests.stages.published_lists import ListsOf

pytestmark = pytest.mark.slow

#: What of a stage is on disk when the driver is killed: its first task's record, or the first file it wrote. The
#: stages that have no task are killed by what they write before they commit.
SIGNS = {
    "ingest": "_work/ingest-*/_records/*.json",
    "index": "_work/index-*/_records/*.json",
    "partition": "_work/partition-*/_records/*.json",
    "layout": "_work/layout-*/_records/*.json",
    "embed": "_work/embed-*/_records/round-01-*.json",
    "aggregate": "_work/aggregate-*/_records/*.json",
    "evaluate": "_work/evaluate-*/*",
    "publish": "../../published/default/releases/_staging-*",
}

#: A run that never commits a stage: on a busy machine, too, it is in its middle when the sign of it is seen.
STOPS_BEFORE_COMMIT = """
import sys, time
import pipeline.stages.runner as conduct
from graphquilt.__main__ import main

commit = conduct._commit

def never(name, *rest):
    while name == sys.argv[1]:
        time.sleep(1)
    commit(name, *rest)

conduct._commit = never
sys.exit(main(["run", *sys.argv[2:]]))
"""


def config(folder: Path) -> dict[str, Any]:
    path = write_rows(folder / "in.parquet", users_and_items(3, 4_000, 300, 200))
    return config_for(path, parts=4, evaluate={"source": "holdout", "holdout_users": 0.5})


def command(chain: Chain, given: dict[str, Any], *options: str) -> list[str]:
    words = ["--config", str(chain.write_config(given)), "--workspace", str(chain.root)]
    return [sys.executable, "-m", "jobs.run", *words, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}


def children_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants(pid: int) -> list[int]:
    found = children_of(pid)
    return found + [below for child in found for below in descendants(child)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def started(words: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command of its own process group, which is gone afterwards whatever happens."""
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(words, env=environment(), cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_to_the_end(words: list[str], folder: Path) -> None:
    with started(words, folder) as process:
        code = process.wait(600)
    assert code == 0, (folder / "log.txt").read_text()[-4_000:]


def stopping_in(stage: str, words: list[str]) -> list[str]:
    """Return the command that never commits a stage."""
    return [sys.executable, "-c", STOPS_BEFORE_COMMIT, stage, *words[words.index("jobs.run") + 1 :]]


def kill_when(words: list[str], folder: Path, runs: Path, sign: str) -> bool:
    """Start a command and SIGKILL its driver alone as soon as the sign is there; False: it ended before."""
    with started(words, folder) as process:
        deadline = time.monotonic() + 600
        while not any(runs.glob(sign)):
            if process.poll() is not None:
                assert process.returncode == 0, (folder / "log.txt").read_text()[-4_000:]
                return False
            assert time.monotonic() < deadline, (folder / "log.txt").read_text()[-4_000:]
            time.sleep(0.0005)
        below = descendants(process.pid)
        process.kill()
        process.wait()
        # Workers and the JVM die with their driver.
        while (left := [pid for pid in below if is_alive(pid)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, left
    return True


class Reader:
    """Looks at CURRENT all the time: there is none yet, or it names a release that is whole."""

    def __init__(self, published: Path) -> None:
        self._published = published
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.looks = 0
        self.found: list[str] = []

    def _look(self) -> None:
        while not self._stop.is_set():
            self.looks += 1
            with contextlib.suppress(FileNotFoundError):
                raw = (self._published / "CURRENT.json").read_bytes()
                try:
                    current = json.loads(raw)
                    folder = self._published / current["path"]
                    self.found += find_problems(folder, current["manifest_sha256"], deep=True)
                except (ValueError, KeyError) as error:
                    self.found.append(f"CURRENT.json is {raw!r}: {error!r}")
            time.sleep(0.002)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return Chain(folder).publish(config(folder)).data


def disturb(folder: Path, undisturbed: dict[str, bytes], stages: tuple[str, ...], *options: str) -> list[str]:
    """Kill the driver in each stage in turn, let it end; return the stages in which it was still there."""
    chain = Chain(folder)
    words = command(chain, config(folder), *options)
    runs = chain.root / "runs" / "1970-01-01"
    with Reader(chain.root / "published" / "default") as reader:
        killed = [stage for stage in stages if kill_when(stopping_in(stage, words), folder, runs, SIGNS[stage])]
        run_to_the_end(words, folder)
    assert reader.found == []
    assert reader.looks
    made = chain.published()
    assert made.data == undisturbed
    assert find_problems(made.folder, chain.current()["manifest_sha256"], deep=True) == []
    assert not list((chain.root / "published/default/releases").glob("_*"))
    assert len(list((chain.root / "published/default/releases").iterdir())) == 1
    return killed


def test_one_process_killed_in_each_stage(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    killed = disturb(tmp_path, undisturbed, STAGE_NAMES, "--engine", "local")
    # A release is in its place before the stage commits: its sign may come and go between two looks.
    assert set(STAGE_NAMES) - set(killed) <= {"publish"}, killed


def test_two_workers_killed_in_each_stage(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    stages = ("layout", "embed")
    killed = disturb(tmp_path, undisturbed, stages, "--engine", "local", "--workers", "2")
    assert killed == ["layout", "embed"]


@pytest.mark.spark
def test_spark_killed_once(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    settings = [
        *("spark.master=local[2]", "spark.driver.memory=1g", "spark.sql.shuffle.partitions=2"),
        *("spark.ui.enabled=false", "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"),
    ]
    options = [word for setting in settings for word in ("--conf", setting)]
    assert disturb(tmp_path, undisturbed, ("embed",), "--engine", "spark", *options) == ["embed"]


def test_sigterm_ends_with_143_and_resumes(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    chain = Chain(tmp_path)
    words = command(chain, config(tmp_path), "--engine", "local")
    with started(stopping_in("embed", words), tmp_path) as process:
        deadline = time.monotonic() + 600
        while not any((chain.root / "runs/1970-01-01").glob(SIGNS["embed"])) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.terminate()
        assert process.wait(600) == 143
    assert chain.gate("1970-01-01")["exit_code"] == 143
    assert chain.current() is None
    run_to_the_end(words, tmp_path)
    assert chain.published().data == undisturbed


def test_two_at_once_one_wins_and_the_other_names_it(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    chain = Chain(tmp_path)
    given = config(tmp_path)  # once: it writes the input, and a run that finds its input changed ends with 4
    words = command(chain, given, "--engine", "local")
    with started(words, tmp_path) as first:
        deadline = time.monotonic() + 600
        while not any((chain.root / "runs/1970-01-01").glob("_work/*")) and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(first.pid, signal.SIGSTOP)  # in the middle of a stage, for as long as the others look
        try:
            refused = chain.run(given)
        finally:
            os.kill(first.pid, signal.SIGCONT)
        waiting = chain.run(given, wait_s=600.0)
        code = first.wait(600)
    # A run holds its date from its first stage to its last: whoever waits can't cut in between two stages.
    assert code == 0, (tmp_path / "log.txt").read_text()[-4_000:]
    assert refused.code == 1
    assert f"is locked by a run for undated data, pid {first.pid}" in refused.error
    assert waiting.code == 0, waiting.error
    assert chain.published().data == undisturbed


def test_two_workers_killed_while_lists_are_made(tmp_path: Path) -> None:
    def lists(folder: Path) -> dict[str, Any]:
        ppr = {"neighbors": True, "top_k": 10, "tolerance": 0.001, "shards": 6}
        return with_changes(config(folder), embedding={"method": "none"}, ppr=ppr)

    chain = Chain(tmp_path)
    words = command(chain, lists(tmp_path), "--engine", "local", "--workers", "2")
    runs = chain.root / "runs" / "1970-01-01"
    assert kill_when(stopping_in("embed", words), tmp_path, runs, "_work/embed-*/lists/_records/lists-*.json")
    kept = {path.name: path.stat().st_mtime_ns for path in runs.glob("_work/embed-*/lists/_records/lists-*.json")}
    run_to_the_end(words, tmp_path)
    assert kept
    undisturbed = Chain(tmp_path / "undisturbed")
    assert undisturbed.run(lists(tmp_path)).code == 0
    assert ListsOf.of(chain).data == ListsOf.of(undisturbed).data
