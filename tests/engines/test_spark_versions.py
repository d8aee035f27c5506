"""Other versions of Spark than that of the pins, each in an environment of its own, publish the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import main
from pipeline import storage
from tests.conftest import missing

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample" / "config.toml"
MASTER = ("--conf", "spark.master=local[2]", "--conf", "spark.ui.enabled=false")


#: Before and after 4.1, which can place rows by id.
ENVIRONMENTS = {"spark35": "3.5.", "spark41": "4.1."}


@pytest.fixture(params=ENVIRONMENTS)
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment."""
    python = ROOT / f".venv-{request.param}" / "bin" / "python"
    if not python.exists():
        missing("sparks", f"there is no environment with Spark {ENVIRONMENTS[request.param]}*: make {request.param}")
    version = run(python, "-c", "import pyspark; print(pyspark.__version__)")
    assert version.startswith(ENVIRONMENTS[request.param])
    return python


def run(python: Path, *words: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": str(python)}
    # Variables that a session of this process has set name another version.
    environment = {name: value for name, value in environment.items() if name not in ("SPARK_HOME", "PYSPARK_GATEWAY")}
    done = subprocess.run(
        [str(python), *map(str, words)], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PLACES = """
import json
from pyspark.sql import SparkSession
from pipeline.engines.spark_jobs import place_by_id

session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
partitions, astray = [], 0
for count in (1, 2, 3, 8, 100, 513):
    rows = session.range(0, 2 * count).selectExpr(f"cast(id % {count} as int) as bucket")
    placed = place_by_id(rows, "bucket", count)
    partitions.append(placed.rdd.getNumPartitions())
    astray += placed.where("bucket != spark_partition_id()").count()
print(json.dumps({"partitions": partitions, "astray": astray}))
session.stop()
"""


def test_rows_are_placed_by_id(python: Path) -> None:
    answer = json.loads(run(python, "-c", PLACES).splitlines()[-1])
    assert answer == {"partitions": [1, 2, 3, 8, 100, 513], "astray": 0}


def test_the_sample_is_published_with_the_bytes_of_the_local_engine(python: Path, tmp_path: Path) -> None:
    options = ["run", "--config", str(SAMPLE), "--set", "partition.parts=3", "--json"]
    assert main([*options, "--workspace", str(tmp_path / "local")]) == 0
    run(python, "-m", "graphquilt", *options, "--workspace", tmp_path / "spark", "--engine", "spark", *MASTER)
    assert published(tmp_path / "spark") == published(tmp_path / "local")


def published(root: Path) -> dict[str, Any]:
    """Checksums of the data files of the one release."""
    (release,) = (root / "published").glob("*/releases/*")
    files = {str(path.relative_to(release)): storage.sha256_of(path) for path in release.rglob("*.parquet")}
    assert files
    return files
