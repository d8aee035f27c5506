"""Seven nights of MovieLens 100k under Airflow, one poisoned, one missed and caught up, one with exit codes hidden."""

import datetime as dt
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
MAIN_PYTHON = Path(os.environ.get("MAIN_PYTHON", ROOT / ".venv" / "bin" / "python"))
RATINGS = ROOT.parent / "shared" / "data" / "ml-100k" / "train.parquet"
NIGHTS = [str(dt.date(1998, 2, day)) for day in range(2, 9)]
POISONED, MISSED = NIGHTS[2], NIGHTS[4]

pytestmark = [
    *(pytest.mark.airflow, pytest.mark.slow, pytest.mark.data, pytest.mark.filterwarnings("default")),
    pytest.mark.skipif(not RATINGS.exists(), reason=f"there is no {RATINGS}"),
]

# What spark-submit is in Spark's client mode, without a JVM: the job's process, and its exit code if it is handed back.
SPARK_SUBMIT = f"""#!{sys.executable}
import os, subprocess, sys
job = next(number for number, word in enumerate(sys.argv) if word.endswith("/jobs/run.py"))
code = subprocess.call([{str(MAIN_PYTHON)!r}, *sys.argv[job:], "--engine", "local"])
sys.exit(0 if os.environ["HIDES_EXIT_CODE"] else code)
"""
CONFIG = """
[input]
path = "{path}"
source = "src"
source_type = "user"
target = "dst"
target_type = "item"
weight = "weight"
timestamp = "ts"
timestamp_unit = "s"
half_life_days = 90
[embedding]
dim = 16
[publish]
name = "movies"
report = false
"""


class Airflow:
    """Runs the DAG of one graph for a date, and knows what readers have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.input, self.workspace = folder / "ratings.parquet", folder / "workspace"
        (folder / "config.toml").write_text(CONFIG.format(path=self.input))
        place = f'config = "{folder}/config.toml"\nworkspace = "{self.workspace}"\nhome = "{ROOT}"'
        (folder / "graphs.toml").write_text(f'[movies]\nmode = "night"\n{place}\n')
        (folder / "spark-submit").write_text(SPARK_SUBMIT)
        (folder / "spark-submit").chmod(0o755)

    def run(self, date: str, *, hides_exit_code: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "GRAPHQUILT_GRAPHS": str(self.folder / "graphs.toml"),
            "HIDES_EXIT_CODE": "yes" if hides_exit_code else "",
            "AIRFLOW_CONN_SPARK_DEFAULT": '{"conn_type": "spark", "host": "local[1]"}',
        }
        return subprocess.run(
            [sys.executable, "-m", "airflow", "dags", "test", "movies", "--conf", json.dumps({"date": date})],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )

    @property
    def current(self) -> str:
        """Date of the release that readers get."""
        date: str = json.loads((self.workspace / "published" / "movies" / "CURRENT.json").read_text())["data_date"]
        return date


def test_seven_nights(tmp_path: Path, asset_events: Any) -> None:
    airflow, ratings = Airflow(tmp_path), pq.read_table(RATINGS)
    # Users and ratings no longer belong together: a join that went wrong upstream.
    shuffled = pa.array(np.random.default_rng(0).permutation(ratings["src"].to_numpy()))
    poison = ratings.set_column(ratings.schema.get_field_index("src"), "src", shuffled)
    published = []

    for night in NIGHTS:
        if night == MISSED:
            continue
        if night == POISONED:
            pq.write_table(poison, airflow.input)
            for hides_exit_code in (False, True):
                before, started = airflow.current, time.monotonic()
                done = airflow.run(night, hides_exit_code=hides_exit_code)
                assert time.monotonic() - started < 60
                assert done.returncode != 0
                assert f"nothing was published: {night} is 'refused', exit code 3" in done.stdout
                assert "min_pairs_kept" in done.stdout
                assert airflow.current == before
            continue
        pq.write_table(ratings, airflow.input)
        done = airflow.run(night)
        assert done.returncode == 0, done.stdout[-4000:]
        assert airflow.current == night
        published.append(night)

    done = airflow.run(MISSED)
    assert done.returncode == 0, done.stdout[-4000:]
    assert airflow.current == NIGHTS[-1]  # an older day is added, and readers keep the newest
    releases = {path.name[:10] for path in (airflow.workspace / "published" / "movies" / "releases").iterdir()}
    assert releases == {*published, MISSED}

    told = [extra for name, extra in asset_events() if name == "movies/node_embeddings"]
    assert [extra["date"] for extra in told] == published
    for extra in told:
        table = pq.read_table(str(extra["path"]))
        assert table.num_rows == extra["rows"]
        assert json.loads(table.schema.metadata[b"graphquilt"])["space_id"] == extra["space_id"]
