"""The DAG as run: by `airflow dags test` on SQLite, with a stand-in for spark-submit, and once for real."""

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from threading import Timer

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
MAIN_PYTHON = Path(os.environ.get("MAIN_PYTHON", ROOT / ".venv" / "bin" / "python"))
SAMPLE = ROOT / "examples" / "sample" / "interactions.parquet"
# The JSON form: from "spark://local[2]" the hook makes a standalone master, and a mistake in it means YARN.
LOCAL_SPARK = json.dumps({"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}})
PUBLISHED = {"verdict": "published", "exit_code": 0, "reasons": [], "release": "a-release"}
REFUSED = {"verdict": "refused", "exit_code": 3, "reasons": ["too few rows"], "release": None}

TIMEOUT_S = 1800  # eight starts of Spark, on a busy machine of two cores
DAGS_TEST = ("-m", "airflow", "dags", "test", "graph_embeddings")
FOR_MAY = (*DAGS_TEST, "--conf", '{"date": "2026-05-01"}')

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.filterwarnings("default")]

# Writes down how it was called; as the last job, leaves the verdict and the exit code it was given.
STAND_IN = """#!/bin/sh
echo "$@" >> "$STAND_IN_CALLS"
case "$*" in *jobs/publish.py*|*jobs/run.py*) ;; *) exit 0 ;; esac
while [ "$1" != --date ]; do shift; done
mkdir -p "$AIRFLOW_VAR_WORKSPACE/runs/$2"
[ -z "$STAND_IN_GATE" ] || echo "$STAND_IN_GATE" > "$AIRFLOW_VAR_WORKSPACE/runs/$2/gate.json"
exit "$STAND_IN_EXIT"
"""


class StandIn:
    """Runs the DAG with a spark-submit that only pretends; remembers what it was asked to submit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workspace = folder / "workspace"
        (folder / "bin").mkdir()
        binary = folder / "bin" / "spark-submit"
        binary.write_text(STAND_IN)
        binary.chmod(0o755)

    def run(
        self, *command: str, gate: dict[str, object] | None, exit_code: int = 0, mode: str = "stages"
    ) -> subprocess.CompletedProcess[str]:
        return run(
            *command,
            PATH=f"{self.folder / 'bin'}:{os.environ['PATH']}",
            AIRFLOW_VAR_PIPELINE_HOME="/home/pipeline",
            AIRFLOW_VAR_WORKSPACE=str(self.workspace),
            GRAPHQUILT_DAG_MODE=mode,
            STAND_IN_CALLS=str(self.folder / "calls"),
            STAND_IN_GATE=json.dumps(gate) if gate else "",
            STAND_IN_EXIT=str(exit_code),
        )

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def stand_in(tmp_path: Path, airflow_database: None) -> StandIn:
    return StandIn(tmp_path)


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with a Spark connection; its standard error stands in its standard output."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    lines = []
    with subprocess.Popen(
        [sys.executable, *command],
        env={**kept, "AIRFLOW_CONN_SPARK_DEFAULT": LOCAL_SPARK, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        alarm = Timer(TIMEOUT_S, process.kill)
        alarm.start()
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "new_state=up_for_retry" in line:  # ten minutes from now; what went wrong is known
                process.terminate()
        alarm.cancel()
    return subprocess.CompletedProcess(process.args, process.wait(), "".join(lines))


def test_a_run_submits_each_stage_once_in_order_for_one_date(stand_in: StandIn) -> None:
    done = stand_in.run(*DAGS_TEST, "2026-05-02", gate=PUBLISHED)

    assert done.returncode == 0, done.stdout[-4000:]
    stages = ["ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate", "publish"]
    # The last interval that had ended by 2026-05-02 00:00 began on 04-30 at 02:00.
    assert stand_in.calls == [
        f"--master local[2] --name graphquilt-{stage} --deploy-mode client /home/pipeline/jobs/{stage}.py "
        f"--config /home/pipeline/config.toml --workspace {stand_in.workspace} --date 2026-04-30"
        for stage in stages
    ]


def test_a_night_in_one_session_is_one_job_and_the_gate(stand_in: StandIn) -> None:
    done = stand_in.run(*FOR_MAY, gate=PUBLISHED, mode="night")

    assert done.returncode == 0, done.stdout[-4000:]
    assert stand_in.calls == [
        "--master local[2] --name graphquilt-run --deploy-mode client /home/pipeline/jobs/run.py "
        f"--config /home/pipeline/config.toml --workspace {stand_in.workspace} --date 2026-05-01"
    ]

    refused = stand_in.run(*FOR_MAY, gate=REFUSED, mode="night")  # spark-submit hands back 0 in cluster mode

    assert refused.returncode != 0
    assert "too few rows" in refused.stdout


def test_a_refusal_is_a_failed_run_that_says_why(stand_in: StandIn) -> None:
    done = stand_in.run(*FOR_MAY, gate=REFUSED, exit_code=3)

    assert done.returncode != 0
    said = "nothing was published for 2026-05-01: the verdict is 'refused', exit code 3: too few rows"
    assert said in done.stdout
    assert len(stand_in.calls) == 8  # publish was not repeated


def test_a_refusal_that_spark_submit_does_not_hand_back_fails_too(stand_in: StandIn) -> None:
    done = stand_in.run(*FOR_MAY, gate=REFUSED, exit_code=0)

    assert done.returncode != 0
    assert "too few rows" in done.stdout


def test_a_publish_that_died_is_not_covered_by_yesterday_s_verdict(stand_in: StandIn) -> None:
    path = stand_in.workspace / "runs" / "2026-05-01" / "gate.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(PUBLISHED))

    done = stand_in.run(*FOR_MAY, gate=None, exit_code=137)

    assert done.returncode != 0
    assert "publish is 'failed'" in done.stdout


def test_a_run_by_hand_without_a_logical_date_computes_the_day_before(stand_in: StandIn) -> None:
    # `airflow dags test` always has one; a run triggered through the API may not.
    code = (
        "from airflow.dag_processing.dagbag import DagBag\n"
        "run = DagBag().dags['graph_embeddings'].test(logical_date=None)\n"
        "assert run.data_interval_start is None\n"
        "print('AFTER', run.run_after.isoformat(), run.state)\n"
    )
    done = stand_in.run("-c", code, gate=PUBLISHED)

    assert done.returncode == 0, done.stdout[-4000:]
    _, run_after, state = next(line for line in done.stdout.splitlines() if line.startswith("AFTER")).split()
    assert state == "success"
    day = (datetime.fromisoformat(run_after) - timedelta(days=1)).date().isoformat()
    assert {call.rpartition(" ")[2] for call in stand_in.calls} == {day}


@pytest.mark.spark
@pytest.mark.parametrize("mode", ["stages", "night"])
def test_the_sample_is_published_for_real(mode: str, tmp_path: Path, airflow_database: None) -> None:
    home, workspace = tmp_path / "home", tmp_path / "workspace"
    home.mkdir()
    shutil.copytree(ROOT / "jobs", home / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "config.toml").write_text(
        f"""
        [input]
        path = "{SAMPLE}"
        source = "package"
        source_type = "package"
        target = "needs"
        target_type = "package"
        event = "event"
        event_weights = {{ depends = 1.0, pre-depends = 1.0, recommends = 0.7, suggests = 0.3 }}
        [partition]
        parts = 2
        [embedding]
        dim = 16
        [evaluate]
        source = "none"
        [publish]
        name = "debian"
        """
    )
    spark_home = subprocess.run(
        [MAIN_PYTHON, "-c", "import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()

    done = run(
        *DAGS_TEST,
        "--conf",
        '{"date": "2026-07-11"}',
        PATH=f"{spark_home}/bin:{os.environ['PATH']}",
        GRAPHQUILT_DAG_MODE=mode,
        SPARK_HOME=spark_home,
        PYSPARK_PYTHON=str(MAIN_PYTHON),
        PYSPARK_DRIVER_PYTHON=str(MAIN_PYTHON),
        AIRFLOW_VAR_PIPELINE_HOME=str(home),
        AIRFLOW_VAR_WORKSPACE=str(workspace),
    )

    assert done.returncode == 0, done.stdout[-8000:]
    published = workspace / "published" / "debian"
    current = json.loads((published / "CURRENT.json").read_text())
    assert current["data_date"] == "2026-07-11"
    table = pq.read_table(published / current["path"] / "node_embeddings")
    assert sorted(table["node_id"].to_pylist()) == nodes_of_the_sample()
    assert table.schema.field("embedding").type.list_size == 16
    assert pc.all(pc.greater(table["norm"], 0)).as_py()


def nodes_of_the_sample() -> list[str]:
    """Every package that stands in a relation with another one, in order."""
    rows = pq.read_table(SAMPLE)
    rows = rows.filter(pc.not_equal(rows["package"], rows["needs"]))  # self loops are rejected
    return sorted({*rows["package"].to_pylist(), *rows["needs"].to_pylist()})
