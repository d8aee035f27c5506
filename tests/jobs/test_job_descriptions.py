"""Spark's event log of a real run names the stage and the step of every job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.stages.chain import STAGE_NAMES

ROOT = Path(__file__).parents[2]


@pytest.mark.spark
@pytest.mark.slow
def test_every_job_of_a_run_says_what_it_does(shop: Any, tmp_path: Path) -> None:
    log = tmp_path / "events"
    log.mkdir()
    settings = {
        "spark.master": "local[2]",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": log.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
    }
    command = [sys.executable, "-m", "graphquilt", "run", "--engine", "spark", "--config", str(shop.config)]
    command += ["--workspace", str(tmp_path / "w"), "--set", "partition.parts=2"]
    for key, value in settings.items():
        command += ["--conf", f"{key}={value}"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (file,) = log.iterdir()
    events = [json.loads(line) for line in file.read_text().splitlines()]
    jobs = [event["Properties"] for event in events if event["Event"] == "SparkListenerJobStart"]
    names = Counter(properties.get("spark.job.description") for properties in jobs)
    assert names["embed: round 0, products"] == 1
    assert names["ingest: parse"] == 1
    stages = [str(name).partition(":")[0] for name in names]
    # A first night has nothing to score, and files are published by this process.
    assert set(stages) - {"inputs"} == set(STAGE_NAMES) - {"evaluate", "publish"}, names


@pytest.mark.spark
def test_a_description_inside_of_another_stands_behind_it(spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine
    from pipeline.engines.spark_jobs import describe_jobs

    def description() -> str | None:
        found: str | None = spark_session.sparkContext.getLocalProperty("spark.job.description")
        return found

    with SparkEngine(spark_session).describe_jobs("index"):
        assert description() == "index"
        with describe_jobs(spark_session, "sample of src_id"):
            assert description() == "index: sample of src_id"
        with describe_jobs(spark_session, "index: edges, write"):
            assert description() == "index: edges, write"
        assert description() == "index"
    assert description() is None
