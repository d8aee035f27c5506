"""A workspace in an object store gives the bytes that one in a folder gives, whoever carries the tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from graphquilt.locations import parse_location
from pipeline.engines.local import LocalEngine
from tests.conftest import ROOT
from tests.golden.configs import config_named
from tests.golden.digests import release_digests
from tests.golden.rewrite import DIGESTS, compute_digests, local_copy
from tests.golden.test_published_bytes import on_x86
from tests.object_store import FaultProxy, bucket, moto_endpoint, object_store  # noqa: F401
from tests.stages.chains import Chain

HELD = json.loads(DIGESTS.read_text())["releases"]
QUICK = ("two_tower_parts", "ppr_parts")
#: Each kind of table and of working file once: fold-in and left-out ids, attributes, shards, other boundaries, lists.
SLOW = (
    "two_tower",
    "two_tower_attributes",
    "two_tower_shards",
    "classic_border",
    "low_pass",
    "ppr_walks",
    "ppr_hashed",
)


@on_x86
@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_one_process(name: str, tmp_path: Path, bucket: str, object_store: FaultProxy) -> None:  # noqa: F811
    assert compute_digests([name], tmp_path, address=f"{bucket}/ws", has_report=True)[name] == HELD[name]
    reads = Counter(request.path for request in object_store.requests if request.method == "GET")
    manifests = {path: count for path, count in reads.items() if "/runs/" in path and path.endswith("/manifest.json")}
    assert max(manifests.values()) == 2  # once before there is one, once after; the report reads none again
    paths = [request.path for request in object_store.requests if request.method == "PUT"]
    assert sum(path.endswith("/report.html") for path in paths) == 1


@on_x86
@pytest.mark.slow
def test_dask_workers(tmp_path: Path, bucket: str) -> None:  # noqa: F811
    with LocalEngine(workers=2) as engine:
        assert (
            compute_digests(["classic_parts"], tmp_path, engine, f"{bucket}/ws")["classic_parts"]
            == HELD["classic_parts"]
        )


@on_x86
@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.parametrize("master", ["local[2]", "local-cluster[2,1,1024]"])
def test_spark(master: str, tmp_path: Path, bucket: str) -> None:  # noqa: F811
    name = "two_tower_parts"
    config = Chain(tmp_path).write_config(config_named(name, tmp_path))
    # A process of its own: credentials reach the executors by its environment.
    options = ["--engine", "spark", "--conf", f"spark.master={master}", "--json"]
    command = [sys.executable, "-m", "jobs.run", "--config", str(config), "--workspace", f"{bucket}/ws", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    release = parse_location(json.loads(ended.stdout)["path"])
    assert release_digests(local_copy(release, tmp_path / "release")) == HELD[name]
