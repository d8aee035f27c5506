"""The eight stages as spark-submit jobs, embed on a cluster of two executors: the bytes of one process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.stages.chain import STAGE_NAMES
from pipeline.tasks import RECORDS
from tests.conftest import ROOT
from tests.stages.chains import Chain, config_for, users_and_items, write_rows

pytestmark = [pytest.mark.spark, pytest.mark.slow]

#: Master, workers and executors are JVMs of their own and take longer to start than a stage does to run.
MASTERS = {"embed": "local-cluster[2,1,1024]"}
QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SUBMIT = [
    *("--driver-memory", "1g"),
    *("--conf", "spark.ui.enabled=false", "--conf", "spark.sql.shuffle.partitions=2"),
    # Both executors, before the first task: else one may have done them all.
    *("--conf", "spark.scheduler.minRegisteredResourcesRatio=1.0"),
    *("--conf", "spark.scheduler.maxRegisteredResourcesWaitingTime=120s"),
    # JVMs that live for seconds: what a good compiler and many threads cost is never earned back.
    *("--driver-java-options", QUICK_JVM, "--conf", f"spark.executor.extraJavaOptions={QUICK_JVM}"),
]


class Executors:
    """Reads the records that tasks leave, while they are there: the processes of each stage, by executor.

    A task's process is a Python worker; its parent is the one daemon of its executor.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._seen: set[Path] = set()
        self.of: dict[str, set[int]] = {}

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            for path in set(self._work.glob(f"*/{RECORDS}/*.json")) - self._seen:
                self._seen.add(path)
                with contextlib.suppress(OSError, ValueError):  # gone with its stage
                    pid = int(json.loads(path.read_bytes())["process"].rpartition(":")[2])
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    self.of.setdefault(path.parts[-3].split("-")[0], set()).add(int(fields[1]))

    def __enter__(self) -> Executors:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def submit(stage: str, chain: Chain, config: dict[str, Any]) -> dict[str, Any]:
    submitter = Path(sys.executable).with_name("spark-submit")
    words = [str(submitter), "--master", MASTERS.get(stage, "local[2]"), *SUBMIT, str(ROOT / "jobs" / f"{stage}.py")]
    words += ["--config", str(chain.write_config(config)), "--workspace", str(chain.root), "--json"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    environment.pop("SPARK_HOME", None)  # another Spark than this environment's
    done = subprocess.run(words, env=environment, cwd=chain.folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{stage}: {done.stderr[-4_000:]}"
    # spark-submit sends both of a Python driver's streams to stdout: the answer stands among log lines.
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    return json.loads(line)


def test_eight_jobs_with_rounds_on_two_executors_give_the_bytes_of_one_process(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(7, 4_000, 300, 200))
    config = config_for(path, parts=4, evaluate={"source": "holdout", "holdout_users": 0.5})
    chain = Chain(tmp_path / "cluster")
    with Executors(chain.root / "runs" / "1970-01-01" / "_work") as executors:
        answers = {stage: submit(stage, chain, config) for stage in STAGE_NAMES}
    assert answers["publish"]["published"] is True
    assert [answer["engine"] for answer in answers.values()] == ["spark"] * 8

    here = Chain(tmp_path / "here").publish(config)
    assert chain.published().data == here.data
    assert chain.published().metrics == here.metrics
    assert len(executors.of["embed"]) == 2, executors.of
